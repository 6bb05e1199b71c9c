"""Retry: what an attempt proves, what the delivery mode makes of it, and whether and when the message goes again.

Invariants: the two tables below are the evidence table (docs/concepts/delivery-guarantees.md), row by row. A status in
neither of them counts as if the message may have been processed, because reporting a sent message as unsent is the one
mistake that cannot be undone. A message is `failed` only if none of its attempts may have been processed. One that may
have been processed goes again only where the delivery mode's row of the table says so. The wait is full jitter (uniform
between nothing and the exponential bound) and never shorter than the server's `Retry-After`. A decision is a value: the
caller that acts on it never changes it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import NamedTuple

from msgspec import Struct

from bulksms.model.attempt import Attempt, Failure, ResultType
from bulksms.model.message import Message, Reason, State
from bulksms.model.run_settings import DeliveryMode, StopReason


class Evidence(StrEnum):
    """What an attempt proves about its message."""

    SUCCEEDED = "succeeded"
    SUSPENDED = "suspended"
    STARTED = "started"
    REJECTED = "rejected"
    UNAUTHENTICATED = "unauthenticated"
    MISDIRECTED = "misdirected"
    """The request cannot have reached the right place: a redirect, a bad certificate, a wrong method."""
    NEVER_LEFT = "never_left"
    NOT_PROCESSED = "not_processed"
    SERVER_FAILED = "server_failed"
    """The server says that it failed; it may have processed the message before that."""
    LOST = "lost"
    """The request left and no usable answer came back."""
    CRASHED = "crashed"
    """This side died while the attempt was under way."""


class Verdict(Enum):
    """What is to become of the message."""

    ACCEPTED = "accepted"
    AWAITING_APPROVAL = "awaiting approval"
    PROCESSING = "processing"
    FAILED = "failed"
    UNKNOWN = "unknown"
    AGAIN = "again"
    AGAIN_ONCE_COUNTED = "again, once, counted"
    AGAIN_COUNTED = "again, counted"
    LOG_IN = "log in once, again; else stop the run"
    STOP = "stop the run"


STATUS_EVIDENCE: Mapping[int, Evidence] = {
    401: Evidence.UNAUTHENTICATED,
    405: Evidence.MISDIRECTED,
    407: Evidence.MISDIRECTED,
    408: Evidence.NOT_PROCESSED,
    425: Evidence.NOT_PROCESSED,
    429: Evidence.NOT_PROCESSED,
    500: Evidence.SERVER_FAILED,
    501: Evidence.MISDIRECTED,
    502: Evidence.SERVER_FAILED,
    503: Evidence.NOT_PROCESSED,
    504: Evidence.LOST,
}
"""The statuses with a meaning of their own; the others are judged by their class."""

CLASS_EVIDENCE: Mapping[int, Evidence] = {3: Evidence.MISDIRECTED, 4: Evidence.REJECTED}

RESULT_EVIDENCE: Mapping[ResultType, Evidence] = {
    ResultType.SUCCEEDED: Evidence.SUCCEEDED,
    ResultType.FAILED: Evidence.REJECTED,
    ResultType.SUSPENDED: Evidence.SUSPENDED,
}

_MODES = (DeliveryMode.AT_MOST_ONCE, DeliveryMode.BALANCED, DeliveryMode.AT_LEAST_ONCE)
_ROWS: Mapping[Evidence, tuple[Verdict, Verdict, Verdict]] = {
    Evidence.SUCCEEDED: (Verdict.ACCEPTED, Verdict.ACCEPTED, Verdict.ACCEPTED),
    Evidence.SUSPENDED: (Verdict.AWAITING_APPROVAL, Verdict.AWAITING_APPROVAL, Verdict.AWAITING_APPROVAL),
    Evidence.STARTED: (Verdict.PROCESSING, Verdict.PROCESSING, Verdict.PROCESSING),
    Evidence.NEVER_LEFT: (Verdict.AGAIN, Verdict.AGAIN, Verdict.AGAIN),
    Evidence.NOT_PROCESSED: (Verdict.AGAIN, Verdict.AGAIN, Verdict.AGAIN),
    Evidence.SERVER_FAILED: (Verdict.UNKNOWN, Verdict.AGAIN_ONCE_COUNTED, Verdict.AGAIN_COUNTED),
    Evidence.LOST: (Verdict.UNKNOWN, Verdict.UNKNOWN, Verdict.AGAIN_COUNTED),
    Evidence.CRASHED: (Verdict.UNKNOWN, Verdict.UNKNOWN, Verdict.AGAIN_COUNTED),
    Evidence.UNAUTHENTICATED: (Verdict.LOG_IN, Verdict.LOG_IN, Verdict.LOG_IN),
    Evidence.REJECTED: (Verdict.FAILED, Verdict.FAILED, Verdict.FAILED),
    Evidence.MISDIRECTED: (Verdict.STOP, Verdict.STOP, Verdict.STOP),
}
VERDICTS: Mapping[tuple[Evidence, DeliveryMode], Verdict] = {
    (evidence, mode): verdict for evidence, row in _ROWS.items() for mode, verdict in zip(_MODES, row, strict=True)
}
"""The evidence table of the contract."""

RETRYABLE = frozenset(
    evidence
    for (evidence, _), verdict in VERDICTS.items()
    if verdict in (Verdict.AGAIN, Verdict.AGAIN_ONCE_COUNTED, Verdict.AGAIN_COUNTED)
)
"""The evidence after which a message may go again, in one mode or another."""

IN_DOUBT = frozenset({Evidence.SERVER_FAILED, Evidence.LOST, Evidence.CRASHED})
"""The evidence after which the message may have been processed although nobody says so."""


def classify(attempt: Attempt) -> Evidence:
    """What the attempt proves: by its status if one was read, by what left and how it broke off otherwise."""
    if attempt.status is None or attempt.failure is Failure.PROXY_REFUSED:
        return _without_answer(attempt)
    if attempt.status == 200 and attempt.result is not None and attempt.failure is None:
        return RESULT_EVIDENCE[attempt.result.result_type]
    if 200 <= attempt.status < 300:
        # Any other 2xx proves something only if it was read whole and names an operation.
        is_started = attempt.status == 202 and attempt.operation_id is not None and attempt.failure is None
        return Evidence.STARTED if is_started else Evidence.LOST
    if attempt.api_error is not None and attempt.api_error.code == "unauthenticated":
        return Evidence.UNAUTHENTICATED
    of_class = CLASS_EVIDENCE.get(attempt.status // 100, Evidence.LOST)
    return STATUS_EVIDENCE.get(attempt.status, of_class)


def _without_answer(attempt: Attempt) -> Evidence:
    if attempt.failure is Failure.CRASHED:
        return Evidence.CRASHED
    if attempt.headers_sent:
        return Evidence.LOST
    if attempt.failure in (Failure.BAD_CERTIFICATE, Failure.BAD_URL):
        return Evidence.MISDIRECTED
    if attempt.failure is Failure.PROXY_REFUSED and (attempt.status or 0) < 500:
        return Evidence.MISDIRECTED
    return Evidence.NEVER_LEFT


class PolicyEvent(NamedTuple):
    """Something that changed for the whole run, for the log; `stop` if it ends the run."""

    what: str
    why: str
    value: float
    stop: StopReason | None = None


class Decision(Struct, frozen=True, gc=False):
    """Everything that follows from one attempt, for its message and for the whole run.

    `state`, `reason` and `in_doubt` are what the ledger keeps of the message. `retry_in` is in seconds and None if the
    message does not go again in this run. `uses_try` is False
    for an attempt that does not count towards `--max-attempts`. `withheld` means that the message stays queued until
    other answers show whose trouble it is; `released` are the withheld ones that this attempt settles.

    `stop` ends the run. `reauthenticate` asks for
    another token before anything else is sent. `drop_wait_header` turns the header `Adm-Wait` off for this run.
    """

    evidence: Evidence
    state: State
    reason: Reason | None = None
    retry_in: float | None = None
    stop: StopReason | None = None
    reauthenticate: bool = False
    drop_wait_header: bool = False
    uses_try: bool = True
    withheld: bool = False
    in_doubt: Reason | None = None
    events: tuple[PolicyEvent, ...] = ()
    released: "tuple[Released, ...]" = ()

    @property
    def again(self) -> bool:
        """Whether another attempt follows in this run."""
        return self.retry_in is not None


class Released(NamedTuple):
    """A message that was withheld, and what has become of it."""

    message: Message
    attempt: Attempt
    decision: Decision


SPREAD = 4.0
"""How many times the longest wait grows with each try that is used up: five take up to forty seconds."""
LONGEST_BRIEF_WAIT = 1.0
"""The longest wait, in seconds, after a failure that is the server's: it says nothing of this message, and what the
server needs is the business of the circuit breaker and the limits. The last messages of a run wait for nothing else."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a message goes again: mode, number of attempts, and the bounds of the backoff in seconds."""

    delivery: DeliveryMode = DeliveryMode.BALANCED
    max_attempts: int = 5
    base: float = 0.5
    cap: float = 30.0

    def backoff(self, tries: int, chance: float) -> float:
        """Full jitter in seconds after the `tries`-th attempt; `chance` is uniform in [0, 1)."""
        return chance * min(self.cap, self.base * 2.0 ** min(tries - 1, 32))

    def briefly(self, failures: int, chance: float) -> float:
        """Full jitter after so many failures in a row that were the server's."""
        return min(LONGEST_BRIEF_WAIT * chance, self.backoff(failures, chance))

    def spread(self, tries: int, chance: float) -> float:
        """Full jitter after an attempt that used up a try: it grows faster."""
        return chance * min(self.cap, self.base * SPREAD ** min(tries - 1, 32))


