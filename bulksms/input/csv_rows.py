"""CSV rows: the rows of a CSV file, as Excel, LibreOffice, PowerShell and database exports write it.

Invariants: row numbers are those that a spreadsheet shows: a record counts one however many lines it has, blank lines
and PowerShell's `#TYPE` line count, a `sep=` line does not. What is wrong with one row spoils no other. The cells of a
report are read as they were before it defused them.
"""

import csv
import re
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice

from bulksms.input.decoding import LONGEST_LINE, Text
from bulksms.input.finding import BadRow, Finding, Row, refused, shortened
from bulksms.input.row_checker import RowChecker
from bulksms.model.defused_cell import is_report, restored

_DELIMITERS = ",;\t|"
_MOST_LINES = 1000
"""Lines of one record; more are a quote that was never closed."""
_MOST_BROKEN = 1000
"""Rows with broken quotes after which the rest of the file is not worth reading."""
_TYPE_LINE = re.compile(r'"?#TYPE [\w.+`\[\], ]+"?\s*').fullmatch
"""What `Export-Csv` of Windows PowerShell 5.1 writes first, unless it is given `-NoTypeInformation`."""
_SAMPLE = 20
"""Rows by which a hint guesses which columns are meant."""
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE).fullmatch


_OTHER_FORMATS = (
    (
        re.compile(r"(?:dn|version):{1,2} ", re.IGNORECASE),
        "LDIF",
        "csvde writes a CSV file in place of ldifde, and so does Export-Csv in PowerShell",
    ),
    (re.compile(r"\s*<"), "a web page or XML", "save it as CSV UTF-8; Excel opens such files and can save them"),
    (re.compile(r"\s*#< CLIXML"), "output of Export-Clixml", "write it with Export-Csv"),
    (re.compile(r'\s*(?:\{\s*"|\[\s*[{\]])'), "JSON", "give --format jsonl, with one object a line"),
    (re.compile(r"\{\\rtf"), "a document of a word processor", "save it as plain text, UTF-8"),
)
"""What other programs write into files that are called `.csv` or `.txt`, by the beginning of the first line."""


class _RecordTooLongError(Exception):
    """A record has more lines than any real one."""


