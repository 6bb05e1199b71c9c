"""Recipient files: lists of people beside the input: who is never sent to, and what a person says of messages.

A suppression list has one identifier a line, or is a CSV file with a recipient column; a resolution file is a CSV file
in which a person wrote what became of messages, such as an edited report.
Invariant: a line that names nobody plainly refuses the whole file; nothing is guessed.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from bulksms.input.columns import RECIPIENT_COLUMNS
from bulksms.input.csv_rows import DelimitedRows
from bulksms.input.decoding import Text, open_file
from bulksms.input.finding import Finding, refused, shortened
from bulksms.input.template import folded
from bulksms.model.recipient import BadRecipient, Recipient, parse_recipient

_SHOWN = 10


def read_suppressed(path: Path) -> Iterator[str]:
    """Give the keys of all identifiers in the file, one by one. Raises InputError as `read_identifiers` does."""
    for recipient in read_identifiers(path, "correct them: nobody can tell who is not to be sent to"):
        yield recipient.key


def read_identifiers(path: Path, hint: str) -> Iterator[Recipient]:
    """Give all identifiers in the file, one by one; `hint` says what to do about those that are none.

    Raises:
        InputError: it cannot be read, is empty, or has lines that are no identifiers; then, at the end, with the
            numbers of the first of them.

    """
    bad: list[str] = []
    count = 0
    with open_file(path) as stream:
        for row, value in _values(Text(stream, path.name, None)):
            try:
                yield parse_recipient(value)
            except BadRecipient as problem:
                count += 1
                if count <= _SHOWN:
                    bad.append(f"row {row} {shortened(value)!r}: {problem}")
    if count:
        more = f" and {count - _SHOWN:,} more" if count > _SHOWN else ""
        raise refused("E101", f"{path.name} has rows that are no identifiers: {'; '.join(bad)}{more}", hint)


def _values(text: Text) -> Iterator[tuple[int, str]]:
    """Give what should be an identifier of each row, with its number."""
    first = text.first_line()
    if not first:
        raise refused("E002", f"{text.name} is empty", "is it the right file?")
    if _is_identifier(first):
        yield from _lines(text)
        return
    if folded(_unquoted(first)) in map(folded, RECIPIENT_COLUMNS):
        lines = _lines(text)
        next(lines)
        yield from lines
        return
    rows = DelimitedRows(text, None)
    place = _recipient_column(rows.columns, text.name)
    for row, cells, broken in rows.records():
        yield row, _cell(cells, place, broken)


def _lines(text: Text) -> Iterator[tuple[int, str]]:
    for row, line in enumerate(text.lines(), 1):
        if line.strip():
            yield row, _unquoted(line)


def _unquoted(line: str) -> str:
    """Take off the quotes that a spreadsheet puts around a DN, because it has commas in it."""
    line = line.strip()
    if len(line) > 1 and line[0] == line[-1] == '"':
        return line[1:-1].replace('""', '"')
    return line


def _is_identifier(line: str) -> bool:
    try:
        parse_recipient(_unquoted(line))
    except BadRecipient:
        return False
    return True


def _recipient_column(columns: Sequence[str], name: str) -> int:
    names = [folded(column) for column in columns]
    for known in map(folded, RECIPIENT_COLUMNS):
        if known in names:
            return names.index(known)
    hint = "write one DN, GUID or SID a line, or a CSV file with a column called " + ", ".join(RECIPIENT_COLUMNS)
    raise refused("E005", f"The first line of {name} is neither an identifier nor a header that names them", hint)


def _cell(cells: Sequence[str], place: int, broken: Finding | None) -> str:
    """Give the cell; of a row that could not be read, all of it, which no identifier is."""
    if broken is not None or place >= len(cells):
        return " ".join(cells)
    return cells[place]


ROW_COLUMN = "row"
OUTCOME_COLUMN = "outcome"
STATUS_COLUMN = "status"
"""What a report calls it."""


class ResolutionRow(NamedTuple):
    """What one row of the file says: which message, by its row or its recipient or both, and what became of it.

    `recipient` is as it was written, `key` what it is compared by, None if it is no identifier. `word` is the one in
    the column `outcome`, or `status` if there is none; empty if nothing is written.
    """

    line: int
    row: int | None
    recipient: str
    key: str | None
    word: str


class ResolutionFile:
    """The outcomes in a file; `column` is the one that says them, None if there is none."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        """Read the header.

        Raises:
            InputError: it cannot be read, or no column says which messages it is about.

        """
        self.name = name
        self._rows = DelimitedRows(Text(stream, name, None), None)
        self._places = {folded(name): place for place, name in reversed(list(enumerate(self._rows.columns)))}
        self._row = self._places.get(ROW_COLUMN)
        self._recipient = self._first(RECIPIENT_COLUMNS)
        self._place = self._first((OUTCOME_COLUMN, STATUS_COLUMN))
        self.column = None if self._place is None else folded(self._rows.columns[self._place])
        if self._row is None and self._recipient is None:
            hint = (
                f"it needs a column called {ROW_COLUMN}, as a report has it, or one of {', '.join(RECIPIENT_COLUMNS)}"
            )
            raise refused("E005", f"The first line of {name} names no column that says whom it is about", hint)

    def __iter__(self) -> Iterator[ResolutionRow]:
        """Give what each row says, in the file's order.

        Raises:
            InputError: rows cannot be read, or name nobody; with the numbers of the first of them, at the end.

        """
        bad: list[str] = []
        for line, cells, broken in self._rows.records():
            outcome = self._outcome(line, cells) if broken is None else broken.problem
            if isinstance(outcome, ResolutionRow):
                yield outcome
            else:
                bad.append(f"row {line}: {outcome}")
        if bad:
            more = f" and {len(bad) - _SHOWN:,} more" if len(bad) > _SHOWN else ""
            hint = "correct them: nobody can tell who is meant"
            raise refused("E101", f"{self.name} has rows that name nobody: {'; '.join(bad[:_SHOWN])}{more}", hint)

    def _outcome(self, line: int, cells: Sequence[str]) -> ResolutionRow | str:
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
        return ResolutionRow(line, int(row) if row else None, given, key, self._cell(cells, self._place).casefold())

    def _first(self, names: Sequence[str]) -> int | None:
        return next((self._places[name] for name in map(folded, names) if name in self._places), None)

    @staticmethod
    def _cell(cells: Sequence[str], place: int | None) -> str:
        return cells[place].strip() if place is not None and place < len(cells) else ""
