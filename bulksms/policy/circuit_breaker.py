"""Circuit breaker: keeps requests away from a server that is not there, or that asked to be left alone.

Closed, everybody goes. Open, nobody goes until a moment, and then one probe at a time. Half-open, a few go. When it
closes again, the number of requests in flight ramps up. The names and the shape are those of resilience4j, Polly and
Envoy's outlier detection.

Server health tells whether a failure is the server's or the recipient's own: one proves to be the server's when its
message is accepted later. Their share of the recent answers tells how much of the trouble is everybody's; what is left
over is the recipient's own.

Invariants: while the breaker is open no request leaves but a probe. What one recipient meets opens nothing. Memory
grows only with the messages that wait for another attempt. Times are seconds of a monotonic clock.
"""

from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from bulksms.model.attempt import Attempt
from bulksms.model.run_settings import TIMINGS

WINDOW = 20
"""The breaker looks at the last answers of so many different recipients. An outage shows itself within a second or two
of a run at ten a second, and one worker's bad luck does not fill it."""
LEAST_ANSWERS = 10
"""With fewer answers than this it never opens: a file of a few rows says nothing about the server."""
FAILURE_RATE = 0.95
"""It opens at this share of the window. A server that answers three of five requests with 503 is busy, not gone, and
serves more people when it is asked; at 0.8 twenty independent answers of such a server reach it once in twenty windows,
and a run got 0.06 of what that server could give."""
OWN_TROUBLE = 2
"""The answers to a message that has used up so many tries already say nothing about the server."""
LONGEST_PAUSE = 30.0
"""Seconds between two probes, at most; they double from `Timings.first_probe_pause`."""
PAUSE_SHARE = 0.1
"""The pause doubles when the outage has lasted ten times as long: a server that was away for ten seconds is noticed
within one second, one that was away for ten minutes within thirty."""
HALF_OPEN_PROBES = 3
"""So many good answers close it: a single lucky one does not let everybody loose on a server that is starting up."""
RAMP_START = 6
"""In flight when it closes; each good answer lets one more go, so the number doubles with each round trip."""

UNKNOWN_WINDOW = 100
UNKNOWN_LIMIT = 5
"""So many unknown among the last hundred settled: pause, then one alone."""
UNKNOWN_IN_A_ROW = 20
"""So many unknown one after another stop the run."""

HEALTH_SECONDS = 30
"""Failures and acceptances of so many seconds are looked at. As long as the longest backoff: when only messages with
trouble of their own are left, it is over soon."""
HIGH_SHARE = 0.1
"""From this share on a failure is taken for the server's. Below it five failures in a row by chance happen to one
message in a hundred thousand."""
LEAST_FAILURES = 3
"""Fewer failures than these are no share."""

_UNREACHABLE_STATUSES = frozenset({502, 503, 504})
_BUSY_STATUSES = frozenset({408, 425, 429})


def is_unreachable(attempt: Attempt) -> bool:
    """Whether the answer is that of a server that is not there: 502, 503 or 504."""
    return attempt.status in _UNREACHABLE_STATUSES


def shows_reachable(attempt: Attempt) -> bool:
    """Whether the answer shows a server that is there and takes requests."""
    status = attempt.status
    return status is not None and status not in _UNREACHABLE_STATUSES and status not in _BUSY_STATUSES


