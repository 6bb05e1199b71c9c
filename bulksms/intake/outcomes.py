"""Outcomes: a CSV file in which a person wrote what became of messages, such as a report that was edited by hand.

Law: whatever is not plainly written refuses the whole file; nobody guesses who was told.
"""

from collections.abc import Iterator, Sequence
from typing import BinaryIO, NamedTuple

from bulksms.intake.decoding import Text
from bulksms.intake.delimited import DelimitedRows
from bulksms.intake.finding import refused, shortened
from bulksms.intake.layout import RECIPIENT_COLUMNS
from bulksms.intake.template import folded
from bulksms.recipient import BadRecipient, parse_recipient

ROW_COLUMN = "row"
OUTCOME_COLUMN = "outcome"
STATUS_COLUMN = "status"
"""What a report calls it."""
_SHOWN = 10


class Outcome(NamedTuple):
    """What one row of the file says: which message, by its row or its recipient or both, and what became of it.

    `recipient` is as it was written, `key` what it is compared by, None if it is no identifier. `said` is the word in
    the column `outcome`, or `status` if there is none; empty if nothing is written.
    """

    line: int
    row: int | None
    recipient: str
    key: str | None
    said: str


class OutcomeFile:
    """The outcomes in a file; `column` is the one that says them, None if there is none."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        """Read the header.

        Raises:
            InputRefused: it cannot be read, or no column says which messages it is about.

        """
        self.name = name
        self._rows = DelimitedRows(Text(stream, name, None), None)
        self._places = {folded(name): place for place, name in reversed(list(enumerate(self._rows.columns)))}
        self._row = self._places.get(ROW_COLUMN)
        self._recipient = self._first(RECIPIENT_COLUMNS)
        self._said = self._first((OUTCOME_COLUMN, STATUS_COLUMN))
        self.column = None if self._said is None else folded(self._rows.columns[self._said])
        if self._row is None and self._recipient is None:
            hint = (
                f"it needs a column called {ROW_COLUMN}, as a report has it, or one of {', '.join(RECIPIENT_COLUMNS)}"
            )
            raise refused("E005", f"The first line of {name} names no column that says whom it is about", hint)

    def __iter__(self) -> Iterator[Outcome]:
        """Give what each row says, in the file's order.

        Raises:
            InputRefused: rows cannot be read, or name nobody; with the numbers of the first of them, at the end.

        """
        bad: list[str] = []
        for line, cells, broken in self._rows.records():
            outcome = self._outcome(line, cells) if broken is None else broken.problem
            if isinstance(outcome, Outcome):
                yield outcome
            else:
                bad.append(f"row {line}: {outcome}")
        if bad:
            more = f" and {len(bad) - _SHOWN:,} more" if len(bad) > _SHOWN else ""
            hint = "correct them: nobody can tell who is meant"
            raise refused("E101", f"{self.name} has rows that name nobody: {'; '.join(bad[:_SHOWN])}{more}", hint)

    def _outcome(self, line: int, cells: Sequence[str]) -> Outcome | str:
        """What the row says, or what is wrong with it. Where the row's number is written, that alone is needed."""
        row, given = self._cell(cells, self._row), self._cell(cells, self._recipient)
        if row and not (row.isascii() and row.isdigit()):
            return f"{shortened(row)!r} is no row"
        if not row and not given:
            return "neither a row nor an identifier"
        key = None
        try:
            key = parse_recipient(given).key
        except BadRecipient as problem:
            if not row:
                return f"{shortened(given)!r}: {problem}"
        return Outcome(line, int(row) if row else None, given, key, self._cell(cells, self._said).casefold())

    def _first(self, names: Sequence[str]) -> int | None:
        return next((self._places[name] for name in map(folded, names) if name in self._places), None)

    @staticmethod
    def _cell(cells: Sequence[str], place: int | None) -> str:
        return cells[place].strip() if place is not None and place < len(cells) else ""
