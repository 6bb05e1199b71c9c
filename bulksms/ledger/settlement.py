"""Settlement: what is written of a message when an attempt, or the last poll for it, has ended.

Law: a row is made when it is handed over, of plain values only: the message goes on meanwhile, and SQLite looks long
for a way to keep what is a string or a number only by descent.
"""

import json
from typing import NamedTuple

from bulksms.attempt import Attempt
from bulksms.message import Message, Reason, State

Row = tuple[object, ...]

PLAIN_COLUMNS = "state, tries, http_status, result_type, object_dn, finished_at, latency_ms, number"
"""What the row of a settlement begins with: all that there is to write of a message that was simply accepted."""
SETTLED_COLUMNS = f"{PLAIN_COLUMNS}, reason, doubt, error_code, error, warnings, operation_id, was"
"""What the row of a settlement consists of: the new values, the message, and the state that it leaves."""
EVIDENCE_COLUMNS = "message, attempt, run, began_at, ended_at, headers_sent, http_status, evidence, error, elapsed_ms"


class Settlement(NamedTuple):
    """What becomes of a message.

    `was` is the state that it leaves; `evidence` is what the attempt proved, None if this is not about an attempt.
    """

    state: State
    reason: Reason | None = None
    doubt: Reason | None = None
    was: State = State.SENDING
    evidence: str | None = None


def rows_of(message: Message, attempt: Attempt, settlement: Settlement, run: int) -> tuple[Row, Row | None]:
    """The new values (`SETTLED_COLUMNS`), and the line of evidence (`EVIDENCE_COLUMNS`) if there is one."""
    state, reason, doubt, was, evidence = settlement
    result, error = attempt.result, attempt.error
    ended_at = attempt.began_at + attempt.elapsed
    milliseconds = attempt.elapsed * 1000.0
    settled = (
        str(state),
        message.tries,
        attempt.status,
        result and int(result.result_type),
        result and result.object_dn,
        None if state is State.QUEUED or state is State.PROCESSING else ended_at,
        milliseconds if was is State.SENDING else None,
        message.number,
        reason and str(reason),
        doubt and str(doubt),
        attempt.error_code,
        error,
        json.dumps(result.warnings, ensure_ascii=False) if result and result.warnings else None,
        attempt.operation_id or message.operation_id,
        str(was),
    )
    if evidence is None:
        return settled, None
    return settled, (
        message.number,
        message.attempts,
        run,
        attempt.began_at,
        ended_at,
        int(attempt.headers_sent),
        attempt.status,
        evidence,
        error,
        milliseconds,
    )
