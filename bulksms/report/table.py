"""Table: one line a message for a person's eyes; CSV and JSONL have everything.

Law: no line is wider than the width that is asked for; what does not fit stands below its message, indented.
"""

import textwrap
from collections.abc import Iterable, Iterator

from bulksms.ledger.reader import Line
from bulksms.report.characters import printable

_WIDTHS = (7, 17, 16, 8)
HEADERS = ("row", "status", "reason", "attempts", "recipient and what was said")
RECIPIENT = 60


def as_table(lines: Iterable[Line], width: int | None = None) -> Iterator[str]:
    """A header and one line a message, several where `width` characters do not take it."""
    yield from _aligned(HEADERS, width)
    for line in lines:
        recipient = line.recipient if len(line.recipient) <= RECIPIENT else line.recipient[: RECIPIENT - 1] + "…"
        said = [line.error or "", *line.warnings, "may have been sent twice" if line.may_have_sent_twice else ""]
        words = "; ".join(" ".join(word.split()) for word in said if word)
        rest = f"{recipient}  {words}" if words else recipient
        yield from _aligned((line.row, line.state, line.reason or "", line.attempts, rest), width)


def _aligned(cells: tuple[object, ...], width: int | None) -> Iterator[str]:
    row, status, reason, attempts, rest = (str(cell) for cell in cells)
    widths = _WIDTHS
    start = f"{row:>{widths[0]}}  {status:<{widths[1]}}  {reason:<{widths[2]}}  {attempts:>{widths[3]}}"
    line = f"{start}  {printable(rest)}".rstrip()
    if width is None or len(line) <= width:
        yield f"{line}\n"
        return
    yield f"{start}\n"
    indent = " " * (widths[0] + 2)
    for part in textwrap.wrap(printable(rest), width - len(indent), break_on_hyphens=False):
        yield f"{indent}{part}\n"
