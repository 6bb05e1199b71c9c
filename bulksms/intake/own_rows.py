"""Own rows: messages that a program has itself, read and checked like those of a file.

Laws: one pass, lazily. The columns of the first row are the columns of the input; a later one may have fewer or others,
and is then checked by its own.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from bulksms.intake.checking import RowChecker
from bulksms.intake.finding import Finding, refused
from bulksms.intake.options import InputOptions, check_options
from bulksms.intake.row import BadRow, Row


class OwnRows:
    """Rows of a program: one mapping from columns to values each, counted from 1. Iterate over them once."""

    def __init__(
        self, rows: Iterable[Mapping[str, str]], options: InputOptions | None = None, *, name: str = "the rows"
    ) -> None:
        """Look at the first row; `name` is what the input is called in messages and in the ledger.

        Raises:
            InputRefused: there is none, or its columns are not what is needed.
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
