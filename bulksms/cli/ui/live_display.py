"""Live display: lines at the lower end of a terminal that are drawn over in place, and the bars of a reading.

Invariants: no line is wider than the terminal. Other output meanwhile appears above. A terminal that cannot move its
cursor is none to draw on. A bar of a reading is gone when the reading is over.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Self, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.progress import Progress

    from bulksms.cli.ui.status_view import Span


REDRAW_EVERY = 0.25
"""Seconds between two drawings: four a second look alive, and cost a run next to nothing."""


def can_draw(stream: TextIO) -> bool:
    """Whether it is a terminal whose cursor moves."""
    return stream.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")


class LiveDisplay:
    """Use it in a `with` block; what was drawn last stays when it ends."""

    def __init__(self, *, stderr: bool) -> None:
        from rich.console import Console  # noqa: PLC0415 - a terminal's
        from rich.live import Live  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        self._text = Text
        self._console = Console(file=sys.stderr if stderr else sys.stdout, highlight=False)
        self._new_live = partial(Live, console=self._console, auto_refresh=False)
        self._live = self._new_live()

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    @property
    def width(self) -> int:
        """Columns of a line: the last one is kept free, because some consoles wrap as soon as it is full."""
        return self._console.width - 1

    @property
    def is_plain(self) -> bool:
        """Whether only the characters are safe that every console has."""
        return self._console.legacy_windows or not self._console.encoding.lower().startswith("utf")

    def draw(self, lines: "Iterable[Sequence[Span]]") -> None:
        """Draw these lines instead of the last ones."""
        text = self._text("\n", no_wrap=True, overflow="crop").join(
            self._text.assemble(*((self._legible(words), style) for words, style in line)) for line in lines
        )
        self._live.update(text, refresh=True)

    def pause(self) -> None:
        """Pause while a person is asked something; `draw` continues below."""
        self._live.stop()

    def go_on(self) -> None:
        """The question was answered: below it, for the old lines would be drawn over it."""
        self._live = self._new_live()
        self._live.start()

    def _legible(self, words: str) -> str:
        """A character that the console's code page lacks is a question mark: an escape would make the line longer."""
        encoding = self._console.encoding
        return words.encode(encoding, "replace").decode(encoding)


Reading = Callable[[int, int], None]
"""Called with the number of rows read so far, and the place reached in the input."""

REDRAW_BAR_EVERY = 0.1
"""Seconds between two drawings; what is read before the first one needs no bar."""


@contextmanager
def no_bar(length: int | None) -> Iterator[Reading]:
    """Nothing is shown."""
    del length
    yield lambda rows, position: None  # noqa: ARG005 - what a bar would show


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
        if now - drawn < REDRAW_BAR_EVERY and not is_read:
            return
        drawn = now
        if bar is None:
            bar = _begin_bar(length)
        words = f"{rows:,} rows, comparing recipients" if is_read else f"{rows:,} rows"
        bar.update(bar.task_ids[0], completed=position, description=words, refresh=True)

    try:
        yield show
    finally:
        if bar is not None:
            bar.stop()


@contextmanager
def look_up_bar() -> Iterator[Callable[[int], None]]:
    """Show on stderr how many have been looked up; called with the number of new ones."""
    from rich.console import Console  # noqa: PLC0415 - a terminal's
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (SpinnerColumn(), TextColumn("Looking up: {task.completed:,.0f}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda more: bar.advance(task, more)


@contextmanager
def no_look_up_bar() -> Iterator[Callable[[int], None]]:
    """Nothing is shown."""
    yield lambda more: None  # noqa: ARG005 - what a bar would show


def _begin_bar(length: int | None) -> "Progress":
    from rich.console import Console  # noqa: PLC0415 - a terminal's
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn  # noqa: PLC0415

    columns = (TextColumn("Reading"), BarColumn(bar_width=20), TaskProgressColumn(), TextColumn("{task.description}"))
    bar = Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False)
    bar.add_task("", total=length)
    bar.start()
    return bar
