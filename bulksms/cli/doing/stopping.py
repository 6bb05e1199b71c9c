"""Stopping: how a person ends a run, by a signal or from another shell.

Law: the first time the run drains, the second time it breaks off what is in flight; either way every row is written
down. No signal is needed: `bulksms stop` and `cancel` work on every platform.
"""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from bulksms import OpenRun, Wish
from bulksms.cli import say

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name))
"""What asks a run to drain: Ctrl-C, TERM, the closed terminal (POSIX), Ctrl-Break (Windows)."""


_DRAINING = "Stopping: nothing new begins, answers in flight are awaited. Once more breaks those off too."
_NOW = "Stopping: nothing new begins, what is in flight is broken off."


@dataclass(slots=True)
class Stopping:
    """What came: signals in their order, and the wish of another shell, which counts as TERM."""

    signals: list[int] = field(default_factory=list)
    wish: Wish | None = None
    """What another shell asked for, if one did; a wish to cancel stands."""

    def wished(self, wish: Wish) -> None:
        """Another shell wants the run to stop."""
        self.wish = Wish.CANCEL if self.cancelled else wish
        self.came(signal.SIGTERM, now=wish is Wish.STOP_NOW)

    def came(self, number: int, *, now: bool = False) -> None:
        """Somebody wants the run to stop; said once."""
        self.signals.append(number)
        if len(self.signals) == 1:
            say(_NOW if now else _DRAINING)

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


@contextmanager
def heeding_signals(run: OpenRun, stopping: Stopping) -> Iterator[None]:
    """Plain handlers, because they are what every platform has; the loop is told from them in its own thread.

    A signal that was to be ignored when the program began stays ignored: `nohup` outlives its terminal. One that comes
    when the run is over is too late.
    """
    loop = asyncio.get_running_loop()

    def signalled(number: int) -> None:
        if run.is_over:
            return
        stopping.came(number)
        run.stop(now=len(stopping.signals) > 1)

    def handle(number: int, _: object) -> None:
        loop.call_soon_threadsafe(signalled, number)

    heeded = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    earlier = {number: signal.signal(number, handle) for number in heeded}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
