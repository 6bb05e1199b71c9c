"""Brake: one gate for all workers, closed when the server asks for it, is away, or leaves too many in doubt.

Laws: while the gate is closed no request leaves, whoever asks. When it opens, one request goes alone (half-open); only
after a good answer to it the others follow. Times are seconds of a monotonic clock.
"""

from collections import deque
from dataclasses import dataclass, field
from enum import Enum

from bulksms.attempt import Attempt
from bulksms.delivery.outcome import Evidence

AWAY_RECIPIENTS = 10
"""So many different recipients in a row who met only an absent server: it is away."""
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
"""Seconds between two probes of a server that is away: from the first, doubling, to the second. The first is also the
least between two probes for another reason."""
DOUBT_WINDOW = 100
DOUBT_LIMIT = 5
"""So many unknown among the last hundred settled: pause, then one alone."""
DOUBT_PAUSE = 1.0
DOUBT_IN_A_ROW = 20
"""So many unknown one after another stop the run."""

_ABSENT_STATUSES = frozenset({502, 503, 504})
_BUSY_STATUSES = frozenset({408, 425, 429})


def is_absent(attempt: Attempt, evidence: Evidence) -> bool:
    """Whether the attempt met a server that is not there: never left, 502, 503 or 504."""
    return evidence is Evidence.NEVER_LEFT or attempt.status in _ABSENT_STATUSES


def is_good(attempt: Attempt) -> bool:
    """Whether the answer shows a server that is there and takes requests."""
    status = attempt.status
    return status is not None and status not in _ABSENT_STATUSES and status not in _BUSY_STATUSES


@dataclass(slots=True)
class Gate:
    """Open, or closed until a moment and a good answer to the one request that goes first."""

    closed: bool = False
    opens_at: float = 0.0
    probing: bool = False

    def hold(self, now: float, seconds: float) -> None:
        """Keep everybody back for so many seconds from now; a shorter hold never opens it earlier."""
        self.closed = True
        self.opens_at = max(self.opens_at, now + seconds)

    def held(self, now: float) -> float:
        """Seconds until the moment at which it opens for the first one."""
        return max(0.0, self.opens_at - now) if self.closed else 0.0

    def delay(self, now: float) -> float | None:
        """Seconds until somebody may go, 0 is now, None is when the probe has its answer."""
        if not self.closed:
            return 0.0
        if now < self.opens_at:
            return self.opens_at - now
        return None if self.probing else 0.0

    def pass_through(self) -> bool:
        """Somebody goes, as `delay` allowed; whether as the probe that goes first."""
        self.probing = self.probing or self.closed
        return self.closed

    def answered(self, now: float, *, good: bool) -> bool:
        """The probe has its answer; whether the gate is open now.

        A good one opens it, unless somebody was told to wait meanwhile. After any other the next probe keeps a
        distance: without it a server that throttles would use up everybody's attempts one after another.
        """
        self.probing = False
        if not good:
            self.hold(now, FIRST_PAUSE)
        elif now >= self.opens_at:
            self.closed = False
        return not self.closed


@dataclass(slots=True)
class Away:
    """Whether the server is away, since when, and how long to wait before the next probe."""

    max_pause: float
    since: float | None = None
    pause: float = FIRST_PAUSE
    recipients: set[int] = field(default_factory=set)

    def absent(self, now: float, number: int, *, probe: bool) -> float | None:
        """Somebody met an absent server. Seconds for which everybody is held back, None if it is not away."""
        if self.since is None:
            self.recipients.add(number)
            if len(self.recipients) < AWAY_RECIPIENTS:
                return None
            self.since, self.pause = now, FIRST_PAUSE
        elif probe:
            self.pause = min(LONGEST_PAUSE, self.pause * 2)
        return self.pause

    def present(self) -> None:
        """Somebody got another answer: it is there."""
        self.since = None
        self.recipients.clear()

    def is_over(self, now: float) -> bool:
        """Whether it has been away for longer than is waited for."""
        return self.since is not None and now - self.since > self.max_pause


class Worry(Enum):
    """What the unknown ones among the last settled mean for the run."""

    NONE = "go on"
    PAUSE = "pause, then one alone"
    STOP = "stop the run"


@dataclass(slots=True)
class Doubt:
    """How many of the last settled messages are unknown."""

    last: deque[bool] = field(default_factory=lambda: deque(maxlen=DOUBT_WINDOW))
    in_a_row: int = 0

    def settled(self, *, unknown: bool) -> Worry:
        """One more message is settled."""
        self.in_a_row = self.in_a_row + 1 if unknown else 0
        if not unknown:
            self.last.append(False)
            return Worry.NONE
        if self.in_a_row >= DOUBT_IN_A_ROW:
            return Worry.STOP
        self.last.append(True)
        if sum(self.last) < DOUBT_LIMIT:
            return Worry.NONE
        self.last.clear()
        return Worry.PAUSE
