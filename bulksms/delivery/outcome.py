"""Outcome: what one attempt proves, and what the chosen delivery mode makes of it.

Law: the two tables below are the contract's evidence table, row by row. A status that stands nowhere is judged as if
the message may have been processed, because saying "not sent" of a sent message is the one mistake nobody can mend.
"""

from collections.abc import Mapping
from enum import Enum, StrEnum

from bulksms.attempt import Attempt, Failure, ResultType


class Delivery(StrEnum):
    """What may be sent again (`--delivery`)."""

    AT_MOST_ONCE = "at-most-once"
    BALANCED = "balanced"
    AT_LEAST_ONCE = "at-least-once"


class Evidence(StrEnum):
    """What an attempt proves about its message."""

    SUCCEEDED = "succeeded"
    SUSPENDED = "suspended"
    STARTED = "started"
    REFUSED = "refused"
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

CLASS_EVIDENCE: Mapping[int, Evidence] = {3: Evidence.MISDIRECTED, 4: Evidence.REFUSED}

RESULT_EVIDENCE: Mapping[ResultType, Evidence] = {
    ResultType.SUCCEEDED: Evidence.SUCCEEDED,
    ResultType.FAILED: Evidence.REFUSED,
    ResultType.SUSPENDED: Evidence.SUSPENDED,
}

_MODES = (Delivery.AT_MOST_ONCE, Delivery.BALANCED, Delivery.AT_LEAST_ONCE)
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
    Evidence.REFUSED: (Verdict.FAILED, Verdict.FAILED, Verdict.FAILED),
    Evidence.MISDIRECTED: (Verdict.STOP, Verdict.STOP, Verdict.STOP),
}
VERDICTS: Mapping[tuple[Evidence, Delivery], Verdict] = {
    (evidence, mode): verdict for evidence, row in _ROWS.items() for mode, verdict in zip(_MODES, row, strict=True)
}
"""The evidence table of the contract."""

DOUBTFUL = frozenset({Evidence.SERVER_FAILED, Evidence.LOST, Evidence.CRASHED})
"""The evidence after which the message may have been processed although nobody says so."""


def classify(attempt: Attempt) -> Evidence:
    """What the attempt proves: by its status if one was read, by what left and how it broke off otherwise."""
    if attempt.status is None or attempt.failure is Failure.PROXY_REFUSED:
        return _without_answer(attempt)
    if 200 <= attempt.status < 300:
        return _of_success(attempt)
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


def _of_success(attempt: Attempt) -> Evidence:
    """A 2xx answer proves something only if it was read whole and says what became of the message."""
    if attempt.failure is None:
        if attempt.status == 200 and attempt.result is not None:
            return RESULT_EVIDENCE[attempt.result.result_type]
        if attempt.status == 202 and attempt.operation_id is not None:
            return Evidence.STARTED
    return Evidence.LOST
