"""Message: one recipient and the text for it, the states it passes through, and the legal moves between them."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """What has become of a message. The values are part of the public contract."""

    QUEUED = "queued"
    SENDING = "sending"
    PROCESSING = "processing"
    ACCEPTED = "accepted"
    AWAITING_APPROVAL = "awaiting_approval"
    FAILED = "failed"
    UNKNOWN = "unknown"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


class Reason(StrEnum):
    """Why a message is in its state. The values are part of the public contract."""

    REJECTED = "rejected"
    REJECTED_BEFORE_API = "rejected_before_api"
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    NO_ANSWER = "no_answer"
    AMBIGUOUS_ANSWER = "ambiguous_answer"
    CRASH = "crash"
    INTERRUPTED = "interrupted"
    OPERATION_LOST = "operation_lost"
    DEADLINE = "deadline"
    CANCELLED = "cancelled"
    RESOLVED_BY_HAND = "resolved_by_hand"
    DUPLICATE = "duplicate"
    SUPPRESSED = "suppressed"
    BAD_ROW = "bad_row"


TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.QUEUED: frozenset(
        {State.SENDING, State.FAILED, State.UNKNOWN, State.EXPIRED, State.CANCELLED, State.SKIPPED}
    ),
    State.SENDING: frozenset(
        {
            State.QUEUED,
            State.PROCESSING,
            State.ACCEPTED,
            State.AWAITING_APPROVAL,
            State.FAILED,
            State.UNKNOWN,
            State.EXPIRED,
        }
    ),
    State.PROCESSING: frozenset({State.ACCEPTED, State.AWAITING_APPROVAL, State.FAILED, State.UNKNOWN}),
    State.ACCEPTED: frozenset(),
    State.AWAITING_APPROVAL: frozenset(),
    State.FAILED: frozenset({State.QUEUED}),
    State.UNKNOWN: frozenset({State.QUEUED, State.ACCEPTED, State.FAILED}),
    State.EXPIRED: frozenset({State.QUEUED}),
    State.CANCELLED: frozenset(),
    State.SKIPPED: frozenset(),
}
"""Which state may follow which. A run makes the moves out of `queued`, `sending` and `processing`;
only a person makes those out of `failed`, `unknown` and `expired`."""

UNFINISHED = frozenset({State.QUEUED, State.SENDING, State.PROCESSING})
"""The states in which a run still has work to do."""

RETRYABLE = frozenset({State.FAILED, State.UNKNOWN, State.EXPIRED})
"""The states from which a person may send a message again (`retry`)."""

_IN_DOUBT = (Reason.NO_ANSWER, Reason.AMBIGUOUS_ANSWER, Reason.CRASH, Reason.INTERRUPTED, Reason.OPERATION_LOST)
REASONS: Mapping[State, tuple[Reason, ...]] = {
    State.QUEUED: (),
    State.SENDING: (),
    State.PROCESSING: (),
    State.ACCEPTED: (Reason.RESOLVED_BY_HAND,),
    State.AWAITING_APPROVAL: (),
    State.FAILED: (Reason.REJECTED, Reason.REJECTED_BEFORE_API, Reason.ATTEMPTS_EXHAUSTED, Reason.RESOLVED_BY_HAND),
    State.UNKNOWN: _IN_DOUBT,
    State.EXPIRED: (Reason.DEADLINE,),
    State.CANCELLED: (Reason.CANCELLED,),
    State.SKIPPED: (Reason.DUPLICATE, Reason.SUPPRESSED, Reason.BAD_ROW),
}
"""The reasons that each state can have."""


@dataclass(slots=True)
class Message:
    """One message that a run is working on: what to send, and what its earlier attempts left behind.

    `number` is its place in the plan, `row` the row of the input as a spreadsheet shows it.
    `attempts` counts every request made for it, `tries` only those that use up `--max-attempts`. `in_doubt` is set as
    soon as one of them may have been processed, and says why; a later attempt may then deliver it a second time.
    """

    number: int
    row: int
    recipient: str
    text: str
    attempts: int = 0
    tries: int = 0
    in_doubt: Reason | None = None
    possible_duplicate: bool = False
    operation_id: str | None = None
