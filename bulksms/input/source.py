"""Source: an input as rows, whatever the format of its file, and messages that a program has itself.

Invariants: one pass, lazily; memory does not grow with the number of rows. The columns of the first row in memory are
the columns of the input; a later one may have fewer or others, and is then checked by its own.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Protocol, Self

from bulksms.errors import UsageError
from bulksms.input.csv_rows import DelimitedRows
from bulksms.input.decoding import Text, open_file
from bulksms.input.finding import BadRow, Finding, Row, refused, shortened
from bulksms.input.jsonl_rows import JsonRows
from bulksms.input.options import Format, InputOptions, check_options, delimiter_of
from bulksms.input.row_checker import RowChecker
from bulksms.input.xlsx_rows import SheetRows

CODE_PAGES = ("cp1252", "cp850", "cp437", "latin-1")
"""Those of Western consoles and of Windows itself."""


def damage(identifier: str) -> str | None:
    """What a pipe seems to have done to an identifier, in words; None if nothing shows.

    Windows PowerShell 5.1 writes `?` for what its `$OutputEncoding` (ASCII) lacks, and reads UTF-8 with the console's
    code page, which makes `CN=MÃ¼ller` of `CN=Müller`: another object, or none.
    """
    if identifier.isascii():
        return "has a ? where a letter may have been" if "?" in identifier else None
    if "\N{REPLACEMENT CHARACTER}" in identifier:
        return "has U+FFFD where a letter was"
    for code_page in CODE_PAGES:
        try:
            meant = identifier.encode(code_page).decode("utf-8")
        except UnicodeError:
            continue
        return f"is UTF-8 that was read as {code_page}; probably {meant} is meant"
    return "has a ? where a letter may have been" if "?" in identifier else None


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

    def sample(self) -> Sequence[Sequence[str]]: ...


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
        self.checker = RowChecker(self.columns, options, name=name, sample=self._rows.sample)
        self._is_piped = options.piped
        self._iterator = self._iterate()

    def _open(self, options: InputOptions, form: Format) -> _Rows:
        if form == "xlsx":
            return SheetRows(self._stream, self.name, options)
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
            InputError: there are none, or the rest of the file cannot be read.

        """
        return self._iterator

    def _iterate(self) -> Iterator[Row | BadRow]:
        rows = self._rows.rows(self.checker)
        first = next(rows, None)
        if first is None:
            raise refused("E002", f"{self.name} has a header and no rows", "is it the right file?")
        yield from map(self._undamaged, chain([first], rows)) if self._is_piped else chain([first], rows)

    def _undamaged(self, row: Row | BadRow) -> Row | BadRow:
        """The row, refused if its identifier is one that a pipe has changed."""
        identifier = row.recipient if isinstance(row, BadRow) else row.recipient.given
        problem = damage(identifier)
        if problem is None:
            return row
        hint = "have the shell write UTF-8 ($OutputEncoding = [Text.UTF8Encoding]::new()), or name a file instead of -"
        column = self.checker.recipient_column
        value = shortened(identifier)
        finding = Finding("E120", f"the identifier {problem}", row=row.row, column=column, value=value, hint=hint)
        return self.checker.refuse_checked(row, [finding])

    def close(self) -> None:
        """Close the file, unless it was open before."""
        if self._owned:
            self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_input(source: Path | BinaryIO, options: InputOptions | None = None, *, name: str | None = None) -> Input:
    """Open a file, or read one that is open, up to its header. `name` is what it is called in messages.

    Raises:
        InputError: it cannot be read, is empty, or its columns are not what is needed.
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
        raise UsageError(f"The format of {source.name} is not clear from its name.", hint="Give --format csv or jsonl.")
    return form


class InMemoryRows:
    """Rows of a program: one mapping from columns to values each, counted from 1. Iterate over them once."""

    def __init__(
        self, rows: Iterable[Mapping[str, str]], options: InputOptions | None = None, *, name: str = "the rows"
    ) -> None:
        """Look at the first row; `name` is what the input is called in messages and in the ledger.

        Raises:
            InputError: there is none, or its columns are not what is needed.
            UsageError: the options contradict each other, or are about a file.

        """
        options = options or InputOptions()
        check_options(options, "jsonl")
        self.name = name
        iterator = iter(rows)
        first = next(iterator, None)
        if first is None:
            raise refused("E002", f"There are none of {name}", "is there anybody to tell?")
        self.columns = tuple(first)
        self.checker = RowChecker(self.columns, options, name=name)
        self._rows = chain((first,), iterator)

    @property
    def findings(self) -> list[Finding]:
        """What was found about all rows so far."""
        return self.checker.findings

    def __iter__(self) -> Iterator[Row | BadRow]:
        """Give all rows, once."""
        for number, row in enumerate(self._rows, 1):
            yield self.checker.check_row(number, row)
