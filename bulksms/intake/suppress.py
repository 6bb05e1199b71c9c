"""Suppress: the people that are never sent to, one identifier a line or a CSV file with a recipient column.

Law: a line that is no identifier refuses the whole file; whoever wrote it there meant somebody not to be sent to.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from bulksms.intake.decoding import Text
from bulksms.intake.delimited import DelimitedRows
from bulksms.intake.finding import Finding, refused, shortened
from bulksms.intake.layout import RECIPIENT_COLUMNS
from bulksms.intake.opening import open_file
from bulksms.intake.template import folded
from bulksms.recipient import BadRecipient, Recipient, parse_recipient

_SHOWN = 10


def read_suppressed(path: Path) -> Iterator[str]:
    """Give the keys of all identifiers in the file, one by one. Raises InputRefused as `read_identifiers` does."""
    for recipient in read_identifiers(path, "correct them: nobody can tell who is not to be sent to"):
        yield recipient.key


def read_identifiers(path: Path, hint: str) -> Iterator[Recipient]:
    """Give all identifiers in the file, one by one; `hint` says what to do about those that are none.

    Raises:
        InputRefused: it cannot be read, is empty, or has lines that are no identifiers; then, at the end, with the
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
