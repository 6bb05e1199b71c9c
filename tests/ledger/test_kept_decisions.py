"""What people decide: legal moves only, all or nothing, kept as history, and nobody forgotten by it."""

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

from bulksms.errors import LedgerLockedError, PlanError
from bulksms.ledger import Author, Invariant, OutcomeRecord, Recovery, Retry, Selection, Transition, open_ledger
from bulksms.ledger.sqlite import database, operator_actions
from bulksms.ledger.sqlite.draft import fingerprint_of
from bulksms.ledger.sqlite.invariants import verify
from bulksms.ledger.sqlite.writer import SqliteWriter
from bulksms.model.attempt import Attempt, OperationResult, ResultType
from bulksms.model.message import REASONS, RETRYABLE, UNFINISHED, Message, Reason, State
from bulksms.policy.retry import STATUS_EVIDENCE, Evidence, RetryPolicy, decide
from tests.platforms import with_posix_signals

Running = Callable[..., AbstractAsyncContextManager[SqliteWriter]]
PlanAs = Callable[..., Path]
AsItLies = Callable[[Path, Path], Path]
CheckLedger = Callable[[Path, int], None]
Row = tuple[State, Reason | None]

ANNA = Author("anna", "server-1", "--yes")
EVERY_ROW: list[Row] = [(state, reason) for state, reasons in REASONS.items() for reason in (reasons or (None,))]
LEFT_AS_THEY_ARE = [row for row in EVERY_ROW if row[0] not in RETRYABLE]


