"""XLSX rows: the rows of one sheet of an Excel workbook, through the extra `[excel]`.

Invariants: a cell that becomes a part of a message reads as its sheet shows it, or is an error of its row where that
depends on the language of the computer; dates are written in ISO 8601. The whole sheet is in memory; Excel itself has
no more than 1,048,576 rows. Hidden rows and number formats are read from the workbook's own XML, because the library
that reads the values tells neither. Source: ECMA-376, part 1, 18.3.1.73 (`row`), 18.8.30 (`numFmt`).
"""

import datetime as dt
import io
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO
from xml.parsers import expat

from bulksms.errors import UsageError
from bulksms.input.finding import BadRow, Finding, Row, Severity, refused, shortened
from bulksms.input.options import InputOptions
from bulksms.input.row_checker import RowChecker

if TYPE_CHECKING:
    from python_calamine import CalamineSheet, CalamineWorkbook

Value = int | float | str | bool | dt.time | dt.date | dt.datetime | dt.timedelta


class SheetRows:
    """The rows of a sheet."""

    delimiter = None

    def __init__(self, source: BinaryIO, name: str, options: InputOptions) -> None:
        """Find the sheet and read its header.

        Raises:
            InputError: this is no workbook, it is not clear which sheet is meant, or the sheet is empty.
            UsageError: the extra is not installed.

        """
        content = io.BytesIO(source.read())
        sheet = _sheet(content, name, options.sheet)
        self._odd: dict[tuple[int, int], tuple[str, str, str]] = {}
        """Cells that are not shown as the sheet shows them: code, problem and hint, by row and place."""
        self._formats = read_formats(content, sheet.name)
        self._hidden = frozenset() if options.include_hidden_rows else self._formats.hidden
        self._rows = self._all_rows(sheet)
        self.columns = self._header(name)

    def _header(self, name: str) -> tuple[str, ...]:
        for _, cells in self._rows:
            names = [cell.strip() for cell in cells]
            while not names[-1]:
                names.pop()
            return tuple(names)
        raise refused("E002", f"{name} is empty", "is it the right file?")

    def sample(self) -> list[list[str]]:
        """Some rows of a sheet of which no more is read."""
        return [cells for _, cells in islice(self._rows, 20)]

    def rows(self, checker: RowChecker) -> Iterator[Row | BadRow]:
        """Check all rows."""
        width = len(self.columns)
        for row, cells in self._rows:
            checked = checker.check_cells(row, cells if any(map(str.strip, cells[width:])) else cells[:width])
            found = self._found(row, checker.places_used)
            errors = [finding for finding in found if finding.severity is Severity.ERROR]
            if errors:
                yield checker.refuse_checked(checked, errors)
            elif found and isinstance(checked, Row):
                yield checked._replace(warnings=(*checked.warnings, *found))
            else:
                yield checked

    def _found(self, row: int, places: tuple[int, ...]) -> list[Finding]:
        """What the formats of a row make wrong with it, and what they give a warning about."""
        found = []
        if row in self._hidden:
            hint = "--include-hidden-rows sends to them, too; delete the row, or leave it out with --skip-invalid"
            found.append(Finding("E122", "the row is hidden or filtered out in the workbook", row=row, hint=hint))
        for place in places:
            what = self._odd.get((row, place))
            if what is not None:
                code, problem, hint = what
                found.append(Finding(code, problem, row=row, column=self.columns[place], hint=hint))
        return found

    def _all_rows(self, sheet: "CalamineSheet") -> Iterator[tuple[int, list[str]]]:
        """The rows that are not blank, as their sheet shows them; `_odd` is what cannot be shown so."""
        for row, values in enumerate(sheet.iter_rows(), 1):
            cells = [self._shown(row, place, value) for place, value in enumerate(values)]
            if any(map(str.strip, cells)):
                yield row, cells

    def _shown(self, row: int, place: int, value: Value) -> str:
        """A cell as its sheet shows it."""
        if isinstance(value, str):
            return value or self._formats.errors.get((row, place), "")
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return self._shown_number(row, place, value)
        if isinstance(value, dt.date):
            self._odd[row, place] = ("W218", "a date is written as YYYY-MM-DD, whatever the sheet shows", _AS_TEXT)
        return _shown(value)

    def _shown_number(self, row: int, place: int, value: float) -> str:
        code = self._formats.numbers.get((row, place), "General")
        shown = shown_number(value, code)
        if shown is not None:
            return shown
        if abs(value) >= 10**MOST_DIGITS:
            problem = f"Excel keeps {MOST_DIGITS} digits of a number, so the last ones of this one are lost"
            hint = "format the column as text, and enter the numbers again"
        else:
            problem = f"the sheet shows this number in its own form ({code}), and stores {value!r}"
            hint = _AS_TEXT
        self._odd[row, place] = ("E121", problem, hint)
        return _shown(value)


