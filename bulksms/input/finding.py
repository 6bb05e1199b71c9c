"""Finding: something wrong with an input, or a warning about it, in the words and row numbers of its spreadsheet.

Invariant: codes and their names are part of the public contract; every finding has one of this table.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from bulksms.errors import InputError
from bulksms.input.segments import Encoding
from bulksms.model.recipient import Recipient


class Severity(StrEnum):
    """Whether it keeps the row, or the file, from being sent."""

    ERROR = "error"
    WARNING = "warning"


class Code(NamedTuple):
    """The stable name of a finding and what it means."""

    name: str
    meaning: str


CODES: Mapping[str, Code] = {
    "E001": Code("unreadable-file", "the file is missing, a folder, locked or not to be read"),
    "E002": Code("empty-input", "there are no rows"),
    "E003": Code("undecodable", "bytes that are no text in the file's encoding"),
    "E004": Code("wrong-format", "the file is not what its name or --format says"),
    "E005": Code("no-recipient-column", "no column names the recipients"),
    "E006": Code("no-text", "neither a column of texts nor a text for all"),
    "E007": Code("bad-header", "a column has no name, or a control character in it"),
    "E008": Code("duplicate-header", "two columns have the same name"),
    "E009": Code("unknown-placeholder", "a placeholder names no column"),
    "E010": Code("which-sheet", "several sheets have data, or the one asked for is not there"),
    "E011": Code("line-too-long", "a line of more than 1,048,576 characters"),
    "E012": Code("text-too-long", "the text for all takes more segments than allowed"),
    "E013": Code("no-such-group", "a group, organizational unit or search of the audience cannot be read"),
    "E014": Code("too-many-members", "a part of the audience has more people than --size-limit"),
    "E015": Code("foreign-placeholder", "a column in the brackets of another template language, such as {{name}}"),
    "E101": Code("bad-identifier", "the recipient is no DN, GUID or SID"),
    "E102": Code("no-recipient", "the recipient is missing"),
    "E103": Code("ragged-row", "the row has more or fewer cells than the header"),
    "E104": Code("broken-quotes", "a quote is not closed, or closed in the middle of a cell"),
    "E105": Code("control-character", "a control character other than tab and line end"),
    "E106": Code("lone-surrogate", "half of a character pair"),
    "E107": Code("cell-too-long", "a cell of more than 32,767 characters"),
    "E108": Code("bad-json", "the line is not one JSON object"),
    "E109": Code("wrong-type", "a value of the wrong JSON type"),
    "E110": Code("repeated-key", "a JSON object has two keys of the same name"),
    "E111": Code("empty-text", "the text is missing"),
    "E112": Code("empty-value", "a placeholder has no value in this row, and no fallback"),
    "E113": Code("too-many-segments", "the text takes more segments than --max-segments or 255"),
    "E114": Code("unknown-object", "the directory has no such object, or the account may not see it"),
    "E115": Code("not-a-person", "the object is neither a user nor a contact"),
    "E116": Code("no-number", "the person has no number in --number-property"),
    "E117": Code("disabled-account", "the person's account is disabled"),
    "E118": Code("no-match", "--match found nobody by this name"),
    "E119": Code("several-matches", "--match found several people by this name"),
    "E120": Code("damaged-identifier", "the pipe that the input came through changed letters of the recipient"),
    "E121": Code(
        "number-format", "a workbook stores a number in another form than it shows, or without its last digits"
    ),
    "E122": Code("hidden-row", "a row of a workbook that is hidden or filtered out"),
    "E123": Code("bad-number", "a telephone number that cannot be read, or a national one without --country"),
    "E124": Code("no-value", "a spreadsheet's error such as #N/A, or a PowerShell type name, in place of a value"),
    "W201": Code("windows-1252", "the file is not UTF-8 and was read as Windows-1252"),
    "W202": Code("unused-text-column", "the file has a column of texts, but one text for all was given"),
    "W203": Code("several-columns", "several columns could be the recipient or the text; one was chosen"),
    "W204": Code("needs-ucs2", "a character outside GSM-7: segments of 70 instead of 160 characters"),
    "W205": Code("server-may-expand", "%word% may be replaced by the server with a property of the person"),
    "W206": Code("long-text", "a text of more than 918 characters"),
    "W207": Code("split-link", "a link lies across the border of two segments"),
    "W208": Code("replaced-characters", "typographic characters were replaced, as --gsm7 replace asks"),
    "W209": Code("literal-placeholder", "a ((column)) that is sent as written"),
    "W210": Code("group-cut", "a part of the audience has exactly as many people as older servers return at most"),
    "W211": Code("other-members", "objects in the audience that are neither users nor contacts are left out"),
    "W212": Code("tidied-text", "line ends of the text for all were made LF, or blanks at its end were cut"),
    "W213": Code("other-placeholder", "brackets of another template language around a word that is no column"),
    "W214": Code("word-for-nothing", "a value is a word for no value, such as NULL or nan, and is sent as written"),
    "W215": Code("invisible-characters", "an identifier has characters in it that nobody sees"),
    "W216": Code("decoded-identifier", "a GUID or SID was exported in binary form and is sent as text"),
    "W217": Code("carriage-return", "a text has carriage returns, each of which counts as a character"),
    "W218": Code("date-format", "a date of a workbook is written as YYYY-MM-DD, whatever the sheet shows"),
    "W301": Code("another-text", "the same person as in an earlier row, with another text; both are sent"),
    "W302": Code(
        "run-still-living", "a run still works on the earlier ledger; whom it tells from now on is not counted"
    ),
}
"""Every finding there is: E0xx refuse the whole input, E1xx a row; W2xx do not block, W3xx compare rows and ledgers."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding. `row` is None if it is about the whole input, `value` is shortened and printable."""

    code: str
    problem: str
    row: int | None = None
    column: str | None = None
    value: str | None = None
    hint: str | None = None

    @property
    def name(self) -> str:
        """The stable name that belongs to the code."""
        return CODES[self.code].name

    @property
    def severity(self) -> Severity:
        """Errors block, warnings do not."""
        return Severity.ERROR if self.code.startswith("E") else Severity.WARNING


def refused(code: str, sentence: str, hint: str | None = None) -> InputError:
    """Make the exception that refuses a whole input; its sentence ends with the code."""
    whole = None if hint is None else _capitalised(hint) + ("" if hint.endswith("?") else ".")
    return InputError(f"{sentence} ({code} {CODES[code].name}).", hint=whole)


def _capitalised(hint: str) -> str:
    """A hint as a sentence; an option, a column in quotes or a command in backticks stays as it is."""
    return hint[0].upper() + hint[1:]


def shortened(value: str, longest: int = 60) -> str:
    """Make a value fit to be shown: not too long, and what cannot be seen as its escape."""
    short = value if len(value) <= longest else value[: longest - 1] + "…"
    if short.isprintable():
        return short
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in short
    )


class Row(NamedTuple):
    """A good row. `row` is its number as a spreadsheet shows it, `columns` the input's other columns as they came."""

    row: int
    recipient: Recipient
    text: str
    columns: dict[str, str]
    encoding: Encoding
    segments: int
    warnings: tuple[Finding, ...]


class BadRow(NamedTuple):
    """A row that cannot be sent. `recipient` and `text` as far as known; `cells` in the input's own columns.

    Lone surrogates, which no file can hold, are replaced by question marks in it.
    """

    row: int
    recipient: str
    text: str
    columns: dict[str, str]
    cells: tuple[str, ...]
    findings: tuple[Finding, ...]
