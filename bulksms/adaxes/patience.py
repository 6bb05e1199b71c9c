"""Patience: ends the exchanges that take longer than there is time for.

Law: one timer for all of them. They have the same time each, so they are waited for in the order in which they began,
and what it costs to be one of many is to be put into a dictionary and taken out again.
"""

import asyncio
from typing import Protocol


class Exchanging(Protocol):
    """Something that can be ended from outside."""

    def end(self) -> None:
        """Its time is over."""


class Patience:
    """So many seconds for each exchange. Its methods belong to the event loop's thread."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._ends: dict[Exchanging, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, exchange: Exchanging) -> float:
        """Its time begins now; the moment at which it is over, by the clock of the event loop."""
        loop = asyncio.get_running_loop()
        ends_at = self._ends[exchange] = loop.time() + self.seconds
        if self._timer is None:
            self._timer = loop.call_at(ends_at, self._look)
        return ends_at

    def done(self, exchange: Exchanging) -> None:
        """It has ended by itself, if it ever began."""
        self._ends.pop(exchange, None)

    def close(self) -> None:
        """Nobody is waited for any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        """End what is overdue, and look again when the next one would be."""
        loop = asyncio.get_running_loop()
        self._timer = None
        while self._ends:
            exchange, ends_at = next(iter(self._ends.items()))
            if ends_at > loop.time():
                self._timer = loop.call_at(ends_at, self._look)
                return
            del self._ends[exchange]
            exchange.end()
