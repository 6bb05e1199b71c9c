"""Worker: a message's way from the queue to its outcome: where it waits for permission, and what is written down.

Invariants: no request leaves before its intent is on disk; the outcome is written after it, and nothing twice. A
message is changed here and nowhere else. What an answer means for everybody takes effect before the next request.
Nobody leaves without a permit of the admission controller, first come, first served; retries wait in a queue of their
own, so that one that waits for its budget keeps nobody else back. When the run stops, every wait ends. A caller's hook
cannot lose evidence. Nothing is decided here: that is done in `policy.judgement` and `policy.admission`.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace
from tenacity import AsyncRetrying, RetryCallState, retry_if_result

from bulksms.adaxes import Caller, hint_for
from bulksms.engine.stop_signal import DeadlineTimer, Stopping, StopSignal, wait_for_change
from bulksms.ledger import HELD_UNTIL_RELEASED, RELEASED, LedgerWriter, OutcomeRecord, SharedHold
from bulksms.log import log, named, tells_messages
from bulksms.model.attempt import Attempt, Failure
from bulksms.model.message import Message, State
from bulksms.policy.admission import AdmissionController, Permit
from bulksms.policy.judgement import ErrorGroups, RunPolicy, judge_interrupted
from bulksms.policy.retry import Decision, PolicyEvent, Released
from bulksms.system import System


class AdmissionQueue:
    """Decides nothing: the controller does, the workers wait here. `now` is a monotonic clock.

    Only the first of a queue asks for a permit: waiting costs the same for any number of workers.
    """

    def __init__(self, controller: AdmissionController, stop: StopSignal, now: Callable[[], float]) -> None:
        self._controller = controller
        self._stop = stop
        self._now = now
        self._first = (asyncio.Lock(), asyncio.Lock())
        self._waiting = [0, 0]
        self._changed = asyncio.Event()
        stop.on_stop(lambda _: self._changed.set())

    async def acquire(self, *, retry: bool) -> Permit:
        """Wait until a request may leave. Raises Stopping when the run stops."""
        permit: Permit | None = None
        if not self._waiting[retry] and not self._stop.is_set:
            permit = self._controller.try_admit(self._now(), again=retry)
            if permit.granted:
                return permit
        self._waiting[retry] += 1
        try:
            return await self._wait(permit, retry=retry)
        finally:
            self._waiting[retry] -= 1

    async def recheck(self, permit: Permit, waited: float = 0.0) -> Permit:
        """Wait if everybody was paused since this permit was granted. Raises Stopping if the run stopped since then.

        A log-in and the intent's way to the disk are between the permit and this: nothing leaves after them if the
        run was stopped meanwhile. Others had their turns while one `waited` so many seconds for a token; they leave
        by the rate then, and not at once.
        """
        controller = self._controller
        was_held = waited > 0.0 and controller.rate.turns(self._now(), waited) > 1.0
        while True:
            if self._stop.is_set:
                raise Stopping
            checked = controller.recheck(self._now(), permit, was_held=was_held)
            if checked.granted:
                return checked
            was_held = True
            controller.held += 1
            try:
                await self._change(checked.wait)
            finally:
                controller.held -= 1

    def wake(self) -> None:
        """Something has changed: the first may ask again."""
        self._changed.set()

    async def _wait(self, refused: Permit | None, *, retry: bool) -> Permit:
        """Wait for those who came earlier, then for a permit; `refused` is the controller's last answer."""
        async with self._first[retry]:
            while not self._stop.is_set:
                permit = refused or self._controller.try_admit(self._now(), again=retry)
                if permit.granted:
                    return permit
                refused = None
                await self._change(permit.wait)
        raise Stopping

    async def _change(self, seconds: float | None) -> None:
        """Wait until something has changed, or for so many seconds."""
        self._changed.clear()
        await wait_for_change(self._changed, seconds)


@dataclass(slots=True)
class RunCounters:
    """Counts of one run, from `began` on (seconds of a monotonic clock), and what was in its way last."""

    began: float
    settled: Counter[State] = field(default_factory=Counter)
    attempts: int = 0
    concurrency_reason: str | None = None
    """Why the concurrency changed last; None before it has."""
    pause_reason: str | None = None
    """Why everybody was paused last."""
    errors: ErrorGroups = field(default_factory=ErrorGroups)

    @property
    def done(self) -> int:
        """Messages that this run settled for good."""
        return sum(count for state, count in self.settled.items() if state is not State.PROCESSING)

    def note(self, events: Sequence[PolicyEvent]) -> None:
        """Keep why something changed for all workers."""
        for event in events:
            if event.what == "concurrency":
                self.concurrency_reason = event.why
            elif event.what == "all workers held":
                self.pause_reason = event.why


OnSettled = Callable[[Message, Attempt, Decision], None]


