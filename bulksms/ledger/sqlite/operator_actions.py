"""Operator actions: what a person decided about messages that a run had settled, the history of it, and the purge.

Invariants: a decision and its line in the history are one transaction, all of it or nothing. A person moves messages
only as the state table allows; how many times they may have been sent is never forgotten by it. After a purge no byte
of the ledger's files names a person, a text, or the server's words; nor can anybody be sent anything from it.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from bulksms.errors import LedgerError, PlanError
from bulksms.ledger.contract import unfinished_error
from bulksms.ledger.records import Action, AuditEntry, Author, Recovery, Retry, Transition
from bulksms.ledger.selection import Selection
from bulksms.ledger.sqlite import batch, database, remote_control
from bulksms.ledger.sqlite.schema import timestamp
from bulksms.model.message import RETRYABLE, UNFINISHED, Reason, State
from bulksms.system import SYSTEM, System

SHOWN = 10
"""Rows that a refusal names."""


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


def queue_again(connection: sqlite3.Connection, retry: Retry, now: float) -> None:
    """Queue the messages again, inside the caller's transaction. Raises PlanError if they are not as many as counted.

    `attempts` and `doubt` stay: a person who may have been sent the message is reported as a possible duplicate.
    `tries` begins afresh, and with it `--max-attempts`. `now` is a POSIX time.
    """
    decision = note(connection, Action.RETRY, retry.author, now)
    condition = retried_by(connection, retry.selection, retry.numbers)
    found = connection.execute(f"{_QUEUE_AGAIN} WHERE {condition}", (decision,)).rowcount
    if found != retry.expected:
        raise PlanError(
            f"The ledger has changed since you were asked: {found:,} messages are to be sent again, "
            f"not {retry.expected:,}. Nothing was sent.",
            hint="Look at it again with `bulksms status`, and repeat.",
        )
    connection.execute(_QUEUED, (decision,))
    _count(connection, decision)
    connection.execute("UPDATE plan SET deadline = ?", (retry.deadline,))
    connection.execute("DROP TABLE IF EXISTS temp.chosen")


def resolve(path: Path, outcomes: Mapping[int, State], author: Author, system: System = SYSTEM) -> None:
    """Settle unknown messages by hand: what became of each, by its number. All of them, or none.

    Raises:
        PlanError: some of them are not `unknown`.
        LedgerLockedError: a run is working on the ledger.
        LedgerError: it cannot be used.

    """
    recovery = Recovery(State.UNKNOWN, max_attempts=0)
    holder = f"{author.user} on {author.host}, resolving"
    with database.exclusive(path, recovery, holder, system) as connection, database.transaction(connection):
        _choose(connection, outcomes.items())
        _require_unknown(path, connection)
        decision = note(connection, Action.RESOLVE, author, system.now())
        connection.execute(_RESOLVE, (decision, Reason.RESOLVED_BY_HAND))
        connection.execute(_RESOLVED, (decision, decision))
        _count(connection, decision)


def approve(path: Path, author: Author, system: System = SYSTEM) -> None:
    """Write down that somebody approves the plan. Raises LedgerLockedError, LedgerError."""
    recovery = Recovery(State.UNKNOWN, max_attempts=0)
    holder = f"{author.user} on {author.host}, approving"
    with database.exclusive(path, recovery, holder, system) as connection, database.transaction(connection):
        note(connection, Action.APPROVE, author, system.now())


def note(connection: sqlite3.Connection, what: Action, author: Author, now: float) -> int:
    """Write down that something was decided, now (a POSIX time); the decision's number."""
    (number,) = connection.execute("SELECT COALESCE(MAX(number), 0) + 1 FROM decision").fetchone()
    user, host, confirmed_by, words = author
    connection.execute(_NOTE, (number, what, timestamp(now), user, host, confirmed_by, words))
    return int(number)


def _count(connection: sqlite3.Connection, decision: int) -> None:
    """The counters follow what was moved."""
    changes = Counter[str]()
    for before, after, messages in connection.execute(_MOVED, (decision,)):
        changes[before] -= messages
        changes[after] += messages
    batch.update_counters(connection, changes)


def _choose(connection: sqlite3.Connection, chosen: Iterable[tuple[int, State]]) -> None:
    connection.execute("DROP TABLE IF EXISTS temp.chosen")
    connection.execute("CREATE TEMPORARY TABLE chosen (number INTEGER PRIMARY KEY, state TEXT NOT NULL)")
    connection.executemany("INSERT INTO chosen VALUES (?, ?)", chosen)


