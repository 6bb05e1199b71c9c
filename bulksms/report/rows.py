"""Rows: one line for each message, in the input's order, as CSV or JSONL for programs, as a table for people.

Invariants: JSONL is exact; a CSV cell that a spreadsheet would run as a formula is defused with an apostrophe. The
columns are part of the public contract. Memory does not grow with the number of messages. On a terminal no line of the
table is wider than the terminal; what does not fit is below its message, indented. Without a terminal each message is
one line, and nothing in it is cut.
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import lru_cache
from itertools import chain, islice
from math import floor
from typing import Any

import msgspec

from bulksms.errors import UsageError
from bulksms.ledger import MessageRecord, OutcomeGroup
from bulksms.model.defused_cell import SUSPECTS, defused
from bulksms.report.shapes import ReportLine
from bulksms.report.text import columns_of, cut, printable, wrapped
from bulksms.report.triage import REASONS, PersonColumns

COLUMNS = ReportLine.__struct_fields__
"""The report's own columns; the input's other columns follow."""
BATCH = 500
"""Lines written at once: a write for each line would take a third of the time."""


def report_names(columns: Sequence[str]) -> list[str]:
    """The names of the input's other columns in a report: `input.` before one that the report itself has.

    Names that differ in case only are the same: PowerShell's `Import-Csv` reads no file that has both.
    """
    taken = {*COLUMNS, *(name.casefold() for name in columns)}
    names: list[str] = []
    for name in columns:
        free = name
        if name.casefold() in COLUMNS:
            while free.casefold() in taken:
                free = f"input.{free}"
            taken.add(free.casefold())
        names.append(free)
    return names


def as_jsonl(lines: Iterable[MessageRecord], columns: Sequence[str]) -> Iterator[str]:
    """One JSON object for each message, many lines at once."""
    names = dict(zip(columns, report_names(columns), strict=True))
    iterator = iter(lines)
    while batch := list(islice(iterator, BATCH)):
        encoded = []
        for line in batch:
            values = row_values(line)
            for name, value in line.other_columns.items():
                values[names.get(name, name)] = value
            encoded.append(_encoded(values))
        yield "\n".join((*encoded, ""))


def row_values(line: MessageRecord) -> dict[str, Any]:
    """The report's own columns of a message, in their order."""
    return dict(zip(COLUMNS, _values(line), strict=True))


def _encoded(values: dict[str, Any]) -> str:
    """Compact JSON in ASCII, as all that is printed; msgspec takes a third of the time, but escapes nothing."""
    written = _encode(values)
    return written.decode() if written.isascii() else _dumps(values)


_encode = msgspec.json.Encoder().encode
_dumps = json.JSONEncoder(separators=(",", ":")).encode


def as_csv(lines: Iterable[MessageRecord], columns: Sequence[str]) -> Iterator[str]:
    """A header and one record for each message (RFC 4180), many records at once."""
    written = _Written()
    writer = csv.writer(written)
    writer.writerow(map(defused, [*COLUMNS, *report_names(columns)]))
    iterator = iter(lines)
    while batch := list(islice(iterator, BATCH)):
        writer.writerows([_cells(line, columns) for line in batch])
        yield "".join(written)
        written.clear()
    yield "".join(written)


class _Written(list[str]):
    """What a CSV writer writes to: records in a list, which takes less time than a buffer in memory."""

    write = list[str].append


def _cells(line: MessageRecord, columns: Sequence[str]) -> list[object]:
    cells = _values(line)
    cells[_WARNINGS] = " | ".join(line.warnings)
    cells[_POSSIBLE_DUPLICATE] = "true" if line.possible_duplicate else "false"
    for place in _WRITTEN_BY_OTHERS:
        cell = cells[place]
        if cell and cell[0] in SUSPECTS:
            cells[place] = defused(cell)
    other = line.other_columns
    for name in columns:
        cell = other.get(name, "")
        cells.append(defused(cell) if cell[:1] in SUSPECTS else cell)
    return cells


def _values(line: MessageRecord) -> list[Any]:
    """The values of `COLUMNS`: a record has them in this order, and the other columns after them."""
    values = list(line)
    values.pop()
    if line.first_attempt_at is not None:
        values[_FIRST_ATTEMPT_AT] = _time(line.first_attempt_at)
    if line.finished_at is not None:
        values[_FINISHED_AT] = _time(line.finished_at)
    if line.latency_ms is not None:
        values[_LATENCY] = round(line.latency_ms, 1)
    return values


_WARNINGS = COLUMNS.index("warnings")
_POSSIBLE_DUPLICATE = COLUMNS.index("possible_duplicate")
_FIRST_ATTEMPT_AT = COLUMNS.index("first_attempt_at")
_FINISHED_AT = COLUMNS.index("finished_at")
_LATENCY = COLUMNS.index("latency_ms")
_WRITTEN_BY_OTHERS = tuple(
    map(COLUMNS.index, ("recipient", "error_code", "error", "warnings", "object_dn", "operation_id", "text"))
)
"""The columns whose words come from an input or a server; those of bulksms itself are no formulas."""


def _time(moment: float) -> str:
    """ISO 8601 in UTC, to the millisecond: as `datetime` writes it, in a third of its time."""
    second = floor(moment)
    microseconds = round((moment - second) * 1e6)  # as `datetime` rounds; its milliseconds are cut, not rounded
    if microseconds == 1_000_000:
        second, microseconds = second + 1, 0
    return f"{_second(second)}.{microseconds // 1000:03}Z"


@lru_cache(maxsize=128)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat().removesuffix("+00:00")


