"""Window: the next messages of the plan, claimed from the ledger a few hundred at a time.

Laws: memory does not grow with the number of recipients. What stands in the window is still `queued` on disk. Whom an
earlier run has attempted comes after the others, so that a run which stopped does not stumble over the same rows again.
"""

import asyncio
from collections import deque
from collections.abc import Iterable

from bulksms.ledger.writer import LedgerWriter
from bulksms.message import Message, State


class Window:
    """Hands out the messages that are in one state, each once: those of each of the `turns` in the plan's order.

    In a turn that is True come those whom an earlier run has attempted, in one that is False the others.
    """

    def __init__(self, ledger: LedgerWriter, state: State, size: int, turns: Iterable[bool] = (False, True)) -> None:
        self._ledger = ledger
        self._state = state
        self._size = size
        self._turns = deque(turns)
        self._messages: deque[Message] = deque()
        self._last = 0
        self._coming: asyncio.Future[list[Message]] | None = None

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
        if self._coming is None and self._turns:
            self._coming = self._ledger.claim(self._state, self._last, self._size, again=self._turns[0])

    def _take(self) -> None:
        if self._coming is None or not self._coming.done():
            return
        rows, self._coming = self._coming.result(), None
        self._messages.extend(rows)
        if len(rows) < self._size:
            self._turns.popleft()
            self._last = 0
        else:
            self._last = rows[-1].number
