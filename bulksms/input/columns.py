"""Columns: which of an input's columns is the recipient, which the text, and which are neither.

Pure. Invariants: names of columns are compared without case and blanks, and no two may be the same. A guess by the
contents of some cells is only ever a hint; nothing is sent by it.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from bulksms.errors import InputError
from bulksms.input.finding import Finding, refused, shortened
from bulksms.input.options import InputOptions
from bulksms.input.template import Renderer, Template, folded, foreign_placeholders, nearest, picker
from bulksms.model.recipient import BadRecipient, parse_recipient

RECIPIENT_COLUMNS = ("directoryObject", "recipient", "dn", "guid", "sid")
TEXT_COLUMNS = ("text", "message")
FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters other than tab and line ends, and lone surrogates."""


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
        self.parts_of_text = (self.text,) if self.text >= 0 else () if self.renderer is None else self.renderer.slots
        """The places of the cells that become a part of the text."""
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

    def check(self, name: str, sample: Callable[[], Sequence[Sequence[str]]] = tuple) -> None:
        """See that recipient, text and all placeholders have a column; `sample` gives some rows of the input.

        Raises:
            InputError: one has not, or a column is in the brackets of another template language.

        """
        if self.problem is not None:
            raise refused(self.problem.code, f"{name}: {self.problem.sentence}", self.problem.hint)
        if not self.complete:
            raise missing_columns(self, name, self._options, sample())
        if self.renderer is None:
            return
        if self.renderer.unknown:
            asked = dict.fromkeys(self.renderer.unknown)
            unknown = ", ".join(f"(({shortened(name)}))" for name in asked)
            hint = "; ".join(map(self.meant, asked))
            raise refused("E009", f"The text asks for {unknown}, and {name} has no such column", hint)
        self._refuse_foreign_placeholders(name)

    def _refuse_foreign_placeholders(self, name: str) -> None:
        if self._options.no_template or self.renderer is None:
            return
        for written, word in foreign_placeholders(self.renderer.template.text):
            if folded(word) in self._folded:
                column = shortened(self.columns[self._folded.index(folded(word))])
                sentence = (
                    f"{shortened(written)} in the text for all is no placeholder, and {name} has a column {column}"
                )
                raise refused("E015", sentence, f"write (({column})), or give --no-template if it is meant so")

    def meant(self, asked: str) -> str:
        """The column that was probably meant, or all of them."""
        close = nearest(asked, self.columns)
        return f"did you mean {shortened(close)}?" if close else "its columns are " + self.shown(range(20))

    def shown(self, places: Iterable[int]) -> str:
        """The names of the columns at these places."""
        return ", ".join(shortened(self.columns[place]) for place in places if place < len(self.columns))

    def findings(self) -> list[Finding]:
        """Report what was chosen where the columns leave a choice."""
        findings: list[Finding] = []
        for part, places in (("recipient", self.recipients), ("text", self.texts)):
            if len(places) > 1 and (part == "recipient" or self.renderer is None):
                names = self.shown(places)
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


_MOST_SHOWN = 20


def missing_columns(layout: Layout, name: str, options: InputOptions, sample: Sequence[Sequence[str]]) -> InputError:
    """The refusal of an input without a column for the recipient, the text or both, with the columns that it has."""
    guess = Guess(layout.columns, sample)
    sentences, flags, hints = [], [], []
    if layout.recipient < 0:
        asked = options.recipient_column
        sentences.append("no column for the recipient" if asked is None else f"no column {asked!r}")
        flags += guess.recipient_flags(asked)
        if asked is not None and not flags:
            hints.append(layout.meant(asked))
    if layout.text < 0 and layout.renderer is None:
        asked = options.text_column
        sentences.append("no column for the text" if asked is None else f"no column {asked!r}")
        flags += guess.text_flags(asked)
        if asked is not None:
            hints.append(layout.meant(asked))
    sentence = f"{name} has {' and '.join(sentences)}; its columns are {layout.shown(range(_MOST_SHOWN))}"
    code = "E005" if layout.recipient < 0 else "E006"
    if (about_file := guess.about_file()) is not None:
        hints = [about_file]
    elif flags:
        hints = [f"if these are meant, add {' '.join(flags)}"]
    elif not hints:
        own = () if options.match is None else (options.match,)
        names = ", ".join((*own, *RECIPIENT_COLUMNS))
        if layout.recipient < 0:
            hints.append(f"call the column of the recipients one of {names}, or name it with --recipient-column")
        if layout.text < 0 and layout.renderer is None:
            hints.append("give --text, or call the column of the texts text, or name it with --text-column")
    return refused(code, sentence, "; ".join(hints))


