"""Judgement: the one place that decides what follows from an answer to a send or a poll, and when a run has to stop.

Invariants: once `judge` has returned a decision, nobody changes it; a withheld message gets a second one, in
`released`. Rows that did not go out stay `queued`; trouble that is everybody's is never written down as a recipient's.
A message that the server took stays `processing` until the server says what became of it; if it never does, the message
is `unknown`, never sent again by itself. A server that is away says nothing about a message, and is polled less and
less. The same attempts at the same moments with the same chance give the same decisions. Memory does not grow with the
number of answers.
Source for polls: Adaxes REST API, "Running operations".
"""

import re
from collections import deque
from dataclasses import dataclass, field
from operator import sub

from msgspec.structs import replace

from bulksms.model.attempt import Attempt, Failure
from bulksms.model.message import Message, Reason, State
from bulksms.model.run_settings import TIMINGS, StopReason, Timings
from bulksms.policy.admission import AdmissionController, Permit
from bulksms.policy.circuit_breaker import LONGEST_PAUSE as LONGEST_PAUSE_WHILE_AWAY
from bulksms.policy.circuit_breaker import shows_reachable
from bulksms.policy.retry import (
    RESULT_EVIDENCE,
    RETRYABLE,
    Decision,
    Evidence,
    PolicyEvent,
    Released,
    RetryPolicy,
    classify,
    decide,
    decide_interrupted,
    decide_without_wait_header,
)

MAX_GROUPS = 50
"""The most groups that are kept; the one that has been quiet the longest makes room."""

_PARTICULAR = re.compile(r"'[^']*'|\"[^\"]*\"|“[^”]*”|[A-Za-z]+=[^,;]+(?:,[A-Za-z]+=[^,;]+)*|\S*\d\S*")
"""What differs from person to person in a server's words: quoted names, DNs, anything with digits."""

ErrorKey = tuple[object, ...]
"""What the errors of a group have in common: status, code, and the words without names and numbers."""


def error_key(attempt: Attempt, recipient: str) -> ErrorKey:
    """The group of an attempt's error."""
    words = _PARTICULAR.sub("", (attempt.error or "").replace(recipient, ""))
    return attempt.status, attempt.error_code, " ".join(words.split()).casefold()


@dataclass(slots=True)
class ErrorGroups:
    """Each group with the words of its latest error and its count; the latest group last."""

    groups: dict[ErrorKey, tuple[str, int]] = field(default_factory=dict)

    def add(self, attempt: Attempt, recipient: str) -> None:
        """Count the error of an attempt; neither a success nor a request that this side aborted is one."""
        is_well = attempt.error is None and attempt.failure is None and (attempt.status or 0) < 400
        if is_well or attempt.failure is Failure.CANCELLED:
            return
        kind = error_key(attempt, recipient)
        _, count = self.groups.pop(kind, ("", 0))
        if len(self.groups) == MAX_GROUPS:
            del self.groups[next(iter(self.groups))]
        self.groups[kind] = (_in_words(attempt, recipient), count + 1)

    def latest(self, most: int) -> tuple[tuple[str, int], ...]:
        """The last few groups, the most frequent first: the words and the count."""
        return tuple(sorted(list(self.groups.values())[-most:], key=lambda group: (-group[1], group[0])))


def _in_words(attempt: Attempt, recipient: str) -> str:
    """`503 The service is not available.`, `refused: Connect call failed`, `The group ... is unknown.`"""
    words = [] if attempt.status in (None, 200) else [str(attempt.status)]
    if attempt.failure is not None:
        words.append(f"{attempt.failure.value}:")
    words.append((attempt.error or "").replace(recipient, "..."))
    return " ".join(words).strip(" :")


