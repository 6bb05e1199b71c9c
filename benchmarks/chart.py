"""Chart: messages a second of every contender, a panel for each latency, as one SVG that reads in light and in dark.

Pure. The axis is logarithmic: twice as far is ten times as fast.
"""

import math
from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

from benchmarks.figure import Figure, Figures, number
from benchmarks.rivals import SECTION as RIVALS
from benchmarks.rivals import SPEED

WIDTH, NAMES, RIGHT = 960, 230, 90
"""Pixels: of the whole, of the names at the left, of the fastest figure at the right."""
HEAD, ROW, FOOT, BETWEEN = 104, 26, 30, 36
RADIUS = 6

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.title { font-size: 17px; font-weight: 600; }
.quiet { fill: #59636e; }
.paper { fill: #ffffff; }
.grid { stroke: #d1d9e0; }
.row { stroke: #eff2f5; }
.of0 { fill: #9a6700; stroke: #9a6700; } .of1 { fill: #bf3989; stroke: #bf3989; }
.of2 { fill: #0969da; stroke: #0969da; } .of3 { fill: #1a7f37; stroke: #1a7f37; }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc; }
.quiet { fill: #9198a1; }
.paper { fill: #0d1117; }
.grid { stroke: #3d444d; }
.row { stroke: #21262d; }
.of0 { fill: #d29922; stroke: #d29922; } .of1 { fill: #f778ba; stroke: #f778ba; }
.of2 { fill: #4493f8; stroke: #4493f8; } .of3 { fill: #3fb950; stroke: #3fb950; }
}
"""


class Axis:
    """Where a speed stands."""

    def __init__(self, speeds: Sequence[float]) -> None:
        self._first = math.floor(math.log10(min(speeds)))
        self._last = max(math.ceil(math.log10(max(speeds))), self._first + 1)

    def at(self, speed: float) -> float:
        """Pixels from the left."""
        part = (math.log10(speed) - self._first) / (self._last - self._first)
        return NAMES + part * (WIDTH - NAMES - RIGHT)

    @property
    def marks(self) -> list[float]:
        """The powers of ten that it spans."""
        return [10.0**power for power in range(self._first, self._last + 1)]


def chart(figures: Figures) -> str | None:
    """The drawing; None if no contender was measured."""
    speeds = [figure for figure in figures if (figure.section, figure.unit) == (RIVALS, SPEED)]
    if not speeds:
        return None
    workers = sorted({figure.conditions["workers"] for figure in speeds})
    axis = Axis([speed for figure in speeds for speed in figure.sample.rounds])
    drawn, top = list(_head(workers)), HEAD
    for latency in dict.fromkeys(figure.conditions["latency_ms"] for figure in speeds):
        of_latency = [figure for figure in speeds if figure.conditions["latency_ms"] == latency]
        drawn += _panel(of_latency, workers, axis, top)
        top += len({figure.name for figure in of_latency}) * ROW + FOOT + BETWEEN
    size = f'width="{WIDTH}" height="{top}" viewBox="0 0 {WIDTH} {top}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="Messages a second by contender">',
            f"<style>{STYLE}</style>",
            f'<rect class="paper" width="{WIDTH}" height="{top}"/>',
            *drawn,
            "</svg>\n",
        ]
    )


def _head(workers: Sequence[int]) -> Iterator[str]:
    yield _text(20, 30, "Messages a second", "title")
    yield _text(20, 52, "median of the rounds; a line from the lowest to the highest; logarithmic", "quiet")
    x = WIDTH - RIGHT - 110 * len(workers)
    for place, count in enumerate(workers):
        yield f'<circle class="of{place % 4}" cx="{x}" cy="26" r="{RADIUS}"/>'
        yield _text(x + 12, 30, f"{count} workers" if count > 1 else "1 worker")
        x += 110


def _panel(figures: list[Figure], workers: Sequence[int], axis: Axis, top: float) -> Iterator[str]:
    names = list(dict.fromkeys(figure.name for figure in figures))
    bottom = top + len(names) * ROW
    yield _text(WIDTH - 20, top - 8, "highest", "quiet", "end")
    yield _text(20, top - 8, f"The server takes {figures[0].conditions['latency_ms']:g} ms", "title")
    for mark in axis.marks:
        x = axis.at(mark)
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>'
        yield _text(x, bottom + 18, f"{mark:,g}", "quiet", "middle")
    for place, name in enumerate(names):
        y = top + (place + 0.5) * ROW
        of_name = [figure for figure in figures if figure.name == name]
        yield f'<line class="row" x1="{NAMES}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>'
        yield _text(20, y + 4, name)
        for figure in of_name:
            yield from _point(figure, workers.index(figure.conditions["workers"]) % 4, axis, y)
        fastest = max(figure.sample.median for figure in of_name)
        yield _text(WIDTH - 20, y + 4, number(fastest), "quiet", "end")


def _point(figure: Figure, colour: int, axis: Axis, y: float) -> Iterator[str]:
    lowest, highest = axis.at(min(figure.sample.rounds)), axis.at(max(figure.sample.rounds))
    told = escape(f"{figure.name}, {figure.conditions['workers']} workers: {figure.sample} messages a second")
    middle = axis.at(figure.sample.median)
    yield f'<line class="of{colour}" x1="{lowest:.1f}" x2="{highest:.1f}" y1="{y}" y2="{y}" stroke-width="2"/>'
    yield f'<circle class="of{colour}" cx="{middle:.1f}" cy="{y}" r="{RADIUS}" fill-opacity="0.75">'
    yield f"<title>{told}</title></circle>"


def _text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y}" text-anchor="{anchor}">{escape(words)}</text>'
