"""History: what people decided about a ledger's messages, as it was written down."""

import sqlite3
from dataclasses import dataclass
from typing import NamedTuple

from bulksms.message import State

_DECISIONS = """
SELECT number, what, decided_at, operating_system_user, host, confirmed_by, note FROM decision ORDER BY number
"""
_MOVES = """
SELECT decision, state_before, reason_before, state_after, COUNT(*) FROM decided
GROUP BY decision, state_before, reason_before, state_after ORDER BY 1, 2, 3, 4
"""


class Move(NamedTuple):
    """So many messages that a decision took from one state to another."""

    state_before: State
    reason_before: str | None
    state_after: State
    messages: int


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision; `what` is `retry`, `resolve` or `purge`."""

    number: int
    what: str
    decided_at: str
    user: str
    host: str
    confirmed_by: str
    note: str | None
    moves: tuple[Move, ...]


def read_decisions(connection: sqlite3.Connection) -> list[Decision]:
    """All decisions, the first one first."""
    moves: dict[int, list[Move]] = {}
    for decision, before, reason, after, count in connection.execute(_MOVES):
        moves.setdefault(decision, []).append(Move(State(before), reason, State(after), count))
    return [
        Decision(number, what, decided_at, user, host, confirmed_by, note, tuple(moves.get(number, ())))
        for number, what, decided_at, user, host, confirmed_by, note in connection.execute(_DECISIONS)
    ]
