"""Invariants: each invariant that can be checked in a ledger, as a query that must find nothing. It reads only."""

# ruff: noqa: S608 - states and names of this program are put into the queries, and nothing from outside

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path

from bulksms.errors import LedgerError
from bulksms.ledger.contract import Invariant
from bulksms.ledger.records import EVIDENCE
from bulksms.ledger.sqlite import database
from bulksms.ledger.sqlite.draft import require_fingerprint
from bulksms.ledger.sqlite.lock import is_held
from bulksms.ledger.sqlite.recovery import is_log_lost
from bulksms.ledger.sqlite.schema import ATTEMPTS_MADE, POSSIBLE_DUPLICATE, TABLES
from bulksms.model.message import RETRYABLE, TRANSITIONS, UNFINISHED, Reason, State

SHOWN = 5
"""Messages that a finding names."""
AT_ONCE = 2
"""Checks that run beside each other: SQLite computes without holding up Python's other threads. The longest, the types
of all values, takes two fifths of all, so that a third thread would gain little."""


def _list(values: Iterable[str]) -> str:
    return ", ".join(f"'{value}'" for value in values)


_DECIDED = _list(f"{before} {after}" for before in sorted(RETRYABLE) for after in sorted(TRANSITIONS[before]))
_COUNTED_APART = _list((POSSIBLE_DUPLICATE, ATTEMPTS_MADE))

QUERIES: Mapping[Invariant, str] = {
    Invariant.KNOWN_STATE: f"SELECT number FROM message WHERE state NOT IN ({_list(State)})",
    Invariant.COUNTED: f"""
        SELECT name FROM tally LEFT JOIN (SELECT state, COUNT(*) AS found FROM message GROUP BY state) ON state = name
        WHERE name NOT IN ({_COUNTED_APART}) AND messages <> COALESCE(found, 0)
    """,
    Invariant.DUPLICATES_COUNTED: f"""
        SELECT name FROM tally WHERE name = '{POSSIBLE_DUPLICATE}'
            AND messages <> (SELECT COUNT(*) FROM message WHERE possible_duplicate = 1)
    """,
    Invariant.ATTEMPTS_COUNTED: f"""
        SELECT name FROM tally WHERE name = '{ATTEMPTS_MADE}'
            AND messages <> (SELECT COALESCE(SUM(attempts), 0) FROM message)
    """,
    Invariant.EVIDENCE: f"""
        SELECT number FROM message
        WHERE attempts <> (SELECT COUNT(*) FROM attempt WHERE message = number) + (state = '{State.SENDING}')
    """,
    Invariant.KNOWN_EVIDENCE: f"SELECT message FROM attempt WHERE evidence NOT IN ({_list(EVIDENCE)})",
    Invariant.NOT_SENT_AGAIN: f"""
        SELECT later.message FROM attempt later JOIN attempt earlier
            ON earlier.message = later.message AND earlier.attempt < later.attempt
            WHERE later.attempt > 1 AND (earlier.evidence IN ('succeeded', 'suspended') OR (
                earlier.evidence = 'started' AND NOT EXISTS (
                    SELECT 1 FROM decided WHERE decided.message = later.message AND state_after = '{State.QUEUED}'
                )
            ))
    """,
    Invariant.CERTAIN: f"""
        SELECT number FROM message WHERE doubt IS NOT NULL AND reason <> '{Reason.RESOLVED_BY_HAND}'
            AND state IN ({_list((State.FAILED, State.EXPIRED, State.CANCELLED))})
    """,
    Invariant.DUPLICATES_MARKED: """
        SELECT later.message FROM attempt later
            JOIN attempt earlier ON earlier.message = later.message AND earlier.attempt < later.attempt
            JOIN message ON message.number = later.message
            WHERE later.attempt > 1 AND possible_duplicate = 0
                AND earlier.evidence IN ('lost', 'server_failed', 'crashed')
    """,
    Invariant.IN_DOUBT: f"SELECT number FROM message WHERE state = '{State.UNKNOWN}' AND doubt IS NULL",
    Invariant.ALLOWED_DECISIONS: f"""
        SELECT message FROM decided WHERE state_before || ' ' || state_after NOT IN ({_DECIDED})
    """,
    Invariant.RESOLVED_BY_DECISION: f"""
        SELECT number FROM message WHERE reason = '{Reason.RESOLVED_BY_HAND}' AND NOT EXISTS (
            SELECT 1 FROM decided WHERE message = number AND state_after = state AND reason_after = reason
        )
    """,
    Invariant.RESOLUTION_KEPT: f"""
        SELECT number FROM message JOIN decided ON message = number
            WHERE state_after = '{State.ACCEPTED}' AND state <> '{State.ACCEPTED}'
    """,
    Invariant.SIGNED: "SELECT decision FROM decided WHERE decision NOT IN (SELECT number FROM decision)",
    Invariant.PURGED: """
        SELECT number FROM message WHERE (SELECT purged_at FROM plan) IS NOT NULL
            AND recipient || recipient_key || text || COALESCE(object_dn, '') || COALESCE(error, '') <> ''
    """,
    Invariant.OPERATION: f"SELECT number FROM message WHERE state = '{State.PROCESSING}' AND operation_id IS NULL",
    Invariant.FINISHED_AT: f"""
        SELECT number FROM message WHERE state NOT IN ({_list(sorted(UNFINISHED))}) AND attempts > 0
            AND finished_at IS NULL
    """,
}


