"""Poller: asks what became of the messages that the server took and is still working on.

Laws: one poller for all of them, so that slow operations never occupy a worker. A message stays `processing` in the
ledger, with its operation id, until the server has told; a run that ends before that leaves it to the next one.
"""

import asyncio
import heapq
import time
from collections.abc import Awaitable, Callable

from bulksms.adaxes import Client
from bulksms.attempt import Attempt
from bulksms.delivery.operation import decide_poll, pause_after
from bulksms.delivery.retry import Decision
from bulksms.engine.window import Window
from bulksms.message import Message

Settle = Callable[[Message, Attempt, Decision], Awaitable[None]]


class _Watched:
    """One operation: when it was first seen here, and how often it was asked about."""

    __slots__ = ("message", "polls", "since")

    def __init__(self, message: Message, since: float) -> None:
        self.message = message
        self.since = since
        self.polls = 0


class Poller:
    """Watches operations until each is settled. `earlier` are those that an earlier run left."""

    def __init__(self, client: Client, earlier: Window, settle: Settle, *, timeout: float, room: int) -> None:
        self._client = client
        self._earlier = earlier
        self._settle = settle
        self._timeout = timeout
        self._room = room
        self._due: list[tuple[float, int, _Watched]] = []
        self._asking = 0
        self._changed = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._needs_room = True
        self._no_more = False

    def watch(self, message: Message, *, polls: int = 0) -> None:
        """Begin to ask about the operation of this message; one of an earlier run is asked about at once."""
        now = time.monotonic()
        first = now + (pause_after(0) if polls == 0 else 0.0)
        heapq.heappush(self._due, (first, message.number, _Watched(message, now)))
        self._look()

    async def room(self) -> None:
        """Wait while as many operations are under way as may be, or until nobody needs room any more."""
        await self._has_room.wait()

    def needs_no_room(self) -> None:
        """The run is stopping: whoever waits for room goes home."""
        self._needs_room = False
        self._look()

    def no_more(self) -> None:
        """No message will be added: `run` ends when the last operation is settled."""
        self._no_more = True
        self._look()

    async def run(self) -> None:
        """Ask, until all are settled and no more can come."""
        await self._take_earlier()
        while self._due or not self._no_more:
            self._changed.clear()
            pause = self._due[0][0] - time.monotonic() if self._due else None
            if pause is None or pause > 0:
                await self._sleep(pause)
                continue
            _, _, watched = heapq.heappop(self._due)
            self._asking = 1
            await self._ask(watched)
            self._asking = 0
            await self._take_earlier()
            self._look()

    async def _take_earlier(self) -> None:
        """Those of an earlier run come first, as many at a time as there is room for."""
        while self._has_place and (message := await self._earlier.next()) is not None:
            self.watch(message, polls=1)

    async def _ask(self, watched: _Watched) -> None:
        message = watched.message
        poll = await self._client.poll(message.operation_id or "")
        watched.polls += 1
        waited = time.monotonic() - watched.since
        decision = decide_poll(poll.attempt, poll.completed, message, waited=waited, timeout=self._timeout)
        if decision is not None:
            await self._settle(message, poll.attempt, decision)
            if not decision.log_in:
                return
        again = time.monotonic() + pause_after(watched.polls)
        heapq.heappush(self._due, (again, message.number, watched))

    async def _sleep(self, pause: float | None) -> None:
        try:
            async with asyncio.timeout(pause):
                await self._changed.wait()
        except TimeoutError:
            return

    @property
    def _has_place(self) -> bool:
        """Whether one more may be watched; the one that is being asked about counts as well."""
        return len(self._due) + self._asking < self._room

    def _look(self) -> None:
        self._changed.set()
        if self._has_place or not self._needs_room:
            self._has_room.set()
        else:
            self._has_room.clear()
