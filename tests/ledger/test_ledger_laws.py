"""Laws of the ledger over any sequence of beginnings, settlements, crashes and new runs."""

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

from bulksms.attempt import Attempt
from bulksms.ledger.lock import is_held, lock_path
from bulksms.ledger.reader import LedgerReader
from bulksms.ledger.selection import Selection
from bulksms.ledger.settlement import Settlement
from bulksms.ledger.writer import LedgerWriter
from bulksms.message import MOVES, Message, Reason, State

Running = Callable[..., AbstractAsyncContextManager[LedgerWriter]]
PlanAs = Callable[..., Path]
AsItLies = Callable[[Path, Path], Path]
Books = Callable[[Path, int], None]

MESSAGES = 5
DOUBTFUL = (None, Reason.LOST_ANSWER, Reason.DOUBTFUL_ANSWER)
FOLLOWERS = sorted(MOVES[State.SENDING])
places = st.integers(0, MESSAGES - 1)
steps = st.one_of(
    st.tuples(st.just("begin"), st.sets(places, min_size=1)),
    st.tuples(st.just("settle"), st.sets(places, min_size=1), st.sampled_from(FOLLOWERS), st.sampled_from(DOUBTFUL)),
    st.tuples(st.just("poll"), st.sets(places, min_size=1), st.sampled_from(sorted(MOVES[State.PROCESSING]))),
    st.tuples(st.just("crash")),
    st.tuples(st.just("end")),
)
recoveries = st.tuples(st.sampled_from((State.UNKNOWN, State.QUEUED)), st.integers(1, 3))


@dataclass
class Expected:
    """What must stand in the ledger of one message."""

    state: State = State.QUEUED
    attempts: int = 0
    doubt: Reason | None = None
    twice: bool = False


@dataclass
class Walk:
    """One ledger through several runs, and beside it what must stand in it."""

    path: Path
    recovery: tuple[State, int]
    expected: list[Expected] = field(default_factory=lambda: [Expected() for _ in range(MESSAGES)])
    messages: list[Message] = field(default_factory=list)

    async def claim(self, ledger: LedgerWriter) -> None:
        """Take over what the ledger knows of each message, as a new run does."""
        self.messages = [Message(number, number + 1, "", "") for number in range(1, MESSAGES + 1)]
        for state, again in product((State.QUEUED, State.PROCESSING), (False, True)):
            for message in await ledger.claim(state, 0, MESSAGES, again=again):
                assert (message.attempts > 0) is again
                self.messages[message.number - 1] = message

    async def begin(self, ledger: LedgerWriter, chosen: set[int]) -> None:
        begun = []
        for place in chosen:
            expected, message = self.expected[place], self.messages[place]
            if expected.state is State.QUEUED:
                message.attempts += 1
                message.tries += 1
                begun.append(ledger.begin(message, 100.0))
                expected.state, expected.attempts = State.SENDING, expected.attempts + 1
                expected.twice = expected.twice or expected.doubt is not None
        await asyncio.gather(*begun)

    def settle(self, ledger: LedgerWriter, chosen: set[int], state: State, doubt: Reason | None) -> None:
        for place in chosen:
            expected, message = self.expected[place], self.messages[place]
            if expected.state is State.SENDING:
                expected.state, expected.doubt = state, expected.doubt or doubt
                message.doubt = expected.doubt
                attempt = Attempt(headers_sent=True, status=200, operation_id="7", began_at=100.0)
                ledger.settle(message, attempt, Settlement(state, None, message.doubt, evidence="succeeded"))

    def poll(self, ledger: LedgerWriter, chosen: set[int], state: State) -> None:
        for place in chosen:
            expected, message = self.expected[place], self.messages[place]
            if expected.state is State.PROCESSING:
                expected.state = state
                attempt = Attempt(headers_sent=True, status=200, began_at=100.0)
                ledger.settle(message, attempt, Settlement(state, None, message.doubt, State.PROCESSING))

    def recover(self) -> None:
        """What the next opening makes of those that a crash, or an end in the middle, left `sending`."""
        state, max_attempts = self.recovery
        for expected, message in zip(self.expected, self.messages, strict=True):
            if expected.state is State.SENDING:
                again = state is State.QUEUED and message.tries < max_attempts
                expected.state = State.QUEUED if again else State.UNKNOWN
                expected.doubt = Reason.CRASH

    def check(self, *, crashed: bool) -> None:
        with LedgerReader(self.path) as reader:
            standing = reader.standing()
            lines = list(reader.lines())
        shown = [
            State.UNKNOWN if crashed and expected.state is State.SENDING else expected.state
            for expected in self.expected
        ]
        assert [line.state for line in lines] == shown
        assert standing.counts == {state: shown.count(state) for state in State}
        assert [line.attempts for line in lines] == [expected.attempts for expected in self.expected]
        assert [line.may_have_sent_twice for line in lines] == [expected.twice for expected in self.expected]
        assert standing.may_have_sent_twice == sum(expected.twice for expected in self.expected)


