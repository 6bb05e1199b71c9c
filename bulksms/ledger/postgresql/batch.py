"""Batch: what one commit of a machine writes, as the arrays of its statement.

Invariants: an outcome is made of plain values when it is handed over, since the message goes on meanwhile. A message
is in a batch once: a statement updates a row once.
"""

import asyncio
import json
from collections.abc import Sequence
from typing import NamedTuple, cast

from bulksms.ledger.postgresql.statements import OUTCOME
from bulksms.ledger.records import OutcomeRecord
from bulksms.model.attempt import Attempt
from bulksms.model.message import Message, Reason, State

Row = tuple[object, ...]
_NUMBER, _PREVIOUS_STATE, _STATE, _ATTEMPT = map(list(OUTCOME).index, ("number", "previous_state", "state", "attempt"))


class Intent(NamedTuple):
    """An attempt that run `run` is about to make at `now` (POSIX seconds), and who waits until it is on disk."""

    run: int
    message: Message
    now: float
    attempt: int
    tries: int
    doubt: Reason | None
    is_marked: bool
    """Whether it is a possible duplicate already."""
    begun: asyncio.Future[bool]

    @property
    def number(self) -> int:
        """The message."""
        return self.message.number

    def answer(self, *, begun: bool) -> None:
        """Report whether the attempt may be made."""
        if not self.begun.done():
            self.begun.set_result(begun)

    def not_sent(self) -> "Outcome":
        """That its request has not left, and will not."""
        return Outcome(self.run, self._row(State.QUEUED, None, self.doubt, "never_left", self.tries - 1))

    def lost(self) -> Row:
        """That nobody knows what has become of it."""
        return self._row(State.UNKNOWN, Reason.CRASH, Reason.CRASH, "crashed", self.tries)

    def _row(self, state: State, reason: Reason | None, doubt: Reason | None, evidence: str, tries: int) -> Row:
        values: dict[str, object] = {
            "number": self.number,
            "previous_state": State.SENDING.value,
            "state": state.value,
            "reason": reason and reason.value,
            "doubt": doubt and doubt.value,
            "tries": tries,
            "attempt": self.attempt,
            "evidence": evidence,
            "began_at": self.now,
            "finished_at": None if state is State.QUEUED else self.now,
        }
        return tuple(values.get(name) for name in OUTCOME)


class Outcome(NamedTuple):
    """What an attempt of run `run`, or the last poll for a message, came to."""

    run: int
    row: Row

    @property
    def number(self) -> int:
        """The message."""
        return cast("int", self.row[_NUMBER])

    @property
    def attempt(self) -> int:
        """Which attempt of the message it was."""
        return cast("int", self.row[_ATTEMPT])

    @property
    def previous_state(self) -> State:
        """The state that the message leaves."""
        return State(cast("str", self.row[_PREVIOUS_STATE]))

    @property
    def state(self) -> State:
        """The state in which it is then."""
        return State(cast("str", self.row[_STATE]))


def outcome_row(message: Message, attempt: Attempt, outcome: OutcomeRecord) -> Row:
    """The outcome as values, in the order of the columns."""
    state, reason, doubt, previous, evidence = outcome
    result = attempt.result
    ended_at = attempt.began_at + attempt.elapsed
    milliseconds = attempt.elapsed * 1000.0
    return (
        message.number,
        str(previous),
        str(state),
        reason and str(reason),
        doubt and str(doubt),
        message.tries,
        attempt.status,
        result and int(result.result_type),
        _text(attempt.error_code),
        _text(attempt.error),
        json.dumps(result.warnings, ensure_ascii=False) if result and result.warnings else None,
        None if result is None else _text(result.object_dn),
        _text(attempt.operation_id or message.operation_id),
        None if state is State.QUEUED or state is State.PROCESSING else ended_at,
        milliseconds if previous is State.SENDING else None,
        message.attempts,
        evidence,
        attempt.began_at,
        ended_at,
        int(attempt.headers_sent),
        milliseconds,
    )


def columns(rows: Sequence[Row]) -> list[list[object]]:
    """Rows as arrays, one for each column."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in OUTCOME]


def _text(text: str | None) -> str | None:
    """A text as the database takes it: it knows no character with the code 0, nor half a surrogate pair."""
    if text is None:
        return None
    return text.replace("\x00", "\ufffd").encode(errors="replace").decode()
