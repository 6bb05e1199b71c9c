"""Defused cells: an apostrophe keeps a spreadsheet from running a cell of a report as a formula.

Pure. Invariant: `restored(defused(cell)) == cell` for every cell.
Source: OWASP, "CSV Injection".
"""

from collections.abc import Sequence

FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")
"""The first characters by which a spreadsheet recognises a formula."""
SUSPECTS = frozenset((*FORMULA_SIGNS, "'"))
"""The first characters of a cell that `defused` may change."""
REPORT_COLUMNS = ("row", "recipient", "status", "reason", "attempts", "http_status", "result_type")
"""How the header of a report begins, the only kind of file in which cells are defused."""


def defused(cell: str) -> str:
    """The cell as a report writes it: with one more apostrophe before a formula sign."""
    return f"'{cell}" if cell[:1] in SUSPECTS and _is_formula(cell.lstrip("'")) else cell


def restored(cell: str) -> str:
    """The cell as it was before `defused`."""
    return cell[1:] if cell.startswith("'") and _is_formula(cell.lstrip("'")) else cell


def _is_formula(cell: str) -> bool:
    return cell.startswith(FORMULA_SIGNS)


def is_report(columns: Sequence[str]) -> bool:
    """Whether a file with this header is a report, in which cells are defused."""
    return tuple(columns[: len(REPORT_COLUMNS)]) == REPORT_COLUMNS
