"""Invariants: what must hold after any run, kill or operator's action, judged by what the server received.

Each is written once, here, as one function over what a server received and what the ledger says. The kill suites, the
soak test and the simulated nights all call `violations`. A rehearsal judges by the same comparison (`sandbox.compare`),
and `bulksms verify` by the same questions to the ledger alone (`Ledger.verify`); both are called from here, so that
nothing is judged in two ways. The list in docs/simulation.md is made from `INVARIANTS`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from bulksms.ledger import LedgerName, MessageRecord, ledger_at, open_ledger
from bulksms.model.message import Reason, State
from bulksms.model.run_settings import DeliveryMode
from bulksms.report.summary import Summary, summarise
from bulksms.sandbox import Comparison, Journal, compare

NOT_SENT = frozenset({State.FAILED, State.EXPIRED, State.CANCELLED, State.SKIPPED, State.QUEUED})
"""The states that say that a message was certainly not sent."""
MOST: dict[DeliveryMode, float] = {
    DeliveryMode.AT_MOST_ONCE: 1,
    DeliveryMode.BALANCED: 2,
    DeliveryMode.AT_LEAST_ONCE: float("inf"),
}
"""How many messages a recipient may get in each mode without a person's decision."""


@dataclass
class Facts:
    """What is known outside the ledger, beside the journal, and what the ledger says."""

    journal: Journal
    ledger: LedgerName
    total: int | None = None
    """Messages that were planned."""
    delivery: DeliveryMode | None = None
    """The mode of every run on the ledger, if it was one."""
    in_flight_at_deaths: int | None = None
    """Intents on disk without an outcome, added up over the deaths of runs."""
    sent_again_by_a_person: frozenset[str] = frozenset()
    """Recipients of unknown messages that a person queued again."""
    posted_while_processing: tuple[str, ...] = ()
    """Recipients for whom a request came while the server worked on an operation for them."""
    exit_code: int | None = None
    others: frozenset[str] = frozenset()
    """Who gets what is no message of this plan: the test message, or another ledger's."""
    verify: bool = True
    """Whether the ledger is asked about its own invariants."""
    messages: list[MessageRecord] = field(init=False)
    sent_for: list[MessageRecord] = field(init=False)
    """Those for which requests are made: what is received for a duplicate was sent for its first row."""
    summary: Summary = field(init=False)
    comparison: Comparison = field(init=False)
    broken_in_ledger: list[str] = field(init=False)

    def __post_init__(self) -> None:
        with open_ledger(self.ledger) as reader:
            reader.check_counters()
            self.messages = list(reader.messages())
            self.summary = summarise(reader)
        self.sent_for = [it for it in self.messages if it.reason != Reason.DUPLICATE]
        found = ledger_at(self.ledger).verify() if self.verify else []
        self.broken_in_ledger = [f"{name}: {what}" for name, what in found if what]
        # What a person settled by hand is that person's word.
        judged = [it for it in self.sent_for if it.reason != Reason.RESOLVED_BY_HAND]
        self.comparison = compare(
            self.journal, ((it.recipient, self.judged_state(it), it.possible_duplicate, it.text) for it in judged)
        )

    def judged_state(self, message: MessageRecord) -> State:
        """What is queued again after a doubtful attempt may have been received, where the mode sends such again."""
        may_be_in_doubt = message.attempts and (
            self.delivery is not DeliveryMode.AT_MOST_ONCE or message.recipient in self.sent_again_by_a_person
        )
        return State.UNKNOWN if message.state is State.QUEUED and may_be_in_doubt else message.state

    def delivered(self, message: MessageRecord) -> int:
        """How often the recipient's phone would have rung for this message."""
        return self.journal.delivered(message.recipient, message.text)


class Invariant(NamedTuple):
    """One invariant: what is promised, which part of the program holds it, and the planted bug that shows its test has
    teeth (a name in `tests/simulation/planted.py`).
    """

    promise: str
    safeguard: str
    planted: str
    violations: Callable[[Facts], Iterator[str]]


def _twice_in_silence(facts: Facts) -> Iterator[str]:
    for message in facts.sent_for:
        if facts.delivered(message) > 1 and not message.possible_duplicate:
            yield f"{message.recipient} got {facts.delivered(message)}, and the ledger does not say that it may have"


def _too_often(facts: Facts) -> Iterator[str]:
    if facts.delivery is not None:
        for message in facts.sent_for:
            if (
                facts.delivered(message) > MOST[facts.delivery]
                and message.recipient not in facts.sent_again_by_a_person
            ):
                yield f"{message.recipient} got {facts.delivered(message)} under {facts.delivery}"


def _never_received(facts: Facts) -> Iterator[str]:
    for message in facts.messages:
        if message.state is State.ACCEPTED and message.reason != "resolved_by_hand" and not facts.delivered(message):
            yield f"{message.recipient} is accepted, and nothing was received for it"


def _denied(facts: Facts) -> Iterator[str]:
    for message in facts.sent_for:
        if (
            facts.judged_state(message) in NOT_SENT
            and message.reason != "resolved_by_hand"
            and facts.delivered(message)
        ):
            yield f"{message.recipient} is {message.state} ({message.reason}), and got {facts.delivered(message)}"


def _lost(facts: Facts) -> Iterator[str]:
    if facts.total is not None and len(facts.messages) != facts.total:
        yield f"{facts.total} were planned, the ledger has {len(facts.messages)}"
    if facts.summary.total != len(facts.messages):
        yield f"the counters add up to {facts.summary.total}, the ledger has {len(facts.messages)}"
    known = {(message.recipient, message.text) for message in facts.messages}
    for recipient in set(facts.journal.recipients()) - facts.others:
        for text in facts.journal.texts(recipient):
            if (recipient, text) not in known and facts.journal.delivered(recipient, text):
                yield f"{recipient} got a text that the ledger does not know"


