"""Catalogue: the ledgers of a database. Each is a schema of its own; the schema `bulksms` has their names and starts.

Invariants: a ledger under its name is complete, because its schema, its rows and its name come in one transaction.
Tables of a newer version are refused; those of an older one are migrated, all of them or none, while no machine works
on the ledger.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NamedTuple, TypeVar

import asyncpg

from bulksms.errors import LedgerError, LedgerLockedError
from bulksms.ledger.name import DatabaseUrl, LedgerUrl
from bulksms.ledger.postgresql.schema import VERSION
from bulksms.ledger.records import LastStart

Answer = TypeVar("Answer")

CATALOGUE_VERSION = 1
"""The version of the catalogue's own tables."""
CONNECT_TIMEOUT = 10.0
"""Seconds for a connection."""

_EXISTS = "SELECT to_regclass('bulksms.catalogue') IS NOT NULL"
# Two that make the catalogue at once would meet each other's half-made tables.
_TABLES = f"""
SELECT pg_advisory_xact_lock(hashtext('bulksms.catalogue'));
CREATE SCHEMA IF NOT EXISTS bulksms;
CREATE TABLE IF NOT EXISTS bulksms.catalogue (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    version integer NOT NULL
);
INSERT INTO bulksms.catalogue (version) VALUES ({CATALOGUE_VERSION}) ON CONFLICT DO NOTHING;
CREATE TABLE IF NOT EXISTS bulksms.ledger (
    name text PRIMARY KEY,
    schema_name text NOT NULL UNIQUE,
    identity text NOT NULL UNIQUE,
    created_at text NOT NULL
);
CREATE TABLE IF NOT EXISTS bulksms.start (
    fingerprint text NOT NULL,
    url text NOT NULL,
    number integer NOT NULL,
    record text NOT NULL,
    PRIMARY KEY (fingerprint, url, number)
);
"""  # noqa: S608 - a constant

_LAST_START = """
SELECT number, record FROM bulksms.start WHERE fingerprint = $1 AND url = $2 ORDER BY number DESC LIMIT 1
"""
_NOTE_START = """
INSERT INTO bulksms.start (fingerprint, url, number, record) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING RETURNING number
"""
_NOW = "SELECT extract(epoch FROM clock_timestamp())::float8"

STEPS: Mapping[int, Sequence[str]] = {}
"""The statements that take a ledger's tables from a version to the next one."""

_NO_ANSWER = (
    "does not answer",
    "Look at host, port, firewall and certificates; `psql` with the same URL says the same.",
)
_SQLSTATES: Mapping[str, tuple[str, str]] = {
    "08": _NO_ANSWER,
    "28": (
        "does not let this user in",
        "Its password belongs into ~/.pgpass as host:port:database:user:password, its name into postgresql://USER@HOST/.",
    ),
    "3D": ("is not there", "An administrator of the server makes it: `createdb NAME`."),
    "53": ("has no room", "Make room on its server; nothing is in doubt."),
    "42501": ("does not allow this", "docs/how-to/postgresql.md has what has to be granted to each role."),
}
"""What a database does by this SQLSTATE, or by its class, and what to do about it."""

IS_LIVING = """
SELECT EXISTS (
    SELECT FROM machine, control
    WHERE NOT fenced AND beaten_at > clock_timestamp() - make_interval(secs => 2 * lease)
)
"""
"""Whether a machine works on the ledger, by the clock of the database: to be shown, and for what waits for idleness."""


class LedgerEntry(NamedTuple):
    """A ledger of the catalogue; `created_at` is ISO 8601 in UTC."""

    name: str
    schema: str
    identity: str
    created_at: str


async def connect(database: DatabaseUrl, schema: str | None = None, *, program: str = "bulksms") -> Any:  # noqa: ANN401 - asyncpg declares no types
    """A connection with this schema as its search path; `program` is what an administrator of the database sees.

    Raises what asyncpg raises, and LedgerError if the schema may not be used, or a pooler gives each transaction
    another connection.
    """
    connection = await asyncpg.connect(**database.connection(), timeout=CONNECT_TIMEOUT)
    try:
        await connection.execute("SELECT set_config('application_name', $1, false)", program)
        if schema is not None:
            await _enter(connection, database, schema)
    except BaseException:
        connection.terminate()
        raise
    return connection


@asynccontextmanager
async def connected(database: DatabaseUrl, schema: str | None = None) -> AsyncIterator[Any]:
    """A connection in a block. Raises LedgerError, in a person's words, for all that the database refuses."""
    with translated(database):
        connection = await connect(database, schema)
        try:
            yield connection
        finally:
            connection.terminate() if connection.is_closed() else await connection.close(timeout=CONNECT_TIMEOUT)


@asynccontextmanager
async def connected_to(url: LedgerUrl) -> AsyncIterator[Any]:
    """A connection to a ledger, migrated if that was needed. Raises LedgerError if there is none, or a newer one."""
    async with connected(url.database) as connection:
        entry = await require_entry(connection, url)
        await _enter(connection, url.database, entry.schema)
        await migrate(connection, url)
        yield connection


async def find(connection: Any, name: str) -> LedgerEntry | None:  # noqa: ANN401 - as above
    """The ledger of this name; None if there is none. Raises LedgerError for a newer catalogue."""
    if not await connection.fetchval(_EXISTS):
        return None
    await _require_version(connection)
    row = await connection.fetchrow(
        "SELECT name, schema_name, identity, created_at FROM bulksms.ledger WHERE name = $1", name
    )
    return None if row is None else LedgerEntry(*row)


