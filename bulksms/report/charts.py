"""Charts: figures as the positions and sizes of bars.

Invariant: sizes are in the units of a drawing that is WIDTH wide and HEIGHT high, with its origin at the upper left.
Times of day are local.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate
from math import floor
from typing import NamedTuple

from bulksms.ledger import AttemptHistogram, Period
from bulksms.model.message import State

WIDTH = 1_000.0
HEIGHT = 100.0

SLOTS = 80
"""At most so many bars side by side, give or take the last."""
BARS = 12
"""A distribution has at least so many bars, so that one that is narrow is seen to be."""
DAY = 86_400
SECONDS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 43_200, DAY)
"""How long a slot of a timeline may be: what a person can count in."""
STEPS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70)
"""Borders between the bars of a distribution, in milliseconds; beyond them each again ten times as large, and so on."""
DECADES = 5
BORDERS: tuple[int, ...] = (*STEPS, *(step * 10**decade for decade in range(1, DECADES) for step in STEPS[5:]))

PROVED: Mapping[str, str] = {
    "succeeded": "accepted",
    "suspended": "held",
    "started": "held",
    "rejected": "rejected",
    "misdirected": "rejected",
    "unauthenticated": "unprocessed",
    "never_left": "unprocessed",
    "not_processed": "unprocessed",
    "server_failed": "doubtful",
    "lost": "doubtful",
    "crashed": "doubtful",
}
"""What the evidence of an attempt counts as in a timeline."""
KINDS: Mapping[str, str] = {
    "accepted": "accepted",
    "held": "awaiting approval or processing",
    "unprocessed": "not processed",
    "rejected": "rejected",
    "doubtful": "unknown what became of it",
}
"""How an attempt can end, the lowest bar first, in a person's words."""


class Bar(NamedTuple):
    """A rectangle; `kind` is its meaning."""

    x: float
    y: float
    width: float
    height: float
    kind: str = ""


class Slot(NamedTuple):
    """Everything in one slot of time: its bars, and in words what they say."""

    area: Bar
    bars: Sequence[Bar]
    begun: Bar
    words: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """The attempts of one run over time."""

    run: int
    slots: Sequence[Slot]
    ticks: Sequence[str]
    """Times at the left, in the middle and at the right."""
    highest: int
    seconds: float
    """How long a slot is."""
    totals: Mapping[str, int]
    attempts: int


class Mark(NamedTuple):
    """A percentile: its name, its place, and its milliseconds."""

    name: str
    x: float
    milliseconds: int


@dataclass(frozen=True, slots=True)
class Distribution:
    """How long answers took."""

    bars: Sequence[tuple[Bar, str]]
    """Each with its words."""
    ticks: Sequence[str]
    """Durations at the left, in the middle and at the right."""
    marks: Sequence[Mark]
    highest: int
    slowest: int
    answers: int


def shares(counts: Mapping[State, int]) -> list[Bar]:
    """One bar cut into the states, as wide as they are large; what has any messages can be seen."""
    total = sum(counts.values())
    present = [(state, max(count, total / 300)) for state, count in counts.items() if count]
    whole = sum(size for _, size in present)
    starts = accumulate((size * WIDTH / whole for _, size in present), initial=0.0)
    return [
        Bar(start, 0.0, size * WIDTH / whole, HEIGHT, state.value)
        for start, (state, size) in zip(starts, present, strict=False)
    ]


def slot_of(period: Period) -> tuple[float, float]:
    """Where the first slot of a period's timeline begins (POSIX seconds), and how many seconds a slot takes."""
    length = period.ended_at - period.began_at
    seconds = next((known for known in SECONDS if length < known * SLOTS), None)
    if seconds is None:
        seconds = DAY * floor(length / DAY / SLOTS + 1)
    return floor(period.began_at / seconds) * seconds, seconds


