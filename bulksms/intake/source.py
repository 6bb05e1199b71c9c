"""Source: an input as rows, whatever it is a file of.

Law: one pass, lazily; memory does not grow with the number of rows.
"""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

from bulksms.errors import UsageError
from bulksms.intake.checking import RowChecker
from bulksms.intake.decoding import Text
from bulksms.intake.delimited import DelimitedRows
from bulksms.intake.finding import Finding, refused, shortened
from bulksms.intake.json_lines import JsonRows
from bulksms.intake.opening import open_file
from bulksms.intake.options import Format, InputOptions, check_options, delimiter_of
from bulksms.intake.row import BadRow, Row
from bulksms.intake.workbook import SheetRows

_SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
}


class _Rows(Protocol):
    columns: tuple[str, ...]

    @property
    def delimiter(self) -> str | None: ...

    def rows(self, checker: RowChecker) -> Iterator[Row | BadRow]: ...


class Input:
    """An open input: iterate over it once, then look at its findings. Close it, or use it in a `with` statement."""

    def __init__(
        self, name: str, stream: BinaryIO, options: InputOptions, *, form: Format, owned: bool = False
    ) -> None:
        """Read the header; `open_input` is the way to get one. A stream that is `owned` is closed with it."""
        self.name = name
        self._stream = stream
        self._owned = owned
        self._text: Text | None = None
        self._rows = self._open(options, form)
        self.columns = self._rows.columns
        """The header as it came."""
        self.delimiter = self._rows.delimiter
        """What separates the cells of a CSV file; None for other formats."""
        self.checker = RowChecker(self.columns, options, name=name)
        self._iterator = self._iterate()

    def _open(self, options: InputOptions, form: Format) -> _Rows:
        if form == "xlsx":
            return SheetRows(self._stream, self.name, options.sheet)
        self._text = Text(self._stream, self.name, options.encoding)
        if form == "jsonl":
            return JsonRows(self._text)
        return DelimitedRows(self._text, delimiter_of(options))

    @property
    def findings(self) -> list[Finding]:
        """What was found about the whole input; complete when all rows have been read."""
        found = self.checker.findings
        if self._text is not None and self._text.fallback is not None:
            row, line = self._text.fallback
            problem = f"{self.name} is not UTF-8 and was read as Windows-1252; this is the first row that it changes"
            hint = "look at the letters outside ASCII; if they are wrong, give --encoding"
            found.insert(0, Finding("W201", problem, row=row, value=shortened(line.strip()), hint=hint))
        return found

    @property
    def position(self) -> int:
        """How many bytes have been read; 0 for a workbook."""
        return self._text.position if self._text else 0

    def __iter__(self) -> Iterator[Row | BadRow]:
        """Give all rows, once.

        Raises:
            InputRefused: there are none, or the rest of the file cannot be read.

        """
        return self._iterator

    def _iterate(self) -> Iterator[Row | BadRow]:
        rows = self._rows.rows(self.checker)
        first = next(rows, None)
        if first is None:
            raise refused("E002", f"{self.name} has a header and no rows", "is it the right file?")
        yield first
        yield from rows

    def close(self) -> None:
        """Close the file, unless it was open before."""
        if self._owned:
            self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def open_input(source: Path | BinaryIO, options: InputOptions | None = None, *, name: str | None = None) -> Input:
    """Open a file, or read one that is open, up to its header. `name` is what it is called in messages.

    Raises:
        InputRefused: it cannot be read, is empty, or its columns are not what is needed.
        UsageError: the options contradict each other or the format.

    """
    options = options or InputOptions()
    if not isinstance(source, Path):
        form = options.format or _by_suffix(source)
        check_options(options, form)
        return Input(name or "Standard input", source, options, form=form)
    stream = open_file(source)
    try:
        form = options.format or _by_suffix(source)
        check_options(options, form)
        return Input(name or source.name, stream, options, form=form, owned=True)
    except BaseException:
        stream.close()
        raise


def _by_suffix(source: Path | BinaryIO) -> Format:
    if not isinstance(source, Path):
        raise UsageError("Standard input has no name to tell its format by.", hint="Give --format csv or jsonl.")
    form = _SUFFIXES.get(source.suffix.lower())
    if form is None:
        raise UsageError(f"The format of {source.name} cannot be told by its name.", hint="Give --format csv or jsonl.")
    return form
