"""Row checker: from the cells of one row to a message that can be sent, or everything that is wrong with it.

Pure. Invariant: a row is good only if every check has passed; there is one path for good rows and bad ones.
"""

import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from bulksms.errors import UsageError
from bulksms.input.columns import FORBIDDEN, Layout
from bulksms.input.finding import BadRow, Finding, Row, refused, shortened
from bulksms.input.options import InputOptions
from bulksms.input.row_findings import (
    LONGEST_CELL,
    in_cells,
    in_names,
    in_recipient,
    in_text,
    in_values,
    in_width,
    text_warnings,
)
from bulksms.input.segments import MOST_SEGMENTS, measure, place_before, replace_typographic
from bulksms.input.telephone import is_telephone_property, telephone_recipient
from bulksms.input.template import Template, fill, folded, foreign_placeholders, tidied
from bulksms.model.recipient import (
    INVISIBLE,
    BadRecipient,
    IdentifierKind,
    Recipient,
    account_recipient,
    named_recipient,
    parse_recipient,
)

_MOST_LAYOUTS = 256
"""How many different sets of columns are remembered, and how many columns one may have for that; only JSON lines
can have more than one set."""


class RowChecker:
    """Checks rows that all have the same columns, or nearly so; collects the findings about all of them."""

    def __init__(
        self,
        columns: Sequence[str],
        options: InputOptions,
        *,
        name: str = "the input",
        sample: Callable[[], Sequence[Sequence[str]]] = tuple,
    ) -> None:
        """Find the recipient and the text among the columns; `name` is what the input is called in messages.

        `sample` gives some rows if a column is missing, so that the message can say which one is meant.

        Raises:
            InputError: there is none, or a placeholder has no column, or the text for all is too long.
            UsageError: the text for all is no good template.

        """
        self.columns = tuple(columns)
        self.delimiter = ","
        self._options = options
        self._most_segments = min(options.max_segments or MOST_SEGMENTS, MOST_SEGMENTS)
        text, tidying = (None, None) if options.text is None else tidied(options.text)
        self._template = None if text is None else _template(text, options.values, literal=options.no_template)
        self._layout = Layout(columns, options, self._template)
        self._layout.check(name, sample)
        self.parse = _parser(options)
        """Reads a recipient; raises BadRecipient."""
        self._layouts = {self.columns: self._layout}
        self._found = [*options.text_findings, *([] if tidying is None else [tidying]), *self._layout.findings()]
        self._reported: frozenset[str] = frozenset()
        if self._template is not None:
            self._look_at_template(self._template)
        self._replaced, self._replaced_in = 0, 0

    @property
    def findings(self) -> list[Finding]:
        """What was found about all rows so far."""
        if not self._replaced:
            return list(self._found)
        problem = f"typographic characters replaced: {self._replaced:,}; texts changed by it: {self._replaced_in:,}"
        return [*self._found, Finding("W208", problem)]

    def _look_at_template(self, template: Template) -> None:
        """Report once what is true of every row because of the template itself."""
        text = "".join(template.literals)
        if self._options.gsm7_replace:
            text, _ = replace_typographic(text)
        size = measure(text)
        if size.segments > self._most_segments:
            sentence = f"The text for all takes {size.segments} segments, {self._most_segments} are allowed"
            raise refused("E012", sentence, self._how_to_shorten())
        found = list(text_warnings(text, size, row=None, column_at=lambda _: None))
        if not self._options.no_template:
            found += [
                Finding(
                    "W213",
                    "this is sent as written: no column has this name",
                    value=shortened(written),
                    hint="a placeholder is ((column)); --no-template if it is meant so",
                )
                for written, _ in foreign_placeholders(text)
            ]
        if template.placeholders:
            # Where the segments end depends on the values.
            found = [finding for finding in found if finding.code != "W207"]
        self._found += found
        self._reported = frozenset(finding.code for finding in found)

    def _how_to_shorten(self) -> str:
        return "shorten it" if self._options.max_segments is None else "shorten it, or raise --max-segments"

    def layout_of(self, columns: tuple[str, ...]) -> Layout:
        """Give the layout of a row that has these columns."""
        layout = self._layouts.get(columns)
        if layout is None:
            layout = Layout(columns, self._options, self._template)
            if len(self._layouts) < _MOST_LAYOUTS and len(columns) < _MOST_LAYOUTS:
                self._layouts[columns] = layout
        return layout

    def check_row(self, row: int, values: Mapping[str, str]) -> Row | BadRow:
        """Check a row given by the names of its columns."""
        layout = self.layout_of(tuple(values))
        checked = self._check(layout, row, tuple(values.values()))
        return self._in_own_columns(layout, checked) if isinstance(checked, BadRow) else checked

    def refuse_row(self, row: int, values: Mapping[str, str], findings: list[Finding]) -> BadRow:
        """Make a bad row of values of which it is already known what is wrong with them."""
        layout = self.layout_of(tuple(values))
        return self._in_own_columns(layout, self._bad(layout, row, tuple(values.values()), "", findings))

    def _in_own_columns(self, layout: Layout, bad: BadRow) -> BadRow:
        if layout is self._layout:
            return bad
        values = dict(zip(layout.columns, bad.cells, strict=True))
        return bad._replace(cells=tuple(values.get(column, "") for column in self.columns))

    def check_cells(self, row: int, cells: Sequence[str]) -> Row | BadRow:
        """Check a row given by its cells, in the order of the columns."""
        return self._check(self._layout, row, cells)

    def refuse(self, row: int, cells: Sequence[str], finding: Finding) -> BadRow:
        """Make a bad row of what could not be read as one."""
        return self._bad(self._layout, row, cells, "", [finding])

    def refuse_checked(self, row: Row | BadRow, findings: Sequence[Finding]) -> BadRow:
        """Make a bad row of one that was checked already, with what was found out about it later."""
        if isinstance(row, BadRow):
            return row._replace(findings=(*row.findings, *findings))
        layout = self._layout
        parts = {layout.recipient: row.recipient.given, layout.text: row.text}
        cells = tuple(row.columns.get(name, parts.get(place, "")) for place, name in enumerate(layout.columns))
        return BadRow(row.row, row.recipient.given, row.text, row.columns, cells, tuple(findings))

    @property
    def recipient_column(self) -> str | None:
        """The column of the recipients."""
        return self.columns[self._layout.recipient] if self._layout.recipient >= 0 else None

    @property
    def places_used(self) -> tuple[int, ...]:
        """The places of the cells that become a part of a message: the recipient's and those of the text."""
        return tuple(
            dict.fromkeys(place for place in (self._layout.recipient, *self._layout.parts_of_text) if place >= 0)
        )

    def _check(self, layout: Layout, row: int, cells: Sequence[str]) -> Row | BadRow:
        """Find everything that is wrong with a row, or make the message of it."""
        width = len(layout.columns)
        if len(cells) > width and not any(map(str.strip, cells[width:])):
            cells = cells[:width]
        if len(cells) != width:
            return self._bad(layout, row, cells, "", list(in_width(layout, row, cells, self.delimiter)))
        findings: list[Finding] = list(in_names(layout, row)) if layout.problem is not None else []
        joined = "".join(cells)
        if not joined.isprintable() or len(joined) > LONGEST_CELL:
            findings += in_cells(layout, row, cells)
        recipient = None
        try:
            recipient = self.parse(cells[layout.recipient] if layout.recipient >= 0 else "")
        except BadRecipient as problem:
            findings.append(in_recipient(layout, row, cells, problem))
        text = layout.text_of(cells)
        if text is None or not text.strip():
            findings += in_text(layout, row, cells, text)
        values = in_values(layout, row, cells)
        findings += [finding for finding in values if finding.code == "E124"]
        if findings or recipient is None or text is None:
            return self._bad(layout, row, cells, text or "", findings)
        return self._check_text(layout, row, cells, recipient, text, values)

    def _check_text(  # noqa: PLR0913, PLR0917 - a row in its parts
        self,
        layout: Layout,
        row: int,
        cells: Sequence[str],
        recipient: Recipient,
        text: str,
        values: list[Finding],
    ) -> Row | BadRow:
        """Refuse a text that takes too many segments, and warn of what may not be meant."""
        sent, size = text, measure(text)
        if self._options.gsm7_replace and size.first_ucs2 is not None:
            sent, count = replace_typographic(text)
            self._replaced += count
            self._replaced_in += count > 0
            size = measure(sent)
        if size.segments > self._most_segments:
            problem = f"the text takes {size.segments} segments, {self._most_segments} are allowed"
            column = layout.columns[layout.text] if layout.text >= 0 else None
            hint = self._how_to_shorten()
            finding = Finding("E113", problem, row=row, column=column, value=shortened(sent), hint=hint)
            return self._bad(layout, row, cells, sent, [finding])
        warnings: tuple[Finding, ...] = ()
        cell = cells[layout.recipient]
        # What most texts have nothing of is not looked for more closely: that doubles the rows a second.
        if values or size.segments > 1 or size.first_ucs2 is not None or not _SUSPICIOUS.isdisjoint(sent):
            warnings = (*values, *self._warnings(layout, row, cells, text, sent))
        if recipient.given != cell or (not cell.isascii() and INVISIBLE.search(cell)):
            warnings = (*warnings, *_about_recipient(layout, row, cell, recipient))
        return Row(row, recipient, sent, layout.others(cells), size.encoding, size.segments, warnings)

    def _warnings(self, layout: Layout, row: int, cells: Sequence[str], text: str, sent: str) -> list[Finding]:
        if self._template is not None and not self._template.placeholders:
            return []

        def column_at(index: int) -> str | None:
            return layout.source(cells, index if sent is text else place_before(text, index))

        found = text_warnings(sent, measure(sent), row=row, column_at=column_at)
        warnings = [finding for finding in found if finding.code not in self._reported]
        if self._template is None:
            warnings += self._literal_placeholders(layout, row, sent)
        return warnings

    def _literal_placeholders(self, layout: Layout, row: int, text: str) -> Iterator[Finding]:
        """Warn of a text in the file that was written as if it were a template."""
        names = {folded(column) for column in layout.columns}
        own = [(f"(({placeholder.name}))", placeholder.name) for placeholder in Template(text).placeholders]
        for written, name in [*own, *foreign_placeholders(text)]:
            if folded(name) in names:
                problem = "texts in the file are sent as written: this is not replaced"
                hint = "give the text with --text to have it filled in"
                column = layout.columns[layout.text]
                yield Finding("W209", problem, row=row, column=column, value=shortened(written), hint=hint)
                return

    def _bad(self, layout: Layout, row: int, cells: Sequence[str], text: str, findings: list[Finding]) -> BadRow:
        width = len(layout.columns)
        fitted = [*cells[: width - 1], self.delimiter.join(cells[width - 1 :])] if len(cells) > width else list(cells)
        storable = tuple(map(_storable, fitted + [""] * (width - len(fitted))))
        recipient = storable[layout.recipient].strip() if layout.recipient >= 0 else ""
        return BadRow(row, recipient, _storable(text), layout.others(storable), storable, tuple(findings))


