"""Write queue: what a machine hands over, in that order, until it is on disk; and what it does when it was fenced.

Invariants: an intent's future is True only when the row is `sending` on disk, and no other machine had taken this one
for dead by then. One commit is one statement, and its serial tells whether it happened when its answer was lost. What a
machine learns after it was fenced repairs what was written down as a crash, and nothing else.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from bulksms.errors import LedgerError
from bulksms.ledger.postgresql import statements
from bulksms.ledger.postgresql.batch import Intent, Outcome, Row, columns, outcome_row
from bulksms.ledger.postgresql.commit import Batch, Commits, GoneBackError
from bulksms.ledger.postgresql.holdings import Holdings
from bulksms.ledger.postgresql.membership import Membership, boot_time, join
from bulksms.ledger.postgresql.session import Connection, Session
from bulksms.ledger.postgresql.shared_run import SharedRun
from bulksms.ledger.records import ControlCommand, OutcomeRecord, RunStart
from bulksms.log import log
from bulksms.model.attempt import Attempt
from bulksms.model.message import TRANSITIONS, UNFINISHED, Message, State

BEATS = 4
"""Commits in a lease, at least: an empty one is a heartbeat."""
REMEMBERED = 60.0
"""Seconds for which a machine knows what it has begun, for a database that has forgotten it."""


class _Barrier(NamedTuple):
    """Who waits until everything that was handed over before is on disk."""

    reached: asyncio.Future[None]


class WriteQueue:
    """The queue of one machine, which joins the ledger `name` anew when it was fenced: its `run` is another one then.

    Only what is in `holdings` is begun. Each commit tells `shared` what holds for all machines.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - made by the writer only
        self,
        name: str,
        session: Session,
        membership: Membership,
        start: RunStart,
        holdings: Holdings,
        shared: SharedRun,
    ) -> None:
        self.run = membership.run
        self.attempts = membership.attempts
        self._ledger = name
        self._session = session
        self._start = start
        self._holdings = holdings
        self._shared = shared
        self._lease = membership.lease
        self._loop = asyncio.get_running_loop()
        self._fresh_until = membership.asked + membership.lease
        self._committed_at = membership.asked
        self._commits = Commits(session, membership.run)
        self._steps: deque[Intent | Outcome | _Barrier] = deque()
        self._paused: list[Intent] = []
        self._under_way: dict[tuple[int, int], int] = {}
        """By message and attempt: the run that began it, until its outcome is written."""
        self._recent: dict[tuple[int, int], tuple[float, Row]] = {}
        """What was begun lately, when, and what became of it."""
        self._awake = asyncio.Event()
        self._is_announced = True
        self._is_stopping = False
        self._is_closing = False
        self._is_committing = False
        self._broken: LedgerError | None = None

    @property
    def trouble(self) -> LedgerError | None:
        """Why nothing is written any more."""
        return self._broken

    def is_fresh(self) -> bool:
        """Whether no other machine can have taken this one for dead."""
        return boot_time() < self._fresh_until

    def announce(self) -> None:
        """Another machine or a person has changed what holds for all: a commit reads it."""
        self._is_announced = True
        self._awake.set()

    def record_intent(self, message: Message, now: float) -> asyncio.Future[bool]:
        """Hand over an intent; the future tells whether the attempt may be made."""
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
            self._steps.append(intent)
            self._awake.set()
        return future

    def record_outcome(self, message: Message, attempt: Attempt, outcome: OutcomeRecord) -> None:
        """Hand over an outcome. Raises ValueError for a move that the states do not allow."""
        if outcome.state not in TRANSITIONS[outcome.previous_state]:
            raise ValueError(f"no message goes from {outcome.previous_state} to {outcome.state}")
        if self._refusal is not None:
            return
        if outcome.previous_state is State.SENDING or self._holdings.has(message):
            self._steps.append(Outcome(self.run, outcome_row(message, attempt, outcome)))
            self._awake.set()

    async def flush(self) -> None:
        """Wait until everything that was handed over before is on disk. Raises LedgerError if it cannot be."""
        barrier = _Barrier(self._loop.create_future())
        if (refusal := self._refusal) is not None:
            raise refusal
        self._steps.append(barrier)
        self._awake.set()
        await barrier.reached

    def is_settled(self) -> bool:
        """Whether everything that was begun is written down, also what was begun before this machine was fenced."""
        return not (self._steps or self._under_way or self._is_committing)

    def stop(self) -> None:
        """Nothing more is begun: who waits for the end of a pause waits no longer."""
        self._is_stopping = True
        for intent in self._paused:
            self._refuse(intent)
        self._paused.clear()

    def close(self) -> None:
        """Take nothing more; `write` ends when all that was handed over is on disk."""
        self._is_closing = True
        self._awake.set()

    @property
    def is_open(self) -> bool:
        """Whether anything is still taken."""
        return not self._is_closing and self._broken is None

    def supervised(self, work: Awaitable[None]) -> asyncio.Task[None]:
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
                        f"The ledger {self._ledger} cannot be written: {error!r}.",
                        hint="This is an internal error; the log on the level debug says more.",
                    )
                )

        return self._loop.create_task(watched())

    async def write(self) -> None:
        """Write until the end of the run, or until the ledger fails."""
        while self._broken is None and (self._steps or not self._is_closing):
            if not self._steps:
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
                    self._steps.extendleft(reversed(batch.intents))  # who waits for them hears what is wrong
                    raise
                finally:
                    self._is_committing = False

    @property
    def _refusal(self) -> LedgerError | None:
        """Why nothing at all is taken any more."""
        if self._is_closing and self._broken is None:
            return LedgerError(
                f"The run on the ledger {self._ledger} has ended.", hint="Open the ledger again for another run."
            )
        return self._broken

    def _break(self, error: LedgerError) -> None:
        """Write nothing any more, and tell everybody who waits."""
        self._broken = self._broken or error
        self._fresh_until = 0.0
        waiting = [*self._steps, *self._paused]
        self._steps.clear()
        self._paused.clear()
        for step in waiting:
            if isinstance(step, Intent):
                _fail(step.begun, error)
            elif isinstance(step, _Barrier):
                _fail(step.reached, error)
        self._holdings.wake()
        self._awake.set()

    def _take_batch(self) -> Batch:
        """As many steps as one statement can write: each message once, and nothing behind a barrier."""
        batch, numbers = Batch(), set[int]()
        while self._steps:
            step = self._steps[0]
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
            self._steps.popleft()
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
            self._steps.extend(self._paused)
            self._paused.clear()
        self._holdings.wake()

    def _require_settled(self, outcomes: Sequence[Outcome], settled: int) -> None:
        """Nobody but this machine settles what it has under way; a person may have withdrawn what is queued."""
        expected = sum(outcome.previous_state is not State.QUEUED for outcome in outcomes)
        if settled < expected:
            raise LedgerError(
                f"The ledger {self._ledger} was changed by somebody else while this run was working on it.",
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
        membership = await self._session.run(lambda connection: join(connection, self._ledger, self._start))
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
            f"The database of {self._ledger} has gone back to an earlier state: {restored} attempts of this machine "
            "were missing in it and are written down again. Nothing more is sent.",
            hint="Once you know which server holds the truth, `bulksms resume --after-failover` goes on.",
        )


def _fail(future: asyncio.Future[Any], error: LedgerError) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # marked as seen: who waited may have gone
