"""Rate limiter: how many requests a second may leave, by the user's `--rate` and by what the server's 429s have shown.

The retry budget is a token bucket that delays retries when a server is dying (as in Finagle and in the AWS SDKs).

Invariants: never above the user's rate. Requests are spread evenly, without bursts. The retry budget delays; it settles
nothing and gives nobody up. Times are seconds of a monotonic clock.
"""

import re
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field

A_LITTLE_LATE = 0.5
"""Part of the distance of two requests; what is later than that begins a new row of them."""

MEASURED_SECONDS = 1.0
"""The accepted requests of so long a time show what the server takes: most servers count by the second."""
MEASURED_LEAST = 10
"""With fewer than these in that time, the last so many acceptances show it."""
MANY = 3
"""So many 429s within `MEASURED_SECONDS`, or among the last `RECENT_ANSWERS`, are about the rate. Fewer are about their
own messages."""
RECENT_ANSWERS = 20
CUT = 0.9
"""A 429 cuts the rate to this part of what the server accepted. AWS's adaptive retry takes 0.7, because many clients
share its servers; a mailing is alone with its own."""
HALVE = 0.5
"""The cut when nothing at all was accepted since the last one."""
FIRST_RECOVERY = 1.0
LONGEST_RECOVERY = 5.0
"""Seconds in which the rate climbs back to what was accepted; then it probes for more along the same cubic curve. Short
while the rate is being found, longer once two cuts have found the same."""
ALIKE = 0.15
"""Two cuts have found the same rate if they differ by no more than this part of it."""
FIRST_RECOVERY_PER_HOLD = 2.0
RECOVERY_PER_HOLD = 20.0
"""A 429 with `Retry-After` costs a pause of everybody: the recovery takes so many times that pause."""
FIRST_RATE = 10.0
"""Requests a second after a 429 before anything was accepted."""
LEAST_RATE = 0.2
"""Requests a second, at least."""

RETRY_BUDGET = 100.0
TOKENS_PER_ACCEPTANCE = 4.0
"""Tokens that an acceptance brings: retries are delayed only when more than four of five answers are failures."""
TOKENS_PER_SECOND = 2.0

_RATE = re.compile(r"(\d+(?:\.\d+)?)(?:/(s|min|h))?")
_UNITS = {None: 1.0, "s": 1.0, "min": 60.0, "h": 3600.0}


def parse_rate(text: str) -> float:
    """`5`, `5/s`, `300/min`, `1000/h` as messages a second. Raises ValueError."""
    match = _RATE.fullmatch(text.strip())
    if match is None or float(match[1]) <= 0:
        raise ValueError(f"{text!r} is no rate; a rate looks like 5, 5/s, 300/min or 1000/h")
    return float(match[1]) / _UNITS[match[2]]


@dataclass(slots=True)
class LearntRate:
    """The rate that a throttling server takes, as CUBIC finds it (RFC 9438; AWS's adaptive retry mode).

    None until the first 429. Each 429 cuts the rate; then it climbs back to the rate before the cut, stays near it, and
    only after that goes beyond it, slowly at first. An answer to a request that left before the last cut says nothing
    about the rate after it.
    """

    peak: float | None = None
    """Requests a second that the server accepted before the last cut."""
    floor: float = 0.0
    """Requests a second right after the last cut."""
    before: float | None = None
    """Requests a second that were allowed before the last cut."""
    earlier: float | None = None
    """The peak before the last cut."""
    hold: float = 0.0
    """Seconds of silence after the last cut."""
    last_recovery: float = 0.0
    cut_at: float = float("-inf")
    resumes_at: float = 0.0
    """When requests leave again after the last cut."""
    recovery: float = FIRST_RECOVERY
    accepted_since_cut: int = 0
    throttles: int = 0
    """How many 429s came."""
    last_throttles: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=MANY))
    """The last 429s: how many answers there were by then, and when they came."""

    def per_second(self, now: float) -> float | None:
        """Requests a second that may leave now; None is no limit."""
        if self.peak is None:
            return None
        x = (now - self.resumes_at) / self.recovery - 1.0
        return max(self.floor, self.peak + (self.peak - self.floor) * x * x * x)

    def on_accepted(self, left_at: float, accepted: Collection[float]) -> None:
        """A request that left at this moment was accepted after a cut; `accepted` has it and those before it."""
        if left_at > self.cut_at:
            self.accepted_since_cut += 1
        else:  # it left before the cut: the server took more than was known by then
            self._set_peak(self._accepted_before_cut(accepted))

    def on_throttled(self, now: float, elapsed: float, hold: float, taken: int, accepted: Collection[float]) -> bool:
        """A request was answered with 429 after `elapsed` seconds, and `hold` seconds of `Retry-After`.

        `taken` is how many requests the server has taken so far, `accepted` when the last of those left. Whether the
        rate was cut.
        """
        self.throttles += 1
        self.last_throttles.append((taken + self.throttles, now))
        left_at = now - elapsed
        if not hold and not self._are_many(now, taken + self.throttles):
            return False
        if left_at < self.resumes_at + (MEASURED_SECONDS if self.peak is not None else 0.0):
            return False
        self.before, self.earlier, self.last_recovery = self.per_second(now), self.peak, self.recovery
        self.cut_at, self.resumes_at, self.hold = left_at, now + hold, hold
        if self.before is not None and not self.accepted_since_cut:
            self.peak, self.floor = self.before, max(LEAST_RATE, HALVE * self.before)
        else:
            self._set_peak(self._accepted_before_cut(accepted))
        self.accepted_since_cut = 0
        return True

    def _are_many(self, now: float, answers: int) -> bool:
        """Whether the 429s of late are too many to be about single messages."""
        before, since = self.last_throttles[0]
        is_soon = now - since <= MEASURED_SECONDS or answers - before < RECENT_ANSWERS
        return is_soon and len(self.last_throttles) == MANY

    def _set_peak(self, accepted: float) -> None:
        self.peak = peak = max(LEAST_RATE, accepted if self.before is None else min(self.before, accepted))
        self.floor = max(LEAST_RATE, CUT * peak)
        if self.earlier is not None and abs(peak - self.earlier) <= ALIKE * self.earlier:
            self.recovery = max(min(LONGEST_RECOVERY, self.last_recovery * 2), RECOVERY_PER_HOLD * self.hold)
        else:
            self.recovery = max(FIRST_RECOVERY, FIRST_RECOVERY_PER_HOLD * self.hold)

    def _accepted_before_cut(self, accepted: Collection[float]) -> float:
        """Requests a second that left shortly before the last cut and were accepted."""
        before = sorted(left_at for left_at in accepted if left_at <= self.cut_at)
        recent = [left_at for left_at in before if left_at > self.cut_at - MEASURED_SECONDS]
        if not accepted or self.cut_at - next(iter(accepted)) < MEASURED_SECONDS:
            return max(FIRST_RATE, len(recent) / MEASURED_SECONDS)
        recent = recent if len(recent) >= MEASURED_LEAST else before[-MEASURED_LEAST:]
        return len(recent) / max(MEASURED_SECONDS, self.cut_at - recent[0])


