"""StopSignal: the one way in which a run is stopped, whatever the reason; and the clocks that stop it.

Invariants: of several reasons the first one counts. Once it is set nothing new begins, and every wait that goes by it
ends. The deadline and the end of the sending hours go by the wall clock, which somebody may set at any moment: both
read it every second, and nothing else in a run goes by it.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import anyio

from bulksms.adaxes import LoginFailure
from bulksms.errors import LedgerError
from bulksms.ledger import LedgerWriter
from bulksms.log import log
from bulksms.model.run_settings import Deadline, SendingHours, StopReason
from bulksms.system import System


class Stopping(Exception):
    """The run is stopping: nothing new begins."""


class StopSignal:
    """Why a run stops, and who has to know."""

    def __init__(self) -> None:
        self.is_set = False
        """Whether the run is stopping."""
        self.reason: StopReason | None = None
        self.why: str | None = None
        """What stopped the run, in the words of the server or of the part that reported it."""
        self.hint: str | None = None
        """What to do about it, where that is known."""
        self.error: LedgerError | None = None
        self._event = asyncio.Event()
        self._listeners: list[Callable[[StopReason], object]] = []

    def set(self, reason: StopReason, why: str | None = None, hint: str | None = None) -> None:
        """Stop the run. A further reason changes nothing, but the listeners get it too."""
        if not self.is_set:
            self.is_set = True
            self.reason, self.why, self.hint = reason, why, hint
            log.info("run stopping", reason=reason.value)
            self._event.set()
        for listener in self._listeners:
            listener(reason)

    def set_for_login(self, failure: LoginFailure) -> None:
        """Stop the run because there is no usable token."""
        reason = StopReason.UNAUTHORIZED if failure.final else StopReason.SERVER_UNAVAILABLE
        self.set(reason, failure.sentence, failure.hint)

    def set_for_ledger(self, error: LedgerError) -> None:
        """Stop the run because its ledger failed; of several errors the first one is kept."""
        self.error = self.error or error
        self.set(StopReason.LEDGER_ERROR)

    def on_stop(self, listener: Callable[[StopReason], object]) -> None:
        """Call `listener` with every reason to stop, also with those that come after the first."""
        self._listeners.append(listener)

    async def sleep(self, seconds: float) -> None:
        """Wait for so many seconds. Raises Stopping if the run stops before that."""
        with anyio.move_on_after(seconds):
            await self._event.wait()
        if self.is_set:
            raise Stopping


CHECK_INTERVAL = 1.0
"""Seconds between two looks at the clock."""


class DeadlineTimer:
    """Knows when the deadline passes, by the ledger's time; the first request turns a duration into a moment."""

    def __init__(self, deadline: Deadline, ledger: LedgerWriter) -> None:
        self._deadline = deadline
        self._ledger = ledger
        self._now = ledger.now
        self.is_pending = deadline.at is None and deadline.after is not None
        """Whether the first request has still to turn a duration into a moment."""

    @property
    def at(self) -> float | None:
        """When nothing new begins any more (POSIX seconds); None if there is no such moment, or not yet."""
        return self._deadline.at

    async def on_first_request(self) -> None:
        """A request is about to leave: from now on a duration is a moment, which the ledger keeps."""
        if self.is_pending:
            self.is_pending = False
            begun = self._deadline.begun(self._now())
            self._deadline = Deadline(at=await self._ledger.keep_deadline(begun.at or 0.0))

    async def wait(self) -> None:
        """Wait until it has passed; for ever if there is none."""
        if self._deadline.at is None and not self.is_pending:
            await anyio.sleep_forever()
        while (remaining := self._deadline.remaining(self._now())) != 0.0:  # noqa: ASYNC110 - no event tells of a clock
            await anyio.sleep(CHECK_INTERVAL if remaining is None else min(CHECK_INTERVAL, remaining))


class ClosingTimer:
    """Knows when the sending hours that hold at the start of the run end; never, if there are none."""

    def __init__(self, hours: str | None, system: System) -> None:
        self._now = system.now
        self._closes: float | None = None
        if hours is not None:
            now = system.local(datetime.fromtimestamp(system.now(), UTC))
            closes = SendingHours.parse(hours).closing(now, system.local)
            self._closes = 0.0 if closes is None else closes.timestamp()

    @property
    def has_closed(self) -> bool:
        """Whether the hours are over, or have not begun."""
        return self._closes is not None and self._now() >= self._closes

    async def wait(self) -> None:
        """Wait until they are over."""
        while not self.has_closed:
            left = CHECK_INTERVAL if self._closes is None else self._closes - self._now()
            await anyio.sleep(min(CHECK_INTERVAL, max(0.0, left)))


async def wait_for_change(changed: asyncio.Event, seconds: float | None) -> None:
    """Wait until the event is set, which it is after so many seconds at the latest; None is without a limit."""
    if seconds is None:
        await changed.wait()
        return
    # asyncio's timer and not a cancel scope: this is the hot path of a run that is limited by its rate.
    alarm = asyncio.get_running_loop().call_later(seconds, changed.set)
    try:
        await changed.wait()
    finally:
        alarm.cancel()
