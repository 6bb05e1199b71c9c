"""Poller: asks what became of the messages that the server took and is still working on.

Laws: one poller for all of them, so that slow operations never occupy a worker. A message stays `processing` in the
ledger, with its operation id, until the server has told; a run that ends before that leaves it to the next one. Whom
the server tells to wait waits, sends for polls and polls for sends.
"""

import asyncio
import heapq
import time
from collections.abc import Callable

import anyio

from bulksms.adaxes import Client, is_unauthenticated
from bulksms.attempt import Attempt
from bulksms.delivery.operation import Questions, decide_poll, pause_after
from bulksms.delivery.retry import Decision, Stop
from bulksms.engine.halt import Halt
from bulksms.engine.line import Line
from bulksms.engine.window import Window
from bulksms.message import Message

Settle = Callable[[Message, Attempt, Decision | None], None]
"""Told of every poll: what became of its message, None if that is not known yet."""


class _Watched:
    """One operation: when it was first seen here, and how often it was asked about."""

    __slots__ = ("message", "polls", "since")

    def __init__(self, message: Message, since: float) -> None:
        self.message = message
        self.since = since
        self.polls = 0


class Poller:
    """Watches operations until each is settled. `earlier` are those that an earlier run left."""

    def __init__(  # noqa: PLR0913 - whom it asks, whom it tells, and its bounds
        self,
        client: Client,
        earlier: Window,
        questions: Questions,
        *,
        line: Line,
        settle: Settle,
        halt: Halt,
        timeout: float,
        room: int,
    ) -> None:
        self._client = client
        self._earlier = earlier
        self._questions = questions
        self._line = line
        self._settle = settle
        self._halt = halt
        self._timeout = timeout
        self._room = room
        self._due: list[tuple[float, int, _Watched]] = []
        self._changed = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._needs_room = True
        self._no_more = False
        line.when_closed(self._send_home)

    def watch(self, message: Message, *, polls: int = 0) -> None:
        """Begin to ask about the operation of this message; one of an earlier run is asked about at once."""
        now = time.monotonic()
        first = now + (pause_after(0) if polls == 0 else 0.0)
        heapq.heappush(self._due, (first, message.number, _Watched(message, now)))
        self._look()

    @property
    def has_room(self) -> bool:
        """Whether fewer operations are under way than may be."""
        return self._has_room.is_set()

    async def room(self) -> None:
        """Wait while as many operations are under way as may be, or until nobody needs room any more."""
        await self._has_room.wait()

    def no_more(self) -> None:
        """No message will be added: `run` ends when the last operation is settled."""
        self._no_more = True
        self._look()

    async def run(self) -> None:
        """Ask, until all are settled and no more can come."""
        async with anyio.create_task_group() as asking:
            await self._take_earlier()
            while self._due or self._questions.under_way or not self._no_more:
                self._changed.clear()
                pause = self._pause(time.monotonic())
                if pause is None or pause > 0:
                    await self._sleep(pause)
                else:
                    _, _, watched = heapq.heappop(self._due)
                    self._questions.asked()
                    asking.start_soon(self._ask, watched)
                await self._take_earlier()

    def _pause(self, now: float) -> float | None:
        """Seconds until the next question, None until something changes."""
        delay = self._questions.delay(now)
        if delay is None or not self._due:
            return None
        return max(delay, self._due[0][0] - now, self._line.held(now))

    async def _take_earlier(self) -> None:
        """Those of an earlier run come first, as many at a time as there is room for."""
        while self._has_place and (message := await self._earlier.next()) is not None:
            self.watch(message, polls=1)

    async def _ask(self, watched: _Watched) -> None:
        message = watched.message
        poll = await self._client.poll(message.operation_id or "")
        watched.polls += 1
        attempt = poll.attempt
        problem = await self._client.ready() if is_unauthenticated(attempt) else None
        if problem is not None and problem.final:
            self._halt(Stop.UNAUTHORIZED, problem.sentence, problem.hint)
        elif problem is not None:  # nobody was there to log in with: that is the answer
            attempt = problem.attempt
        now = time.monotonic()
        self._questions.answered(now, attempt)
        waited = now - watched.since
        decision = decide_poll(attempt, poll.completed, message, waited=waited, timeout=self._timeout)
        self._settle(message, attempt, decision)
        if decision is None:
            heapq.heappush(self._due, (now + pause_after(watched.polls), message.number, watched))
        if self._questions.is_over(now):
            self._halt(Stop.AWAY, attempt.error)
        self._look()

    async def _sleep(self, pause: float | None) -> None:
        try:
            async with asyncio.timeout(pause):
                await self._changed.wait()
        except TimeoutError:
            return

    @property
    def _has_place(self) -> bool:
        """Whether one more may be watched; those that are being asked about count as well."""
        return len(self._due) + self._questions.under_way < self._room

    def _send_home(self) -> None:
        """The run is stopping: nobody needs room any more."""
        self._needs_room = False
        self._look()

    def _look(self) -> None:
        self._changed.set()
        if self._has_place or not self._needs_room:
            self._has_room.set()
        else:
            self._has_room.clear()
