"""The tables of one ledger, made in a PostgreSQL schema of its own, and their version.

Invariant: a message has two rows. The one that never changes has the text; the one that does is narrow, so that an
update copies about a hundred bytes, in the same page (HOT). There is no index on `state`: a block tells where to look.
The views `message` and `tally` have the columns of the SQLite ledger.
"""

from collections.abc import Mapping

from bulksms.model.message import State

VERSION = 1
"""The version of these tables, kept in `control`; a ledger of a newer one is refused."""

LEASE = 15.0
"""Seconds for which a commit lets its machine go on; silent for half as long again, it is fenced."""

POSSIBLE_DUPLICATE = "possible_duplicate"
ATTEMPTS_MADE = "attempts"
TALLIES = (*(state.value for state in State), POSSIBLE_DUPLICATE, ATTEMPTS_MADE)
"""The counters, kept by each machine in its own row; the view `tally` adds them up."""

_COUNTERS = ",\n    ".join(f"{name} bigint NOT NULL DEFAULT 0" for name in TALLIES)
_SUMS = ", ".join(f"sum({name}) AS {name}" for name in TALLIES)
_PAIRS = ", ".join(f"('{name}', {name})" for name in TALLIES)

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "plan": (
        "created_at",
        "version",
        "input",
        "columns",
        "fingerprint",
        "identity",
        "summary",
        "settings",
        "url",
        "deadline",
        "purged_at",
    ),
    "run": (
        "number",
        "started_at",
        "ended_at",
        "url",
        "version",
        "operating_system_user",
        "host",
        "process",
        "settings",
        "confirmed_by",
        "stopped",
        "elapsed_seconds",
        "settled",
    ),
    "message_content": (
        "number",
        "input_row",
        "recipient",
        "recipient_key",
        "text",
        "other_columns",
        "encoding",
        "segments",
    ),
    "message_state": (
        "number",
        "state",
        "reason",
        "attempts",
        "tries",
        "doubt",
        "possible_duplicate",
        "http_status",
        "result_type",
        "error_code",
        "error",
        "warnings",
        "object_dn",
        "operation_id",
        "began_at",
        "first_attempt_at",
        "finished_at",
        "latency_ms",
    ),
    "attempt": (
        "message",
        "attempt",
        "run",
        "began_at",
        "ended_at",
        "headers_sent",
        "http_status",
        "evidence",
        "error",
        "elapsed_ms",
    ),
    "decision": ("number", "what", "decided_at", "operating_system_user", "host", "confirmed_by", "note"),
    "decided": (
        "decision",
        "message",
        "state_before",
        "reason_before",
        "operation_id_before",
        "state_after",
        "reason_after",
    ),
    "test_message": ("run", "recipient", "text", "began_at", "ended_at", "http_status", "evidence", "error"),
}
"""By table: the columns that a SQLite ledger has as well, by the same names; the two tables of a message share it."""

