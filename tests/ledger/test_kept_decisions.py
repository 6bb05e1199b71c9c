"""Laws of what people decide: legal moves only, all or nothing, kept as history, and nobody forgotten by it."""

import asyncio
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulksms.attempt import Attempt, OperationResult, ResultType
from bulksms.delivery.outcome import STATUS_EVIDENCE, Evidence
from bulksms.delivery.retry import RetryPolicy, decide
from bulksms.errors import LedgerLocked, PlanRefused
from bulksms.ledger import decisions, file
from bulksms.ledger.decisions import Author, Retry
from bulksms.ledger.history import Move
from bulksms.ledger.reader import LedgerReader
from bulksms.ledger.selection import Selection
from bulksms.ledger.settlement import Settlement
from bulksms.ledger.verification import verify
from bulksms.ledger.writer import LedgerWriter
from bulksms.message import REASONS, RETRYABLE, UNFINISHED, Message, Reason, State

Running = Callable[..., AbstractAsyncContextManager[LedgerWriter]]
PlanAs = Callable[..., Path]
AsItLies = Callable[[Path, Path], Path]
Books = Callable[[Path, int], None]
Row = tuple[State, Reason | None]

ANNA = Author("anna", "server-1", "--yes")
EVERY_ROW: list[Row] = [(state, reason) for state, reasons in REASONS.items() for reason in (reasons or (None,))]
LEFT_AS_THEY_ARE = [row for row in EVERY_ROW if row[0] not in RETRYABLE]