class AttemptRecorder:
    """The ledger as the workers see it. `now` is a POSIX time in seconds."""

    def __init__(
        self, ledger: LedgerWriter, counters: RunCounters, on_settled: OnSettled | None, now: Callable[[], float]
    ) -> None:
        self._ledger = ledger
        self._counters = counters
        self._on_settled = on_settled
        self._now = now
        self._logs_messages = tells_messages()
        self._awaited: dict[int, asyncio.Future[State]] = {}

    async def record_intent(self, message: Message) -> bool:
        """Whether the intent is on disk; if not, the message is not this machine's to send. Raises LedgerError."""
        message.attempts += 1
        message.tries += 1
        self._counters.attempts += 1
        on_disk = self._ledger.record_intent(message, self._now())
        message.possible_duplicate = message.possible_duplicate or message.in_doubt is not None
        try:
            is_begun = await on_disk
        except asyncio.CancelledError:
            self.record_not_sent(message)  # the ledger writes in hand-over order: this comes after the intent
            raise
        self._counters.attempts -= not is_begun
        return is_begun

    def record_outcome(
        self, message: Message, attempt: Attempt, decision: Decision, previous_state: State = State.SENDING
    ) -> None:
        """Write the outcome down, and that of the messages which it releases.

        It is on disk when the next `record_intent` returns, so that settling one message and beginning another waits
        for the disk once.
        """
        state, is_attempt = decision.state, previous_state is State.SENDING
        message.in_doubt = decision.in_doubt
        message.operation_id = attempt.operation_id or message.operation_id
        if is_attempt and not decision.uses_try:
            message.tries -= 1
        if state is not State.ACCEPTED and previous_state is not State.QUEUED:
            self._counters.errors.add(attempt, message.recipient)
        outcome = OutcomeRecord(
            state, decision.reason, decision.in_doubt, previous_state, decision.evidence.value if is_attempt else None
        )
        self._ledger.record_outcome(message, attempt, outcome)
        if state is not State.QUEUED:
            if previous_state is State.PROCESSING:
                self._counters.settled[previous_state] -= 1
            self._counters.settled[state] += 1
            self._notify(message, attempt, decision)
        if decision.released:
            self.record_released(decision.released)

    async def flush(self) -> None:
        """Everything that was written down so far is on disk when this returns. Raises LedgerError."""
        await self._ledger.flush()

    def record_poll(self, message: Message, attempt: Attempt, decision: Decision) -> None:
        """Write down what a poll showed, if it settles the message."""
        if decision.state is not State.PROCESSING:
            self.record_outcome(message, attempt, decision, State.PROCESSING)

    def record_not_sent(self, message: Message) -> None:
        """Write down that the request which was about to leave has not, and will not."""
        self.record_interrupted(message, Attempt(headers_sent=False, failure=Failure.CANCELLED, began_at=self._now()))

    def record_interrupted(self, message: Message, attempt: Attempt) -> Decision:
        """Write down what is known of an attempt that this side broke off."""
        decision = judge_interrupted(message, attempt)
        self.record_outcome(message, attempt, decision)
        return decision

    def record_released(self, released: Iterable[Released]) -> None:
        """Write down what became of messages that were withheld."""
        for message, attempt, decision in released:
            self.record_outcome(message, attempt, decision, State.QUEUED)

    def outcome_of(self, message: Message) -> asyncio.Future[State]:
        """The state in which the message will be settled, after its polls if it has any."""
        return self._awaited.setdefault(message.number, asyncio.get_running_loop().create_future())

    def _notify(self, message: Message, attempt: Attempt, decision: Decision) -> None:
        """Report a settled message to the canary, the log and the caller."""
        if self._awaited and decision.state is not State.PROCESSING:
            awaited = self._awaited.pop(message.number, None)
            if awaited is not None and not awaited.done():
                awaited.set_result(decision.state)
        if self._logs_messages:
            log.debug(
                "message settled",
                row=message.row,
                **named(message.recipient),
                state=decision.state.value,
                reason=decision.reason and decision.reason.value,
                attempts=message.attempts,
                status=attempt.status,
                elapsed_ms=round(attempt.elapsed * 1000, 1),
            )
        if self._on_settled is not None:
            try:
                self._on_settled(message, attempt, decision)
            except Exception:  # noqa: BLE001 - a caller's hook must not lose evidence
                log.exception("hook failed", row=message.row, **named(message.recipient))


