"""Estimate: how long sending takes, by the speed of this user's earlier runs to the same server, where there are any.

Invariants: an estimate is never more precise than what is known: where no run has shown it, a call is supposed to take
0.5 to 2 s, and the words say that it is not known yet. What is kept of a run is its speed: no recipient, no text. A
file that is damaged counts as none, and one that cannot be written costs a run nothing.
"""

import hashlib
import math
import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bulksms.ledger import RunStatus

CALL_SECONDS = (0.5, 2.0)
"""How long one call is supposed to take, at best and at worst: Adaxes answers after its rules and the gateway."""
FIRST_ANSWERS = 50
"""That many answers show how fast the server is."""
KEPT_RUNS = 5
"""So many runs to a server are kept, the last ones: a server is not the same for ever."""
NEAR = 0.9
"""A run that came so near to a limit of its own was kept back by that, and not by the server."""


@dataclass(frozen=True, slots=True)
class RunSpeed:
    """How fast a run was: messages a second, requests in flight on average, and the limits that its user had set."""

    per_second: float
    in_flight: float
    workers: int
    rate: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.per_second) and self.per_second > 0 and self.in_flight > 0 and self.workers > 0):
            raise ValueError(f"{self} is no speed")

    def shows(self, rate: float | None) -> bool:
        """Whether it shows how fast a run with this rate will be: one that `--rate` kept back shows no more than it."""
        if self.rate is None or self.per_second < NEAR * self.rate:
            return True
        return rate is not None and rate <= self.rate

    def with_workers(self, workers: int) -> tuple[float, float]:
        """Messages a second with so many workers, at worst and at best."""
        if workers <= self.in_flight:
            return self.per_second * workers / self.in_flight, self.per_second * workers / self.in_flight
        is_kept_back = self.in_flight >= NEAR * self.workers
        return self.per_second, self.per_second * max(1.0, workers / self.workers if is_kept_back else 1.0)


@dataclass(frozen=True, slots=True)
class LearntSpeed:
    """What earlier runs to a server have shown: messages a second, at worst and at best."""

    slowest: float
    fastest: float
    runs: int
    """How many runs have shown it."""

    def __str__(self) -> str:
        return f"the speed of the last {f'{self.runs} runs' if self.runs > 1 else 'run'} to this server"


def learnt_from(runs: Iterable[RunSpeed], workers: int, rate: float | None) -> LearntSpeed | None:
    """What these runs show about one with so many workers and this rate; None if that is not known yet."""
    shown = [run.with_workers(workers) for run in runs if run.shows(rate)]
    if not shown:
        return None
    limit = math.inf if rate is None else rate
    slowest, fastest = min(slow for slow, _ in shown), max(fast for _, fast in shown)
    return LearntSpeed(min(limit, slowest), min(limit, fastest), len(shown))


@dataclass(slots=True)
class SpeedMeter:
    """Measures how fast a run is, from its status about once a second.

    Neither an outage counts, nor the time in which a person is asked, nor the end, when too few are left for everybody.
    """

    messages: int
    """How many the run has to send."""
    seconds: float = 0.0
    done: int = 0
    in_flight_seconds: float = 0.0
    last: RunStatus | None = None

    def add(self, status: RunStatus, *, is_asking: bool = False) -> None:
        """The run's status now."""
        before = self.last
        is_at_its_end = status.stopping is not None or self.messages - status.done < status.concurrency
        self.last = None if is_asking or is_at_its_end or status.unavailable_for is not None else status
        if before is None or self.last is None:
            return
        seconds = status.elapsed - before.elapsed
        self.seconds += seconds
        self.done += status.done - before.done
        self.in_flight_seconds += seconds * (before.in_flight + status.in_flight) / 2

    def speed(self, workers: int, rate: float | None) -> RunSpeed | None:
        """How fast it was with these limits; None if too few answers have shown it."""
        if self.done < FIRST_ANSWERS or self.seconds <= 0 or self.in_flight_seconds <= 0:
            return None
        return RunSpeed(self.done / self.seconds, self.in_flight_seconds / self.seconds, workers, rate)


