"""Publishing: a SQLite ledger, planned or begun, becomes a ledger in the database, all of it or nothing.

Invariants: one transaction has the tables, the rows and the name, so nobody ever sees half a ledger; rows stream from
the file to the server and are not held in memory.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from bulksms.errors import LedgerError, PlanError
from bulksms.ledger.name import LedgerUrl
from bulksms.ledger.postgresql.catalogue import blocking, connected, create, entries, find
from bulksms.ledger.postgresql.schema import COLUMNS, FIRST_ROWS, INDEXES, TABLES
from bulksms.ledger.records import Recovery
from bulksms.ledger.sqlite import database
from bulksms.model.message import State

_SOURCES = {
    "message_content": "message ORDER BY number",
    "message_state": f"message WHERE state <> '{State.QUEUED}' OR attempts > 0 OR finished_at > 0 ORDER BY number",
}
"""Tables whose rows are those of another one in the file."""
# Of a plan nearly all rows are so, and the server makes them itself in half the time.
_UNTOUCHED = """
INSERT INTO message_state (number) SELECT number FROM message_content
WHERE NOT EXISTS (SELECT FROM message_state WHERE message_state.number = message_content.number) ORDER BY number;
"""
_ALONE = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"
"""Held until the end of the transaction, so that one whose answer was lost is not taken for undone before it is."""
_FOREIGN = frozenset({"error", "error_code", "warnings", "object_dn", "operation_id"})
"""What servers say, which may contain a NUL: PostgreSQL keeps no text with one."""


def require_free(url: LedgerUrl) -> None:
    """Raises PlanError if the name is taken, LedgerError if the database cannot be used."""

    async def ask() -> None:
        async with connected(url.database) as connection:
            if await find(connection, url.name) is not None:
                raise _taken(url)

    blocking(ask())


def publish(file: Path, url: LedgerUrl) -> None:
    """Make the ledger of this file, which no run works on, the ledger of this name.

    Raises PlanError if the name, or the ledger's identity, is in the database already; LedgerError as `connected`.
    """
    location = f"{file.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(location, uri=True, check_same_thread=False)) as source:
        blocking(_publish(source, url))


def move(file: Path, url: LedgerUrl, recovery: Recovery, holder: str) -> None:
    """Make the ledger of this file, planned or begun, the ledger of this name; the file is a copy from then on.

    Invariant: at no moment, whatever breaks off, may both be worked on. Broken off, repeating it completes it.

    Raises:
        LedgerLockedError: a run works on the file.
        PlanError: the name or the ledger is in the database already, or the file is a copy or moves elsewhere.
        LedgerError: the file or the database cannot be used.

    """
    with database.exclusive(file, recovery, holder, takes_copy=True, gives_log_up=False) as connection:
        kept_in, moving_to, identity = connection.execute("SELECT kept_in, moving_to, identity FROM plan").fetchone()
        if kept_in is not None or moving_to not in (None, str(url)):
            raise PlanError(
                f"{file.name} is a copy, or is being moved: the ledger itself is kept in {kept_in or moving_to}.",
                hint=f"Go on with that one: `bulksms status '{kept_in or moving_to}'`.",
            )
        is_there = blocking(_name_of(url, identity)) == url.name
        connection.execute("UPDATE plan SET moving_to = ?", (str(url),))
        if not is_there:
            try:
                blocking(_publish(connection, url))
            except (PlanError, LedgerError):
                if blocking(_name_of(url, identity)) != url.name:
                    connection.execute("UPDATE plan SET moving_to = NULL")
                raise
        connection.execute("UPDATE plan SET moving_to = NULL, kept_in = ?", (str(url),))


async def _name_of(url: LedgerUrl, identity: str) -> str | None:
    """Under which name the database has the ledger with this identity; one that is being published is waited for."""
    async with connected(url.database) as connection, connection.transaction():
        await connection.execute(_ALONE, identity)
        return next((entry.name for entry in await entries(connection) if entry.identity == identity), None)


async def _publish(source: sqlite3.Connection, url: LedgerUrl) -> None:
    identity, created_at = source.execute("SELECT identity, created_at FROM plan").fetchone()
    schema = f"ledger_{identity}"
    async with connected(url.database) as connection:
        async with connection.transaction():
            await connection.execute(_ALONE, identity)
            await create(connection)
            await _register(connection, url, schema, identity, created_at)
            await connection.execute(f"CREATE SCHEMA {schema}")
            await connection.execute("SELECT set_config('search_path', $1, true)", schema)
            await connection.execute(TABLES)
            for table, columns in COLUMNS.items():
                await connection.copy_records_to_table(
                    table, schema_name=schema, columns=columns, records=_rows(source, table, columns)
                )
            await connection.execute(_UNTOUCHED + INDEXES + FIRST_ROWS)
        # What the planner knows of the tables decides how the first statements of every machine find their rows.
        await connection.execute(f"ANALYZE {schema}.message_content; ANALYZE {schema}.message_state")


async def _register(connection: Any, url: LedgerUrl, schema: str, identity: str, created_at: str) -> None:  # noqa: ANN401 - asyncpg declares no types
    """Take the name; another transaction that has taken it and is under way is waited for."""
    taken = await connection.fetchrow(
        "INSERT INTO bulksms.ledger (name, schema_name, identity, created_at) VALUES ($1, $2, $3, $4) "
        "ON CONFLICT DO NOTHING RETURNING name",
        url.name,
        schema,
        identity,
        created_at,
    )
    if taken is not None:
        return
    other = await connection.fetchval("SELECT name FROM bulksms.ledger WHERE identity = $1", identity)
    if other is None:
        raise _taken(url)
    raise PlanError(
        f"This ledger is in the database already, as {other}.",
        hint=f"Continue it there: `bulksms resume '{LedgerUrl(url.database, other)}'`.",
    )


def _rows(source: sqlite3.Connection, table: str, columns: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    chosen = ", ".join(f"replace({it}, char(0), char(65533))" if it in _FOREIGN else it for it in columns)
    # Names out of the schema, no value from outside.
    return source.execute(f"SELECT {chosen} FROM {_SOURCES.get(table, table)}")  # noqa: S608


def _taken(url: LedgerUrl) -> PlanError:
    return PlanError(
        f"There is a ledger {url.name} in {url.database} already, and none is ever overwritten.",
        hint=f"Continue it with `bulksms resume '{url}'`, or choose another name with --ledger.",
    )
