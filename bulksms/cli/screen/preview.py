"""The preview: what would be sent, to how many, at what cost, and everything that is wrong with the input.

Law: whatever stands in an input is shown, never obeyed: a terminal gets printable characters only, and no line of a
preview is longer than the terminal is wide, but for what is to be copied whole.
"""

import shutil
import textwrap
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import click

from bulksms import forecast
from bulksms.cli.screen.console import print_json
from bulksms.config import RunSettings
from bulksms.forecast import CALL_SECONDS
from bulksms.intake import Finding
from bulksms.ledger.reader import LedgerReader, Line
from bulksms.ledger.selection import Selection
from bulksms.message import State
from bulksms.planning import FIRST_EXAMPLES, SHOWN, Example, Preview, estimate, left_out, many
from bulksms.recipient import EXPORT_GUIDS

Say = Callable[[str], None]

MOST_LINES = 3
"""Lines of one text that are shown: two SMS of 160 characters; a longer text is cut."""
WIDEST = 100
"""Columns; longer lines are hard to read on the widest screen."""


def show_preview(preview: Preview, say: Say, settings: RunSettings, url: str | None) -> None:
    """Examples, mistakes, warnings, and last, above the question, the numbers; through `say`, a line at a time."""
    others = len(preview.examples) - preview.shown_first
    _show_examples(preview.examples, f" and {others} from anywhere" if others else "", preview.shown_first, say)
    show_mistakes(preview, say)
    show_warnings(preview, say)
    say("")
    show_table([*_numbers(preview), *sending(preview.to_send, settings, url)], say)
    say(f"fingerprint   {preview.fingerprint}")


def show_left(ledger: LedgerReader, how: Iterable[tuple[str, str]], say: Say, first: int | None = None) -> None:
    """What a ledger has left to send: the first of it, `how` it is sent, and the fingerprint of its whole plan."""
    show_lines(islice(ledger.lines(Selection.of(State.QUEUED)), FIRST_EXAMPLES if first is None else first), say)
    show_table(how, say)
    say(f"fingerprint   {ledger.plan().fingerprint}")


def show_lines(lines: Iterable[Line], say: Say) -> None:
    """Messages of a ledger as they would be sent."""
    examples = [
        Example(line.row, line.recipient, line.text, str(line.encoding), int(line.segments or 0)) for line in lines
    ]
    _show_examples(examples, "", len(examples), say)
    say("")


def _show_examples(examples: Sequence[Example], others: str, first: int, say: Say) -> None:
    width = _width()
    if examples:
        heading = f"The first {'message' if first == 1 else f'{first} messages'}{others}, as they would be sent:"
        for line in _wrapped(heading, "", "", width):
            say(line)
    for example in examples:
        for line in _example(example, width):
            say(line)


def show_table(rows: Iterable[tuple[str, str]], say: Say) -> None:
    """Names and what there is to say of each, wrapped to the terminal."""
    width = _width()
    for name, value in rows:
        for line in _wrapped(printable(value), f"{name:<12}  ", " " * 14, width):
            say(line)


def show_mistakes(preview: Preview, say: Say) -> None:
    """The first mistakes, each with what would be right unless that was said before, and how many more there are."""
    width, said = _width(), set[str]()
    for finding in preview.mistakes:
        for line in _wrapped(describe(finding), "error: ", " " * 7, width):
            say(line)
        if finding.hint is not None and finding.hint not in said:
            said.add(finding.hint)
            for line in _hint(finding.hint, width):
                say(line)
    if preview.mistaken > SHOWN:
        say(f"… and {many(preview.mistaken - SHOWN, 'more mistake')} in {many(preview.bad, 'row')}.")


def show_warnings(preview: Preview, say: Say) -> None:
    """The warnings by their codes: how many, the first few, and what can be done."""
    width = _width()
    for code, group in sorted(preview.warnings.items()):
        times = "" if group.count == 1 else f", {group.count:,} times"
        say(f"warning: {code} {group.first[0].name}{times}")
        said: str | None = None
        for finding in group.first:
            for line in _wrapped(_place_and_problem(finding), "  ", "    ", width):
                say(line)
            if finding.hint is not None and finding.hint != said:
                for line in _hint(finding.hint, width):
                    say(line)
            said = finding.hint
        if group.count > len(group.first):
            say(f"  … and {group.count - len(group.first):,} more")


def describe(finding: Finding) -> str:
    """`row 7, column guid: E101 bad-identifier: … ('jsmith')`."""
    return _place_and_problem(finding, f"{finding.code} {finding.name}: ")


def _place_and_problem(finding: Finding, code: str = "") -> str:
    where = [f"row {finding.row}"] if finding.row is not None else []
    if finding.column is not None:
        where.append(f"column {finding.column}")
    start = f"{', '.join(where)}: " if where else ""
    value = "" if finding.value is None else f" ('{finding.value}')"
    return printable(f"{start}{code}{finding.problem}{value}")


