"""Progress: a bar on a terminal, one plain line every ten seconds elsewhere."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from bulksms import forecast
from bulksms.cli import say
from bulksms.config import RunSettings
from bulksms.engine.progress import Progress
from bulksms.ledger.reader import Standing
from bulksms.message import State

LINE_EVERY = 10.0
"""Seconds between two plain lines."""
REDRAW_EVERY = 0.25
"""Seconds between two drawings of the bar."""


@asynccontextmanager
async def shown(progress: Progress, standing: Standing, settings: RunSettings, *, quiet: bool) -> AsyncIterator[None]:
    """Show how the run goes while the block lives; a deadline that will not be kept is said whoever is quiet."""
    total = standing.unfinished
    showing = [_correct_forecast(progress, total, settings)]
    if not quiet:
        showing.append(_bar(progress, total) if sys.stderr.isatty() else _lines(progress, total))
    tasks = [asyncio.create_task(show) for show in showing]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        with suppress(OSError):
            await asyncio.gather(*tasks, return_exceptions=True)


async def _correct_forecast(progress: Progress, total: int, settings: RunSettings) -> None:
    """Hold the deadline against what the first answers show."""
    deadline = settings.deadline.begun(time.time())
    if deadline.at is None:
        return
    while progress.done < forecast.FIRST_ANSWERS:  # noqa: ASYNC110 - counted up by every worker, asked for now and then
        await asyncio.sleep(REDRAW_EVERY)
    seconds = deadline.remaining(time.time()) or 0.0
    left = total - progress.done
    if (words := forecast.after(progress.done, progress.elapsed, left, seconds, settings.workers)) is not None:
        say(words)


async def _lines(progress: Progress, total: int) -> None:
    while True:
        await asyncio.sleep(LINE_EVERY)
        say(describe(progress, total))


async def _bar(progress: Progress, total: int) -> None:
    from rich.console import Console  # noqa: PLC0415 - a terminal's
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415
    from rich.progress import Progress as Bar  # noqa: PLC0415

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Bar(*columns, console=Console(stderr=True), auto_refresh=False) as bar:
        task = bar.add_task("", total=total)
        try:
            while True:
                if progress.asking:
                    bar.stop()
                    while progress.asking:  # noqa: ASYNC110 - a drawing that waits; nothing hangs on it
                        await asyncio.sleep(REDRAW_EVERY)
                    bar.start()
                bar.update(task, completed=progress.done, description=describe_states(progress), refresh=True)
                await asyncio.sleep(REDRAW_EVERY)
        finally:
            bar.update(task, completed=progress.done, description=describe_states(progress), refresh=True)


def describe_states(progress: Progress) -> str:
    """`120 accepted, 2 failed`."""
    return ", ".join(f"{count:,} {state}" for state, count in progress.settled.items() if state is not State.PROCESSING)


def describe(progress: Progress, total: int) -> str:
    """One plain line."""
    done, elapsed = progress.done, progress.elapsed
    speed = done / elapsed if elapsed else 0.0
    return (
        f"{done:,} of {total:,} after {elapsed:.0f} s, {speed:.1f} a second: {describe_states(progress) or 'none yet'}"
    )
