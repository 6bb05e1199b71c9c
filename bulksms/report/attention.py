"""Attention: the messages that a person has to look at, by what is to be done about them.

Law: a message is in the first group that it belongs to, and in no other; every group counts all of its messages and
keeps the first of them only.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from bulksms.ledger.reader import Line
from bulksms.message import UNFINISHED, Reason, State

KEPT = 1_000
"""Messages of a group that are kept to be listed."""


class Advice(NamedTuple):
    """What to do, and the command that does it, if one does."""

    sentence: str
    command: str | None = None


class Kind(NamedTuple):
    """A kind of trouble; `only` is what `bulksms report --only` calls its messages, "" if it has no word for them.

    `advice` is asked with the ledger, ready to copy, and the row of the first such message.
    """

    title: str
    meaning: str
    only: str
    belongs: Callable[[Line], bool]
    advice: Callable[[str, int], Sequence[Advice]]


@dataclass(slots=True)
class Group:
    """The messages of one kind: how many, and the first of them."""

    kind: Kind
    count: int = 0
    first: list[Line] = field(default_factory=list)

    def add(self, line: Line) -> None:
        """Count one more."""
        self.count += 1
        if len(self.first) < KEPT:
            self.first.append(line)

    def advice(self, ledger: str) -> Sequence[Advice]:
        """What to do about them; `ledger` is ready to copy."""
        return self.kind.advice(ledger, self.first[0].row)


def _unknown(ledger: str, row: int) -> Sequence[Advice]:
    return (
        Advice("Look in Adaxes and at the SMS gateway whether it went out, then settle each by its row."),
        Advice("If it was sent:", f'bulksms resolve {ledger} --accepted {row} --note "seen at the gateway"'),
        Advice("If it was not:", f'bulksms resolve {ledger} --failed {row} --note "not at the gateway"'),
        Advice("Or send again, knowing that some may get it twice:", f"bulksms retry {ledger} --only unknown"),
    )


def _refused(ledger: str, row: int) -> Sequence[Advice]:
    del row
    again = f"bulksms retry {ledger} --only failed:refused,failed:refused_elsewhere"
    return (Advice("When what the server said is put right:", again),)


def _settled(ledger: str, row: int) -> Sequence[Advice]:
    del row
    return (Advice("To send them:", f"bulksms retry {ledger} --only failed:resolved_by_hand"),)


def _gave_up(ledger: str, row: int) -> Sequence[Advice]:
    del row
    return (Advice("When the server is well again:", f"bulksms retry {ledger}"),)


def _expired(ledger: str, row: int) -> Sequence[Advice]:
    del row
    return (Advice("If it still makes sense to send them:", f"bulksms retry {ledger} --only expired"),)


def _left(ledger: str, row: int) -> Sequence[Advice]:
    del row
    return (Advice("To go on with them:", f"bulksms resume {ledger}"),)


def _awaiting(ledger: str, row: int) -> Sequence[Advice]:
    del ledger, row
    return (Advice("Somebody who may do so has to approve or deny them in Adaxes, which does not tell bulksms of it."),)


def _bad(ledger: str, row: int) -> Sequence[Advice]:
    del row
    return (
        Advice(
            "Correct them in a copy of the input; nobody who was told is told again:",
            f"bulksms send corrected.csv --not-told-in {ledger} --ledger corrected.ledger.db",
        ),
    )


def _twice(ledger: str, row: int) -> Sequence[Advice]:
    del ledger, row
    return (Advice("Nothing can be called back. If they ask: it was the same message, not another one."),)


def _is(state: State, *reasons: Reason) -> Callable[[Line], bool]:
    return lambda line: line.state is state and (not reasons or line.reason in reasons)


KINDS: Sequence[Kind] = (
    Kind(
        "Unknown whether they were sent",
        "The request left, and no answer came back that says what became of it.",
        "unknown",
        _is(State.UNKNOWN),
        _unknown,
    ),
    Kind(
        "Failed: given up",
        "Certainly not sent: every attempt met a server that did not take it.",
        "failed",
        _is(State.FAILED, Reason.GAVE_UP),
        _gave_up,
    ),
    Kind(
        "Failed: settled by hand",
        "Somebody found out that they were not sent.",
        "failed",
        _is(State.FAILED, Reason.RESOLVED_BY_HAND),
        _settled,
    ),
    Kind("Failed: refused", "Certainly not sent.", "failed", _is(State.FAILED), _refused),
    Kind(
        "Expired",
        "Certainly not sent: the deadline passed before it was their turn.",
        "expired",
        _is(State.EXPIRED),
        _expired,
    ),
    Kind(
        "Awaiting approval",
        "Adaxes has them and holds them back.",
        "awaiting_approval",
        _is(State.AWAITING_APPROVAL),
        _awaiting,
    ),
    Kind(
        "Processing",
        "Adaxes has them, and has not said yet what became of them.",
        "processing",
        _is(State.PROCESSING),
        _left,
    ),
    Kind("Not sent yet", "They are queued.", "queued", _is(State.QUEUED), _left),
    Kind(
        "Bad rows of the input",
        "Never sent: the row was no message.",
        "skipped",
        _is(State.SKIPPED, Reason.BAD_ROW),
        _bad,
    ),
    Kind(
        "May have been sent twice",
        "An attempt that may have been processed was followed by another; those listed further up are not repeated.",
        "",
        lambda line: line.may_have_sent_twice,
        _twice,
    ),
)
"""The kinds of trouble, the most urgent first."""


def attention(lines: Iterable[Line], *, is_living: bool = False) -> tuple[list[Group], Counter[State]]:
    """Those groups that have messages, the most urgent first, and how many messages there are in each state.

    What a run is still working on needs nobody's attention.
    """
    groups = [Group(kind) for kind in KINDS if not is_living or kind.only not in UNFINISHED]
    counts: Counter[State] = Counter()
    for line in lines:
        counts[line.state] += 1
        for group in groups:
            if group.kind.belongs(line):
                group.add(line)
                break
    return [group for group in groups if group.count], counts
