"""Session: one connection to a ledger in the database, made anew whenever it breaks.

Invariants: one use at a time. What may pass (a restart, a failover, a network that is down, a full disk) is waited for;
what does not pass by waiting (a missing right, a missing table) is raised at once.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Protocol, TypeVar

import asyncpg

from bulksms.ledger.name import DatabaseUrl
from bulksms.ledger.postgresql.catalogue import translated
from bulksms.system import SYSTEM

Answer = TypeVar("Answer")

FIRST_PAUSE = 0.05
LONGEST_PAUSE = 1.0
"""Seconds between two attempts to connect; they double."""
CLOSE_TIMEOUT = 1.0
WORK_TIMEOUT = 10.0
"""Seconds for a piece of work: a network that swallows the answers looks like a database that thinks."""
_LASTING = frozenset({"22", "23", "28", "3D", "3F", "42"})
"""Classes of SQLSTATE that trying again does not change: data, constraints, passwords, names, rights, syntax."""
_BROKEN = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)


class Connection(Protocol):
    """What is used of a connection of asyncpg, which declares no types."""

    async def execute(self, query: str, *values: object) -> str: ...

    async def executemany(self, command: str, args: object) -> None: ...

    async def fetch(self, query: str, *values: object) -> list[Any]: ...

    async def fetchrow(self, query: str, *values: object) -> Any: ...  # noqa: ANN401 - a row, or None

    async def fetchval(self, query: str, *values: object) -> Any: ...  # noqa: ANN401 - a value

    def transaction(self) -> AbstractAsyncContextManager[None]: ...

    def terminate(self) -> None: ...

    async def close(self, *, timeout: float | None = None) -> None: ...  # noqa: ASYNC109 - asyncpg's own


class Session:
    """Runs work on a connection, again and again for at most `patience` seconds after it first failed."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]], database: DatabaseUrl, patience: float) -> None:
        self._connect = connect
        self._database = database
        self._patience = patience
        self._connection: Connection | None = None
        self._using = asyncio.Lock()
        self.connected = 0
        """How many connections were made: what was observed over an earlier one says nothing any more."""
        self.away_since: float | None = None
        """Since when the database does not answer, as a moment of the monotonic clock; None if it does."""

    async def run(
        self,
        work: Callable[[Connection], Awaitable[Answer]],
        *,
        timeout: float | None = WORK_TIMEOUT,  # noqa: ASYNC109 - a try that takes longer is made again
    ) -> Answer:
        """Do it, all of it again after a failure that may pass, which a time-out is. Raises LedgerError."""
        failing_since: float | None = None
        pause = FIRST_PAUSE
        while True:
            try:
                async with self._using, asyncio.timeout(timeout):
                    answer = await self._once(work)
            except _BROKEN as error:
                now = SYSTEM.monotonic()
                failing_since = now if failing_since is None else failing_since
                self.away_since = failing_since if self.away_since is None else self.away_since
                if is_lasting(error) or now - failing_since > self._patience:
                    with translated(self._database):
                        raise
            else:
                self.away_since = None
                return answer
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE, pause * 2)

    async def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*_BROKEN):
                await connection.close(timeout=CLOSE_TIMEOUT)

    async def _once(self, work: Callable[[Connection], Awaitable[Answer]]) -> Answer:
        try:
            if self._connection is None:
                self._connection = await self._connect()
                self.connected += 1
            return await work(self._connection)
        except (*_BROKEN, asyncio.CancelledError):
            self._drop()
            raise

    def _drop(self) -> None:
        """Give a connection up of which nothing is known."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()


def is_lasting(error: BaseException) -> bool:
    """Whether it stays however often it is tried again."""
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "")[:2] in _LASTING
    return isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError)
