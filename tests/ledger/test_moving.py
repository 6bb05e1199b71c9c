"""A ledger has one place: moved into a database, its file is a copy, as an export is; nothing is sent from either."""

import sqlite3
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path
from typing import Any

import pytest

from bulksms.errors import LedgerError, LedgerLockedError, PlanError
from bulksms.ledger import (
    Author,
    LedgerUrl,
    Recovery,
    Retry,
    Selection,
    export_ledger,
    import_ledger,
    ledger_at,
    ledgers_of,
    open_ledger,
)
from bulksms.ledger.name import DatabaseUrl
from bulksms.ledger.postgresql import publishing
from bulksms.ledger.sqlite.writer import SqliteWriter
from bulksms.model.message import State
from tests.ledger.harness import run_on

Running = Callable[..., AbstractAsyncContextManager[SqliteWriter]]
RECOVERY = Recovery(State.UNKNOWN, 5)
ANNA = Author("anna", "server-1", "--yes")


@pytest.fixture
def people(database: str) -> LedgerUrl:
    """The name of a ledger that is not there yet."""
    return LedgerUrl.parse(f"{database}?ledger=people")


def move(file: Path, people: LedgerUrl) -> None:
    import_ledger(file, people, RECOVERY, "anna on server-1, moving")


def states(name: Path | LedgerUrl) -> list[State]:
    with open_ledger(name) as reader:
        return [record.state for record in reader.messages()]


async def begin(file: Path) -> None:
    """Leave the first message of a ledger under way, as a run that died."""
    async with run_on(file) as writer:
        (message,) = await writer.claim(State.QUEUED, 0, 1)
        message.attempts += 1
        message.tries += 1
        await writer.record_intent(message, 100.0)


async def test_a_ledger_that_was_moved_goes_on_in_the_database_and_nowhere_else(
    planned: Path, people: LedgerUrl
) -> None:
    await begin(planned)
    move(planned, people)
    assert states(people) == states(planned) == [State.UNKNOWN, State.QUEUED, State.QUEUED]
    assert ledgers_of(people.database) == [people]
    forbidden_actions: list[Callable[[], object]] = [
        lambda: ledger_at(planned).cancel(ANNA),
        lambda: ledger_at(planned).resolve({1: State.FAILED}, ANNA),
        lambda: ledger_at(planned).approve(ANNA),
        lambda: ledger_at(planned).recover(RECOVERY, "recovering"),
    ]
    for forbidden in forbidden_actions:
        with pytest.raises(PlanError, match="is a copy, to be read") as caught:
            forbidden()
        assert str(people) in f"{caught.value}"
        assert f"'{people}'" in str(caught.value.hint)
    with pytest.raises(PlanError, match="is a copy, to be read"):
        async with run_on(planned, again=Retry(ANNA, Selection.of(State.UNKNOWN), None, 1, None)):
            pass
    assert states(planned) == [State.UNKNOWN, State.QUEUED, State.QUEUED]
    assert not [name for name, problem in ledger_at(people).verify() if problem]


def test_a_file_is_moved_once(planned: Path, people: LedgerUrl) -> None:
    move(planned, people)
    for name in (people, LedgerUrl(people.database, "others")):
        with pytest.raises(PlanError, match="is a copy, or is being moved") as caught:
            move(planned, name)
        assert str(people) in str(caught.value.hint)


async def test_while_a_run_lives_its_ledger_is_not_moved(planned: Path, people: LedgerUrl) -> None:
    async with run_on(planned):
        with pytest.raises(LedgerLockedError):
            move(planned, people)
    assert ledgers_of(people.database) == []


async def test_a_ledger_whose_name_is_taken_goes_on_where_it_is(
    planned: Path, people: LedgerUrl, plan_as: Callable[..., Path], tmp_path: Path
) -> None:
    move(plan_as(tmp_path / "other.ledger.db"), people)
    with pytest.raises(PlanError, match="none is ever overwritten"):
        move(planned, people)
    async with run_on(planned) as writer:
        assert len(await writer.claim(State.QUEUED, 0, 9)) == 3