def put(path: Path, rows: Sequence[Row]) -> Path:
    """Make the messages of a planned ledger stand like this, each after one attempt."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for number, (state, reason) in enumerate(rows, 1):
            doubt = reason if state is State.UNKNOWN else None
            evidence = "lost" if doubt else "refused"
            connection.execute(
                "UPDATE message SET state = ?, reason = ?, doubt = ?, attempts = 1, tries = 1, operation_id = '7', "
                "http_status = 503, error = 'said', first_attempt_at = 1, finished_at = 2 WHERE number = ?",
                (state, reason, doubt, number),
            )
            if state is State.SENDING:
                connection.execute("UPDATE message SET began_at = 3 WHERE number = ?", (number,))
            else:
                connection.execute(
                    "INSERT INTO attempt (message, attempt, run, began_at, evidence) VALUES (?, 1, 1, 1, ?)",
                    (number, evidence),
                )
        connection.execute(
            "UPDATE tally SET messages = (SELECT COUNT(*) FROM message WHERE state = name) "
            "WHERE name <> 'may_have_sent_twice'"
        )
    return path


def stand(path: Path) -> list[Row]:
    with LedgerReader(path) as reader:
        return [(line.state, None if line.reason is None else Reason(line.reason)) for line in reader.lines()]


def values(path: Path, columns: str, number: int = 1) -> tuple[object, ...]:
    with closing(sqlite3.connect(path)) as connection:
        row = connection.execute(f"SELECT {columns} FROM message WHERE number = ?", (number,)).fetchone()  # noqa: S608
    assert isinstance(row, tuple)
    return row


def broken_laws(path: Path) -> list[tuple[str, str]]:
    return [(law, broken) for law, broken in verify(path) if broken]


def again(selection: Selection, expected: int, numbers: Sequence[int] | None = None) -> Retry:
    return Retry(ANNA, selection, numbers, expected, None)


async def retry(path: Path, running: Running, wanted: Retry) -> None:
    async with running(path, again=wanted):
        pass


# Retry


@pytest.mark.parametrize("row", EVERY_ROW)
async def test_only_what_failed_expired_or_is_unknown_is_queued_again(
    row: Row, plan_as: PlanAs, running: Running, tmp_path: Path, books: Books
) -> None:
    state = row[0]
    path = put(plan_as(tmp_path / "a.db", 1), [row])
    if state not in RETRYABLE and state is not State.SENDING:
        with pytest.raises(PlanRefused, match="has changed"):
            await retry(path, running, again(Selection(frozenset({row})), 1))
        assert stand(path) == [row]
        return
    # What a dead run left `sending` is recovered first, and is `unknown` then.
    found = (State.UNKNOWN, Reason.CRASH) if state is State.SENDING else row
    await retry(path, running, again(Selection(frozenset({found})), 1))
    assert stand(path) == [(State.QUEUED, None)]
    doubt = found[1] if found[0] is State.UNKNOWN else None
    assert values(path, "attempts, tries, doubt, operation_id, finished_at, first_attempt_at, http_status, error") == (
        (1, 0, doubt, None, None, 1.0, 503, "said")
    )
    with LedgerReader(path) as reader:
        (decision,) = reader.decisions()
        assert decision.moves == (Move(found[0], found[1], State.QUEUED, 1),)
        assert (decision.what, decision.user, decision.host, decision.confirmed_by) == (
            "retry",
            "anna",
            "server-1",
            "--yes",
        )
        assert [run.number for run in reader.runs()] == [1]
    books(path, 1)
    assert not broken_laws(path)


async def test_a_retry_takes_what_is_selected_among_the_rows_that_are_named(
    plan_as: PlanAs, running: Running, tmp_path: Path
) -> None:
    rows = [(State.FAILED, Reason.GAVE_UP)] * 3 + [(State.FAILED, Reason.REFUSED)]
    path = put(plan_as(tmp_path / "a.db", 4), rows)
    await retry(path, running, again(Selection.parse("failed:gave_up"), 2, [2, 3, 4]))
    assert [state for state, _ in stand(path)] == [State.FAILED, State.QUEUED, State.QUEUED, State.FAILED]


async def test_a_retry_of_another_number_than_was_counted_changes_nothing(
    plan_as: PlanAs, running: Running, tmp_path: Path, books: Books
) -> None:
    rows = [(State.FAILED, Reason.GAVE_UP)] * 3
    path = put(plan_as(tmp_path / "a.db", 3), rows)
    with pytest.raises(PlanRefused, match="3 messages are to be sent again, not 2"):
        await retry(path, running, again(Selection.of(State.FAILED), 2))
    assert stand(path) == rows
    assert {entry.name for entry in path.parent.iterdir()} == {"a.db"}, "in one file, as before"
    with LedgerReader(path) as reader:
        assert not reader.decisions()
        assert not reader.runs()
        assert not reader.standing().is_living
    books(path, 3)
    await retry(path, running, again(Selection.of(State.FAILED), 3))


async def test_a_retry_puts_its_own_deadline_in_the_place_of_the_plan_s(
    plan_as: PlanAs, running: Running, tmp_path: Path
) -> None:
    path = put(plan_as(tmp_path / "a.db", 2), [(State.EXPIRED, Reason.DEADLINE)] * 2)
    for deadline in (None, 99.0):
        async with running(path) as ledger:
            await ledger.keep_deadline(7.0)
        await retry(
            path, running, Retry(ANNA, Selection.of(State.EXPIRED), [1 if deadline is None else 2], 1, deadline)
        )
        with LedgerReader(path) as reader:
            assert reader.plan().deadline == deadline


async def test_whoever_is_attempted_again_after_doubt_may_have_been_sent_to_twice(
    plan_as: PlanAs, running: Running, tmp_path: Path
) -> None:
    path = put(plan_as(tmp_path / "a.db", 2), [(State.UNKNOWN, Reason.LOST_ANSWER), (State.FAILED, Reason.GAVE_UP)])
    async with running(path, again=again(Selection.of(State.UNKNOWN, State.FAILED), 2)) as ledger:
        for message in await ledger.claim(State.QUEUED, 0, 2):
            assert message.tries == 0
            message.attempts += 1
            message.tries += 1
            await ledger.begin(message, 5.0)
    with LedgerReader(path) as reader:
        assert [line.may_have_sent_twice for line in reader.lines()] == [True, False]
        assert [line.attempts for line in reader.lines()] == [2, 2]
        assert reader.standing().may_have_sent_twice == 1


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from bulksms.ledger import decisions, file
from bulksms.ledger.decisions import Author, Retry
from bulksms.ledger.file import Recovery
from bulksms.ledger.selection import Selection
from bulksms.ledger.writer import RunRecord, open_for_run
from bulksms.message import State

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

where = sys.argv[2]
if where == "before the run is noted":
    queue_again = decisions.queue_again
    decisions.queue_again = lambda *arguments: (queue_again(*arguments), die())
elif where == "in the middle":
    decisions._MOVED = "SELECT die(), ?"
    import bulksms.ledger.file as file
    open_ledger = file.open_for_run
    def opened(*arguments):
        connection = open_ledger(*arguments)
        connection.create_function("die", 0, die)
        return connection
    file.open_for_run = opened

record = RunRecord("https://adaxes.example/restApi", "1.0", "anna", "server-1", 4711, "{}", "--yes")
retry = Retry(Author("anna", "server-1", "--yes"), Selection.of(State.FAILED), None, 3, None)

async def run():
    await open_for_run(Path(sys.argv[1]), Recovery(State.UNKNOWN, 5), record, retry)
    die()

asyncio.run(run())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize(
    ("where", "queued"), [("before the run is noted", 0), ("in the middle", 0), ("as soon as the ledger is open", 3)]
)
def test_a_retry_that_is_killed_has_queued_all_or_nothing(
    where: str, queued: int, plan_as: PlanAs, tmp_path: Path, books: Books
) -> None:
    path = put(plan_as(tmp_path / "a.db", 3), [(State.FAILED, Reason.GAVE_UP)] * 3)
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path), where], check=False, capture_output=True)
    assert killed.returncode == -9, killed.stderr
    with LedgerReader(path) as reader:
        assert reader.standing().counts[State.QUEUED] == queued
        assert len(reader.decisions()) == len(reader.runs()) == (1 if queued else 0)
    assert not broken_laws(path)
    books(path, 3)
    with file.changing(path, file.Recovery(State.UNKNOWN, 0), "the next one"):
        pass  # it can be used again


# Resolve


@pytest.mark.parametrize("outcome", [State.ACCEPTED, State.FAILED])
@pytest.mark.parametrize("reason", [*REASONS[State.UNKNOWN], None])
def test_what_is_unknown_is_settled_by_hand(
    reason: Reason | None, outcome: State, plan_as: PlanAs, tmp_path: Path, books: Books
) -> None:
    row = (State.SENDING, None) if reason is None else (State.UNKNOWN, reason)  # the one left by a dead run
    path = put(plan_as(tmp_path / "a.db", 2), [row, (State.ACCEPTED, None)])
    decisions.resolve(path, {1: outcome}, Author("anna", "server-1", "resolve", "rang them"))
    assert stand(path) == [(outcome, Reason.RESOLVED_BY_HAND), (State.ACCEPTED, None)]
    was = reason or Reason.CRASH
    assert values(path, "doubt, attempts, http_status") == (was, 1, 503)
    with LedgerReader(path) as reader:
        (decision,) = reader.decisions()
        assert (decision.what, decision.note) == ("resolve", "rang them")
        assert decision.moves == (Move(State.UNKNOWN, was, outcome, 1),)
    books(path, 2)
    assert not broken_laws(path)
    assert {entry.name for entry in tmp_path.iterdir()} == {"a.db"}


@pytest.mark.parametrize("row", [row for row in EVERY_ROW if row[0] not in (State.UNKNOWN, State.SENDING)])
def test_nothing_else_is_settled_by_hand_and_one_such_row_refuses_all(
    row: Row, plan_as: PlanAs, tmp_path: Path, books: Books
) -> None:
    rows = [(State.UNKNOWN, Reason.CRASH), row]
    path = put(plan_as(tmp_path / "a.db", 2), rows)
    with pytest.raises(PlanRefused, match=rf"these rows are not: 3 \({row[0]}\)\. Nothing was changed"):
        decisions.resolve(path, {1: State.ACCEPTED, 2: State.FAILED}, ANNA)
    assert stand(path) == rows
    with LedgerReader(path) as reader:
        assert not reader.decisions()
    books(path, 2)
    assert {entry.name for entry in tmp_path.iterdir()} == {"a.db"}


def test_a_refusal_names_the_first_rows_of_many(plan_as: PlanAs, tmp_path: Path) -> None:
    path = put(plan_as(tmp_path / "a.db", 20), [(State.ACCEPTED, None)] * 20)
    with pytest.raises(PlanRefused, match=r"are not: 2 \(accepted\), .*, 11 \(accepted\) …\. Nothing"):
        decisions.resolve(path, dict.fromkeys(range(1, 21), State.FAILED), ANNA)


async def test_nothing_is_settled_by_hand_while_a_run_lives(planned: Path, running: Running) -> None:
    async with running(planned):
        with pytest.raises(LedgerLocked, match="Another run is working on"):
            decisions.resolve(planned, {1: State.FAILED}, ANNA)


async def test_a_resolved_message_is_sent_again_only_if_it_failed_and_then_counts_as_perhaps_twice(
    plan_as: PlanAs, running: Running, tmp_path: Path
) -> None:
    path = put(plan_as(tmp_path / "a.db", 2), [(State.UNKNOWN, Reason.CRASH)] * 2)
    decisions.resolve(path, {1: State.ACCEPTED, 2: State.FAILED}, ANNA)
    everything = Selection(frozenset((state, None) for state in State))
    async with running(path, again=again(everything, 1)) as ledger:
        (message,) = await ledger.claim(State.QUEUED, 0, 9)
        assert message.number == 2
        message.attempts += 1
        await ledger.begin(message, 5.0)
        assert message.may_have_sent_twice


# Verification sees what no person can have decided


@pytest.mark.parametrize(
    ("law", "damage"),
    [
        ("a person moved messages only as a person may", "UPDATE decided SET state_before = 'accepted'"),
        ("what was resolved by hand stands in the history", "DELETE FROM decided"),
        ("what a person settled as accepted stays so", "UPDATE message SET state = 'unknown' WHERE number = 1"),
        ("every decision stands in the history with who made it", "DELETE FROM decision"),
        ("what is unknown has its doubt", "UPDATE message SET state = 'unknown', doubt = NULL WHERE number = 2"),
        ("what was purged has no names and texts", "UPDATE plan SET purged_at = '2026-11-22T14:30:00Z'"),
    ],
)
def test_verification_finds_a_history_that_cannot_be(law: str, damage: str, plan_as: PlanAs, tmp_path: Path) -> None:
    path = put(plan_as(tmp_path / "a.db", 2), [(State.UNKNOWN, Reason.CRASH)] * 2)
    decisions.resolve(path, {1: State.ACCEPTED, 2: State.FAILED}, ANNA)
    assert not broken_laws(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(damage)
    assert law in dict(broken_laws(path))


# Random lives


STATUSES = {evidence: status for status, evidence in STATUS_EVIDENCE.items()}
ATTEMPTS = {
    Evidence.SUCCEEDED: Attempt(True, 200, result=OperationResult(ResultType.SUCCEEDED), began_at=5.0),
    Evidence.SUSPENDED: Attempt(True, 200, result=OperationResult(ResultType.SUSPENDED), began_at=5.0),
    Evidence.REFUSED: Attempt(True, 404, began_at=5.0),
    Evidence.STARTED: Attempt(True, 202, operation_id="7", began_at=5.0),
    Evidence.NEVER_LEFT: Attempt(False, began_at=5.0),
    **{
        name: Attempt(True, STATUSES[name], began_at=5.0)
        for name in (Evidence.NOT_PROCESSED, Evidence.SERVER_FAILED, Evidence.LOST)
    },
}
MESSAGES = 4
numbers = st.sets(st.integers(1, MESSAGES), min_size=1)
steps = st.one_of(
    st.tuples(st.just("attempt"), numbers, st.sampled_from(sorted(ATTEMPTS))),
    st.tuples(st.just("attempt"), numbers, st.sampled_from(sorted(ATTEMPTS))),
    st.tuples(st.just("poll"), numbers, st.sampled_from([State.ACCEPTED, State.FAILED, State.UNKNOWN])),
    st.tuples(st.just("expire")),
    st.tuples(st.just("crash"), numbers),
    st.tuples(st.just("retry"), st.sampled_from(["unknown", "failed", "expired", "failed,unknown,expired"])),
    st.tuples(st.just("resolve"), numbers, st.sampled_from([State.ACCEPTED, State.FAILED])),
)


class Life:
    """A ledger in the hands of a server and of people, and who was taken by the server."""

    def __init__(self, path: Path, running: Running, as_it_lies: AsItLies) -> None:
        self.path = path
        self.delivered = [0] * (MESSAGES + 1)
        self._running = running
        self._as_it_lies = as_it_lies

    async def live(self, step: tuple[object, ...]) -> None:
        what, *rest = step
        await getattr(self, str(what))(*rest)

    async def _claimed(self, ledger: LedgerWriter, state: State, chosen: set[int]) -> list[Message]:
        return [message for message in await ledger.claim(state, 0, MESSAGES) if message.number in chosen]

    async def attempt(self, chosen: set[int], evidence: Evidence) -> None:
        async with self._running(self.path) as ledger:
            for message in await self._claimed(ledger, State.QUEUED, chosen):
                await self._begin(ledger, message)
                decision = decide(evidence, ATTEMPTS[evidence], message, RetryPolicy(max_attempts=2), 0.5)
                self.delivered[message.number] += evidence in (Evidence.SUCCEEDED, Evidence.SUSPENDED, Evidence.STARTED)
                settlement = Settlement(decision.state, decision.reason, decision.doubt, evidence=evidence)
                ledger.settle(message, ATTEMPTS[evidence], settlement)
                await ledger.flush()

    async def _begin(self, ledger: LedgerWriter, message: Message) -> None:
        message.attempts += 1
        message.tries += 1
        assert message.tries <= 2
        await ledger.begin(message, 5.0)

    async def poll(self, chosen: set[int], state: State) -> None:
        reason = {State.FAILED: Reason.REFUSED, State.UNKNOWN: Reason.OPERATION_LOST}.get(state)
        async with self._running(self.path) as ledger:
            for message in await self._claimed(ledger, State.PROCESSING, chosen):
                became, why = (
                    (State.UNKNOWN, message.doubt) if message.doubt and state is State.FAILED else (state, reason)
                )
                doubt = why if became is State.UNKNOWN else message.doubt
                ledger.settle(message, ATTEMPTS[Evidence.SUCCEEDED], Settlement(became, why, doubt, State.PROCESSING))
                await ledger.flush()
                if became is not State.ACCEPTED:
                    self.delivered[message.number] -= 1

    async def expire(self) -> None:
        async with self._running(self.path) as ledger:
            await ledger.withdraw(State.EXPIRED, Reason.DEADLINE)

    async def crash(self, chosen: set[int]) -> None:
        async with self._running(self.path) as ledger:
            for message in await self._claimed(ledger, State.QUEUED, chosen):
                await self._begin(ledger, message)
            copy = self._as_it_lies(self.path, self.path.with_name(f"{self.path.name}.after"))
        self.path = copy

    async def retry(self, words: str) -> None:
        async with self._running(self.path):
            pass  # what was `sending` is told as unknown from here on
        selection = Selection.parse(words)
        with LedgerReader(self.path) as reader:
            expected = sum(count for state, reason, count in reader.reasons() if selection.takes(state, reason))
        async with self._running(self.path, again=again(selection, expected)):
            pass

    async def resolve(self, chosen: set[int], state: State) -> None:
        with LedgerReader(self.path) as reader:
            unknown = {line.row - 1 for line in reader.lines(Selection.of(State.UNKNOWN))}
        if chosen <= unknown:
            await asyncio.to_thread(decisions.resolve, self.path, dict.fromkeys(chosen, state), ANNA)
        else:
            with pytest.raises(PlanRefused):
                await asyncio.to_thread(decisions.resolve, self.path, dict.fromkeys(chosen, state), ANNA)

    def require_true(self, books: Books) -> None:
        assert not broken_laws(self.path)
        with LedgerReader(self.path) as reader:
            lines = list(reader.lines())
            assert reader.standing().total == MESSAGES
        for number, line in enumerate(lines, 1):
            certain = line.reason != Reason.RESOLVED_BY_HAND
            assert self.delivered[number] <= 1 or line.may_have_sent_twice
            assert not (certain and line.state in (State.ACCEPTED, State.AWAITING_APPROVAL)) or self.delivered[number]
            assert line.state not in UNFINISHED or line.finished_at is None or line.state is State.PROCESSING
        if not any(line.state is State.UNKNOWN and line.reason == Reason.CRASH for line in lines):
            books(self.path, MESSAGES)


@given(walked=st.lists(steps, max_size=12))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_runs_and_people_do_the_books_agree_and_nobody_is_told_twice_unsaid(
    *, plan_as: PlanAs, running: Running, as_it_lies: AsItLies, books: Books, walked: list[tuple[object, ...]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        life = Life(plan_as(Path(folder) / "people.ledger.db", MESSAGES), running, as_it_lies)
        for step in walked:
            asyncio.run(life.live(step))
            life.require_true(books)
