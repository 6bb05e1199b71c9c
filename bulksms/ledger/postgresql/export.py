"""Export: what a ledger in the database says at one moment, as a SQLite ledger that every command reads.

Invariants: what is left under the file's name is complete, on disk, and readable by its owner alone; it is marked as a
copy, from which nothing is sent; rows stream and are not held in memory; the database is read in one snapshot, beside
living machines.
"""

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from bulksms.ledger.name import LedgerUrl
from bulksms.ledger.postgresql.catalogue import IS_LIVING, blocking, connected_to
from bulksms.ledger.postgresql.schema import COLUMNS
from bulksms.ledger.sqlite import database

ROWS_AT_ONCE = 5_000
"""Enough that a round trip does not show, too few to be felt in memory."""


def export(url: LedgerUrl, file: Path) -> bool:
    """Write the ledger to this new file; whether a machine worked on it at that moment.

    Raises LedgerError if the database or the file cannot be used, and if there is such a file.
    """
    with database.translate_errors(file):
        target = database.create(file)
        try:
            with closing(target):
                is_living = blocking(_export(url, target))
                target.execute("UPDATE plan SET kept_in = ?", (str(url),))
                database.index(target)
            with file.open("rb+") as written:
                os.fsync(written.fileno())
        except BaseException:
            file.unlink()
            raise
    return is_living


async def _export(url: LedgerUrl, target: sqlite3.Connection) -> bool:
    async with connected_to(url) as source, source.transaction(isolation="repeatable_read", readonly=True):
        is_living = bool(await source.fetchval(IS_LIVING))
        target.execute("BEGIN")
        for table, columns in COLUMNS.items():
            if not table.startswith("message_"):
                await _copy(source, target, table, columns)
        await _copy(source, target, "message", (*COLUMNS["message_content"], *COLUMNS["message_state"][1:]))
        counters = await source.fetch("SELECT messages::bigint, name FROM tally")
        target.executemany("UPDATE tally SET messages = ? WHERE name = ?", counters)
        # A run in the database has no write-ahead log that could be missing.
        target.execute("UPDATE run SET log_seen = 1")
        target.execute("COMMIT")
    return is_living


async def _copy(source: Any, target: sqlite3.Connection, table: str, columns: Sequence[str]) -> None:  # noqa: ANN401 - asyncpg declares no types
    names = ", ".join(columns)
    order = " ORDER BY number" if table == "message" else ""
    # Names out of the schema, no value from outside.
    insert = f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608
    cursor = await source.cursor(f"SELECT {names} FROM {table}{order}")  # noqa: S608
    while rows := await cursor.fetch(ROWS_AT_ONCE):
        target.executemany(insert, rows)
