"""Line: where workers wait for their turn.

Laws: nobody leaves the line but by the traffic's word, first come, first served. Retries stand in a line of their own:
one that has to wait for its budget keeps nobody else back. Only whoever stands first asks, so that waiting costs the
same for any number of workers. When it is closed everybody goes home.
"""

import asyncio
import time
from collections.abc import Callable

import anyio

from bulksms.attempt import Attempt
from bulksms.delivery.retry import Decision
from bulksms.delivery.traffic import Notice, Traffic, Turn
from bulksms.engine.progress import Progress
from bulksms.message import Message, State


class Drained(Exception):
    """The run is stopping: nothing new begins."""


class Line:
    """The workers' side of the traffic: it decides, they wait here."""

    def __init__(self, traffic: Traffic, progress: Progress) -> None:
        self._traffic = traffic
        self._progress = progress
        progress.traffic = traffic
        self._first = (asyncio.Lock(), asyncio.Lock())
        self._standing = [0, 0]
        self._changed = asyncio.Event()
        self._closed = asyncio.Event()
        self._told_of_the_end: list[Callable[[], object]] = []

    @property
    def is_closed(self) -> bool:
        """Whether the run is stopping."""
        return self._closed.is_set()

    def when_closed(self, call: Callable[[], object]) -> None:
        """Somebody who waits elsewhere is to go home as well."""
        self._told_of_the_end.append(call)

    def close(self) -> None:
        """Send everybody home; nobody is let through any more."""
        self._closed.set()
        self._changed.set()
        for call in self._told_of_the_end:
            call()

    async def turn(self, *, again: bool) -> Turn:
        """Wait until a request may leave; `again` is a retry. Raises Drained when the run stops."""
        told: Turn | None = None
        if not self._standing[again] and not self._closed.is_set():
            told = self._traffic.ask(time.monotonic(), again=again)
            if told.go:  # nobody stands there, and there is nothing to wait for
                return told
        self._standing[again] += 1
        try:
            return await self._stand(told, again=again)
        finally:
            self._standing[again] -= 1

    async def _stand(self, told: Turn | None, *, again: bool) -> Turn:
        """Wait until everybody who came earlier has gone, then for the traffic's word; `told` is what it said last."""
        async with self._first[again]:
            while not self._closed.is_set():
                turn = told or self._traffic.ask(time.monotonic(), again=again)
                if turn.go:
                    return turn
                told = None
                await self._change(turn.wait)
        raise Drained

    async def proceed(self, turn: Turn) -> Turn:
        """Wait if everybody was told to wait since this turn was given. Raises Drained when the run stops meanwhile."""
        while not (now := self._traffic.proceed(time.monotonic(), turn)).go:
            await self._change(now.wait)
            if self._closed.is_set():
                raise Drained
        return now

    def held(self, now: float) -> float:
        """Seconds for which everybody was told to wait, 0 if nobody was."""
        return self._traffic.gate.held(now)

    def polled(self, attempt: Attempt, settled: State | None) -> list[Notice]:
        """A poll has ended, and has settled its message or not; what that changes for everybody."""
        now = time.monotonic()
        notices = self._traffic.asked_to_wait(now, attempt)
        if settled is not None:
            notices += self._traffic.settled(now, settled)
        self._progress.notice(notices)
        return notices

    async def pause(self, seconds: float) -> None:
        """Sleep for so many seconds. Raises Drained when the run stops before that."""
        with anyio.move_on_after(seconds):
            await self._closed.wait()
        if self._closed.is_set():
            raise Drained

    def answered(self, message: Message, attempt: Attempt, decision: Decision, turn: Turn) -> list[Notice]:
        """A request has ended; what that changes for everybody. Those who wait may ask again."""
        notices = self._traffic.answered(time.monotonic(), message.number, attempt, decision, turn)
        self._progress.notice(notices)
        self._changed.set()
        return notices

    async def _change(self, seconds: float | None) -> None:
        """Wait until something has changed, or for so many seconds."""
        self._changed.clear()
        if seconds is None:
            await self._changed.wait()
            return
        alarm = asyncio.get_running_loop().call_later(seconds, self._changed.set)
        try:
            await self._changed.wait()
        finally:
            alarm.cancel()
