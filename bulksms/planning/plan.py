"""Plan: the whole input is read, rendered and checked into a draft before anything can be sent.

Invariants: a dry run, a plan and a send share this code, so what was previewed is what is sent. Rows pass through in
batches; only counts and a few examples stay in memory. The functions `require_…` say whether a run may
send what was planned.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import Any, Protocol

import msgspec

from bulksms.errors import PlanError
from bulksms.input import BadRow, Finding, Row
from bulksms.ledger import POSSIBLY_SENT, AuditEntry, Counts, Draft, DraftRow, LedgerName, Plan, QueuedRow
from bulksms.model.message import Reason, State
from bulksms.planning.estimate import estimate_seconds

ROWS_AT_ONCE = 2_000
"""Rows in a batch: enough that its overhead does not matter, too few to matter in memory."""
SHOWN = 20
"""Errors shown one by one; all are counted."""
FIRST_EXAMPLES = 5
RANDOM_EXAMPLES = 3
GROUP_SHOWN = 3
"""Warnings of one kind shown one by one; all are counted."""


class Source(Protocol):
    """Where rows come from: a file (`bulksms.input.Input`), or the recipients of an earlier ledger."""

    @property
    def name(self) -> str:
        """Its name in the ledger and in messages."""

    @property
    def findings(self) -> list[Finding]:
        """The findings about the whole source; complete once all rows have been read."""

    def __iter__(self) -> Iterator[Row | BadRow]:
        """All rows, once, lazily. Raises InputError if the rest cannot be read."""


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
    """What a run would send: how many messages, how many segments, which findings."""

    input: str
    columns: tuple[str, ...] = ()
    """The input's columns other than recipient and text."""
    rows: int = 0
    bad: int = 0
    duplicates: int = 0
    duplicate_rows: list[tuple[int, int]] = field(default_factory=list)
    """The rows of the first duplicates, each with the earlier row that has the same person and text."""
    suppressed: int = 0
    already_sent: int = 0
    """Left out because, by an earlier ledger, they were or may have been sent a message."""
    has_suppressions: bool = False
    """Whether there was a list of people to leave out, so that none of them in the input is worth a word."""
    has_earlier: bool = False
    """The same of earlier ledgers."""
    kinds: dict[str, int] = field(default_factory=dict)
    sizes: Counter[tuple[str, int]] = field(default_factory=Counter)
    """Messages by (encoding, segments)."""
    examples: list[Example] = field(default_factory=list)
    """The first messages to be sent, and a few random ones after them."""
    shown_first: int = 0
    """How many of the examples are the first messages."""
    errors: list[Finding] = field(default_factory=list)
    error_count: int = 0
    """All errors; `errors` has the first of them."""
    warnings: dict[str, Group] = field(default_factory=dict)
    fingerprint: str = ""
    mailing: dict[str, Any] | None = None
    """What the plan keeps of the mailing file that it was made from."""

    @property
    def to_send(self) -> int:
        """Messages that a run would send."""
        return self.rows - self.bad - self.duplicates - self.suppressed - self.already_sent

    @property
    def segments(self) -> int:
        """SMS segments of all messages to be sent: what the gateway bills."""
        return sum(segments * count for (_, segments), count in self.sizes.items())

    def seconds(self, workers: int, rate: float | None = None) -> tuple[float, float]:
        """How long sending would take, at best and at worst, in seconds, if a call takes 0.5 to 2 s."""
        return estimate_seconds(self.to_send, workers, rate)

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
            "sent_before": self.already_sent,
            "segments_histogram": {str(segments): count for segments, count in self.histogram.items()},
            "encodings": self.encodings,
            "identifiers": self.kinds,
            "warnings": {code: group.count for code, group in sorted(self.warnings.items())},
        } | ({} if self.mailing is None else {"mailing": self.mailing})

    def warn(self, finding: Finding) -> None:
        """Count a warning under its code."""
        self.warnings.setdefault(finding.code, Group()).add(finding)


