"""The ledger's tables.

Law: portable SQL only, so that another database can take the same schema; what is SQLite's own stands in `file`.
"""

import time

from bulksms.message import State

APPLICATION_ID = 0x42534D53
"""`BSMS`: how `file(1)` and this program recognise a ledger (SQLite pragma `application_id`)."""

VERSION = 1
"""The version of these tables (SQLite pragma `user_version`)."""

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
    purged_at TEXT
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
    settled INTEGER
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
    may_have_sent_twice INTEGER NOT NULL DEFAULT 0,
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

MAY_HAVE_SENT_TWICE = "may_have_sent_twice"
TALLIES = (*(state.value for state in State), MAY_HAVE_SENT_TWICE)
"""The counters, kept in the same commit as what they count; so `status` never counts rows."""


def timestamp() -> str:
    """Now, as the ledger writes times for people: ISO 8601 in UTC, whole seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
