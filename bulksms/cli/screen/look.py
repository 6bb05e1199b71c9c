"""Look: how a run stands, in words that fit a terminal.

Laws: pure, facts in and lines out. No line is wider than asked; every fact is in the words, whatever the colours say;
whoever cannot show a bar's characters gets plain ones.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bulksms.cli.screen.console import STYLES
from bulksms.cli.screen.preview import cut, duration, printable
from bulksms.ledger.live import Pace
from bulksms.message import UNFINISHED, State

Span = tuple[str, str]
"""Words, and the style that they are shown in where there are colours."""

RECENT = 10.0
"""Seconds that count as recent."""
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


@dataclass(frozen=True, slots=True)
class Look:
    """How a ledger stands at a moment of the wall clock, and how fast the run on it is, if one lives."""

    counts: Mapping[State, int]
    at: datetime
    pace: Pace | None = None
    ended: bool = False
    """Nothing more happens, and the result will tell the counts: the last look at a run."""

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
        """How long it will take at the speed of late, else of the whole run; None if nobody can say."""
        pace = self.pace
        if pace is None or pace.away is not None:
            return None
        speed = pace.recent or pace.overall
        return self.left / speed + (pace.held or 0.0) if speed else None


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


def lines(look: Look, width: int, *, plain: bool = False) -> list[list[Span]]:
    """The look in lines of at most so many columns; `plain` ones are of characters that every console has."""
    shown = [_bar(look, width, plain=plain)]
    if not look.ended:
        shown += _packed(_counts(look), width, "  ")
    if look.pace is not None:
        if look.is_going_on:
            shown += _packed(_speed(look.pace), width, "; ")
            shown += _packed(_end(look), width, "; ")
            # The line of the brakes is there without any, so that nothing jumps up and down as they come and go.
            shown += _packed(_brakes(look.pace), width, "")
        shown += _errors(look.pace, width)
    return shown


def line(look: Look) -> str:
    """The same in one line, of any length."""
    pace = look.pace
    counts = ", ".join(words for words, _ in _counts(look))
    after = "" if pace is None else f" after {duration(pace.elapsed)}"
    parts = [f"{look.done:,} of {look.meant:,} ({_percent(look)} %){after}: {counts}"]
    if pace is not None and look.is_going_on:
        parts += [words for words, _ in (*_speed(pace), *_brakes(pace), *_end(look))]
    if pace is not None and pace.errors:
        parts.append(f"last errors: {', '.join(_error(kind) for kind in pace.errors)}")
    return "; ".join(parts)


def _percent(look: Look) -> int:
    """Of a hundred, never rounded up: only what is done altogether is 100."""
    return 100 * look.done // look.meant if look.meant else 100


def _bar(look: Look, width: int, *, plain: bool) -> list[Span]:
    words = cut(f"  {look.done:,} of {look.meant:,}  {_percent(look)} %", width, "...")
    length = min(LONGEST_BAR, width - len(words))
    filled = length * look.done // look.meant if look.meant else length
    full, empty = ("#", ".") if plain else ("█", "░")
    return [(full * filled, "green"), (empty * (length - filled), QUIET), (words, "bold")]


def _counts(look: Look) -> Iterator[Span]:
    for state in ORDER:
        count = look.counts[state]
        if count or state in ALWAYS_SHOWN:
            yield f"{count:,} {state}", STYLES.get(state, "") if count else QUIET


def _speed(pace: Pace) -> Iterator[Span]:
    if pace.overall is not None:
        speeds = [f"{pace.overall:.1f} a second"]
        if pace.recent is not None:
            speeds = [f"{pace.recent:.1f} a second", f"{pace.overall:.1f} overall"]
        if pace.rate is not None:
            speeds.append(f"{pace.rate:.3g} at most")
        yield ", ".join(speeds), ""
    yield f"{_concurrency(pace)} at once: {_why(pace)}", ""


def _concurrency(pace: Pace) -> str:
    return f"{pace.concurrency}" if pace.concurrency == pace.ceiling else f"{pace.concurrency} of {pace.ceiling}"


def _why(pace: Pace) -> str:
    if not pace.adapts:
        return "fixed"
    if pace.concurrency == pace.ceiling:
        return "the ceiling"
    if pace.why is None:
        return "a run begins with few"
    return f"more after {pace.why}" if pace.why == "good answers" else f"fewer after {pace.why}"


def _brakes(pace: Pace) -> Iterator[Span]:
    """What keeps the run back, said plainly."""
    if pace.stopping is not None:
        yield f"stopping ({pace.stopping}): {pace.in_flight:,} in flight, their answers are awaited", WARNING
    elif pace.away is not None:
        then = "one is on its way" if pace.held is None else f"the next in {duration(pace.held)}"
        yield f"server away for {duration(pace.away)}, one probe at a time: {then}", WARNING
    elif pace.held is not None:
        yield f"held for {duration(pace.held)}: {pace.why_held or 'nobody said why'}", HELD
    elif pace.alone:
        yield "one goes alone; the others follow a good answer", HELD


def _end(look: Look) -> Iterator[Span]:
    """When it will be done, held against the deadline."""
    pace, seconds = look.pace, look.seconds_left
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
    yield (
        "done: not known yet" if seconds is None else f"done about {_clock(look.at, seconds)}, in {duration(seconds)}",
        "",
    )


def _clock(at: datetime, seconds: float) -> str:
    """`14:12` today, `27 Nov 14:12` on another day."""
    moment = at + timedelta(seconds=min(seconds, 10.0**8))
    return f"{moment:%H:%M}" if moment.date() == at.date() else f"{moment.day} {moment:%b %H:%M}"


def _errors(pace: Pace, width: int) -> Iterator[list[Span]]:
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
