"""Laws of the writer: on disk before it is said, many in one commit, nothing after a failure, nothing on the loop."""

import asyncio
import functools
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from bulksms.attempt import ApiError, Attempt, Failure, OperationResult, ResultType
from bulksms.errors import LedgerTrouble
from bulksms.ledger.file import Recovery
from bulksms.ledger.reader import LedgerReader
from bulksms.ledger.settlement import Settlement
from bulksms.ledger.writer import LedgerWriter, RunRecord, open_for_run
from bulksms.message import Message, Reason, State

Running = Callable[..., AbstractAsyncContextManager[LedgerWriter]]
PlanAs = Callable[..., Path]
AsItLies = Callable[[Path, Path], Path]
Books = Callable[[Path, int], None]

SUCCEEDED = Attempt(True, 200, result=OperationResult(ResultType.SUCCEEDED), began_at=100.0, elapsed=0.25)
BUSY = Attempt(True, 503, retry_after=2.0, began_at=100.0, elapsed=0.1)
ACCEPTED = Settlement(State.ACCEPTED, evidence="succeeded")
AGAIN = Settlement(State.QUEUED, evidence="not_processed")


def begin(ledger: LedgerWriter, message: Message) -> asyncio.Future[None]:
    message.attempts += 1
    message.tries += 1
    return ledger.begin(message, 100.0)


@contextmanager
def held_up(ledger: LedgerWriter) -> Iterator[None]:
    """While this holds the writer's thread, everything that is handed over waits for the next commit."""
    go_on, waiting = threading.Event(), threading.Event()

    def wait(_: sqlite3.Connection) -> None:
        waiting.set()
        go_on.wait()

    ledger.errand(wait)
    assert waiting.wait(30)
    try:
        yield
    finally:
        go_on.set()


def traced(ledger: LedgerWriter) -> list[str]:
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
        ledger.settle(first, SUCCEEDED, ACCEPTED)
        await begin(ledger, second)
        assert states(as_it_lies(planned, planned.with_name("later.db"))) == ["accepted", "sending", "queued"]


async def test_a_commit_is_flushed_to_the_disk(planned: Path, running: Running) -> None:
    async with running(planned) as ledger:
        synchronous = await ledger.errand(lambda connection: connection.execute("PRAGMA synchronous").fetchone())
        journal = await ledger.errand(lambda connection: connection.execute("PRAGMA journal_mode").fetchone())
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
                ledger.settle(message, BUSY, AGAIN)
            begun = [begin(ledger, message) for message in messages[:25]]
        await asyncio.gather(*begun)
        assert statements.count("COMMIT") == 2
    assert len(all_attempts(path)) == 25


async def test_settlements_are_written_before_beginnings(planned: Path, running: Running, books: Books) -> None:
    async with running(planned) as ledger:
        first, *_ = await ledger.claim(State.QUEUED, 0, 10)
        await begin(ledger, first)
        with held_up(ledger):
            ledger.settle(first, BUSY, AGAIN)
            again = begin(ledger, first)
        await again
        with LedgerReader(planned) as reader:
            line = next(reader.lines())
        assert (line.state, line.attempts) == (State.SENDING, 2)
        books(planned, 3)
    assert [row[:2] for row in all_attempts(planned)] == [(1, 1)]


