"""Batch: what one transaction of a run writes.

Invariant: a row is made when it is handed over, of plain values only: the message goes on meanwhile, and SQLite takes
long to adapt a value that is a string or a number only by inheritance.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from bulksms.ledger.records import OutcomeRecord
from bulksms.ledger.sqlite.schema import ATTEMPTS_MADE, POSSIBLE_DUPLICATE
from bulksms.model.attempt import Attempt
from bulksms.model.message import Message, State

Row = tuple[object, ...]

_BEGIN = f"""
UPDATE message SET state = '{State.SENDING}', reason = NULL, attempts = attempts + 1, tries = tries + 1,
    possible_duplicate = CASE WHEN doubt IS NULL THEN possible_duplicate ELSE 1 END, began_at = ?,
    first_attempt_at = COALESCE(first_attempt_at, ?)
WHERE number = ? AND state = '{State.QUEUED}'
"""  # noqa: S608 - constants
_SETTLE = """
UPDATE message SET state = ?, tries = ?, http_status = ?, result_type = ?, object_dn = ?, finished_at = ?,
    latency_ms = COALESCE(?, latency_ms), reason = ?, doubt = ?, error_code = ?, error = ?, warnings = ?,
    operation_id = ?, began_at = NULL
WHERE number = ? AND state = ?
"""
_ADD_EVIDENCE = """
INSERT INTO attempt (message, attempt, run, began_at, ended_at, headers_sent, http_status, evidence, error, elapsed_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_COUNT = "UPDATE tally SET messages = messages + ? WHERE name = ?"


class Intent(NamedTuple):
    """An attempt that is about to be made at `now` (POSIX seconds)."""

    number: int
    now: float
    is_first_after_doubt: bool


class Outcome(NamedTuple):
    """What an attempt, or the last poll for a message, came to."""

    number: int
    move: tuple[State, State]
    row: Row
    evidence: Row | None

    @classmethod
    def of(cls, message: Message, attempt: Attempt, outcome: OutcomeRecord, run: int) -> "Outcome":
        """The outcome as the rows that are written."""
        state, reason, doubt, previous, evidence = outcome
        result = attempt.result
        ended_at = attempt.began_at + attempt.elapsed
        milliseconds = attempt.elapsed * 1000.0
        error = attempt.error if result is None else result.error
        code = None if attempt.api_error is None and attempt.failure is None else attempt.error_code
        row = (
            str(state),
            message.tries,
            attempt.status,
            result and int(result.result_type),
            result and result.object_dn,
            None if state is State.QUEUED or state is State.PROCESSING else ended_at,
            milliseconds if previous is State.SENDING else None,
            reason and str(reason),
            doubt and str(doubt),
            code,
            error,
            json.dumps(result.warnings, ensure_ascii=False) if result and result.warnings else None,
            attempt.operation_id or message.operation_id,
            message.number,
            str(previous),
        )
        proof = evidence and (
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
        return cls(message.number, (previous, state), row, proof or None)


def write(connection: sqlite3.Connection, steps: Sequence[Intent | Outcome]) -> bool:
    """Write the steps, handed over in this order, inside the caller's transaction, and count them.

    Returns whether every message was in the state that its step leaves; if not, the transaction is to be undone.
    """
    moved = 0
    for outcomes, intents in _parts(steps):
        if outcomes:
            moved += connection.executemany(_SETTLE, (outcome.row for outcome in outcomes)).rowcount
            connection.executemany(_ADD_EVIDENCE, (it.evidence for it in outcomes if it.evidence is not None))
        if intents:
            moved += connection.executemany(_BEGIN, ((it.now, it.now, it.number) for it in intents)).rowcount
    update_counters(connection, _changes(steps))
    return moved == len(steps)


def update_counters(connection: sqlite3.Connection, changes: Mapping[str, int]) -> None:
    """Change the counters by what was written."""
    connection.executemany(_COUNT, ((change, str(name)) for name, change in changes.items() if change))


def _parts(steps: Sequence[Intent | Outcome]) -> Iterable[tuple[list[Outcome], list[Intent]]]:
    """Outcomes and the intents after them, in as few parts as keep each message's steps in their order."""
    outcomes: list[Outcome] = []
    intents: dict[int, Intent] = {}
    for step in steps:
        if step.number in intents:
            yield outcomes, list(intents.values())
            outcomes, intents = [], {}
        if isinstance(step, Intent):
            intents[step.number] = step
        else:
            outcomes.append(step)
    yield outcomes, list(intents.values())


def _changes(steps: Iterable[Intent | Outcome]) -> Counter[str]:
    """How the counters change by these steps."""
    changes: Counter[str] = Counter()
    for step in steps:
        before, after = (State.QUEUED, State.SENDING) if isinstance(step, Intent) else step.move
        changes[before] -= 1
        changes[after] += 1
        if isinstance(step, Intent):
            changes[ATTEMPTS_MADE] += 1
            changes[POSSIBLE_DUPLICATE] += step.is_first_after_doubt
    return changes