class DelimitedRows:
    """The rows of a CSV file, read as they are asked for."""

    def __init__(self, text: Text, delimiter: str | None) -> None:
        """Read the header.

        Raises:
            InputError: there is none, or it cannot be read.

        """
        self._text = text
        self._lines = text.lines()
        self._again: deque[str] = deque()
        """Lines to be read once more, after a record that was none."""
        self._held: list[str] = []
        """The lines of the record that is being read."""
        self._skips_blanks = False
        """Whether cells begin after the blanks that follow a delimiter: if one of them does, with a quote."""
        asked, header = self._header_lines()
        self._refuse_other_formats(next(filter(str.strip, header)))
        self.delimiter = delimiter or asked or _most_frequent("".join(header))
        self._again.extend(header)
        self._blank_and_quote = f'{self.delimiter} "'
        self._reader = self._new_reader()
        self.columns = self._header()
        self._is_report = is_report(self.columns)

    def sample(self) -> list[Sequence[str]]:
        """Some rows of a file of which no more is read."""
        return [cells for _, cells, broken in islice(self.records(), _SAMPLE) if broken is None]

    def _refuse_other_formats(self, line: str) -> None:
        for form, what, hint in _OTHER_FORMATS:
            if form.match(line):
                raise refused("E004", f"{self._text.name} is {what}, not CSV", hint)

    def _header_lines(self) -> tuple[str | None, list[str]]:
        """Read the lines of the header, with the blank ones before it, and the delimiter of a `sep=` line."""
        asked = None
        lines: list[str] = []
        quotes = 0
        for line in self._lines:
            if not lines and asked is None and (match := _SEPARATOR_LINE(line)):
                asked = match[1]
                continue
            if not lines and _TYPE_LINE(line):
                self._text.row += 1
                continue
            lines.append(line)
            quotes += line.count('"')
            if (line.strip() and quotes % 2 == 0) or _is_too_long(lines):
                break
        if not any(map(str.strip, lines)):
            raise refused("E002", f"{self._text.name} is empty", "is it the right file?")
        return asked, lines

    def _header(self) -> tuple[str, ...]:
        for _, cells, broken in self.records():
            if broken is not None:
                raise refused("E104", f"The header of {self._text.name} cannot be read: {broken.problem}", broken.hint)
            names = [cell.strip() for cell in cells]
            while names and not names[-1]:
                names.pop()
            if names:
                return tuple(names)
        raise refused("E002", f"{self._text.name} is empty", "is it the right file?")

    def rows(self, checker: RowChecker) -> Iterator[Row | BadRow]:
        """Read and check all rows.

        Raises:
            InputError: the rest of the file cannot be read.

        """
        checker.delimiter = self.delimiter
        check = checker.check_cells
        for row, cells, broken in self.records():
            if broken is not None:
                yield checker.refuse(row, cells, broken)
            else:
                yield check(row, list(map(restored, cells)) if self._is_report else cells)

    def records(self) -> Iterator[tuple[int, Sequence[str], Finding | None]]:
        """Give the number and cells of each row that is not blank, and what is wrong if it could not be read.

        Raises:
            InputError: the rest of the file cannot be read.

        """
        broken_rows = 0
        held, text = self._held, self._text
        while True:
            try:
                for cells in self._reader:
                    if self._has_quote_after_blank and _begins_with_blank_and_quote(cells):
                        self._reread_without_blanks()
                        break
                    held.clear()
                    text.row += 1
                    if not any(cells) or not any(map(str.strip, cells)):
                        continue
                    yield text.row, cells, None
                else:
                    return
            except (csv.Error, _RecordTooLongError) as error:
                text.row += 1
                yield self._broken(error)
                broken_rows += 1
                if broken_rows == _MOST_BROKEN:
                    sentence = f"The quotes in {text.name} are broken in {broken_rows:,} rows up to row {text.row}"
                    raise refused("E104", sentence, "export it again, or give its --delimiter") from None

    def _reread_without_blanks(self) -> None:
        """Read the record once more, and the rest of the file, so that blanks before a quote are no part of a cell."""
        self._skips_blanks = True
        self._again.extendleft(reversed(self._held))
        self._held.clear()
        self._reader = self._new_reader()

    def _broken(self, error: Exception) -> tuple[int, Sequence[str], Finding]:
        """Say what is wrong with the record that could not be read, and read on after its first line."""
        first = self._held[0]
        if "field limit" in str(error) and len(self._held) == 1:
            code, problem, hint = "E107", "a cell is too long", None
        elif len(self._held) > 1 or "unexpected end" in str(error):
            code, problem, hint = "E104", "a quote that is opened in this row is never closed", "close it"
        else:
            code, problem = "E104", "a quote is closed in the middle of a cell"
            hint = 'a quote inside a quoted cell is written twice: ""'
        self._again.extendleft(reversed(self._held[1:]))
        self._held.clear()
        self._reader = self._new_reader()
        finding = Finding(code, problem, row=self._text.row, value=shortened(first.rstrip("\r\n")), hint=hint)
        return self._text.row, first.rstrip("\r\n").split(self.delimiter), finding

    def _new_reader(self) -> Iterator[list[str]]:
        self._has_quote_after_blank = False
        return csv.reader(self._feed(), delimiter=self.delimiter, strict=True, skipinitialspace=self._skips_blanks)

    def _feed(self) -> Iterator[str]:
        """Hand out the lines, and hold on to those of the record that is being read."""
        held = self._held
        sought = self._blank_and_quote
        while self._again:
            line = self._again.popleft()
            held.append(line)
            self._has_quote_after_blank |= sought in line and not self._skips_blanks
            yield line
        for line in self._lines:
            held.append(line)
            if len(held) > 1 and _is_too_long(held):
                raise _RecordTooLongError
            if sought in line and not self._skips_blanks:
                self._has_quote_after_blank = True
            yield line


def _begins_with_blank_and_quote(cells: Sequence[str]) -> bool:
    return any(cell.startswith(" ") and cell.lstrip(" ").startswith('"') for cell in cells)


def _is_too_long(lines: list[str]) -> bool:
    """Whether these are more lines than one record can have."""
    count = len(lines)
    return count > _MOST_LINES or (count % 32 == 0 and sum(map(len, lines)) > LONGEST_LINE)


def _most_frequent(header: str) -> str:
    """Find the delimiter: the one that the header has most of outside quotes, the comma if it has none."""
    bare = re.sub(r'"[^"]*"', "", header)
    return max(_DELIMITERS, key=bare.count)