def decide_interrupted(evidence: Evidence, message: Message) -> Decision:
    """What becomes of a message whose attempt this side broke off: back to the queue only if it was not processed."""
    if evidence in IN_DOUBT:
        return Decision(evidence, State.UNKNOWN, Reason.INTERRUPTED, in_doubt=Reason.INTERRUPTED)
    return Decision(evidence, State.QUEUED, uses_try=False, in_doubt=message.in_doubt)


def rejects_wait_header(attempt: Attempt) -> bool:
    """Whether an answer is about the header `Adm-Wait` that it was asked with, and not about the message.

    The header is optional for a server, and a 400 names what it does not like (Adaxes REST API, "Error responses":
    `modelState`).
    """
    words = (attempt.error or "").casefold().replace("-", "").replace("_", "")
    return attempt.status == 400 and "admwait" in words


def decide_without_wait_header(attempt: Attempt, message: Message) -> Decision | None:
    """The same message again at once and uncounted, if the header was refused; None for any other answer."""
    if not rejects_wait_header(attempt):
        return None
    return Decision(
        Evidence.NOT_PROCESSED,
        State.QUEUED,
        retry_in=0.0,
        uses_try=False,
        drop_wait_header=True,
        in_doubt=message.in_doubt,
    )


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
    is_own: bool = True,
    failures: int = 0,
) -> Decision:
    """What becomes of the message after this attempt and its evidence. `message` counts this attempt already.

    `chance` is uniform in [0, 1). `is_own` is whether the recipient's own trouble is to be suspected: only then, or if
    the message may have been processed, is a try used up. `failures` is how often in a row the server has not taken the
    message in this run, before this attempt.
    """
    verdict = VERDICTS[evidence, policy.delivery]
    doubt = _doubt_after(attempt, evidence) if evidence in IN_DOUBT else message.in_doubt
    if (answered := _ANSWERED.get(verdict)) is not None:
        return Decision(evidence, answered, in_doubt=doubt)
    if verdict is Verdict.FAILED:
        return _given_up(evidence, doubt, _rejected_by(attempt))
    if verdict in (Verdict.STOP, Verdict.LOG_IN):
        stop = StopReason.WRONG_ENDPOINT if verdict is Verdict.STOP else None
        log_in = verdict is Verdict.LOG_IN
        return Decision(
            evidence,
            State.QUEUED,
            stop=stop,
            retry_in=0.0 if log_in else None,
            reauthenticate=log_in,
            uses_try=False,
            in_doubt=doubt,
        )
    once_more_only = verdict is Verdict.AGAIN_ONCE_COUNTED and message.in_doubt is not None
    if verdict is Verdict.UNKNOWN or once_more_only:
        return Decision(evidence, State.UNKNOWN, doubt, in_doubt=doubt)
    uses_try = is_own or evidence in IN_DOUBT
    if uses_try and message.tries >= policy.max_attempts:
        return _given_up(evidence, doubt, Reason.ATTEMPTS_EXHAUSTED)
    backoff = policy.spread(message.tries, chance) if uses_try else policy.briefly(failures + 1, chance)
    wait = max(backoff, attempt.retry_after or 0.0)
    return Decision(evidence, State.QUEUED, retry_in=wait, uses_try=uses_try, in_doubt=doubt)


def _given_up(evidence: Evidence, doubt: Reason | None, reason: Reason) -> Decision:
    """Given up: `failed` if certainly not sent, `unknown` if an attempt may have been processed."""
    if doubt is None:
        return Decision(evidence, State.FAILED, reason)
    return Decision(evidence, State.UNKNOWN, doubt, in_doubt=doubt)


def _doubt_after(attempt: Attempt, evidence: Evidence) -> Reason:
    if evidence is Evidence.CRASHED:
        return Reason.CRASH
    answered = attempt.status is not None and attempt.status >= 500
    return Reason.AMBIGUOUS_ANSWER if answered else Reason.NO_ANSWER


def _rejected_by(attempt: Attempt) -> Reason:
    """The API rejected the message, or a proxy or web server in front of it did (with a page)."""
    from_the_api = attempt.result is not None or attempt.api_error is not None
    return Reason.REJECTED if from_the_api else Reason.REJECTED_BEFORE_API
