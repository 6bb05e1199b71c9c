"""Table: one line a message for a person's eyes, cut to a width; CSV and JSONL have everything."""

from collections.abc import Iterable, Iterator

from bulksms.ledger.reader import Line
from bulksms.report.characters import printable

_WIDTHS = (7, 17, 16, 8)
HEADERS = ("row", "status", "reason", "attempts", "recipient and what was said")
RECIPIENT = 60


def as_table(lines: Iterable[Line]) -> Iterator[str]:
    """A header and one line a message."""
    yield _aligned(HEADERS)
    for line in lines:
        recipient = line.recipient if len(line.recipient) <= RECIPIENT else line.recipient[: RECIPIENT - 1] + "…"
        said = [line.error or "", *line.warnings, "may have been sent twice" if line.may_have_sent_twice else ""]
        words = "; ".join(" ".join(word.split()) for word in said if word)
        yield _aligned(
            (line.row, line.state, line.reason or "", line.attempts, f"{recipient}  {words}" if words else recipient)
        )


def _aligned(cells: tuple[object, ...]) -> str:
    row, status, reason, attempts, rest = (str(cell) for cell in cells)
    widths = _WIDTHS
    start = f"{row:>{widths[0]}}  {status:<{widths[1]}}  {reason:<{widths[2]}}  {attempts:>{widths[3]}}"
    return f"{start}  {printable(rest)}".rstrip() + "\n"
