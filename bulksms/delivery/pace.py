"""Pace: whether the next request may leave now: concurrency, rate, and the budget for retries.

Law: nothing here is ever faster than asked: never more in flight than the limit, never above the rate. Times are
seconds of a monotonic clock.
"""

import re
from dataclasses import dataclass

FIRST_LIMIT = 4
SHRINK = 0.7
SHRINK_EVERY = 1.0
"""Seconds: one wave of throttled answers is one reason to slow down, not sixty-four."""

BUDGET = 100.0
BUDGET_AN_ACCEPTANCE = 0.2
BUDGET_A_SECOND = 2.0

A_LITTLE_LATE = 0.5
"""Part of the distance of two requests; what is later than that begins a new row of them."""

_RATE = re.compile(r"(\d+(?:\.\d+)?)(?:/(s|min|h))?")
_UNITS = {None: 1.0, "s": 1.0, "min": 60.0, "h": 3600.0}


def parse_rate(text: str) -> float:
    """`5`, `5/s`, `300/min`, `1000/h` as messages a second. Raises ValueError."""
    match = _RATE.fullmatch(text.strip())
    if match is None or float(match[1]) <= 0:
        raise ValueError(f"{text!r} is no rate; a rate looks like 5, 5/s, 300/min or 1000/h")
    return float(match[1]) / _UNITS[match[2]]


@dataclass(slots=True)
class Rate:
    """At most `per_second` requests a second, evenly, without bursts (GCRA: ITU-T I.371, with a burst of one).

    Whoever leaves a little late, as programs do, does not make the next one late: so a minute has as many as it should.
    In any time there are at most so many and one more, and half of one that may have been late: a tolerance of half a
    distance, in the words of GCRA. In a minute of 60 that is 61 at the most, and 60 one with another.
    """

    per_second: float | None = None
    next_at: float = 0.0

    def delay(self, now: float) -> float:
        """Seconds until the next request may leave."""
        return 0.0 if self.per_second is None else max(0.0, self.next_at - now)

    def take(self, now: float) -> None:
        """A request leaves."""
        if self.per_second is not None:
            interval = 1.0 / self.per_second
            is_a_little_late = now - self.next_at <= interval * A_LITTLE_LATE
            self.next_at = (self.next_at if is_a_little_late else now) + interval


@dataclass(slots=True)
class RetryBudget:
    """Retries cost a token each; acceptances and time bring tokens. Without one a retry waits; none is given up."""

    tokens: float = BUDGET
    filled_at: float | None = None

    def delay(self, now: float) -> float:
        """Seconds until a retry may leave."""
        self._fill(now)
        return 0.0 if self.tokens >= 1.0 else (1.0 - self.tokens) / BUDGET_A_SECOND

    def take(self, now: float) -> None:
        """A retry leaves."""
        self._fill(now)
        self.tokens -= 1.0

    def accepted(self) -> None:
        """The server works: that pays for retries."""
        self.tokens = min(BUDGET, self.tokens + BUDGET_AN_ACCEPTANCE)

    def _fill(self, now: float) -> None:
        since = 0.0 if self.filled_at is None else max(0.0, now - self.filled_at)
        self.tokens = min(BUDGET, self.tokens + since * BUDGET_A_SECOND)
        self.filled_at = now


@dataclass(slots=True)
class Concurrency:
    """How many requests may be in flight: below the ceiling, as many as the server takes without complaint.

    It starts small and doubles with every window of good answers (as many as the limit) until the first complaint; from
    then on it grows by one a window, if it is used, and shrinks on throttling and time-outs. How long an answer takes
    is no reason: 0.2 to 2 s is normal for this API.
    """

    ceiling: int
    adapt: bool = True
    limit: int = 0
    in_flight: int = 0
    good_answers: int = 0
    was_full: bool = False
    braked: bool = False
    shrunk_at: float = float("-inf")

    def __post_init__(self) -> None:
        self.limit = min(FIRST_LIMIT, self.ceiling) if self.adapt else self.ceiling

    @property
    def is_full(self) -> bool:
        """Whether as many are in flight as may be."""
        return self.in_flight >= self.limit

    def begin(self) -> None:
        """A request leaves."""
        self.in_flight += 1
        self.was_full = self.was_full or self.is_full

    def end(self) -> None:
        """Its answer is here, or it will not come."""
        self.in_flight -= 1

    def good(self) -> bool:
        """A good answer; whether the limit grew."""
        self.good_answers += 1
        if not self.adapt or self.good_answers < self.limit:
            return False
        was_full, before = self.was_full, self.limit
        self.good_answers, self.was_full = 0, False
        if was_full:
            self.limit = min(self.ceiling, self.limit + 1 if self.braked else self.limit * 2)
        return self.limit > before

    def complaint(self, now: float) -> bool:
        """Throttling or a time-out; whether the limit shrank."""
        self.braked = True
        self.good_answers = 0
        if not self.adapt or now - self.shrunk_at < SHRINK_EVERY:
            return False
        before, self.shrunk_at = self.limit, now
        self.limit = max(1, int(self.limit * SHRINK))
        return self.limit < before
