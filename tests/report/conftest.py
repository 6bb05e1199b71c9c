"""Ledgers of the test's own, and the time zone of a test's reader."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.report.harness import LedgerFactory


@pytest.fixture
def ledgers(tmp_path: Path) -> LedgerFactory:
    """Writes ledgers into the test's folder."""
    return LedgerFactory(tmp_path)


@pytest.fixture(autouse=True)
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Local time is UTC, until the test calls this with the name of another zone."""

    def use(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    use("UTC")
    yield use
    monkeypatch.undo()
    time.tzset()
