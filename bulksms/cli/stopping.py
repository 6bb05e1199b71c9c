"""Stopping: how a person ends a run, by a signal or from another shell.

Law: the first time the run drains, the second time it breaks off what is in flight; either way every row is written
down. No signal is needed: `bulksms stop` and `cancel` work on every platform.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from bulksms.cli import say
from bulksms.engine.run import Run
from bulksms.ledger import control
from bulksms.ledger.control import Wish

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name))
"""What asks a run to drain: Ctrl-C, TERM, the closed terminal (POSIX), Ctrl-Break (Windows)."""
LOOK_EVERY = 0.3
"""Seconds between two looks for a wish from another shell."""


@dataclass(slots=True)
class Stopping:
    """What came: signals in their order, and the wish of another shell."""

    run: Run
    signals: list[int] = field(default_factory=list)
    wish: Wish | None = None
    """What another shell asked for, if one did; a wish to cancel stands."""

    def signalled(self, number: int) -> None:
        """A signal, or a wish that does the same; too late for a run that is over."""
        if self.run.is_over:
            return
        self.signals.append(number)
        self.run.stop(now=len(self.signals) > 1)
        if len(self.signals) == 1:
            say("Stopping: nothing new begins, answers in flight are awaited. Once more breaks those off too.")

    def wished(self, wish: Wish) -> None:
        """A wish from another shell; it counts as TERM."""
        self.wish = Wish.CANCEL if self.cancelled else wish
        self.signalled(signal.SIGTERM)
        if wish is Wish.STOP_NOW:
            self.run.stop(now=True)

    @property
    def cancelled(self) -> bool:
        """Whether what is queued is to be withdrawn."""
        return self.wish is Wish.CANCEL

    @property
    def said(self) -> str | None:
        """Who stopped the run, if it was another shell."""
        if self.wish is None:
            return None
        return "`bulksms cancel` withdrew what was queued" if self.cancelled else "by `bulksms stop`"

    @property
    def by_interrupt(self) -> bool:
        """Whether it was Ctrl-C that ended the run."""
        return not self.signals or self.signals[0] == signal.SIGINT


@asynccontextmanager
async def stopping(run: Run, ledger: Path) -> AsyncIterator[Stopping]:
    """Listen for signals and wishes while the block lives."""
    listening = Stopping(run)
    await asyncio.to_thread(control.forget, ledger)
    looking = asyncio.create_task(_look(listening, ledger))
    try:
        with _signals(listening):
            yield listening
    finally:
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking
        await asyncio.to_thread(control.forget, ledger)


async def _look(listening: Stopping, ledger: Path) -> None:
    while True:
        await asyncio.sleep(LOOK_EVERY)
        wish = await asyncio.to_thread(control.wished, ledger)
        if wish is not None:
            listening.wished(wish)
            await asyncio.to_thread(control.forget, ledger)


@contextmanager
def _signals(listening: Stopping) -> Iterator[None]:
    """Plain handlers, because they are what every platform has; the loop is told from them in its own thread.

    A signal that was to be ignored when the program began stays ignored: `nohup` outlives its terminal.
    """
    loop = asyncio.get_running_loop()

    def handle(number: int, _: object) -> None:
        loop.call_soon_threadsafe(listening.signalled, number)

    heeded = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    earlier = {number: signal.signal(number, handle) for number in heeded}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
