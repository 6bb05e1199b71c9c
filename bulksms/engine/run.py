"""Run: a bounded pool of workers takes the queued messages of one ledger to one server.

Laws: whatever ends a run, each message stands in the ledger as what is known of it. Workers pull: there is never a task
or an object a message. The way that each message takes is in `way`.
"""

import asyncio
from collections.abc import Awaitable, Callable

import anyio

from bulksms.adaxes import Client
from bulksms.attempt import Attempt
from bulksms.config import RunSettings
from bulksms.delivery.brake import Away
from bulksms.delivery.breaker import Breakers, FailureLimit
from bulksms.delivery.operation import Questions, questions_at_once
from bulksms.delivery.pace import Concurrency, Rate
from bulksms.delivery.retry import Decision, RetryPolicy, Stop
from bulksms.delivery.traffic import Traffic
from bulksms.engine.books import Books, OnSettled
from bulksms.engine.canary import Ask, Canary, TestMessage
from bulksms.engine.line import Drained, Line
from bulksms.engine.poller import Poller
from bulksms.engine.progress import Progress
from bulksms.engine.tokens import Tokens
from bulksms.engine.watch import DeadlineWatch
from bulksms.engine.way import Way
from bulksms.engine.window import Window
from bulksms.errors import LedgerTrouble
from bulksms.ledger.writer import LedgerWriter
from bulksms.message import Message, Reason, State

WINDOW = 4
"""Messages held ready for each worker."""
SMALLEST_WINDOW = 256
OPERATIONS = 9
"""Slow operations that may be under way for each worker: with the requests in flight that is ten."""
Room = Callable[[], Awaitable[None]]


