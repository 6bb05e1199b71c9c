"""Ledgers in real files: planned, opened for a run, left as a crash leaves them, and checked against the invariants."""

import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

from bulksms.ledger import DraftRow, Recovery, Retry, RunStart, new_draft, open_ledger
from bulksms.ledger.sqlite.schema import ATTEMPTS_MADE, POSSIBLE_DUPLICATE
from bulksms.ledger.sqlite.writer import SqliteWriter, open_for_run
from bulksms.model.message import State

RECORD = RunStart("https://adaxes.example/restApi", "1.0", "anna", "server-1", 4711, "{}", "--yes")


def plan(path: Path, count: int = 3) -> Path:
    """Keep a ledger of `count` messages that are to be sent."""
    rows = [
        DraftRow(number + 1, f"CN=User {number},DC=x", f"dn:cn=user {number},dc=x", f"Text {number}", "{}", "GSM-7", 1)
        for number in range(1, count + 1)
    ]
    with new_draft(path) as draft:
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
    record: RunStart = RECORD,
    again: Retry | None = None,
) -> AsyncIterator[SqliteWriter]:
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


def check_invariants(path: Path, total: int) -> None:
    """The invariants that can be seen in a ledger: the equation, the counters, a line of evidence for each attempt."""
    with closing(sqlite3.connect(path)) as connection:
        tally = dict(connection.execute("SELECT name, messages FROM tally"))
        counts = dict(connection.execute("SELECT state, COUNT(*) FROM message GROUP BY state"))
        (twice,) = connection.execute("SELECT COALESCE(SUM(possible_duplicate), 0) FROM message").fetchone()
        rows = connection.execute("SELECT number, state, attempts, tries FROM message").fetchall()
        lines = dict(connection.execute("SELECT message, COUNT(*) FROM attempt GROUP BY message"))
    expected = {state.value: counts.get(state.value, 0) for state in State}
    assert tally == {**expected, POSSIBLE_DUPLICATE: twice, ATTEMPTS_MADE: sum(row[2] for row in rows)}
    assert sum(counts.values()) == total
    for number, state, attempts, tries in rows:
        assert lines.get(number, 0) + (state == "sending") == attempts
        assert tries <= attempts
    with open_ledger(path) as reader:
        reader.check_counters()
        assert reader.counts().total == total
