"""Checking: from the cells of one row to a message that can be sent, or everything that is wrong with it.

Pure. Law: the short way for good rows gives exactly what the long way gives.
"""

from collections.abc import Mapping, Sequence

from bulksms.errors import UsageError
from bulksms.intake.finding import Finding, refused, shortened
from bulksms.intake.layout import FORBIDDEN, Layout
from bulksms.intake.mistake import LONGEST_CELL, in_cells, in_names, in_recipient, in_text, in_width
from bulksms.intake.options import InputOptions
from bulksms.intake.row import BadRow, Row
from bulksms.intake.segments import MOST_SEGMENTS, measure, place_before, replace_typographic
from bulksms.intake.template import Template, folded
from bulksms.intake.worth_a_look import look_at
from bulksms.recipient import BadRecipient, Recipient, named_recipient, parse_recipient

_MOST_LAYOUTS = 256
"""How many different sets of columns are remembered, and how many columns one may have for that; only JSON lines
can have more than one set."""


class RowChecker:
    """Checks rows that all have the same columns, or nearly so; keeps what it found about all of them."""

    def __init__(self, columns: Sequence[str], options: InputOptions, *, name: str = "the input") -> None:
        """Find the recipient and the text among the columns; `name` is what the input is called in messages.

        Raises:
            InputRefused: there is none, or a placeholder has no column, or the text for all is too long.
            UsageError: the text for all is no good template.

        """
        self.columns = tuple(columns)
        self.delimiter = ","
        self._options = options
        self._most_segments = min(options.max_segments or MOST_SEGMENTS, MOST_SEGMENTS)
        self._template = None if options.text is None else _template(options.text, literal=options.no_template)
        self._layout = Layout(columns, options, self._template)
        self._layout.check(name)
        self._parse = parse_recipient if options.match is None else named_recipient
        self._layouts = {self.columns: self._layout}
        self._found = self._layout.findings()
        self._said: frozenset[str] = frozenset()
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
        """Say once what is so in every row because the template itself makes it so."""
        text = "".join(template.literals)
        if self._options.gsm7_replace:
            text, _ = replace_typographic(text)
        size = measure(text)
        if size.segments > self._most_segments:
            sentence = f"The text for all takes {size.segments} segments, {self._most_segments} are allowed"
            raise refused("E012", sentence, self._how_to_shorten())
        found = list(look_at(text, size, row=None, column_at=lambda _: None))
        if template.placeholders:
            # Where the segments end depends on the values.
            found = [finding for finding in found if finding.code != "W207"]
        self._found += found
        self._said = frozenset(finding.code for finding in found)

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

    def _check(self, layout: Layout, row: int, cells: Sequence[str]) -> Row | BadRow:
        joined = "".join(cells)
        if (
            len(cells) != len(layout.columns)
            or len(joined) > LONGEST_CELL
            or not layout.complete
            or not (joined.isprintable() or FORBIDDEN.search(joined) is None)
        ):
            return self._examine(layout, row, cells)
        try:
            recipient = self._parse(cells[layout.recipient])
        except BadRecipient:
            return self._examine(layout, row, cells)
        text = layout.text_of(cells)
        if text is None or not text.strip():
            return self._examine(layout, row, cells)
        size = measure(text)
        if size.segments > 1 or size.first_ucs2 is not None or "%" in text or "((" in text:
            return self._weigh(layout, row, cells, recipient, text)
        # Millions of rows come this way: this is `Row(…)` in half its time.
        others = dict(zip(layout.other_names, layout.pick_others(cells), strict=False))
        return tuple.__new__(Row, (row, recipient, text, others, "GSM-7", 1, ()))

    def _examine(self, layout: Layout, row: int, cells: Sequence[str]) -> Row | BadRow:
        """Find everything that is wrong with a row."""
        width = len(layout.columns)
        if len(cells) > width and not any(map(str.strip, cells[width:])):
            cells = cells[:width]
        findings = list(in_width(layout, row, cells))
        if findings:
            return self._bad(layout, row, cells, "", findings)
        text = layout.text_of(cells)
        findings += in_names(layout, row)
        findings += in_cells(layout, row, cells)
        findings += in_recipient(layout, row, cells, self._parse)
        findings += in_text(layout, row, cells, text)
        if findings or text is None:
            return self._bad(layout, row, cells, text or "", findings)
        return self._weigh(layout, row, cells, self._parse(cells[layout.recipient]), text)

    def _weigh(self, layout: Layout, row: int, cells: Sequence[str], recipient: Recipient, text: str) -> Row | BadRow:
        """Refuse a text that takes too many segments, and say what is worth a look about one that does not."""
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
        warnings = tuple(self._warnings(layout, row, cells, text, sent))
        return Row(row, recipient, sent, layout.others(cells), size.encoding, size.segments, warnings)

    def _warnings(self, layout: Layout, row: int, cells: Sequence[str], text: str, sent: str) -> list[Finding]:
        if self._template is not None and not self._template.placeholders:
            return []

        def column_at(index: int) -> str | None:
            return layout.source(cells, index if sent is text else place_before(text, index))

        found = look_at(sent, measure(sent), row=row, column_at=column_at)
        warnings = [finding for finding in found if finding.code not in self._said]
        if self._template is None and "((" in sent:
            warnings += self._literal_placeholders(layout, row, sent)
        return warnings

    def _literal_placeholders(self, layout: Layout, row: int, text: str) -> list[Finding]:
        """Warn of a text in the file that was written as if it were a template."""
        names = {folded(column) for column in layout.columns}
        for placeholder in Template(text).placeholders:
            if folded(placeholder.name) in names:
                problem = "texts in the file are sent as they stand: this is not replaced"
                value = shortened(f"(({placeholder.name}))")
                hint = "give the text with --text to have it filled in"
                return [Finding("W209", problem, row=row, column=layout.columns[layout.text], value=value, hint=hint)]
        return []

    def _bad(self, layout: Layout, row: int, cells: Sequence[str], text: str, findings: list[Finding]) -> BadRow:
        width = len(layout.columns)
        fitted = [*cells[: width - 1], self.delimiter.join(cells[width - 1 :])] if len(cells) > width else list(cells)
        storable = tuple(map(_storable, fitted + [""] * (width - len(fitted))))
        recipient = storable[layout.recipient].strip() if layout.recipient >= 0 else ""
        return BadRow(row, recipient, _storable(text), layout.others(storable), storable, tuple(findings))


def _template(text: str, *, literal: bool) -> Template:
    if found := FORBIDDEN.search(text):
        raise UsageError(f"The text for all has a control character in it, U+{ord(found[0]):04X}.", hint="Remove it.")
    template = Template(text, literal=literal)
    leftover = None if literal else template.leftover()
    if leftover is not None:
        hint = "A placeholder is ((column)) or ((column|fallback)); --no-template sends the text as it stands."
        raise UsageError(f"{leftover!r} in the text for all is not a placeholder.", hint=hint)
    return template


def _storable(text: str) -> str:
    """Replace lone surrogates, which neither a file nor a database can hold."""
    return text if text.isprintable() else text.encode("utf-8", "replace").decode()
