"""Workbook: the rows of one sheet of an Excel workbook, through the extra `[excel]`.

Law: a cell reads as its spreadsheet shows it: whole numbers without a fraction, dates in ISO 8601. The whole
sheet is in memory; Excel itself has no more than 1,048,576 rows.
"""

import datetime as dt
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from bulksms.errors import UsageError
from bulksms.intake.checking import RowChecker
from bulksms.intake.finding import refused, shortened
from bulksms.intake.row import BadRow, Row

if TYPE_CHECKING:
    from python_calamine import CalamineSheet, CalamineWorkbook

Value = int | float | str | bool | dt.time | dt.date | dt.datetime | dt.timedelta


class SheetRows:
    """The rows of a sheet."""

    delimiter = None

    def __init__(self, source: BinaryIO, name: str, sheet: str | None) -> None:
        """Find the sheet and read its header.

        Raises:
            InputRefused: this is no workbook, it is not clear which sheet is meant, or the sheet is empty.
            UsageError: the extra is not installed.

        """
        self._rows = _rows(_sheet(source, name, sheet))
        self.columns = self._header(name)

    def _header(self, name: str) -> tuple[str, ...]:
        for _, cells in self._rows:
            names = [cell.strip() for cell in cells]
            while not names[-1]:
                names.pop()
            return tuple(names)
        raise refused("E002", f"{name} is empty", "is it the right file?")

    def rows(self, checker: RowChecker) -> Iterator[Row | BadRow]:
        """Check all rows."""
        width = len(self.columns)
        for row, cells in self._rows:
            yield checker.check_cells(row, cells if any(map(str.strip, cells[width:])) else cells[:width])


def _sheet(source: BinaryIO, name: str, asked: str | None) -> "CalamineSheet":
    try:
        import python_calamine  # noqa: PLC0415 - an extra: needed only for workbooks
    except ImportError:
        hint = "pip install 'adaxes-bulksms[excel]' adds it; or save the sheet as CSV UTF-8."
        raise UsageError("Reading Excel workbooks needs the extra [excel].", hint=hint) from None
    try:
        return _chosen(python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(source.read())), name, asked)
    except python_calamine.PasswordError:
        raise refused("E004", f"{name} is protected by a password", "save it without one, or as CSV UTF-8") from None
    except (python_calamine.CalamineError, OSError) as error:
        sentence = f"{name} is not a workbook that can be read: {shortened(str(error))}"
        raise refused("E004", sentence, "save it as .xlsx again, or as CSV UTF-8") from None


def _chosen(workbook: "CalamineWorkbook", name: str, asked: str | None) -> "CalamineSheet":
    """Choose the sheet that was asked for, or the only one that has data."""
    # A sheet that is a chart has no cells.
    names = [sheet.name for sheet in workbook.sheets_metadata if str(sheet.typ).endswith("WorkSheet")]
    if asked is not None:
        same = [known for known in names if known.casefold() == asked.strip().casefold()]
        if not same:
            raise refused("E010", f"{name} has no sheet {asked!r}", f"its sheets are {', '.join(names)}")
        return workbook.get_sheet_by_name(same[0])
    filled = [sheet for sheet in map(workbook.get_sheet_by_name, names) if sheet.height]
    if not filled:
        raise refused("E002", f"{name} is empty", "is it the right file?")
    if len(filled) > 1:
        several = ", ".join(sheet.name for sheet in filled)
        raise refused("E010", f"Several sheets of {name} have data: {several}", "choose one with --sheet")
    return filled[0]


def _rows(sheet: "CalamineSheet") -> Iterator[tuple[int, list[str]]]:
    for row, values in enumerate(sheet.iter_rows(), 1):
        cells = list(map(_shown, values))
        if any(map(str.strip, cells)):
            yield row, cells


def _shown(value: Value) -> str:
    """Write a cell as its spreadsheet shows it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, dt.datetime):
        return value.isoformat(" ") if value.time() != dt.time() else value.date().isoformat()
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    return str(value)
