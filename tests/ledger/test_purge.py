"""Purging: no byte of a name or a text is left, and everything that is no name stays as it was."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path

import pytest

from bulksms.errors import LedgerError, LedgerLockedError, PlanError
from bulksms.ledger import Author, DraftRow, OutcomeRecord, RunStart, new_draft, open_ledger
from bulksms.ledger.sqlite import operator_actions
from bulksms.ledger.sqlite.invariants import verify
from bulksms.ledger.sqlite.operator_actions import purge
from bulksms.ledger.sqlite.writer import SqliteWriter
from bulksms.model.attempt import ApiError, Attempt, OperationResult, ResultType
from bulksms.model.message import Message, Reason, State

Running = Callable[..., AbstractAsyncContextManager[SqliteWriter]]
AsItLies = Callable[[Path, Path], Path]

ANNA = Author("anna", "server-1", "--yes")
SECRET = "Zaphod"
"""Part of everything that names or tells somebody something."""
MANY = 300
RECORD = RunStart(
    "https://adaxes.example/restApi", "1.0", "anna", "server-1", 4711, json.dumps({"test_to": f"CN={SECRET}"}), "--yes"
)


def plan_names(path: Path) -> Path:
    """Enough messages to fill many pages."""
    rows = [
        DraftRow(
            number + 1,
            f"CN={SECRET} {number},DC=x",
            f"dn:cn={SECRET} {number},dc=x",
            f"Dear {SECRET}, " + "come home. " * 10,
            json.dumps({"name": SECRET}),
            "GSM-7",
            1,
        )
        for number in range(1, MANY + 1)
    ]
    with new_draft(path) as draft:
        draft.add(rows)
        draft.add([DraftRow(999, SECRET, "", SECRET, "{}", None, None, State.SKIPPED, Reason.BAD_ROW, "E101", SECRET)])
        draft.index()
        return draft.keep(
            source="people.csv",
            columns=[f"{SECRET}'s column"],
            fingerprint=draft.fingerprint(),
            summary="{}",
            version="1.0",
        )


def settled(message: Message) -> tuple[Attempt, OutcomeRecord]:
    """The answer for one: every third is rejected, every other third's answer is lost."""
    if message.number % 3 == 0:
        result = OperationResult(ResultType.SUCCEEDED, None, (f"{SECRET} has two numbers",), f"CN={SECRET},DC=x")
        return Attempt(True, 200, result=result, began_at=5.0), OutcomeRecord(State.ACCEPTED, evidence="succeeded")
    attempt = Attempt(True, 403, api_error=ApiError(f"{SECRET} may not be named", "forbidden"), began_at=5.0)
    if message.number % 3 == 1:
        return attempt, OutcomeRecord(State.FAILED, Reason.REJECTED, evidence="rejected")
    doubt = Reason.NO_ANSWER
    return attempt, OutcomeRecord(State.UNKNOWN, doubt, doubt, evidence="lost")


async def begin_all(ledger: SqliteWriter) -> list[Message]:
    messages = await ledger.claim(State.QUEUED, 0, MANY)
    for message in messages:
        message.attempts += 1
        message.tries += 1
        ledger.record_intent(message, 5.0)
    await ledger.flush()
    return messages


async def sent(path: Path, running: Running) -> Path:
    """A ledger whose messages were sent, with a person's note on one of them."""
    async with running(plan_names(path), record=RECORD) as ledger:
        await ledger.begin_test(f"CN={SECRET}", 4.0)
        await ledger.end_test(Attempt(True, 400, api_error=ApiError(f"{SECRET}?"), began_at=4.0), "rejected")
        for message in await begin_all(ledger):
            ledger.record_outcome(message, *settled(message))
        await ledger.end_run(None, 1.0, MANY)
    operator_actions.resolve(path, {2: State.ACCEPTED}, Author("anna", "server-1", "resolve", f"rang {SECRET}"))
    return path


