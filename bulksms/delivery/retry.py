"""Retry: what becomes of a message after an attempt, and if it goes again, when.

Laws: `failed` is only said of a message none of whose attempts may have been processed. A message that may have been
processed goes again only where the delivery mode's row of the evidence table says so. The wait is full jitter
(uniform between nothing and the exponential bound) and never shorter than the server's `Retry-After`.
"""

from dataclasses import dataclass
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from bulksms.attempt import Attempt
from bulksms.delivery.brake import is_absent
from bulksms.delivery.outcome import DOUBTFUL, VERDICTS, Delivery, Evidence, Verdict
from bulksms.message import Message, Reason, State


class Stop(StrEnum):
    """Why a run ended before its work was done. The words are part of the public contract."""

    INTERRUPTED = "interrupted"
    UNAUTHORIZED = "unauthorized"
    ENDPOINT = "endpoint"
    AWAY = "away"
    FAILURES = "failures"
    DOUBT = "doubt"
    CANARY = "canary"
    DEADLINE = "deadline"
    LEDGER = "ledger"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a message goes again: mode, number of attempts, and the bounds of the backoff in seconds."""

    delivery: Delivery = Delivery.BALANCED
    max_attempts: int = 5
    base: float = 0.5
    cap: float = 30.0

    def backoff(self, tries: int, chance: float) -> float:
        """Full jitter in seconds after the `tries`-th attempt; `chance` is uniform in [0, 1)."""
        return chance * min(self.cap, self.base * 2.0 ** min(tries - 1, 32))


class Decision(Struct, frozen=True, gc=False):
    """What becomes of a message: the state to write down, and whether and when it goes again.

    `wait` is in seconds and None if the message does not go again in this turn. `hold` is how long, in seconds, the
    server asked everybody to stay away. `stop` ends the run. `uses_try` is False for an attempt that does not count
    towards `--max-attempts`. `held` says that the message waits in this process for what other answers show,
    `given_back` that it goes to the end of the queue, after its `wait` if it has one.
    """

    evidence: Evidence
    state: State
    reason: Reason | None = None
    wait: float | None = None
    hold: float | None = None
    stop: Stop | None = None
    log_in: bool = False
    uses_try: bool = True
    held: bool = False
    given_back: bool = False
    doubt: Reason | None = None

    def after(self, seconds: float) -> "Decision":
        """The same message again after so many seconds, with a new token."""
        return replace(self, log_in=False, wait=seconds)

    def back_to_the_end(self) -> "Decision":
        """The same message again, but after the others."""
        return replace(self, wait=None, given_back=True)

    @property
    def again(self) -> bool:
        """Whether another attempt follows when the wait is over: at once, or at the end of the queue."""
        return self.wait is not None


def decide_interrupted(evidence: Evidence, message: Message) -> Decision:
    """What becomes of a message whose attempt this side broke off: back to the queue only if it was not processed."""
    if evidence in DOUBTFUL:
        return Decision(evidence, State.UNKNOWN, Reason.INTERRUPTED, doubt=Reason.INTERRUPTED)
    return Decision(evidence, State.QUEUED, uses_try=False, doubt=message.doubt)


def refuses_wait(attempt: Attempt) -> bool:
    """Whether an answer is about the header `Adm-Wait` that it was asked with, and not about the message.

    The header is optional for a server, and a 400 names what it does not like (Adaxes REST API, "Error responses":
    `modelState`).
    """
    words = (attempt.error or "").casefold().replace("-", "").replace("_", "")
    return attempt.status == 400 and "admwait" in words


def decide_without_wait(attempt: Attempt, message: Message) -> Decision | None:
    """The same message again at once and uncounted, if the header was refused; None for any other answer."""
    if not refuses_wait(attempt):
        return None
    return Decision(Evidence.NOT_PROCESSED, State.QUEUED, wait=0.0, uses_try=False, doubt=message.doubt)


_ANSWERED = {
    Verdict.ACCEPTED: State.ACCEPTED,
    Verdict.AWAITING_APPROVAL: State.AWAITING_APPROVAL,
    Verdict.PROCESSING: State.PROCESSING,
}


def decide(  # noqa: PLR0913 - everything that a decision rests on
    evidence: Evidence,
    attempt: Attempt,
    message: Message,
    policy: RetryPolicy,
    chance: float,
    *,
    free: bool = False,
) -> Decision:
    """What becomes of the message after this attempt and its evidence. `message` counts this attempt already.

    `chance` is uniform in [0, 1). `free` is an attempt that only looks whether the server is back: it uses up no try if
    it was certainly not processed.
    """
    verdict = VERDICTS[evidence, policy.delivery]
    doubt = _doubt_after(attempt, evidence, message)
    if (answered := _ANSWERED.get(verdict)) is not None:
        return Decision(evidence, answered, doubt=doubt)
    if verdict is Verdict.FAILED:
        return _given_up(evidence, doubt, _refused_by(attempt))
    if verdict in (Verdict.STOP, Verdict.LOG_IN):
        stop = Stop.ENDPOINT if verdict is Verdict.STOP else None
        log_in = verdict is Verdict.LOG_IN
        return Decision(evidence, State.QUEUED, stop=stop, log_in=log_in, uses_try=False, doubt=doubt)
    once_more_only = verdict is Verdict.AGAIN_ONCE_COUNTED and message.doubt is not None
    if verdict is Verdict.UNKNOWN or once_more_only:
        return Decision(evidence, State.UNKNOWN, doubt, doubt=doubt)
    uses_try = not free or evidence in DOUBTFUL
    again = _again(attempt, evidence, doubt, policy.backoff(message.tries, chance))
    if uses_try and message.tries >= policy.max_attempts:
        # What the server asks of everybody holds, also when it was this message's last chance.
        return replace(_given_up(evidence, doubt, Reason.GAVE_UP), hold=again.hold)
    return again if uses_try else replace(again, uses_try=False)


def _again(attempt: Attempt, evidence: Evidence, doubt: Reason | None, backoff: float) -> Decision:
    """Another attempt: not before the backoff has passed, nor before the server's own `Retry-After`.

    Whoever met an absent server goes to the end of the queue: so the attempts of a few are not used up on it, and that
    different recipients find nobody there shows itself soon, however few workers there are.
    """
    wait = max(backoff, attempt.retry_after or 0.0)
    holds_everybody = attempt.status == 503 or (attempt.status == 429 and attempt.retry_after is not None)
    hold = wait if holds_everybody else None
    return Decision(evidence, State.QUEUED, wait=wait, hold=hold, doubt=doubt, given_back=is_absent(attempt, evidence))


def _given_up(evidence: Evidence, doubt: Reason | None, reason: Reason) -> Decision:
    """Given up: `failed` if certainly not sent, `unknown` if an attempt may have been processed."""
    if doubt is None:
        return Decision(evidence, State.FAILED, reason)
    return Decision(evidence, State.UNKNOWN, doubt, doubt=doubt)


def _doubt_after(attempt: Attempt, evidence: Evidence, message: Message) -> Reason | None:
    if evidence not in DOUBTFUL:
        return message.doubt
    if evidence is Evidence.CRASHED:
        return Reason.CRASH
    answered = attempt.status is not None and attempt.status >= 500
    return Reason.DOUBTFUL_ANSWER if answered else Reason.LOST_ANSWER


def _refused_by(attempt: Attempt) -> Reason:
    """The API said no, or something before it did (a proxy's or web server's page)."""
    from_the_api = attempt.result is not None or attempt.api_error is not None
    return Reason.REFUSED if from_the_api else Reason.REFUSED_ELSEWHERE
