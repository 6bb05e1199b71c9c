"""Mistake: what keeps a row from being sent, each with what would be right.

Pure.
"""

import unicodedata
from collections.abc import Callable, Iterator, Sequence

from bulksms.intake.finding import Finding, shortened
from bulksms.intake.layout import FORBIDDEN, Layout
from bulksms.intake.template import nearest
from bulksms.recipient import BadRecipient, Recipient

LONGEST_CELL = 32_767
"""Characters: what one cell of an Excel worksheet can hold (Microsoft, "Excel specifications and limits")."""


def in_width(layout: Layout, row: int, cells: Sequence[str]) -> Iterator[Finding]:
    """Find a row that has more or fewer cells than the header."""
    width = len(layout.columns)
    if len(cells) == width:
        return
    hint = "give every row as many cells as the header"
    if len(cells) > width and any("=" in cell for cell in cells):
        hint = 'put a cell that has commas in it, such as a DN, into double quotes: "CN=Ann Lee,DC=example,DC=com"'
    yield Finding(
        "E103",
        f"the row has {len(cells)} cells, the header {width}",
        row=row,
        value=shortened(" | ".join(cells)),
        hint=hint,
    )


def in_names(layout: Layout, row: int) -> Iterator[Finding]:
    """Find what is wrong with the names of the columns, where each row has its own."""
    if layout.problem is not None:
        yield Finding(layout.problem.code, layout.problem.sentence, row=row, hint=layout.problem.hint)


def in_cells(layout: Layout, row: int, cells: Sequence[str]) -> Iterator[Finding]:
    """Find cells that are too long, and characters that no message may have."""
    for column, cell in zip(layout.columns, cells, strict=True):
        if len(cell) > LONGEST_CELL:
            problem = f"the cell has {len(cell):,} characters, at most {LONGEST_CELL:,} are allowed"
            yield Finding("E107", problem, row=row, column=column, value=shortened(cell))
        if found := FORBIDDEN.search(cell):
            surrogate = unicodedata.category(found[0]) == "Cs"
            what = "half of a character pair" if surrogate else "a control character"
            yield Finding(
                "E106" if surrogate else "E105",
                f"character {found.start() + 1} is {what}, U+{ord(found[0]):04X}",
                row=row,
                column=column,
                value=shortened(cell[max(0, found.start() - 20) :]),
                hint="remove it",
            )


def in_recipient(
    layout: Layout, row: int, cells: Sequence[str], parse: Callable[[str], Recipient]
) -> Iterator[Finding]:
    """Find a recipient that is missing or that `parse` refuses."""
    value = cells[layout.recipient] if layout.recipient >= 0 else ""
    column = layout.columns[layout.recipient] if layout.recipient >= 0 else None
    try:
        parse(value)
    except BadRecipient as bad:
        missing = not value.strip()
        shown = None if missing else shortened(value)
        yield Finding("E102" if missing else "E101", str(bad), row=row, column=column, value=shown, hint=bad.hint)


def in_text(layout: Layout, row: int, cells: Sequence[str], text: str | None) -> Iterator[Finding]:
    """Find a text that is missing, and the values without which it cannot be made."""
    if layout.renderer is not None and text is None:
        for column in layout.renderer.empty(cells):
            name = shortened(column)
            problem = f"(({name})) has no value in this row"
            hint = f"fill it in, or give a fallback: (({name}|…))"
            if column not in layout.columns and (close := nearest(column, layout.columns)):
                hint = f"did you mean {shortened(close)}?"
            yield Finding("E112", problem, row=row, column=column, hint=hint)
    elif not text or not text.strip():
        column_of_text = layout.columns[layout.text] if layout.text >= 0 else None
        yield Finding("E111", "there is no text", row=row, column=column_of_text)
