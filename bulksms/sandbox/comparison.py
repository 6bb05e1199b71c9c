"""Comparison: what a ledger says against what the stand-in server received.

Pure. Law: each state allows a number of deliveries, `_ALLOWED`; the rows of one recipient (and text, if texts are
given) allow together what they allow one by one, so that a duplicate beside its original is no difference.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from bulksms.message import State
from bulksms.sandbox.journal import Journal

Outcome = tuple[str, str, bool] | tuple[str, str, bool, str]
"""recipient, state, may_have_sent_twice, and optionally the text. Give the text with all rows or with none."""

_NOT_SENT = (0, 0)
_PERHAPS = (0, 1)
_ALLOWED: Mapping[State, tuple[int, int]] = MappingProxyType(
    {
        State.ACCEPTED: (1, 1),
        State.PROCESSING: _PERHAPS,
        State.SENDING: _PERHAPS,
        State.UNKNOWN: _PERHAPS,
        State.AWAITING_APPROVAL: _NOT_SENT,
        State.FAILED: _NOT_SENT,
        State.QUEUED: _NOT_SENT,
        State.EXPIRED: _NOT_SENT,
        State.CANCELLED: _NOT_SENT,
        State.SKIPPED: _NOT_SENT,
    }
)
"""The least and the most deliveries that a state allows; `may_have_sent_twice` lifts the most."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How the ledger and the journal differ. The first four are differences, in messages; the others are news."""

    missing: int = 0
    """Said to be accepted, but never delivered."""
    denied: int = 0
    """Delivered, though the ledger says that it was certainly not sent."""
    repeated: int = 0
    """Delivered more often than allowed, with nothing in the ledger that admits it."""
    strange: int = 0
    """Delivered to a recipient, or with a text, that the ledger does not know."""

    requests: int = 0
    delivered: int = 0
    unknown_delivered: int = 0
    """Unknown in the ledger; were delivered."""
    unknown_not_delivered: int = 0
    """Unknown in the ledger; were not delivered."""
    admitted_repeats: int = 0
    """Delivered more than once, and the ledger says that it may have been."""

    @property
    def agrees(self) -> bool:
        """Whether the ledger tells the truth."""
        return not (self.missing or self.denied or self.repeated or self.strange)

    def line(self) -> str:
        """One line for a person."""
        received = f"{_many(self.requests, 'request')} received, {_many(self.delivered, 'message')} delivered"
        if self.agrees:
            return ", ".join([f"Rehearsal: {received}: the ledger agrees", *self._news()])
        return f"Rehearsal: {received}: THE LEDGER DIFFERS: {', '.join(self._differences())}"

    def _news(self) -> list[str]:
        return _counted(
            (self.unknown_delivered, "unknown delivered"),
            (self.unknown_not_delivered, "unknown not delivered"),
            (self.admitted_repeats, "delivered more than once, as the ledger says they may have been"),
        )

    def _differences(self) -> list[str]:
        return _counted(
            (self.missing, "accepted but never delivered"),
            (self.denied, "delivered though not sent by the ledger"),
            (self.repeated, "delivered too often"),
            (self.strange, "delivered but not in the ledger"),
        )


class _Expected:
    """What the rows of one recipient (and text) allow together."""

    __slots__ = ("admitted", "least", "most", "unknown")

    def __init__(self) -> None:
        self.least = 0
        self.most = 0
        self.unknown = 0
        self.admitted = False

    def allow(self, state: State, may_have_sent_twice: bool) -> None:
        least, most = _ALLOWED[state]
        self.least += least
        self.most += most
        self.unknown += state is State.UNKNOWN
        self.admitted |= may_have_sent_twice


def compare(journal: Journal, outcomes: Iterable[Outcome]) -> Comparison:
    """Holds what a ledger says of its messages against what was received for them."""
    expected: defaultdict[tuple[str, str | None], _Expected] = defaultdict(_Expected)
    for recipient, state, may_have_sent_twice, *text in outcomes:
        expected[recipient, text[0] if text else None].allow(State(state), may_have_sent_twice)
    counts: defaultdict[str, int] = defaultdict(int)
    known = 0
    for (recipient, of_text), rows in expected.items():
        delivered = journal.delivered(recipient, of_text)
        known += delivered
        _judge(rows, delivered, counts)
    strange = journal.deliveries - known
    return Comparison(**counts, strange=strange, requests=journal.total, delivered=journal.deliveries)


def _judge(rows: _Expected, delivered: int, counts: defaultdict[str, int]) -> None:
    """Adds to the counts what one recipient's rows and deliveries show."""
    if delivered < rows.least:
        counts["missing"] += rows.least - delivered
    elif delivered > rows.most:
        if rows.admitted:
            counts["admitted_repeats"] += 1
        elif rows.most:
            counts["repeated"] += 1
        else:
            counts["denied"] += 1
    unknown_delivered = min(rows.unknown, max(0, delivered - rows.least))
    counts["unknown_delivered"] += unknown_delivered
    counts["unknown_not_delivered"] += rows.unknown - unknown_delivered


def _counted(*parts: tuple[int, str]) -> list[str]:
    return [f"{count:,} {words}" for count, words in parts if count]


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
