"""Status view: the state of a run, in words that fit a terminal.

Invariants: pure, facts in and lines out. No line is wider than asked; every fact is in the words, whatever the colours
say; a console without the characters of a bar gets plain ones.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from math import inf, sqrt
from typing import NamedTuple

from bulksms.cli.ui.console import STYLES
from bulksms.ledger import MachineRecord, RunStatus
from bulksms.model.message import UNFINISHED, State
from bulksms.report.text import cut, duration, local_minute, printable

Span = tuple[str, str]
"""Words, and the style that they are shown in where there are colours."""

RECENT = 10.0
"""Seconds that count as recent."""
FORECAST_AFTER = 10.0
"""Seconds of a run, and answers, before which its speed says nothing about its end."""
FORECAST_ANSWERS = 20
ALWAYS_SHOWN = (State.ACCEPTED, State.FAILED, State.UNKNOWN)
ORDER = (
    *ALWAYS_SHOWN,
    *(State.AWAITING_APPROVAL, State.PROCESSING, State.SENDING, State.QUEUED),
    *(State.EXPIRED, State.CANCELLED, State.SKIPPED),
)
WARNING = "bold red"
HELD = "yellow"
QUIET = "dim"
LONGEST_BAR = 40
MOST_MACHINES = 12
"""So many are shown, one a line; those that were lost come last."""


@dataclass(frozen=True, slots=True)
class StatusView:
    """The state of a ledger at a moment of the wall clock, and the speed of the run on it, if one lives."""

    counts: Mapping[State, int]
    at: datetime
    pace: RunStatus | None = None
    ended: bool = False
    """Nothing more happens, and the result will tell the counts: the last look at a run."""
    machines: tuple[MachineRecord, ...] = ()

    @property
    def meant(self) -> int:
        """Messages that are meant to be sent."""
        return sum(self.counts.values()) - self.counts[State.SKIPPED]

    @property
    def is_going_on(self) -> bool:
        """Whether there is still something to be fast or slow about."""
        return self.left > 0 and not self.ended

    @property
    def left(self) -> int:
        """Messages that something has to be done about."""
        return sum(self.counts[state] for state in UNFINISHED)

    @property
    def done(self) -> int:
        """Messages that are settled."""
        return self.meant - self.left

    @property
    def seconds_left(self) -> float | None:
        """What a deadline is held against from the first answer on: the speed of late, else of the whole run."""
        pace = self.pace
        if pace is None or pace.unavailable_for is not None:
            return None
        speed = pace.recent or pace.overall
        return self.left / speed + (pace.paused_for or 0.0) if speed else None

    @property
    def time_to_go(self) -> "TimeToGo | None":
        """How long it will take, between the speeds of late and of the whole run; None if nobody can say.

        The range is as much wider than these as chance makes so few answers differ, and narrows with their number.
        """
        pace = self.pace
        if pace is None or pace.unavailable_for is not None:
            return None
        held, rate = pace.paused_for or 0.0, pace.rate or inf
        speeds = [speed for speed in (pace.recent, pace.overall) if speed]
        if pace.elapsed < FORECAST_AFTER or pace.done < FORECAST_ANSWERS or not speeds:
            return None if rate == inf else TimeToGo(held + self.left / rate, None)
        chance = 1 / sqrt(pace.done)
        fast, slow = max(speeds) * (1 + chance), min(speeds) * (1 - chance)
        return TimeToGo(held + self.left / min(fast, rate), held + self.left / min(slow, rate))


class TimeToGo(NamedTuple):
    """Seconds until the end: at least, and at most; None where only the least is known, by the rate."""

    least: float
    most: float | None


@dataclass(slots=True)
class Speed:
    """Messages a second of late, from successive looks at how many are done. Times are those of a monotonic clock."""

    looks: deque[tuple[float, int]] = field(default_factory=deque)

    def at(self, now: float, done: int) -> float | None:
        """One more look; None until there is a second to tell of."""
        while len(self.looks) > 1 and self.looks[1][0] <= now - RECENT:
            self.looks.popleft()
        if not self.looks or now - self.looks[-1][0] >= RECENT / 100:
            self.looks.append((now, done))
        began, before = self.looks[0]
        return (done - before) / (now - began) if now - began >= 1.0 else None


def lines(look: StatusView, width: int, *, plain: bool = False) -> list[list[Span]]:
    """The look in lines of at most so many columns; `plain` ones are of characters that every console has."""
    shown = [_bar(look, width, plain=plain)]
    if not look.ended:
        shown += _packed(_counts(look), width, "  ")
    if look.pace is not None:
        if look.is_going_on:
            shown += _packed(_speed(look.pace), width, "; ")
            shown += _packed(_end(look), width, "; ")
            # The line of the brakes is there without any, so that nothing jumps up and down as they come and go.
            shown += _packed(_brakes(look.pace, look.at), width, "; ")
        shown += _errors(look.pace, width)
    if not look.ended:
        shown += [[(cut(words, width, "..."), "")] for words in machine_lines(look.machines)]
    return shown


def line(look: StatusView) -> str:
    """The same in one line, of any length."""
    pace = look.pace
    counts = ", ".join(words for words, _ in _counts(look))
    after = "" if pace is None else f" after {duration(pace.elapsed)}"
    parts = [f"{look.done:,} of {look.meant:,} ({_percent(look)} %){after}: {counts}"]
    if pace is not None and look.is_going_on:
        parts += [words for words, _ in (*_speed(pace), *_brakes(pace, look.at), *_end(look))]
    if pace is not None and pace.errors:
        parts.append(f"last errors: {', '.join(_error(kind) for kind in pace.errors)}")
    return "; ".join(parts)


def machine_lines(machines: Sequence[MachineRecord]) -> Iterator[str]:
    """Each of several machines in a line: who, how it is, how fast, and since when."""
    living_first = sorted(machines, key=lambda each: each.is_lost)
    yield from map(_machine, living_first[:MOST_MACHINES])
    if more := living_first[MOST_MACHINES:]:
        lost = sum(each.is_lost for each in more)
        yield f"And {len(more):,} more, {lost:,} of them lost."


def _machine(found: MachineRecord) -> str:
    since = f"since {local_minute(found.started_at)}, process {found.process}"
    ago = duration(round(found.silent_for))
    if found.is_lost:
        return f"Run {found.run} on {found.host}: lost, {ago} ago; what it had under way is unknown; {since}."
    speed = "" if found.status is None or found.status.recent is None else f", {found.status.recent:.1f} a second"
    return f"Run {found.run} on {found.host}: {found.sending:,} in flight{speed}, heard of {ago} ago; {since}."


def of_all_machines(machines: Iterable[MachineRecord]) -> RunStatus | None:
    """The pace of all machines together: their sums, and the brakes of the one that is held most."""
    found = [each.status for each in machines if each.status is not None and not each.is_lost]
    if not found:
        return None
    errors = Counter[str]()
    for each in found:
        errors.update(dict(each.errors))
    slowest = max(found, key=lambda each: (each.unavailable_for or 0.0, each.paused_for or 0.0, each.probing))
    return replace(
        slowest,
        run=max(each.run for each in found),
        elapsed=max(each.elapsed for each in found),
        overall=_sum(each.overall for each in found),
        recent=_sum(each.recent for each in found),
        concurrency=sum(each.concurrency for each in found),
        ceiling=sum(each.ceiling for each in found),
        in_flight=sum(each.in_flight for each in found),
        errors=tuple(errors.most_common(max(len(each.errors) for each in found))),
        done=sum(each.done for each in found),
    )


def _sum(speeds: Iterable[float | None]) -> float | None:
    known = [speed for speed in speeds if speed is not None]
    return sum(known) if known else None


def _percent(look: StatusView) -> int:
    """Of a hundred, never rounded up: only what is done altogether is 100."""
    return 100 * look.done // look.meant if look.meant else 100


def _bar(look: StatusView, width: int, *, plain: bool) -> list[Span]:
    words = cut(f"  {look.done:,} of {look.meant:,}  {_percent(look)} %", width, "...")
    length = min(LONGEST_BAR, width - len(words))
    filled = length * look.done // look.meant if look.meant else length
    full, empty = ("#", ".") if plain else ("█", "░")
    return [(full * filled, "green"), (empty * (length - filled), QUIET), (words, "bold")]


def _counts(look: StatusView) -> Iterator[Span]:
    for state in ORDER:
        count = look.counts[state]
        if count or state in ALWAYS_SHOWN:
            yield f"{count:,} {state}", STYLES.get(state, "") if count else QUIET


def _speed(pace: RunStatus) -> Iterator[Span]:
    if pace.overall is not None:
        speeds = [f"{pace.overall:.1f} a second"]
        if pace.recent is not None:
            speeds = [f"{pace.recent:.1f} a second", f"{pace.overall:.1f} overall"]
        if pace.rate is not None:
            speeds.append(f"{pace.rate:.3g} at most")
        yield ", ".join(speeds), ""
    yield f"{_concurrency(pace)} at once: {_why(pace)}", ""


def _concurrency(pace: RunStatus) -> str:
    return f"{pace.concurrency}" if pace.concurrency == pace.ceiling else f"{pace.concurrency} of {pace.ceiling}"


def _why(pace: RunStatus) -> str:
    if not pace.adapts:
        return "fixed"
    if pace.concurrency == pace.ceiling:
        return "the ceiling"
    return pace.concurrency_reason or "a run begins with few"


def _brakes(pace: RunStatus, at: datetime) -> Iterator[Span]:
    """What holds the run, in plain words."""
    if pace.stopping is not None:
        yield f"stopping ({pace.stopping}): {pace.in_flight:,} in flight, their answers are awaited", WARNING
    elif pace.unavailable_for is not None:
        then = "one is on its way" if pace.paused_for is None else f"the next in {duration(pace.paused_for)}"
        yield f"server away for {duration(pace.unavailable_for)}, one probe at a time: {then}", WARNING
        if pace.gives_up_in is not None:
            yield f"it is waited for until {_clock(at, pace.gives_up_in)}, {duration(pace.gives_up_in)} more", WARNING
    elif pace.paused_for is not None:
        yield f"held for {duration(pace.paused_for)}: {pace.pause_reason or 'for an unknown reason'}", HELD
    elif pace.probing:
        yield "one probe is sent first; the others follow a good answer", HELD


def _end(look: StatusView) -> Iterator[Span]:
    """When it will be done, held against the deadline."""
    pace, seconds, left = look.pace, look.seconds_left, look.time_to_go
    if pace is None or pace.stopping is not None:
        return
    until = None if pace.deadline is None else pace.deadline - look.at.timestamp()
    if until is not None:
        deadline = f"deadline {_clock(look.at, until)}"
        if seconds is None or seconds <= until:
            yield f"{deadline}, in {duration(max(0.0, until))}", ""
        else:
            late = look.left - int(look.left * max(0.0, until) / seconds)
            yield f"WARNING: about {late:,} will miss the {deadline}", WARNING
    yield "done: not known yet" if left is None else _finish(left, look.at), ""


def _finish(left: TimeToGo, at: datetime) -> str:
    """`done in 12 min 05 s to 14 min 20 s, by 14:14`."""
    soonest = duration(left.least)
    if left.most is None:
        return f"done in {soonest} at the earliest, {_clock(at, left.least)}"
    latest = duration(left.most)
    return f"done in {soonest if soonest == latest else f'{soonest} to {latest}'}, by {_clock(at, left.most)}"


def _clock(at: datetime, seconds: float) -> str:
    """`14:12` today, `27 Nov 14:12` on another day."""
    moment = at + timedelta(seconds=min(seconds, 10.0**8))
    return f"{moment:%H:%M}" if moment.date() == at.date() else f"{moment.day} {moment:%b %H:%M}"


def _errors(pace: RunStatus, width: int) -> Iterator[list[Span]]:
    if pace.errors:
        yield [("last errors:", QUIET)]
    for kind in pace.errors:
        yield [(cut(f"  {_error(kind)}", width, "..."), "")]


def _error(kind: tuple[str, int]) -> str:
    words, count = kind
    return f"{count:,} x {printable(words)}"


def _packed(spans: Iterable[Span], width: int, between: str) -> list[list[Span]]:
    """As many to a line as it holds; one that is too wide by itself is cut."""
    packed: list[list[Span]] = [[]]
    for words, style in spans:
        used = sum(len(part) for part, _ in packed[-1])
        if packed[-1] and used + len(between) + len(words) > width:
            packed.append([])
        elif packed[-1]:
            packed[-1].append((between, ""))
        packed[-1].append((cut(words, width, "..."), style))
    return packed