def put(path: Path, rows: Sequence[Row]) -> Path:
    """Give the messages of a planned ledger these states, each after one attempt."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for number, (state, reason) in enumerate(rows, 1):
            doubt = reason if state is State.UNKNOWN else None
            evidence = "lost" if doubt else "rejected"
            connection.execute(
                "UPDATE message SET state = ?, reason = ?, doubt = ?, attempts = 1, tries = 1, operation_id = '7', "
                "http_status = 503, error = 'words', first_attempt_at = 1, finished_at = 2 WHERE number = ?",
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
            "WHERE name NOT IN ('possible_duplicate', 'attempts')"
        )
        connection.execute("UPDATE tally SET messages = ? WHERE name = 'attempts'", (len(rows),))
        connection.execute("UPDATE plan SET fingerprint = ?", (fingerprint_of(connection),))
    return path


def states_of(path: Path) -> list[Row]:
    with open_ledger(path) as reader:
        return [(line.state, None if line.reason is None else Reason(line.reason)) for line in reader.messages()]


def values(path: Path, columns: str, number: int = 1) -> tuple[object, ...]:
    with closing(sqlite3.connect(path)) as connection:
        row = connection.execute(f"SELECT {columns} FROM message WHERE number = ?", (number,)).fetchone()  # noqa: S608
    assert isinstance(row, tuple)
    return row


def violations(path: Path) -> list[tuple[str, str]]:
    return [(invariant, violation) for invariant, violation in verify(path) if violation]


def again(selection: Selection, expected: int, numbers: Sequence[int] | None = None) -> Retry:
    return Retry(ANNA, selection, numbers, expected, None)


async def retry(path: Path, running: Running, wanted: Retry) -> None:
    async with running(path, again=wanted):
        pass


# Retry


@pytest.mark.parametrize("row", EVERY_ROW)
async def test_only_what_failed_expired_or_is_unknown_is_queued_again(
    row: Row, plan_as: PlanAs, running: Running, tmp_path: Path, check_ledger: CheckLedger
) -> None:
    state = row[0]
    path = put(plan_as(tmp_path / "a.db", 1), [row])
    if state not in RETRYABLE and state is not State.SENDING:
        with pytest.raises(PlanError, match="has changed"):
            await retry(path, running, again(Selection(frozenset({row})), 1))
        assert states_of(path) == [row]
        return
    # What a dead run left `sending` is recovered first, and is `unknown` then.
    found = (State.UNKNOWN, Reason.CRASH) if state is State.SENDING else row
    await retry(path, running, again(Selection(frozenset({found})), 1))
    assert states_of(path) == [(State.QUEUED, None)]
    doubt = found[1] if found[0] is State.UNKNOWN else None
    assert values(path, "attempts, tries, doubt, operation_id, finished_at, first_attempt_at, http_status, error") == (
        (1, 0, doubt, None, None, 1.0, 503, "words")
    )
    with open_ledger(path) as reader:
        (decision,) = reader.operator_actions()
        assert decision.transitions == (Transition(found[0], found[1], State.QUEUED, 1),)
        assert (decision.action, decision.user, decision.host, decision.confirmed_by) == (
            "retry",
            "anna",
            "server-1",
            "--yes",
        )
        assert [run.number for run in reader.runs()] == [1]
    check_ledger(path, 1)
    assert not violations(path)


async def test_a_retry_takes_what_is_selected_among_the_rows_that_are_named(
    plan_as: PlanAs, running: Running, tmp_path: Path
) -> None:
    rows = [(State.FAILED, Reason.ATTEMPTS_EXHAUSTED)] * 3 + [(State.FAILED, Reason.REJECTED)]
    path = put(plan_as(tmp_path / "a.db", 4), rows)
    await retry(path, running, again(Selection.parse("failed:attempts_exhausted"), 2, [2, 3, 4]))
    assert [state for state, _ in states_of(path)] == [State.FAILED, State.QUEUED, State.QUEUED, State.FAILED]


async def test_a_retry_of_another_number_than_was_counted_changes_nothing(
    plan_as: PlanAs, running: Running, tmp_path: Path, check_ledger: CheckLedger
) -> None:
    rows = [(State.FAILED, Reason.ATTEMPTS_EXHAUSTED)] * 3
    path = put(plan_as(tmp_path / "a.db", 3), rows)
    with pytest.raises(PlanError, match="3 messages are to be sent again, not 2"):
        await retry(path, running, again(Selection.of(State.FAILED), 2))
    assert states_of(path) == rows
    assert {entry.name for entry in path.parent.iterdir()} == {"a.db", "a.db.lock"}, "in one file, as before"
    with open_ledger(path) as reader:
        assert not reader.operator_actions()
        assert not reader.runs()
        assert not reader.counts().is_living
    check_ledger(path, 3)
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
        with open_ledger(path) as reader:
            assert reader.plan().deadline == deadline


async def test_who_is_attempted_again_after_doubt_may_have_been_sent_to_twice(
    plan_as: PlanAs, running: Running, tmp_path: Path
) -> None:
    path = put(
        plan_as(tmp_path / "a.db", 2), [(State.UNKNOWN, Reason.NO_ANSWER), (State.FAILED, Reason.ATTEMPTS_EXHAUSTED)]
    )
    async with running(path, again=again(Selection.of(State.UNKNOWN, State.FAILED), 2)) as ledger:
        for message in await ledger.claim(State.QUEUED, 0, 2):
            assert message.tries == 0
            message.attempts += 1
            message.tries += 1
            await ledger.record_intent(message, 5.0)
    with open_ledger(path) as reader:
        assert [line.possible_duplicate for line in reader.messages()] == [True, False]
        assert [line.attempts for line in reader.messages()] == [2, 2]
        assert reader.counts().possible_duplicate == 1


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from bulksms.ledger.sqlite import operator_actions
from bulksms.ledger.sqlite import database
from bulksms.ledger import Author, Retry
from bulksms.ledger import Recovery
from bulksms.ledger import Selection
from bulksms.ledger import RunStart
from bulksms.ledger.sqlite.draft import fingerprint_of
from bulksms.ledger.sqlite.writer import open_for_run
from bulksms.model.message import State

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

where = sys.argv[2]
if where == "before the run is noted":
    queue_again = operator_actions.queue_again
    operator_actions.queue_again = lambda *arguments: (queue_again(*arguments), die())
elif where == "in the middle":
    operator_actions._MOVED = "SELECT die(), ?"
    import bulksms.ledger.sqlite.database as database
    open_ledger = database.open_for_run
    def opened(*arguments, **named):
        connection = open_ledger(*arguments, **named)
        connection.create_function("die", 0, die)
        return connection
    database.open_for_run = opened

record = RunStart("https://adaxes.example/restApi", "1.0", "anna", "server-1", 4711, "{}", "--yes")
retry = Retry(Author("anna", "server-1", "--yes"), Selection.of(State.FAILED), None, 3, None)

async def run():
    await open_for_run(Path(sys.argv[1]), Recovery(State.UNKNOWN, 5), record, retry)
    die()

asyncio.run(run())
"""


@with_posix_signals
@pytest.mark.parametrize(
    ("where", "queued"), [("before the run is noted", 0), ("in the middle", 0), ("as soon as the ledger is open", 3)]
)
def test_a_retry_that_is_killed_has_queued_all_or_nothing(
    where: str, queued: int, plan_as: PlanAs, tmp_path: Path, check_ledger: CheckLedger
) -> None:
    path = put(plan_as(tmp_path / "a.db", 3), [(State.FAILED, Reason.ATTEMPTS_EXHAUSTED)] * 3)
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path), where], check=False, capture_output=True)
    assert killed.returncode == -9, killed.stderr
    with open_ledger(path) as reader:
        assert reader.counts().counts[State.QUEUED] == queued
        assert len(reader.operator_actions()) == len(reader.runs()) == (1 if queued else 0)
    assert not violations(path)
    check_ledger(path, 3)
    with database.exclusive(path, Recovery(State.UNKNOWN, 0), "the next one"):
        pass  # it can be used again


