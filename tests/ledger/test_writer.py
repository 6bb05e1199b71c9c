"""The writer: on disk before it is reported, many in one commit, nothing after a failure, nothing on the loop."""

import asyncio
import functools
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, closing, contextmanager, nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bulksms.errors import LedgerError
from bulksms.ledger import OutcomeRecord, Recovery, RunStart, open_ledger
from bulksms.ledger.sqlite.driver import LoopSteps
from bulksms.ledger.sqlite.writer import SqliteWriter, open_for_run
from bulksms.model.attempt import ApiError, Attempt, Failure, OperationResult, ResultType
from bulksms.model.message import Message, Reason, State

Running = Callable[..., AbstractAsyncContextManager[SqliteWriter]]
PlanAs = Callable[..., Path]
AsItLies = Callable[[Path, Path], Path]
CheckLedger = Callable[[Path, int], None]

SUCCEEDED = Attempt(True, 200, result=OperationResult(ResultType.SUCCEEDED), began_at=100.0, elapsed=0.25)
BUSY = Attempt(True, 503, retry_after=2.0, began_at=100.0, elapsed=0.1)
ACCEPTED = OutcomeRecord(State.ACCEPTED, evidence="succeeded")
AGAIN = OutcomeRecord(State.QUEUED, evidence="not_processed")


def begin(ledger: SqliteWriter, message: Message) -> asyncio.Future[bool]:
    message.attempts += 1
    message.tries += 1
    begun = ledger.record_intent(message, 100.0)
    message.possible_duplicate = message.possible_duplicate or message.in_doubt is not None
    return begun


@contextmanager
def held_up(ledger: SqliteWriter) -> Iterator[None]:
    """While this holds the writer's thread, everything that is handed over waits for the next commit."""
    go_on, waiting = threading.Event(), threading.Event()

    def wait(_: sqlite3.Connection) -> None:
        waiting.set()
        go_on.wait()

    ledger.execute(wait)
    assert waiting.wait(30)
    try:
        yield
    finally:
        go_on.set()


def traced(ledger: SqliteWriter) -> list[str]:
    """Every statement that the writer's connection executes from here on."""
    statements: list[str] = []
    ledger._connection.set_trace_callback(lambda statement: statements.append(" ".join(statement.split()[:3])))
    return statements


