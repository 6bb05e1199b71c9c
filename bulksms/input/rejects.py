"""Rejects: the bad rows as a file in the input's own columns, to be put right and sent.

Invariant: written row by row, and no other account of the machine may read it (mode 0600 on POSIX).
"""

import csv
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from bulksms.errors import UsageError
from bulksms.input.finding import BadRow

REJECT_COLUMNS = ("row", "code", "problem")


class RejectsWriter:
    """An open file of bad rows; use it in a `with` statement."""

    def __init__(
        self, path: Path, columns: Sequence[str], *, delimiter: str | None = None, source: Path | None = None
    ) -> None:
        """Begin the file; one that is there is replaced. UTF-8 with a byte-order mark, as Excel needs it.

        Raises:
            UsageError: it cannot be written, or is the input itself.

        """
        if source is not None and path.exists() and source.exists() and path.samefile(source):
            raise UsageError(f"{path} is the input itself.", hint="Choose another file for --rejects.")
        # Rejects that were put right and went wrong again have these columns already.
        self._width = len(columns) - 3 if tuple(columns[-3:]) == REJECT_COLUMNS else len(columns)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        except OSError as error:
            hint = "Choose another file for --rejects; is it open in Excel?"
            raise UsageError(f"{path} cannot be written: {error.strerror}.", hint=hint) from None
        self._file = os.fdopen(descriptor, "w", encoding="utf-8-sig", newline="")
        if os.name == "posix" and stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.fchmod(descriptor, 0o600)  # a file that was there keeps its mode otherwise
        self._writer = csv.writer(self._file, delimiter=delimiter or ",")
        self._writer.writerow([*columns[: self._width], *REJECT_COLUMNS])
        self.written = 0
        """How many rows are in it."""

    def write(self, bad: BadRow) -> None:
        """Write one row; of several problems all are named."""
        codes = " | ".join(dict.fromkeys(finding.code for finding in bad.findings))
        problems = " | ".join(
            finding.problem if finding.column is None else f"{finding.column}: {finding.problem}"
            for finding in bad.findings
        )
        self._writer.writerow([*bad.cells[: self._width], bad.row, codes, problems])
        self.written += 1

    def close(self) -> None:
        """End the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def write_rejects(
    path: Path, columns: Sequence[str], *, delimiter: str | None = None, source: Path | None = None
) -> RejectsWriter:
    """Open a file for bad rows, in the columns of the input; `source` is the input's file, never overwritten.

    Raises:
        UsageError: it cannot be written, or is the input itself.

    """
    return RejectsWriter(path, columns, delimiter=delimiter, source=source)