async def walk_through(
    walk: Walk, walked: list[tuple[object, ...]], running: Running, as_it_lies: AsItLies, books: Books
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
            books(walk.path, MESSAGES)
            if crashed:
                walk.path = as_it_lies(walk.path, walk.path.with_name(f"after {run}.db"))
        walk.check(crashed=True)
        walk.recover()
        if not remaining:
            return


@given(walked=st.lists(steps, max_size=14), recovery=recoveries)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_attempt_is_lost_and_the_books_agree_whatever_happens(
    *,
    plan_as: PlanAs,
    running: Running,
    as_it_lies: AsItLies,
    books: Books,
    walked: list[tuple[object, ...]],
    recovery: tuple[State, int],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        walk = Walk(plan_as(Path(folder) / "people.ledger.db", MESSAGES), recovery)
        asyncio.run(walk_through(walk, walked, running, as_it_lies, books))


RUN = """
import asyncio, sys
from itertools import product
from pathlib import Path
from bulksms.attempt import Attempt
from bulksms.ledger.file import Recovery
from bulksms.ledger.settlement import Settlement
from bulksms.ledger.writer import RunRecord, open_for_run
from bulksms.message import State

PADDING = "." * 2_000  # the pipe holds a few dozen lines, so that nobody runs far ahead of the reader

async def work():
    record = RunRecord("https://adaxes.example/restApi", "1.0", "anna", "server-1", 4711, "{}", "--yes")
    ledger = await open_for_run(Path(sys.argv[1]), Recovery(State.UNKNOWN, 5), record)
    while messages := await ledger.claim(State.QUEUED, 0, 4):
        for message in messages:
            message.attempts += 1
            message.tries += 1
        await asyncio.gather(*(ledger.begin(message, 1.0) for message in messages))
        for message in messages:
            print("left", message.number, PADDING, flush=True)
        settled = Settlement(State.ACCEPTED, evidence="succeeded")
        for message in messages:
            ledger.settle(message, Attempt(headers_sent=True, status=200, began_at=1.0), settled)
            await ledger.flush()
            print("settled", message.number, PADDING, flush=True)

asyncio.run(work())
"""


def killed_after(path: Path, lines: int) -> tuple[set[int], set[int]]:
    """A run in another process, killed after so many lines: whom it has told of as begun, and as settled."""
    command = [sys.executable, "-c", RUN, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(lines)]
        assert is_held(path)
        process.kill()
        said += process.stdout.readlines()
    told = [line.split() for line in said if line.endswith("\n")]
    left = {int(number) for what, number, _ in told if what == "left"}
    return left, {int(number) for what, number, _ in told if what == "settled"}


async def test_after_a_kill_nothing_that_was_said_is_lost(
    plan_as: PlanAs, tmp_path: Path, running: Running, books: Books
) -> None:
    path = plan_as(tmp_path / "people.ledger.db", 400)
    left, settled = set[int](), set[int]()
    for lines in (6, 13, 41):
        begun, done = killed_after(path, lines)
        left |= begun
        settled |= done
        assert lock_path(path).exists()
        assert not is_held(path)
        with LedgerReader(path) as reader:
            told = {line.row - 1: line.state for line in reader.lines(Selection.of(State.ACCEPTED, State.UNKNOWN))}
            assert left <= set(told)
            assert {number for number, state in told.items() if state is State.ACCEPTED} >= settled
            assert reader.standing().crashed <= 4
        async with running(path) as ledger:
            assert (await ledger.standing()).counts[State.SENDING] == 0
        books(path, 400)
        assert not lock_path(path).exists()
