"""Intake: what comes in. Files are read, rows checked and texts made, before anything is sent.

Law: what is wrong with a row is a value, not an exception; only what is wrong with the whole input is raised.
"""

from bulksms.intake.checking import RowChecker
from bulksms.intake.finding import CODES, Code, Finding, Severity
from bulksms.intake.options import Format, InputOptions, Match
from bulksms.intake.own_rows import OwnRows
from bulksms.intake.rejects import RejectsWriter, write_rejects
from bulksms.intake.row import BadRow, Row
from bulksms.intake.source import Input, open_input
from bulksms.intake.suppress import read_suppressed

__all__ = [
    "CODES",
    "BadRow",
    "Code",
    "Finding",
    "Format",
    "Input",
    "InputOptions",
    "Match",
    "OwnRows",
    "RejectsWriter",
    "Row",
    "RowChecker",
    "Severity",
    "open_input",
    "read_suppressed",
    "write_rejects",
]
