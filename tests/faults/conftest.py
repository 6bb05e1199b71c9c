"""The program as a process in a folder of its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.faults.harness import FaultHarness


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[FaultHarness]:
    """A folder of its own."""
    harness = FaultHarness(tmp_path)
    yield harness
    await harness.clear()
