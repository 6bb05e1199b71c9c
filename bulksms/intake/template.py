"""Template: one text for all, in which `((column))` stands for that row's value.

Pure. Law: a value is put in as it is and never read as a template; nothing but names can stand in a placeholder.
"""

import difflib
import re
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import NamedTuple

# A name may have single brackets inside, as in ((Phone (home))), but does not begin with one: (((name))) is a
# placeholder in brackets.
_PLACEHOLDER = re.compile(r"\(\((?!\()((?:[^()|]|\([^()|]*\))++)(?:\|((?:[^()]|\([^()]*\))*+))?\)\)")


def folded(name: str) -> str:
    """Give the name of a column for comparing: without case and blanks."""
    return "".join(name.split()).casefold()


def nearest(name: str, names: Sequence[str]) -> str | None:
    """Find the name that was probably meant, if any is like it."""
    by_folded = {folded(known): known for known in names}
    close = difflib.get_close_matches(folded(name), by_folded, n=1, cutoff=0.6)
    return by_folded[close[0]] if close else None


class Placeholder(NamedTuple):
    """One `((name))` or `((name|fallback))` of a template."""

    name: str
    fallback: str | None


class Template:
    """A text read into its literal parts and placeholders; `literals` has one more than `placeholders`."""

    def __init__(self, text: str, *, literal: bool = False) -> None:
        """Read a template; with `literal` it has no placeholders, whatever it looks like."""
        pieces = [text] if literal else _PLACEHOLDER.split(text)
        self.text = text
        self.literals: tuple[str, ...] = tuple(pieces[::3])
        self.placeholders = tuple(map(Placeholder, map(str.strip, pieces[1::3]), pieces[2::3]))

    def leftover(self) -> str | None:
        """Give what looks like a placeholder but can be none, such as one that is not closed."""
        for part in self.literals:
            place = part.find("((")
            if place >= 0:
                return part[place : place + 30]
        return None


class Renderer:
    """A template bound to the columns of an input."""

    def __init__(self, template: Template, columns: Sequence[str]) -> None:
        """Bind it. A placeholder for none of the columns counts as empty in every row."""
        self.template = template
        places = {folded(column): place for place, column in enumerate(columns)}
        self._slots = tuple(places.get(folded(placeholder.name), -1) for placeholder in template.placeholders)
        self._names = tuple(
            columns[slot] if slot >= 0 else placeholder.name
            for slot, placeholder in zip(self._slots, template.placeholders, strict=True)
        )
        self.unknown = tuple(name for slot, name in zip(self._slots, self._names, strict=True) if slot < 0)
        # %s is the fastest way to fill in texts; only the template is read as a format, never a value.
        self._format = "%s".join(part.replace("%", "%%") for part in template.literals)
        self._pick: Callable[[Sequence[str]], tuple[str, ...]] | None = None
        if -1 not in self._slots and all(placeholder.fallback is None for placeholder in template.placeholders):
            self._pick = picker(self._slots)

    def render(self, cells: Sequence[str]) -> str | None:
        """Fill in a row's values; None if one is empty and has no fallback."""
        if self._pick is None:
            return self._render_with_fallbacks(cells)
        values = self._pick(cells)
        return self._format % values if all(map(str.strip, values)) else None

    def _render_with_fallbacks(self, cells: Sequence[str]) -> str | None:
        values = self._values(cells)
        return None if None in values else self._format % values

    def _values(self, cells: Sequence[str]) -> tuple[str | None, ...]:
        return tuple(
            cells[slot] if slot >= 0 and cells[slot].strip() else placeholder.fallback
            for slot, placeholder in zip(self._slots, self.template.placeholders, strict=True)
        )

    def empty(self, cells: Sequence[str]) -> list[str]:
        """Name the columns without which this row has no text, each once."""
        pairs = zip(self._names, self._values(cells), strict=True)
        return list(dict.fromkeys(name for name, value in pairs if value is None))

    def source(self, cells: Sequence[str], index: int) -> str | None:
        """Tell which column the character at `index` of the rendered text comes from; None: the template."""
        end = 0
        parts = zip(self.template.literals, (*self._names, ""), (*self._values(cells), ""), strict=True)
        for literal, name, value in parts:
            end += len(literal)
            if index < end:
                return None
            end += len(value or "")
            if index < end:
                return name
        return None


def picker(slots: tuple[int, ...]) -> Callable[[Sequence[str]], tuple[str, ...]]:
    """Make what takes the values at these places out of a row, always as a tuple."""
    if len(slots) > 1:
        return itemgetter(*slots)
    if slots:
        only = slots[0]
        return lambda cells: (cells[only],)
    return lambda _: ()