TROUBLE_STATUSES = frozenset({403, 404})
"""A refusal of one recipient, or a wrong path or account for all of them: only other answers can tell."""
TROUBLE_LIMIT = 20
"""So many such answers in a row, and nothing else since the process began: the path or the account is wrong."""
PAGE_LIMIT = 3
"""So many pages as if all were well (a log-in page, a proxy's notice), and nothing else since the process began. Each
leaves its message unknown, so they are fewer."""
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
class FailureLimits:
    """Looks at every decision and says what it means for the whole run.

    Until some other answer has come, answers that may be about everybody are withheld: their messages stay `queued`.
    `keep_going` turns the limit of refusals in the same words off.
    """

    limit: FailureLimit = FailureLimit()
    keep_going: bool = False
    released: bool = False
    withheld: int = 0
    pages: int = 0
    """Pages instead of an answer that came before any other."""
    failures: int = 0
    failures_elsewhere: int = 0
    """Messages that have failed on other machines of the run: `--max-failures N` is about all of them together."""
    alike: int = 0
    kind: ErrorKey = ()
    last: deque[bool] = field(default_factory=lambda: deque(maxlen=RATIO_WINDOW))
    """Whether each of the last settled failed."""
    last_anywhere: deque[bool] = field(default_factory=lambda: deque(maxlen=RATIO_WINDOW))
    """The same over all machines of the run."""

    def settled_elsewhere(self, failed: int, others: int) -> None:
        """Other machines have settled so many more, in an order that nobody knows: failures count as the latest."""
        settled = failed + others
        if settled > RATIO_WINDOW:
            failed = failed * RATIO_WINDOW // settled
            others = RATIO_WINDOW - failed
        self.last_anywhere.extend([False] * others + [True] * failed)

    def apply(self, message: Message, attempt: Attempt, decision: Decision) -> Decision:
        """The decision, changed if everything that came before it asks for that."""
        if not self.released and _may_concern_everybody(attempt, decision):
            return self._hold(decision)
        if not self.released and attempt.is_page and decision.evidence is Evidence.LOST:
            return self._on_page(decision)
        if attempt.status is not None and attempt.failure is not Failure.PROXY_REFUSED:
            self.released = True
        if decision.state not in (State.QUEUED, State.PROCESSING):
            self.last.append(decision.state is State.FAILED)
            self.last_anywhere.append(decision.state is State.FAILED)
        if decision.state is State.ACCEPTED:
            self.alike = 0
        if decision.state is State.FAILED and self._is_one_too_many(message, attempt, decision):
            return replace(decision, stop=decision.stop or StopReason.TOO_MANY_FAILURES)
        return decision

    def release(self) -> None:
        """The run is at its end: nothing can come any more that shows the trouble to be everybody's."""
        self.released = True

    def _hold(self, decision: Decision) -> Decision:
        self.withheld += 1
        stop = StopReason.WRONG_ENDPOINT if self.withheld >= TROUBLE_LIMIT else decision.stop
        return replace(decision, state=State.QUEUED, reason=None, uses_try=False, withheld=True, stop=stop)

    def _on_page(self, decision: Decision) -> Decision:
        """The request has left, and nobody knows where it went: its message is unknown, in every delivery mode."""
        self.pages += 1
        stop = StopReason.WRONG_ENDPOINT if self.pages >= PAGE_LIMIT else decision.stop
        doubt = decision.in_doubt
        return replace(decision, state=State.UNKNOWN, reason=doubt, retry_in=None, uses_try=True, stop=stop)

    @property
    def is_one_at_a_time(self) -> bool:
        """Whether only one request at a time may leave: each may leave one more message unknown."""
        return self.pages > 0 and not self.released

    def _is_one_too_many(self, message: Message, attempt: Attempt, decision: Decision) -> bool:
        self.failures += 1
        if self.limit.count is not None and self.failures + self.failures_elsewhere >= self.limit.count:
            return True
        if self._are_too_many():
            return True
        if decision.reason is Reason.ATTEMPTS_EXHAUSTED:
            return False
        kind = error_key(attempt, message.recipient)
        self.alike = self.alike + 1 if kind == self.kind else 1
        self.kind = kind
        return self.alike >= ALIKE_LIMIT and not self.keep_going

    def _are_too_many(self) -> bool:
        """Whether too great a part of the last settled failed."""
        if self.limit.percent is None:
            return False
        enough = self.limit.percent * RATIO_WINDOW
        return any(
            len(last) == RATIO_WINDOW and sum(last) * 100.0 >= enough for last in (self.last, self.last_anywhere)
        )


