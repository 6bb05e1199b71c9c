"""Preview: what would be sent, to how many, at what cost, and everything that is wrong with the input.

Invariant: everything in an input is shown, never interpreted: a terminal gets printable characters only, and no line of
a preview is longer than the terminal is wide, but for what is to be copied whole.
"""

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import cast

import click

from bulksms.cli.ui.console import print_json
from bulksms.input import Finding
from bulksms.ledger import LedgerReader, MessageRecord, Selection
from bulksms.model.message import State
from bulksms.model.recipient import EXPORT_GUIDS
from bulksms.model.run_settings import RunSettings
from bulksms.planning.estimate import (
    CALL_SECONDS,
    LearntSpeed,
    SpeedStore,
    before_run,
    estimate_seconds,
    learnt_from,
)
from bulksms.planning.follow_up import NO_OVERLAPS, Overlap, Overlaps
from bulksms.planning.plan import (
    FIRST_EXAMPLES,
    SHOWN,
    Example,
    Preview,
    count_of,
    left_out,
)
from bulksms.report import shapes
from bulksms.report.text import cut, duration, local_minute, printable, wrapped
from bulksms.system import state_folder

Say = Callable[[str], None]

MOST_LINES = 3
"""Lines of one text that are shown: two SMS of 160 characters; a longer text is cut."""
WIDEST = 100
"""Columns; longer lines are hard to read on the widest screen."""


def show_preview(
    preview: Preview, say: Say, settings: RunSettings, url: str | None, *, has_shown_why: bool = False
) -> None:
    """Examples, mistakes, warnings, and last, above the question, the numbers; through `say`, a line at a time.

    Of an input that is refused the mistakes and warnings were shown elsewhere already: `has_shown_why`.
    """
    others = len(preview.examples) - preview.shown_first
    _show_examples(preview.examples, f" and {others} from anywhere" if others else "", preview.shown_first, say)
    if not has_shown_why:
        show_mistakes(preview, say)
        show_warnings(preview, say)
    say("")
    if not preview.to_send:
        show_table(_numbers(preview), say)
        return
    show_table([*_numbers(preview), *sending(preview.to_send, settings, url)], say)
    say(f"fingerprint   {preview.fingerprint}")


def show_left(ledger: LedgerReader, how: Iterable[tuple[str, str]], say: Say, first: int | None = None) -> None:
    """What a ledger has left to send: the first of it, `how` it is sent, and the fingerprint of its whole plan."""
    show_lines(islice(ledger.messages(Selection.of(State.QUEUED)), FIRST_EXAMPLES if first is None else first), say)
    show_table(how, say)
    say(f"fingerprint   {ledger.plan().fingerprint}")


def show_lines(lines: Iterable[MessageRecord], say: Say) -> None:
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
        for line in wrapped(heading, "", "", width):
            say(line)
    for example in examples:
        for line in _example(example, width):
            say(line)


def show_table(rows: Iterable[tuple[str, str]], say: Say) -> None:
    """Names and what there is to say of each, wrapped to the terminal."""
    width = _width()
    for name, value in rows:
        for line in wrapped(printable(value), f"{name:<12}  ", " " * 14, width):
            say(line)


def show_mistakes(preview: Preview, say: Say) -> None:
    """The first errors, each with the parts of its hint that no earlier one has shown, and how many more there are."""
    width, shown = _width(), set[str]()
    for finding in preview.errors:
        for line in wrapped(describe(finding), "error: ", " " * 7, width):
            say(line)
        if (hint := _not_shown(finding.hint, shown)) is not None:
            for line in _hint(hint, width):
                say(line)
    if preview.error_count > SHOWN:
        say(f"… and {count_of(preview.error_count - SHOWN, 'more mistake')} in {count_of(preview.bad, 'row')}.")


def _not_shown(hint: str | None, shown: set[str]) -> str | None:
    """The ways out that no earlier hint has shown; a hint separates several by `; or`."""
    ways = [way for way in (hint or "").split("; or ") if way and way not in shown]
    shown.update(ways)
    return "; or ".join(ways) or None


def show_warnings(preview: Preview, say: Say) -> None:
    """The warnings by their codes: how many, the first few, and what can be done."""
    width = _width()
    for code, group in sorted(preview.warnings.items()):
        times = "" if group.count == 1 else f", {group.count:,} times"
        say(f"warning: {code} {group.first[0].name}{times}")
        shown: str | None = None
        for finding in group.first:
            for line in wrapped(_place_and_problem(finding), "  ", "    ", width):
                say(line)
            if finding.hint is not None and finding.hint != shown:
                for line in _hint(finding.hint, width):
                    say(line)
            shown = finding.hint
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