def _parser(options: InputOptions) -> Callable[[str], Recipient]:
    if options.match is None:
        return parse_recipient
    if is_telephone_property(options.match):
        return partial(telephone_recipient, country=options.country)
    return account_recipient if options.match.lower() == "samaccountname" else named_recipient


_SUSPICIOUS = frozenset("%({<[«\r")
"""One of these is in every text that a warning can be about, unless it needs UCS-2 or several segments."""


def _about_recipient(layout: Layout, row: int, cell: str, recipient: Recipient) -> Iterator[Finding]:
    """Warn of an identifier that is not what it looks like."""
    column = layout.columns[layout.recipient]
    found = INVISIBLE.search(cell.strip())
    if found is not None:
        name = unicodedata.name(found[0], "")
        problem = f"character {found.start() + 1} is invisible, U+{ord(found[0]):04X} {name}".rstrip()
        hint = "it does not count when people are compared; remove it if the directory does not have it"
        yield Finding("W215", problem, row=row, column=column, value=shortened(cell.strip()), hint=hint)
    elif recipient.kind is not IdentifierKind.NAME and recipient.given != cell.strip():
        kind = recipient.kind.value
        if kind != "DN":
            problem = f"the binary form of a {kind}; sent as {recipient.given}"
            yield Finding("W216", problem, row=row, column=column, value=shortened(cell.strip()))


def _template(text: str, values: Mapping[str, str], *, literal: bool) -> Template:
    if found := FORBIDDEN.search("\n".join([text, *values.values()])):
        raise UsageError(f"The text for all has a control character in it, U+{ord(found[0]):04X}.", hint="Remove it.")
    template = Template(text, literal=literal)
    leftover = None if literal else template.leftover()
    if leftover is not None:
        hint = "A placeholder is ((column)) or ((column|fallback)); --no-template sends the text as written."
        raise UsageError(f"{leftover!r} in the text for all is not a placeholder.", hint=hint)
    return fill(template, values)


def _storable(text: str) -> str:
    """Replace lone surrogates, which neither a file nor a database can hold."""
    return text if text.isprintable() else text.encode("utf-8", "replace").decode()
