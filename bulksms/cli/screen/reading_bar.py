"""Reading bar: how far the reading of an input is, on a terminal; it is gone when the reading is over."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

Reading = Callable[[int, int], None]
"""Told the number of rows read so far, and the place reached in the input."""

REDRAW_EVERY = 0.1
"""Seconds between two drawings; what is read before the first one needs no bar."""


@contextmanager
def no_bar(length: int | None) -> Iterator[Reading]:
    """Nothing is shown."""
    del length
    yield lambda rows, position: None  # noqa: ARG005 - what a bar would be told


@contextmanager
def reading_bar(length: int | None) -> Iterator[Reading]:
    """Show a bar on stderr; without a length, a number of rows that grows."""
    bar: Progress | None = None
    drawn = time.monotonic()

    def show(rows: int, position: int) -> None:
        nonlocal bar, drawn
        now = time.monotonic()
        # The end is always shown: what follows, comparing all with all, takes a while.
        is_read = bar is not None and length is not None and position >= length
        if now - drawn < REDRAW_EVERY and not is_read:
            return
        drawn = now
        if bar is None:
            bar = _begin(length)
        words = f"{rows:,} rows, comparing recipients" if is_read else f"{rows:,} rows"
        bar.update(bar.task_ids[0], completed=position, description=words, refresh=True)

    try:
        yield show
    finally:
        if bar is not None:
            bar.stop()


@contextmanager
def look_up_bar() -> Iterator[Callable[[int], None]]:
    """Show on stderr how many have been looked up; told how many more there are each time."""
    from rich.console import Console  # noqa: PLC0415 - a terminal's
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (SpinnerColumn(), TextColumn("Looking up: {task.completed:,.0f}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda more: bar.advance(task, more)


@contextmanager
def no_look_up_bar() -> Iterator[Callable[[int], None]]:
    """Nothing is shown."""
    yield lambda more: None  # noqa: ARG005 - what a bar would be told


def _begin(length: int | None) -> "Progress":
    from rich.console import Console  # noqa: PLC0415 - a terminal's
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn  # noqa: PLC0415

    columns = (TextColumn("Reading"), BarColumn(bar_width=20), TaskProgressColumn(), TextColumn("{task.description}"))
    bar = Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False)
    bar.add_task("", total=length)
    bar.start()
    return bar