def _may_concern_everybody(attempt: Attempt, decision: Decision) -> bool:
    if decision.evidence is not Evidence.REJECTED:
        return False
    return attempt.status in TROUBLE_STATUSES or attempt.is_page or (attempt.status == 400 and not attempt.is_from_api)


WORKERS_PER_POLL = 8
"""One question at once, and one more for so many workers: polls are short, and one that hangs keeps no other back."""

_STATES = {
    Evidence.SUCCEEDED: State.ACCEPTED,
    Evidence.SUSPENDED: State.AWAITING_APPROVAL,
    Evidence.REJECTED: State.FAILED,
}


def concurrent_polls(workers: int) -> int:
    """How many polls may be under way beside so many workers."""
    return 1 + workers // WORKERS_PER_POLL


@dataclass(slots=True)
class PollLimiter:
    """When the next poll may leave: so many at once; while the server is away one alone, further and further apart."""

    at_once: int
    max_outage: float
    under_way: int = 0
    not_before: float = float("-inf")
    pause: float = TIMINGS.first_probe_pause
    unreachable_since: float | None = None

    def delay(self, now: float) -> float | None:
        """Seconds until a poll may leave, None is when another has its answer."""
        if self.under_way >= (self.at_once if self.unreachable_since is None else 1):
            return None
        return max(0.0, self.not_before - now)

    def started(self) -> None:
        """A poll leaves."""
        self.under_way += 1

    def finished(self, now: float, attempt: Attempt) -> None:
        """It has ended so; `Retry-After` is a minimum for all of them."""
        self.under_way -= 1
        if shows_reachable(attempt):
            self.unreachable_since, self.pause = None, TIMINGS.first_probe_pause
            return
        if self.unreachable_since is None:
            self.unreachable_since = now
        self.not_before = max(self.not_before, now + max(self.pause, attempt.retry_after or 0.0))
        self.pause = min(LONGEST_PAUSE_WHILE_AWAY, self.pause * 2)

    def has_given_up(self, now: float) -> bool:
        """Whether the server has been away for longer than is waited for."""
        return self.unreachable_since is not None and now - self.unreachable_since > self.max_outage


def decide_poll(
    attempt: Attempt, completed: bool | None, message: Message, *, waited: float, timeout: float
) -> Decision | None:
    """What becomes of the message, None while the server still works on it. `waited` and `timeout` in seconds."""
    if attempt.status == 401 or attempt.error_code == "unauthenticated":
        return None  # that is about the token
    if completed and attempt.result is not None:
        evidence = RESULT_EVIDENCE[attempt.result.result_type]
        state = _STATES[evidence]
        if state is State.FAILED and message.in_doubt is not None:
            return Decision(evidence, State.UNKNOWN, message.in_doubt, in_doubt=message.in_doubt)
        return Decision(evidence, state, Reason.REJECTED if state is State.FAILED else None, in_doubt=message.in_doubt)
    if completed or attempt.status == 404 or (waited >= timeout and shows_reachable(attempt)):
        return Decision(Evidence.LOST, State.UNKNOWN, Reason.OPERATION_LOST, in_doubt=Reason.OPERATION_LOST)
    return None


