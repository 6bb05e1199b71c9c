"""Text for people: characters made visible, lines wrapped and cut to the columns of a terminal, times and durations.

Invariants: a terminal or a browser gets printable characters only, so everything in an input is shown and never
obeyed. Widths are those of the Unicode Standard Annex 11. Times are local, with the offset from UTC, by the rules of
this machine's time zone; programs get UTC instead (`report.rows`).
"""

import textwrap
import unicodedata
from datetime import UTC, datetime


def code(character: str) -> str:
    r"""The escape of a character that is not shown as itself, as Python writes it: `\n`, `\x1b`, `\u202e`."""
    return character.encode("unicode_escape").decode()


def printable(text: str) -> str:
    """The text with a code in the place of everything that cannot be seen as it is."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else code(character) for character in text)


def wrapped(text: str, first: str, others: str, width: int, *, break_words: bool = True) -> list[str]:
    """The text in lines no wider than `width`; words stay whole where they fit, or always without `break_words`.

    `first` begins the first line, `others` each that follows.
    """
    # textwrap counts characters: a filler after each wide one makes it count columns.
    stretched = "".join(character + "\0" * (_columns(character) - 1) for character in text)
    lines = textwrap.wrap(
        stretched,
        # A wide character may be parted from its filler at the end of a line: that column is kept free for it.
        width - (stretched != text),
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=break_words,
        break_on_hyphens=False,
        replace_whitespace=False,
    )
    return [line.replace("\0", "").rstrip() for line in lines] or [first.rstrip()]


def cut(text: str, columns: int, ellipsis: str = "…") -> str:
    """The text, or as much of its beginning as fits into so many columns, with an ellipsis."""
    if columns_of(text) <= columns:
        return text
    kept = ""
    columns -= len(ellipsis)
    for character in text:
        columns -= _columns(character)
        if columns < 0:
            break
        kept += character
    return kept + ellipsis


def columns_of(text: str) -> int:
    """Columns that a terminal gives a text."""
    return sum(map(_columns, text))


def _columns(character: str) -> int:
    """Columns that a terminal gives a character; none less than one, to be safe."""
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


Moment = float | str | datetime
"""POSIX seconds, ISO 8601 as the ledger writes it (`2026-11-29T18:49:12Z`), or an aware datetime."""


def local(moment: Moment) -> str:
    """The local time to the second, with its offset: `2026-11-29 19:49:12 +01:00`."""
    at = as_datetime(moment).astimezone()
    return f"{at:%Y-%m-%d %H:%M:%S} {offset(at)}"


def local_minute(moment: Moment) -> str:
    """The local time to the minute, with its offset: `2026-11-29 19:49 +01:00`."""
    at = as_datetime(moment).astimezone()
    return f"{at:%Y-%m-%d %H:%M} {offset(at)}"


def utc(moment: Moment) -> str:
    """The time in UTC to the second: `2026-11-29 18:49:12 UTC`."""
    return f"{as_datetime(moment).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def offset(at: datetime) -> str:
    """The offset of an aware datetime from UTC: `+01:00`."""
    return at.isoformat()[-6:]


def as_datetime(moment: Moment) -> datetime:
    """The moment as an aware datetime. Raises ValueError for text that is no ISO 8601 time."""
    if isinstance(moment, datetime):
        return moment
    return datetime.fromisoformat(moment) if isinstance(moment, str) else datetime.fromtimestamp(moment, UTC)


def duration(seconds: float) -> str:
    """`3 s`, `2 min 05 s`, `1 h 20 min`."""
    if seconds < 10:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
