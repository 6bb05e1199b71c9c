"""Choosing: which messages of a ledger a person wants sent again.

Laws: `unknown` is chosen by its name only. What was accepted, awaits approval, or was withdrawn is never chosen.
Whoever was named and is left alone is told of.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from bulksms.cli import say
from bulksms.errors import InputRefused, UsageError
from bulksms.intake.suppress import read_identifiers
from bulksms.ledger.reader import LedgerReader, Line
from bulksms.ledger.selection import Rows, Selection
from bulksms.message import RETRYABLE, Reason, State

RETRIED = Selection(frozenset({(State.FAILED, Reason.GAVE_UP), (State.EXPIRED, None)}))
"""What is sent again if nothing else is said: certainly not sent, and nobody refused it."""
RETRIED_BY_NAME = Selection.of(State.FAILED, State.EXPIRED)
"""The same of rows or people that are named: then also what was refused."""
SHOWN = 10
"""Names and rows that a sentence lists."""


@dataclass(frozen=True, slots=True)
class Choice:
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

    def first(self, ledger: LedgerReader, count: int) -> Iterator[Line]:
        """The first of them."""
        if self.numbers is None:
            return islice(ledger.lines(self.selection), count)
        return ledger.lines_of(self.numbers[:count])


def choose(ledger: LedgerReader, only: Selection | None, rows: Rows | None, source: Path | None) -> Choice:
    """What is to be sent again, by states, and by rows or the identifiers in a file.

    Raises:
        UsageError: the options contradict each other, or ask for what is never sent again.
        InputRefused: the file cannot be read, or names what is not in the ledger.

    """
    if rows is not None and source is not None:
        raise UsageError("Both --rows and --from name messages.", hint="Use one of them.")
    if only is not None and (never := sorted(only.states - RETRYABLE)):
        raise UsageError(
            f"Messages that are {' or '.join(never)} are never sent again.",
            hint=f"--only takes {', '.join(sorted(RETRYABLE))}, each also with a reason, such as failed:gave_up.",
        )
    numbers = named(ledger, rows, source)
    if numbers is None:
        selection = only or RETRIED
        return Choice(selection, None, _counted(ledger.reasons(), selection))
    return _among(ledger, numbers, only or RETRIED_BY_NAME)


def named(ledger: LedgerReader, rows: Rows | None, source: Path | None) -> list[int] | None:
    """The numbers of the messages that were named; None if none were. Raises InputRefused for what is not there."""
    if rows is not None:
        return in_rows(ledger, rows)
    return None if source is None else _of_people(ledger, source)


def in_rows(ledger: LedgerReader, rows: Rows) -> list[int]:
    """The messages in these rows. Raises InputRefused if there are none in one of the parts."""
    found = ledger.numbers_in(rows)
    if missing := rows.without(set(found.values())):
        raise InputRefused(
            f"{ledger.path.name} has no row {listed(missing)}; nothing was changed.",
            hint="Rows are those of the input, as the report shows them in its first column.",
        )
    return list(found)


def describe(counts: Counter[tuple[State, str | None]]) -> str:
    """`30 failed:gave_up, 2 unknown:crash`."""
    ordered = sorted(counts.items(), key=lambda item: (item[0][0], item[0][1] or ""))
    return ", ".join(
        f"{count:,} {state if reason is None else f'{state}:{reason}'}" for (state, reason), count in ordered
    )


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _of_people(ledger: LedgerReader, source: Path) -> list[int]:
    """The messages to those whose identifiers are in the file; who is not in the ledger is told of."""
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


def _among(ledger: LedgerReader, numbers: Sequence[int], selection: Selection) -> Choice:
    chosen, counts, left_alone = [], Counter[tuple[State, str | None]](), Counter[tuple[State, str | None]]()
    for number, line in zip(numbers, ledger.lines_of(numbers), strict=True):
        if selection.takes(line.state, line.reason):
            chosen.append(number)
            counts[line.state, line.reason] += 1
        else:
            left_alone[line.state, line.reason] += 1
    return Choice(selection, chosen, counts, left_alone)


def _counted(
    reasons: Iterable[tuple[State, str | None, int]], selection: Selection
) -> Counter[tuple[State, str | None]]:
    return Counter({(state, reason): count for state, reason, count in reasons if selection.takes(state, reason)})