def _sheet(source: io.BytesIO, name: str, asked: str | None) -> "CalamineSheet":
    try:
        import python_calamine  # noqa: PLC0415 - an extra: needed only for workbooks
    except ImportError:
        hint = "pip install 'adaxes-bulksms[excel]' adds it; or save the sheet as CSV UTF-8."
        raise UsageError("Reading Excel workbooks needs the extra [excel].", hint=hint) from None
    try:
        return _chosen(python_calamine.CalamineWorkbook.from_filelike(source), name, asked)
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
    # A hidden sheet holds lists for drop-downs and the like; it is taken only if no other has data.
    shown = {sheet.name for sheet in workbook.sheets_metadata if str(sheet.visible).endswith("Visible")}
    filled = [sheet for sheet in map(workbook.get_sheet_by_name, names) if sheet.height]
    filled = [sheet for sheet in filled if sheet.name in shown] or filled
    if not filled:
        raise refused("E002", f"{name} is empty", "is it the right file?")
    if len(filled) > 1:
        several = ", ".join(sheet.name for sheet in filled)
        raise refused("E010", f"Several sheets of {name} have data: {several}", "choose one with --sheet")
    return filled[0]


_AS_TEXT = 'make it text as it is to be read, such as =TEXT(C2;"0.00"), or save the sheet as CSV UTF-8'


def _shown(value: Value) -> str:
    """A cell without a format as its spreadsheet shows it."""
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


_BUILT_IN: Mapping[int, str] = {
    0: "General",
    1: "0",
    2: "0.00",
    3: "#,##0",
    4: "#,##0.00",
    9: "0%",
    10: "0.00%",
    11: "0.00E+00",
    12: "# ?/?",
    13: "# ??/??",
    37: "#,##0;-#,##0",
    38: "#,##0;-#,##0",
    39: "#,##0.00;-#,##0.00",
    40: "#,##0.00;-#,##0.00",
    48: "##0.0E+0",
    49: "@",
}
"""The formats that are not written into a workbook; those of dates are left out: their cells are no numbers."""
_LITERAL = re.compile(
    r'"([^"]*)"|\\(.)|_.|\*.|\[(?:Red|Black|Blue|Green|White|Yellow|Cyan|Magenta|Color\d+)\]', re.IGNORECASE
)
_WHOLE = re.compile(r"([^0#?.,%E/\[\]@]*)([0#]+)([^0#?.,%E/\[\]@]*)(%?)([^0#?.,%E/\[\]@]*)").fullmatch
MOST_DIGITS = 15
"""Digits of a number that Excel keeps ("Excel specifications and limits"); the others become zeros."""


@dataclass(slots=True)
class SheetFormats:
    """`hidden` are rows counted from 1; `numbers` are the formats of cells, by row and by column from 0.

    `errors` are the cells that hold an error, such as #N/A, by the same; the library gives them as empty.
    """

    hidden: set[int] = field(default_factory=set)
    numbers: dict[tuple[int, int], str] = field(default_factory=dict)
    errors: dict[tuple[int, int], str] = field(default_factory=dict)


def read_formats(source: BinaryIO, sheet: str) -> SheetFormats:
    """The formats of a sheet. A workbook without what is looked for has none; it is opened by the library as well."""
    try:
        with zipfile.ZipFile(source) as archive:
            path = _path_of(archive, sheet)
            if path is None:
                return SheetFormats()
            return _scan(archive, path, _formats_of_styles(archive))
    except (zipfile.BadZipFile, KeyError, ValueError, expat.ExpatError, OSError, RuntimeError, EOFError):
        return SheetFormats()


def _parse(
    archive: zipfile.ZipFile,
    path: str,
    on_start: Callable[[str, Mapping[str, str]], None],
    on_text: Callable[[str], None] | None = None,
) -> None:
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = lambda name, attributes: on_start(name.rpartition(" ")[2], attributes)
    if on_text is not None:
        parser.CharacterDataHandler = on_text
    with archive.open(path) as file:
        parser.ParseFile(file)