def kept(path: Path) -> list[tuple[object, ...]]:
    """What a purge must not change."""
    with open_ledger(path) as reader:
        lines = [
            (
                line.row,
                line.state,
                line.reason,
                line.attempts,
                line.http_status,
                line.error_code,
                line.first_attempt_at,
                line.finished_at,
                line.segments,
                line.possible_duplicate,
            )
            for line in reader.messages()
        ]
        plan, counts = reader.plan(), reader.counts()
        (run,) = reader.runs()
        return [
            *lines,
            (plan.created_at, plan.input, plan.fingerprint, plan.url),
            (run.user, run.host, run.started_at, run.confirmed_by, counts.possible_duplicate),
            tuple(counts.counts.items()),
        ]


def names(folder: Path) -> set[str]:
    """The files there; a lock file stays, and says nothing when it is not held."""
    return {entry.name for entry in folder.iterdir() if entry.suffix != ".lock"}


def places_with_names(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]


async def test_no_byte_of_a_name_or_text_is_left_and_everything_else_stays(tmp_path: Path, running: Running) -> None:
    path = await sent(tmp_path / "people.ledger.db", running)
    before = kept(path)
    assert places_with_names(tmp_path) == [path.name]
    purge(path, ANNA)
    assert places_with_names(tmp_path) == []
    assert names(tmp_path) == {path.name}
    assert kept(path) == before
    assert [(invariant, violation) for invariant, violation in verify(path) if violation] == []
    with open_ledger(path) as reader:
        assert reader.plan().purged_at is not None
        assert [decision.action for decision in reader.operator_actions()] == ["resolve", "purge"]
        assert {(line.recipient, line.text, line.error, line.object_dn) for line in reader.messages()} == {
            ("", "", None, None)
        }


async def test_what_earlier_writes_left_in_the_file_s_free_space_goes_too(tmp_path: Path, running: Running) -> None:
    path = await sent(tmp_path / "people.ledger.db", running)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("UPDATE message SET text = '', recipient = 'CN=A,DC=x', recipient_key = 'dn:cn=a,dc=x'")
    assert places_with_names(tmp_path)
    purge(path, ANNA)
    assert places_with_names(tmp_path) == []


async def test_the_log_that_a_dead_run_left_is_purged_with_its_ledger(
    tmp_path: Path, running: Running, as_it_lies: AsItLies
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    async with running(plan_names(tmp_path / "people.ledger.db")) as ledger:
        await begin_all(ledger)
        copy = as_it_lies(ledger.path, elsewhere / "people.ledger.db")
    assert (elsewhere / "people.ledger.db-wal").stat().st_size
    (elsewhere / "people.ledger.db.live").write_text(f'{{"errors": [["{SECRET} may not be named", 3]]}}')
    purge(copy, ANNA)  # what was `sending` becomes `unknown`, and is finished
    assert places_with_names(elsewhere) == []
    assert names(elsewhere) == {"people.ledger.db"}


async def test_what_is_left_to_send_is_not_purged(tmp_path: Path) -> None:
    path = plan_names(tmp_path / "people.ledger.db")
    with pytest.raises(PlanError, match="300 messages that are not finished") as refused:
        purge(path, ANNA)
    assert "bulksms cancel" in str(refused.value.hint)
    with open_ledger(path) as reader:
        assert reader.plan().purged_at is None
        assert SECRET in next(reader.messages()).text


async def test_a_ledger_that_somebody_reads_is_reported_to_hold_its_names_still_and_can_be_purged_again(
    tmp_path: Path, running: Running, as_it_lies: AsItLies, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    async with running(plan_names(tmp_path / "people.ledger.db")) as ledger:
        await begin_all(ledger)
        path = as_it_lies(ledger.path, elsewhere / "people.ledger.db")
    monkeypatch.setattr("bulksms.ledger.sqlite.operator_actions.PATIENCE", 10)
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT COUNT(*) FROM message").fetchone()
        with pytest.raises(LedgerError, match="is still in its file"):
            purge(path, ANNA)
        assert places_with_names(elsewhere)
    with open_ledger(path) as looking:
        assert looking.plan().purged_at is not None, "nothing can be sent any more"
        assert not looking.operator_actions()
    purge(path, ANNA)
    assert places_with_names(elsewhere) == []


async def test_nothing_is_purged_while_a_run_lives(planned: Path, running: Running) -> None:
    async with running(planned):
        with pytest.raises(LedgerLockedError):
            purge(planned, ANNA)
