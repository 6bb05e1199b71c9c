"""The program and the simulator as processes in a folder of their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.harness import CrashHarness
from tests.forks import ForkServer


@pytest.fixture(scope="session")
def forks() -> Iterator[ForkServer]:
    """One for all tests of a process."""
    forks = ForkServer()
    yield forks
    forks.close()


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[CrashHarness]:
    """A folder of its own."""
    harness = CrashHarness(tmp_path)
    yield harness
    harness.end()
