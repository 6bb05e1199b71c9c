"""Holdings: the blocks that this machine owns, and the messages of them that it has in hand.

Invariants: only what is in hand may be begun, and a message is in hand once; after the machine was fenced nothing is.
What the database says of its blocks goes before what memory knows: a block whose statement lost its answer is found.
"""

import asyncio
from collections import deque
from contextlib import suppress
from typing import Any, Protocol

from bulksms.ledger.postgresql import statements
from bulksms.ledger.postgresql.session import Connection, Session
from bulksms.model.message import Message, Reason, State

LEAST, MOST = 16, 1000
"""Messages of a block."""
POLL_INTERVAL = 0.5
"""Seconds between two looks for work that other machines give up, at most."""


class Owner(Protocol):
    """The machine, as far as it matters here."""

    @property
    def run(self) -> int:
        """Which run it is."""

    def takes_more(self) -> bool:
        """Whether anything is still to be begun."""

    def is_settled(self) -> bool:
        """Whether everything that it has begun is written down: what is not may be queued again."""

    def let_go(self) -> None:
        """It has no message to probe the server with."""


class Holdings:
    """What a machine has claimed."""

    def __init__(self, session: Session, owner: Owner, lease: float) -> None:
        self._session = session
        self._owner = owner
        self._interval = min(POLL_INTERVAL, lease / 8)
        self._in_hand: dict[int, Message] = {}
        self._fresh: deque[Message] = deque()
        self._again: deque[Message] = deque()
        self._processing: deque[Message] = deque()
        self._blocks: dict[int, int] = {}
        self._claiming = asyncio.Lock()
        self._changed = asyncio.Event()
        self._is_all_done = False

    def has(self, message: Message) -> bool:
        """Whether this very message is in hand: another one with its number is of an earlier membership."""
        return self._in_hand.get(message.number) is message

    def put_down(self, number: int) -> None:
        """The message is settled, or another machine or person has settled it."""
        self._in_hand.pop(number, None)
        if not self._in_hand:
            self.wake()

    def lose_all(self) -> None:
        """The machine was fenced: its blocks are others' now."""
        for held in (self._in_hand, self._fresh, self._again, self._processing, self._blocks):
            held.clear()
        self.wake()

    def wake(self) -> None:
        """Something has changed for those who wait for work."""
        self._changed.set()

    async def claim(self, state: State, limit: int, *, again: bool) -> list[Message]:
        """The next messages; none if there will never be one. Waits while other machines hold what is left."""
        if state is State.PROCESSING:
            return await self._claim_processing(limit)
        if state is not State.QUEUED:
            return []
        async with self._claiming:
            while self._owner.takes_more():
                ready = self._fresh or (self._again if again else None)
                if ready:
                    return [ready.popleft() for _ in range(min(limit, len(ready)))]
                if await self._session.run(self._take_block if again else self._take_fresh_block):
                    continue
                if not again or self._is_all_done:
                    break
                if not self._in_hand:
                    self._owner.let_go()
                await self._wait()
        return []

    async def _claim_processing(self, limit: int) -> list[Message]:
        """Operations that an earlier owner of a block has begun; they come with the blocks."""
        while not self._processing and not self._is_all_done and self._owner.takes_more():
            if not self._fresh and not self._again and not self._claiming.locked():
                async with self._claiming:
                    await self._session.run(self._take_block)
                if self._processing:
                    break
            await self._wait()
        return [self._processing.popleft() for _ in range(min(limit, len(self._processing)))]

    async def _wait(self) -> None:
        self._changed.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), self._interval)

    async def _take_fresh_block(self, connection: Connection) -> bool:
        """Whether a block was taken in which there may be messages that nobody has attempted."""
        return await self._take(connection, only_fresh=True)

    async def _take_block(self, connection: Connection) -> bool:
        """Whether there may be messages now that were not there before; if not, `_is_all_done` tells the rest."""
        if await self._take(connection, only_fresh=False) or await self._look_again(connection):
            return True
        if self._in_hand or not self._owner.is_settled():
            return False
        left = await connection.fetchrow(statements.REMAINING, self._owner.run)
        if left["blocks"] or left["is_cut_from"]:
            return False
        if left["messages"]:
            async with connection.transaction():
                await connection.execute("SELECT FROM control FOR UPDATE")
                await connection.execute(statements.ORPHANED, MOST)
            return False
        self._is_all_done = self._owner.is_settled()
        self.wake()
        return False

    async def _take(self, connection: Connection, *, only_fresh: bool) -> bool:
        run = self._owner.run
        for row in await connection.fetch(statements.FINISH, run):
            self._blocks.pop(row["first"], None)
        block = (
            await connection.fetchrow(statements.OWNED, run, list(self._blocks))
            or await connection.fetchrow(statements.CUT, run, LEAST, MOST)
            or await connection.fetchrow(statements.TAKE, run, only_fresh)
        )
        if block is None:
            return False
        rows = await connection.fetch(statements.ROWS, *block)
        if run == self._owner.run:
            self._blocks[block["first"]] = block["last"]
            self._receive(rows)
        return True

    async def _look_again(self, connection: Connection) -> bool:
        """Whether messages have come back into blocks of this machine: a fenced machine was late to say of them."""
        run = self._owner.run
        for block in list(self._blocks.items()):
            rows = [
                row for row in await connection.fetch(statements.ROWS, *block) if row["number"] not in self._in_hand
            ]
            if rows and run == self._owner.run:
                self._receive(rows)
                return True
        return False

    def _receive(self, rows: list[Any]) -> None:
        for row in rows:
            message = _message(row)
            if message.number in self._in_hand:
                continue
            self._in_hand[message.number] = message
            if row["state"] == State.PROCESSING:
                self._processing.append(message)
                self.wake()
            elif message.attempts:
                self._again.append(message)
            else:
                self._fresh.append(message)


def _message(row: Any) -> Message:  # noqa: ANN401 - asyncpg declares no types
    return Message(
        row["number"],
        row["input_row"],
        row["recipient"],
        row["text"],
        row["attempts"],
        row["tries"],
        None if row["doubt"] is None else Reason(row["doubt"]),
        bool(row["possible_duplicate"]),
        row["operation_id"],
    )