def states(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [state for (state,) in connection.execute("SELECT state FROM message ORDER BY number")]


def all_attempts(path: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(
            "SELECT message, attempt, run, began_at, ended_at, headers_sent, http_status, evidence, error, elapsed_ms "
            "FROM attempt ORDER BY message, attempt"
        ).fetchall()


async def test_when_begin_is_done_the_row_is_sending_on_disk(
    planned: Path, running: Running, as_it_lies: AsItLies
) -> None:
    async with running(planned) as ledger:
        first, second, _ = await ledger.claim(State.QUEUED, 0, 10)
        await begin(ledger, first)
        assert states(planned) == ["sending", "queued", "queued"]
        assert states(as_it_lies(planned, planned.with_name("copy.db"))) == ["sending", "queued", "queued"]
        ledger.record_outcome(first, SUCCEEDED, ACCEPTED)
        await begin(ledger, second)
        assert states(as_it_lies(planned, planned.with_name("later.db"))) == ["accepted", "sending", "queued"]


async def test_a_commit_is_flushed_to_the_disk(planned: Path, running: Running) -> None:
    async with running(planned) as ledger:
        synchronous = await ledger.execute(lambda connection: connection.execute("PRAGMA synchronous").fetchone())
        journal = await ledger.execute(lambda connection: connection.execute("PRAGMA journal_mode").fetchone())
    assert (synchronous, journal) == ((2,), ("wal",))


async def test_what_is_handed_over_together_shares_a_commit(plan_as: PlanAs, tmp_path: Path, running: Running) -> None:
    path = plan_as(tmp_path / "people.ledger.db", 50)
    async with running(path) as ledger:
        messages = await ledger.claim(State.QUEUED, 0, 50)
        statements = traced(ledger)
        with held_up(ledger):
            begun = [begin(ledger, message) for message in messages]
        await asyncio.gather(*begun)
        assert statements.count("COMMIT") == 1
        with held_up(ledger):
            for message in messages[:25]:
                ledger.record_outcome(message, BUSY, AGAIN)
            begun = [begin(ledger, message) for message in messages[:25]]
        await asyncio.gather(*begun)
        assert statements.count("COMMIT") == 2
    assert len(all_attempts(path)) == 25


async def test_settlements_are_written_before_beginnings(
    planned: Path, running: Running, check_ledger: CheckLedger
) -> None:
    async with running(planned) as ledger:
        first, *_ = await ledger.claim(State.QUEUED, 0, 10)
        await begin(ledger, first)
        with held_up(ledger):
            ledger.record_outcome(first, BUSY, AGAIN)
            again = begin(ledger, first)
        await again
        with open_ledger(planned) as reader:
            line = next(reader.messages())
        assert (line.state, line.attempts) == (State.SENDING, 2)
        check_ledger(planned, 3)
    assert [row[:2] for row in all_attempts(planned)] == [(1, 1)]


async def test_each_step_of_a_message_is_written_in_the_order_in_which_it_was_handed_over(
    planned: Path, running: Running, check_ledger: CheckLedger
) -> None:
    """Whatever one commit takes together: intent, outcome, intent and outcome of one message, in one batch."""
    async with running(planned) as ledger:
        first, second, third = await ledger.claim(State.QUEUED, 0, 10)
        statements = traced(ledger)
        with held_up(ledger):
            begun = [begin(ledger, first), begin(ledger, second)]
            ledger.record_outcome(first, BUSY, AGAIN)
            begun += [begin(ledger, first), begin(ledger, third)]
            ledger.record_outcome(first, SUCCEEDED, ACCEPTED)
            ledger.record_outcome(third, BUSY, AGAIN)
        await asyncio.gather(*begun)
        assert statements.count("COMMIT") == 1
    assert states(planned) == ["accepted", "sending", "queued"]
    assert [row[:2] for row in all_attempts(planned)] == [(1, 1), (1, 2), (3, 1)]
    check_ledger(planned, 3)


async def test_an_outcome_is_on_disk_no_later_than_what_is_handed_over_after_it(
    plan_as: PlanAs, tmp_path: Path, running: Running, as_it_lies: AsItLies
) -> None:
    """Handed over while the writer is at work, so that it takes what waits at any moment in between."""
    path = plan_as(tmp_path / "people.ledger.db", 60)
    async with running(path) as ledger:
        messages = await ledger.claim(State.QUEUED, 0, 60)
        earlier = None
        for number, message in enumerate(messages):
            begun = begin(ledger, message)
            await begun
            if earlier is not None and number % 10 == 0:
                copy = as_it_lies(path, path.with_name("copy.db"))
                assert states(copy)[earlier.number - 1] == "accepted"
                copy.unlink()
            ledger.record_outcome(message, SUCCEEDED, ACCEPTED)
            earlier = message


async def test_after_a_failed_write_nothing_that_waits_is_written(planned: Path, running: Running) -> None:
    async with running(planned) as ledger:
        messages = await ledger.claim(State.QUEUED, 0, 3)
        statements = traced(ledger)

        def fail(_: sqlite3.Connection) -> None:
            raise sqlite3.OperationalError("disk I/O error")

        with held_up(ledger):
            failing = ledger.execute(fail)
        with pytest.raises(LedgerError, match="disk I/O error"):
            await failing
        statements.clear()
        ledger.record_outcome(messages[0], SUCCEEDED, ACCEPTED)
        with pytest.raises(LedgerError, match="disk I/O error"):
            await begin(ledger, messages[1])
        assert "COMMIT" not in statements
        assert not [statement for statement in statements if statement.startswith(("UPDATE", "INSERT"))]
    assert states(planned) == ["queued"] * 3


async def test_a_writer_works_as_steps_of_the_loop_too(planned: Path, check_ledger: CheckLedger) -> None:
    pauses = iter([0.0, 0.01] * 50)
    driver = LoopSteps(lambda: next(pauses))
    record = RunStart("https://adaxes.example/restApi", "1.0", "anna", "server-1", 4711, "{}", "--yes")
    threads = threading.active_count()
    ledger = await open_for_run(planned, Recovery(State.UNKNOWN, 5), record, driver=driver)
    messages = await ledger.claim(State.QUEUED, 0, 3)
    await asyncio.gather(*(begin(ledger, message) for message in messages))
    for message in messages:
        ledger.record_outcome(message, SUCCEEDED, ACCEPTED)
    await ledger.close()
    assert threading.active_count() == threads
    assert states(planned) == ["accepted"] * 3
    check_ledger(planned, 3)


async def test_nobody_else_writes_while_a_run_lives(planned: Path, running: Running) -> None:
    async with running(planned) as ledger:
        await begin(ledger, (await ledger.claim(State.QUEUED, 0, 1))[0])
        with (
            closing(sqlite3.connect(planned, isolation_level=None, timeout=0.0)) as somebody,
            pytest.raises(sqlite3.OperationalError, match="locked"),
        ):
            somebody.execute("UPDATE message SET state = 'accepted'")


async def test_a_log_that_has_grown_is_folded_into_the_file_and_still_says_that_it_is_there(
    plan_as: PlanAs, tmp_path: Path, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bulksms.ledger.sqlite.recovery.FOLD_AT", 100_000)
    path = plan_as(tmp_path / "people.ledger.db", 200)
    log = path.with_name(path.name + "-wal")
    async with running(path) as ledger:
        for message in await ledger.claim(State.QUEUED, 0, 200):
            await begin(ledger, message)
            ledger.record_outcome(message, SUCCEEDED, ACCEPTED)
        await ledger.flush()
        assert 0 < log.stat().st_size < 400_000
        alone = Path(shutil.copyfile(path, tmp_path / "alone.db"))
    with open_ledger(alone) as reader:
        counts = reader.counts()
    assert counts.is_log_lost
    assert counts.counts[State.ACCEPTED] > 100
    assert counts.counts[State.QUEUED] == 0


async def test_a_reader_that_keeps_the_log_delays_the_next_fold_until_it_has_grown_as_much_again(
    plan_as: PlanAs, tmp_path: Path, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bulksms.ledger.sqlite.recovery.FOLD_AT", 100_000)
    path = plan_as(tmp_path / "people.ledger.db", 400)
    log = path.with_name(path.name + "-wal")
    sizes: list[int] = []

    def note_folds(statement: str) -> None:
        if "wal_checkpoint" in statement:
            sizes.append(log.stat().st_size)

    async with running(path) as ledger:
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT COUNT(*) FROM message").fetchone()
            ledger._connection.set_trace_callback(note_folds)
            for message in await ledger.claim(State.QUEUED, 0, 400):
                await begin(ledger, message)
            await ledger.flush()
            ledger._connection.set_trace_callback(None)
    assert len(sizes) >= 2
    assert all(after - before >= 100_000 for before, after in pairwise(sizes))


async def test_everything_that_is_known_of_an_attempt_is_written_down(planned: Path, running: Running) -> None:
    result = OperationResult(ResultType.SUCCEEDED, None, ("no gateway — 🙁", "b"), "CN=Ärger\\, A,DC=x")
    answered = Attempt(True, 200, result=result, began_at=1_700_000_000.5, elapsed=0.25)
    refused = Attempt(True, 404, api_error=ApiError("Not found.", "objectNotFound"), began_at=3.0, elapsed=1.0)
    lost = Attempt(True, failure=Failure.READ_TIMEOUT, detail="no answer", began_at=7.0, elapsed=30.0)
    async with running(planned) as ledger:
        messages = await ledger.claim(State.QUEUED, 0, 10)
        for message in messages:
            await begin(ledger, message)
        ledger.record_outcome(messages[0], answered, ACCEPTED)
        ledger.record_outcome(messages[1], refused, OutcomeRecord(State.FAILED, Reason.REJECTED, evidence="rejected"))
        doubt = Reason.NO_ANSWER
        ledger.record_outcome(messages[2], lost, OutcomeRecord(State.UNKNOWN, doubt, doubt, evidence="lost"))
    with open_ledger(planned) as reader:
        accepted, failed, unknown = reader.messages()
    assert (accepted.state, accepted.reason, accepted.http_status, accepted.result_type) == ("accepted", None, 200, 0)
    assert (accepted.warnings, accepted.object_dn) == (("no gateway — 🙁", "b"), "CN=Ärger\\, A,DC=x")
    assert (accepted.first_attempt_at, accepted.finished_at, accepted.latency_ms) == (100.0, 1_700_000_000.75, 250.0)
    assert (failed.state, failed.reason, failed.http_status) == ("failed", "rejected", 404)
    assert (failed.error_code, failed.error) == ("objectNotFound", "Not found.")
    assert (unknown.state, unknown.reason, unknown.http_status) == ("unknown", "no_answer", None)
    assert (unknown.error_code, unknown.error, unknown.attempts) == ("read_timeout", "no answer", 1)
    assert all_attempts(planned) == [
        (1, 1, 1, 1_700_000_000.5, 1_700_000_000.75, 1, 200, "succeeded", None, 250.0),
        (2, 1, 1, 3.0, 4.0, 1, 404, "rejected", "Not found.", 1000.0),
        (3, 1, 1, 7.0, 37.0, 1, None, "lost", "no answer", 30_000.0),
    ]


async def test_an_operation_keeps_its_id_and_the_latency_of_its_send(
    planned: Path, running: Running, check_ledger: CheckLedger
) -> None:
    started = Attempt(True, 202, operation_id="op 7", began_at=100.0, elapsed=0.5)
    async with running(planned) as ledger:
        first, *_ = await ledger.claim(State.QUEUED, 0, 10)
        await begin(ledger, first)
        ledger.record_outcome(first, started, OutcomeRecord(State.PROCESSING, evidence="started"))
        await ledger.flush()
        check_ledger(planned, 3)
    async with running(planned) as ledger:
        (first,) = await ledger.claim(State.PROCESSING, 0, 10, again=True)
        assert (first.number, first.operation_id, first.attempts) == (1, "op 7", 1)
        ledger.record_outcome(first, SUCCEEDED, OutcomeRecord(State.ACCEPTED, previous_state=State.PROCESSING))
        await ledger.flush()
    with open_ledger(planned) as reader:
        line = next(reader.messages())
    assert (line.state, line.operation_id, line.latency_ms, line.finished_at) == ("accepted", "op 7", 500.0, 100.25)
    assert len(all_attempts(planned)) == 1
    check_ledger(planned, 3)


async def test_what_was_requeued_to_the_queue_is_settled_out_of_it(
    planned: Path, running: Running, check_ledger: CheckLedger
) -> None:
    async with running(planned) as ledger:
        first, *_ = await ledger.claim(State.QUEUED, 0, 10)
        await begin(ledger, first)
        first.tries -= 1
        with held_up(ledger):
            ledger.record_outcome(first, BUSY, AGAIN)
            released = OutcomeRecord(State.FAILED, Reason.REJECTED_BEFORE_API, previous_state=State.QUEUED)
            ledger.record_outcome(first, BUSY, released)
        await ledger.flush()
    assert states(planned) == ["failed", "queued", "queued"]
    assert len(all_attempts(planned)) == 1
    check_ledger(planned, 3)


async def test_an_attempt_after_doubt_is_counted_once_as_perhaps_the_second_delivery(
    planned: Path, running: Running, check_ledger: CheckLedger
) -> None:
    async with running(planned) as ledger:
        first, *_ = await ledger.claim(State.QUEUED, 0, 10)
        await begin(ledger, first)
        assert not first.possible_duplicate
        for _ in range(3):
            first.in_doubt = Reason.AMBIGUOUS_ANSWER
            ledger.record_outcome(first, BUSY, AGAIN._replace(in_doubt=Reason.AMBIGUOUS_ANSWER))
            await begin(ledger, first)
            assert first.possible_duplicate
            assert (await ledger.counts()).possible_duplicate == 1
        ledger.record_outcome(first, SUCCEEDED, ACCEPTED._replace(in_doubt=Reason.AMBIGUOUS_ANSWER))
        await ledger.flush()
    with open_ledger(planned) as reader:
        assert [line.possible_duplicate for line in reader.messages()] == [True, False, False]
        assert reader.counts().possible_duplicate == 1
    check_ledger(planned, 3)


async def test_messages_are_claimed_in_the_order_of_the_plan_with_what_earlier_attempts_left(
    plan_as: PlanAs, tmp_path: Path, running: Running
) -> None:
    path = plan_as(tmp_path / "people.ledger.db", 7)
    async with running(path) as ledger:
        pages = []
        last = 0
        while page := await ledger.claim(State.QUEUED, last, 3):
            pages.append([message.number for message in page])
            last = page[-1].number
        assert pages == [[1, 2, 3], [4, 5, 6], [7]]
        (second,) = await ledger.claim(State.QUEUED, 1, 1)
        assert second == Message(2, 3, "CN=User 2,DC=x", "Text 2")
        await begin(ledger, second)
        second.in_doubt = Reason.AMBIGUOUS_ANSWER
        ledger.record_outcome(second, BUSY, AGAIN._replace(in_doubt=Reason.AMBIGUOUS_ANSWER))
        await ledger.flush()
        (again,) = await ledger.claim(State.QUEUED, 1, 1)
        assert again == second


@pytest.mark.parametrize(("state", "reason"), [(State.CANCELLED, Reason.CANCELLED), (State.EXPIRED, Reason.DEADLINE)])
async def test_what_is_withdrawn_is_unknown_if_an_earlier_attempt_may_have_been_processed(
    state: State, reason: Reason, planned: Path, running: Running, check_ledger: CheckLedger
) -> None:
    async with running(planned) as ledger:
        first, second, _ = await ledger.claim(State.QUEUED, 0, 10)
        await begin(ledger, first)
        await begin(ledger, second)
        ledger.record_outcome(first, BUSY, AGAIN._replace(in_doubt=Reason.AMBIGUOUS_ANSWER))
        await ledger.withdraw(state, reason)
        check_ledger(planned, 3)
        # The answer to what was under way still counts.
        ledger.record_outcome(second, SUCCEEDED, ACCEPTED)
        await ledger.flush()
    with open_ledger(planned) as reader:
        lines = [(line.state, line.reason, line.attempts) for line in reader.messages()]
    assert lines == [
        (State.UNKNOWN, Reason.AMBIGUOUS_ANSWER, 1),
        (State.ACCEPTED, None, 1),
        (state, reason, 0),
    ]
    check_ledger(planned, 3)


@pytest.mark.parametrize(
    ("was", "state"),
    [
        (State.SENDING, State.SENDING),
        (State.SENDING, State.SKIPPED),
        (State.SENDING, State.CANCELLED),
        (State.QUEUED, State.ACCEPTED),
        (State.QUEUED, State.QUEUED),
        (State.PROCESSING, State.QUEUED),
        (State.ACCEPTED, State.FAILED),
        (State.AWAITING_APPROVAL, State.QUEUED),
    ],
)
async def test_an_illegal_move_is_a_mistake_of_the_caller_and_changes_nothing(
    was: State, state: State, planned: Path, running: Running, check_ledger: CheckLedger
) -> None:
    async with running(planned) as ledger:
        first, second, _ = await ledger.claim(State.QUEUED, 0, 10)
        await begin(ledger, first)
        with pytest.raises(ValueError, match=f"from {was} to {state}"):
            ledger.record_outcome(first, SUCCEEDED, OutcomeRecord(state, previous_state=was))
        await begin(ledger, second)
    assert states(planned) == ["sending", "sending", "queued"]
    check_ledger(planned, 3)


async def broken_for_good(ledger: SqliteWriter, message: Message, words: str) -> None:
    """Whatever is asked of a writer that failed once, it says why and writes nothing."""
    ledger.record_outcome(message, SUCCEEDED, ACCEPTED)  # nobody waits for this one; what comes next tells
    for call in (
        lambda: begin(ledger, message),
        lambda: ledger.claim(State.QUEUED, 0, 1),
        ledger.counts,
        ledger.flush,
        lambda: ledger.end_run("ledger", 1.0, 0),
    ):
        with pytest.raises(LedgerError, match=words):
            await call()


async def test_rows_that_somebody_else_moved_are_trouble_for_everyone(
    plan_as: PlanAs, tmp_path: Path, running: Running
) -> None:
    path = plan_as(tmp_path / "people.ledger.db", 10)
    async with running(path) as ledger:
        messages = await ledger.claim(State.QUEUED, 0, 10)
        await ledger.execute(lambda it: it.execute("UPDATE message SET state = 'accepted' WHERE number = 4"))
        with held_up(ledger):
            begun = [begin(ledger, message) for message in messages]
        outcomes = await asyncio.gather(*begun, return_exceptions=True)
        assert all(isinstance(outcome, LedgerError) for outcome in outcomes)
        assert len(outcomes) == 10
        await broken_for_good(ledger, messages[0], "changed by somebody else")
    assert states(path) == ["queued"] * 3 + ["accepted"] + ["queued"] * 6
    assert not all_attempts(path)


async def test_a_full_disk_breaks_the_writer_for_good_and_the_ledger_opens_again(
    plan_as: PlanAs, tmp_path: Path, running: Running, check_ledger: CheckLedger
) -> None:
    path = plan_as(tmp_path / "people.ledger.db", 20)
    async with running(path) as ledger:
        messages = await ledger.claim(State.QUEUED, 0, 20)
        await asyncio.gather(*(begin(ledger, message) for message in messages[:10]))
        await ledger.execute(lambda connection: connection.execute("PRAGMA max_page_count = 1"))
        endless = Attempt(True, 500, detail="x" * 20_000)
        with held_up(ledger):
            waiters = [begin(ledger, message) for message in messages[10:]]
            for message in messages[:10]:
                ledger.record_outcome(message, endless, AGAIN)
        outcomes = await asyncio.gather(*waiters, return_exceptions=True)
        assert {str(outcome) for outcome in outcomes} == {"The disk that holds people.ledger.db is full."}
        await broken_for_good(ledger, messages[0], "is full")
    assert states(path) == ["sending"] * 10 + ["queued"] * 10
    async with running(path) as ledger:
        left = await ledger.claim(State.QUEUED, 0, 20)
        assert [message.number for message in left] == list(range(11, 21))
        await asyncio.gather(*(begin(ledger, message) for message in left))
    check_ledger(path, 20)


class FailingConnection:
    """A connection that fails at one statement; everything else goes through."""

    def __init__(self, connection: sqlite3.Connection, statement: str) -> None:
        self._connection = connection
        self._statement = statement

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        if sql.startswith(self._statement):
            raise sqlite3.OperationalError("disk I/O error")
        return self._connection.execute(sql, *values)


@pytest.mark.parametrize("statement", ["BEGIN", "COMMIT"])
async def test_a_commit_that_fails_breaks_the_writer_for_good_and_the_ledger_opens_again(
    statement: str, planned: Path, running: Running, check_ledger: CheckLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(planned) as ledger:
        messages = await ledger.claim(State.QUEUED, 0, 3)
        failing = FailingConnection(ledger._connection, statement)
        with monkeypatch.context() as patch:
            if statement == "BEGIN":  # which opens the next transaction as soon as one is on disk
                patch.setattr(ledger, "_connection", failing)
            await begin(ledger, messages[0])
            patch.setattr(ledger, "_connection", failing)
            with nullcontext() if statement == "BEGIN" else held_up(ledger):
                ledger.record_outcome(messages[0], SUCCEEDED, ACCEPTED)
                waiters = [begin(ledger, message) for message in messages[1:]]
            outcomes = await asyncio.gather(*waiters, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [LedgerError] * 2
        assert "disk I/O error" in str(outcomes[0])
        # The disk is well again, but nobody knows what it forgot: still nothing is written.
        await broken_for_good(ledger, messages[1], "disk I/O error")
    assert states(planned) == ["sending", "queued", "queued"]
    async with running(planned) as ledger:
        left = await ledger.claim(State.QUEUED, 0, 3)
        await asyncio.gather(*(begin(ledger, message) for message in left))
    check_ledger(planned, 3)


async def test_an_end_that_fails_still_lets_go_of_the_ledger(
    planned: Path, running: Running, check_ledger: CheckLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(planned) as ledger:
        first, *_ = await ledger.claim(State.QUEUED, 0, 3)
        await begin(ledger, first)
        monkeypatch.setattr(ledger, "_connection", FailingConnection(ledger._connection, "PRAGMA wal_checkpoint"))
    async with running(planned) as ledger:
        assert (await ledger.counts()).counts[State.UNKNOWN] == 1
    check_ledger(planned, 3)


async def test_after_the_end_everybody_is_reported_and_nobody_waits(planned: Path, running: Running) -> None:
    async with running(planned) as ledger:
        first, *_ = await ledger.claim(State.QUEUED, 0, 10)
    await broken_for_good(ledger, first, "has ended")
    await ledger.close()
    assert states(planned) == ["queued"] * 3


async def test_the_end_waits_for_everything_that_was_handed_over(planned: Path, running: Running) -> None:
    async with running(planned) as ledger:
        messages = await ledger.claim(State.QUEUED, 0, 10)
        for message in messages:
            await begin(ledger, message)
        with held_up(ledger):
            for message in messages:
                ledger.record_outcome(message, SUCCEEDED, ACCEPTED)
            closing_down = asyncio.ensure_future(ledger.close())
            await asyncio.sleep(0)
        await closing_down
    assert states(planned) == ["accepted"] * 3


async def test_a_waiter_that_is_cancelled_disturbs_nobody(
    planned: Path, running: Running, check_ledger: CheckLedger
) -> None:
    async with running(planned) as ledger:
        messages = await ledger.claim(State.QUEUED, 0, 3)
        with held_up(ledger):
            waiters = [begin(ledger, message) for message in messages]
            claimed = ledger.claim(State.PROCESSING, 0, 1)
            waiters[1].cancel()
            claimed.cancel()
        outcomes = await asyncio.gather(*waiters, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [bool, asyncio.CancelledError, bool]
        # The intent of the cancelled one is on disk all the same: it has to be settled as well.
        assert states(planned) == ["sending"] * 3
        ledger.record_outcome(
            messages[1], Attempt(headers_sent=False), OutcomeRecord(State.QUEUED, evidence="never_left")
        )
        await ledger.flush()
    assert states(planned) == ["sending", "queued", "sending"]
    check_ledger(planned, 3)


async def test_no_call_of_sqlite_is_made_in_the_event_loops_thread(
    planned: Path, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: set[int] = set()
    calls: list[str] = []

    class Watched(sqlite3.Connection):
        def __getattribute__(self, name: str) -> Any:
            threads.add(threading.get_ident())
            calls.append(name)
            return super().__getattribute__(name)

    connect = functools.partial(sqlite3.connect, factory=Watched)
    monkeypatch.setattr(sqlite3, "connect", connect)
    async with running(planned) as ledger:
        first, second, _ = await ledger.claim(State.QUEUED, 0, 10)
        await begin(ledger, first)
        ledger.record_outcome(first, BUSY, AGAIN)
        await begin(ledger, first)
        ledger.record_outcome(first, SUCCEEDED, ACCEPTED)
        await begin(ledger, second)
        await ledger.counts()
        await ledger.flush()
        await ledger.end_run(None, 1.0, 1)
    assert {"execute", "total_changes", "close"} <= set(calls)
    assert threading.get_ident() not in threads


def test_a_run_that_is_given_up_with_its_loop_still_ends_its_writer(planned: Path) -> None:
    loop_is_closed = threading.Event()

    async def give_up() -> SqliteWriter:
        record = RunStart("https://adaxes.example/restApi", "1.0", "anna", "server-1", 4711, "{}", "--yes")
        ledger = await open_for_run(planned, Recovery(State.UNKNOWN, 5), record)
        first, *_ = await ledger.claim(State.QUEUED, 0, 1)
        ledger.execute(lambda _: loop_is_closed.wait(30))
        begin(ledger, first)
        return ledger

    ledger = asyncio.run(give_up())
    loop_is_closed.set()
    asyncio.run(ledger.close())
    assert states(planned) == ["sending", "queued", "queued"]