def verify(ledger: Path) -> list[tuple[str, str]]:
    """See the contract. What damage keeps from being checked is a violation, too."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - nobody else waits for it

    checks: dict[Invariant, Callable[[sqlite3.Connection], str]] = {
        Invariant.TYPED: _mistyped,
        Invariant.WHOLE: _damage,
        Invariant.AS_PLANNED: _changed,
        Invariant.LOG: partial(_log_lost, ledger),
    }
    checks |= {invariant: partial(_violating, query) for invariant, query in QUERIES.items()}
    with database.translate_errors(ledger), ThreadPoolExecutor(AT_ONCE) as pool:
        database.open_read_only(ledger).close()  # what keeps it from being opened at all is raised
        found = dict(zip(checks, pool.map(partial(_found, ledger), checks.values()), strict=True))
    return [(invariant.value, found[invariant]) for invariant in Invariant]


def _log_lost(ledger: Path, connection: sqlite3.Connection) -> str:
    return "it is missing" if is_log_lost(ledger, connection) and not is_held(ledger) else ""


def _found(ledger: Path, check: Callable[[sqlite3.Connection], str]) -> str:
    """What a check finds, on a connection of its own."""
    try:
        with closing(database.open_read_only(ledger)) as connection:
            return check(connection)
    except (sqlite3.DatabaseError, ValueError, TypeError) as error:
        return f"cannot be checked: {error}"


def _violating(query: str, connection: sqlite3.Connection) -> str:
    return _named(connection.execute(query))


def _damage(connection: sqlite3.Connection) -> str:
    problems = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(10)")]
    return "" if problems == ["ok"] else "; ".join(problems)


def _changed(connection: sqlite3.Connection) -> str:
    try:
        require_fingerprint(Path(), connection)
    except LedgerError:
        return "a recipient or a text was changed"
    return ""


def _mistyped(connection: sqlite3.Connection) -> str:
    """Tables and rows with a value that this program would not have written."""
    found = []
    for table, conditions in _type_conditions().items():
        rows = _named(connection.execute(f"SELECT rowid FROM {table} WHERE {' OR '.join(conditions)}"))
        found += [f"{table} {rows}"] if rows else []
    return "; ".join(found)


def _type_conditions() -> dict[str, list[str]]:
    """By table: the conditions under which a column's value is not of the type that the schema declares."""
    conditions: dict[str, list[str]] = {}
    for declaration in TABLES.split("CREATE TABLE ")[1:]:
        table, _, body = declaration.partition(" (")
        columns = [line.split() for line in body.splitlines() if line.startswith("    ") and "(" not in line]
        conditions[table] = [
            f"typeof({name}) NOT IN ({_list(_STORED[kind] + (() if _is_required(rest) else ('null',)))})"
            for name, kind, *rest in ([word.strip(",") for word in column] for column in columns)
        ]
    return conditions


def _is_required(words: list[str]) -> bool:
    return "NOT" in words or "PRIMARY" in words


_STORED = {"TEXT": ("text",), "INTEGER": ("integer",), "REAL": ("real",)}


def _named(rows: Iterable[tuple[object, ...]]) -> str:
    first = [str(row[0]) for row, _ in zip(rows, range(SHOWN + 1), strict=False)]
    return ", ".join(first[:SHOWN]) + (" …" if len(first) > SHOWN else "")