async def test_everything_that_is_known_of_an_attempt_is_written_down(planned: Path, running: Running) -> None:
    result = OperationResult(ResultType.SUCCEEDED, None, ("no gateway — 🙁", "b"), "CN=Ärger\\, A,DC=x")
    answered = Attempt(True, 200, result=result, began_at=1_700_000_000.5, elapsed=0.25)
    refused = Attempt(True, 404, api_error=ApiError("Not found.", "objectNotFound"), began_at=3.0, elapsed=1.0)
    lost = Attempt(True, failure=Failure.READ_TIMEOUT, detail="no answer", began_at=7.0, elapsed=30.0)
    async with running(planned) as ledger:
        messages = await ledger.claim(State.QUEUED, 0, 10)
        for message in messages:
            await begin(ledger, message)
        ledger.settle(messages[0], answered, ACCEPTED)
        ledger.settle(messages[1], refused, Settlement(State.FAILED, Reason.REFUSED, evidence="refused"))
        doubt = Reason.LOST_ANSWER
        ledger.settle(messages[2], lost, Settlement(State.UNKNOWN, doubt, doubt, evidence="lost"))
    with LedgerReader(planned) as reader:
        accepted, failed, unknown = reader.lines()
    assert (accepted.state, accepted.reason, accepted.http_status, accepted.result_type) == ("accepted", None, 200, 0)
    assert (accepted.warnings, accepted.object_dn) == (("no gateway — 🙁", "b"), "CN=Ärger\\, A,DC=x")
    assert (accepted.first_attempt_at, accepted.finished_at, accepted.latency_ms) == (100.0, 1_700_000_000.75, 250.0)
    assert (failed.state, failed.reason, failed.http_status) == ("failed", "refused", 404)
    assert (failed.error_code, failed.error) == ("objectNotFound", "Not found.")
    assert (unknown.state, unknown.reason, unknown.http_status) == ("unknown", "lost_answer", None)
    assert (unknown.error_code, unknown.error, unknown.attempts) == ("read_timeout", "no answer", 1)
    assert all_attempts(planned) == [
        (1, 1, 1, 1_700_000_000.5, 1_700_000_000.75, 1, 200, "succeeded", None, 250.0),
        (2, 1, 1, 3.0, 4.0, 1, 404, "refused", "Not found.", 1000.0),
        (3, 1, 1, 7.0, 37.0, 1, None, "lost", "no answer", 30_000.0),
    ]


async def test_an_operation_keeps_its_id_and_the_latency_of_its_send(
    planned: Path, running: Running, books: Books
) -> None:
    started = Attempt(True, 202, operation_id="op 7", began_at=100.0, elapsed=0.5)
    async with running(planned) as ledger:
        first, *_ = await ledger.claim(State.QUEUED, 0, 10)
        await begin(ledger, first)
        ledger.settle(first, started, Settlement(State.PROCESSING, evidence="started"))
        await ledger.flush()
        books(planned, 3)
    async with running(planned) as ledger:
        (first,) = await ledger.claim(State.PROCESSING, 0, 10, again=True)
        assert (first.number, first.operation_id, first.attempts) == (1, "op 7", 1)
        ledger.settle(first, SUCCEEDED, Settlement(State.ACCEPTED, was=State.PROCESSING))
        await ledger.flush()
    with LedgerReader(planned) as reader:
        line = next(reader.lines())
    assert (line.state, line.operation_id, line.latency_ms, line.finished_at) == ("accepted", "op 7", 500.0, 100.25)
    assert len(all_attempts(planned)) == 1
    books(planned, 3)


async def test_what_was_given_back_to_the_queue_is_settled_out_of_it(
    planned: Path, running: Running, books: Books
) -> None:
    async with running(planned) as ledger:
        first, *_ = await ledger.claim(State.QUEUED, 0, 10)
        await begin(ledger, first)
        first.tries -= 1
        with held_up(ledger):
            ledger.settle(first, BUSY, AGAIN)
            released = Settlement(State.FAILED, Reason.REFUSED_ELSEWHERE, was=State.QUEUED)
            ledger.settle(first, BUSY, released)
        await ledger.flush()
    assert states(planned) == ["failed", "queued", "queued"]
    assert len(all_attempts(planned)) == 1
    books(planned, 3)


async def test_an_attempt_after_doubt_is_counted_once_as_perhaps_the_second_delivery(
    planned: Path, running: Running, books: Books
) -> None:
    async with running(planned) as ledger:
        first, *_ = await ledger.claim(State.QUEUED, 0, 10)
        await begin(ledger, first)
        assert not first.may_have_sent_twice
        for _ in range(3):
            first.doubt = Reason.DOUBTFUL_ANSWER
            ledger.settle(first, BUSY, AGAIN._replace(doubt=Reason.DOUBTFUL_ANSWER))
            await begin(ledger, first)
            assert first.may_have_sent_twice
            assert (await ledger.standing()).may_have_sent_twice == 1
        ledger.settle(first, SUCCEEDED, ACCEPTED._replace(doubt=Reason.DOUBTFUL_ANSWER))
        await ledger.flush()
    with LedgerReader(planned) as reader:
        assert [line.may_have_sent_twice for line in reader.lines()] == [True, False, False]
        assert reader.standing().may_have_sent_twice == 1
    books(planned, 3)


