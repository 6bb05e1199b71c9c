"""Writer: the ledger of one machine, on a run that others may work on, too.

Invariants: an intent's future is True only when the row is `sending` on disk, and no other machine had taken this one
for dead by then. One commit is one statement, and its serial tells whether it happened when its answer was lost. What a
machine learns after it was fenced repairs what was written down as a crash, and nothing else.
"""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar, cast

from bulksms.errors import LedgerError, PlanError
from bulksms.ledger.contract import LedgerReader
from bulksms.ledger.name import LedgerUrl
from bulksms.ledger.postgresql import catalogue, operator_actions, statements
from bulksms.ledger.postgresql.batch import Intent, Outcome, Row, columns, outcome_row
from bulksms.ledger.postgresql.catalogue import connected_to, require_entry
from bulksms.ledger.postgresql.holdings import Holdings
from bulksms.ledger.postgresql.membership import (
    CHANNEL,
    TIMESTAMP,
    Membership,
    boot_time,
    join,
    leave,
    patience_in,
    require_agreement,
)
from bulksms.ledger.postgresql.observer import Observer
from bulksms.ledger.postgresql.operator_actions import note_once
from bulksms.ledger.postgresql.queries import read_running_counts
from bulksms.ledger.postgresql.reader import PostgresqlReader
from bulksms.ledger.postgresql.session import Connection, Session
from bulksms.ledger.records import (
    HELD_UNTIL_RELEASED,
    RELEASED,
    Action,
    Author,
    ControlCommand,
    Counts,
    OutcomeRecord,
    Recovery,
    Retry,
    RunStart,
    SharedHold,
)
from bulksms.log import log
from bulksms.model.attempt import Attempt
from bulksms.model.message import TRANSITIONS, UNFINISHED, Message, Reason, State
from bulksms.model.run_settings import StopReason
from bulksms.system import SYSTEM

Answer = TypeVar("Answer")

BEATS = 4
"""Commits in a lease, at least: an empty one is a heartbeat."""
REMEMBERED = 60.0
"""Seconds for which the writer knows what it has begun, for a database that has forgotten it."""
_SETTINGS = """
SET synchronous_commit = on;
SET idle_in_transaction_session_timeout = '10s';
SET tcp_keepalives_idle = 5;
SET tcp_keepalives_interval = 2;
SET tcp_keepalives_count = 3;
"""
"""Of every connection of a machine: a commit is on disk, and a dead one lets go of its locks."""
_START = """
UPDATE control SET command = 'run', reason = NULL, commanded_by = NULL, version = version + 1,
    leader = CASE WHEN EXISTS (SELECT FROM machine WHERE NOT fenced) THEN leader END,
    is_led = is_led AND EXISTS (SELECT FROM machine WHERE NOT fenced)
"""
_SHARED = frozenset(
    {
        StopReason.CANARY_FAILED,
        StopReason.TOO_MANY_FAILURES,
        StopReason.TOO_MANY_UNKNOWN,
        StopReason.WRONG_ENDPOINT,
    }
)
"""Reasons that concern every machine; a server that is unavailable may be this machine's network."""
_SHARE_STOP = """
UPDATE control SET command = 'stop', reason = $1, commanded_by = NULL, version = version + 1
WHERE command = 'run'
"""
_PAUSE = """
UPDATE control SET held_until = GREATEST(held_until, clock_timestamp() + make_interval(secs => $1))
"""
_HOLD = "UPDATE control SET held_by = $1 WHERE held_by IS NULL"
_RELEASE = "UPDATE control SET held_by = NULL WHERE held_by = $1"
_LEAD = "UPDATE control SET leader = $1 WHERE NOT is_led AND (leader IS NULL OR leader = $1) RETURNING leader"
_LED = "UPDATE control SET is_led = true WHERE leader = $1"
AHEAD = 0.25
"""Seconds for which all machines together reserve places at the rate."""
STALE = 2.0
"""Places that are so many distances late are nobody's any more: they would make a burst."""
SAME_MOMENT = 0.1
"""Seconds by which two readings of one moment may differ."""
_STOPPING = frozenset({"stop", "stop now", "cancel"})
_STATUS_OF_COMMIT = "SELECT serial, fenced FROM machine WHERE run = $1"
_SENDING = "SELECT number FROM message_state WHERE number = ANY ($1::bigint[]) AND state = 'sending'"
_KEEP_DEADLINE = "UPDATE plan SET deadline = COALESCE(deadline, $1) RETURNING deadline"
_FIRST_TEXT = """
SELECT text FROM message_content JOIN message_state USING (number)
WHERE state = 'queued' AND NOT EXISTS (SELECT FROM attempt) ORDER BY number LIMIT 1
"""
_BEGIN_TEST = """
INSERT INTO test_message (run, recipient, text, began_at)
SELECT $1, $2, $3, $4 WHERE NOT EXISTS (SELECT FROM test_message WHERE run = $1)
"""
_END_TEST = "UPDATE test_message SET ended_at = $2, http_status = $3, evidence = $4, error = $5 WHERE run = $1"
_END_RUN = f"""
UPDATE run SET ended_at = {TIMESTAMP}, stopped = $2, elapsed_seconds = $3, settled = $4
WHERE number = $1 AND ended_at IS NULL
"""  # noqa: S608 - a constant


