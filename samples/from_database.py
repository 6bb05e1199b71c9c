"""Send texts from a database, and write the state of each message back to it."""

import asyncio
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import bulksms

DATABASE = Path("shifts.sqlite")
LEDGER = Path("shifts.ledger.db")
QUERY = (
    "SELECT person AS directoryObject, 'Your shift begins at ' || begins || '.' AS text, id FROM shift WHERE state = ''"
)


def rows() -> Iterator[dict[str, str]]:
    """The rows of the query, one by one: `plan` needs memory for none of them."""
    with closing(sqlite3.connect(DATABASE)) as connection:
        connection.row_factory = sqlite3.Row
        for row in connection.execute(QUERY):
            yield {column: str(row[column]) for column in row.keys()}  # noqa: SIM118 - a row iterates over its values


def plan() -> None:
    """Read and check everything before anything is sent; the ledger keeps the column `id` with each message."""
    if LEDGER.exists():
        return  # an earlier call has planned; what is left of it is sent
    preview = bulksms.plan(bulksms.InMemoryRows(rows(), name="shifts"), LEDGER)
    print(f"{preview.to_send} messages, {preview.segments} SMS segments")


def write_back() -> None:
    """Write the state of each message to the row that it came from."""
    with bulksms.open_ledger(LEDGER) as ledger, closing(sqlite3.connect(DATABASE)) as connection, connection:
        states = ((message.state, message.other_columns["id"]) for message in ledger.messages())
        connection.executemany("UPDATE shift SET state = ? WHERE id = ?", states)


async def main() -> None:
    """Plan, send, and write back."""
    await asyncio.to_thread(plan)
    endpoint = bulksms.Endpoint.at(os.environ["BULKSMS_URL"], bulksms.AccessToken(os.environ["BULKSMS_TOKEN"]))
    async with bulksms.open_run(LEDGER, endpoint, confirmed_by="the shift planner") as run:
        await run.work()
    await asyncio.to_thread(write_back)
    print(run.summary.equation())


asyncio.run(main())