async def test_claims_come_in_the_plans_order_with_what_earlier_attempts_left(
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
        second.doubt = Reason.DOUBTFUL_ANSWER
        ledger.settle(second, BUSY, AGAIN._replace(doubt=Reason.DOUBTFUL_ANSWER))
        await ledger.flush()
        (again,) = await ledger.claim(State.QUEUED, 1, 1)
        assert again == second


@pytest.mark.parametrize(("state", "reason"), [(State.CANCELLED, Reason.CANCELLED), (State.EXPIRED, Reason.DEADLINE)])
async def test_what_is_withdrawn_is_unknown_if_an_earlier_attempt_may_have_been_processed(
    state: State, reason: Reason, planned: Path, running: Running, books: Books
) -> None:
    async with running(planned) as ledger:
        first, second, _ = await ledger.claim(State.QUEUED, 0, 10)
        await begin(ledger, first)
        await begin(ledger, second)
        ledger.settle(first, BUSY, AGAIN._replace(doubt=Reason.DOUBTFUL_ANSWER))
        await ledger.withdraw(state, reason)
        books(planned, 3)
        # The answer to what was under way still counts.
        ledger.settle(second, SUCCEEDED, ACCEPTED)
        await ledger.flush()
    with LedgerReader(planned) as reader:
        lines = [(line.state, line.reason, line.attempts) for line in reader.lines()]
    assert lines == [
        (State.UNKNOWN, Reason.DOUBTFUL_ANSWER, 1),
        (State.ACCEPTED, None, 1),
        (state, reason, 0),
    ]
    books(planned, 3)


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
    was: State, state: State, planned: Path, running: Running, books: Books
) -> None:
    async with running(planned) as ledger:
        first, second, _ = await ledger.claim(State.QUEUED, 0, 10)
        await begin(ledger, first)
        with pytest.raises(ValueError, match=f"from {was} to {state}"):
            ledger.settle(first, SUCCEEDED, Settlement(state, was=was))
        await begin(ledger, second)
    assert states(planned) == ["sending", "sending", "queued"]
    books(planned, 3)


async def broken_for_good(ledger: LedgerWriter, message: Message, words: str) -> None:
    """Whatever is asked of a writer that failed once, it says why and writes nothing."""
    ledger.settle(message, SUCCEEDED, ACCEPTED)  # nobody waits for this one; what comes next tells
    for call in (
        lambda: begin(ledger, message),
        lambda: ledger.claim(State.QUEUED, 0, 1),
        ledger.standing,
        ledger.flush,
        lambda: ledger.end_run("ledger", 1.0, 0),
    ):
        with pytest.raises(LedgerTrouble, match=words):
            await call()


async def test_rows_that_somebody_else_moved_are_trouble_for_everyone(
    plan_as: PlanAs, tmp_path: Path, running: Running
) -> None:
    path = plan_as(tmp_path / "people.ledger.db", 10)
    async with running(path) as ledger:
        messages = await ledger.claim(State.QUEUED, 0, 10)
        with closing(sqlite3.connect(path, isolation_level=None)) as somebody:
            somebody.execute("UPDATE message SET state = 'accepted' WHERE number = 4")
        with held_up(ledger):
            begun = [begin(ledger, message) for message in messages]
        outcomes = await asyncio.gather(*begun, return_exceptions=True)
        assert all(isinstance(outcome, LedgerTrouble) for outcome in outcomes)
        assert len(outcomes) == 10
        await broken_for_good(ledger, messages[0], "changed by somebody else")
    assert states(path) == ["queued"] * 3 + ["accepted"] + ["queued"] * 6
    assert not all_attempts(path)