@pytest.mark.parametrize("is_published", [True, False])
def test_a_move_that_was_broken_off_leaves_one_place_and_is_completed(
    is_published: bool, planned: Path, people: LedgerUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = publishing._publish

    async def die(source: sqlite3.Connection, url: LedgerUrl) -> None:
        if is_published:
            await real(source, url)
        raise KeyboardInterrupt

    monkeypatch.setattr(publishing, "_publish", die)
    with pytest.raises(KeyboardInterrupt):
        move(planned, people)
    monkeypatch.undo()
    with pytest.raises(PlanError, match="was being moved into a database") as caught:
        ledger_at(planned).approve(ANNA)
    assert f"bulksms import {planned} '{people}'" in str(caught.value.hint)
    with pytest.raises(PlanError, match="is being moved"):
        move(planned, LedgerUrl(people.database, "others"))
    move(planned, people)
    assert ledgers_of(people.database) == [people]
    with pytest.raises(PlanError, match="is a copy"):
        ledger_at(planned).approve(ANNA)


@pytest.mark.parametrize("is_published", [True, False])
def test_a_move_whose_answer_was_lost_is_as_the_database_has_it(
    is_published: bool, planned: Path, people: LedgerUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = publishing._publish

    async def lose(source: sqlite3.Connection, url: LedgerUrl) -> None:
        if is_published:
            await real(source, url)
        raise LedgerError("the answer was lost")

    monkeypatch.setattr(publishing, "_publish", lose)
    with pytest.raises(LedgerError, match="the answer was lost"):
        move(planned, people)
    monkeypatch.undo()
    if is_published:
        with pytest.raises(PlanError, match="was being moved"):
            ledger_at(planned).approve(ANNA)
    else:
        ledger_at(planned).approve(ANNA)
    move(planned, people)
    assert ledgers_of(people.database) == [people]


@pytest.mark.usefixtures("postgresql")
def test_a_database_that_cannot_be_reached_changes_nothing(planned: Path) -> None:
    with pytest.raises(LedgerError, match="does not answer"):
        move(planned, LedgerUrl(DatabaseUrl("postgresql://127.0.0.1:1/messaging"), "people"))
    ledger_at(planned).approve(ANNA)


async def test_nothing_is_sent_from_an_export_and_it_can_be_purged(
    planned: Path, people: LedgerUrl, tmp_path: Path
) -> None:
    move(planned, people)
    copy = tmp_path / "copy.ledger.db"
    assert export_ledger(people, copy) is False
    with pytest.raises(PlanError, match="exists already"):
        export_ledger(people, copy)
    with pytest.raises(PlanError, match="is a copy"):
        async with run_on(copy):
            pass
    with pytest.raises(PlanError, match="is a copy"):
        move(copy, LedgerUrl(people.database, "others"))
    ledger_at(copy).purge(ANNA)
    with open_ledger(copy) as reader:
        assert {record.text for record in reader.messages()} == {""}
    assert not [name for name, problem in ledger_at(copy).verify() if problem]
    assert {record.text for record in _records(people)} == {"Text 1", "Text 2", "Text 3"}


def _records(name: LedgerUrl) -> list[Any]:
    with open_ledger(name) as reader:
        return list(reader.messages())


def test_a_file_without_a_version_of_its_own_is_taken_to_this_one(people: LedgerUrl, tmp_path: Path) -> None:
    old = tmp_path / "old.ledger.db"
    old.write_bytes((Path(__file__).parent / "data" / "version-2.ledger.db").read_bytes())
    move(old, people)
    assert states(people) == states(old)
    with closing(sqlite3.connect(old)) as connection:
        assert connection.execute("SELECT kept_in FROM plan").fetchone() == (str(people),)
