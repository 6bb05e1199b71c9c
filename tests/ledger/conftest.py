"""Ledgers in real files: planned, opened for a run, left as a crash leaves them, and held to the books' laws."""

import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from pathlib import Path

import pytest

from bulksms.ledger.decisions import Retry
from bulksms.ledger.draft import Draft, DraftRow
from bulksms.ledger.file import Recovery
from bulksms.ledger.reader import LedgerReader
from bulksms.ledger.schema import MAY_HAVE_SENT_TWICE
from bulksms.ledger.writer import LedgerWriter, RunRecord, open_for_run
from bulksms.message import State

RECORD = RunRecord("https://adaxes.example/restApi", "1.0", "anna", "server-1", 4711, "{}", "--yes")


def plan(path: Path, count: int = 3) -> Path:
    """Keep a ledger of `count` messages that are to be sent."""
    rows = [
        DraftRow(number + 1, f"CN=User {number},DC=x", f"dn:cn=user {number},dc=x", f"Text {number}", "{}", "GSM-7", 1)
        for number in range(1, count + 1)
    ]
    with Draft(path) as draft:
        draft.add(rows)
        draft.index()
        return draft.keep(
            source="people.csv", columns=[], fingerprint=draft.fingerprint(), summary='{"bad_rows": 0}', version="1.0"
        )


@asynccontextmanager
async def run_on(
    path: Path,
    state: State = State.UNKNOWN,
    max_attempts: int = 5,
    record: RunRecord = RECORD,
    again: Retry | None = None,
) -> AsyncIterator[LedgerWriter]:
    """Open the ledger for a run, and close it at the end."""
    ledger = await open_for_run(path, Recovery(state, max_attempts), record, again)
    try:
        yield ledger
    finally:
        await ledger.close()


def copy_as_it_lies(ledger: Path, copy: Path) -> Path:
    """The files of this moment under another name: what a machine finds that lost its power now."""
    for suffix in ("", "-wal"):
        beside = ledger.with_name(ledger.name + suffix)
        if beside.exists():
            shutil.copyfile(beside, copy.with_name(copy.name + suffix))
    return copy


def hold_books(path: Path, total: int) -> None:
    """The laws that can be seen in a ledger: the equation, the counters, a line of evidence for each attempt."""
    with closing(sqlite3.connect(path)) as connection:
        tally = dict(connection.execute("SELECT name, messages FROM tally"))
        counts = dict(connection.execute("SELECT state, COUNT(*) FROM message GROUP BY state"))
        (twice,) = connection.execute("SELECT COALESCE(SUM(may_have_sent_twice), 0) FROM message").fetchone()
        rows = connection.execute("SELECT number, state, attempts, tries FROM message").fetchall()
        lines = dict(connection.execute("SELECT message, COUNT(*) FROM attempt GROUP BY message"))
    assert tally == {**{state.value: counts.get(state.value, 0) for state in State}, MAY_HAVE_SENT_TWICE: twice}
    assert sum(counts.values()) == total
    for number, state, attempts, tries in rows:
        assert lines.get(number, 0) + (state == "sending") == attempts
        assert tries <= attempts
    with LedgerReader(path) as reader:
        reader.check_counters()
        assert reader.standing().total == total


@pytest.fixture
def planned(tmp_path: Path) -> Path:
    """A ledger of three messages."""
    return plan(tmp_path / "people.ledger.db")


@pytest.fixture
def plan_as() -> Callable[..., Path]:
    """Keep a ledger of so many messages under a path."""
    return plan


@pytest.fixture
def running() -> Callable[..., AbstractAsyncContextManager[LedgerWriter]]:
    """Open a ledger for a run, as a context manager."""
    return run_on


@pytest.fixture
def as_it_lies() -> Callable[[Path, Path], Path]:
    """Copy a ledger's files as a crash would leave them."""
    return copy_as_it_lies


@pytest.fixture
def books() -> Callable[[Path, int], None]:
    """Hold a ledger to its laws."""
    return hold_books