def _counted_wrong(facts: Facts) -> Iterator[str]:
    yield from facts.broken_in_ledger
    if facts.comparison.repeated or facts.comparison.missing or facts.comparison.denied:
        yield f"the comparison of a rehearsal finds: {facts.comparison}"


def _too_many_unknown(facts: Facts) -> Iterator[str]:
    unknown = sum(it.state is State.UNKNOWN and it.reason == "crash" for it in facts.messages)
    if facts.in_flight_at_deaths is not None and unknown > facts.in_flight_at_deaths:
        yield f"{unknown} are unknown by a crash, {facts.in_flight_at_deaths} were in flight"


def _posted_again(facts: Facts) -> Iterator[str]:
    for recipient in facts.posted_while_processing:
        if recipient not in facts.sent_again_by_a_person:
            yield f"a request came for {recipient} while an operation for it was running"


def _still_sending(facts: Facts) -> Iterator[str]:
    if not facts.summary.is_living:
        for message in facts.messages:
            if message.state is State.SENDING:
                yield f"{message.recipient} is sending, and no run lives"


def _left_over(facts: Facts) -> Iterator[str]:
    """Judged where a run has ended by itself."""
    if facts.exit_code is None or facts.summary.stopped not in (None, "deadline"):
        return
    left = {State.QUEUED} if facts.summary.stopped else {State.QUEUED, State.PROCESSING, State.SENDING}
    for message in facts.messages:
        if message.state in left:
            yield f"{message.recipient} is {message.state}"


def _another_exit_code(facts: Facts) -> Iterator[str]:
    """The table of the contract, read from the rows and not from the counters."""
    if facts.exit_code is None:
        return
    states = {message.state for message in facts.messages}
    stopped = facts.summary.stopped
    right = {"ledger_error": 6, "internal_error": 70, "interrupted": 130}.get(stopped or "", 5 if stopped else None)
    if right is None:
        lacking = states & {State.FAILED, State.EXPIRED, State.AWAITING_APPROVAL}
        right = 4 if State.UNKNOWN in states else 1 if lacking or facts.summary.bad_rows else 0
    if facts.exit_code != right:
        yield f"the exit code is {facts.exit_code}, and should be {right}"


INVARIANTS: tuple[Invariant, ...] = (
    Invariant(
        "Nobody gets a message twice without the ledger saying that they may have.",
        "`possible_duplicate` is set with the intent of an attempt that follows a doubtful one",
        "a second attempt after a doubtful one is not counted",
        _twice_in_silence,
    ),
    Invariant(
        "Nobody gets more messages than the delivery mode allows: one, two, or as many as are counted.",
        "`policy.retry`, the table of evidence and delivery mode",
        "a lost answer is sent again",
        _too_often,
    ),
    Invariant(
        "What is accepted was received.",
        "an answer counts only if it is the answer of this request, whole and readable",
        "a body that was cut off is taken as a success",
        _never_received,
    ),
    Invariant(
        "What was received is never called failed, expired, cancelled, skipped or queued.",
        "the intent is on disk before the request leaves; recovery makes `unknown` of what was `sending`",
        "recovery queues what was sending",
        _denied,
    ),
    Invariant(
        "Nobody is lost: every planned message is in one state, and the counts add up.",
        "one row a message, moved and counted in one transaction",
        "an outcome does not count",
        _lost,
    ),
    Invariant(
        "The ledger's own invariants hold at any time (`bulksms verify`).",
        "outcome, evidence and counters are one transaction",
        "an outcome leaves no evidence",
        _counted_wrong,
    ),
    Invariant(
        "A death leaves no more unknown than requests were in flight.",
        "an intent is written when its request is about to leave, not when it is queued",
        "intents are written for the whole window",
        _too_many_unknown,
    ),
    Invariant(
        "What the server works on is not posted again.",
        "the operation id is in the ledger with the outcome; the next run polls it",
        "an operation is queued again after a crash",
        _posted_again,
    ),
    Invariant(
        "Nothing is `sending` when no run lives.",
        "readers show it as `unknown`, and the next run makes it so",
        "readers show what is on disk",
        _still_sending,
    ),
    Invariant(
        "A run that nothing stopped leaves nothing queued or processing; after a deadline nothing is queued.",
        "a worker leaves when the ledger has no more rows and none waits for another attempt",
        "a message that waits for another attempt is forgotten",
        _left_over,
    ),
    Invariant(
        "The exit code is the contract's, for the whole ledger.",
        "`report.summary.Summary.exit_code`",
        "unknown is not in the exit code",
        _another_exit_code,
    ),
)


def violations(facts: Facts) -> list[str]:
    """Everything that does not hold, each with the promise that it breaks."""
    return [f"{invariant.promise} {what}" for invariant in INVARIANTS for what in invariant.violations(facts)]


def hold(journal: Journal, ledger: LedgerName, **known: object) -> Facts:
    """Assert that every invariant holds; returns what was judged."""
    facts = Facts(journal, ledger, **known)  # type: ignore[arg-type]  # named as the fields are
    assert violations(facts) == []
    return facts


def as_table() -> str:
    """The list for the documentation."""
    head = "| invariant | what holds it | what the nights find when it is taken away |\n| --- | --- | --- |"
    rows = [f"| {it.promise} | {it.safeguard} | {it.planted} |" for it in INVARIANTS]
    return "\n".join([head, *rows])


if __name__ == "__main__":
    print(as_table())  # noqa: T201 - for the page