def retried_by(connection: sqlite3.Connection, selection: Selection, numbers: Sequence[int] | None) -> str:
    """The condition in SQL of what may be sent again of a selection: of the messages `numbers`, or of all."""
    parts = [
        f"state = '{state}'" if reason is None else f"(state = '{state}' AND reason = '{reason}')"
        for state, reason in sorted(selection.chosen, key=str)
        if state in RETRYABLE
    ]
    condition = f"({' OR '.join(parts) or '0'})"
    if numbers is None:
        return condition
    _choose(connection, ((number, State.QUEUED) for number in numbers))
    return f"{condition} AND number IN (SELECT number FROM temp.chosen)"  # noqa: S608 - states and reasons of this program


def _require_unknown(path: Path, connection: sqlite3.Connection) -> None:
    others = connection.execute(_NOT_UNKNOWN).fetchmany(SHOWN + 1)
    if not others:
        return
    named = ", ".join(f"{row} ({state})" for row, state in others[:SHOWN])
    raise PlanError(
        f"Only unknown messages can be resolved; these rows are not: {named}{' …' if len(others) > SHOWN else ''}. "
        "Nothing was changed.",
        hint=f"Leave them out; `bulksms report {path} --only unknown` names those that can be resolved.",
    )


_DECISIONS = """
SELECT number, what, decided_at, operating_system_user, host, confirmed_by, note FROM decision ORDER BY number
"""
_MOVES = """
SELECT decision, state_before, reason_before, state_after, COUNT(*) FROM decided
GROUP BY decision, state_before, reason_before, state_after ORDER BY 1, 2, 3, 4
"""


def read_audit(connection: sqlite3.Connection) -> list[AuditEntry]:
    """All decisions, the first one first."""
    moves: dict[int, list[Transition]] = {}
    for decision, before, reason, after, count in connection.execute(_MOVES):
        moves.setdefault(decision, []).append(Transition(State(before), reason, State(after), count))
    entries = []
    for number, what, decided_at, user, host, confirmed_by, note in connection.execute(_DECISIONS):
        datetime.fromisoformat(decided_at)  # damage shows here, and not in a report
        moved = tuple(moves.get(number, ()))
        entries.append(AuditEntry(number, what, decided_at, user, host, confirmed_by, note, moved))
    return entries


PATIENCE = 5_000
"""Milliseconds that somebody who reads the ledger is waited for."""

# The server's words, a person's note, and the names of columns can all hold somebody's name.
_REMOVALS = (
    """
    UPDATE message SET recipient = '', recipient_key = '', text = '', other_columns = '{}', error = NULL,
        warnings = NULL, object_dn = NULL
    """,
    "UPDATE attempt SET error = NULL",
    "UPDATE test_message SET recipient = '', text = '', error = NULL",
    "UPDATE decision SET note = NULL",
    "UPDATE plan SET columns = '[]'",
)


def purge(path: Path, author: Author, system: System = SYSTEM) -> None:
    """Remove them. Interrupted at any instant, it is done by doing it again.

    Raises:
        PlanError: something is still to be sent or to be asked about.
        LedgerLockedError: a run is working on it.
        LedgerError: it cannot be used, or somebody is reading it, so that old pages have to stay.

    """
    recovery = Recovery(State.UNKNOWN, max_attempts=0)
    holder = f"{author.user} on {author.host}, purging"
    with database.exclusive(path, recovery, holder, system, takes_copy=True) as connection:
        _require_finished(path, connection)
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute(f"PRAGMA busy_timeout = {PATIENCE}")
        with database.transaction(connection):
            for removal in _REMOVALS:
                connection.execute(removal)
            _forget_test_recipients(connection)
            connection.execute("UPDATE plan SET purged_at = COALESCE(purged_at, ?)", (timestamp(system.now()),))
        remote_control.remove_status(path)  # the last status of a dead run has the server's words
        connection.execute("VACUUM")
        _require_old_pages_gone(path, connection)
        with database.transaction(connection):
            note(connection, Action.PURGE, author, system.now())


def _require_finished(path: Path, connection: sqlite3.Connection) -> None:
    (kept_in,) = connection.execute("SELECT kept_in FROM plan").fetchone()
    if kept_in is not None:  # of a copy nothing is sent in any case
        return
    tally = dict(connection.execute("SELECT name, messages FROM tally"))
    if unfinished := sum(tally[state] for state in UNFINISHED):
        raise unfinished_error(path, unfinished)


def _forget_test_recipients(connection: sqlite3.Connection) -> None:
    """`--test-to` names a person; the account that sent, and who confirmed, stay."""
    for number, settings in connection.execute("SELECT number, settings FROM run").fetchall():
        kept = {name: value for name, value in json.loads(settings).items() if name != "test_to"}
        connection.execute("UPDATE run SET settings = ? WHERE number = ?", (json.dumps(kept), number))


def _require_old_pages_gone(path: Path, connection: sqlite3.Connection) -> None:
    """What a reader still looks at cannot be overwritten."""
    (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise LedgerError(
            f"Somebody is reading {path.name}, so what was removed is still in its file.",
            hint="Repeat the purge when they have ended.",
        )
