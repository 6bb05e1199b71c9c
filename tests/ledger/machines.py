"""Machines on a ledger in the database: opened, taken for dead, cut off, and what the tables say."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, cast

from bulksms.ledger import LedgerUrl, OutcomeRecord, Recovery, Retry, RunStart
from bulksms.ledger.postgresql.catalogue import connected_to
from bulksms.ledger.postgresql.session import Connection
from bulksms.ledger.postgresql.store import PostgresqlLedger
from bulksms.ledger.postgresql.writer import PostgresqlWriter
from bulksms.model.attempt import Attempt, OperationResult, ResultType
from bulksms.model.message import Message, Reason, State
from tests.ledger.stores import published

LEASE = 0.6
"""Seconds: a machine that is silent for 0.9 is fenced."""
PATIENCE = 20.0
"""Seconds after which a test gives up waiting for what must come."""
START = RunStart("https://adaxes.example/restApi", "1.0", "anna", "server-1", 4711, "{}", "--yes")
UNKNOWN = Recovery(State.UNKNOWN, 5)
SUCCEEDED = Attempt(True, 200, result=OperationResult(ResultType.SUCCEEDED), began_at=100.0, elapsed=0.25)
STARTED = Attempt(True, 202, operation_id="42", began_at=100.0, elapsed=0.25)
LOST = Attempt(True, detail="no answer", began_at=100.0, elapsed=30.0)
ACCEPTED = OutcomeRecord(State.ACCEPTED, evidence="succeeded")
PROCESSING = OutcomeRecord(State.PROCESSING, evidence="started")
DOUBTFUL = OutcomeRecord(State.UNKNOWN, Reason.NO_ANSWER, Reason.NO_ANSWER, evidence="lost")
REJECTED = OutcomeRecord(State.FAILED, Reason.REJECTED, evidence="rejected")
NEVER_LEFT = OutcomeRecord(State.QUEUED, evidence="never_left")


class Cluster:
    """A ledger, and the machines that a test opens on it; at its end those that live are closed."""

    def __init__(self, url: LedgerUrl, closing: AsyncExitStack) -> None:
        self.url = url
        self.ledger = PostgresqlLedger(url)
        self._closing = closing

    async def open(self, recovery: Recovery = UNKNOWN, retry: Retry | None = None) -> PostgresqlWriter:
        """One more machine."""
        machine = await self.ledger.open_for_run(START, recovery, retry)
        self._closing.push_async_callback(machine.close)
        return machine

    async def join(self, start: RunStart = START) -> PostgresqlWriter:
        """One more machine, for a run that was started."""
        machine = await self.ledger.join_run(start, UNKNOWN)
        self._closing.push_async_callback(machine.close)
        return machine

    async def ask(self, query: str, *values: object) -> list[Any]:
        """What the tables say."""
        async with connected_to(self.url) as connection:
            rows: list[Any] = await connection.fetch(query, *values)
            return rows

    async def states(self) -> list[str]:
        """The state of every message, in the plan's order."""
        return [row[0] for row in await self.ask("SELECT state FROM message_state ORDER BY number")]

    async def until(self, query: str, *values: object) -> None:
        """Wait until the tables answer this question with yes."""
        async with asyncio.timeout(PATIENCE):
            while not (await self.ask(query, *values))[0][0]:  # noqa: ASYNC110 - no event tells of a table
                await asyncio.sleep(0.05)

    def violated(self) -> list[tuple[str, str]]:
        """The invariants that do not hold."""
        return [found for found in self.ledger.verify() if found[1]]


@asynccontextmanager
async def cluster(database: str, folder: Path, messages: int, lease: float = LEASE) -> AsyncIterator[Cluster]:
    """A planned ledger of so many messages."""
    async with AsyncExitStack() as closing:
        made = Cluster(published(database, folder, messages), closing)
        await made.ask("UPDATE control SET lease = $1", lease)
        yield made


async def begin(machine: PostgresqlWriter, message: Message) -> bool:
    """Whether an attempt for the message may be made."""
    message.attempts += 1
    message.tries += 1
    return await machine.record_intent(message, 100.0)


async def deliver(machine: PostgresqlWriter, messages: Sequence[Message]) -> None:
    """Send these messages; they are accepted."""
    for message in messages:
        assert await begin(machine, message)
        machine.record_outcome(message, SUCCEEDED, ACCEPTED)
    await machine.flush()


async def claim_all(machine: PostgresqlWriter) -> list[Message]:
    """What there is for this machine, until there is nothing any more."""
    found: list[Message] = []
    for again in (False, True):
        while messages := await machine.claim(State.QUEUED, 0, 1000, again=again):
            await deliver(machine, messages)
            found += messages
    return found


async def die(machine: PostgresqlWriter) -> None:
    """End a machine as SIGKILL does: it says nothing any more."""
    for task in (machine._writing, machine._observing):
        task.cancel()
    await asyncio.wait([machine._writing, machine._observing])
    machine._session._drop()


@asynccontextmanager
async def silent(machine: PostgresqlWriter) -> AsyncIterator[None]:
    """While the block lives, nothing of this machine reaches the database, nor comes back."""
    async with machine._session._using:
        yield


class Losing:
    """A connection whose next commit has no answer: it happened if `is_written`, otherwise it did not."""

    def __init__(self, connection: Connection, *, is_written: bool) -> None:
        self._connection = connection
        self._is_written = is_written
        self.lost = False

    async def fetchrow(self, query: str, *values: object) -> object:
        """Lose the answer."""
        if self._is_written:
            await self._connection.fetchrow(query, *values)
        self.lost = True
        raise ConnectionResetError

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)


def lose_one_answer(machine: PostgresqlWriter, *, is_written: bool) -> Losing:
    """Have the answer of the next commit of this machine get lost."""
    connection = machine._session._connection
    assert connection is not None
    losing = Losing(connection, is_written=is_written)
    machine._session._connection = cast("Connection", losing)
    return losing