def timeline(period: Period, traffic: AttemptHistogram) -> Timeline:
    """Draw what happened in each slot (of `slot_of`)."""
    since, seconds = slot_of(period)
    # A period of one instant may end a rounding error before the border of its own slot.
    count = max(1, floor((period.ended_at - since) / seconds) + 1)
    count += count % 2  # so that the middle is a border
    ended: list[dict[str, int]] = [dict.fromkeys(KINDS, 0) for _ in range(count)]
    for (slot, evidence), attempts in traffic.ended.items():
        ended[min(slot, count - 1)][PROVED[evidence]] += attempts
    begun = [traffic.begun.get(slot, 0) for slot in range(count)]
    highest = max(1, *begun, *(sum(kinds.values()) for kinds in ended))
    width = WIDTH / count
    slots = [
        Slot(
            Bar(number * width, 0.0, width, HEIGHT),
            _stacked(number * width, width, kinds, HEIGHT / highest),
            Bar(number * width, HEIGHT - begun[number] * HEIGHT / highest, width, 0.0),
            f"{_clock(since + number * seconds, seconds)}: {'; '.join([f'{begun[number]:,} begun', *_counted(kinds)])}",
        )
        for number, kinds in enumerate(ended)
    ]
    ticks = [_clock(since + part * count * seconds, seconds) for part in (0, 0.5, 1)]
    totals = {kind: sum(kinds[kind] for kinds in ended) for kind in KINDS}
    return Timeline(period.run, slots, ticks, highest, seconds, totals, period.attempts)


def _counted(kinds: Mapping[str, int]) -> list[str]:
    return [f"{attempts:,} {KINDS[kind]}" for kind, attempts in kinds.items() if attempts]


def _stacked(x: float, width: float, kinds: Mapping[str, int], one: float) -> list[Bar]:
    """A bar a kind, each on top of the one before; an attempt is `one` high."""
    bars, top = [], HEIGHT
    for kind, attempts in kinds.items():
        if attempts:
            top -= attempts * one
            bars.append(Bar(x + width * 0.08, top, width * 0.84, attempts * one, kind))
    return bars


def distribution(times: Sequence[tuple[int, int]]) -> Distribution | None:
    """Draw (milliseconds, how many), the quickest first, with wider bars for longer times; None without any answer."""
    if not times:
        return None
    first, last = (bisect_right(BORDERS, times[place][0]) for place in (0, -1))
    first = max(0, min(first, (first + last - BARS) // 2))
    last = max(last, first + BARS - 1)
    last += (last - first + 1) % 2  # so that the middle is a border
    counts = dict.fromkeys(range(first, last + 1), 0)
    for milliseconds, answers in times:
        counts[bisect_right(BORDERS, milliseconds)] += answers
    width, highest = WIDTH / len(counts), max(counts.values())
    bars = [
        (
            Bar((place - first) * width, HEIGHT - count * HEIGHT / highest, width, count * HEIGHT / highest),
            f"{duration(_border(place - 1))} to {duration(_border(place))}: {count:,}",
        )
        for place, count in counts.items()
    ]
    marks = [Mark(name, (_place(time) - first) * width, time) for name, time in percentiles(times).items()]
    ticks = [duration(_border(place)) for place in (first - 1, (first + last - 1) // 2, last)]
    return Distribution(bars, ticks, marks, highest, times[-1][0], sum(counts.values()))


PERCENTILES: Mapping[str, float] = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def percentiles(times: Sequence[tuple[int, int]]) -> dict[str, int]:
    """The milliseconds in which that part of the answers had come, of (milliseconds, how many), the quickest first."""
    reached = list(accumulate(answers for _, answers in times))
    return {name: times[bisect_left(reached, part * reached[-1])][0] for name, part in PERCENTILES.items()}


def _place(milliseconds: int) -> float:
    """The place of a duration, in bars from the very first border."""
    place = bisect_right(BORDERS, milliseconds)
    low, high = _border(place - 1), _border(place)
    return place + (milliseconds - low) / (high - low)


def _border(place: int) -> int:
    """The upper border of a bar; that of the bar before the first is 0."""
    if place < 0:
        return 0
    return BORDERS[place] if place < len(BORDERS) else BORDERS[-1] * 10 * (place - len(BORDERS) + 1)


def duration(milliseconds: float) -> str:
    """A duration in the unit that a person would choose."""
    if milliseconds < 1_000:
        return f"{milliseconds:g} ms"
    seconds = milliseconds / 1_000
    return f"{seconds:.3g} s" if seconds < 120 else f"{seconds / 60:.3g} min"


def _clock(moment: float, slot: float) -> str:
    """A local time of day, as fine as the slot; with the day where a slot is hours long."""
    at = datetime.fromtimestamp(moment, UTC).astimezone()
    if slot >= 3_600:
        return f"{at:%Y-%m-%d %H:%M}"
    if slot >= 60:
        return f"{at:%H:%M}"
    return f"{at:%H:%M:%S}" if slot >= 1 else f"{at:%H:%M:%S}.{at.microsecond // 10_000:02}"