async def require_entry(connection: Any, url: LedgerUrl) -> LedgerEntry:  # noqa: ANN401 - as above
    """The ledger of this name. Raises LedgerError if there is none."""
    entry = await find(connection, url.name)
    if entry is None:
        raise LedgerError(
            f"There is no ledger {url.name} in {url.database}.",
            hint=f"`bulksms history {url.database}` lists those there; `bulksms plan FILE --ledger {url}` makes one.",
        )
    return entry


async def entries(connection: Any) -> list[LedgerEntry]:  # noqa: ANN401 - as above
    """Every ledger of the database, the earliest first."""
    if not await connection.fetchval(_EXISTS):
        return []
    await _require_version(connection)
    rows = await connection.fetch(
        "SELECT name, schema_name, identity, created_at FROM bulksms.ledger ORDER BY created_at, name"
    )
    return [LedgerEntry(*row) for row in rows]


async def create(connection: Any) -> None:  # noqa: ANN401 - as above
    """Make the catalogue if there is none, inside the caller's transaction. Raises LedgerError for a newer one."""
    if not await connection.fetchval(_EXISTS):
        await connection.execute(_TABLES)
    await _require_version(connection)


async def migrate(connection: Any, url: LedgerUrl) -> None:  # noqa: ANN401 - as above
    """Take the tables of the search path's ledger to this version.

    Raises LedgerError for a newer version, or one that is not known, LedgerLockedError while a machine works on it.
    """
    if await connection.fetchval("SELECT schema_version FROM control") == VERSION:
        return
    async with connection.transaction():
        version = await connection.fetchval("SELECT schema_version FROM control FOR UPDATE")
        if version > VERSION:
            raise _newer(f"The ledger {url.name}")
        if version < VERSION and await connection.fetchval(IS_LIVING):
            raise LedgerLockedError(
                f"The ledger {url.name} is of an older version, and machines with that version work on it.",
                hint=f"Let them end, or `bulksms stop {url}`; then it is brought to this version.",
            )
        for step in range(version, VERSION):
            if step not in STEPS:
                raise LedgerError(
                    f"The ledger {url.name} is of version {step}, which this program does not know.",
                    hint="Its table `control` may have been changed by hand.",
                )
            for statement in STEPS[step]:
                await connection.execute(statement)
        await connection.execute("UPDATE control SET schema_version = $1", VERSION)


def list_ledgers(database: DatabaseUrl) -> list[LedgerUrl]:
    """Every ledger of the database, the earliest first. Raises LedgerError if it cannot be used."""

    async def ask() -> list[LedgerUrl]:
        async with connected(database) as connection:
            return [LedgerUrl(database, entry.name) for entry in await entries(connection)]

    return blocking(ask())


def last_start(database: DatabaseUrl, fingerprint: str, url: str) -> LastStart:
    """The last start of this plan to this URL. Raises LedgerError if the database cannot be used."""

    async def ask() -> LastStart:
        async with connected(database) as connection:
            is_there = await connection.fetchval(_EXISTS)
            row = await connection.fetchrow(_LAST_START, fingerprint, url) if is_there else None
            number, record = (0, None) if row is None else row
            return LastStart(number, record, await connection.fetchval(_NOW))

    return blocking(ask())


def note_start(database: DatabaseUrl, fingerprint: str, url: str, number: int, record: str) -> bool:
    """Note a start of this plan to this URL under its number; False if somebody else has taken that one."""

    async def note() -> bool:
        async with connected(database) as connection:
            values = fingerprint, url, number, record
            return await connection.fetchval(_NOTE_START, *values) is not None

    return blocking(note())


@contextmanager
def translated(database: DatabaseUrl) -> Iterator[None]:
    """Raise what the driver says of this database as LedgerError, in a person's words."""
    try:
        yield
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
        raise _in_words(database, error) from error


def blocking(work: Coroutine[Any, Any, Answer]) -> Answer:
    """The answer of this work to a caller that is not async, also where an event loop runs in its thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


async def _enter(connection: Any, database: DatabaseUrl, schema: str) -> None:  # noqa: ANN401 - as above
    """Make this schema the search path of the session. Raises LedgerError if it is none, or has no right to it."""
    await connection.execute("SELECT set_config('search_path', $1, false)", schema)
    if await connection.fetchval("SHOW search_path") != schema:
        raise LedgerError(
            f"A pooler before the database {database} shares connections between transactions.",
            hint="Connect to the server itself, or to a pool in session mode.",
        )
    if await connection.fetchval("SELECT current_schema()") is None:
        what, hint = _SQLSTATES["42501"]
        raise LedgerError(f"The database {database} {what}: the schema {schema} may not be used.", hint=hint)


async def _require_version(connection: Any) -> None:  # noqa: ANN401 - as above
    if await connection.fetchval("SELECT version FROM bulksms.catalogue") > CATALOGUE_VERSION:
        raise _newer("The catalogue of ledgers in this database")


def _newer(what: str) -> LedgerError:
    return LedgerError(
        f"{what} was written by a newer version of bulksms.",
        hint="Use that version or a later one: `pip install --upgrade adaxes-bulksms`.",
    )


def _in_words(database: DatabaseUrl, error: Exception) -> LedgerError:
    words = str(error).strip().rstrip(".") or type(error).__name__
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        what, hint = _SQLSTATES.get(state) or _SQLSTATES.get(state[:2], ("refused this", "Its log says more."))
    elif isinstance(error, asyncpg.ClientConfigurationError):
        what = "cannot be connected to"
        hint = "Its certificate is verified: name the file of the authority that signed it with PGSSLROOTCERT."
    else:
        what, hint = _NO_ANSWER
    return LedgerError(f"The database {database} {what}: {words}.", hint=hint)