TABLES = f"""
CREATE TABLE plan (
    created_at text NOT NULL,
    version text NOT NULL,
    input text NOT NULL,
    columns text NOT NULL,
    fingerprint text NOT NULL,
    identity text NOT NULL,
    summary text NOT NULL,
    settings text NOT NULL,
    url text,
    deadline double precision,
    purged_at text
);

CREATE TABLE run (
    number integer PRIMARY KEY,
    started_at text NOT NULL,
    ended_at text,
    url text NOT NULL,
    version text NOT NULL,
    operating_system_user text NOT NULL,
    host text NOT NULL,
    process integer NOT NULL,
    settings text NOT NULL,
    confirmed_by text NOT NULL,
    stopped text,
    elapsed_seconds double precision,
    settled bigint
);

CREATE TABLE message_content (
    number bigint PRIMARY KEY,
    input_row bigint NOT NULL,
    recipient text NOT NULL,
    recipient_key text NOT NULL,
    text text NOT NULL,
    other_columns text NOT NULL,
    encoding text,
    segments integer
);

CREATE TABLE message_state (
    number bigint PRIMARY KEY,
    began_at double precision,
    first_attempt_at double precision,
    finished_at double precision,
    latency_ms double precision,
    attempts integer NOT NULL DEFAULT 0,
    tries integer NOT NULL DEFAULT 0,
    possible_duplicate smallint NOT NULL DEFAULT 0,
    http_status smallint,
    result_type smallint,
    state text NOT NULL DEFAULT '{State.QUEUED}',
    reason text,
    doubt text,
    error_code text,
    error text,
    warnings text,
    object_dn text,
    operation_id text
) WITH (fillfactor = 45, autovacuum_vacuum_scale_factor = 0.05);

CREATE TABLE attempt (
    message bigint NOT NULL,
    attempt integer NOT NULL,
    run integer NOT NULL,
    began_at double precision NOT NULL,
    ended_at double precision,
    headers_sent smallint,
    http_status smallint,
    evidence text NOT NULL,
    error text,
    elapsed_ms double precision,
    PRIMARY KEY (message, attempt)
);

CREATE TABLE decision (
    number integer PRIMARY KEY,
    what text NOT NULL,
    decided_at text NOT NULL,
    operating_system_user text NOT NULL,
    host text NOT NULL,
    confirmed_by text NOT NULL,
    note text
);

CREATE TABLE decided (
    decision integer NOT NULL,
    message bigint NOT NULL,
    state_before text NOT NULL,
    reason_before text,
    operation_id_before text,
    state_after text NOT NULL,
    reason_after text,
    PRIMARY KEY (decision, message)
);

CREATE TABLE test_message (
    run integer NOT NULL,
    recipient text NOT NULL,
    text text NOT NULL,
    began_at double precision NOT NULL,
    ended_at double precision,
    http_status smallint,
    evidence text,
    error text
);

-- One row a run: its fence, its heartbeat, the number of its last commit, its counters; run 0 counts what was planned.
CREATE TABLE machine (
    run integer PRIMARY KEY,
    serial bigint NOT NULL DEFAULT 0,
    fenced boolean NOT NULL DEFAULT false,
    has_left boolean NOT NULL DEFAULT false,
    heard bigint NOT NULL DEFAULT 0,
    beaten_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    status text,
    {_COUNTERS}
) WITH (fillfactor = 10);

-- What is wanted of all machines, and what they share; one row.
CREATE TABLE control (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    schema_version integer NOT NULL DEFAULT {VERSION},
    lease double precision NOT NULL DEFAULT {LEASE},
    command text NOT NULL DEFAULT 'run',
    reason text,
    commanded_by text,
    version bigint NOT NULL DEFAULT 0,
    timeline text NOT NULL DEFAULT left(pg_walfile_name(pg_current_wal_insert_lsn()), 8),
    held_until timestamptz,
    held_by integer,
    leader integer,
    is_led boolean NOT NULL DEFAULT false
) WITH (fillfactor = 10);

-- When the next request of any machine may leave; one row.
CREATE TABLE rate_limit (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    next_at timestamptz NOT NULL DEFAULT 'epoch'
) WITH (fillfactor = 10);

-- What no machine has cut a block from yet; one row.
CREATE TABLE remainder (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    cut_from bigint NOT NULL DEFAULT 1,
    next bigint NOT NULL DEFAULT 1,
    last bigint NOT NULL
);

-- Blocks that a machine owns, or that have none (run IS NULL); a finished one is deleted.
CREATE TABLE block (
    first bigint PRIMARY KEY,
    last bigint NOT NULL,
    run integer,
    round integer NOT NULL DEFAULT 0,
    is_fresh boolean NOT NULL DEFAULT true
);
CREATE INDEX block_run ON block (run);

CREATE VIEW message AS SELECT * FROM message_content JOIN message_state USING (number);

CREATE VIEW tally AS
SELECT name, messages FROM (SELECT {_SUMS} FROM machine) AS total, LATERAL (VALUES {_PAIRS}) AS pair (name, messages);
"""  # noqa: S608 - constants
"""Run with `search_path` set to the ledger's schema, in one transaction with the rows and `FIRST_ROWS`."""

FIRST_ROWS = f"""
INSERT INTO control DEFAULT VALUES;
INSERT INTO rate_limit DEFAULT VALUES;
INSERT INTO remainder (last) SELECT COALESCE(max(number), 0) FROM message_state;
INSERT INTO machine (run, fenced, has_left, {", ".join(TALLIES)})
SELECT 0, true, true, {", ".join(f"count(*) FILTER (WHERE state = '{state}')" for state in State)},
    COALESCE(sum(possible_duplicate), 0), COALESCE(sum(attempts), 0) FROM message_state;
"""  # noqa: S608 - constants
"""Run once the rows are in, of a new plan or of a ledger that was begun elsewhere.

The numbers of messages are consecutive from 1; what is not `queued` in a block is passed over.
"""

INDEXES = "CREATE INDEX message_recipient ON message_content (recipient_key);"
"""Made after the rows are in."""
