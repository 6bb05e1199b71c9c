"""An engine with short waits, on ledgers in the test's folder."""

import random
from pathlib import Path

import pytest

from tests.engine.harness import EngineHarness


@pytest.fixture
def harness(tmp_path: Path) -> EngineHarness:
    """Its ledgers are in the test's own folder."""
    return EngineHarness(tmp_path)


@pytest.fixture
def chance() -> random.Random:
    """Chance; its seed is that of pytest-randomly, which every report begins with."""
    return random.Random(random.getrandbits(32))  # noqa: S311 - no secret is made of it
