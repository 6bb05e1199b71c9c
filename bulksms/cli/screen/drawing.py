"""Drawing: lines at the lower end of a terminal that are drawn over in place.

Laws: no line is wider than the terminal. Whatever else is said meanwhile stands above.
A terminal that cannot move its cursor is none to draw on.
"""

import os
import sys
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bulksms.cli.screen.look import Span

REDRAW_EVERY = 0.25
"""Seconds between two drawings: four a second look alive, and cost a run next to nothing."""


def can_draw(stream: TextIO) -> bool:
    """Whether it is a terminal whose cursor moves."""
    return stream.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")


class Drawing:
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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
        """Stand still while a person is asked something; `draw` goes on below."""
        self._live.stop()

    def go_on(self) -> None:
        """The question was answered: below it, for the old lines would be drawn over it."""
        self._live = self._new_live()
        self._live.start()

    def _legible(self, words: str) -> str:
        """A character that the console's code page lacks is a question mark: an escape would make the line longer."""
        encoding = self._console.encoding
        return words.encode(encoding, "replace").decode(encoding)