def _path_of(archive: zipfile.ZipFile, sheet: str) -> str | None:
    identifiers: dict[str, str] = {}
    targets: dict[str, str] = {}

    def sheets(name: str, attributes: Mapping[str, str]) -> None:
        if name == "sheet":
            found = [value for key, value in attributes.items() if key.endswith(" id")]
            identifiers[attributes.get("name", "")] = found[0] if found else ""

    def relations(name: str, attributes: Mapping[str, str]) -> None:
        if name == "Relationship":
            targets[attributes.get("Id", "")] = attributes.get("Target", "")

    _parse(archive, "xl/workbook.xml", sheets)
    _parse(archive, "xl/_rels/workbook.xml.rels", relations)
    target = targets.get(identifiers.get(sheet, ""))
    if not target:
        return None
    return target.lstrip("/") if target.startswith("/") else f"xl/{target}"


def _formats_of_styles(archive: zipfile.ZipFile) -> list[str]:
    """The number format of each style, by its index."""
    own: dict[int, str] = {}
    styles: list[str] = []
    inside = False

    def start(name: str, attributes: Mapping[str, str]) -> None:
        nonlocal inside
        if name == "numFmt":
            own[int(attributes["numFmtId"])] = attributes["formatCode"]
        elif name == "cellXfs":
            inside = True
        elif name == "cellStyles":
            inside = False
        elif name == "xf" and inside:
            number = int(attributes.get("numFmtId", "0"))
            styles.append(own.get(number) or _BUILT_IN.get(number, "General"))

    if "xl/styles.xml" in archive.namelist():
        _parse(archive, "xl/styles.xml", start)
    return styles


def _scan(archive: zipfile.ZipFile, path: str, styles: list[str]) -> SheetFormats:
    found = SheetFormats()
    row = 0
    broken: tuple[int, int] | None = None
    is_value = False

    def start(name: str, attributes: Mapping[str, str]) -> None:
        nonlocal row, broken, is_value
        is_value = name == "v"
        if name == "c":
            broken = (row, _column(attributes["r"])) if attributes.get("t") == "e" and "r" in attributes else None
        if name == "row":
            row = int(attributes.get("r", row + 1))
            if attributes.get("hidden") in ("1", "true"):
                found.hidden.add(row)
        elif name == "c" and "s" in attributes and attributes.get("t", "n") == "n":
            style = int(attributes["s"])
            code = styles[style] if style < len(styles) else "General"
            if code not in ("General", "@") and "r" in attributes:
                found.numbers[row, _column(attributes["r"])] = code

    def text(data: str) -> None:
        if is_value and broken is not None and data.strip():
            found.errors[broken] = found.errors.get(broken, "") + data.strip()

    _parse(archive, path, start, text)
    return found


def _column(reference: str) -> int:
    """The place of a cell in its row: `A7` is 0, `AB7` is 27."""
    place = 0
    for letter in reference.rstrip("0123456789"):
        place = place * 26 + ord(letter.upper()) - 64
    return place - 1


def shown_number(value: float, code: str = "General") -> str | None:
    """A number as the sheet shows it; None if that depends on the computer's language, or digits are lost."""
    if abs(value) >= 10**MOST_DIGITS:
        return None
    if code == "General":
        return str(int(value)) if float(value).is_integer() else f"{value:.{MOST_DIGITS}g}"
    sections = code.split(";")
    sign = ""
    section = sections[0]
    if value < 0:
        section = sections[1] if len(sections) > 1 else section
        sign = "" if len(sections) > 1 else "-"
        value = -value
    pattern = _LITERAL.sub(lambda found: _kept(found[1] or found[2] or ""), section)
    whole = _WHOLE(pattern)
    if whole is None:
        return None
    before, digits, between, percent, after = whole.groups()
    if percent:
        value *= 100
    number = f"{_rounded(value):0{digits.count('0')}d}"
    return _plain(f"{sign}{before}{number}{between}{percent}{after}")


def _rounded(value: float) -> int:
    """Rounded as people do and spreadsheets do: a half goes up."""
    return int(round(value, 9) + 0.5)


_OFFSET = 0xE000
"""Literals are moved into a private area of Unicode, so that digits in them are not taken for the pattern."""


def _kept(literal: str) -> str:
    return "".join(chr(_OFFSET + ord(character)) if ord(character) < 128 else character for character in literal)


def _plain(text: str) -> str:
    return "".join(
        chr(ord(character) - _OFFSET) if _OFFSET <= ord(character) < _OFFSET + 128 else character for character in text
    )
