"""Migration: a ledger of an older version is taken to this one, by the command that opens it first, if no run lives."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path

import pytest

from bulksms.errors import LedgerError, LedgerLockedError
from bulksms.ledger import ledger_at, open_ledger
from bulksms.ledger.sqlite.lock import RunLock
from bulksms.ledger.sqlite.schema import STEPS, TABLES, VERSION
from bulksms.ledger.sqlite.writer import SqliteWriter
from bulksms.model.message import State

KEPT = Path(__file__).parent / "data"
Running = Callable[..., AbstractAsyncContextManager[SqliteWriter]]


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """A ledger of version 1 whose run accepted one of four, has to try one again, and died with one under way."""
    return Path(shutil.copyfile(KEPT / "version-1.ledger.db", tmp_path / "old.ledger.db"))


def columns(path: Path) -> dict[str, set[str]]:
    with closing(sqlite3.connect(path)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {table: {row[1] for row in connection.execute(f"PRAGMA table_info({table})")} for table in tables}


def test_every_older_version_has_its_step_and_a_kept_ledger() -> None:
    assert set(STEPS) == set(range(1, VERSION))
    assert {path.name for path in KEPT.iterdir()} == {f"version-{version}.ledger.db" for version in STEPS}


def test_looking_takes_an_older_ledger_to_this_version(older: Path, tmp_path: Path) -> None:
    with open_ledger(older) as reader:
        counts = reader.counts()
    assert (counts.counts[State.QUEUED], counts.counts[State.ACCEPTED], counts.counts[State.UNKNOWN]) == (2, 1, 1)
    assert (counts.attempts, counts.crashed) == (3, 1)
    assert not [problem for problem in ledger_at(older).verify() if problem[1]]
    new = tmp_path / "new.db"
    with closing(sqlite3.connect(new)) as connection:
        connection.executescript(TABLES)
    assert columns(older) == columns(new)


async def test_a_run_takes_an_older_ledger_to_this_version_and_goes_on(older: Path, running: Running) -> None:
    async with running(older) as ledger:
        assert ledger.run == 2
        assert ledger.attempts == 3
        assert [message.number for message in await ledger.claim(State.QUEUED, 0, 9)] == [4]
    assert not [problem for problem in ledger_at(older).verify() if problem[1]]


def test_while_a_run_lives_an_older_ledger_is_not_changed(older: Path) -> None:
    before = older.read_bytes()
    lock = RunLock(older)
    lock.acquire("an older version")
    with pytest.raises(LedgerLockedError):
        open_ledger(older)
    lock.release()
    assert older.read_bytes() == before


@pytest.mark.parametrize(("version", "words"), [(0, "does not know"), (VERSION + 1, "newer version")])
def test_an_unknown_version_is_refused_and_left_as_it_is(version: int, words: str, older: Path) -> None:
    with closing(sqlite3.connect(older)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    before = older.read_bytes()
    with pytest.raises(LedgerError, match=words):
        open_ledger(older)
    assert older.read_bytes() == before