# Resolve


@pytest.mark.parametrize("outcome", [State.ACCEPTED, State.FAILED])
@pytest.mark.parametrize("reason", [*REASONS[State.UNKNOWN], None])
def test_what_is_unknown_is_settled_by_hand(
    reason: Reason | None, outcome: State, plan_as: PlanAs, tmp_path: Path, check_ledger: CheckLedger
) -> None:
    row = (State.SENDING, None) if reason is None else (State.UNKNOWN, reason)  # the one left by a dead run
    path = put(plan_as(tmp_path / "a.db", 2), [row, (State.ACCEPTED, None)])
    operator_actions.resolve(path, {1: outcome}, Author("anna", "server-1", "resolve", "rang them"))
    assert states_of(path) == [(outcome, Reason.RESOLVED_BY_HAND), (State.ACCEPTED, None)]
    was = reason or Reason.CRASH
    assert values(path, "doubt, attempts, http_status") == (was, 1, 503)
    with open_ledger(path) as reader:
        (decision,) = reader.operator_actions()
        assert (decision.action, decision.note) == ("resolve", "rang them")
        assert decision.transitions == (Transition(State.UNKNOWN, was, outcome, 1),)
    check_ledger(path, 2)
    assert not violations(path)
    assert {entry.name for entry in tmp_path.iterdir()} == {"a.db", "a.db.lock"}


@pytest.mark.parametrize("row", [row for row in EVERY_ROW if row[0] not in (State.UNKNOWN, State.SENDING)])
def test_nothing_else_is_settled_by_hand_and_one_such_row_refuses_all(
    row: Row, plan_as: PlanAs, tmp_path: Path, check_ledger: CheckLedger
) -> None:
    rows = [(State.UNKNOWN, Reason.CRASH), row]
    path = put(plan_as(tmp_path / "a.db", 2), rows)
    with pytest.raises(PlanError, match=rf"these rows are not: 3 \({row[0]}\)\. Nothing was changed"):
        operator_actions.resolve(path, {1: State.ACCEPTED, 2: State.FAILED}, ANNA)
    assert states_of(path) == rows
    with open_ledger(path) as reader:
        assert not reader.operator_actions()
    check_ledger(path, 2)
    assert {entry.name for entry in tmp_path.iterdir()} == {"a.db", "a.db.lock"}


def test_a_refusal_names_the_first_rows_of_many(plan_as: PlanAs, tmp_path: Path) -> None:
    path = put(plan_as(tmp_path / "a.db", 20), [(State.ACCEPTED, None)] * 20)
    with pytest.raises(PlanError, match=r"are not: 2 \(accepted\), .*, 11 \(accepted\) …\. Nothing"):
        operator_actions.resolve(path, dict.fromkeys(range(1, 21), State.FAILED), ANNA)


async def test_nothing_is_settled_by_hand_while_a_run_lives(planned: Path, running: Running) -> None:
    async with running(planned):
        with pytest.raises(LedgerLockedError, match="Another run is working on"):
            operator_actions.resolve(planned, {1: State.FAILED}, ANNA)


async def test_a_resolved_message_is_sent_again_only_if_it_failed_and_then_counts_as_perhaps_twice(
    plan_as: PlanAs, running: Running, tmp_path: Path
) -> None:
    path = put(plan_as(tmp_path / "a.db", 2), [(State.UNKNOWN, Reason.CRASH)] * 2)
    operator_actions.resolve(path, {1: State.ACCEPTED, 2: State.FAILED}, ANNA)
    everything = Selection(frozenset((state, None) for state in State))
    async with running(path, again=again(everything, 1)) as ledger:
        (message,) = await ledger.claim(State.QUEUED, 0, 9)
        assert message.number == 2
        message.attempts += 1
        await ledger.record_intent(message, 5.0)
    with open_ledger(path) as reader:
        assert [line.possible_duplicate for line in reader.messages()] == [False, True]


# Verification sees what no person can have decided