def count_of(count: int, noun: str) -> str:
    """`1 row`, `2 rows`, `1,000 rows`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def left_out(preview: Preview) -> str:
    """The rows that are not sent, and why, such as `2 duplicates, 1 suppressed`."""
    parts = [count_of(preview.duplicates, "duplicate")] if preview.duplicates else []
    others = (
        (preview.suppressed, "suppressed", preview.has_suppressions),
        (preview.already_sent, "sent before", preview.has_earlier),
        (preview.bad, "bad", False),
    )
    return ", ".join(parts + [f"{count:,} {word}" for count, word, is_asked in others if count or is_asked])


def build_plan(  # noqa: PLR0913 - five keywords that most callers leave out
    source: Source,
    draft: Draft,
    *,
    reject: Callable[[BadRow], None] | None = None,
    suppressed: Iterable[tuple[str, str]] = (),
    already_sent: Iterable[tuple[str, str]] = (),
    first_examples: int = FIRST_EXAMPLES,
    progress: Callable[[int], None] | None = None,
) -> Preview:
    """Read the whole source into the draft, and return what a run would send.

    `reject` is called with each invalid row, `progress` with the number of rows read so far. `suppressed` and
    `already_sent` are pairs of a recipient's key and the reason for leaving it out. Raises InputError if the source
    cannot be read. Invalid rows do not raise: they are counted, and the caller decides what to do about them.
    """
    preview = Preview(source.name)
    columns: dict[str, None] = {}
    rows = iter(source)
    while batch := list(islice(rows, ROWS_AT_ONCE)):
        for layout in dict.fromkeys([tuple(row.columns) for row in batch]):
            columns.update(dict.fromkeys(layout))
        for _, alike in groupby(batch, key=type):  # the draft numbers them in this order
            _add(preview, draft, list(alike), reject)
        preview.rows += len(batch)
        if progress is not None:
            progress(preview.rows)
    preview.columns = tuple(columns)
    for finding in source.findings:
        preview.warn(finding)
    draft.index()
    preview.suppressed = draft.skip_recipients(suppressed)
    preview.already_sent = draft.skip_recipients(already_sent)
    _compare_recipients(preview, draft)
    preview.kinds = draft.kinds()
    preview.sizes = draft.sizes()
    preview.examples = [Example(*row) for row in draft.examples(first_examples, RANDOM_EXAMPLES)]
    preview.shown_first = min(first_examples, len(preview.examples))
    preview.fingerprint = draft.fingerprint()
    return preview


def _add(preview: Preview, draft: Draft, rows: Sequence[Row | BadRow], reject: Callable[[BadRow], None] | None) -> None:
    """Write rows, all of them valid or all invalid, to the draft, and count their findings."""
    good = [row for row in rows if isinstance(row, Row)]
    draft.queue([_queued(row) for row in good])
    for row in good:
        for finding in row.warnings:
            preview.warn(finding)
    bad = [row for row in rows if isinstance(row, BadRow)]
    draft.add(map(_skipped, bad))
    for refused in bad:
        preview.bad += 1
        preview.error_count += len(refused.findings)
        preview.errors.extend(refused.findings[: max(0, SHOWN - len(preview.errors))])
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
                if len(preview.duplicate_rows) < SHOWN:
                    preview.duplicate_rows.append((again.row, again.first_row))
                yield again.number, again.first_row
            else:
                problem = f"the same person as in row {again.first_row}, with another text; both are sent"
                preview.warn(Finding("W301", problem, row=again.row))

    draft.skip_duplicates(duplicates())


def require_bound(path: LedgerName, plan: Plan, url: str) -> None:
    """A ledger belongs to the server of its first request. Raises PlanError for another one."""
    if plan.url is not None and plan.url != url:
        raise PlanError(
            f"{path} is bound to {plan.url}, not to {url}. Nothing was sent.",
            hint=f"Go on there, for which no URL need be given. To the other server `bulksms send INPUT --new "
            f"--not-sent-in {path}` sends what this ledger did not send, and cannot have; --new alone sends all of it, "
            "to those who have it a second time.",
        )


def require_names(path: LedgerName, plan: Plan, counts: Counts) -> None:
    """Raises PlanError if the names and texts were removed from the ledger."""
    if plan.purged_at is not None:
        sent = sum(counts.counts[state] for state in POSSIBLY_SENT)
        raise PlanError(
            f"The names and texts of {path} were removed on {plan.purged_at[:10]}; nothing can be sent from it.",
            hint=f"`bulksms status {path}` shows what is kept. `bulksms send INPUT --new --suppress FILE` sends to "
            f"those whom a list that you kept does not name; --new alone sends to everybody, to {sent:,} of them "
            "perhaps a second time.",
        )


def require_approved(path: LedgerName, plan: Plan, actions: Sequence[AuditEntry]) -> None:
    """Raises PlanError if the plan needs an approval that nobody but its planner, or nobody at all, has given."""
    if plan.awaits_approval(actions):
        raise PlanError(
            f"{path} was planned by {plan.planned_by} and needs the approval of another account; nothing was sent.",
            hint=f"`bulksms report {path} --columns row,recipient,text` shows the texts to them, "
            f"`bulksms approve {path} {plan.fingerprint}` approves them.",
        )