_EXPORTED = ("objectguid", "distinguishedname", "objectsid", "user", "identifier", "id")
"""What directory exports call their identifiers."""
_KNOWN = ("directoryobject", "recipient", "dn", "guid", "sid")
_MAIL = re.compile(r"[^@\s,;]+@[^@\s,;]+\.[^@\s,;]+").fullmatch
_NUMBER = re.compile(r"[+(0-9][0-9 ()/.\-\u00a0]{5,}").fullmatch
_MOST = 0.8
"""The share of the filled cells that have to be of one kind."""


def quoted(name: str) -> str:
    """A name of a column as an argument, for every shell."""
    return name if re.fullmatch(r"[\w.-]+", name) else f'"{name}"'


class Guess:
    """What the cells of some rows look like, column by column."""

    def __init__(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        # A name that cannot be typed is of no use in a command.
        places = [place for place, column in enumerate(columns) if column.isprintable() and '"' not in column]
        self._columns = [columns[place] for place in places]
        self._cells = [
            [row[place].strip() for row in rows if place < len(row) and row[place].strip()] for place in places
        ]
        self._names = columns
        self._rows = rows

    def about_file(self) -> str | None:
        """What to do if the first row does not hold the names of the columns."""
        for number, row in enumerate(self._rows, 1):
            if any(folded(cell) in _KNOWN for cell in re.split(r"[,;\t|]", "|".join(row))):
                return f"row {number} below the first one looks like the names of the columns; delete what is above it"
        if self._rows and all(re.fullmatch(r"[- ]*-[- ]*", cell) for cell in self._rows[0]):
            return "this is what Format-Table prints; write the file with Export-Csv instead"
        if any(map(_is_identifier, self._names)):
            return "the first row has to name the columns, and this one looks like a person; add a row of names above"
        return None

    def recipient_flags(self, asked: str | None) -> list[str]:
        """The options that name the column of the recipients; none if nothing looks like one."""
        if asked is None:
            for kind, match in ((_is_identifier, None), (_is_number, "mobile"), (_is_mail, "mail")):
                for column, cells in zip(self._columns, self._cells, strict=True):
                    if _are(cells, kind):
                        flag = f"--recipient-column {quoted(column)}"
                        return [flag] if match is None else [flag, f"--match {match}"]
            for column in self._columns:
                name = folded(column)
                if name in _EXPORTED or difflib.get_close_matches(name, _KNOWN, n=1, cutoff=0.75):
                    return [f"--recipient-column {quoted(column)}"]
        return []

    def text_flags(self, asked: str | None) -> list[str]:
        """The options that name the column of the texts: the one with the longest sentences in it."""
        if asked is not None:
            return []
        lengths = {
            column: sum(map(len, cells)) / len(cells)
            for column, cells in zip(self._columns, self._cells, strict=True)
            if _are(cells, _is_sentence)
        }
        best = max(lengths, key=lambda column: lengths[column], default=None)
        return [] if best is None else [f"--text-column {quoted(best)}"]


def _are(cells: Sequence[str], kind: Callable[[str], bool]) -> bool:
    return bool(cells) and sum(map(kind, cells)) >= _MOST * len(cells)


def _is_identifier(cell: str) -> bool:
    try:
        parse_recipient(cell)
    except BadRecipient:
        return False
    return True


def _is_number(cell: str) -> bool:
    return _NUMBER(cell) is not None and sum(map(str.isdigit, cell)) >= 6


def _is_mail(cell: str) -> bool:
    return _MAIL(cell) is not None


def _is_sentence(cell: str) -> bool:
    return len(cell) >= 12 and " " in cell and not _is_identifier(cell)