@dataclass(slots=True)
class RateLimiter:
    """At most so many requests a second, evenly, without bursts (GCRA: ITU-T I.371, with a burst of one).

    A request that leaves a little late, as programs do, does not make the next one late: so a minute has as many as it
    should. In any time there are at most so many and one more, and half of one that may have been late: a tolerance of
    half a distance, in the words of GCRA. In a minute of 60 that is 61 at the most, and 60 on average.
    """

    ceiling: float | None = None
    """Requests a second that the user allows; None is no limit."""
    next_at: float = 0.0
    learnt: LearntRate = field(default_factory=LearntRate)
    is_limited: bool = False
    """Whether there is a limit, the user's or a learnt one."""

    def __post_init__(self) -> None:
        self.is_limited = self.ceiling is not None

    def on_throttled(self, now: float, elapsed: float, hold: float, taken: int, accepted: Collection[float]) -> bool:
        """See `LearntRate`."""
        is_cut = self.learnt.on_throttled(now, elapsed, hold, taken, accepted)
        self.is_limited = self.is_limited or is_cut
        return is_cut

    def per_second(self, now: float) -> float | None:
        """The rate that holds now; None is no limit."""
        learnt = self.learnt.per_second(now)
        if learnt is None or self.ceiling is None:
            return self.ceiling if learnt is None else learnt
        return min(learnt, self.ceiling)

    def delay(self, now: float) -> float:
        """Seconds until the next request may leave."""
        return max(0.0, self.next_at - now)

    def turns(self, now: float, seconds: float) -> float:
        """How many requests may leave in so many seconds; 0 without a limit."""
        return seconds * (self.per_second(now) or 0.0)

    def take(self, now: float) -> None:
        """A request leaves."""
        rate = self.per_second(now)
        if rate is not None:
            interval = 1.0 / rate
            is_a_little_late = now - self.next_at <= interval * A_LITTLE_LATE
            self.next_at = (self.next_at if is_a_little_late else now) + interval


@dataclass(slots=True)
class RetryBudget:
    """Retries cost a token each; acceptances and time bring tokens. Without one a retry waits."""

    tokens: float = RETRY_BUDGET
    filled_at: float | None = None

    def delay(self, now: float) -> float:
        """Seconds until a retry may leave."""
        self._fill(now)
        return 0.0 if self.tokens >= 1.0 else (1.0 - self.tokens) / TOKENS_PER_SECOND

    def take(self, now: float) -> None:
        """A retry leaves."""
        self._fill(now)
        self.tokens -= 1.0

    def on_accepted(self) -> None:
        """The server works: that pays for retries."""
        self.tokens = min(RETRY_BUDGET, self.tokens + TOKENS_PER_ACCEPTANCE)

    def _fill(self, now: float) -> None:
        since = 0.0 if self.filled_at is None else max(0.0, now - self.filled_at)
        self.tokens = min(RETRY_BUDGET, self.tokens + since * TOKENS_PER_SECOND)
        self.filled_at = now
