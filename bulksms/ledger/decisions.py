"""Decisions: what a person decided about messages that a run had settled, and the history of it.

Laws: a decision and its line in the history are one transaction, all of it or nothing. A person moves messages only as
the state table allows; how many times they may have been sent is never forgotten by it.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from bulksms.errors import PlanRefused
from bulksms.ledger import commit, file
from bulksms.ledger.schema import timestamp
from bulksms.ledger.selection import Selection
from bulksms.message import RETRYABLE, Reason, State

SHOWN = 10
"""Rows that a refusal names."""


class What(StrEnum):
    """What was decided."""

    RETRY = "retry"
    RESOLVE = "resolve"
    PURGE = "purge"


class Author(NamedTuple):
    """Who decides: operating-system user and host, how it was confirmed, and a note."""

    user: str
    host: str
    confirmed_by: str
    note: str | None = None


class Retry(NamedTuple):
    """Send these again: of the messages `numbers` (None is all of them) those that are selected.

    `expected` is how many of them were counted when the person said yes. `deadline` (POSIX seconds) takes the place of
    the plan's: what expired would expire at once again.
    """

    author: Author
    selection: Selection
    numbers: Sequence[int] | None
    expected: int
    deadline: float | None


_NOTE = """
INSERT INTO decision (number, what, decided_at, operating_system_user, host, confirmed_by, note)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_QUEUE_AGAIN = """
INSERT INTO decided
SELECT ?, number, state, reason, operation_id, 'queued', NULL FROM message
"""
_RESOLVE = """
INSERT INTO decided
SELECT ?, message.number, message.state, reason, operation_id, chosen.state, ?
FROM message JOIN chosen ON chosen.number = message.number
"""
_QUEUED = """
UPDATE message SET state = 'queued', reason = NULL, tries = 0, operation_id = NULL, finished_at = NULL
WHERE number IN (SELECT message FROM decided WHERE decision = ?)
"""
_RESOLVED = """
UPDATE message SET (state, reason) = (
    SELECT state_after, reason_after FROM decided WHERE decision = ? AND message = message.number
) WHERE number IN (SELECT message FROM decided WHERE decision = ?)
"""
_MOVED = "SELECT state_before, state_after, COUNT(*) FROM decided WHERE decision = ? GROUP BY state_before, state_after"
_NOT_UNKNOWN = """
SELECT input_row, message.state FROM message JOIN chosen ON chosen.number = message.number
WHERE message.state <> 'unknown' ORDER BY message.number
"""


def queue_again(connection: sqlite3.Connection, retry: Retry) -> None:
    """Queue the messages again, inside the caller's transaction. Raises PlanRefused if they are not as many as counted.

    `attempts` and `doubt` stay: whoever may have been sent to will be told of as possibly sent twice. `tries` begins
    afresh, and with it `--max-attempts`.
    """
    decision = note(connection, What.RETRY, retry.author)
    condition, values = _condition(retry.selection)
    if retry.numbers is not None:
        _choose(connection, ((number, State.QUEUED) for number in retry.numbers))
        condition += " AND number IN (SELECT number FROM chosen)"
    found = connection.execute(f"{_QUEUE_AGAIN} WHERE {condition}", (decision, *values)).rowcount
    if found != retry.expected:
        raise PlanRefused(
            f"The ledger has changed since you were asked: {found:,} messages are to be sent again, "
            f"not {retry.expected:,}. Nothing was sent.",
            hint="Look at it again with `bulksms status`, and repeat.",
        )
    connection.execute(_QUEUED, (decision,))
    _count(connection, decision)
    connection.execute("UPDATE plan SET deadline = ?", (retry.deadline,))
    connection.execute("DROP TABLE IF EXISTS chosen")


def resolve(path: Path, outcomes: Mapping[int, State], author: Author) -> None:
    """Settle unknown messages by hand: what became of each, by its number. All of them, or none.

    Raises:
        PlanRefused: some of them are not `unknown`.
        LedgerLocked: a run is working on the ledger.
        LedgerTrouble: it cannot be used.

    """
    recovery = file.Recovery(State.UNKNOWN, max_attempts=0)
    holder = f"{author.user} on {author.host}, resolving"
    with file.changing(path, recovery, holder) as connection, file.transaction(connection):
        _choose(connection, outcomes.items())
        _require_unknown(path, connection)
        decision = note(connection, What.RESOLVE, author)
        connection.execute(_RESOLVE, (decision, Reason.RESOLVED_BY_HAND))
        connection.execute(_RESOLVED, (decision, decision))
        _count(connection, decision)


def note(connection: sqlite3.Connection, what: What, author: Author) -> int:
    """Write down that something was decided; the decision's number."""
    (number,) = connection.execute("SELECT COALESCE(MAX(number), 0) + 1 FROM decision").fetchone()
    user, host, confirmed_by, words = author
    connection.execute(_NOTE, (number, what, timestamp(), user, host, confirmed_by, words))
    return int(number)


def _count(connection: sqlite3.Connection, decision: int) -> None:
    """The counters follow what was moved."""
    changes = Counter[str]()
    for before, after, messages in connection.execute(_MOVED, (decision,)):
        changes[before] -= messages
        changes[after] += messages
    commit.count(connection, changes)


def _choose(connection: sqlite3.Connection, chosen: Iterable[tuple[int, State]]) -> None:
    connection.execute("CREATE TEMPORARY TABLE chosen (number INTEGER PRIMARY KEY, state TEXT NOT NULL)")
    connection.executemany("INSERT INTO chosen VALUES (?, ?)", chosen)


def _condition(selection: Selection) -> tuple[str, list[str]]:
    """What may be sent again of a selection."""
    parts, values = [], list[str]()
    for state, reason in sorted(selection.chosen, key=str):
        if state in RETRYABLE:
            parts.append("state = ?" if reason is None else "(state = ? AND reason = ?)")
            values += (state,) if reason is None else (state, reason)
    return f"({' OR '.join(parts) or '0'})", values


def _require_unknown(path: Path, connection: sqlite3.Connection) -> None:
    others = connection.execute(_NOT_UNKNOWN).fetchmany(SHOWN + 1)
    if not others:
        return
    named = ", ".join(f"{row} ({state})" for row, state in others[:SHOWN])
    raise PlanRefused(
        f"Only unknown messages can be resolved; these rows are not: {named}{' …' if len(others) > SHOWN else ''}. "
        "Nothing was changed.",
        hint=f"Leave them out; `bulksms report {path} --only unknown` names those that can be resolved.",
    )