@dataclass(slots=True)
class RunPolicy:
    """What one run has learnt so far, and its rules. `now` is in seconds of a monotonic clock."""

    retry: RetryPolicy
    admission: AdmissionController
    failures: FailureLimits = field(default_factory=FailureLimits)
    timings: Timings = TIMINGS
    withheld: list[tuple[Message, Attempt, Decision]] = field(default_factory=list)
    """Refusals that may be everybody's, until other answers have shown whose they are."""
    elsewhere: tuple[int, int, int] | None = None
    """What the other machines had settled at the last look: failed, unknown, and others; None before the first."""

    def note_elsewhere(self, settled: tuple[int, int, int]) -> None:
        """What other machines of the run have settled so far: the limits are about all of them together."""
        before, self.elsewhere = self.elsewhere, settled
        self.failures.failures_elsewhere = settled[0]
        if before is not None:  # what came before this machine's first answer is no part of the latest
            failed, unknown, others = map(sub, settled, before)
            self.failures.settled_elsewhere(failed, unknown + others)
            self.admission.unknown_rate.settled_elsewhere(unknown, failed + others)

    def judge(  # noqa: PLR0913 - everything that a decision rests on
        self,
        message: Message,
        attempt: Attempt,
        permit: Permit,
        now: float,
        chance: float,
        *,
        asked_to_wait: bool = False,
    ) -> Decision:
        """What follows from an attempt which this permit let go. `message` counts the attempt already.

        `chance` is uniform in [0, 1). `asked_to_wait` is whether the request carried the header `Adm-Wait`.
        """
        decision = decide_without_wait_header(attempt, message) if asked_to_wait and attempt.status == 400 else None
        if decision is None:
            evidence, admission, is_own, failures = classify(attempt), self.admission, True, 0
            if evidence in RETRYABLE:  # whose trouble it is matters only where the message may go again
                is_own = admission.is_recipients_own(now, message.number, attempt, evidence)
                failures = admission.failures_in_a_row(message.number)
            decision = decide(evidence, attempt, message, self.retry, chance, is_own=is_own, failures=failures)
        reviewed = self.failures.apply(message, attempt, decision)
        if self.failures.pages:
            self.admission.one_at_a_time = self.failures.is_one_at_a_time
        if reviewed.withheld:
            self.withheld.append((message, attempt, decision))
        events = tuple(self.admission.on_response(now, message, attempt, reviewed, permit))
        released = self.release() if self.withheld and self.failures.released else ()
        if not events and not released:
            return reviewed
        return replace(reviewed, events=events, released=released, stop=_first_stop(reviewed, events, released))

    def judge_poll(  # noqa: PLR0913 - everything that a decision rests on
        self,
        message: Message,
        attempt: Attempt,
        now: float,
        *,
        completed: bool | None,
        waited: float,
        timeout: float,
        polls: int,
    ) -> Decision:
        """What follows from a poll. The message stays `processing` while the server still works on it.

        `waited` is how long it has been watched, `timeout` after how long it is given up, both in seconds; `polls` is
        how often it was asked about, this time included.
        """
        decision = decide_poll(attempt, completed, message, waited=waited, timeout=timeout)
        if decision is None:
            pause = self.timings.poll_pause(polls)
            decision = Decision(Evidence.STARTED, State.PROCESSING, retry_in=pause, in_doubt=message.in_doubt)
        else:
            decision = self.failures.apply(message, attempt, decision)
        events = tuple(self.admission.on_poll(now, attempt, decision.state))
        if not events:
            return decision
        return replace(decision, events=events, stop=_first_stop(decision, events, ()))

    def release(self, *, at_the_end: bool = False) -> tuple[Released, ...]:
        """Settle the refusals that were withheld: they are the recipients' own.

        At the end of a run nothing can come any more that would show the contrary.
        """
        if at_the_end:
            self.failures.release()
        withheld, self.withheld = self.withheld, []
        return tuple(
            Released(message, attempt, self.failures.apply(message, attempt, decision))
            for message, attempt, decision in withheld
        )


def judge_interrupted(message: Message, attempt: Attempt) -> Decision:
    """What becomes of a message whose attempt this side broke off."""
    return decide_interrupted(classify(attempt), message)


def _first_stop(
    decision: Decision, events: tuple[PolicyEvent, ...], released: tuple[Released, ...]
) -> StopReason | None:
    """The first reason to stop the run, of several."""
    stops = (decision.stop, *(event.stop for event in events), *(each.decision.stop for each in released))
    return next((stop for stop in stops if stop is not None), None)
