"""Admission control: whether the next request may leave, and what each answer means for those to come.

Invariants: no request leaves while the circuit breaker is open, but a probe; never more in flight than the limit; never
above the rate. Times are seconds of a monotonic clock.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from bulksms.model.attempt import Attempt, Failure
from bulksms.model.message import Message, State
from bulksms.model.run_settings import TIMINGS, StopReason
from bulksms.policy.circuit_breaker import (
    OWN_TROUBLE,
    BreakerState,
    CircuitBreaker,
    ServerHealth,
    UnknownRate,
    UnknownReaction,
    is_unreachable,
    shows_reachable,
)
from bulksms.policy.concurrency_limit import ConcurrencyLimit
from bulksms.policy.rate_limiter import RETRY_BUDGET, RateLimiter, RetryBudget
from bulksms.policy.retry import IN_DOUBT, Decision, Evidence, PolicyEvent


class Permit(NamedTuple):
    """The answer to "may I?". `wait` is seconds, None until something changes.

    `probe` is a request that goes through a breaker that is not closed.
    """

    granted: bool
    wait: float | None = None
    probe: bool = False


GRANTED = Permit(granted=True)
REFUSED = Permit(granted=False)
PROBE = Permit(granted=True, probe=True)


@dataclass(slots=True)
class AdmissionController:
    """Everything that may delay a request of one run."""

    concurrency: ConcurrencyLimit
    rate: RateLimiter = field(default_factory=RateLimiter)
    budget: RetryBudget = field(default_factory=RetryBudget)
    breaker: CircuitBreaker = field(default_factory=CircuitBreaker)
    health: ServerHealth = field(default_factory=ServerHealth)
    unknown_rate: UnknownRate = field(default_factory=UnknownRate)
    unknown_pause: float = TIMINGS.unknown_pause
    held: int = 0
    """Requests that were ready to leave when everybody was held, and still are: in flight, but not at the server."""
    one_at_a_time: bool = False
    """Nothing leaves while anything is in flight: pages come instead of answers."""

    def try_admit(self, now: float, *, again: bool) -> Permit:
        """Whether a request may leave now; one that may is counted as in flight. `again` is a retry."""
        concurrency, breaker = self.concurrency, self.breaker
        if concurrency.in_flight >= concurrency.limit or (self.one_at_a_time and concurrency.in_flight):
            return REFUSED
        if breaker.ramp is not None and not breaker.has_room(concurrency.in_flight, concurrency.limit):
            return REFUSED
        wait = breaker.delay(now)
        if wait != 0.0:
            return Permit(granted=False, wait=wait)
        if again or self.rate.is_limited:
            delay = max(self.rate.delay(now), self.budget.delay(now) if again else 0.0)
            if delay > 0:
                return Permit(granted=False, wait=delay)
            self.rate.take(now)
            if again:
                self.budget.take(now)
        concurrency.begin()
        return GRANTED if breaker.state is BreakerState.CLOSED else self._probe()

    def recheck(self, now: float, permit: Permit, *, was_held: bool = False) -> Permit:
        """A permit when its request is ready to leave: the breaker may have opened meanwhile.

        A request that is kept back so stays in flight, and may become a probe. One that `was_held` takes its turn in
        the ramp and by the rate anew: all that were held would leave at once otherwise.
        """
        if permit.probe:
            return permit
        wait = self.breaker.delay(now)
        if wait != 0.0:
            return Permit(granted=False, wait=wait)
        if was_held:
            if not self.breaker.has_room(self.concurrency.in_flight - self.held - 1, self.concurrency.limit):
                return REFUSED
            if (delay := self.rate.delay(now)) > 0:
                return Permit(granted=False, wait=delay)
            self.rate.take(now)
        return GRANTED if self.breaker.state is BreakerState.CLOSED else self._probe()

    def _probe(self) -> Permit:
        self.breaker.probes += 1
        return PROBE

    def give_back(self, permit: Permit) -> None:
        """The request of this permit does not leave: its message is another machine's, or settled."""
        self.concurrency.in_flight -= 1
        if permit.probe:
            self.breaker.probes -= 1

    def failures_in_a_row(self, number: int) -> int:
        """How often in a row the server has not taken this message in this run."""
        row = self.health.failures.get(number)
        return 0 if row is None else row.times

    def is_recipients_own(self, now: float, number: int, attempt: Attempt, evidence: Evidence) -> bool:
        """Whether an attempt that certainly was not processed counts against the recipient of message `number`.

        It does only while the server is known to take others: not if it was throttled, not in an outage, not while the
        server fails many, not if nobody gets an answer at all, and not twice within a few seconds in which nobody else
        was taken.
        """
        if attempt.status == 429 or self.breaker.outage_since is not None:
            return False
        if evidence is Evidence.NEVER_LEFT and self.health.is_silent(now):
            return False
        return not self.health.is_failing(now) and self.health.is_again_its_own(now, number)

    def on_response(
        self, now: float, message: Message, attempt: Attempt, decision: Decision, permit: Permit
    ) -> list[PolicyEvent]:
        """The request for this message has ended so; what that changes for everybody."""
        events: list[PolicyEvent] = []
        status, taken, breaker = attempt.status, shows_reachable(attempt), self.breaker
        if status == 429:
            self._on_throttled(now, attempt, events)
        limit = self.concurrency.limit
        good = taken if status is not None and breaker.state is BreakerState.CLOSED else None
        if self.concurrency.end(now, attempt.elapsed, good=good):
            why = "more may be faster" if self.concurrency.limit > limit else "fewer are as fast"
            events.append(PolicyEvent("concurrency", why, self.concurrency.limit))
        if permit.probe and breaker.on_probe(now, good=taken):
            events.append(PolicyEvent("all workers go on", "good answers", 0.0))
        if attempt.retry_after is not None:
            self._apply_retry_after(now, attempt, attempt.retry_after, events)
        self._note_health(now, message, attempt, decision, events, taken=taken)
        unreachable = decision.evidence is Evidence.NEVER_LEFT or (not taken and is_unreachable(attempt))
        says_something = message.tries <= OWN_TROUBLE if unreachable else status is not None
        if says_something and breaker.on_answer(now, message.number, unreachable=unreachable):
            events.append(PolicyEvent("all workers held", "the server is away", breaker.seconds_held(now)))
        self._on_outcome(now, decision.state, events)
        return events

    def on_poll(self, now: float, attempt: Attempt, state: State) -> list[PolicyEvent]:
        """A poll has ended so: what the server asks of one that polls it asks of everybody."""
        events: list[PolicyEvent] = []
        if attempt.retry_after is not None:
            self._apply_retry_after(now, attempt, attempt.retry_after, events)
        self._on_outcome(now, state, events)
        return events

    def _apply_retry_after(self, now: float, attempt: Attempt, asked: float, events: list[PolicyEvent]) -> None:
        """`Retry-After` on a 429 or 503 is the server's word to everybody."""
        if attempt.status in (429, 503):
            if attempt.status == 503:
                self.breaker.half_open(now, asked)
            else:
                self.breaker.hold(now, asked)
            why = f"the server asked for it with status {attempt.status}"
            events.append(PolicyEvent("all workers held", why, asked))
        if attempt.status in (408, 425, 429, 503) and asked > self.health.max_outage:
            events.append(
                PolicyEvent("server away", "it asks for longer than --max-outage", asked, StopReason.SERVER_UNAVAILABLE)
            )

    def _on_throttled(self, now: float, attempt: Attempt, events: list[PolicyEvent]) -> None:
        if self.rate.on_throttled(
            now, attempt.elapsed, attempt.retry_after or 0.0, self.health.taken, self.health.left_at
        ):
            events.append(PolicyEvent("rate", "status 429", self.rate.per_second(now) or 0.0))

    def _note_health(  # noqa: PLR0913 - everything that an answer shows
        self,
        now: float,
        message: Message,
        attempt: Attempt,
        decision: Decision,
        events: list[PolicyEvent],
        *,
        taken: bool,
    ) -> None:
        health = self.health
        if attempt.status is not None and attempt.failure is not Failure.PROXY_REFUSED:
            health.answered_at = now
        if taken:
            accepted = decision.state in (State.ACCEPTED, State.PROCESSING, State.AWAITING_APPROVAL)
            health.on_taken(now, message.number, attempt.elapsed, accepted=accepted)
            if self.rate.learnt.peak is not None:
                self.rate.learnt.on_accepted(now - attempt.elapsed, health.left_at)
        elif decision.again and decision.evidence not in IN_DOUBT:
            health.on_failure(now, message.number, counts=decision.uses_try)
        else:
            health.failures.pop(message.number, None)
        if health.trouble_since is not None and health.is_beyond_patience(now):
            since = now - health.trouble_since
            events.append(
                PolicyEvent("server away", "for longer than --max-outage", since, StopReason.SERVER_UNAVAILABLE)
            )

    def _on_outcome(self, now: float, state: State, events: list[PolicyEvent]) -> None:
        """A message is settled by its answer or by a poll; one that is still under way says nothing yet."""
        if state is State.ACCEPTED and self.budget.tokens < RETRY_BUDGET:
            self.budget.on_accepted()
        if state is State.QUEUED or state is State.PROCESSING:
            return
        match self.unknown_rate.settled(unknown=state is State.UNKNOWN):
            case UnknownReaction.PAUSE:
                self.breaker.open(now, self.unknown_pause)
                events.append(PolicyEvent("all workers held", "several unknown", self.unknown_pause))
            case UnknownReaction.STOP:
                in_a_row = max(self.unknown_rate.in_a_row, self.unknown_rate.in_a_row_anywhere)
                events.append(PolicyEvent("doubt", "unknown one after another", in_a_row, StopReason.TOO_MANY_UNKNOWN))
