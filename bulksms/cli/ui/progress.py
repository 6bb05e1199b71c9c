"""Progress of a living run: drawn on a terminal, one plain line every ten seconds elsewhere, and the status file for
other shells.

Invariant: showing costs the run next to nothing, and nothing a message: it looks at counters a few times a second.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Protocol

from bulksms.cli.ui.console import info, say
from bulksms.cli.ui.live_display import REDRAW_EVERY, LiveDisplay, can_draw
from bulksms.cli.ui.status_view import Speed, StatusView, line, lines
from bulksms.engine.worker import RunCounters
from bulksms.ledger import Counts, LedgerName, RunStatus, ledger_at
from bulksms.model.message import State
from bulksms.model.run_settings import RunSettings
from bulksms.planning.estimate import FIRST_ANSWERS, SpeedMeter, during_run

LINE_EVERY = 10.0
"""Seconds between two plain lines."""
TELL_EVERY = 1.0
"""Seconds between two words for other shells."""


class LiveRun(Protocol):
    """What is shown of a run; `bulksms.engine.pool.WorkerPool` is one."""

    @property
    def counters(self) -> RunCounters: ...

    @property
    def is_asking(self) -> bool: ...

    def status(self, recent: float | None = None) -> RunStatus: ...


class RunMonitor:
    """A living run with its ledger and the ledger's counts at its beginning."""

    def __init__(self, ledger: LedgerName, counts: Counts, run: LiveRun) -> None:
        self.ledger = ledger
        self.run = run
        self._counts = counts.counts
        self._speed = Speed()
        self.meter = SpeedMeter(counts.counts[State.QUEUED])

    def look(self, *, ended: bool = False) -> StatusView:
        """The current view."""
        counters = self.run.counters
        pace = self.run.status(self._speed.at(time.monotonic(), counters.done))
        counts = {state: count + counters.settled[state] for state, count in self._counts.items()}
        unsettled = counts[State.QUEUED] + counts[State.SENDING] - sum(counters.settled.values())
        counts[State.SENDING] = min(pace.in_flight, unsettled)
        counts[State.QUEUED] = unsettled - counts[State.SENDING]
        return StatusView(counts, datetime.now().astimezone(), pace, ended)


@asynccontextmanager
async def shown(
    living: RunMonitor, settings: RunSettings, on_status: Callable[[RunStatus], None], *, quiet: bool
) -> AsyncIterator[None]:
    """Show the progress while the block lives; a deadline that will be missed is reported even with --quiet.

    `on_status` is called about once a second.
    """
    showing = [_tell(living, on_status), _correct_forecast(living.run, living.look().left, settings)]
    if not quiet:
        showing.append(_draw(living) if can_draw(sys.stderr) else _lines(living))
    tasks = [asyncio.create_task(show) for show in showing]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        with suppress(OSError):
            await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(ledger_at(living.ledger).remove_status)


async def _tell(living: RunMonitor, on_status: Callable[[RunStatus], None]) -> None:
    while True:
        pace = living.look().pace
        if pace is not None:
            living.meter.add(pace, is_asking=living.run.is_asking)
            on_status(pace)
            await asyncio.to_thread(ledger_at(living.ledger).write_status, pace)
        await asyncio.sleep(TELL_EVERY)


async def _correct_forecast(run: LiveRun, total: int, settings: RunSettings) -> None:
    """Hold the deadline against what the first answers show; those before a question say nothing of the speed."""
    since, before = 0.0, 0
    while run.counters.done - before < FIRST_ANSWERS:
        await asyncio.sleep(REDRAW_EVERY)
        if run.is_asking:
            since, before = run.status().elapsed, run.counters.done
    status, done = run.status(), run.counters.done
    if status.deadline is None:
        return
    seconds = max(0.0, status.deadline - time.time())
    answers, elapsed, left = done - before, status.elapsed - since, total - done
    if (words := during_run(answers, elapsed, left, seconds, settings.workers)) is not None:
        say(words)


async def _lines(living: RunMonitor) -> None:
    while True:
        await asyncio.sleep(LINE_EVERY)
        info(line(living.look()))


async def _draw(living: RunMonitor) -> None:
    with LiveDisplay(stderr=True) as drawing:
        try:
            while True:
                drawing.draw(lines(living.look(), drawing.width, plain=drawing.is_plain))
                if living.run.is_asking:
                    await _pause_drawing(drawing, living.run)
                await asyncio.sleep(REDRAW_EVERY)
        finally:
            drawing.draw(lines(living.look(ended=True), drawing.width, plain=drawing.is_plain))


async def _pause_drawing(drawing: LiveDisplay, run: LiveRun) -> None:
    """Nothing is drawn while a person is asked something."""
    drawing.pause()
    while run.is_asking:  # noqa: ASYNC110 - a drawing that waits; nothing hangs on it
        await asyncio.sleep(REDRAW_EVERY)
    drawing.go_on()
