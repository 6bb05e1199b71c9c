"""Concurrency limit: how many requests may be in flight. It is found by trial, and judged by throughput.

It doubles from a few while throughput grows with it. Then it tries a little more and a little less from time to time:
more is kept if throughput grows with it, less is kept if throughput stays. Both are compared with what was measured a
moment before, never with the shortest answer time ever seen: an answer of this API takes 0.2 to 2 s for reasons of its
own, and limits that go by the answer time alone (TCP Vegas, Netflix's gradient) take a slower back end for a queue and
collapse.

Invariants: never more than the ceiling in flight. Times are seconds of a monotonic clock.
"""

import math
from dataclasses import dataclass, field

FIRST_LIMIT = 4
DOUBLING_PAYS = 1.3
"""Doubling goes on while it brings at least so many times the throughput."""
MOST_DOUBLING_ROUNDS = 2
"""Answers a request in flight, at most, before it is decided whether doubling paid. In doubt it did."""
STEP_UP = 1.4
STEP_DOWN = 0.75
HEADROOM = 1.15
"""A limit that doubling has found is raised by so much: a request that waits for the disk keeps no slot busy."""
PAYS = 0.1
"""A trial of more is kept if it brings at least this part of what it adds; one of less, if it certainly loses less than
this part of what it takes away. In doubt the greater number is kept: too many cost little, too few cost throughput."""
FEW = 8
PAYS_WITH_FEW = 0.5
"""Up to a limit of `FEW` more is kept if it brings this part of what it adds: the answers to a few requests differ so
much that chance alone often brings a tenth, and step upon step a queue is built."""
TRIAL_ROUNDS = 2
"""A trial lasts for so many answers a request in flight, at least."""
MOST_TRIAL_ROUNDS = 16
"""And at most for so many, if answer times differ so much that it takes longer to tell."""
REST = 10
"""Rounds between two trials; twice as many after each that failed."""
LONGEST_REST = 160
EVEN = 0.02
"""Answer times that differ less than this (variance over the square of the mean) need no round to settle."""
LEAST_SPREAD = 0.05
"""A few answers that took the same time do not prove that all do."""
SATURATED = 0.5
"""What is measured counts only if the limit was reached so often in each round, at least."""


@dataclass(slots=True)
class Measurement:
    """Answers while the limit was the same: how many, how many good, how long, and how often the limit was reached."""

    limit: int = 1
    began: float = 0.0
    count: int = 0
    good: int = 0
    elapsed: float = 0.0
    squares: float = 0.0
    reached: int = 0
    is_steady: bool = False

    @property
    def throughput(self) -> float:
        """Good answers a second, by Little's law: as many are in flight as may be."""
        return self.limit * self.good / max(self.elapsed, 1e-9)

    @property
    def is_saturated(self) -> bool:
        """Whether the limit was what kept the run back."""
        return self.reached >= SATURATED * self.count / self.limit

    @property
    def spread(self) -> float:
        """The variance of the answer times, relative to the square of their mean."""
        mean = self.elapsed / self.count
        return max(0.0, self.squares / self.count - mean * mean) / max(mean * mean, 1e-18)

    @property
    def error(self) -> float:
        """The variance of the logarithm of `throughput`."""
        share = self.good / self.count
        return (self.spread + LEAST_SPREAD + (1.0 - share) / max(share, 1e-3)) / self.count

    def start_again(self) -> None:
        """Forget the first round: of requests that began together the short answers come first."""
        self.count = self.good = self.reached = 0
        self.elapsed = self.squares = 0.0
        self.is_steady = True