class BreakerState(Enum):
    """Who may go: everybody, one probe at a time, or a few."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(slots=True)
class CircuitBreaker:
    """One breaker for all workers of a run."""

    state: BreakerState = BreakerState.CLOSED
    first_pause: float = TIMINGS.first_probe_pause
    held_until: float = 0.0
    """Nobody goes before this moment."""
    outage_since: float | None = None
    """When the server was found to be away; None if it is not, or if it only asked for a pause."""
    probes: int = 0
    good_probes: int = 0
    is_following: bool = False
    """Whether another machine probes for this one."""
    ramp: int | None = None
    """How many may be in flight after it has closed; None without a limit."""
    window: dict[int, bool] = field(default_factory=dict)
    """The last answers of different recipients, oldest first: whether the server was unreachable."""

    @property
    def is_closed(self) -> bool:
        """Whether requests go out as usual."""
        return self.state is BreakerState.CLOSED

    def hold(self, now: float, seconds: float) -> None:
        """Keep everybody back for so many seconds from now; a shorter hold never ends a longer one earlier."""
        self.held_until = max(self.held_until, now + seconds)

    def open(self, now: float, seconds: float) -> None:
        """Open: after so many seconds one probe at a time."""
        self.hold(now, seconds)
        self.state, self.good_probes = BreakerState.OPEN, 0

    def half_open(self, now: float, seconds: float) -> None:
        """Let a few go after so many seconds, if all went until now."""
        self.hold(now, seconds)
        if self.state is BreakerState.CLOSED:
            self.state = BreakerState.HALF_OPEN
        self.good_probes = 0

    def seconds_held(self, now: float) -> float:
        """Seconds until the first one may go."""
        return max(0.0, self.held_until - now)

    def follow(self) -> None:
        """Let nobody go until another machine has found the server well."""
        self.is_following = True

    def go_on(self) -> None:
        """Another machine has found the server well, or is gone."""
        self.is_following = False
        self._close()

    def delay(self, now: float) -> float | None:
        """Seconds until somebody may go, 0 is now, None is when a probe has its answer, here or elsewhere."""
        if self.is_following:
            return None
        if now < self.held_until:
            return self.held_until - now
        if self.state is BreakerState.CLOSED:
            return 0.0
        at_once = 1 if self.state is BreakerState.OPEN else HALF_OPEN_PROBES - self.good_probes
        return 0.0 if self.probes < at_once else None

    def on_probe(self, now: float, *, good: bool) -> bool:
        """A probe has its answer; whether that closes the breaker.

        After a bad one the next probe keeps its distance, also where the server is only busy.
        """
        self.probes -= 1
        if self.state is BreakerState.CLOSED:
            return False
        if not good:
            self.open(now, self.pause(now))
            return False
        if now < self.held_until:  # somebody was asked to wait meanwhile
            return False
        self.good_probes += 1
        self.state = BreakerState.HALF_OPEN
        if self.good_probes < HALF_OPEN_PROBES:
            return False
        self._close()
        return True

    def _close(self) -> None:
        self.state, self.outage_since, self.good_probes = BreakerState.CLOSED, None, 0
        self.ramp = RAMP_START
        self.window.clear()

    def pause(self, now: float) -> float:
        """Seconds until the next probe: half a second at first, then about a tenth of the outage, at most thirty."""
        away = 0.0 if self.outage_since is None else now - self.outage_since
        pause = self.first_pause
        while pause * 2 <= away * PAUSE_SHARE:
            pause *= 2
        return min(LONGEST_PAUSE, pause)

    def on_answer(self, now: float, number: int, *, unreachable: bool) -> bool:
        """Message `number` has met a server that is there or not; whether that shows an outage."""
        if not unreachable and self.ramp is not None:
            self.ramp += 1
        self.window.pop(number, None)
        self.window[number] = unreachable
        if len(self.window) > WINDOW:
            del self.window[next(iter(self.window))]
        if not unreachable or self.outage_since is not None or len(self.window) < LEAST_ANSWERS:
            return False
        if sum(self.window.values()) < FAILURE_RATE * len(self.window):
            return False
        # It may be open already, after several unknown: an outage begins like that where answers are lost first.
        self.outage_since = now
        self.open(now, self.first_pause)
        return True

    def has_room(self, in_flight: int, limit: int) -> bool:
        """Whether the ramp lets one more go beside so many in flight, of at most `limit`."""
        if self.ramp is None or self.state is not BreakerState.CLOSED:
            return True
        if self.ramp >= limit:
            self.ramp = None
            return True
        return in_flight < self.ramp


class UnknownReaction(Enum):
    """What the unknown ones among the last settled mean for the run."""

    NONE = "go on"
    PAUSE = "pause, then one alone"
    STOP = "stop the run"


@dataclass(slots=True)
class UnknownRate:
    """How many of the last settled messages are unknown."""

    last: deque[bool] = field(default_factory=lambda: deque(maxlen=UNKNOWN_WINDOW))
    in_a_row: int = 0
    in_a_row_anywhere: int = 0
    """The same over all machines of the run."""

    def settled_elsewhere(self, unknown: int, others: int) -> None:
        """Other machines have settled so many more, in an order that nobody knows: a good one breaks the row."""
        self.in_a_row_anywhere = 0 if others else self.in_a_row_anywhere + unknown

    def settled(self, *, unknown: bool) -> UnknownReaction:
        """One more message is settled."""
        self.in_a_row = self.in_a_row + 1 if unknown else 0
        self.in_a_row_anywhere = self.in_a_row_anywhere + 1 if unknown else 0
        if not unknown:
            self.last.append(False)
            return UnknownReaction.NONE
        if max(self.in_a_row, self.in_a_row_anywhere) >= UNKNOWN_IN_A_ROW:
            return UnknownReaction.STOP
        self.last.append(True)
        if sum(self.last) < UNKNOWN_LIMIT:
            return UnknownReaction.NONE
        self.last.clear()
        return UnknownReaction.PAUSE


class FailureRow(NamedTuple):
    """The failures of one message, one after another."""

    times: int
    counted_at: float
    """When one of them last counted against the recipient."""
    taken: int
    """How many messages had been taken by the run at the last one."""


@dataclass(slots=True)
class ServerHealth:
    """What the last half a minute of a run shows about the server."""

    max_outage: float = 600.0
    spacing: float = TIMINGS.attempt_spacing
    failures: dict[int, FailureRow] = field(default_factory=dict)
    """What the messages that wait for another attempt have met in this run, by number."""
    has_accepted: bool = False
    taken: int = 0
    """How many messages the server has taken."""
    answered_at: float = float("-inf")
    """When the server last gave an answer of any kind."""
    trouble_since: float | None = None
    """Since when no request has been taken, though some were made; None while they are taken."""
    left_at: deque[float] = field(default_factory=lambda: deque(maxlen=1024))
    """When the last requests left that the server has taken."""
    seconds: deque[list[int]] = field(default_factory=deque)
    """Second, failures that were the server's, messages taken: of each of the last seconds that had any."""

    def on_failure(self, now: float, number: int, *, counts: bool) -> None:
        """The server did not take this message, or was not reached; whether that counts against its recipient."""
        row = self.failures.get(number)
        count, counted_at = (0, float("-inf")) if row is None else (row.times, row.counted_at)
        self.failures[number] = FailureRow(count + 1, now if counts else counted_at, self.taken)
        if self.trouble_since is None:
            self.trouble_since = now

    def on_taken(self, now: float, number: int, elapsed: float, *, accepted: bool) -> None:
        """The server took the request for this message, and accepted it or refused it for its own sake.

        `elapsed` is how long its answer took, in seconds.
        """
        self.trouble_since = None
        self.taken += 1
        self.left_at.append(now - elapsed)
        self.has_accepted = self.has_accepted or accepted
        second = int(now)
        if not self.seconds or self.seconds[-1][0] != second:
            self.seconds.append([second, 0, 0])
            while self.seconds[0][0] <= second - HEALTH_SECONDS:
                self.seconds.popleft()
        if (row := self.failures.pop(number, None)) is not None:
            self.seconds[-1][1] += row.times
        self.seconds[-1][2] += 1

    def failure_share(self, now: float) -> float:
        """Which part of the recent answers were failures of the server, 0 to 1."""
        failures = taken = 0
        for second, failed, good in self.seconds:
            if second > now - HEALTH_SECONDS:
                failures += failed
                taken += good
        return failures / (failures + taken) if failures >= LEAST_FAILURES else 0.0

    def is_again_its_own(self, now: float, number: int) -> bool:
        """Whether another failure of this message tells more than its last: others were taken, or time has passed."""
        row = self.failures.get(number)
        return row is None or self.taken > row.taken or now - row.counted_at >= self.spacing

    def is_failing(self, now: float) -> bool:
        """Whether a failure now says nothing about its recipient: the server fails many, or has taken nobody yet."""
        return not self.has_accepted or self.failure_share(now) >= HIGH_SHARE

    def is_silent(self, now: float) -> bool:
        """Whether the server has given nobody any answer of late."""
        return now - self.answered_at > HEALTH_SECONDS

    def patience_left(self, now: float) -> float | None:
        """For how many seconds a server that takes nothing is still waited for; None while it takes something."""
        return None if self.trouble_since is None else max(0.0, self.trouble_since + self.max_outage - now)

    def is_beyond_patience(self, now: float) -> bool:
        """Whether nothing has been taken for longer than is waited for."""
        return self.trouble_since is not None and now - self.trouble_since > self.max_outage