async def test_a_full_disk_breaks_the_writer_for_good_and_the_ledger_opens_again(
    plan_as: PlanAs, tmp_path: Path, running: Running, books: Books
) -> None:
    path = plan_as(tmp_path / "people.ledger.db", 20)
    async with running(path) as ledger:
        messages = await ledger.claim(State.QUEUED, 0, 20)
        await asyncio.gather(*(begin(ledger, message) for message in messages[:10]))
        await ledger.errand(lambda connection: connection.execute("PRAGMA max_page_count = 1"))
        endless = Attempt(True, 500, detail="x" * 20_000)
        with held_up(ledger):
            waiters = [begin(ledger, message) for message in messages[10:]]
            for message in messages[:10]:
                ledger.settle(message, endless, AGAIN)
        outcomes = await asyncio.gather(*waiters, return_exceptions=True)
        assert {str(outcome) for outcome in outcomes} == {"The disk that holds people.ledger.db is full."}
        await broken_for_good(ledger, messages[0], "is full")
    assert states(path) == ["sending"] * 10 + ["queued"] * 10
    async with running(path) as ledger:
        left = await ledger.claim(State.QUEUED, 0, 20)
        assert [message.number for message in left] == list(range(11, 21))
        await asyncio.gather(*(begin(ledger, message) for message in left))
    books(path, 20)


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
    statement: str, planned: Path, running: Running, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(planned) as ledger:
        messages = await ledger.claim(State.QUEUED, 0, 3)
        await begin(ledger, messages[0])
        failing = FailingConnection(ledger._connection, statement)
        with monkeypatch.context() as patch:
            patch.setattr(ledger, "_connection", failing)
            with held_up(ledger):
                ledger.settle(messages[0], SUCCEEDED, ACCEPTED)
                waiters = [begin(ledger, message) for message in messages[1:]]
            outcomes = await asyncio.gather(*waiters, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [LedgerTrouble] * 2
        assert "disk I/O error" in str(outcomes[0])
        # The disk is well again, but nobody knows what it forgot: still nothing is written.
        await broken_for_good(ledger, messages[1], "disk I/O error")
    assert states(planned) == ["sending", "queued", "queued"]
    async with running(planned) as ledger:
        left = await ledger.claim(State.QUEUED, 0, 3)
        await asyncio.gather(*(begin(ledger, message) for message in left))
    books(planned, 3)


async def test_an_end_that_fails_still_lets_go_of_the_ledger(
    planned: Path, running: Running, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(planned) as ledger:
        first, *_ = await ledger.claim(State.QUEUED, 0, 3)
        await begin(ledger, first)
        monkeypatch.setattr(ledger, "_connection", FailingConnection(ledger._connection, "PRAGMA wal_checkpoint"))
    async with running(planned) as ledger:
        assert (await ledger.standing()).counts[State.UNKNOWN] == 1
    books(planned, 3)


async def test_after_the_end_everybody_is_told_and_nobody_waits(planned: Path, running: Running) -> None:
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
                ledger.settle(message, SUCCEEDED, ACCEPTED)
            closing_down = asyncio.ensure_future(ledger.close())
            await asyncio.sleep(0)
        await closing_down
    assert states(planned) == ["accepted"] * 3


async def test_a_waiter_that_is_cancelled_disturbs_nobody(planned: Path, running: Running, books: Books) -> None:
    async with running(planned) as ledger:
        messages = await ledger.claim(State.QUEUED, 0, 3)
        with held_up(ledger):
            waiters = [begin(ledger, message) for message in messages]
            claimed = ledger.claim(State.PROCESSING, 0, 1)
            waiters[1].cancel()
            claimed.cancel()
        outcomes = await asyncio.gather(*waiters, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [type(None), asyncio.CancelledError, type(None)]
        # The intent of the cancelled one is on disk all the same: it has to be settled as well.
        assert states(planned) == ["sending"] * 3
        ledger.settle(messages[1], Attempt(headers_sent=False), Settlement(State.QUEUED, evidence="never_left"))
        await ledger.flush()
    assert states(planned) == ["sending", "queued", "sending"]
    books(planned, 3)


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
        ledger.settle(first, BUSY, AGAIN)
        await begin(ledger, first)
        ledger.settle(first, SUCCEEDED, ACCEPTED)
        await begin(ledger, second)
        await ledger.standing()
        await ledger.flush()
        await ledger.end_run(None, 1.0, 1)
    assert {"execute", "total_changes", "close"} <= set(calls)
    assert threading.get_ident() not in threads


def test_a_run_that_is_given_up_with_its_loop_still_ends_its_writer(planned: Path) -> None:
    loop_is_closed = threading.Event()

    async def give_up() -> LedgerWriter:
        record = RunRecord("https://adaxes.example/restApi", "1.0", "anna", "server-1", 4711, "{}", "--yes")
        ledger = await open_for_run(planned, Recovery(State.UNKNOWN, 5), record)
        first, *_ = await ledger.claim(State.QUEUED, 0, 1)
        ledger.errand(lambda _: loop_is_closed.wait(30))
        begin(ledger, first)
        return ledger

    ledger = asyncio.run(give_up())
    loop_is_closed.set()
    asyncio.run(ledger.close())
    assert states(planned) == ["sending", "queued", "queued"]