class Worker:
    """What every worker of a run does with every message."""

    def __init__(  # noqa: PLR0913 - the stations that a message passes
        self,
        caller: Caller,
        policy: RunPolicy,
        queue: AdmissionQueue,
        recorder: AttemptRecorder,
        *,
        ledger: LedgerWriter,
        rate: float | None,
        watch: Callable[[Message], None],
        deadline: DeadlineTimer,
        counters: RunCounters,
        stop: StopSignal,
        system: System,
    ) -> None:
        self._caller = caller
        self._client = caller.client
        self._policy = policy
        self._queue = queue
        self._recorder = recorder
        self._ledger = ledger
        self._rate = rate
        self._was_closed = True
        self._watch = watch
        self._deadline = deadline
        self._counters = counters
        self._stop = stop
        self._system = system
        # When it goes again, and whether, is the policy's word: tenacity keeps the loop and the waiting.
        self._to_the_end = AsyncRetrying(retry=retry_if_result(_is_retried), wait=_wait, sleep=stop.sleep)

    async def deliver(self, message: Message) -> Decision | None:
        """Make one attempt; the pool calls again if the decision says so. None if it is not this machine's to make.

        Raises Stopping when the run stops before that, LedgerError if the ledger failed, LoginError without a token.
        """
        permit = await self._begin(message)
        if permit is None:
            return None
        exchange = self._client.exchange(message.recipient, message.text, self._ledger.still_mine)
        try:
            attempt = await exchange.run()
        except asyncio.CancelledError:
            self._recorder.record_interrupted(message, exchange.cancelled())
            raise
        if not attempt.headers_sent and exchange.was_withheld:
            self._give_back(permit)
            return replace(self._recorder.record_interrupted(message, attempt), retry_in=0.0)
        if (elsewhere := self._ledger.settled_elsewhere) != self._policy.elsewhere:
            self._policy.note_elsewhere(elsewhere)
        decision = self._policy.judge(
            message,
            attempt,
            permit,
            self._system.monotonic(),
            self._system.random(),
            asked_to_wait=exchange.server_wait is not None,
        )
        self._recorder.record_outcome(message, attempt, decision)
        if decision.events or decision.stop is not None or decision.drop_wait_header:
            self.apply(decision, attempt)
        self._queue.wake()
        if decision.state is State.PROCESSING:
            await self._recorder.flush()
            self._watch(message)
        if decision.reauthenticate:
            await self._caller.replace_token(exchange.token)
        return decision

    async def deliver_to_the_end(self, message: Message) -> Decision | None:
        """For the canary: repeat `deliver`, waiting out each backoff here. Raises what `deliver` raises."""
        return await self._to_the_end.copy()(self.deliver, message)

    async def _begin(self, message: Message) -> Permit | None:
        """A permit for a request whose intent is on disk; None if the message is not this machine's to send."""
        permit = await self._queue.acquire(retry=message.number in self._policy.admission.health.failures)
        waited = 0.0
        if not self._client.is_ready:
            granted_at = self._system.monotonic()
            await self._caller.ensure_token()
            waited = self._system.monotonic() - granted_at
        if self._deadline.is_pending:
            await self._deadline.on_first_request()
        if self._rate is not None and (wait := await self._ledger.reserve(self._rate)) > 0:
            await self._stop.sleep(wait)
        if not await self._recorder.record_intent(message):
            self._give_back(permit)
            return None
        try:
            return await self._queue.recheck(permit, waited)
        except (Stopping, asyncio.CancelledError):
            self._recorder.record_not_sent(message)
            raise

    def _give_back(self, permit: Permit) -> None:
        self._policy.admission.give_back(permit)
        self._queue.wake()

    def apply(self, decision: Decision, attempt: Attempt | None = None) -> None:
        """Do for the whole run what the decision asks for."""
        if decision.events:
            self._counters.note(decision.events)
            for event in decision.events:
                log.info(event.what, why=event.why, value=round(event.value, 3))
        if decision.drop_wait_header and self._client.server_wait is not None:
            self._client.server_wait = None
            log.info("server wait off", why="the server rejects the header")
        self._share_breaker(decision)
        if decision.stop is not None:
            self._stop.set(decision.stop, *_explained(attempt))

    def _share_breaker(self, decision: Decision) -> None:
        """Tell the other machines when the circuit breaker opens or closes, and of every pause."""
        is_closed = self._policy.admission.breaker.is_closed
        if is_closed is not self._was_closed:
            self._was_closed = is_closed
            self._ledger.share_hold(RELEASED if is_closed else HELD_UNTIL_RELEASED)
        for event in decision.events:
            if is_closed and event.what == "all workers held":
                self._ledger.share_hold(SharedHold(event.value))

    def follow(self, hold: SharedHold) -> None:
        """Another machine has met trouble of the server, or sees it well again."""
        breaker = self._policy.admission.breaker
        if hold.seconds is None:
            breaker.follow()
        elif hold.seconds:
            breaker.hold(self._system.monotonic(), hold.seconds)
        else:
            breaker.go_on()
        self._queue.wake()


def _explained(attempt: Attempt | None) -> tuple[str | None, str | None]:
    """The status and the words of an answer, and what to do about it."""
    if attempt is None:
        return None, None
    return " ".join(str(part) for part in (attempt.status, attempt.error) if part is not None), hint_for(attempt)


def _is_retried(decision: Decision | None) -> bool:
    return decision is not None and decision.again


def _wait(state: RetryCallState) -> float:
    return 0.0 if state.outcome is None else float(state.outcome.result().retry_in)