def print_preview_json(preview: Preview, url: str | None, *, workers: int, rate: float | None) -> None:
    """The same for machines: one object on stdout, with the members that the README's "For machines" names."""
    warnings = {
        code: {"name": group.first[0].name, "count": group.count, "first": [_finding(one) for one in group.first]}
        for code, group in sorted(preview.warnings.items())
    }
    examples = [
        {"row": example.row, "recipient": example.recipient, "text": example.text}
        | {"encoding": example.encoding, "segments": example.segments}
        for example in preview.examples
    ]
    seconds = [round(number, 1) for number in preview.seconds(workers, rate)]
    print_json(
        {
            "input": preview.input,
            "url": url,
            "fingerprint": preview.fingerprint,
            **preview.as_dict(),
            "warnings": warnings,
            "mistaken": preview.mistaken,
            "mistakes": [_finding(finding) for finding in preview.mistakes],
            "examples": examples,
            "workers": workers,
            "rate": rate,
            "seconds": seconds,
        }
    )


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "code": finding.code,
        "name": finding.name,
        "row": finding.row,
        "column": finding.column,
        "problem": finding.problem,
        "value": finding.value,
        "hint": finding.hint,
    }


def printable(text: str) -> str:
    """What a terminal would obey instead of show, as its escape."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def _example(example: Example, width: int) -> Iterator[str]:
    start, cost = f"row {example.row}  ", f"  {example.encoding}, {many(example.segments, 'segment')}"
    yield start + cut(printable(example.recipient), width - len(start) - len(cost)) + cost
    lines = list(_wrapped(printable(example.text), "    ", "    ", width))
    if len(lines) > MOST_LINES:
        last = cut(lines[MOST_LINES - 1], width - 2)
        lines[MOST_LINES - 1] = last if last.endswith("…") else f"{last} …"
    yield from lines[:MOST_LINES]


def _numbers(preview: Preview) -> Iterator[tuple[str, str]]:
    others = f", {left_out(preview)}" if preview.to_send != preview.rows else ""
    yield "from", f"{preview.input}: {many(preview.rows, 'row')}, {preview.to_send:,} to send{others}"
    yield "identifiers", _listed(preview.kinds)
    (number, count), *longer = preview.histogram.items()
    parts = [f"{many(count, 'message')} of {number}", *(f"{count:,} of {number}" for number, count in longer)]
    yield "segments", f"{preview.segments:,}: {', '.join(parts)}"
    yield "encoding", _listed(preview.encodings)


def sending(messages: int, settings: RunSettings, url: str | None) -> Iterator[tuple[str, str]]:
    """Where so many messages go, how long that takes, and what a deadline asks: rows of the table."""
    rate, workers = settings.rate, settings.workers
    pace = "" if rate is None else f", {rate:g} a second at most"
    yield "sending", f"to {url or 'no URL yet'}, {workers} at once{pace}"
    low, high = estimate(messages, workers, rate)
    best, worst = (f"{seconds:g}" for seconds in CALL_SECONDS)
    lasts = duration(low) if duration(low) == duration(high) else f"{duration(low)} to {duration(high)}"
    yield "duration", f"{lasts}, at {best} to {worst} s a call"
    now = time.time()
    if (left := settings.deadline.begun(now).remaining(now)) is not None:
        yield "deadline", f"in {duration(left)}: {forecast.before(left, messages, workers, rate)}"


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


def duration(seconds: float) -> str:
    """`3 s`, `2 min 05 s`, `1 h 20 min`."""
    if seconds < 10:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def _hint(hint: str, width: int) -> Iterator[str]:
    """The hint; a command in it stands on a line of its own, whole, so that it can be copied."""
    before, command, _ = hint.partition(EXPORT_GUIDS)
    yield from _wrapped(printable(before.rstrip()), "  hint: ", " " * 8, width)
    if command:
        yield command


def _wrapped(text: str, first: str, others: str, width: int) -> list[str]:
    """The text in lines no wider than `width`; words are kept whole where they fit."""
    stretched = "".join(character + "\0" * (_columns(character) - 1) for character in text)
    lines = textwrap.wrap(
        stretched,
        # A wide character may be parted from its filler at the end of a line: that column is kept free for it.
        width - (stretched != text),
        initial_indent=first,
        subsequent_indent=others,
        break_on_hyphens=False,
        replace_whitespace=False,
    )
    return [line.replace("\0", "").rstrip() for line in lines] or [first.rstrip()]


def cut(text: str, columns: int, ellipsis: str = "…") -> str:
    """The text, or as much of its beginning as so many columns hold, with an ellipsis."""
    if sum(map(_columns, text)) <= columns:
        return text
    kept = ""
    columns -= len(ellipsis)
    for character in text:
        columns -= _columns(character)
        if columns < 0:
            break
        kept += character
    return kept + ellipsis


def _columns(character: str) -> int:
    """Columns that a terminal gives a character (Unicode Standard Annex 11); none less than one, to be safe."""
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _width() -> int:
    return max(40, min(WIDEST, shutil.get_terminal_size().columns))


def echo(text: str) -> None:
    """Data: a line on stdout."""
    click.echo(text)
