"""Planning: the whole input is read, rendered and checked into a draft before anything can be sent.

Law: a dry run, a plan and a send share this code, so what was previewed is what is sent. Rows pass through in batches;
what is kept of them is counts and a few examples.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import Any, Protocol

import msgspec

from bulksms.forecast import CALL_SECONDS
from bulksms.intake import BadRow, Finding, Row
from bulksms.ledger.draft import BATCH, Draft, DraftRow, QueuedRow
from bulksms.message import Reason, State

SHOWN = 20
"""Mistakes shown one by one; all are counted."""
FIRST_EXAMPLES = 5
RANDOM_EXAMPLES = 3
GROUP_SHOWN = 3
"""Warnings of one kind shown one by one; all are counted."""


class Source(Protocol):
    """Where rows come from: a file (`bulksms.intake.Input`), or the people of an earlier ledger."""

    @property
    def name(self) -> str:
        """What the ledger and the messages call it."""

    @property
    def findings(self) -> list[Finding]:
        """What was found about the whole of it; complete when all rows have been read."""

    def __iter__(self) -> Iterator[Row | BadRow]:
        """All rows, once, lazily. Raises InputRefused if the rest cannot be read."""


@dataclass(frozen=True, slots=True)
class Example:
    """A rendered message of the preview."""

    row: int
    recipient: str
    text: str
    encoding: str
    segments: int


@dataclass(slots=True)
class Group:
    """Findings of one code: how many, and the first few."""

    count: int = 0
    first: list[Finding] = field(default_factory=list)

    def add(self, finding: Finding) -> None:
        """Count one more."""
        self.count += 1
        if len(self.first) < GROUP_SHOWN:
            self.first.append(finding)


@dataclass(slots=True)
class Preview:
    """What would be sent, to how many, at what cost."""

    input: str
    columns: tuple[str, ...] = ()
    """The input's other columns: neither recipient nor text."""
    rows: int = 0
    bad: int = 0
    duplicates: int = 0
    suppressed: int = 0
    told_before: int = 0
    """Left out because an earlier ledger says that they were told, or may have been."""
    kinds: dict[str, int] = field(default_factory=dict)
    sizes: Counter[tuple[str, int]] = field(default_factory=Counter)
    """Messages by (encoding, segments)."""
    examples: list[Example] = field(default_factory=list)
    """The first messages to be sent, and a few from anywhere behind them."""
    shown_first: int = 0
    """How many of the examples are the first."""
    mistakes: list[Finding] = field(default_factory=list)
    mistaken: int = 0
    """All mistakes; `mistakes` are the first of them."""
    warnings: dict[str, Group] = field(default_factory=dict)
    fingerprint: str = ""

    @property
    def to_send(self) -> int:
        """Messages that a run would send."""
        return self.rows - self.bad - self.duplicates - self.suppressed - self.told_before

    @property
    def segments(self) -> int:
        """SMS segments of all messages to be sent: what is paid for."""
        return sum(segments * count for (_, segments), count in self.sizes.items())

    def seconds(self, workers: int, rate: float | None = None) -> tuple[float, float]:
        """How long sending would take, at best and at worst, in seconds."""
        return estimate(self.to_send, workers, rate)

    @property
    def histogram(self) -> dict[int, int]:
        """Messages by number of segments, the shortest first."""
        counts: Counter[int] = Counter()
        for (_, segments), count in self.sizes.items():
            counts[segments] += count
        return dict(sorted(counts.items()))

    @property
    def encodings(self) -> dict[str, int]:
        """Messages by encoding."""
        counts: Counter[str] = Counter()
        for (encoding, _), count in self.sizes.items():
            counts[encoding] += count
        return dict(sorted(counts.items()))

    def as_dict(self) -> dict[str, Any]:
        """The counts as plain values: for the ledger and for `--json`."""
        return {
            "rows": self.rows,
            "to_send": self.to_send,
            "duplicates": self.duplicates,
            "suppressed": self.suppressed,
            "bad_rows": self.bad,
            "segments": self.segments,
            "told_before": self.told_before,
            "segments_histogram": {str(segments): count for segments, count in self.histogram.items()},
            "encodings": self.encodings,
            "identifiers": self.kinds,
            "warnings": {code: group.count for code, group in sorted(self.warnings.items())},
        }

    def warn(self, finding: Finding) -> None:
        """Count a warning under its code."""
        self.warnings.setdefault(finding.code, Group()).add(finding)