@dataclass(slots=True)
class ConcurrencyLimit:
    """How many requests may be in flight, at most `ceiling`; without `adapt` always as many as that."""

    ceiling: int
    adapt: bool = True
    limit: int = 0
    in_flight: int = 0
    is_doubling: bool = True
    settled: int = 0
    """The limit that a trial is compared with."""
    base: Measurement | None = None
    now_measured: Measurement = field(default_factory=Measurement)
    rest_up: float = REST
    rest_down: float = REST
    rounds_up: float = 0.0
    rounds_down: float = 0.0

    def __post_init__(self) -> None:
        self.limit = self.settled = min(FIRST_LIMIT, self.ceiling) if self.adapt else self.ceiling
        self._measure(0.0)

    def begin(self) -> None:
        """A request leaves."""
        self.in_flight += 1
        self.now_measured.reached += self.in_flight >= self.limit

    def end(self, now: float, elapsed: float, *, good: bool | None) -> bool:
        """A request has ended after so many seconds; whether that changed the limit.

        `good` is whether its answer is that of a server that took it, None if it has no answer that says anything.
        """
        self.in_flight -= 1
        measured = self.now_measured
        if good is None or not self.adapt or now - elapsed < measured.began:
            return False
        measured.count += 1
        measured.good += good
        measured.elapsed += elapsed
        measured.squares += elapsed * elapsed
        if measured.count < self.limit:
            return False
        return self._decide(now, measured)

    def _decide(self, now: float, measured: Measurement) -> bool:
        """A round of answers is here, or more of them: whether the limit changes."""
        if not measured.is_steady:
            measured.is_steady = True
            if measured.spread > EVEN:
                measured.start_again()
                return False
        if not self.is_doubling and measured.count < self.limit * (
            REST if self.limit == self.settled else TRIAL_ROUNDS
        ):
            return False
        if measured.good == 0 or not measured.is_saturated:
            self._measure(now)
            return False
        before = self.limit
        if self.is_doubling:
            self._double(now, measured)
        elif self.limit == self.settled:
            self._rest(now, measured)
        else:
            self._compare(now, measured, self.base or measured)
        return self.limit != before

    def _double(self, now: float, measured: Measurement) -> None:
        base, pays = self.base, True
        if base is not None:
            grown = math.log(measured.throughput / base.throughput)
            doubt = math.sqrt(measured.error + base.error)
            undecided = abs(grown - math.log(DOUBLING_PAYS)) < doubt
            if undecided and measured.count < MOST_DOUBLING_ROUNDS * self.limit:
                return
            pays = undecided or grown > math.log(DOUBLING_PAYS)
        if base is not None and not pays:
            self.is_doubling = False
            self._settle(now, min(self.limit, math.ceil(self.settled * HEADROOM * max(1.0, math.exp(grown)))))
        elif self.limit == self.ceiling:
            self.is_doubling = False
            self._settle(now, self.limit)
        else:
            self.base, self.settled = measured, self.limit
            self._try(now, self.limit * 2)

    def _rest(self, now: float, measured: Measurement) -> None:
        """The limit is settled: measure on, and now and then try more, or less."""
        rounds = measured.count / self.limit
        self.rounds_up += rounds
        self.rounds_down += rounds
        self.base = measured
        more = min(self.ceiling, max(self.limit + 1, round(self.limit * STEP_UP)))
        less = max(1, min(self.limit - 1, round(self.limit * STEP_DOWN)))
        if self.rounds_up >= self.rest_up and more > self.limit:
            self._try(now, more)
        elif self.rounds_down >= self.rest_down and less < self.limit:
            self._try(now, less)
        else:
            self._measure(now)

    def _compare(self, now: float, trial: Measurement, base: Measurement) -> None:
        is_more = self.limit > self.settled
        step = math.log(self.limit / self.settled)
        elasticity = math.log(trial.throughput / base.throughput) / step
        doubt = math.sqrt(trial.error + base.error) / abs(step)
        pays = PAYS_WITH_FEW if is_more and self.settled <= FEW else PAYS
        undecided = abs(elasticity - pays) < doubt
        if undecided and trial.count < MOST_TRIAL_ROUNDS * self.limit:
            return
        kept = elasticity > pays if is_more else elasticity < pays and not undecided
        if is_more:
            self.rounds_up = 0.0
            self.rest_up = 0.0 if kept else min(LONGEST_REST, max(REST, self.rest_up * 2))
        else:
            self.rounds_down = 0.0
            self.rest_down = 0.0 if kept else min(LONGEST_REST, max(REST, self.rest_down * 2))
        self._settle(now, self.limit if kept else self.settled)

    def _settle(self, now: float, limit: int) -> None:
        self.limit = self.settled = max(1, min(self.ceiling, limit))
        self._measure(now)

    def _try(self, now: float, limit: int) -> None:
        self.limit = min(self.ceiling, limit)
        self._measure(now)

    def _measure(self, now: float) -> None:
        self.now_measured = Measurement(self.limit, now)
