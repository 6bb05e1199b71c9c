"""Operation: what a poll for a slow send says about its message (Adaxes REST API, "Running operations").

Law: a message that the server took stays `processing` until the server says what became of it; if it never does, the
message is `unknown`, never sent again by itself.
"""

from bulksms.attempt import Attempt
from bulksms.delivery.outcome import RESULT_EVIDENCE, Evidence
from bulksms.delivery.retry import Decision, Stop
from bulksms.message import Message, Reason, State

FIRST_POLL = 0.5
"""Seconds from the 202 to the first question."""
GROWTH = 1.5
LONGEST_PAUSE = 10.0
"""Seconds between two questions, at most."""

_STATES = {
    Evidence.SUCCEEDED: State.ACCEPTED,
    Evidence.SUSPENDED: State.AWAITING_APPROVAL,
    Evidence.REFUSED: State.FAILED,
}


def pause_after(polls: int) -> float:
    """Seconds until the next question, when `polls` were asked already."""
    return min(LONGEST_PAUSE, FIRST_POLL * GROWTH ** min(polls, 32))


def decide_poll(
    attempt: Attempt, completed: bool | None, message: Message, *, waited: float, timeout: float
) -> Decision | None:
    """What becomes of the message, None while the server still works on it. `waited` and `timeout` in seconds."""
    if attempt.status == 401 or (attempt.api_error is not None and attempt.api_error.code == "unauthenticated"):
        return Decision(
            Evidence.UNAUTHENTICATED, State.PROCESSING, log_in=True, stop=Stop.UNAUTHORIZED, doubt=message.doubt
        )
    if completed and attempt.result is not None:
        evidence = RESULT_EVIDENCE[attempt.result.result_type]
        state = _STATES[evidence]
        if state is State.FAILED and message.doubt is not None:
            return Decision(evidence, State.UNKNOWN, message.doubt, doubt=message.doubt)
        return Decision(evidence, state, Reason.REFUSED if state is State.FAILED else None, doubt=message.doubt)
    if completed or attempt.status == 404 or waited >= timeout:
        return Decision(Evidence.LOST, State.UNKNOWN, Reason.OPERATION_LOST, doubt=Reason.OPERATION_LOST)
    return None