DEFAULT = ("row", "name", "status", "reason", "attempts", "answer")
"""The columns that a table has if none are named; `name` and `answer` are the table's own."""
NUMBERS = frozenset({"row", "attempts", "http_status", "result_type", "latency_ms", "segments"})
MEASURED = 1_000
"""Messages by which the widths of the columns are chosen; so a million rows are not held in memory."""
WIDEST = 32
"""Characters that a column takes at most on a terminal, except for the last one."""
GAP = "  "
CAUSES = 10
"""Causes that are listed above the messages."""


@dataclass(frozen=True, slots=True)
class TableFormat:
    """How to lay out a table: the terminal's `width` in characters (None: no terminal), the columns, and the order.

    `sort` names a column, with `-` before it for the last first. `is_wide` lets lines be as long as they are.
    """

    width: int | None = None
    columns: Sequence[str] = ()
    sort: str | None = None
    is_wide: bool = False


Cells = Mapping[str, object]


def as_table(
    records: Iterable[MessageRecord], columns: Sequence[str] = (), layout: TableFormat | None = None
) -> Iterator[str]:
    """A header and the messages; `columns` are the input's. Raises UsageError for a column that does not exist."""
    layout = layout or TableFormat()
    make = _table_cells(columns)
    names = _named(layout.columns, columns) or DEFAULT
    rows: Iterator[dict[str, Any]] = map(make, records)
    if layout.sort is not None:
        (key,) = _named([layout.sort.removeprefix("-")], columns)
        rows = iter(_sorted(rows, key, is_descending=layout.sort.startswith("-")))
    first = list(islice(rows, MEASURED))
    width = None if layout.is_wide else layout.width
    widths = [_width(name, first, width) for name in names[:-1]]
    for row in chain([{name: name for name in names}], first, rows):
        yield from _lines([_text(row[name]) for name in names], [name in NUMBERS for name in names], widths, width)


def as_causes(outcomes: Iterable[OutcomeGroup], only: Callable[[OutcomeGroup], bool]) -> Iterator[str]:
    """What became of the messages that need a look, grouped by the server's words with their numbers."""
    groups = [group for group in outcomes if only(group)]
    for group in groups[:CAUSES]:
        words = group.words or REASONS.get(group.reason or "", "")
        reason = f" ({group.reason})" if group.reason else ""
        yield printable(f"{group.messages:>7,} {group.state}{reason}{f': {words}' if words else ''}") + "\n"
    if len(groups) > CAUSES:
        yield f"{sum(group.messages for group in groups[CAUSES:]):>7,} for {len(groups) - CAUSES:,} other causes\n"
    if groups:
        yield "\n"


def _table_cells(columns: Sequence[str]) -> Callable[[MessageRecord], dict[str, Any]]:
    person, names = PersonColumns.of(columns), report_names(columns)

    def cells(record: MessageRecord) -> dict[str, Any]:
        others = (record.other_columns.get(column, "") for column in columns)
        remarks = (record.error, *record.warnings, "may have been sent twice" if record.possible_duplicate else None)
        return {
            **row_values(record),
            "warnings": " | ".join(record.warnings),
            **dict(zip(names, others, strict=True)),
            "name": person.name(record),
            "answer": "; ".join(filter(None, remarks)),
        }

    return cells


def _named(wanted: Sequence[str], columns: Sequence[str]) -> list[str]:
    """The columns of these names, whatever their case. Raises UsageError."""
    known = {name.casefold(): name for name in (*report_names(columns), *COLUMNS, "name", "answer")}
    found = []
    for name in wanted:
        if name.casefold() not in known:
            near = get_close_matches(name.casefold(), known, 1)
            raise UsageError(
                f"The report has no column {name!r}{f'; did you mean {known[near[0]]}?' if near else '.'}",
                hint=f"Its columns: {', '.join(sorted(known.values(), key=str.casefold))}.",
            )
        found.append(known[name.casefold()])
    return found


def _sorted(rows: Iterable[dict[str, Any]], name: str, *, is_descending: bool) -> list[dict[str, Any]]:
    """By one column, numbers before words; rows without a value are last in either direction."""

    def key(row: Cells) -> tuple[bool, float, str]:
        value = row[name]
        number = float(value) if isinstance(value, int | float) else None
        return number is None, number or 0.0, _text(value).casefold()

    every = list(rows)
    present = [row for row in every if row[name] not in (None, "")]
    return [*sorted(present, key=key, reverse=is_descending), *(row for row in every if row[name] in (None, ""))]


def _text(value: object) -> str:
    """One printable line."""
    if isinstance(value, bool):
        return "yes" if value else ""
    return "" if value is None else printable(" ".join(str(value).split()))


def _width(name: str, rows: Sequence[Cells], width: int | None) -> int:
    widest = max([len(name), *(columns_of(_text(row[name])) for row in rows)])
    return widest if width is None else min(widest, max(len(name), WIDEST))


def _lines(cells: Sequence[str], numbers: Sequence[bool], widths: Sequence[int], width: int | None) -> Iterator[str]:
    *before, last = cells
    parts = []
    for cell, is_number, room in zip(before, numbers, widths, strict=False):
        text = cell if width is None else cut(cell, room)
        blanks = " " * (room - columns_of(text))
        parts.append(blanks + text if is_number else text + blanks)
    line = GAP.join([*parts, last]).rstrip()
    if width is None or columns_of(line) <= width:
        yield f"{line}\n"
        return
    start = GAP.join(parts).rstrip()
    yield from (f"{part}\n" for part in wrapped(start, "", GAP, width))
    indent = " " * min(9, width // 4)
    yield from (f"{part}\n" for part in wrapped(last, indent, indent, width))
