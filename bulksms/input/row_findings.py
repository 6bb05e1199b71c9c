"""Row findings: what keeps a row from being sent, each with what would be right, and what may not be meant in a text.

Pure.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence

from bulksms.input.columns import FORBIDDEN, Layout
from bulksms.input.finding import Finding, shortened
from bulksms.input.segments import TYPOGRAPHIC, Foreign, Size, borders
from bulksms.input.telephone import BadNumber
from bulksms.input.template import folded, nearest
from bulksms.model.recipient import POWERSHELL_TYPE, BadRecipient

LONGEST_CELL = 32_767
"""Characters: what one cell of an Excel worksheet can hold (Microsoft, "Excel specifications and limits")."""


_DELIMITER_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "pipes"}


def in_width(layout: Layout, row: int, cells: Sequence[str], delimiter: str) -> Iterator[Finding]:
    """Find a row that has more or fewer cells than the header."""
    width = len(layout.columns)
    if len(cells) == width:
        return
    hint = "give every row as many cells as the header"
    if len(cells) > width:
        what = _DELIMITER_NAMES.get(delimiter, f"{delimiter!r}")
        hint = f"put a cell that has {what} in it into double quotes"
        if delimiter == ",":
            hint += ', such as "CN=Ann Lee,DC=example,DC=com"'
    yield Finding(
        "E103",
        f"the row has {len(cells)} cells, the header {width}",
        row=row,
        value=shortened(" | ".join(cells)),
        hint=hint,
    )


def in_names(layout: Layout, row: int) -> Iterator[Finding]:
    """Find what is wrong with the names of the columns, where each row has its own."""
    if layout.problem is not None:
        yield Finding(layout.problem.code, layout.problem.sentence, row=row, hint=layout.problem.hint)


def in_cells(layout: Layout, row: int, cells: Sequence[str]) -> Iterator[Finding]:
    """Find cells that are too long, and characters that no message may have."""
    for column, cell in zip(layout.columns, cells, strict=True):
        if len(cell) > LONGEST_CELL:
            problem = f"the cell has {len(cell):,} characters, at most {LONGEST_CELL:,} are allowed"
            yield Finding("E107", problem, row=row, column=column, value=shortened(cell))
        if found := FORBIDDEN.search(cell):
            surrogate = unicodedata.category(found[0]) == "Cs"
            what = "half of a character pair" if surrogate else "a control character"
            yield Finding(
                "E106" if surrogate else "E105",
                f"character {found.start() + 1} is {what}, U+{ord(found[0]):04X}",
                row=row,
                column=column,
                value=shortened(cell[max(0, found.start() - 20) :]),
                hint="remove it",
            )


def in_recipient(layout: Layout, row: int, cells: Sequence[str], problem: BadRecipient) -> Finding:
    """Make the finding of a recipient that is missing or is no identifier."""
    value = cells[layout.recipient] if layout.recipient >= 0 else ""
    column = layout.columns[layout.recipient] if layout.recipient >= 0 else None
    if not value.strip():
        return Finding("E102", str(problem), row=row, column=column, hint=problem.hint)
    if column is not None and folded(value) == folded(column):
        hint = "delete the row; was the file joined from several?"
        return Finding("E101", "the header once more", row=row, column=column, value=shortened(value), hint=hint)
    if is_word_for_nothing(value):
        return Finding("E102", "there is no recipient", row=row, column=column, value=shortened(value))
    if _SPREADSHEET_ERROR(value.strip()):
        return _spreadsheet_error(row, column, value.strip())
    code = "E123" if isinstance(problem, BadNumber) else "E101"
    return Finding(code, str(problem), row=row, column=column, value=shortened(value), hint=problem.hint)


_WORDS_FOR_NOTHING = frozenset(
    ("null", "(null)", "<null>", "none", "nan", "<na>", "n/a", "na", "nil", "undefined", "[null]", "\\n", "#null")
)
"""What databases, pandas, JavaScript and PowerShell scripts write for no value, in lower case."""
_SPREADSHEET_ERROR = re.compile(
    r"#(?:N/A|REF!|NAME\?|VALUE!|DIV/0!|NULL!|NUM!|SPILL!|CALC!|FIELD!|BLOCKED!|CONNECT!|GETTING_DATA|BUSY!|UNKNOWN!"
    r"|NV|BEZUG!|WERT!|ZAHL!)|(?:Err:|Fehler:)\d{3}",
    re.IGNORECASE,
).fullmatch
"""Errors of Excel and LibreOffice, as English and German versions write them."""


def is_word_for_nothing(value: str) -> bool:
    """Whether a value is a word for no value, such as `NULL`."""
    return value.strip().casefold() in _WORDS_FOR_NOTHING


def in_values(layout: Layout, row: int, cells: Sequence[str]) -> list[Finding]:
    """Find cells of the text that hold an error of the spreadsheet (E124), or a word for no value (W214)."""
    found = []
    for place in layout.parts_of_text:
        value = cells[place]
        if len(value) > _LONGEST_NO_VALUE or not value:
            continue
        value = value.strip()
        column = layout.columns[place]
        if _SPREADSHEET_ERROR(value):
            found.append(_spreadsheet_error(row, column, value))
        elif value.startswith(("System.", "Microsoft.")) and POWERSHELL_TYPE.fullmatch(value):
            problem = "PowerShell has written the type of a value instead of the value"
            hint = f"Select-Object @{{n='{column}';e={{$_.{column} -join '; '}}}} gives the value"
            found.append(Finding("E124", problem, row=row, column=column, value=shortened(value), hint=hint))
        elif value.casefold() in _WORDS_FOR_NOTHING:
            problem = "this may be a word for no value; it is sent as written"
            hint = "empty the cell, and give a fallback for it: ((column|fallback))"
            found.append(Finding("W214", problem, row=row, column=column, value=value, hint=hint))
    return found


def _spreadsheet_error(row: int, column: str | None, value: str) -> Finding:
    hint = "put the formula right, and export it again"
    return Finding("E124", "an error of the spreadsheet", row=row, column=column, value=value, hint=hint)


_LONGEST_NO_VALUE = 80
"""Characters: nothing that `in_values` looks for is longer."""


def in_text(layout: Layout, row: int, cells: Sequence[str], text: str | None) -> Iterator[Finding]:
    """Find a text that is missing, and the values without which it cannot be made."""
    if layout.renderer is not None and text is None:
        for column in layout.renderer.empty(cells):
            name = shortened(column)
            problem = f"(({name})) has no value in this row"
            hint = f"fill it in, or give a fallback: (({name}|…))"
            if column not in layout.columns and (close := nearest(column, layout.columns)):
                hint = f"did you mean {shortened(close)}?"
            yield Finding("E112", problem, row=row, column=column, hint=hint)
    elif not text or not text.strip():
        column_of_text = layout.columns[layout.text] if layout.text >= 0 else None
        yield Finding("E111", "there is no text", row=row, column=column_of_text)


LONG_TEXT = 918
"""Characters: six segments of GSM-7, where many gateways end."""

_REFERENCE = re.compile(r"%[A-Za-z][\w-]*%")
_LINK = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)


def text_warnings(
    text: str, size: Size, *, row: int | None, column_at: Callable[[int], str | None]
) -> Iterator[Finding]:
    """Find what may not be meant in a text; `column_at` tells which column a character of it comes from."""
    if size.first_ucs2 is not None:
        yield _needs_ucs2(size.first_ucs2, row, column_at(size.first_ucs2.index))
    if "%" in text and (reference := _REFERENCE.search(text)):
        yield Finding(
            "W205",
            "the server may put a property of the person in its place",
            row=row,
            column=column_at(reference.start()),
            value=shortened(reference[0]),
            hint="send one to yourself first, or write it without the percent signs",
        )
    if "\r" in text:
        problem = f"the text has {text.count(chr(13)):,} carriage returns, each of which counts as a character"
        hint = "write line ends as LF alone"
        yield Finding("W217", problem, row=row, column=column_at(text.index("\r")), hint=hint)
    if len(text) > LONG_TEXT:
        problem = f"the text has {len(text)} characters, {size.segments} segments; many gateways end at {LONG_TEXT}"
        yield Finding("W206", problem, row=row, column=column_at(0), value=shortened(text))
    if size.segments > 1 and (link := _split_link(text)):
        yield Finding(
            "W207",
            "this link lies across the border of two segments; some telephones show it broken",
            row=row,
            column=column_at(link.start()),
            value=shortened(link[0]),
            hint="put it at the beginning, or make the text shorter",
        )


def _needs_ucs2(foreign: Foreign, row: int | None, column: str | None) -> Finding:
    plain = foreign.replacement
    hint = None
    if plain is not None:
        hint = f"write {plain!r}" if plain else "leave it out"
        if foreign.character in TYPOGRAPHIC:
            hint += ", or give --gsm7 replace"
    return Finding(
        "W204",
        f"{foreign.code_point} is not in GSM-7: segments of 70 characters instead of 160",
        row=row,
        column=column,
        value=shortened(foreign.character),
        hint=hint,
    )


def _split_link(text: str) -> re.Match[str] | None:
    cuts = borders(text)
    for link in _LINK.finditer(text):
        if any(link.start() < cut < link.end() for cut in cuts):
            return link
    return None
