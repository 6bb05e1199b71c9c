"""Row: one row of an input, good or bad.

Law: a `Row` can be sent as it is; a `BadRow` says everything that keeps it from being sent.
"""

from typing import NamedTuple

from bulksms.intake.finding import Finding
from bulksms.intake.segments import Encoding
from bulksms.recipient import Recipient


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
