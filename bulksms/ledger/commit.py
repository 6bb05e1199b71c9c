"""Commit: what one transaction writes, many rows to a statement.

Law: portable SQL. One statement for many rows, because each call of SQLite gives Python's lock away and has to wait for
it again: beside a busy event loop a statement a row makes a commit several times as long.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import chain

from bulksms.ledger.settlement import EVIDENCE_COLUMNS, PLAIN_COLUMNS, SETTLED_COLUMNS, Row
from bulksms.message import State

_PLAIN = len(PLAIN_COLUMNS.split(", "))
_NUMBER = _PLAIN - 1
_NOTHING_ELSE = (None,) * 6 + (str(State.SENDING),)
"""The other columns of a message that was simply accepted."""

SIZES = (64, 32, 16, 8, 4, 2, 1)
"""Rows to a statement: few sizes, so that each statement is prepared once; 64 rows stay below 999 parameters."""


def begin(connection: sqlite3.Connection, numbers: Sequence[int], now: float) -> int:
    """Mark queued messages as `sending`, each with one more attempt; how many there were."""
    return _write(connection, [(number,) for number in numbers], _begin, before=(now, now))


def settle(connection: sqlite3.Connection, settlements: Sequence[Row]) -> int:
    """Write outcomes (`SETTLED_COLUMNS`), of messages that are in the state which they leave; how many there were."""
    moved = 0
    for rows in _each_message_once(settlements):
        plain = [row[:_PLAIN] for row in rows if row[_PLAIN:] == _NOTHING_ELSE]
        moved += _write(connection, plain, _settle_plain)
        if len(plain) < len(rows):
            moved += _write(connection, [row for row in rows if row[_PLAIN:] != _NOTHING_ELSE], _settle)
    return moved


def add_evidence(connection: sqlite3.Connection, lines: Sequence[Row]) -> None:
    """Add lines of evidence (`EVIDENCE_COLUMNS`)."""
    _write(connection, lines, _evidence)


def count(connection: sqlite3.Connection, changes: Mapping[str, int]) -> None:
    """Change the counters by what was written."""
    changed = [(name, change) for name, change in changes.items() if change]
    if changed:
        parameters = [value for pair in changed for value in pair] + [name for name, _ in changed]
        connection.execute(_count(len(changed)), parameters)


def _write(
    connection: sqlite3.Connection, rows: Sequence[Row], statement: Callable[[int], str], before: Row = ()
) -> int:
    changed_before = connection.total_changes
    for part in _parts(rows):
        connection.execute(statement(len(part)), [*before, *chain.from_iterable(part)])
    return connection.total_changes - changed_before


def _each_message_once(settlements: Sequence[Row]) -> Iterator[list[Row]]:
    """Parts in which no message stands twice: one that is settled again leaves the state that it was given before."""
    part: dict[object, Row] = {}
    for row in settlements:
        number = row[_NUMBER]
        if number in part:
            yield list(part.values())
            part = {}
        part[number] = row
    if part:
        yield list(part.values())


def _parts(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    at = 0
    for size in SIZES:
        while len(rows) - at >= size:
            yield rows[at : at + size]
            at += size


def _places(columns: str, rows: int) -> str:
    one = f"({', '.join('?' * (columns.count(',') + 1))})"
    return ", ".join([one] * rows)


@cache
def _begin(rows: int) -> str:
    return f"""
        UPDATE message SET state = 'sending', reason = NULL, attempts = attempts + 1, tries = tries + 1,
            may_have_sent_twice = CASE WHEN doubt IS NULL THEN may_have_sent_twice ELSE 1 END, began_at = ?,
            first_attempt_at = COALESCE(first_attempt_at, ?)
        WHERE number IN ({", ".join("?" * rows)}) AND state = 'queued'
    """  # noqa: S608 - only places for values are put in


@cache
def _settle(rows: int) -> str:
    return f"""
        WITH settled ({SETTLED_COLUMNS}) AS (VALUES {_places(SETTLED_COLUMNS, rows)})
        UPDATE message SET (state, tries, http_status, result_type, object_dn, finished_at, latency_ms, reason, doubt,
            error_code, error, warnings, operation_id, began_at) = (
            SELECT state, tries, http_status, result_type, object_dn, finished_at,
                COALESCE(settled.latency_ms, message.latency_ms), reason, doubt, error_code, error, warnings,
                operation_id, NULL
            FROM settled WHERE settled.number = message.number
        )
        WHERE number IN (SELECT number FROM settled)
            AND state = (SELECT was FROM settled WHERE settled.number = message.number)
    """  # noqa: S608 - only places for values are put in


@cache
def _settle_plain(rows: int) -> str:
    """Half the work of `_settle`, for what most rows of most runs are."""
    return f"""
        WITH settled ({PLAIN_COLUMNS}) AS (VALUES {_places(PLAIN_COLUMNS, rows)})
        UPDATE message SET reason = NULL, doubt = NULL, error_code = NULL, error = NULL, warnings = NULL,
            operation_id = NULL, began_at = NULL,
            (state, tries, http_status, result_type, object_dn, finished_at, latency_ms) = (
                SELECT state, tries, http_status, result_type, object_dn, finished_at, latency_ms
                FROM settled WHERE settled.number = message.number
            )
        WHERE number IN (SELECT number FROM settled) AND state = 'sending'
    """  # noqa: S608 - only places for values are put in


@cache
def _evidence(rows: int) -> str:
    return f"INSERT INTO attempt ({EVIDENCE_COLUMNS}) VALUES {_places(EVIDENCE_COLUMNS, rows)}"  # noqa: S608 - only places for values are put in


@cache
def _count(names: int) -> str:
    changes = " ".join(["WHEN ? THEN ?"] * names)
    return f"""
        UPDATE tally SET messages = messages + CASE name {changes} END WHERE name IN ({", ".join("?" * names)})
    """  # noqa: S608 - only places for values are put in