class Run:
    """One run on one ledger: `await run.work()`; `stop` drains it, from the same event loop.

    `on_settled` is called with each message that was settled; what it raises is logged and changes nothing. `room` is
    awaited before the next message is taken up: whoever is told of them may hold the run back.
    `after_canary` and `after_test` are asked whether to go on once the canary, or the test message, was accepted; a
    question without an answer is cancelled when the run stops.
    """

    def __init__(  # noqa: PLR0913 - what a run needs, and who is told and asked
        self,
        ledger: LedgerWriter,
        client: Client,
        settings: RunSettings,
        *,
        on_settled: OnSettled | None = None,
        room: Room | None = None,
        after_canary: Ask | None = None,
        after_test: Ask | None = None,
    ) -> None:
        self.progress = Progress()
        self._ledger = ledger
        self._settings = settings
        self._room = room
        self._books = Books(ledger, _breakers(settings), self.progress, on_settled)
        self._line = Line(_traffic(settings), self.progress)
        self._canary = Canary(self._books, self._line, self.progress, after_canary)
        self._test = TestMessage(ledger, client, self._line, self.progress, after_test)
        self._deadline = DeadlineWatch(settings.deadline, ledger, self.progress)
        workers = settings.workers
        self._queued = Window(ledger, State.QUEUED, max(SMALLEST_WINDOW, WINDOW * workers))
        earlier = Window(ledger, State.PROCESSING, SMALLEST_WINDOW, turns=(True,))
        self._poller = Poller(
            client,
            earlier,
            Questions(questions_at_once(workers), settings.max_pause),
            line=self._line,
            settle=self._settle_operation,
            halt=self._halt,
            timeout=settings.poll_timeout,
            room=OPERATIONS * workers,
        )
        policy = RetryPolicy(settings.delivery, settings.max_attempts)
        self._tokens = Tokens(client, policy, self._line, self.progress, patience=settings.max_pause)
        self._way = Way(
            client,
            policy,
            books=self._books,
            line=self._line,
            poller=self._poller,
            tokens=self._tokens,
            deadline=self._deadline,
            halt=self._halt,
        )
        self._in_flight = anyio.CancelScope()
        self._polling = anyio.CancelScope()
        self._all_sent = False
        self.is_over = False
        """Whether everything that the run does is done: it cannot be stopped any more."""
        self._trouble: Exception | None = None

    async def work(self) -> Progress:
        """Send everything that is queued, follow everything that is processing, and return what was done.

        Cancelling the awaiting task drains the run first. Raises LedgerTrouble if the ledger failed.
        """
        pool = asyncio.create_task(self._work_and_flush())
        try:
            await asyncio.shield(pool)
        except asyncio.CancelledError:
            self.stop()
            with anyio.CancelScope(shield=True):
                await pool
            raise
        if self._trouble is not None:
            raise self._trouble
        return self.progress

    def stop(self, why: Stop = Stop.INTERRUPTED, *, now: bool = False) -> None:
        """Begin nothing new and await the answers in flight; with `now`, break those off as well."""
        if self.is_over:
            return
        self._halt(why)
        if now:
            self._in_flight.cancel()
            self._polling.cancel()

    async def _work_and_flush(self) -> None:
        """Everything that was done is on disk at the end, or the trouble is known."""
        await self._work()
        try:
            if self.progress.stopped is Stop.DEADLINE:
                await self._ledger.withdraw(State.EXPIRED, Reason.DEADLINE)
            await self._ledger.flush()
        except LedgerTrouble as trouble:
            self._stop_for(trouble)
        self.is_over = True

    async def _work(self) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._poll)
            watching = anyio.CancelScope()
            tasks.start_soon(self._watch, watching)
            with self._in_flight:
                await self._send_first()
                async with anyio.create_task_group() as workers:
                    for _ in range(self._settings.workers):
                        workers.start_soon(self._work_off)
            watching.cancel()
            if not self._line.is_closed:
                for released in self._books.release(at_the_end=True):
                    self._way.follow(released)
            elif self.progress.stopped is not Stop.DEADLINE:
                self._polling.cancel()
            self._all_sent = True
            self._poller.no_more()

    async def _poll(self) -> None:
        try:
            with self._polling:
                await self._poller.run()
        except* LedgerTrouble as group:
            for trouble in group.exceptions:
                self._stop_for(trouble)

    async def _watch(self, scope: anyio.CancelScope) -> None:
        with scope:
            await self._deadline.wait(lambda: self.stop(Stop.DEADLINE))

    async def _send_first(self) -> None:
        """The test message, then the canary, where they are asked for."""
        try:
            if self._settings.test_to is not None:
                await self._tokens.ready()
                await self._test.send(self._settings.test_to)
            if self._settings.canary is not None:
                missing = self._settings.canary - (await self._ledger.standing()).counts[State.ACCEPTED]
                if missing >= 0:  # else the others have begun, and whoever was to be asked has said yes
                    await self._canary.send(missing, self._claim, self._deliver)
        except Drained:
            return
        except LedgerTrouble as trouble:
            self._stop_for(trouble)

    async def _work_off(self) -> None:
        """One worker: a message at a time, until there is none left or the run stops."""
        try:
            while (message := await self._claim()) is not None:
                await self._deliver(message)
        except Drained:
            return
        except LedgerTrouble as trouble:
            self._stop_for(trouble)

    async def _claim(self) -> Message | None:
        if not self._poller.has_room:
            await self._poller.room()
        if self._room is not None:
            await self._room()
        return None if self._line.is_closed else await self._queued.next()

    async def _deliver(self, message: Message) -> Decision:
        decision = await self._way.deliver(message)
        if decision.given_back:
            self._queued.give_back(message)
        return decision

    def _settle_operation(self, message: Message, attempt: Attempt, decision: Decision | None) -> None:
        """What a poll showed: of its message, if it is settled by it, and for everybody."""
        state = None
        if decision is not None:
            decision = self._books.settle_operation(message, attempt, decision)
            self._way.follow(decision, attempt)
            state = decision.state
        self._way.heed(self._line.polled(attempt, state), attempt)

    def _halt(self, why: Stop, said: str | None = None, hint: str | None = None) -> None:
        self.progress.stop(why, said, hint)
        self._line.close()
        if self._all_sent and why is not Stop.DEADLINE:
            self._polling.cancel()

    def _stop_for(self, trouble: Exception) -> None:
        self._trouble = self._trouble or trouble
        self._halt(Stop.LEDGER)


def _breakers(settings: RunSettings) -> Breakers:
    limit = FailureLimit() if settings.max_failures is None else FailureLimit.parse(settings.max_failures)
    return Breakers(limit, settings.keep_going)


def _traffic(settings: RunSettings) -> Traffic:
    concurrency = Concurrency(settings.workers, settings.adapt)
    return Traffic(concurrency, Rate(settings.rate), away=Away(settings.max_pause))
