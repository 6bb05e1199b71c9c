"""Comparison: the ledger against what the simulator received.

Pure. Invariant: each state allows a number of deliveries, `_ALLOWED`; the rows of one recipient (and text, if texts are
given) together allow the sum, so that a duplicate beside its original is no difference.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from bulksms.model.message import State
from bulksms.sandbox.journal import Journal

Outcome = tuple[str, str, bool] | tuple[str, str, bool, str]
"""recipient, state, possible_duplicate, and optionally the text. Give the text with all rows or with none."""

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
"""The least and the most deliveries that a state allows; `possible_duplicate` removes the upper bound."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How the ledger and the journal differ. The first four are differences, in messages; the rest is information."""

    missing: int = 0
    """Accepted in the ledger, but never delivered."""
    denied: int = 0
    """Delivered, though the ledger says that it was certainly not sent."""
    repeated: int = 0
    """Delivered more often than allowed, and the ledger does not admit it."""
    strange: int = 0
    """Delivered to a recipient, or with a text, that the ledger does not know."""

    requests: int = 0
    delivered: int = 0
    unknown_delivered: int = 0
    """Unknown in the ledger, and delivered."""
    unknown_not_delivered: int = 0
    """Unknown in the ledger, and not delivered."""
    admitted_repeats: int = 0
    """Delivered more than once, and the ledger says that it may have been."""

    @property
    def agrees(self) -> bool:
        """Whether the ledger tells the truth."""
        return not (self.missing or self.denied or self.repeated or self.strange)

    def line(self) -> str:
        """One line for a person."""
        received = f"{_many(self.requests, 'request')} received, {_many(self.delivered, 'message')} processed"
        if self.agrees:
            return ", ".join([f"Rehearsal: {received}: server log and ledger agree", *self._information()])
        return f"Rehearsal: {received}: SERVER LOG AND LEDGER DIFFER: {', '.join(self._differences())}"

    def _information(self) -> list[str]:
        return _counted(
            (self.unknown_delivered, "unknown and processed"),
            (self.unknown_not_delivered, "unknown and not processed"),
            (self.admitted_repeats, "processed more than once, as the ledger says they may have been"),
        )

    def _differences(self) -> list[str]:
        return _counted(
            (self.missing, "accepted but never processed"),
            (self.denied, "processed though the ledger says not sent"),
            (self.repeated, "processed too often"),
            (self.strange, "processed but not in the ledger"),
        )


class _Expected:
    """What the rows of one recipient (and text) allow in total."""

    __slots__ = ("admitted", "least", "most", "unknown")

    def __init__(self) -> None:
        self.least = 0
        self.most = 0
        self.unknown = 0
        self.admitted = False

    def allow(self, state: State, possible_duplicate: bool) -> None:
        least, most = _ALLOWED[state]
        self.least += least
        self.most += most
        self.unknown += state is State.UNKNOWN
        self.admitted |= possible_duplicate


def compare(journal: Journal, outcomes: Iterable[Outcome]) -> Comparison:
    """Compare the messages of a ledger with the requests that arrived for them."""
    expected: defaultdict[tuple[str, str | None], _Expected] = defaultdict(_Expected)
    for recipient, state, possible_duplicate, *text in outcomes:
        expected[recipient, text[0] if text else None].allow(State(state), possible_duplicate)
    counts: defaultdict[str, int] = defaultdict(int)
    known = 0
    for (recipient, of_text), rows in expected.items():
        delivered = journal.delivered(recipient, of_text)
        known += delivered
        _judge(rows, delivered, counts)
    strange = journal.deliveries - known
    return Comparison(**counts, strange=strange, requests=journal.total, delivered=journal.deliveries)


def _judge(rows: _Expected, delivered: int, counts: defaultdict[str, int]) -> None:
    """Add the differences of one recipient to the counts."""
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
