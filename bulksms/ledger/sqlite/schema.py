"""The ledger's tables, and how those of an older version become those of this one while no run lives.

Invariants: the tables are portable SQL only, so that another database can take them; SQLite's own is in `database`.
A migration is all of it or nothing.
"""

import sqlite3
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bulksms.errors import LedgerError
from bulksms.model.message import State

APPLICATION_ID = 0x42534D53
"""`BSMS`: how `file(1)` and this program recognise a ledger (SQLite pragma `application_id`)."""

VERSION = 3
"""The version of these tables (SQLite pragma `user_version`); `migration` takes an older one to it."""

TABLES = """
CREATE TABLE plan (
    created_at TEXT NOT NULL,
    version TEXT NOT NULL,
    input TEXT NOT NULL,
    columns TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    identity TEXT NOT NULL,
    summary TEXT NOT NULL,
    settings TEXT NOT NULL,
    url TEXT,
    deadline REAL,
    purged_at TEXT,
    kept_in TEXT,
    moving_to TEXT
);

CREATE TABLE run (
    number INTEGER PRIMARY KEY,
    started_at TEXT NOT NULL,
    ended_at TEXT,
    url TEXT NOT NULL,
    version TEXT NOT NULL,
    operating_system_user TEXT NOT NULL,
    host TEXT NOT NULL,
    process INTEGER NOT NULL,
    settings TEXT NOT NULL,
    confirmed_by TEXT NOT NULL,
    stopped TEXT,
    elapsed_seconds REAL,
    settled INTEGER,
    log_seen INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE message (
    number INTEGER PRIMARY KEY,
    input_row INTEGER NOT NULL,
    recipient TEXT NOT NULL,
    recipient_key TEXT NOT NULL,
    text TEXT NOT NULL,
    other_columns TEXT NOT NULL,
    encoding TEXT,
    segments INTEGER,
    state TEXT NOT NULL,
    reason TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    tries INTEGER NOT NULL DEFAULT 0,
    doubt TEXT,
    possible_duplicate INTEGER NOT NULL DEFAULT 0,
    http_status INTEGER,
    result_type INTEGER,
    error_code TEXT,
    error TEXT,
    warnings TEXT,
    object_dn TEXT,
    operation_id TEXT,
    began_at REAL,
    first_attempt_at REAL,
    finished_at REAL,
    latency_ms REAL
);

CREATE TABLE attempt (
    message INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    run INTEGER NOT NULL,
    began_at REAL NOT NULL,
    ended_at REAL,
    headers_sent INTEGER,
    http_status INTEGER,
    evidence TEXT NOT NULL,
    error TEXT,
    elapsed_ms REAL,
    PRIMARY KEY (message, attempt)
);

CREATE TABLE decision (
    number INTEGER PRIMARY KEY,
    what TEXT NOT NULL,
    decided_at TEXT NOT NULL,
    operating_system_user TEXT NOT NULL,
    host TEXT NOT NULL,
    confirmed_by TEXT NOT NULL,
    note TEXT
);

CREATE TABLE decided (
    decision INTEGER NOT NULL,
    message INTEGER NOT NULL,
    state_before TEXT NOT NULL,
    reason_before TEXT,
    operation_id_before TEXT,
    state_after TEXT NOT NULL,
    reason_after TEXT,
    PRIMARY KEY (decision, message)
);

CREATE TABLE test_message (
    run INTEGER NOT NULL,
    recipient TEXT NOT NULL,
    text TEXT NOT NULL,
    began_at REAL NOT NULL,
    ended_at REAL,
    http_status INTEGER,
    evidence TEXT,
    error TEXT
);

CREATE TABLE tally (
    name TEXT PRIMARY KEY,
    messages INTEGER NOT NULL
);
"""

INDEXES = """
CREATE INDEX message_recipient ON message (recipient_key);
CREATE INDEX message_state ON message (state, number);
"""
"""Made after the rows are in. `message_state` is what makes resuming a million rows instant."""

POSSIBLE_DUPLICATE = "possible_duplicate"
ATTEMPTS_MADE = "attempts"
TALLIES = (*(state.value for state in State), POSSIBLE_DUPLICATE, ATTEMPTS_MADE)
"""The counters, kept in the same commit as what they count; so `status` never counts rows."""


ATTEMPTS = f"SELECT messages FROM tally WHERE name = '{ATTEMPTS_MADE}'"  # noqa: S608 - a constant
"""How many attempts all runs have made."""
LAST_RUN = "SELECT number, ended_at IS NOT NULL, log_seen FROM run ORDER BY number DESC LIMIT 1"


def timestamp(moment: float) -> str:
    """A POSIX time as the ledger writes times for people: ISO 8601 in UTC, whole seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


STEPS: Mapping[int, Sequence[str]] = {
    1: (
        # A run of version 1 left no mark, so nothing can be read from its absence.
        "ALTER TABLE run ADD COLUMN log_seen INTEGER NOT NULL DEFAULT 1",
        "INSERT INTO tally SELECT 'attempts', COALESCE(SUM(attempts), 0) FROM message",
    ),
    2: ("ALTER TABLE plan ADD COLUMN kept_in TEXT", "ALTER TABLE plan ADD COLUMN moving_to TEXT"),
}
"""The statements that take a version to the next one."""


def version_of(ledger: Path, connection: sqlite3.Connection) -> int:
    """The version of its tables. Raises LedgerError if this program is too old for it."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise LedgerError(
            f"The ledger {ledger.name} was written by a newer version of bulksms.",
            hint="Use that version or a later one: `pip install --upgrade adaxes-bulksms`.",
        )
    return int(version)


def migrate(ledger: Path, connection: sqlite3.Connection) -> None:
    """Take it to this version, inside the caller's transaction. Raises LedgerError if it is of no known version."""
    for version in range(version_of(ledger, connection), VERSION):
        if version not in STEPS:
            raise LedgerError(
                f"The ledger {ledger.name} is of version {version}, which this program does not know.",
                hint="`bulksms verify` it: the file may be damaged.",
            )
        for statement in STEPS[version]:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {version + 1}")
