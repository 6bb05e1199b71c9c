"""Targets: the figures to reach, as a table, and whether they were reached.

Pure. Law: a target is judged by the median of the rounds; what was not measured is neither reached nor missed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.contenders import BARE, BARE_UVLOOP, DOCUMENTATION, ENGINE, ENGINE_UVLOOP, HTTPX
from benchmarks.cost import COST, PEAK, PLANNING, RUNNING
from benchmarks.cost import SPEED as ROWS
from benchmarks.figure import Figures, Sample, number
from benchmarks.large import BUSY as CPU_SECONDS
from benchmarks.large import FIRST_REQUEST, SECONDS, STATUS
from benchmarks.rivals import COMMIT, SPEED
from benchmarks.rivals import COST as BUSY
from benchmarks.startup import HELP

MILLION, TEN_THOUSAND = 1_000_000, 10_000
WORKERS = 64


@dataclass(frozen=True, slots=True)
class Target:
    """A figure to reach: at least so much, or with `at_most` at most."""

    what: str
    find: Callable[[Figures], Sample | None]
    bound: float
    unit: str = "x"
    at_most: bool = False
    busy: Callable[[Figures], Sample | None] | None = None
    """The same by processor time, which is steadier on a machine that has other work: not what was asked for."""
    with_commit: bool = False
    """Whether it depends on how fast the disk commits, which is told beside it."""

    @property
    def asked(self) -> str:
        """The bound in words."""
        return f"{'at most' if self.at_most else 'at least'} {number(self.bound)} {self.unit}"

    def is_reached(self, sample: Sample) -> bool:
        """Whether the median is within the bound."""
        return sample.median <= self.bound if self.at_most else sample.median >= self.bound


def _rivals(  # noqa: PLR0913 - the columns of a row of the table, all but two by name
    what: str, bound: float, *, ours: str, theirs: str, latency_ms: float = 0.0, their_workers: int = 64
) -> Target:
    """Our messages a second with 64 workers over theirs, at the same latency."""
    us: dict[str, Any] = {"name": ours, "latency_ms": latency_ms, "workers": WORKERS}
    them: dict[str, Any] = {"name": theirs, "latency_ms": latency_ms, "workers": their_workers}
    return Target(
        what,
        lambda figures: figures.ratio(SPEED, us, them),
        bound,
        # Theirs over ours, so that more is better here too; who waits for a server has a processor to spare.
        busy=None if latency_ms else lambda figures: figures.ratio(BUSY, them, us),
        with_commit=latency_ms > 0,
    )


def _grown(unit: str) -> Callable[[Figures], Sample | None]:
    """What a run of a million takes over what one of ten thousand takes."""

    def find(figures: Figures) -> Sample | None:
        large, small = (figures.find(RUNNING, unit, messages=size) for size in (MILLION, TEN_THOUSAND))
        return None if large is None or small is None else large.over(Sample((small.median,)))

    return find


TARGETS = (
    _rivals("engine against a bare aiohttp loop, asyncio, no latency", 0.80, ours=ENGINE, theirs=BARE),
    _rivals("the same on uvloop", 0.70, ours=ENGINE_UVLOOP, theirs=BARE_UVLOOP),
    _rivals("engine against a bare aiohttp loop, asyncio, 20 ms", 0.97, ours=ENGINE, theirs=BARE, latency_ms=20.0),
    _rivals("the same on uvloop", 0.97, ours=ENGINE_UVLOOP, theirs=BARE_UVLOOP, latency_ms=20.0),
    _rivals(
        "engine, asyncio, against the documentation's sample, no latency",
        4,
        ours=ENGINE,
        theirs=DOCUMENTATION,
        their_workers=1,
    ),
    _rivals("the same on uvloop", 6, ours=ENGINE_UVLOOP, theirs=DOCUMENTATION, their_workers=1),
    _rivals(
        "engine, asyncio, against the documentation's sample, 20 ms",
        50,
        ours=ENGINE,
        theirs=DOCUMENTATION,
        their_workers=1,
        latency_ms=20.0,
    ),
    _rivals("engine, asyncio, against httpx, no latency", 2.5, ours=ENGINE, theirs=HTTPX),
    Target("processor time a message, 1 M against 10 k", _grown(COST), 1.05, at_most=True),
    Target(
        "peak memory of a run of 1 M", lambda them: them.find(RUNNING, PEAK, messages=MILLION), 100, "MB", at_most=True
    ),
    Target("the same against 10 k", _grown(PEAK), 1.3, at_most=True),
    Target("plan of 1 M rows from CSV", lambda them: them.find(PLANNING, ROWS, messages=MILLION), 60_000, "rows/s"),
    Target(
        "resume of a half-done ledger of 1 M to its first request",
        lambda them: them.find(FIRST_REQUEST, SECONDS, messages=MILLION),
        1,
        SECONDS,
        at_most=True,
        busy=lambda them: them.find(FIRST_REQUEST, CPU_SECONDS, messages=MILLION),
    ),
    Target(
        "status of a ledger of 1 M",
        lambda them: them.find(STATUS, SECONDS, messages=MILLION),
        0.3,
        SECONDS,
        at_most=True,
        busy=lambda them: them.find(STATUS, CPU_SECONDS, messages=MILLION),
    ),
    Target(
        "bulksms --help",
        lambda them: them.find(HELP, SECONDS),
        0.15,
        SECONDS,
        at_most=True,
        busy=lambda them: them.find(HELP, CPU_SECONDS),
    ),
)
"""The figures to reach, as they were set; engine, bare loop and httpx with 64 workers."""


NOT_MEASURED = "not measured"
TARGET = ("what", "asked", "measured", "by processor time", "verdict")
"""What there is to say of a target."""


def judged(figures: Figures) -> list[tuple[str, ...]]:
    """What there is to say of each."""
    return [(target.what, target.asked, *_verdict(target, figures)) for target in TARGETS]


def _verdict(target: Target, figures: Figures) -> tuple[str, str, str]:
    sample = target.find(figures)
    if sample is None:
        return "", "", NOT_MEASURED
    told = f"{sample} {target.unit}"
    commit = figures.find(COMMIT, "ms", latency_ms=20.0, workers=WORKERS)
    if target.with_commit and commit is not None:
        told += f", the disk commits in {number(commit.median)} ms"
    busy = None if target.busy is None else target.busy(figures)
    return told, "" if busy is None else str(busy), "reached" if target.is_reached(sample) else "NOT REACHED"
