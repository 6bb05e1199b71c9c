"""Worth a look: what does not keep a text from being sent, but may not be what its writer had in mind.

Pure.
"""

import re
from collections.abc import Callable, Iterator

from bulksms.intake.finding import Finding, shortened
from bulksms.intake.segments import TYPOGRAPHIC, Foreign, Size, borders

LONG_TEXT = 918
"""Characters: six segments of GSM-7, where many gateways end."""

_REFERENCE = re.compile(r"%[A-Za-z][\w-]*%")
_LINK = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)


def look_at(text: str, size: Size, *, row: int | None, column_at: Callable[[int], str | None]) -> Iterator[Finding]:
    """Find what is worth a look in a text; `column_at` tells which column a character of it comes from."""
    if size.first_ucs2 is not None:
        yield _needs_ucs2(size.first_ucs2, row, column_at(size.first_ucs2.index))
    if "%" in text and (reference := _REFERENCE.search(text)):
        yield Finding(
            "W205",
            "the server may put a property of the person in its place",
            row=row,
            column=column_at(reference.start()),
            value=shortened(reference[0]),
            hint="send one to yourself first, or write it without the percent signs",
        )
    if len(text) > LONG_TEXT:
        problem = f"the text has {len(text)} characters, {size.segments} segments; many gateways end at {LONG_TEXT}"
        yield Finding("W206", problem, row=row, column=column_at(0), value=shortened(text))
    if size.segments > 1 and (link := _split_link(text)):
        yield Finding(
            "W207",
            "this link lies across the border of two segments; some telephones show it broken",
            row=row,
            column=column_at(link.start()),
            value=shortened(link[0]),
            hint="put it at the beginning, or make the text shorter",
        )


def _needs_ucs2(foreign: Foreign, row: int | None, column: str | None) -> Finding:
    plain = foreign.replacement
    hint = None
    if plain is not None:
        hint = f"write {plain!r}" if plain else "leave it out"
        if foreign.character in TYPOGRAPHIC:
            hint += ", or give --gsm7 replace"
    return Finding(
        "W204",
        f"{foreign.code_point} is not in GSM-7: segments of 70 characters instead of 160",
        row=row,
        column=column,
        value=shortened(foreign.character),
        hint=hint,
    )


def _split_link(text: str) -> re.Match[str] | None:
    cuts = borders(text)
    for link in _LINK.finditer(text):
        if any(link.start() < cut < link.end() for cut in cuts):
            return link
    return None
