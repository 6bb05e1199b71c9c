"""Driver: who calls a writer's `step` each time that something was handed over, and at least every half second.

A thread in every run; steps of the event loop in a simulated world, in which threads have no place.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, TypeVar

Answer = TypeVar("Answer")

INTERVAL = 0.5
"""Seconds between two steps at most: a writer also looks whether its file is still in its place."""


class Driver(Protocol):
    """Its methods are called in the event loop's thread."""

    async def call(self, work: Callable[[], Answer]) -> Answer:
        """Run something that blocks."""

    def start(self, step: Callable[[], bool]) -> None:
        """Call `step` after each `wake`, and every INTERVAL seconds, never twice at once, until it returns False."""

    def wake(self) -> None:
        """Something was handed over."""

    async def join(self) -> None:
        """Wait until `step` has returned False."""


class WriterThread:
    """A thread of its own: no call of SQLite is made in the event loop's."""

    def __init__(self) -> None:
        self._awake = threading.Event()
        self._thread: threading.Thread | None = None
        self.wake = self._awake.set
        """Wake the thread."""

    async def call(self, work: Callable[[], Answer]) -> Answer:
        """In a thread of the pool."""
        return await asyncio.to_thread(work)

    def start(self, step: Callable[[], bool]) -> None:
        """Start the thread."""

        def run() -> None:
            goes_on = True
            while goes_on:
                self._awake.wait(INTERVAL)
                self._awake.clear()
                goes_on = step()

        self._thread = threading.Thread(target=run, name="ledger-writer", daemon=True)
        self._thread.start()

    async def join(self) -> None:
        """Wait for the end of the thread."""
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)


class LoopSteps:
    """Steps of the event loop, each after `pause()` seconds: how long a commit takes in a simulated world.

    Nothing happens there for `interval` seconds unless something was handed over.
    """

    def __init__(self, pause: Callable[[], float] = float, interval: float = INTERVAL) -> None:
        self._pause = pause
        self._interval = interval
        self._awake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def call(self, work: Callable[[], Answer]) -> Answer:
        """In place."""
        return work()

    def start(self, step: Callable[[], bool]) -> None:
        """Start the task."""
        self._task = asyncio.get_running_loop().create_task(self._run(step))

    def wake(self) -> None:
        """Wake the task."""
        self._awake.set()

    async def join(self) -> None:
        """Wait for the end of the task."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self, step: Callable[[], bool]) -> None:
        goes_on = True
        while goes_on:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._awake.wait(), self._interval)
            self._awake.clear()
            await asyncio.sleep(self._pause())
            goes_on = step()