class _Kept(msgspec.Struct):
    url: str
    runs: list[RunSpeed]


class SpeedStore:
    """The speeds of the last runs of one user, a file for each server in this folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def runs(self, url: str) -> list[RunSpeed]:
        """The last runs to this server, the latest last; none if nothing is kept, or if that is damaged."""
        try:
            kept = msgspec.json.decode(self._path(url).read_bytes(), type=_Kept)
        except (OSError, msgspec.MsgspecError):
            return []
        return kept.runs[-KEPT_RUNS:] if kept.url == url else []

    def add(self, url: str, speed: RunSpeed) -> None:
        """Keep the speed of one more run: whole, or not at all."""
        kept = _Kept(url, [*self.runs(url), speed][-KEPT_RUNS:])
        with suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._write(self._path(url), msgspec.json.encode(kept))

    def _path(self, url: str) -> Path:
        return self._folder / f"{hashlib.sha256(url.encode()).hexdigest()[:12]}.json"

    def _write(self, path: Path, content: bytes) -> None:
        """Under a name of its own first, so that who reads meanwhile finds the old one or the new one."""
        fresh = self._folder / f".{path.name}.{secrets.token_hex(4)}"
        try:
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                os.write(descriptor, content)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)


def sent_within(
    seconds: float, messages: int, workers: int, rate: float | None, learnt: LearntSpeed | None = None
) -> tuple[int, int]:
    """How many of the messages are sent within so many seconds: at worst and at best."""
    if learnt is not None:
        return int(min(messages, seconds * learnt.slowest)), int(min(messages, seconds * learnt.fastest))
    ceiling = math.inf if rate is None else seconds * rate
    worst, best = (min(messages, ceiling, seconds * workers / call) for call in reversed(CALL_SECONDS))
    return int(worst), int(best)


def before_run(
    seconds: float, messages: int, workers: int, rate: float | None, learnt: LearntSpeed | None = None
) -> str:
    """What the deadline needs: the rate, how many messages will be sent in time, and how many workers would do."""
    worst, best = sent_within(seconds, messages, workers, rate, learnt)
    in_time = f"{worst:,}" if worst == best else f"{worst:,} to {best:,}"
    needed = messages / seconds if seconds else math.inf
    if learnt is None:
        words = f"at 0.5 to 2 s a call {workers} workers send {in_time} of {messages:,} in time"
    else:
        words = f"at {learnt} {in_time} of {messages:,} are sent in time"
    words = f"needs {needed:,.1f} a second; {words}"
    if worst >= messages:
        return words
    if rate is not None and rate < needed:
        return f"{words}; --rate {rate:g} is too low for it"
    if learnt is not None:  # how many more workers the server would take is what nobody has seen
        return words
    return f"{words}; --workers {math.ceil(messages * CALL_SECONDS[1] / seconds) if seconds else messages} would fit"


def during_run(done: int, elapsed: float, left: int, seconds: float, workers: int) -> str | None:
    """What the first answers show about the deadline in so many seconds; None if all will be sent in time."""
    speed = done / elapsed
    in_time = int(speed * seconds)
    if in_time >= left:
        return None
    fits = math.ceil(workers * left / max(1, in_time))
    return (
        f"WARNING: at the speed of the first {done:,} answers ({speed:,.1f} a second) {left - in_time:,} of {left:,} "
        f"will not be sent before the deadline; about --workers {fits:,} would fit, if the server takes it."
    )


def estimate_seconds(
    messages: int, workers: int, rate: float | None = None, learnt: LearntSpeed | None = None
) -> tuple[float, float]:
    """How long the messages take, at best and at worst, in seconds, with `workers` at once and `rate` begun a second.

    As fast as was `learnt`; where nothing was, one call takes `CALL_SECONDS`.
    """
    if not messages:
        return 0.0, 0.0
    if learnt is not None:
        return messages / learnt.fastest, messages / learnt.slowest
    waits = 0.0 if rate is None else (messages - 1) / rate
    best, worst = (max(messages * call / max(1, workers), waits + call) for call in CALL_SECONDS)
    return best, worst