def print_preview_json(
    preview: Preview, url: str | None, overlaps: Overlaps = NO_OVERLAPS, *, workers: int, rate: float | None
) -> None:
    """The same for machines: one object on stdout."""
    learnt = learnt_speed(url, workers, rate)
    print_json(
        shapes.Preview(
            input=preview.input,
            url=url,
            fingerprint=preview.fingerprint,
            rows=preview.rows,
            to_send=preview.to_send,
            duplicates=preview.duplicates,
            suppressed=preview.suppressed,
            bad_rows=preview.bad,
            segments=preview.segments,
            sent_before=preview.already_sent,
            segments_histogram={str(segments): count for segments, count in preview.histogram.items()},
            encodings=preview.encodings,
            identifiers=preview.kinds,
            warnings={
                code: shapes.Warnings(
                    name=group.first[0].name, count=group.count, first=[_finding(one) for one in group.first]
                )
                for code, group in sorted(preview.warnings.items())
            },
            sent_elsewhere=overlaps.messages,
            overlaps=[_overlap(overlap) for overlap in overlaps.found],
            error_count=preview.error_count,
            errors=[_finding(finding) for finding in preview.errors],
            examples=[
                shapes.Example(
                    row=example.row,
                    recipient=example.recipient,
                    text=example.text,
                    encoding=cast("shapes.Encoding", example.encoding),
                    segments=example.segments,
                )
                for example in preview.examples
            ],
            workers=workers,
            rate=rate,
            seconds=[round(number, 1) for number in estimate_seconds(preview.to_send, workers, rate, learnt)],
            learnt_from=0 if learnt is None else learnt.runs,
        )
    )


def _overlap(overlap: Overlap) -> shapes.Overlap:
    last = overlap.last_attempt_at
    moment = None if last is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(last))
    return shapes.Overlap(ledger=str(overlap.ledger), messages=overlap.messages, last_attempt_at=moment)


def _finding(finding: Finding) -> shapes.Finding:
    return shapes.Finding(
        code=finding.code,
        name=finding.name,
        row=finding.row,
        column=finding.column,
        problem=finding.problem,
        value=finding.value,
        hint=finding.hint,
    )


def _example(example: Example, width: int) -> Iterator[str]:
    start, cost = f"row {example.row}  ", f"  {example.encoding}, {count_of(example.segments, 'segment')}"
    yield start + cut(printable(example.recipient), width - len(start) - len(cost)) + cost
    lines = list(wrapped(printable(example.text), "    ", "    ", width))
    if len(lines) > MOST_LINES:
        last = cut(lines[MOST_LINES - 1], width - 2)
        lines[MOST_LINES - 1] = last if last.endswith("…") else f"{last} …"
    yield from lines[:MOST_LINES]


def _numbers(preview: Preview) -> Iterator[tuple[str, str]]:
    rows, to_send = count_of(preview.rows, "row"), f"{preview.to_send:,} to send"
    yield "from", f"{preview.input}: {', '.join(filter(None, (rows, to_send, left_out(preview))))}"
    if preview.duplicates:
        rows = ", ".join(f"row {row} of row {first}" for row, first in preview.duplicate_rows)
        more = preview.duplicates - len(preview.duplicate_rows)
        yield "duplicates", f"{rows}{f' and {more:,} more' if more else ''}: same person, same text"
    if not preview.to_send:
        return
    yield "identifiers", _listed(preview.kinds)
    (number, count), *longer = preview.histogram.items()
    parts = [f"{count_of(count, 'message')} of {number}", *(f"{count:,} of {number}" for number, count in longer)]
    yield "segments", f"{preview.segments:,}: {', '.join(parts)}"
    yield "encoding", _listed(preview.encodings)


def sending(messages: int, settings: RunSettings, url: str | None) -> Iterator[tuple[str, str]]:
    """Where so many messages go, how long that takes, and what a deadline asks: rows of the table."""
    rate, workers = settings.rate, settings.workers
    pace = "" if rate is None else f", {rate:g} a second at most"
    yield "sending", f"to {url or 'no URL yet'}, {_at_once(settings)}{pace}"
    learnt = learnt_speed(url, workers, rate)
    low, high = estimate_seconds(messages, workers, rate, learnt)
    best, worst = (f"{seconds:g}" for seconds in CALL_SECONDS)
    lasts = duration(low) if duration(low) == duration(high) else f"{duration(low)} to {duration(high)}"
    if learnt is None:
        yield "duration", f"not known yet; {lasts} if a call takes {best} to {worst} s"
    else:
        yield "duration", f"{lasts}, at {learnt}"
    if settings.canary:
        first = "message" if settings.canary == 1 else f"{settings.canary:,} messages"
        yield "canary", f"the first {first} one at a time; the others only if Adaxes accepts them"
    if settings.hours is not None:
        yield "hours", f"{settings.hours}, local time ({time.tzname[time.localtime().tm_isdst > 0]})"
    now = time.time()
    if (left := settings.deadline.begun(now).remaining(now)) is not None:
        yield (
            "deadline",
            f"{local_minute(now + left)}, in {duration(left)}: {before_run(left, messages, workers, rate, learnt)}",
        )


def speeds() -> SpeedStore:
    """What this user's runs on this machine have shown of each server's speed."""
    return SpeedStore(state_folder() / "speeds")


def learnt_speed(url: str | None, workers: int, rate: float | None) -> LearntSpeed | None:
    """What earlier runs to this server show about one with these limits; None if that is not known yet."""
    return None if url is None else learnt_from(speeds().runs(url), workers, rate)


def _at_once(settings: RunSettings) -> str:
    if not settings.adapt:
        return f"{settings.workers} at once"
    return f"as many at once as the server takes, at most {settings.workers}"


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


def _hint(hint: str, width: int) -> Iterator[str]:
    """The hint; a command in it has a line of its own, whole, so that it can be copied."""
    before, command, _ = hint.partition(EXPORT_GUIDS)
    yield from wrapped(printable(before.rstrip()), "  hint: ", " " * 8, width)
    if command:
        yield command


def _width() -> int:
    return max(40, min(WIDEST, shutil.get_terminal_size().columns))


def echo(text: str) -> None:
    """Data: a line on stdout."""
    click.echo(text)
