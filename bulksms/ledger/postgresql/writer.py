"""Writer: the ledger of one machine, on a run that others may work on, too.

Invariants: an intent's future is True only when the row is `sending` on disk, and no other machine had taken this one
for dead by then. One commit is one statement, and its serial tells whether it happened when its answer was lost. What a
machine learns after it was fenced repairs what was written down as a crash, and nothing else.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

from bulksms.errors import LedgerError
from bulksms.ledger.name import LedgerUrl
from bulksms.ledger.postgresql import statements
from bulksms.ledger.postgresql.batch import Intent, Outcome, Row, columns, outcome_row
from bulksms.ledger.postgresql.commit import Batch, Commits, GoneBackError
from bulksms.ledger.postgresql.holdings import Holdings
from bulksms.ledger.postgresql.membership import (
    TIMESTAMP,
    Membership,
    boot_time,
    join,
    leave,
)
from bulksms.ledger.postgresql.observer import Observer
from bulksms.ledger.postgresql.operator_actions import note_once
from bulksms.ledger.postgresql.queries import read_running_counts
from bulksms.ledger.postgresql.session import Connection, Session
from bulksms.ledger.postgresql.shared_run import News, SharedRun
from bulksms.ledger.records import (
    Action,
    Author,
    ControlCommand,
    Counts,
    OutcomeRecord,
    Recovery,
    RunStart,
    SettledElsewhere,
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
        self._session = session
        self._start = start
        self._recovery = recovery
        self._lease = membership.lease
        self._loop = asyncio.get_running_loop()
        self._fresh_until = membership.asked + membership.lease
        self._committed_at = membership.asked
        self._commits = Commits(session, membership.run)
        self._shared = SharedRun(session, lambda: self.run, path.name, membership.clock_offset)
        self._queue: deque[Intent | Outcome | _Barrier] = deque()
        self._paused: list[Intent] = []
        self._under_way: dict[tuple[int, int], int] = {}
        """By message and attempt: the run that began it, until its outcome is written."""
        self._recent: dict[tuple[int, int], tuple[float, Row]] = {}
        """What was begun lately, when, and what became of it."""
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
        return SYSTEM.now() + self._shared.clock_offset

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

    @property
    def settled_elsewhere(self) -> SettledElsewhere:
        """See the contract."""
        return self._shared.settled_elsewhere

    async def next_news(self) -> News:
        """See the contract."""
        return await self._shared.news.get()

    def share_stop(self, reason: StopReason) -> None:
        """See the contract."""
        self._is_stopping = True
        for intent in self._paused:
            self._refuse(intent)
        self._paused.clear()
        self._shared.stop(reason)

    def share_hold(self, hold: SharedHold) -> None:
        """See the contract."""
        self._shared.hold(hold)

    def let_go(self) -> None:
        """This machine has nothing to probe with: another one may."""
        self._shared.let_go()

    async def lead(self) -> bool | None:
        """See the contract."""
        await self.flush()
        return await self._shared.lead()

    async def led(self) -> None:
        """See the contract."""
        await self.flush()
        await self._shared.led()

    async def reserve(self, rate: float) -> float:
        """See the contract."""
        return await self._shared.reserve(rate)

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
        return not self._closing and self._broken is None and not self._shared.is_stopped

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

    def _take_batch(self) -> Batch:
        """As many steps as one statement can write: each message once, and nothing behind a barrier."""
        batch, numbers = Batch(), set[int]()
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

    def _sort_in(self, batch: Batch, step: Intent | Outcome) -> None:
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

    async def _commit(self, batch: Batch) -> None:
        try:
            committed = await self._commits.write(batch)
        except GoneBackError:
            await self._go_back(batch)
            return
        if committed is None:
            await self._join_anew(batch)
            return
        self._committed_at = committed.asked
        self._fresh_until = committed.asked + self._lease
        if committed.row is not None:
            self._require_settled(batch.outcomes, committed.row["settled"])
            if self._shared.follow(committed.row):
                self._obey()
        self._finish(batch, committed.begun)
        await self._write_late(batch.late)
        if committed.row is None:
            self.announce()  # the answer that was lost had more to say

    def _obey(self) -> None:
        """A person has commanded something."""
        if self._shared.command == "run":
            self._queue.extend(self._paused)
            self._paused.clear()
        self._holdings.wake()

    def _require_settled(self, outcomes: Sequence[Outcome], settled: int) -> None:
        """Nobody but this machine settles what it has under way; a person may have withdrawn what is queued."""
        expected = sum(outcome.previous_state is not State.QUEUED for outcome in outcomes)
        if settled < expected:
            raise LedgerError(
                f"The ledger {self.path.name} was changed by somebody else while this run was working on it.",
                hint="Let only bulksms write to a ledger; `bulksms status` shows its state.",
            )

    def _finish(self, batch: Batch, begun: set[int]) -> None:
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
            elif self._shared.command == ControlCommand.PAUSE and not self._is_stopping:
                self._paused.append(intent)
            else:
                self._holdings.put_down(intent.number)
                self._refuse(intent)
        while self._recent and next(iter(self._recent.values()))[0] < now - REMEMBERED:
            del self._recent[next(iter(self._recent))]

    def _refuse(self, intent: Intent) -> None:
        self._under_way.pop((intent.number, intent.attempt), None)
        intent.answer(begun=False)

    async def _join_anew(self, batch: Batch) -> None:
        """This machine was fenced: nothing that waits may leave, and what has ended repairs what is unknown."""
        fenced = self.run
        self._fresh_until = 0.0
        self._holdings.lose_all()
        membership = await self._session.run(lambda connection: join(connection, self.path.name, self._start))
        self.run, self._commits = membership.run, Commits(self._session, membership.run)
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

    async def _go_back(self, batch: Batch) -> None:
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


def _fail(future: asyncio.Future[Any], error: LedgerError) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # marked as seen: who waited may have gone
