"""Delimited: the rows of a CSV file.

Law: row numbers are those that a spreadsheet shows: a record counts one however many lines it has, blank lines count,
a `sep=` line does not. What is wrong with one row spoils no other.
"""

import csv
import re
from collections import deque
from collections.abc import Iterator, Sequence

from bulksms.intake.checking import RowChecker
from bulksms.intake.decoding import LONGEST_LINE, Text
from bulksms.intake.finding import Finding, refused, shortened
from bulksms.intake.row import BadRow, Row

_DELIMITERS = ",;\t|"
_MOST_LINES = 1000
"""Lines of one record; more are a quote that was never closed."""
_MOST_BROKEN = 1000
"""Rows with broken quotes after which the rest of the file is not worth reading."""
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE).fullmatch


class _RecordTooLongError(Exception):
    """A record has more lines than any real one."""


class DelimitedRows:
    """The rows of a CSV file, read as they are asked for."""

    def __init__(self, text: Text, delimiter: str | None) -> None:
        """Read the header.

        Raises:
            InputRefused: there is none, or it cannot be read.

        """
        self._text = text
        self._lines = text.lines()
        self._again: deque[str] = deque()
        """Lines to be read once more, after a record that was none."""
        self._held: list[str] = []
        """The lines of the record that is being read."""
        asked, header = self._header_lines()
        self.delimiter = delimiter or asked or _most_frequent("".join(header))
        self._again.extend(header)
        self._reader = self._new_reader()
        self.columns = self._header()

    def _header_lines(self) -> tuple[str | None, list[str]]:
        """Read the lines of the header, with the blank ones before it; tell the delimiter of a `sep=` line."""
        asked = None
        lines: list[str] = []
        quotes = 0
        for line in self._lines:
            if not lines and asked is None and (match := _SEPARATOR_LINE(line)):
                asked = match[1]
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
            InputRefused: the rest of the file cannot be read.

        """
        checker.delimiter = self.delimiter
        check = checker.check_cells
        for row, cells, broken in self.records():
            yield check(row, cells) if broken is None else checker.refuse(row, cells, broken)

    def records(self) -> Iterator[tuple[int, Sequence[str], Finding | None]]:
        """Give the number and cells of each row that is not blank, and what is wrong if it could not be read.

        Raises:
            InputRefused: the rest of the file cannot be read.

        """
        broken_rows = 0
        held, text = self._held, self._text
        while True:
            try:
                for cells in self._reader:
                    held.clear()
                    text.row += 1
                    if not any(cells) or (len(cells) == 1 and not cells[0].strip()):
                        continue
                    yield text.row, cells, None
            except (csv.Error, _RecordTooLongError) as error:
                text.row += 1
                yield self._broken(error)
                broken_rows += 1
                if broken_rows == _MOST_BROKEN:
                    sentence = f"The quotes in {text.name} are broken in {broken_rows:,} rows up to row {text.row}"
                    raise refused("E104", sentence, "export it again, or give its --delimiter") from None
            else:
                return

    def _broken(self, error: Exception) -> tuple[int, Sequence[str], Finding]:
        """Tell what is wrong with the record that could not be read, and read on after its first line."""
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
        return csv.reader(self._feed(), delimiter=self.delimiter, strict=True)

    def _feed(self) -> Iterator[str]:
        """Hand out the lines, and hold on to those of the record that is being read."""
        held = self._held
        while self._again:
            line = self._again.popleft()
            held.append(line)
            yield line
        for line in self._lines:
            held.append(line)
            if len(held) > 1 and _is_too_long(held):
                raise _RecordTooLongError
            yield line


def _is_too_long(lines: list[str]) -> bool:
    """Tell whether so many lines can be one record."""
    count = len(lines)
    return count > _MOST_LINES or (count % 32 == 0 and sum(map(len, lines)) > LONGEST_LINE)


def _most_frequent(header: str) -> str:
    """Find the delimiter: the one that the header has most of outside quotes, the comma if it has none."""
    bare = re.sub(r'"[^"]*"', "", header)
    return max(_DELIMITERS, key=bare.count)
