"""The ledger over any sequence of beginnings, settlements, crashes and new runs."""

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulksms.ledger import OutcomeRecord, Selection, open_ledger
from bulksms.ledger.sqlite.lock import is_held, lock_path
from bulksms.ledger.sqlite.writer import SqliteWriter
from bulksms.model.attempt import Attempt
from bulksms.model.message import TRANSITIONS, Message, Reason, State

Running = Callable[..., AbstractAsyncContextManager[SqliteWriter]]
PlanAs = Callable[..., Path]
AsItLies = Callable[[Path, Path], Path]
CheckLedger = Callable[[Path, int], None]

MESSAGES = 5
DOUBTFUL = (None, Reason.NO_ANSWER, Reason.AMBIGUOUS_ANSWER)
FOLLOWERS = sorted(TRANSITIONS[State.SENDING])
places = st.integers(0, MESSAGES - 1)
steps = st.one_of(
    st.tuples(st.just("begin"), st.sets(places, min_size=1)),
    st.tuples(st.just("settle"), st.sets(places, min_size=1), st.sampled_from(FOLLOWERS), st.sampled_from(DOUBTFUL)),
    st.tuples(st.just("poll"), st.sets(places, min_size=1), st.sampled_from(sorted(TRANSITIONS[State.PROCESSING]))),
    st.tuples(st.just("crash")),
    st.tuples(st.just("end")),
)
recoveries = st.tuples(st.sampled_from((State.UNKNOWN, State.QUEUED)), st.integers(1, 3))


@dataclass
class Expected:
    """What the ledger must have of one message."""

    state: State = State.QUEUED
    attempts: int = 0
    doubt: Reason | None = None
    twice: bool = False


@dataclass
class Walk:
    """One ledger through several runs, and beside it what it must have."""

    path: Path
    recovery: tuple[State, int]
    expected: list[Expected] = field(default_factory=lambda: [Expected() for _ in range(MESSAGES)])
    messages: list[Message] = field(default_factory=list)

    async def claim(self, ledger: SqliteWriter) -> None:
        """Take over what the ledger knows of each message, as a new run does."""
        self.messages = [Message(number, number + 1, "", "") for number in range(1, MESSAGES + 1)]
        for state, again in product((State.QUEUED, State.PROCESSING), (False, True)):
            for message in await ledger.claim(state, 0, MESSAGES, again=again):
                assert (message.attempts > 0) is again
                self.messages[message.number - 1] = message

    async def begin(self, ledger: SqliteWriter, chosen: set[int]) -> None:
        begun = []
        for place in chosen:
            expected, message = self.expected[place], self.messages[place]
            if expected.state is State.QUEUED:
                message.attempts += 1
                message.tries += 1
                begun.append(ledger.record_intent(message, 100.0))
                expected.state, expected.attempts = State.SENDING, expected.attempts + 1
                expected.twice = expected.twice or expected.doubt is not None
        await asyncio.gather(*begun)

    def settle(self, ledger: SqliteWriter, chosen: set[int], state: State, doubt: Reason | None) -> None:
        for place in chosen:
            expected, message = self.expected[place], self.messages[place]
            if expected.state is State.SENDING:
                expected.state, expected.doubt = state, expected.doubt or doubt
                message.in_doubt = expected.doubt
                attempt = Attempt(headers_sent=True, status=200, operation_id="7", began_at=100.0)
                ledger.record_outcome(
                    message, attempt, OutcomeRecord(state, None, message.in_doubt, evidence="succeeded")
                )

    def poll(self, ledger: SqliteWriter, chosen: set[int], state: State) -> None:
        for place in chosen:
            expected, message = self.expected[place], self.messages[place]
            if expected.state is State.PROCESSING:
                expected.state = state
                attempt = Attempt(headers_sent=True, status=200, began_at=100.0)
                ledger.record_outcome(message, attempt, OutcomeRecord(state, None, message.in_doubt, State.PROCESSING))

    def recover(self) -> None:
        """What the next opening makes of those that a crash, or an end in the middle, left `sending`."""
        state, max_attempts = self.recovery
        for expected, message in zip(self.expected, self.messages, strict=True):
            if expected.state is State.SENDING:
                again = state is State.QUEUED and message.tries < max_attempts
                expected.state = State.QUEUED if again else State.UNKNOWN
                expected.doubt = Reason.CRASH

    def check(self, *, crashed: bool) -> None:
        with open_ledger(self.path) as reader:
            counts = reader.counts()
            lines = list(reader.messages())
        shown = [
            State.UNKNOWN if crashed and expected.state is State.SENDING else expected.state
            for expected in self.expected
        ]
        assert [line.state for line in lines] == shown
        assert counts.counts == {state: shown.count(state) for state in State}
        assert [line.attempts for line in lines] == [expected.attempts for expected in self.expected]
        assert [line.possible_duplicate for line in lines] == [expected.twice for expected in self.expected]
        assert counts.possible_duplicate == sum(expected.twice for expected in self.expected)


