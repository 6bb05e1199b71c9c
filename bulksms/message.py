"""Message: one recipient and the text for it, the states it passes through, and the legal moves between them.

Pure: no clock, no file, no network.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Where a message stands. The words are part of the public contract."""

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
    """Why a message stands where it stands. The words are part of the public contract."""

    REFUSED = "refused"
    REFUSED_ELSEWHERE = "refused_elsewhere"
    GAVE_UP = "gave_up"
    LOST_ANSWER = "lost_answer"
    DOUBTFUL_ANSWER = "doubtful_answer"
    CRASH = "crash"
    INTERRUPTED = "interrupted"
    OPERATION_LOST = "operation_lost"
    DEADLINE = "deadline"
    CANCELLED = "cancelled"
    RESOLVED_BY_HAND = "resolved_by_hand"
    DUPLICATE = "duplicate"
    SUPPRESSED = "suppressed"
    BAD_ROW = "bad_row"


MOVES: Mapping[State, frozenset[State]] = {
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
"""The states that a run still has to do something about."""

RETRYABLE = frozenset({State.FAILED, State.UNKNOWN, State.EXPIRED})
"""The states that a person may have sent again (`retry`)."""

_NOBODY_KNOWS = (Reason.LOST_ANSWER, Reason.DOUBTFUL_ANSWER, Reason.CRASH, Reason.INTERRUPTED, Reason.OPERATION_LOST)
REASONS: Mapping[State, tuple[Reason, ...]] = {
    State.QUEUED: (),
    State.SENDING: (),
    State.PROCESSING: (),
    State.ACCEPTED: (Reason.RESOLVED_BY_HAND,),
    State.AWAITING_APPROVAL: (),
    State.FAILED: (Reason.REFUSED, Reason.REFUSED_ELSEWHERE, Reason.GAVE_UP, Reason.RESOLVED_BY_HAND),
    State.UNKNOWN: _NOBODY_KNOWS,
    State.EXPIRED: (Reason.DEADLINE,),
    State.CANCELLED: (Reason.CANCELLED,),
    State.SKIPPED: (Reason.DUPLICATE, Reason.SUPPRESSED, Reason.BAD_ROW),
}
"""Why a message can stand in a state."""


@dataclass(slots=True)
class Message:
    """One message that a run has in hand: what to send, and what its earlier attempts left behind.

    `number` is its place in the plan, `row` the row of the input as a spreadsheet shows it.
    `attempts` counts every request made for it, `tries` only those that use up `--max-attempts`. `doubt` is set as soon
    as one of them may have been processed, and says why; a later attempt may then be its second delivery.
    """

    number: int
    row: int
    recipient: str
    text: str
    attempts: int = 0
    tries: int = 0
    doubt: Reason | None = None
    may_have_sent_twice: bool = False
    operation_id: str | None = None