class _Barrier(NamedTuple):
    """Who waits until everything that was handed over before is on disk."""

    reached: asyncio.Future[None]


class _GoneBackError(Exception):
    """The database does not know what it has confirmed: a failover, or a backup, has lost commits."""


@dataclass(slots=True)
class _Batch:
    """What one commit writes; `late` are outcomes of an earlier membership."""

    intents: list[Intent] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    late: list[Outcome] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        return not (self.intents or self.outcomes or self.late)


Check = Callable[[LedgerReader], None]


async def open_for_run(
    url: LedgerUrl, start: RunStart, recovery: Recovery, retry: Retry | None = None, check: Check | None = None
) -> "PostgresqlWriter":
    """Start the run on this machine: whatever was commanded before is over, and other machines go on, too."""

    async def prepare(connection: Connection) -> None:
        await require_agreement(connection, start)
        if retry is not None:
            await operator_actions.require_nobody(connection, url)
            await operator_actions.queue_again(connection, retry)
        await connection.execute(_START)
        await connection.execute("SELECT pg_notify($1, '')", CHANNEL)

    return await _open(url, start, recovery, prepare, check, is_idle=retry is not None)


async def join_run(
    url: LedgerUrl, start: RunStart, recovery: Recovery, check: Check | None = None
) -> "PostgresqlWriter":
    """Work on the run that a person has started."""

    async def prepare(connection: Connection) -> None:
        command = await connection.fetchval("SELECT command FROM control")
        if not await connection.fetchval("SELECT EXISTS (SELECT FROM run)"):
            raise PlanError(
                f"Nobody has started {url.name} yet; nothing was sent.",
                hint=f"`bulksms send '{url}'` asks once for all machines, and works itself.",
            )
        if command in _STOPPING:
            raise PlanError(
                f"{url.name} was stopped ({command}); nothing was sent.",
                hint=f"`bulksms resume '{url}'` starts it again for all machines.",
            )
        await require_agreement(connection, start)

    return await _open(url, start, recovery, prepare, check)


async def _open(  # noqa: PLR0913 - what both ways of opening hand on
    url: LedgerUrl,
    start: RunStart,
    recovery: Recovery,
    prepare: Callable[[Connection], Awaitable[None]],
    check: Check | None,
    *,
    is_idle: bool = False,
) -> "PostgresqlWriter":
    """Join with what is to be done in the same transaction; `is_idle` if no other machine may work on it."""
    writer: PostgresqlWriter | None = None

    def announced(*_: object) -> None:
        if writer is not None:
            writer.announce()

    async with connected_to(url) as connection:
        schema = (await require_entry(connection, url)).schema

    async def connect() -> Connection:
        connection = await catalogue.connect(url.database, schema, program=f"bulksms {url.name}")
        await connection.execute(_SETTINGS)
        await connection.add_listener(CHANNEL, announced)
        return cast("Connection", connection)

    session = Session(connect, url.database, patience_in(start))
    try:
        if check is not None:
            await asyncio.to_thread(check, PostgresqlReader(url))
        if is_idle:
            await session.run(lambda connection: operator_actions.require_idle(connection, url, recovery), timeout=None)
        membership = await session.run(lambda connection: join(connection, url.name, start, prepare))
    except BaseException:
        await session.close()
        raise
    writer = PostgresqlWriter(url, session, membership, start, recovery)
    return writer


