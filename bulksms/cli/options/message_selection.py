"""Message selection: which messages of a ledger a person wants sent again.

Invariants: `unknown` is chosen by its name only. What was accepted, awaits approval, or was withdrawn is never chosen.
People who were named and are not sent to are reported.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from bulksms.cli.ui.console import say
from bulksms.errors import InputError, UsageError
from bulksms.input.recipient_files import read_identifiers
from bulksms.ledger import LedgerReader, MessageRecord, Rows, Selection
from bulksms.model.message import RETRYABLE, Reason, State

RETRIED = Selection(frozenset({(State.FAILED, Reason.ATTEMPTS_EXHAUSTED), (State.EXPIRED, None)}))
"""The default selection: certainly not sent, and not rejected."""
RETRIED_BY_NAME = Selection.of(State.FAILED, State.EXPIRED)
"""The same of rows or people that are named: then also what was refused."""
SHOWN = 10
"""Names and rows that a sentence lists."""


@dataclass(frozen=True, slots=True)
class MessageSelection:
    """What is to be sent again: of the messages `numbers` (None is all of them) those that are selected."""

    selection: Selection
    numbers: Sequence[int] | None
    counts: Counter[tuple[State, str | None]]
    left_alone: Counter[tuple[State, str | None]] = field(default_factory=Counter)
    """Those that were named and are not selected."""

    @property
    def total(self) -> int:
        """How many are to be sent again."""
        return self.counts.total()

    @property
    def unknown(self) -> int:
        """How many of them may have been sent already."""
        return sum(count for (state, _), count in self.counts.items() if state is State.UNKNOWN)

    def first(self, ledger: LedgerReader, count: int) -> Iterator[MessageRecord]:
        """The first of them."""
        if self.numbers is None:
            return islice(ledger.messages(self.selection), count)
        return ledger.messages_of(self.numbers[:count])


def choose(ledger: LedgerReader, only: Selection | None, rows: Rows | None, source: Path | None) -> MessageSelection:
    """What is to be sent again, by states, and by rows or the identifiers in a file.

    Raises:
        UsageError: the options contradict each other, or ask for what is never sent again.
        InputError: the file cannot be read, or names what is not in the ledger.

    """
    if rows is not None and source is not None:
        raise UsageError("Both --rows and --from name messages.", hint="Use one of them.")
    if only is not None and (never := sorted(only.states - RETRYABLE)):
        raise UsageError(
            f"Messages that are {' or '.join(never)} are never sent again.",
            hint=f"--only takes {', '.join(sorted(RETRYABLE))}, optionally with a reason: failed:attempts_exhausted.",
        )
    numbers = named(ledger, rows, source)
    if numbers is None:
        selection = only or RETRIED
        return MessageSelection(selection, None, _counted(ledger.reasons(), selection))
    return _among(ledger, numbers, only or RETRIED_BY_NAME)


def named(ledger: LedgerReader, rows: Rows | None, source: Path | None) -> list[int] | None:
    """The numbers of the messages that were named; None if none were. Raises InputError for what is not there."""
    if rows is not None:
        return in_rows(ledger, rows)
    return None if source is None else _of_people(ledger, source)


def in_rows(ledger: LedgerReader, rows: Rows) -> list[int]:
    """The messages in these rows. Raises InputError if there are none in one of the parts."""
    found = ledger.numbers_in(rows)
    if missing := rows.without(set(found.values())):
        raise InputError(
            f"{ledger.path.name} has no row {listed(missing)}; nothing was changed.",
            hint="Rows are those of the input, as the report shows them in its first column.",
        )
    return list(found)


def describe(counts: Counter[tuple[State, str | None]]) -> str:
    """`30 failed:attempts_exhausted, 2 unknown:crash`."""
    ordered = sorted(counts.items(), key=lambda item: (item[0][0], item[0][1] or ""))
    return ", ".join(
        f"{count:,} {state if reason is None else f'{state}:{reason}'}" for (state, reason), count in ordered
    )


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _of_people(ledger: LedgerReader, source: Path) -> list[int]:
    """The messages to those whose identifiers are in the file; who is not in the ledger is reported."""
    numbers: dict[int, None] = {}
    strangers = []
    for recipient in read_identifiers(source, "correct them: nobody can tell who is meant"):
        found = ledger.numbers_of(recipient.key)
        numbers.update(dict.fromkeys(found))
        if not found:
            strangers.append(recipient.given)
    if strangers:
        say(f"warning: {len(strangers):,} in {source.name} are not in {ledger.path.name}: {listed(strangers)}")
    return sorted(numbers)


def _among(ledger: LedgerReader, numbers: Sequence[int], selection: Selection) -> MessageSelection:
    chosen, counts, left_alone = [], Counter[tuple[State, str | None]](), Counter[tuple[State, str | None]]()
    for number, line in zip(numbers, ledger.messages_of(numbers), strict=True):
        if selection.takes(line.state, line.reason):
            chosen.append(number)
            counts[line.state, line.reason] += 1
        else:
            left_alone[line.state, line.reason] += 1
    return MessageSelection(selection, chosen, counts, left_alone)


def _counted(
    reasons: Iterable[tuple[State, str | None, int]], selection: Selection
) -> Counter[tuple[State, str | None]]:
    return Counter({(state, reason): count for state, reason, count in reasons if selection.takes(state, reason)})
