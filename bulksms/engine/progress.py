"""Progress: what a run has done so far, for whoever shows it."""

import time
from collections import Counter
from dataclasses import dataclass, field

from bulksms.delivery.retry import Stop
from bulksms.log import log
from bulksms.message import State


@dataclass(slots=True)
class Progress:
    """Counts of one run, and why it stopped if it did. `concurrency` is how many requests may be in flight now."""

    settled: Counter[State] = field(default_factory=Counter)
    attempts: int = 0
    concurrency: int = 0
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

    @property
    def done(self) -> int:
        """Messages that this run settled for good."""
        return sum(count for state, count in self.settled.items() if state is not State.PROCESSING)

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self.began