async def walk_through(
    walk: Walk, walked: list[tuple[object, ...]], running: Running, as_it_lies: AsItLies, check_ledger: CheckLedger
) -> None:
    remaining = list(walked)
    for run in range(len(walked) + 1):
        crashed = False
        async with running(walk.path, *walk.recovery) as ledger:
            assert ledger.run == run + 1
            await walk.claim(ledger)
            while remaining:
                what, *rest = remaining.pop(0)
                if what == "begin":
                    await walk.begin(ledger, *rest)  # type: ignore[arg-type]  # as the strategy made them
                elif what == "settle":
                    walk.settle(ledger, *rest)  # type: ignore[arg-type]
                elif what == "poll":
                    walk.poll(ledger, *rest)  # type: ignore[arg-type]
                else:
                    crashed = what == "crash"
                    break
            await ledger.flush()
            walk.check(crashed=False)
            check_ledger(walk.path, MESSAGES)
            if crashed:
                walk.path = as_it_lies(walk.path, walk.path.with_name(f"after {run}.db"))
        walk.check(crashed=True)
        walk.recover()
        if not remaining:
            return


@given(walked=st.lists(steps, max_size=14), recovery=recoveries)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_attempt_is_lost_and_the_invariants_hold_whatever_happens(
    *,
    plan_as: PlanAs,
    running: Running,
    as_it_lies: AsItLies,
    check_ledger: CheckLedger,
    walked: list[tuple[object, ...]],
    recovery: tuple[State, int],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        walk = Walk(plan_as(Path(folder) / "people.ledger.db", MESSAGES), recovery)
        asyncio.run(walk_through(walk, walked, running, as_it_lies, check_ledger))


RUN = """
import asyncio, sys
from itertools import product
from pathlib import Path
from bulksms.model.attempt import Attempt
from bulksms.ledger import Recovery
from bulksms.ledger import OutcomeRecord
from bulksms.ledger import RunStart
from bulksms.ledger.sqlite.writer import open_for_run
from bulksms.model.message import State

PADDING = "." * 2_000  # the pipe holds a few dozen lines, so that nobody runs far ahead of the reader

async def work():
    record = RunStart("https://adaxes.example/restApi", "1.0", "anna", "server-1", 4711, "{}", "--yes")
    ledger = await open_for_run(Path(sys.argv[1]), Recovery(State.UNKNOWN, 5), record)
    while messages := await ledger.claim(State.QUEUED, 0, 4):
        for message in messages:
            message.attempts += 1
            message.tries += 1
        await asyncio.gather(*(ledger.record_intent(message, 1.0) for message in messages))
        for message in messages:
            print("left", message.number, PADDING, flush=True)
        settled = OutcomeRecord(State.ACCEPTED, evidence="succeeded")
        for message in messages:
            ledger.record_outcome(message, Attempt(headers_sent=True, status=200, began_at=1.0), settled)
            await ledger.flush()
            print("settled", message.number, PADDING, flush=True)

asyncio.run(work())
"""


def killed_after(path: Path, lines: int) -> tuple[set[int], set[int]]:
    """A run in another process, killed after so many lines: the messages that it reported as begun, and as settled."""
    command = [sys.executable, "-c", RUN, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = [process.stdout.readline() for _ in range(lines)]
        assert is_held(path)
        process.kill()
        found += process.stdout.readlines()
    result = [line.split() for line in found if line.endswith("\n")]
    left = {int(number) for what, number, _ in result if what == "left"}
    return left, {int(number) for what, number, _ in result if what == "settled"}


async def test_after_a_kill_nothing_that_was_reported_is_lost(
    plan_as: PlanAs, tmp_path: Path, running: Running, check_ledger: CheckLedger
) -> None:
    path = plan_as(tmp_path / "people.ledger.db", 400)
    left, settled = set[int](), set[int]()
    for lines in (6, 13, 41):
        begun, done = killed_after(path, lines)
        left |= begun
        settled |= done
        assert lock_path(path).exists()
        assert not is_held(path)
        with open_ledger(path) as reader:
            result = {line.row - 1: line.state for line in reader.messages(Selection.of(State.ACCEPTED, State.UNKNOWN))}
            assert left <= set(result)
            assert {number for number, state in result.items() if state is State.ACCEPTED} >= settled
            assert reader.counts().crashed <= 4
        async with running(path) as ledger:
            assert (await ledger.counts()).counts[State.SENDING] == 0
        check_ledger(path, 400)
        assert not is_held(path)
