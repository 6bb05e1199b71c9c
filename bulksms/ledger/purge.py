"""Purge: names and texts removed from a ledger for good; states, reasons, counts and times stay.

Law: afterwards no byte of the ledger's files says who somebody is, what they were told, or what was said of them; nor
can anybody be sent anything from it.
"""

import json
import sqlite3
from pathlib import Path

from bulksms.errors import LedgerTrouble, PlanRefused
from bulksms.ledger import file, live
from bulksms.ledger.decisions import Author, What, note
from bulksms.ledger.schema import timestamp
from bulksms.message import UNFINISHED, State

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


def purge(path: Path, author: Author) -> None:
    """Remove them. Interrupted at any instant, it is done by doing it again.

    Raises:
        PlanRefused: something is still to be sent or to be asked about.
        LedgerLocked: a run is working on it.
        LedgerTrouble: it cannot be used, or somebody is reading it, so that old pages have to stay.

    """
    recovery = file.Recovery(State.UNKNOWN, max_attempts=0)
    with file.changing(path, recovery, f"{author.user} on {author.host}, purging") as connection:
        _require_finished(path, connection)
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute(f"PRAGMA busy_timeout = {PATIENCE}")
        with file.transaction(connection):
            for removal in _REMOVALS:
                connection.execute(removal)
            _forget_test_recipients(connection)
            connection.execute("UPDATE plan SET purged_at = COALESCE(purged_at, ?)", (timestamp(),))
        live.forget(path)  # what a dead run told last has the server's words
        connection.execute("VACUUM")
        _require_old_pages_gone(path, connection)
        with file.transaction(connection):
            note(connection, What.PURGE, author)


def _require_finished(path: Path, connection: sqlite3.Connection) -> None:
    tally = dict(connection.execute("SELECT name, messages FROM tally"))
    if unfinished := sum(tally[state] for state in UNFINISHED):
        raise unfinished_refused(path, unfinished)


def unfinished_refused(path: Path, unfinished: int) -> PlanRefused:
    """Why a ledger with something left is not purged."""
    return PlanRefused(
        f"{path.name} has {unfinished:,} messages that are not finished; without its text none can be sent.",
        hint=f"First `bulksms resume {path}`, or `bulksms cancel {path}` to withdraw them.",
    )


def _forget_test_recipients(connection: sqlite3.Connection) -> None:
    """`--test-to` names a person; the account that sent, and who confirmed, stay."""
    for number, settings in connection.execute("SELECT number, settings FROM run").fetchall():
        kept = {name: value for name, value in json.loads(settings).items() if name != "test_to"}
        connection.execute("UPDATE run SET settings = ? WHERE number = ?", (json.dumps(kept), number))


def _require_old_pages_gone(path: Path, connection: sqlite3.Connection) -> None:
    """What a reader still looks at cannot be overwritten."""
    (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise LedgerTrouble(
            f"Somebody is reading {path.name}, so what was removed is still in its file.",
            hint="Repeat the purge when they have ended.",
        )