@pytest.mark.parametrize(
    ("invariant", "damage"),
    [
        (Invariant.ALLOWED_DECISIONS, "UPDATE decided SET state_before = 'accepted'"),
        (Invariant.RESOLVED_BY_DECISION, "DELETE FROM decided"),
        (Invariant.RESOLUTION_KEPT, "UPDATE message SET state = 'unknown' WHERE number = 1"),
        (Invariant.SIGNED, "DELETE FROM decision"),
        (Invariant.IN_DOUBT, "UPDATE message SET state = 'unknown', doubt = NULL WHERE number = 2"),
        (Invariant.PURGED, "UPDATE plan SET purged_at = '2026-11-22T14:30:00Z'"),
    ],
)
def test_verification_finds_a_history_that_cannot_be(
    invariant: Invariant, damage: str, plan_as: PlanAs, tmp_path: Path
) -> None:
    path = put(plan_as(tmp_path / "a.db", 2), [(State.UNKNOWN, Reason.CRASH)] * 2)
    operator_actions.resolve(path, {1: State.ACCEPTED, 2: State.FAILED}, ANNA)
    assert not violations(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(damage)
    assert invariant in dict(violations(path))


# Random lives


STATUSES = {evidence: status for status, evidence in STATUS_EVIDENCE.items()}
ATTEMPTS = {
    Evidence.SUCCEEDED: Attempt(True, 200, result=OperationResult(ResultType.SUCCEEDED), began_at=5.0),
    Evidence.SUSPENDED: Attempt(True, 200, result=OperationResult(ResultType.SUSPENDED), began_at=5.0),
    Evidence.REJECTED: Attempt(True, 404, began_at=5.0),
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

    async def _claimed(self, ledger: SqliteWriter, state: State, chosen: set[int]) -> list[Message]:
        return [message for message in await ledger.claim(state, 0, MESSAGES) if message.number in chosen]

    async def attempt(self, chosen: set[int], evidence: Evidence) -> None:
        async with self._running(self.path) as ledger:
            for message in await self._claimed(ledger, State.QUEUED, chosen):
                await self._begin(ledger, message)
                decision = decide(evidence, ATTEMPTS[evidence], message, RetryPolicy(max_attempts=2), 0.5)
                self.delivered[message.number] += evidence in (Evidence.SUCCEEDED, Evidence.SUSPENDED, Evidence.STARTED)
                settlement = OutcomeRecord(decision.state, decision.reason, decision.in_doubt, evidence=evidence)
                ledger.record_outcome(message, ATTEMPTS[evidence], settlement)
                await ledger.flush()

    async def _begin(self, ledger: SqliteWriter, message: Message) -> None:
        message.attempts += 1
        message.tries += 1
        assert message.tries <= 2
        await ledger.record_intent(message, 5.0)

    async def poll(self, chosen: set[int], state: State) -> None:
        reason = {State.FAILED: Reason.REJECTED, State.UNKNOWN: Reason.OPERATION_LOST}.get(state)
        async with self._running(self.path) as ledger:
            for message in await self._claimed(ledger, State.PROCESSING, chosen):
                became, why = (
                    (State.UNKNOWN, message.in_doubt) if message.in_doubt and state is State.FAILED else (state, reason)
                )
                doubt = why if became is State.UNKNOWN else message.in_doubt
                ledger.record_outcome(
                    message, ATTEMPTS[Evidence.SUCCEEDED], OutcomeRecord(became, why, doubt, State.PROCESSING)
                )
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
            pass  # what was `sending` is read as unknown from here on
        selection = Selection.parse(words)
        with open_ledger(self.path) as reader:
            expected = sum(count for state, reason, count in reader.reasons() if selection.takes(state, reason))
        async with self._running(self.path, again=again(selection, expected)):
            pass

    async def resolve(self, chosen: set[int], state: State) -> None:
        with open_ledger(self.path) as reader:
            unknown = {line.row - 1 for line in reader.messages(Selection.of(State.UNKNOWN))}
        if chosen <= unknown:
            await asyncio.to_thread(operator_actions.resolve, self.path, dict.fromkeys(chosen, state), ANNA)
        else:
            with pytest.raises(PlanError):
                await asyncio.to_thread(operator_actions.resolve, self.path, dict.fromkeys(chosen, state), ANNA)

    def require_true(self, check_ledger: CheckLedger) -> None:
        assert not violations(self.path)
        with open_ledger(self.path) as reader:
            lines = list(reader.messages())
            assert reader.counts().total == MESSAGES
        for number, line in enumerate(lines, 1):
            certain = line.reason != Reason.RESOLVED_BY_HAND
            assert self.delivered[number] <= 1 or line.possible_duplicate
            assert not (certain and line.state in (State.ACCEPTED, State.AWAITING_APPROVAL)) or self.delivered[number]
            assert line.state not in UNFINISHED or line.finished_at is None or line.state is State.PROCESSING
        if not any(line.state is State.UNKNOWN and line.reason == Reason.CRASH for line in lines):
            check_ledger(self.path, MESSAGES)


@given(walked=st.lists(steps, max_size=12))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_runs_and_people_do_the_invariants_hold(
    *,
    plan_as: PlanAs,
    running: Running,
    as_it_lies: AsItLies,
    check_ledger: CheckLedger,
    walked: list[tuple[object, ...]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        life = Life(plan_as(Path(folder) / "people.ledger.db", MESSAGES), running, as_it_lies)
        for step in walked:
            asyncio.run(life.live(step))
            life.require_true(check_ledger)
