"""Window: the next messages of the plan, claimed from the ledger a few hundred at a time.

Law: memory does not grow with the number of recipients. What stands in the window is still `queued` on disk.
"""

import asyncio
from collections import deque

from bulksms.ledger.writer import LedgerWriter
from bulksms.message import Message, State


class Window:
    """Hands out the messages that are in one state, in the plan's order, each once."""

    def __init__(self, ledger: LedgerWriter, state: State, size: int) -> None:
        self._ledger = ledger
        self._state = state
        self._size = size
        self._messages: deque[Message] = deque()
        self._last = 0
        self._coming: asyncio.Future[list[Message]] | None = None
        self._exhausted = False

    async def next(self) -> Message | None:
        """The next message, None when there is none left. Raises LedgerTrouble."""
        if len(self._messages) <= self._size // 2:
            self._order()
        while not self._messages:
            if self._coming is None:
                return None
            # Shielded: several workers wait for the same rows, and one of them may be cancelled.
            await asyncio.shield(self._coming)
            self._take()
            if not self._messages:
                self._order()
        return self._messages.popleft()

    def give_back(self, message: Message) -> None:
        """Put a message to the end of those held ready; it is still `queued` on disk."""
        self._messages.append(message)

    def _order(self) -> None:
        """Ask for more rows, unless they are coming already; taken over as soon as they are here."""
        if self._coming is not None and self._coming.done():
            self._take()
        if self._coming is None and not self._exhausted:
            self._coming = self._ledger.claim(self._state, self._last, self._size)

    def _take(self) -> None:
        if self._coming is None or not self._coming.done():
            return
        rows, self._coming = self._coming.result(), None
        self._exhausted = len(rows) < self._size
        if rows:
            self._last = rows[-1].number
            self._messages.extend(rows)
