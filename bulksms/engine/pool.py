"""WorkerPool: a bounded number of workers takes the queued messages of one ledger to one server.

Invariants: however a run ends, the ledger says of each message what is known of it. Workers pull: there is never a task
or an object for each message, and memory does not grow with the number of recipients. Everything held here is still
`queued` on disk. A message that waits for another attempt occupies no worker. What becomes of one message is in
`worker`.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Awaitable, Callable, Iterable

import anyio

from bulksms.adaxes import Caller, Client, LoginError
from bulksms.engine.canary import Canary, Confirm, Question, SelfTest
from bulksms.engine.poller import Poller
from bulksms.engine.stop_signal import ClosingTimer, DeadlineTimer, Stopping, StopSignal, wait_for_change
from bulksms.engine.worker import AdmissionQueue, AttemptRecorder, OnSettled, RunCounters, Worker
from bulksms.errors import LedgerError
from bulksms.ledger import LedgerWriter, RunStatus, SharedHold
from bulksms.model.attempt import Attempt
from bulksms.model.message import Message, Reason, State
from bulksms.model.run_settings import TIMINGS, RunSettings, StopReason, Timings
from bulksms.policy.admission import AdmissionController
from bulksms.policy.circuit_breaker import CircuitBreaker, ServerHealth
from bulksms.policy.concurrency_limit import ConcurrencyLimit
from bulksms.policy.judgement import FailureLimit, FailureLimits, PollLimiter, RunPolicy, concurrent_polls
from bulksms.policy.rate_limiter import RateLimiter
from bulksms.policy.retry import Decision, RetryPolicy
from bulksms.system import SYSTEM, System

MOST_WAITING = 1000
"""While so many messages wait for another attempt no new one begins."""


class Prefetcher:
    """Hands out the messages that are in one state, in the plan's order, one pass after another.

    A pass that is True has the messages that an earlier run has attempted, one that is False the others. Waiting ends
    with `stop`, if there is one. `now` is a monotonic clock.
    """

    def __init__(  # noqa: PLR0913 - what it hands out, and until when
        self,
        ledger: LedgerWriter,
        state: State,
        size: int,
        stop: StopSignal | None,
        now: Callable[[], float],
        *,
        passes: Iterable[bool] = (False, True),
    ) -> None:
        self._ledger = ledger
        self._state = state
        self._size = size
        self._stop = stop
        self._now = now
        self._passes = deque(passes)
        self._messages: deque[Message] = deque()
        self._waiting: list[tuple[float, int, Message]] = []
        self._last = 0
        self._pending: asyncio.Future[list[Message]] | None = None
        self._first = asyncio.Lock()
        self._changed = asyncio.Event()
        if stop is not None:
            stop.on_stop(lambda _: self._changed.set())

    async def next(self, *, fresh_first: bool = False) -> Message | None:
        """The next message; None when there is none left, or the others wait and the run stops. Raises LedgerError.

        A message whose wait is over comes before a fresh one, unless `fresh_first`.
        """
        if self._passes and len(self._messages) <= self._size // 2:
            self._request()
        while True:
            has_fresh = bool(self._messages) and len(self._waiting) < MOST_WAITING
            if self._waiting and self._waiting[0][0] <= self._now() and not (has_fresh and fresh_first):
                return heapq.heappop(self._waiting)[2]
            if has_fresh:
                return self._messages.popleft()
            if self._pending is not None and self._pending.done():
                self._receive()
                if not self._messages:
                    self._request()
            elif self._is_stopping:
                return None
            elif not self._messages and self._pending is not None:
                await self._wait_for_rows()
            elif self._waiting:
                await self._wait_for_due()
            else:
                return None

    def put_back(self, message: Message, seconds: float) -> None:
        """Hand the message out again in so many seconds; it is still `queued` on disk."""
        heapq.heappush(self._waiting, (self._now() + seconds, message.number, message))
        self._changed.set()

    @property
    def _is_stopping(self) -> bool:
        return self._stop is not None and self._stop.is_set

    async def _wait_for_rows(self) -> None:
        """Wait until the rows are here that were asked for, or until a message that waits is due."""
        self._changed.clear()
        seconds = max(0.0, self._waiting[0][0] - self._now()) if self._waiting else None
        await wait_for_change(self._changed, seconds)

    async def _wait_for_due(self) -> None:
        """Wait until the first one is due or something has changed, one worker behind another."""
        async with self._first:
            self._changed.clear()
            if not self._waiting or self._is_stopping:
                return
            seconds = self._waiting[0][0] - self._now()
            if seconds > 0:
                await wait_for_change(self._changed, seconds)

    def _request(self) -> None:
        """Ask for more rows, unless they are coming already; taken over as soon as they are here."""
        if self._pending is not None and self._pending.done():
            self._receive()
        if self._pending is None and self._passes:
            self._pending = self._ledger.claim(self._state, self._last, self._size, again=self._passes[0])
            self._pending.add_done_callback(lambda _: self._changed.set())

    def _receive(self) -> None:
        if self._pending is None or not self._pending.done():
            return
        rows, self._pending = self._pending.result(), None
        self._messages.extend(rows)
        if rows:
            self._last = rows[-1].number
        else:
            self._passes.popleft()
            self._last = 0


MESSAGES_PER_WORKER = 4
"""Messages held ready for each worker."""
OPERATIONS_AT_ONCE = 256
"""Operations of an earlier run that are claimed at once."""
OPERATIONS_PER_WORKER = 9
"""Slow operations that may be under way for each worker: with the requests in flight that is ten."""
LEAD_INTERVAL = 0.2
"""Seconds between two looks whether another machine has done what is done before all go."""
ERRORS = 5
"""So many groups of errors are shown: the last ones."""
WaitForCapacity = Callable[[], Awaitable[None]]


class WorkerPool:
    """One run on one ledger: `await pool.work()`; `stop` drains it, from the same event loop.

    `on_settled` is called with each message that was settled; what it raises is logged and changes nothing.
    `wait_for_capacity` is awaited before the next message is taken up, so that a slow reader of outcomes slows the run
    down. `after_canary` and `after_test` are asked whether to go on once the canary, or the test message, was accepted.
    """

    def __init__(  # noqa: PLR0913 - what a run needs, and its hooks
        self,
        ledger: LedgerWriter,
        client: Client,
        settings: RunSettings,
        *,
        on_settled: OnSettled | None = None,
        wait_for_capacity: WaitForCapacity | None = None,
        after_canary: Confirm | None = None,
        after_test: Confirm | None = None,
        system: System = SYSTEM,
        timings: Timings = TIMINGS,
    ) -> None:
        self.counters = RunCounters(system.monotonic())
        self.stop_signal = StopSignal()
        self.is_over = False
        """Whether everything that the run does is done: it cannot be stopped any more."""
        self._ledger = ledger
        self._settings = settings
        self._wait_for_capacity = wait_for_capacity
        self._system = system
        workers, stop, now = settings.workers, self.stop_signal, system.monotonic
        retry = RetryPolicy(settings.delivery, settings.max_attempts, timings.backoff_base, timings.backoff_cap)
        self._policy = RunPolicy(retry, _admission(settings, timings), _failure_limits(settings), timings)
        self._question = Question(stop)
        self._deadline = DeadlineTimer(settings.deadline, ledger)
        self._closing = ClosingTimer(settings.hours, system)
        self._recorder = AttemptRecorder(ledger, self.counters, on_settled, system.now)
        held = max(ledger.least_ahead, MESSAGES_PER_WORKER * workers)
        self._queued = Prefetcher(ledger, State.QUEUED, held, stop, now)
        self._poller = Poller(
            # Polls go on after the deadline: what ends them is a cancel scope, not the stop signal.
            Caller(client, retry, sleep=anyio.sleep, max_outage=settings.max_outage, system=system),
            self._policy,
            PollLimiter(concurrent_polls(workers), settings.max_outage),
            next_earlier=Prefetcher(ledger, State.PROCESSING, OPERATIONS_AT_ONCE, None, now, passes=(True,)).next,
            on_poll=self._on_poll,
            stop=stop,
            timeout=settings.poll_timeout,
            capacity=OPERATIONS_PER_WORKER * workers,
            now=now,
        )
        self._caller = Caller(client, retry, sleep=stop.sleep, max_outage=settings.max_outage, system=system)
        self._worker = Worker(
            self._caller,
            self._policy,
            AdmissionQueue(self._policy.admission, stop, now),
            self._recorder,
            ledger=ledger,
            rate=settings.rate,
            watch=self._poller.watch,
            deadline=self._deadline,
            counters=self.counters,
            stop=stop,
            system=system,
        )
        self._canary = Canary(self._recorder, stop, self._question, after_canary)
        self._test = SelfTest(ledger, client, stop, self._question, after_test, now=system.now)
        self._in_flight = anyio.CancelScope()
        self._polling = anyio.CancelScope()
        self._all_sent = False
        stop.on_stop(self._on_stop)

    @property
    def stopped(self) -> StopReason | None:
        """Why the run stops, or has stopped, before its work was done."""
        return self.stop_signal.reason

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return self._system.monotonic() - self.counters.began

    @property
    def is_asking(self) -> bool:
        """Whether a person is being asked something: whatever is drawn has to keep still."""
        return self._question.is_open

    def status(self, recent: float | None = None) -> RunStatus:
        """How fast the run is, and why; `recent` is messages a second of late."""
        counters, admission = self.counters, self._policy.admission
        now, elapsed = self._system.monotonic(), self.elapsed
        concurrency, breaker = admission.concurrency, admission.breaker
        return RunStatus(
            run=self._ledger.run,
            elapsed=elapsed,
            overall=counters.done / elapsed if counters.done else None,
            recent=recent,
            concurrency=concurrency.limit,
            ceiling=concurrency.ceiling,
            adapts=concurrency.adapt,
            in_flight=concurrency.in_flight,
            rate=admission.rate.per_second(now),
            concurrency_reason=counters.concurrency_reason,
            paused_for=breaker.seconds_held(now) or None,
            pause_reason=counters.pause_reason,
            probing=not breaker.is_closed,
            unavailable_for=None if breaker.outage_since is None else now - breaker.outage_since,
            gives_up_in=None if breaker.outage_since is None else admission.health.patience_left(now),
            deadline=self._deadline.at,
            stopping=self.stopped,
            errors=counters.errors.latest(ERRORS),
            done=counters.done,
        )

    async def work(self) -> None:
        """Send everything that is queued, and follow everything that is processing.

        Cancelling the awaiting task drains the run first. Raises LedgerError if the ledger failed.
        """
        pool = asyncio.create_task(self._work_and_flush())
        try:
            await asyncio.shield(pool)
        except asyncio.CancelledError:
            self.stop()
            with anyio.CancelScope(shield=True):
                await pool
            raise
        if self.stop_signal.error is not None:
            raise self.stop_signal.error

    def stop(self, reason: StopReason = StopReason.INTERRUPTED, *, now: bool = False) -> None:
        """Begin nothing new and await the answers in flight; with `now`, break those off as well."""
        if self.is_over:
            return
        self.stop_signal.set(reason)
        if now:
            self._in_flight.cancel()
            self._polling.cancel()

    def follow(self, hold: SharedHold) -> None:
        """Do as another machine has found it necessary."""
        self._worker.follow(hold)

    async def _work_and_flush(self) -> None:
        """Everything that was done is on disk at the end, or the stop signal has the error."""
        await self._work()
        try:
            if self.stopped is StopReason.DEADLINE:
                await self._ledger.withdraw(State.EXPIRED, Reason.DEADLINE)
            await self._ledger.flush()
        except LedgerError as error:
            self.stop_signal.set_for_ledger(error)
        self.is_over = True

    async def _work(self) -> None:
        if self._closing.has_closed:
            self.stop(StopReason.OUTSIDE_HOURS)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._poll)
            until_all_sent = anyio.CancelScope()
            tasks.start_soon(self._watch_the_clock, until_all_sent)
            with self._in_flight:
                await self._until_stopped(self._send_first)
                async with anyio.create_task_group() as workers:
                    for _ in range(self._settings.workers):
                        workers.start_soon(self._until_stopped, self._drain_queue)
            until_all_sent.cancel()
            if not self.stop_signal.is_set:
                released = self._policy.release(at_the_end=True)
                self._recorder.record_released(released)
                for each in released:
                    self._worker.apply(each.decision)
            elif self.stopped is not StopReason.DEADLINE:
                self._polling.cancel()
            self._all_sent = True
            self._poller.close()

    async def _until_stopped(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do this until it is done or the run stops; what makes it impossible stops the run."""
        try:
            await work()
        except Stopping:
            return
        except LoginError as error:
            self.stop_signal.set_for_login(error.failure)
        except LedgerError as error:
            self.stop_signal.set_for_ledger(error)

    async def _poll(self) -> None:
        try:
            with self._polling:
                await self._poller.run()
        except* LedgerError as group:
            for error in group.exceptions:
                if isinstance(error, LedgerError):
                    self.stop_signal.set_for_ledger(error)

    async def _watch_the_clock(self, until_all_sent: anyio.CancelScope) -> None:
        with until_all_sent:
            async with anyio.create_task_group() as timers:
                timers.start_soon(self._stop_after, self._deadline, StopReason.DEADLINE)
                timers.start_soon(self._stop_after, self._closing, StopReason.OUTSIDE_HOURS)

    async def _stop_after(self, timer: DeadlineTimer | ClosingTimer, reason: StopReason) -> None:
        await timer.wait()
        self.stop(reason)

    async def _send_first(self) -> None:
        """The test message, then the canary, where they are asked for; one machine does it while the others wait."""
        if self._settings.test_to is None and self._settings.canary is None:
            return
        while (leads := await self._ledger.lead()) is None:
            await self.stop_signal.sleep(LEAD_INTERVAL)
        if not leads:
            return
        if self._settings.test_to is not None:
            await self._caller.ensure_token()
            await self._test.send(self._settings.test_to)
        if self._settings.canary is not None:
            missing = self._settings.canary - (await self._ledger.counts()).counts[State.ACCEPTED]
            if missing >= 0:  # otherwise the others have begun, and the answer to the question was yes
                await self._canary.send(missing, self._claim, self._worker.deliver_to_the_end)
        await self._ledger.led()

    async def _drain_queue(self) -> None:
        """One worker: a message at a time, until there is none left."""
        while (message := await self._claim()) is not None:
            decision = await self._worker.deliver(message)
            if decision is not None and decision.retry_in is not None:
                self._queued.put_back(message, decision.retry_in)

    async def _claim(self) -> Message | None:
        if not self._poller.has_capacity:
            await self._poller.wait_for_capacity()
        if self._wait_for_capacity is not None:
            await self._wait_for_capacity()
        if self.stop_signal.is_set:
            return None
        # While the server takes nobody, no message is tried again in whose place another may be tried.
        return await self._queued.next(fresh_first=self._policy.admission.health.trouble_since is not None)

    def _on_poll(self, message: Message, attempt: Attempt, decision: Decision) -> None:
        """What a poll showed, for its message and for everybody."""
        self._recorder.record_poll(message, attempt, decision)
        self._worker.apply(decision, attempt)

    def _on_stop(self, reason: StopReason) -> None:
        """When only polls are left, a stop ends them, unless it is the deadline: that concerns new messages only."""
        if self._all_sent and reason is not StopReason.DEADLINE:
            self._polling.cancel()


def _failure_limits(settings: RunSettings) -> FailureLimits:
    limit = FailureLimit() if settings.max_failures is None else FailureLimit.parse(settings.max_failures)
    return FailureLimits(limit, settings.keep_going)


def _admission(settings: RunSettings, timings: Timings) -> AdmissionController:
    return AdmissionController(
        ConcurrencyLimit(settings.workers, settings.adapt),
        RateLimiter(settings.rate),
        breaker=CircuitBreaker(first_pause=timings.first_probe_pause),
        health=ServerHealth(settings.max_outage, timings.attempt_spacing),
        unknown_pause=timings.unknown_pause,
    )
