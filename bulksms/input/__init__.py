"""Input: files are read, rows checked and texts rendered, before anything is sent.

`source` reads a file, `row_checker` checks a row, and `row_findings` has what can be wrong with it.
It may import `model` and `errors`, and opens only the files it is given. Invariant: what is wrong with a row is a
value, a finding with a stable code, and not an exception; only what is wrong with the whole input is raised.
"""

from bulksms.input.finding import CODES, BadRow, Code, Finding, Row, Severity
from bulksms.input.options import Format, InputOptions, options_for_rows
from bulksms.input.recipient_files import read_suppressed
from bulksms.input.rejects import RejectsWriter, write_rejects
from bulksms.input.row_checker import RowChecker
from bulksms.input.source import InMemoryRows, Input, open_input

__all__ = [
    "CODES",
    "BadRow",
    "Code",
    "Finding",
    "Format",
    "InMemoryRows",
    "Input",
    "InputOptions",
    "RejectsWriter",
    "Row",
    "RowChecker",
    "Severity",
    "open_input",
    "options_for_rows",
    "read_suppressed",
    "write_rejects",
]