class PostgresqlWriter:
    """The ledger of a living machine. Its methods belong to the event loop."""

    saved_as = None
    least_ahead = 1

    def __init__(
        self, path: LedgerUrl, session: Session, membership: Membership, start: RunStart, recovery: Recovery
    ) -> None:
        self.path = path
        self.identity = membership.identity
        self.run = membership.run
        self.started_at = membership.started_at
        self.attempts = membership.attempts
        self.failed_elsewhere = 0
        self._session = session
        self._start = start
        self._recovery = recovery
        self._lease = membership.lease
        self._loop = asyncio.get_running_loop()
        self._fresh_until = membership.asked + membership.lease
        self._committed_at = membership.asked
        self._serial = 0
        self._version = -1
        self._command = "run"
        self._is_late = False
        self._clock_offset = 0.0
        self._queue: deque[Intent | Outcome | _Barrier] = deque()
        self._paused: list[Intent] = []
        self._under_way: dict[tuple[int, int], int] = {}
        """By message and attempt: the run that began it, until its outcome is written."""
        self._recent: dict[tuple[int, int], tuple[float, Row]] = {}
        """What was begun lately, when, and what became of it."""
        self._news: asyncio.Queue[tuple[ControlCommand, Author] | StopReason | SharedHold] = asyncio.Queue()
        self._holds = False
        """Whether the others wait for what this machine's probes show."""
        self._is_held = False
        """Whether another machine probes for this one."""
        self._held_until = 0.0
        self._awake = asyncio.Event()
        self._is_announced = True
        self._is_stopping = False
        self._closing = False
        self._is_committing = False
        self._broken: LedgerError | None = None
        self._holdings = Holdings(session, self, self._lease)
        observer = Observer(session, lambda: self.run, self._lease, recovery)
        self._writing = self._supervised(self._write())
        self._observing = self._supervised(observer.watch(self._holdings.wake))
        self._reserving = asyncio.Lock()
        self._places = 0
        """How many requests may be made of those that were reserved last, the first of them at `_place_at`."""
        self._place_at = 0.0
        self._machines = 1
        self._sharing: set[asyncio.Task[None]] = set()
        self._claiming: set[asyncio.Task[list[Message]]] = set()

    @property
    def trouble(self) -> LedgerError | None:
        """See the contract."""
        return self._broken

    def announce(self) -> None:
        """Another machine or a person has changed what holds for all: a commit reads it."""
        self._is_announced = True
        self._awake.set()

    def now(self) -> float:
        """The database's time, as a POSIX time in seconds: that of all machines."""
        return SYSTEM.now() + self._clock_offset

    def record_intent(self, message: Message, now: float) -> asyncio.Future[bool]:
        """See the contract."""
        future: asyncio.Future[bool] = self._loop.create_future()
        if (refusal := self._refusal) is not None:
            _fail(future, refusal)
        elif not self._holdings.has(message):
            future.set_result(False)
        else:
            self._under_way[message.number, message.attempts] = self.run
            intent = Intent(
                self.run,
                message,
                now,
                message.attempts,
                message.tries,
                message.in_doubt,
                message.possible_duplicate,
                future,
            )
            self._queue.append(intent)
            self._awake.set()
        return future

    def still_mine(self) -> bool:
        """See the contract."""
        return boot_time() < self._fresh_until

    def record_outcome(self, message: Message, attempt: Attempt, outcome: OutcomeRecord) -> None:
        """See the contract."""
        if outcome.state not in TRANSITIONS[outcome.previous_state]:
            raise ValueError(f"no message goes from {outcome.previous_state} to {outcome.state}")
        if self._refusal is not None:
            return
        if outcome.previous_state is State.SENDING or self._holdings.has(message):
            self._queue.append(Outcome(self.run, outcome_row(message, attempt, outcome)))
            self._awake.set()

    def claim(
        self,
        state: State,
        after: int,  # noqa: ARG002 - of the contract
        limit: int,
        *,
        again: bool = False,
    ) -> asyncio.Future[list[Message]]:
        """See the contract; `after` says nothing here: what is in hand is not handed out twice."""
        task = self._loop.create_task(self._holdings.claim(state, limit, again=again))
        self._claiming.add(task)
        task.add_done_callback(self._claiming.discard)
        return task

    async def next_news(self) -> tuple[ControlCommand, Author] | StopReason | SharedHold:
        """See the contract."""
        return await self._news.get()

    def share_stop(self, reason: StopReason) -> None:
        """See the contract; what only this machine can know the reason for stops this machine alone."""
        self._is_stopping = True
        for intent in self._paused:
            self._refuse(intent)
        self._paused.clear()
        if reason in _SHARED:
            self._share(_SHARE_STOP, reason.value)

    def share_hold(self, hold: SharedHold) -> None:
        """See the contract."""
        if hold.seconds:
            self._share(_PAUSE, hold.seconds)
        else:
            self._holds = hold.seconds is None
            self._share(_HOLD if self._holds else _RELEASE, self.run)

    def let_go(self) -> None:
        """This machine has nothing to probe with: another one may."""
        if self._holds:
            self.share_hold(RELEASED)

    def _share(self, statement: str, value: object) -> None:
        """Change what holds for all machines, and have them look."""

        async def change(connection: Connection) -> None:
            await connection.execute(statement, value)
            await connection.execute("SELECT pg_notify($1, '')", CHANNEL)

        async def share() -> None:
            with suppress(LedgerError):
                await self._session.run(change)

        sharing = self._loop.create_task(share())
        self._sharing.add(sharing)
        sharing.add_done_callback(self._sharing.discard)

    async def lead(self) -> bool | None:
        """See the contract."""

        async def ask(connection: Connection) -> bool | None:
            if await connection.fetchval(_LEAD, self.run) is not None:
                return True
            return False if await connection.fetchval("SELECT is_led FROM control") else None

        return await self._after_all(ask)

    async def led(self) -> None:
        """See the contract."""
        await self._after_all(lambda connection: connection.execute(_LED, self.run))

    async def reserve(self, rate: float) -> float:
        """See the contract; places are reserved a quarter of a second ahead."""
        async with self._reserving:
            now = SYSTEM.monotonic()
            if not self._places or self._place_at < now - STALE / rate:
                self._places = max(1, int(rate * AHEAD / self._machines))
                grant = await self._session.run(
                    lambda connection: connection.fetchrow(statements.GRANT, float(self._places), rate)
                )
                now = SYSTEM.monotonic()
                self._place_at, self._machines = now + grant["starts_in"], max(1, grant["machines"])
            place, self._place_at = self._place_at, self._place_at + 1 / rate
            self._places -= 1
        return max(0.0, place - now)

    async def withdraw(self, state: State, reason: Reason) -> None:
        """See the contract."""
        await self._after_all(lambda connection: connection.fetchval(statements.WITHDRAW, self.run, state, reason))

    async def begin_test(self, recipient: str, now: float) -> str | None:
        """See the contract."""

        async def note(connection: Connection) -> str | None:
            text = await connection.fetchval(_FIRST_TEXT)
            if text is not None:
                await connection.execute(_BEGIN_TEST, self.run, recipient, text, now)
            return None if text is None else str(text)

        return await self._after_all(note)

    async def end_test(self, attempt: Attempt, evidence: str) -> None:
        """See the contract."""
        ended_at = attempt.began_at + attempt.elapsed
        values = (self.run, ended_at, attempt.status, evidence, attempt.error)
        await self._after_all(lambda connection: connection.execute(_END_TEST, *values))

    async def keep_deadline(self, at: float) -> float:
        """See the contract."""
        return float(await self._after_all(lambda connection: connection.fetchval(_KEEP_DEADLINE, at)))

    async def flush(self) -> None:
        """See the contract."""
        barrier = _Barrier(self._loop.create_future())
        if (refusal := self._refusal) is not None:
            raise refusal
        self._queue.append(barrier)
        self._awake.set()
        await barrier.reached

    async def counts(self) -> Counts:
        """See the contract."""
        return await self._after_all(read_running_counts)

    async def note_stop(self, action: Action, author: Author) -> None:
        """See the contract; of the machines that were stopped one notes it."""
        await self._after_all(lambda connection: note_once(connection, action, author, self.started_at))

    async def end_run(self, stopped: str | None, elapsed: float, settled: int) -> None:
        """See the contract."""
        values = (stopped and str(stopped), elapsed, settled)
        await self._after_all(lambda connection: connection.execute(_END_RUN, self.run, *values))

    async def close(self) -> None:
        """See the contract."""
        self._closing = True
        self._awake.set()
        self._holdings.wake()
        await asyncio.wait([self._writing])
        self._observing.cancel()
        for claim in self._claiming:
            claim.cancel()
        await asyncio.wait([self._observing, *self._claiming])
        if self._broken is None:
            with suppress(LedgerError):
                await self._session.run(lambda connection: leave(connection, self.run, self._recovery))
        await self._session.close()

    @property
    def _refusal(self) -> LedgerError | None:
        """Why nothing at all is taken any more."""
        if self._closing and self._broken is None:
            return LedgerError(
                f"The run on the ledger {self.path.name} has ended.", hint="Open the ledger again for another run."
            )
        return self._broken

    def takes_more(self) -> bool:
        """Whether anything is still to be begun."""
        return not self._closing and self._broken is None and self._command not in _STOPPING and not self._is_late

    def is_settled(self) -> bool:
        """Whether everything that was begun is written down, also what was begun before this machine was fenced."""
        return not (self._queue or self._under_way or self._is_committing)

    async def _after_all(self, ask: Callable[[Connection], Awaitable[Answer]]) -> Answer:
        """Ask something once everything that was handed over is on disk."""
        await self.flush()
        return await self._session.run(ask)

    def _supervised(self, work: Awaitable[None]) -> asyncio.Task[None]:
        """A task whose failure is the ledger's: a machine that cannot write must not go on."""

        async def watched() -> None:
            try:
                await work
            except LedgerError as error:
                self._break(error)
            except Exception as error:  # noqa: BLE001 - whatever failed, who waits has to hear of it or waits for ever
                log.exception("ledger failed")
                self._break(
                    LedgerError(
                        f"The ledger {self.path.name} cannot be written: {error!r}.",
                        hint="This is an internal error; the log on the level debug says more.",
                    )
                )

        return self._loop.create_task(watched())

    def _break(self, error: LedgerError) -> None:
        """Write nothing any more, and tell everybody who waits."""
        self._broken = self._broken or error
        self._fresh_until = 0.0
        waiting = [*self._queue, *self._paused]
        self._queue.clear()
        self._paused.clear()
        for step in waiting:
            if isinstance(step, Intent):
                _fail(step.begun, error)
            elif isinstance(step, _Barrier):
                _fail(step.reached, error)
        self._holdings.wake()
        self._awake.set()

    async def _write(self) -> None:
        while self._broken is None and (self._queue or not self._closing):
            if not self._queue:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._lease / BEATS):
                        await self._awake.wait()
            self._awake.clear()
            await asyncio.sleep(0)  # everybody who is ready now hands over: that makes fewer commits
            batch = self._take_batch()
            is_due = boot_time() - self._committed_at >= self._lease / BEATS
            if not batch.is_empty or self._is_announced or is_due:
                self._is_announced = False
                self._is_committing = True
                try:
                    await self._commit(batch)
                except BaseException:
                    self._queue.extendleft(reversed(batch.intents))  # who waits for them hears what is wrong
                    raise
                finally:
                    self._is_committing = False

    def _take_batch(self) -> _Batch:
        """As many steps as one statement can write: each message once, and nothing behind a barrier."""
        batch, numbers = _Batch(), set[int]()
        while self._queue:
            step = self._queue[0]
            if isinstance(step, _Barrier):
                if not batch.is_empty:
                    break
                if not step.reached.done():
                    step.reached.set_result(None)
            elif step.number in numbers:
                break
            else:
                numbers.add(step.number)
                self._sort_in(batch, step)
            self._queue.popleft()
        return batch

    def _sort_in(self, batch: _Batch, step: Intent | Outcome) -> None:
        if isinstance(step, Intent):
            if step.run == self.run and self._holdings.has(step.message):
                batch.intents.append(step)
            else:
                self._refuse(step)
        elif step.previous_state is not State.SENDING:
            if step.run == self.run:
                batch.outcomes.append(step)
        elif (run := self._under_way.pop((step.number, step.attempt), None)) is not None:
            (batch.outcomes if run == self.run else batch.late).append(Outcome(run, step.row))

    async def _commit(self, batch: _Batch) -> None:
        serial, intents, outcomes = self._serial + 1, batch.intents, batch.outcomes
        values = (
            intents[0].now if intents else 0.0,
            [intent.number for intent in intents],
            [intent.number for intent in intents if intent.is_marked],
            *columns([outcome.row for outcome in outcomes]),
        )
        asked = 0.0
        is_repeated = False

        async def write(connection: Connection) -> Any:  # noqa: ANN401 - a row; None if this machine is fenced
            nonlocal asked, is_repeated
            if is_repeated:  # the answer was lost: did it happen?
                begun = await self._begun_by(connection, serial, values[1])
                if begun is not None:
                    return begun
            is_repeated = True
            asked = boot_time()
            row = await connection.fetchrow(statements.COMMIT, self.run, serial, *values)
            if row["is_mine"]:
                return row
            if await self._is_fenced(connection, serial):
                return None
            raise ConnectionError("an earlier try of this commit is still under way, or has just ended")

        try:
            result = await self._session.run(write)
        except _GoneBackError:
            await self._go_back(batch)
            return
        if result is None:
            await self._join_anew(batch)
            return
        self._serial, self._committed_at = serial, asked
        self._fresh_until = asked + self._lease
        is_whole = not isinstance(result, _Begun)
        begun = set(result.numbers if isinstance(result, _Begun) else result["begun"])
        if is_whole:
            self._require_settled(outcomes, result["settled"])
            self._follow(result)
        self._finish(batch, begun)
        await self._write_late(batch.late)
        if not is_whole:
            self.announce()  # the answer that was lost had more to say

    async def _begun_by(self, connection: Connection, serial: int, numbers: object) -> "_Begun | None":
        """What a commit has begun whose answer was lost; None if it has not happened."""
        status = await connection.fetchrow(_STATUS_OF_COMMIT, self.run)
        if status is None or status["serial"] < serial - 1:
            raise _GoneBackError
        if status["serial"] < serial or status["fenced"]:
            return None
        return _Begun([row["number"] for row in await connection.fetch(_SENDING, numbers)])

    async def _is_fenced(self, connection: Connection, serial: int) -> bool:
        status = await connection.fetchrow(_STATUS_OF_COMMIT, self.run)
        if status is None or status["serial"] < serial - 1:
            raise _GoneBackError
        return bool(status["fenced"])

    def _require_settled(self, outcomes: Sequence[Outcome], settled: int) -> None:
        """Nobody but this machine settles what it has under way; a person may have withdrawn what is queued."""
        expected = sum(outcome.previous_state is not State.QUEUED for outcome in outcomes)
        if settled < expected:
            raise LedgerError(
                f"The ledger {self.path.name} was changed by somebody else while this run was working on it.",
                hint="Let only bulksms write to a ledger; `bulksms status` shows its state.",
            )

    def _follow(self, row: Any) -> None:  # noqa: ANN401 - asyncpg declares no types
        """What the commit says of the other machines, of commands and of the time."""
        self._clock_offset = row["now"] - SYSTEM.now()
        if not row["is_same_timeline"]:
            raise failover_error(self.path.name)
        if row["is_late"] and not self._is_late:
            self._is_late = True
            self._news.put_nowait(StopReason.DEADLINE)
        self.failed_elsewhere = row["failed_elsewhere"]
        self._follow_hold(row["held_by"], row["held"] or 0.0)
        if row["version"] == self._version:
            return
        self._version, self._command = row["version"], row["command"]
        if self._command in _STOPPING:
            self._news.put_nowait(_stop_in(row))
        elif self._command == "run":
            self._queue.extend(self._paused)
            self._paused.clear()
        self._holdings.wake()

    def _follow_hold(self, held_by: int | None, seconds: float) -> None:
        is_held = held_by not in (None, self.run)
        if is_held is not self._is_held:
            self._is_held = is_held
            self._news.put_nowait(HELD_UNTIL_RELEASED if is_held else RELEASED)
        until = SYSTEM.monotonic() + seconds
        if seconds > 0 and until > self._held_until + SAME_MOMENT:
            self._held_until = until
            self._news.put_nowait(SharedHold(seconds))

    def _finish(self, batch: _Batch, begun: set[int]) -> None:
        """Answer who waits for this commit."""
        now = boot_time()
        for outcome in batch.outcomes:
            if outcome.state not in UNFINISHED:
                self._holdings.put_down(outcome.number)
            key = outcome.number, outcome.attempt
            if key in self._recent:
                self._recent[key] = (self._recent[key][0], outcome.row)
        for intent in batch.intents:
            if intent.number in begun:
                self.attempts += 1
                self._recent[intent.number, intent.attempt] = (now, intent.lost())
                intent.answer(begun=True)
            elif self._command == ControlCommand.PAUSE and not self._is_stopping:
                self._paused.append(intent)
            else:
                self._holdings.put_down(intent.number)
                self._refuse(intent)
        while self._recent and next(iter(self._recent.values()))[0] < now - REMEMBERED:
            del self._recent[next(iter(self._recent))]

    def _refuse(self, intent: Intent) -> None:
        self._under_way.pop((intent.number, intent.attempt), None)
        intent.answer(begun=False)

    async def _join_anew(self, batch: _Batch) -> None:
        """This machine was fenced: nothing that waits may leave, and what has ended repairs what is unknown."""
        fenced = self.run
        self._fresh_until = 0.0
        self._holdings.lose_all()
        membership = await self._session.run(lambda connection: join(connection, self.path.name, self._start))
        self.run, self._serial = membership.run, 0
        self._committed_at = membership.asked
        self._fresh_until = membership.asked + self._lease
        log.warning("machine was taken for dead", run=fenced, goes_on_as=self.run)
        # If their intents did reach the disk, they are now known not to have left.
        not_sent = [intent.not_sent() for intent in batch.intents]
        for intent in (*batch.intents, *self._paused):
            self._refuse(intent)
        self._paused.clear()
        await self._write_late([*batch.outcomes, *batch.late, *not_sent])

    async def _write_late(self, outcomes: Sequence[Outcome]) -> None:
        for run in {outcome.run for outcome in outcomes}:
            rows = columns([outcome.row for outcome in outcomes if outcome.run == run])

            async def repair(connection: Connection, run: int = run, rows: list[list[object]] = rows) -> int:
                async with connection.transaction():
                    repaired = await connection.fetchval(statements.LATE, run, *rows)
                    await connection.execute(statements.REQUEUED, rows[0])
                return int(repaired)

            log.info("late outcomes", run=run, repaired=await self._session.run(repair))

    async def _go_back(self, batch: _Batch) -> None:
        """The database has forgotten commits: write down what this machine remembers, and begin nothing more."""
        self._fresh_until = 0.0
        for outcome in (*batch.outcomes, *batch.late):
            key = outcome.number, outcome.attempt
            if key in self._recent:
                self._recent[key] = (self._recent[key][0], outcome.row)
        rows = columns([row for _, row in self._recent.values()])
        restored = await self._session.run(lambda connection: connection.fetchval(statements.RESTORE, self.run, *rows))
        log.error("database has gone back", restored=restored)
        raise LedgerError(
            f"The database of {self.path.name} has gone back to an earlier state: {restored} attempts of this machine "
            "were missing in it and are written down again. Nothing more is sent.",
            hint="Once you know which server holds the truth, `bulksms resume --after-failover` goes on.",
        )


class _Begun(NamedTuple):
    """What a commit has begun whose answer was lost."""

    numbers: list[int]


def failover_error(ledger: str) -> LedgerError:
    """Why nothing is begun after another server has taken over."""
    return LedgerError(
        f"Another database server has taken over since {ledger} was planned, and it may lack what was confirmed last. "
        "Nothing more is sent.",
        hint="`bulksms resume --after-failover` goes on, once every machine has written down what it remembers.",
    )


def _stop_in(row: Any) -> tuple[ControlCommand, Author] | StopReason:  # noqa: ANN401 - asyncpg declares no types
    """Why every machine stops."""
    if row["reason"] is not None:
        return StopReason(row["reason"])
    return ControlCommand(row["command"]), Author(*json.loads(row["commanded_by"]))


def _fail(future: asyncio.Future[Any], error: LedgerError) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # marked as seen: who waited may have gone
