"""Layout: which of an input's columns is the recipient, which the text, and which are neither.

Pure. Law: names of columns are compared without case and blanks, and no two may be the same.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from bulksms.intake.finding import Finding, refused, shortened
from bulksms.intake.options import InputOptions
from bulksms.intake.template import Renderer, Template, folded, nearest, picker

RECIPIENT_COLUMNS = ("directoryObject", "recipient", "dn", "guid", "sid")
TEXT_COLUMNS = ("text", "message")
FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters other than tab and line ends, and lone surrogates."""

# What directory exports call their identifiers: no recipient columns by themselves, but worth a hint.
_EXPORTED = ("objectguid", "distinguishedname", "objectsid", "user", "identifier", "id")


class Problem(NamedTuple):
    """What is wrong with the columns themselves."""

    code: str
    sentence: str
    hint: str


class Layout:
    """The columns of an input and the part that each has; a part that none has is at -1."""

    def __init__(self, columns: Sequence[str], options: InputOptions, template: Template | None) -> None:
        """Find the parts; `check` says whether they are all there."""
        self.columns = tuple(columns)
        self._options = options
        self._folded = [folded(column) for column in columns]
        named = () if options.match is None else (options.match,)
        self.recipients = self._find(options.recipient_column, (*named, *RECIPIENT_COLUMNS))
        self.recipient = self.recipients[0] if self.recipients else -1
        self.texts = self._find(options.text_column, TEXT_COLUMNS)
        self.text = self.texts[0] if self.texts and template is None else -1
        self.renderer = None if template is None else Renderer(template, self.columns)
        # A name that is looked up is replaced by an identifier, and kept among the others.
        parts = (self.text,) if options.match is not None else (self.recipient, self.text)
        others = tuple(place for place in range(len(columns)) if place not in parts)
        self.other_names = tuple(self.columns[place] for place in others)
        self.pick_others: Callable[[Sequence[str]], tuple[str, ...]] = picker(others)
        self.problem = self._names_problem()
        self.complete = self.recipient >= 0 and (self.text >= 0 or template is not None) and self.problem is None

    def _find(self, asked: str | None, known: Sequence[str]) -> list[int]:
        names = known if asked is None else (asked,)
        return [self._folded.index(folded(name)) for name in names if folded(name) in self._folded]

    def others(self, cells: Sequence[str]) -> dict[str, str]:
        """Give the columns that are neither recipient nor text, as they came."""
        return dict(zip(self.other_names, self.pick_others(cells), strict=True))

    def text_of(self, cells: Sequence[str]) -> str | None:
        """Make the text of a row; None if a value for it is missing."""
        if self.renderer is not None:
            return self.renderer.render(cells)
        return cells[self.text] if self.text >= 0 else None

    def source(self, cells: Sequence[str], index: int) -> str | None:
        """Tell which column the character at `index` of the text comes from; None: the text for all."""
        if self.renderer is not None:
            return self.renderer.source(cells, index)
        return self.columns[self.text]

    def _names_problem(self) -> Problem | None:
        """Find a column without a name of its own."""
        first: dict[str, int] = {}
        for place, (column, name) in enumerate(zip(self.columns, self._folded, strict=True)):
            if not name:
                return Problem("E007", f"column {place + 1} has no name", "give each column a name")
            if FORBIDDEN.search(column):
                return Problem("E007", f"the name of column {place + 1} has a control character in it", "remove it")
            if first.setdefault(name, place) != place:
                both = f"columns {first[name] + 1} and {place + 1} are both called {shortened(column)!r}"
                return Problem("E008", f"{both} (case and blanks do not count)", "give each its own name")
        return None

    def check(self, name: str) -> None:
        """See that recipient, text and all placeholders have a column.

        Raises:
            InputRefused: one has not.

        """
        if self.problem is not None:
            raise refused(self.problem.code, f"{name}: {self.problem.sentence}", self.problem.hint)
        if self.recipient < 0:
            raise refused("E005", self._no_column("recipient", name), self._hint_for_recipient())
        if not self.complete:
            column = self._options.text_column
            hint = "give --text, or a column called text" if column is None else self._meant(column)
            raise refused("E006", self._no_column("text", name), hint)
        if self.renderer is not None and self.renderer.unknown:
            asked = dict.fromkeys(self.renderer.unknown)
            unknown = ", ".join(f"(({shortened(name)}))" for name in asked)
            hint = "; ".join(map(self._meant, asked))
            raise refused("E009", f"The text asks for {unknown}, and {name} has no such column", hint)

    def _no_column(self, part: str, name: str) -> str:
        asked = self._options.recipient_column if part == "recipient" else self._options.text_column
        if asked is not None:
            return f"{name} has no column {asked!r}"
        return f"{name} has no column for the {part}"

    def _meant(self, asked: str) -> str:
        close = nearest(asked, self.columns)
        return f"did you mean {shortened(close)}?" if close else "its columns are " + self._shown(range(20))

    def _shown(self, places: Iterable[int]) -> str:
        return ", ".join(shortened(self.columns[place]) for place in places if place < len(self.columns))

    def _hint_for_recipient(self) -> str:
        if self._options.recipient_column is not None:
            return self._meant(self._options.recipient_column)
        for column, name in zip(self.columns, self._folded, strict=True):
            if name in _EXPORTED or difflib.get_close_matches(name, RECIPIENT_COLUMNS, n=1, cutoff=0.75):
                return f"is it {column!r}? Then give --recipient-column {column!r}"
        own = () if self._options.match is None else (self._options.match,)
        names = ", ".join((*own, *RECIPIENT_COLUMNS))
        return f"the first row names the columns; call the recipients' one of {names}, or give --recipient-column"

    def findings(self) -> list[Finding]:
        """Tell what was chosen where the columns leave a choice."""
        findings: list[Finding] = []
        for part, places in (("recipient", self.recipients), ("text", self.texts)):
            if len(places) > 1 and (part == "recipient" or self.renderer is None):
                names = self._shown(places)
                chosen = shortened(self.columns[places[0]])
                findings.append(
                    Finding(
                        "W203",
                        f"each of {names} could be the {part}; {chosen} is used",
                        hint=f"--{part}-column to choose",
                    )
                )
        if self.renderer is not None and self.texts:
            column = self.columns[self.texts[0]]
            problem = "the text for all is sent, not the texts of this column"
            findings.append(Finding("W202", problem, column=column, hint="leave out --text to send them"))
        return findings
