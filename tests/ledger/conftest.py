"""Ledgers that are planned, run on, copied, and held to their invariants."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from bulksms.ledger.sqlite.writer import SqliteWriter
from tests.ledger.harness import check_invariants, copy_as_it_lies, plan, run_on


@pytest.fixture
def planned(tmp_path: Path) -> Path:
    """A ledger of three messages."""
    return plan(tmp_path / "people.ledger.db")


@pytest.fixture
def plan_as() -> Callable[..., Path]:
    """Keep a ledger of so many messages under a path."""
    return plan


@pytest.fixture
def running() -> Callable[..., AbstractAsyncContextManager[SqliteWriter]]:
    """Open a ledger for a run, as a context manager."""
    return run_on


@pytest.fixture
def as_it_lies() -> Callable[[Path, Path], Path]:
    """Copy a ledger's files as a crash would leave them."""
    return copy_as_it_lies


@pytest.fixture
def check_ledger() -> Callable[[Path, int], None]:
    """Check the invariants of a ledger."""
    return check_invariants
