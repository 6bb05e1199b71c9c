"""Breakers: when what happens to messages is the server's or the set-up's trouble, and the run has to stop.

Law: rows that did not go out stay `queued`; trouble that is everybody's is never written down as a recipient's.
"""

from collections import deque
from dataclasses import dataclass, field

from msgspec.structs import replace

from bulksms.attempt import Attempt, Failure
from bulksms.delivery.complaints import Kind, kind_of
from bulksms.delivery.outcome import Evidence
from bulksms.delivery.retry import Decision, Stop
from bulksms.message import Message, Reason, State

TROUBLE_STATUSES = frozenset({403, 404})
"""A refusal of one recipient, or a wrong path or account for all of them: only other answers can tell."""
TROUBLE_LIMIT = 20
"""So many 403 and 404 in a row, and nothing else since the process began: the path or the account is wrong."""
ALIKE_LIMIT = 50
"""So many refused in a row in the same words, with nobody accepted between: a reason that all of them share."""
RATIO_WINDOW = 50
"""`--max-failures N%` looks at so many of the last settled, and at nothing before there are so many."""


@dataclass(frozen=True, slots=True)
class FailureLimit:
    """`--max-failures N|N%`: so many failed messages, or so great a part of the last settled, stop the run."""

    count: int | None = None
    percent: float | None = None

    @classmethod
    def parse(cls, text: str) -> "FailureLimit":
        """Read `25` or `10%`. Raises ValueError."""
        number = text.strip()
        if number.endswith("%"):
            percent = float(number[:-1])
            if not 0 < percent <= 100:
                raise ValueError(f"{text!r} is no part of a hundred")
            return cls(percent=percent)
        if int(number) < 1:
            raise ValueError(f"{text!r} is not a number above 0")
        return cls(count=int(number))


@dataclass(slots=True)
class Breakers:
    """Looks at every decision and says what it means for the whole run.

    Until some other answer has come, a 403 or 404 is held back: its message stays `queued`. `keep_going` turns the
    breaker for refusals in the same words off.
    """

    limit: FailureLimit = FailureLimit()
    keep_going: bool = False
    cleared: bool = False
    held: int = 0
    failures: int = 0
    alike: int = 0
    kind: Kind = ()
    last: deque[bool] = field(default_factory=lambda: deque(maxlen=RATIO_WINDOW))

    def review(self, message: Message, attempt: Attempt, decision: Decision) -> Decision:
        """The decision as it stands after a look at everything that came before it."""
        if not self.cleared and _may_be_everybodys(attempt, decision):
            return self._hold(decision)
        if attempt.status is not None and attempt.failure is not Failure.PROXY_REFUSED:
            self.cleared = True
        if decision.state not in (State.QUEUED, State.PROCESSING):
            self.last.append(decision.state is State.FAILED)
        if decision.state is State.ACCEPTED:
            self.alike = 0
        if decision.state is State.FAILED and self._is_one_too_many(message, attempt, decision):
            return replace(decision, stop=decision.stop or Stop.FAILURES)
        return decision

    def clear(self) -> None:
        """The run is at its end: nothing can come any more that shows the trouble to be everybody's."""
        self.cleared = True

    def _hold(self, decision: Decision) -> Decision:
        self.held += 1
        stop = Stop.ENDPOINT if self.held >= TROUBLE_LIMIT else decision.stop
        return replace(decision, state=State.QUEUED, reason=None, uses_try=False, held=True, stop=stop)

    def _is_one_too_many(self, message: Message, attempt: Attempt, decision: Decision) -> bool:
        self.failures += 1
        if self.limit.count is not None and self.failures >= self.limit.count:
            return True
        if self._are_too_many():
            return True
        if decision.reason is Reason.GAVE_UP:
            return False
        kind = kind_of(attempt, message.recipient)
        self.alike = self.alike + 1 if kind == self.kind else 1
        self.kind = kind
        return self.alike >= ALIKE_LIMIT and not self.keep_going

    def _are_too_many(self) -> bool:
        """Whether too great a part of the last settled failed."""
        if self.limit.percent is None or len(self.last) < RATIO_WINDOW:
            return False
        return sum(self.last) * 100.0 >= self.limit.percent * RATIO_WINDOW


def _may_be_everybodys(attempt: Attempt, decision: Decision) -> bool:
    return decision.evidence is Evidence.REFUSED and attempt.status in TROUBLE_STATUSES
