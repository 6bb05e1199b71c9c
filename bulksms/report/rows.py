"""Rows: one line a message, in the input's order, as CSV or JSONL.

Laws: JSONL is exact; a CSV cell that a spreadsheet would run as a formula is defused with an apostrophe. The columns
are part of the public contract.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from io import StringIO
from typing import Any

from bulksms.ledger.reader import Line

COLUMNS = (
    "row",
    "recipient",
    "status",
    "reason",
    "attempts",
    "http_status",
    "result_type",
    "error_code",
    "error",
    "warnings",
    "object_dn",
    "operation_id",
    "may_have_sent_twice",
    "first_attempt_at",
    "finished_at",
    "latency_ms",
    "encoding",
    "segments",
    "text",
)
"""The report's own columns; the input's other columns follow."""

FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that a spreadsheet takes for a formula (OWASP, "CSV Injection")."""


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


def as_jsonl(lines: Iterable[Line], columns: Sequence[str]) -> Iterator[str]:
    """One JSON object a message."""
    names = dict(zip(columns, report_names(columns), strict=True))
    for line in lines:
        values = _values(line)
        values.update((names.get(name, name), value) for name, value in line.other_columns.items())
        yield json.dumps(values, ensure_ascii=False) + "\n"


def as_csv(lines: Iterable[Line], columns: Sequence[str]) -> Iterator[str]:
    """A header and one record a message (RFC 4180)."""
    buffer = StringIO()
    write = csv.writer(buffer).writerow
    write(map(_cell, [*COLUMNS, *report_names(columns)]))
    for line in lines:
        values = _values(line)
        values["warnings"] = " | ".join(line.warnings)
        cells = [*values.values(), *(line.other_columns.get(name, "") for name in columns)]
        write([_cell(value) for value in cells])
        yield _taken_from(buffer)
    yield _taken_from(buffer)


def _values(line: Line) -> dict[str, Any]:
    return {
        "row": line.row,
        "recipient": line.recipient,
        "status": line.state.value,
        "reason": line.reason,
        "attempts": line.attempts,
        "http_status": line.http_status,
        "result_type": line.result_type,
        "error_code": line.error_code,
        "error": line.error,
        "warnings": list(line.warnings),
        "object_dn": line.object_dn,
        "operation_id": line.operation_id,
        "may_have_sent_twice": line.may_have_sent_twice,
        "first_attempt_at": _time(line.first_attempt_at),
        "finished_at": _time(line.finished_at),
        "latency_ms": None if line.latency_ms is None else round(line.latency_ms, 1),
        "encoding": line.encoding,
        "segments": line.segments,
        "text": line.text,
    }


def _time(moment: float | None) -> str | None:
    """ISO 8601 in UTC, to the millisecond."""
    if moment is None:
        return None
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = "" if value is None else str(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(FORMULA_SIGNS) else text


def _taken_from(buffer: StringIO) -> str:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text
