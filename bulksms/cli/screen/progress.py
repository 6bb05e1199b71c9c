"""Progress: how a run stands while it lives: drawn on a terminal, one plain line every ten seconds elsewhere, and a
word for whoever looks at the ledger from another shell.

Law: showing costs the run next to nothing, and nothing a message: it looks at counters a few times a second.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path

from bulksms import forecast
from bulksms.cli import say
from bulksms.cli.screen.drawing import REDRAW_EVERY, Drawing, can_draw
from bulksms.cli.screen.look import Look, Speed, line, lines
from bulksms.config import RunSettings
from bulksms.engine.progress import Progress
from bulksms.ledger import live
from bulksms.ledger.reader import Standing
from bulksms.message import State

LINE_EVERY = 10.0
"""Seconds between two plain lines."""
TELL_EVERY = 1.0
"""Seconds between two words for other shells."""


class Living:
    """A run as it lives: its ledger, which run of it this is, how it stood at the beginning, and what it did since."""

    def __init__(self, ledger: Path, run: int, standing: Standing, progress: Progress) -> None:
        self.ledger = ledger
        self.progress = progress
        self._run = run
        self._counts = standing.counts
        self._speed = Speed()

    def look(self, *, ended: bool = False) -> Look:
        """How it stands now."""
        progress = self.progress
        recent = self._speed.at(time.monotonic(), progress.done)
        pace = progress.pace(self._run, recent)
        counts = {state: count + progress.settled[state] for state, count in self._counts.items()}
        unsettled = counts[State.QUEUED] + counts[State.SENDING] - sum(progress.settled.values())
        counts[State.SENDING] = min(pace.in_flight, unsettled)
        counts[State.QUEUED] = unsettled - counts[State.SENDING]
        return Look(counts, datetime.now().astimezone(), pace, ended)


@asynccontextmanager
async def shown(living: Living, settings: RunSettings, *, quiet: bool) -> AsyncIterator[None]:
    """Show how the run goes while the block lives; a deadline that will not be kept is said whoever is quiet."""
    showing = [_tell(living), _correct_forecast(living.progress, living.look().left, settings)]
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
        await asyncio.to_thread(live.forget, living.ledger)


async def _tell(living: Living) -> None:
    while True:
        pace = living.look().pace
        if pace is not None:
            await asyncio.to_thread(live.tell, living.ledger, pace)
        await asyncio.sleep(TELL_EVERY)


async def _correct_forecast(progress: Progress, total: int, settings: RunSettings) -> None:
    """Hold the deadline against what the first answers show; those before a question say nothing of the speed."""
    began, before = progress.began, 0
    while progress.done - before < forecast.FIRST_ANSWERS:
        await asyncio.sleep(REDRAW_EVERY)
        if progress.asking:
            began, before = time.monotonic(), progress.done
    if progress.deadline is None:
        return
    seconds = max(0.0, progress.deadline - time.time())
    answers, elapsed, left = progress.done - before, time.monotonic() - began, total - progress.done
    if (words := forecast.after(answers, elapsed, left, seconds, settings.workers)) is not None:
        say(words)


async def _lines(living: Living) -> None:
    while True:
        await asyncio.sleep(LINE_EVERY)
        say(line(living.look()))


async def _draw(living: Living) -> None:
    with Drawing(stderr=True) as drawing:
        try:
            while True:
                drawing.draw(lines(living.look(), drawing.width, plain=drawing.is_plain))
                if living.progress.asking:
                    await _stand_still(drawing, living.progress)
                await asyncio.sleep(REDRAW_EVERY)
        finally:
            drawing.draw(lines(living.look(ended=True), drawing.width, plain=drawing.is_plain))


async def _stand_still(drawing: Drawing, progress: Progress) -> None:
    """Nothing is drawn while a person is asked something."""
    drawing.pause()
    while progress.asking:  # noqa: ASYNC110 - a drawing that waits; nothing hangs on it
        await asyncio.sleep(REDRAW_EVERY)
    drawing.go_on()