def estimate(messages: int, workers: int, rate: float | None = None) -> tuple[float, float]:
    """How long so many messages take, at best and at worst, in seconds: `workers` at once, `rate` begun a second.

    One call takes `CALL_SECONDS`; a run that feels its way takes a little longer.
    """
    if not messages:
        return 0.0, 0.0
    waits = 0.0 if rate is None else (messages - 1) / rate
    best, worst = (max(messages * call / max(1, workers), waits + call) for call in CALL_SECONDS)
    return best, worst


def many(count: int, noun: str) -> str:
    """`1 row`, `2 rows`, `1,000 rows`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def left_out(preview: Preview) -> str:
    """`2 duplicates, 1 suppressed`; what is not sent of an input, and why."""
    parts = [many(preview.duplicates, "duplicate")] if preview.duplicates else []
    others = ((preview.suppressed, "suppressed"), (preview.told_before, "told before"), (preview.bad, "bad"))
    return ", ".join(parts + [f"{count:,} {word}" for count, word in others if count]) or "none"


def plan(  # noqa: PLR0913 - five keywords, each a thing of its own that most callers leave alone
    source: Source,
    draft: Draft,
    *,
    reject: Callable[[BadRow], None] | None = None,
    suppressed: Iterable[tuple[str, str]] = (),
    told_before: Iterable[tuple[str, str]] = (),
    first_examples: int = FIRST_EXAMPLES,
    progress: Callable[[int], None] | None = None,
) -> Preview:
    """Read the whole source into the draft and say what it would send.

    `reject` is called with each bad row; `suppressed` and `told_before` are (key of a recipient, why it is left out);
    `progress` is told the number of rows read so far. Raises InputRefused if the source cannot be read; bad rows do
    not raise: they are counted, and it is the caller who refuses them.
    """
    preview = Preview(source.name)
    columns: dict[str, None] = {}
    rows = iter(source)
    while batch := list(islice(rows, BATCH)):
        for layout in dict.fromkeys([tuple(row.columns) for row in batch]):
            columns.update(dict.fromkeys(layout))
        for _, alike in groupby(batch, key=type):  # their order is that of their numbers
            _add(preview, draft, list(alike), reject)
        preview.rows += len(batch)
        if progress is not None:
            progress(preview.rows)
    preview.columns = tuple(columns)
    for finding in source.findings:
        preview.warn(finding)
    draft.index()
    preview.suppressed = draft.skip_recipients(suppressed)
    preview.told_before = draft.skip_recipients(told_before)
    _compare_recipients(preview, draft)
    preview.kinds = draft.kinds()
    preview.sizes = draft.sizes()
    preview.examples = [Example(*row) for row in draft.examples(first_examples, RANDOM_EXAMPLES)]
    preview.shown_first = min(first_examples, len(preview.examples))
    preview.fingerprint = draft.fingerprint()
    return preview


def _add(preview: Preview, draft: Draft, rows: Sequence[Row | BadRow], reject: Callable[[BadRow], None] | None) -> None:
    """Write rows, all of them good or all bad, and note what there is to say about them."""
    good = [row for row in rows if isinstance(row, Row)]
    draft.queue([_queued(row) for row in good])
    for row in good:
        for finding in row.warnings:
            preview.warn(finding)
    bad = [row for row in rows if isinstance(row, BadRow)]
    draft.add(map(_skipped, bad))
    for refused in bad:
        preview.bad += 1
        preview.mistaken += len(refused.findings)
        preview.mistakes.extend(refused.findings[: max(0, SHOWN - len(preview.mistakes))])
        if reject is not None:
            reject(refused)


_to_json = msgspec.json.Encoder().encode


def _queued(row: Row) -> QueuedRow:
    number, (given, _, key), text, columns, encoding, segments, _ = row
    return number, given, key, text, _to_json(columns).decode() if columns else "{}", encoding, segments


def _skipped(row: BadRow) -> DraftRow:
    first = row.findings[0]
    why = f"{first.code} {first.name}: {first.problem}"
    columns = _to_json(row.columns).decode()
    return DraftRow(
        row.row, row.recipient, "", row.text, columns, None, None, State.SKIPPED, Reason.BAD_ROW, first.code, why
    )


def _compare_recipients(preview: Preview, draft: Draft) -> None:
    """Same person and same text: skipped. Same person, another text: sent, with a warning."""

    def duplicates() -> Iterator[tuple[int, int]]:
        for again in draft.repeated():
            if again.same_text:
                preview.duplicates += 1
                yield again.number, again.first_row
            else:
                problem = f"the same person as in row {again.first_row}, with another text; both are sent"
                preview.warn(Finding("W301", problem, row=again.row))

    draft.skip_duplicates(duplicates())
