"""Progress: what a run has done so far, for whoever shows it."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from bulksms.delivery.complaints import Complaints
from bulksms.delivery.pace import Concurrency
from bulksms.delivery.retry import Stop
from bulksms.delivery.traffic import Notice, Traffic
from bulksms.ledger.live import Pace
from bulksms.log import log
from bulksms.message import State

ERRORS = 5
"""So many kinds of complaint are told of: the last ones."""


@dataclass(slots=True)
class Progress:
    """Counts of one run, its brakes as they stand, and why it stopped if it did."""

    settled: Counter[State] = field(default_factory=Counter)
    attempts: int = 0
    traffic: Traffic = field(default_factory=lambda: Traffic(Concurrency(1)))
    """The brakes of the run; whoever shows them only reads them."""
    why_concurrency: str | None = None
    """Why `concurrency` changed last; None before it has."""
    why_held: str | None = None
    """Why everybody was held back last."""
    complaints: Complaints = field(default_factory=Complaints)
    deadline: float | None = None
    """When nothing new begins any more (POSIX seconds); None if there is no such moment, or not yet."""
    asking: bool = False
    """A person is being asked something: whatever is drawn has to stand still."""
    began: float = field(default_factory=time.monotonic)
    stopped: Stop | None = None
    why: str | None = None
    """What stopped the run, in the words of whoever said it."""
    hint: str | None = None
    """What to do about it, where that is known."""

    def stop(self, why: Stop, said: str | None = None, hint: str | None = None) -> None:
        """The run stops; of several reasons the first one stands."""
        if self.stopped is None:
            self.stopped, self.why, self.hint = why, said, hint
            log.info("run stopping", reason=why.value)

    def notice(self, notices: Sequence[Notice]) -> None:
        """Keep why something changed for all workers."""
        for notice in notices:
            if notice.what == "concurrency":
                self.why_concurrency = notice.why
            elif notice.what == "all workers held":
                self.why_held = notice.why

    @property
    def concurrency(self) -> int:
        """How many requests may be in flight now."""
        return self.traffic.concurrency.limit

    def pace(self, run: int, recent: float | None) -> Pace:
        """How fast the run with this number is, and why; `recent` is messages a second of late."""
        now, elapsed = time.monotonic(), self.elapsed
        concurrency, gate, away = self.traffic.concurrency, self.traffic.gate, self.traffic.away
        held = gate.opens_at - now if gate.closed else 0.0
        return Pace(
            run=run,
            elapsed=elapsed,
            overall=self.done / elapsed if self.done else None,
            recent=recent,
            concurrency=concurrency.limit,
            ceiling=concurrency.ceiling,
            adapts=concurrency.adapt,
            in_flight=concurrency.in_flight,
            rate=self.traffic.rate.per_second,
            why=self.why_concurrency,
            held=held if held > 0 else None,
            why_held=self.why_held,
            alone=gate.closed,
            away=None if away.since is None else now - away.since,
            deadline=self.deadline,
            stopping=self.stopped,
            errors=self.complaints.latest(ERRORS),
        )

    @property
    def done(self) -> int:
        """Messages that this run settled for good."""
        return sum(count for state, count in self.settled.items() if state is not State.PROCESSING)

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self.began
