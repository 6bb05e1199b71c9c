"""Traffic: whether the next request may leave, and what each answer means for those to come.

Laws: no request leaves while the gate is closed, but one that goes alone; never more in flight than the limit; never
above the rate. What a server does to one message holds for all of them. Times are seconds of a monotonic clock.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from bulksms.attempt import Attempt, Failure
from bulksms.delivery.brake import DOUBT_PAUSE, Away, Doubt, Gate, Worry, is_absent, is_good
from bulksms.delivery.pace import Concurrency, Rate, RetryBudget
from bulksms.delivery.retry import Decision, Stop
from bulksms.message import State

_TIME_OUTS = frozenset({Failure.READ_TIMEOUT, Failure.CONNECT_TIMEOUT})


class Turn(NamedTuple):
    """The answer to "may I?". `wait` is seconds, None until something changes.

    `alone` is the one request that goes first through a half-open gate; `free` says that it uses up no try if it is
    certainly not processed.
    """

    go: bool
    wait: float | None = None
    alone: bool = False
    free: bool = False


GO = Turn(go=True)


class Notice(NamedTuple):
    """Something that changed for the whole run, for the log; `stop` if it ends it."""

    what: str
    why: str
    value: float
    stop: Stop | None = None


@dataclass(slots=True)
class Traffic:
    """All brakes of one run together."""

    concurrency: Concurrency
    rate: Rate = field(default_factory=Rate)
    budget: RetryBudget = field(default_factory=RetryBudget)
    gate: Gate = field(default_factory=Gate)
    away: Away = field(default_factory=lambda: Away(max_pause=600.0))
    doubt: Doubt = field(default_factory=Doubt)

    def ask(self, now: float, *, again: bool) -> Turn:
        """Whether a request may leave now; one that may is counted as in flight. `again` is a retry."""
        if self.concurrency.is_full:
            return Turn(go=False)
        wait = self.gate.delay(now)
        if wait != 0.0:
            return Turn(go=False, wait=wait)
        delay = max(self.rate.delay(now), self.budget.delay(now) if again else 0.0)
        if delay > 0:
            return Turn(go=False, wait=delay)
        self.rate.take(now)
        if again:
            self.budget.take(now)
        self.concurrency.begin()
        return self._through_the_gate()

    def proceed(self, now: float, turn: Turn) -> Turn:
        """A turn as it stands when its request is ready to leave: the gate may have closed meanwhile.

        Whoever is held back so stays in flight, and may be the one that goes alone.
        """
        if turn.alone:
            return turn
        wait = self.gate.delay(now)
        return self._through_the_gate() if wait == 0.0 else Turn(go=False, wait=wait)

    def _through_the_gate(self) -> Turn:
        if self.gate.pass_through():
            return Turn(go=True, alone=True, free=self.away.since is not None)
        return GO

    def answered(self, now: float, number: int, attempt: Attempt, decision: Decision, turn: Turn) -> list[Notice]:
        """The request for message `number` has ended so; what that changes for everybody."""
        notices: list[Notice] = []
        self.concurrency.end()
        if turn.alone and self.gate.answered(now, good=is_good(attempt)):
            notices.append(Notice("all workers go on", "a good answer", 0.0))
        if decision.hold is not None:
            asked = "" if attempt.retry_after is None else "the server asked for it with "
            self._hold(now, decision.hold, f"{asked}status {attempt.status}", notices)
        if attempt.retry_after is not None and (decision.again or decision.given_back or decision.hold is not None):
            self._require_patience(attempt.retry_after, notices)
        if is_absent(attempt, decision.evidence):
            self._absent(now, number, turn, notices)
        elif attempt.status is not None:
            self.away.present()
        self._adapt(now, attempt, notices)
        return notices + self.settled(now, decision.state)

    def asked_to_wait(self, now: float, attempt: Attempt) -> list[Notice]:
        """A poll has ended so: what the server asks of whoever polls it asks of everybody."""
        notices: list[Notice] = []
        if attempt.status in (429, 503) and attempt.retry_after is not None:
            self._hold(now, attempt.retry_after, f"the server asked for it with status {attempt.status}", notices)
            self._require_patience(attempt.retry_after, notices)
        return notices

    def _absent(self, now: float, number: int, turn: Turn, notices: list[Notice]) -> None:
        was_away = self.away.since is not None
        pause = self.away.absent(now, number, probe=turn.alone)
        if pause is not None and (turn.alone or not was_away):
            self._hold(now, pause, "the server is away", notices)
        if self.away.is_over(now):
            notices.append(Notice("server away", "for longer than --max-pause", self.away.max_pause, Stop.AWAY))

    def _hold(self, now: float, seconds: float, why: str, notices: list[Notice]) -> None:
        self.gate.hold(now, seconds)
        notices.append(Notice("all workers held", why, seconds))

    def _require_patience(self, asked: float, notices: list[Notice]) -> None:
        """A server may ask for more patience than there is, of everybody or of one message that the run ends with."""
        if asked > self.away.max_pause:
            notices.append(Notice("server away", "it asks for longer than --max-pause", asked, Stop.AWAY))

    def _adapt(self, now: float, attempt: Attempt, notices: list[Notice]) -> None:
        concurrency = self.concurrency
        if attempt.status in (429, 503) or attempt.failure in _TIME_OUTS:
            why = f"status {attempt.status}" if attempt.status else "time-out"
            if concurrency.complaint(now):
                notices.append(Notice("concurrency", why, concurrency.limit))
        elif is_good(attempt) and concurrency.good():
            notices.append(Notice("concurrency", "good answers", concurrency.limit))

    def settled(self, now: float, state: State) -> list[Notice]:
        """A message is where it is, by its answer or by a poll; one that is still under way says nothing yet."""
        notices: list[Notice] = []
        if state is State.ACCEPTED:
            self.budget.accepted()
        if state in (State.QUEUED, State.PROCESSING):
            return notices
        match self.doubt.settled(unknown=state is State.UNKNOWN):
            case Worry.PAUSE:
                self._hold(now, DOUBT_PAUSE, "several unknown", notices)
            case Worry.STOP:
                notices.append(Notice("doubt", "unknown one after another", self.doubt.in_a_row, Stop.DOUBT))
        return notices
