"""Opening: a machine starts a run on a ledger, or joins the one that a person has started.

Invariant: what is required of a run is checked in the transaction in which its machine joins, or just before.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

from bulksms.errors import PlanError
from bulksms.ledger.contract import LedgerReader
from bulksms.ledger.name import LedgerUrl
from bulksms.ledger.postgresql import catalogue, operator_actions
from bulksms.ledger.postgresql.catalogue import connected_to, require_entry
from bulksms.ledger.postgresql.membership import CHANNEL, join, patience_in, require_agreement
from bulksms.ledger.postgresql.reader import PostgresqlReader
from bulksms.ledger.postgresql.session import Connection, Session
from bulksms.ledger.postgresql.shared_run import STOPPING
from bulksms.ledger.postgresql.writer import PostgresqlWriter
from bulksms.ledger.records import Recovery, Retry, RunStart

_SETTINGS = """
SET synchronous_commit = on;
SET idle_in_transaction_session_timeout = '10s';
SET tcp_keepalives_idle = 5;
SET tcp_keepalives_interval = 2;
SET tcp_keepalives_count = 3;
"""
"""Of every connection of a machine: a commit is on disk, and a dead one lets go of its locks."""
_START = """
UPDATE control SET command = 'run', reason = NULL, commanded_by = NULL, version = version + 1,
    leader = CASE WHEN EXISTS (SELECT FROM machine WHERE NOT fenced) THEN leader END,
    is_led = is_led AND EXISTS (SELECT FROM machine WHERE NOT fenced)
"""

Check = Callable[[LedgerReader], None]


async def open_for_run(
    url: LedgerUrl, start: RunStart, recovery: Recovery, retry: Retry | None = None, check: Check | None = None
) -> PostgresqlWriter:
    """Start the run on this machine: whatever was commanded before is over, and other machines go on, too."""

    async def prepare(connection: Connection) -> None:
        await require_agreement(connection, start)
        if retry is not None:
            await operator_actions.require_nobody(connection, url)
            await operator_actions.queue_again(connection, retry)
        await connection.execute(_START)
        await connection.execute("SELECT pg_notify($1, '')", CHANNEL)

    return await _open(url, start, recovery, prepare, check, is_idle=retry is not None)


async def join_run(url: LedgerUrl, start: RunStart, recovery: Recovery, check: Check | None = None) -> PostgresqlWriter:
    """Work on the run that a person has started."""

    async def prepare(connection: Connection) -> None:
        command = await connection.fetchval("SELECT command FROM control")
        if not await connection.fetchval("SELECT EXISTS (SELECT FROM run)"):
            raise PlanError(
                f"Nobody has started {url.name} yet; nothing was sent.",
                hint=f"`bulksms send '{url}'` asks once for all machines, and works itself.",
            )
        if command in STOPPING:
            raise PlanError(
                f"{url.name} was stopped ({command}); nothing was sent.",
                hint=f"`bulksms resume '{url}'` starts it again for all machines.",
            )
        await require_agreement(connection, start)

    return await _open(url, start, recovery, prepare, check)


async def _open(  # noqa: PLR0913 - what both ways of opening hand on
    url: LedgerUrl,
    start: RunStart,
    recovery: Recovery,
    prepare: Callable[[Connection], Awaitable[None]],
    check: Check | None,
    *,
    is_idle: bool = False,
) -> PostgresqlWriter:
    """Join with what is to be done in the same transaction; `is_idle` if no other machine may work on it."""
    writer: PostgresqlWriter | None = None

    def announced(*_: object) -> None:
        if writer is not None:
            writer.announce()

    async with connected_to(url) as connection:
        schema = (await require_entry(connection, url)).schema

    async def connect() -> Connection:
        connection = await catalogue.connect(url.database, schema, program=f"bulksms {url.name}")
        await connection.execute(_SETTINGS)
        await connection.add_listener(CHANNEL, announced)
        return cast("Connection", connection)

    session = Session(connect, url.database, patience_in(start))
    try:
        if check is not None:
            await asyncio.to_thread(check, PostgresqlReader(url))
        if is_idle:
            await session.run(lambda connection: operator_actions.require_idle(connection, url, recovery), timeout=None)
        membership = await session.run(lambda connection: join(connection, url.name, start, prepare))
    except BaseException:
        await session.close()
        raise
    writer = PostgresqlWriter(url, session, membership, start, recovery)
    return writer
