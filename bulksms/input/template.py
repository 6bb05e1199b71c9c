"""Template: one text for all, in which `((column))` takes that row's value.

Pure. Invariants: a value is inserted as it is and never read as a template; a placeholder can hold nothing but a name.
What is tidied in the text for all is reported as a finding, so that the preview says so.
"""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple

from bulksms.errors import UsageError
from bulksms.input.finding import Finding
from bulksms.model.recipient import prepared

# A name may have single brackets inside, as in ((Phone (home))), but does not begin with one: (((name))) is a
# placeholder in brackets.
_PLACEHOLDER = re.compile(r"\(\((?!\()((?:[^()|]|\([^()|]*\))++)(?:\|((?:[^()]|\([^()]*\))*+))?\)\)")


_WORD = r"\s*([^\W\d][^{}<>\[\]()«»|\n]{0,60}?)\s*"
_FOREIGN_PLACEHOLDER = re.compile(
    rf"\{{\{{{_WORD}\}}\}}|\$\{{{_WORD}\}}|<<{_WORD}>>|«{_WORD}»|\{{{_WORD}\}}|<{_WORD}>|\[{_WORD}\]"
)
"""`{{name}}`, `${name}`, `<<name>>`, `«name»`, `{name}`, `<name>` and `[name]`: what other programs fill in."""


def foreign_placeholders(text: str) -> list[tuple[str, str]]:
    """What looks like a placeholder of another template language: (as it is written, its name), each once."""
    found = ((match[0], next(filter(None, match.groups()))) for match in _FOREIGN_PLACEHOLDER.finditer(text))
    return list(dict.fromkeys(found))


def folded(name: str) -> str:
    """The name of a column for comparing: without case, blanks and invisible characters."""
    return "".join(prepared(name).split()).casefold()


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

    def filled(self, values: Mapping[str, str]) -> "Template":
        """The same template with these values in the place of their names, for every row."""
        by_name = {folded(name): value for name, value in values.items()}
        filled = Template("", literal=True)
        literals, placeholders = [self.literals[0]], []
        for placeholder, literal in zip(self.placeholders, self.literals[1:], strict=True):
            value = by_name.get(folded(placeholder.name))
            if value is None:
                placeholders.append(placeholder)
                literals.append(literal)
            else:
                literals[-1] += value + literal
        filled.text, filled.literals, filled.placeholders = self.text, tuple(literals), tuple(placeholders)
        return filled

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
        self.slots = tuple(dict.fromkeys(slot for slot in self._slots if slot >= 0))
        """The places of the columns that the text takes values of."""
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


def fill(template: Template, values: Mapping[str, str]) -> Template:
    """Put the values that were given with a text into it.

    An empty value counts as not given. Raises UsageError for a value that the text does not use, and for one that it
    needs and that is empty.
    """
    wanted = {folded(placeholder.name): placeholder for placeholder in template.placeholders}
    for name, value in values.items():
        placeholder = wanted.get(folded(name))
        if placeholder is None:
            near = nearest(name, [each.name for each in template.placeholders])
            hint = f"Did you mean {near}?" if near else f"Leave {name} out, or write (({name})) into the text."
            raise UsageError(f"The text for all does not use the value {name!r}.", hint=hint)
        if not value.strip() and placeholder.fallback is None:
            raise UsageError(f"The text for all needs the value {name!r}.", hint=f"Give it: --set {name}=…")
    return template.filled({name: value for name, value in values.items() if value.strip()})


def picker(slots: tuple[int, ...]) -> Callable[[Sequence[str]], tuple[str, ...]]:
    """Make what takes the values at these places out of a row, always as a tuple."""
    if len(slots) > 1:
        return itemgetter(*slots)
    if slots:
        only = slots[0]
        return lambda cells: (cells[only],)
    return lambda _: ()


def tidied(text: str) -> tuple[str, Finding | None]:
    """The text with LF as its line ends and without blanks at its end, and what was changed."""
    with_line_feeds = text.replace("\r\n", "\n").replace("\r", "\n")
    cut = with_line_feeds.rstrip()
    changes = []
    if with_line_feeds != text:
        changes.append(f"{with_line_feeds.count(chr(10)):,} line ends of the text for all were made LF, one character")
    if cut != with_line_feeds:
        changes.append(f"{len(with_line_feeds) - len(cut):,} blanks at its end were cut")
    return cut, Finding("W212", "; ".join(changes)) if changes else None
