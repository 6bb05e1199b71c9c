"""Operation: what a poll for a slow send says about its message (Adaxes REST API, "Running operations").

Laws: a message that the server took stays `processing` until the server says what became of it; if it never does, the
message is `unknown`, never sent again by itself. A server that is away says nothing about a message, and is asked less
and less. Times are seconds of a monotonic clock.
"""

from dataclasses import dataclass

from bulksms.attempt import Attempt
from bulksms.delivery.brake import FIRST_PAUSE, is_good
from bulksms.delivery.brake import LONGEST_PAUSE as LONGEST_PAUSE_WHILE_AWAY
from bulksms.delivery.outcome import RESULT_EVIDENCE, Evidence
from bulksms.delivery.retry import Decision
from bulksms.message import Message, Reason, State

FIRST_POLL = 0.5
"""Seconds from the 202 to the first question."""
GROWTH = 1.5
LONGEST_PAUSE = 10.0
"""Seconds between two questions, at most."""

WORKERS_A_QUESTION = 8
"""One question at once, and one more for so many workers: polls are short, and one that hangs keeps no other back."""

_STATES = {
    Evidence.SUCCEEDED: State.ACCEPTED,
    Evidence.SUSPENDED: State.AWAITING_APPROVAL,
    Evidence.REFUSED: State.FAILED,
}


def pause_after(polls: int) -> float:
    """Seconds until the next question, when `polls` were asked already."""
    return min(LONGEST_PAUSE, FIRST_POLL * GROWTH ** min(polls, 32))


def questions_at_once(workers: int) -> int:
    """How many polls may be under way beside so many workers."""
    return 1 + workers // WORKERS_A_QUESTION


@dataclass(slots=True)
class Questions:
    """When the next poll may leave: so many at once; while the server is away one alone, further and further apart."""

    at_once: int
    max_pause: float
    under_way: int = 0
    not_before: float = float("-inf")
    pause: float = FIRST_PAUSE
    away_since: float | None = None

    def delay(self, now: float) -> float | None:
        """Seconds until a poll may leave, None is when another has its answer."""
        if self.under_way >= (self.at_once if self.away_since is None else 1):
            return None
        return max(0.0, self.not_before - now)

    def asked(self) -> None:
        """A poll leaves."""
        self.under_way += 1

    def answered(self, now: float, attempt: Attempt) -> None:
        """It has ended so; `Retry-After` is a minimum for all of them."""
        self.under_way -= 1
        if is_good(attempt):
            self.away_since, self.pause = None, FIRST_PAUSE
            return
        if self.away_since is None:
            self.away_since = now
        self.not_before = max(self.not_before, now + max(self.pause, attempt.retry_after or 0.0))
        self.pause = min(LONGEST_PAUSE_WHILE_AWAY, self.pause * 2)

    def is_over(self, now: float) -> bool:
        """Whether the server has been away for longer than is waited for."""
        return self.away_since is not None and now - self.away_since > self.max_pause


def decide_poll(
    attempt: Attempt, completed: bool | None, message: Message, *, waited: float, timeout: float
) -> Decision | None:
    """What becomes of the message, None while the server still works on it. `waited` and `timeout` in seconds."""
    if attempt.status == 401 or attempt.error_code == "unauthenticated":
        return None  # that is about the token
    if completed and attempt.result is not None:
        evidence = RESULT_EVIDENCE[attempt.result.result_type]
        state = _STATES[evidence]
        if state is State.FAILED and message.doubt is not None:
            return Decision(evidence, State.UNKNOWN, message.doubt, doubt=message.doubt)
        return Decision(evidence, state, Reason.REFUSED if state is State.FAILED else None, doubt=message.doubt)
    if completed or attempt.status == 404 or (waited >= timeout and is_good(attempt)):
        return Decision(Evidence.LOST, State.UNKNOWN, Reason.OPERATION_LOST, doubt=Reason.OPERATION_LOST)
    return None
