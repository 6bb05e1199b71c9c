"""Page: the whole report as one HTML file that needs nothing else: no network, no script, no server.

Invariants: the page shows what is in a ledger and never obeys it: every value goes through `shown` and is escaped. Its
content security policy lets nothing run and nothing load but its own style and script, each by its hash. Rows pass
through one at a time.
"""

from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from bulksms.ledger import LedgerReader, MessageRecord
from bulksms.model.message import State
from bulksms.report import charts
from bulksms.report.history import DIED, RunDescription, decision_lines, describe_runs
from bulksms.report.summary import MEANINGS, ExitCode, Summary, summarise
from bulksms.report.text import Moment, as_datetime, code, local, printable, utc
from bulksms.report.triage import KEPT, PersonColumns, Reached, triage, unreached

INLINE = 50_000
"""Messages up to which all are listed in the page."""
TIMELINES = 6
"""Runs that are drawn, the last ones."""
_CHUNK = 200
"""Pieces of the template that are written together."""
_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the page is to list, when it is made, and how a word is written for the reader's shell.

    `lines` is asked twice, to count and to list; `is_chosen` says that it leaves some messages out.
    """

    lines: Callable[[], Iterator[MessageRecord]]
    is_chosen: bool
    made_at: datetime
    quoted: Callable[[str], str]


def as_page(reader: LedgerReader, wanted: Wanted) -> Iterator[str]:
    """The page, piece by piece; best read in `one_moment`, for beside a living run its parts would differ."""
    stream = _environment().get_template("page.html").stream(_content(reader, wanted))
    stream.enable_buffering(_CHUNK)
    return stream


def _content(reader: LedgerReader, wanted: Wanted) -> dict[str, Any]:
    plan, summary, runs, figures = reader.plan(), summarise(reader), describe_runs(reader), reader.statistics()
    groups, counts = triage(wanted.lines(), is_living=summary.is_living)
    periods = figures.periods()
    tone, verdict = _verdict(summary, runs)
    return {
        **_inline(),
        "summary": summary,
        "plan": plan,
        "left_out": _left_out(plan.summary),
        "runs": runs,
        "decisions": list(decision_lines(reader.operator_actions())),
        "is_rehearsal": any(run.is_rehearsal for run in runs),
        "tone": tone,
        "verdict": verdict,
        "shares": charts.shares(summary.counts),
        "groups": groups,
        "unreached": unreached(groups),
        "unlisted": sum(group.count - len(group.first) for group in groups if group.kind.reached is not Reached.YES),
        "person": PersonColumns.of(plan.columns),
        "kept": KEPT,
        "counts": counts,
        "is_chosen": wanted.is_chosen,
        "lines": wanted.lines() if counts.total() <= INLINE else None,
        "inline": INLINE,
        "one_text": figures.one_text(),
        "periods": periods,
        "timelines": [
            charts.timeline(period, figures.attempt_histogram(period.run, *charts.slot_of(period)))
            for period in periods[-TIMELINES:]
        ],
        "answers": charts.distribution(figures.answer_times()),
        "outcomes": figures.outcomes(),
        "ledger": wanted.quoted(str(summary.ledger)),
        "csv": wanted.quoted(f"{summary.ledger.name.partition('.')[0]}.csv"),
        "made_at": wanted.made_at,
    }


def _verdict(summary: Summary, runs: list[RunDescription]) -> tuple[str, str]:
    """The state in one sentence, and whether that is good, a warning, bad or open."""
    if summary.is_living:
        return "open", "A run is working on it now; the numbers are those of the moment when the page was made."
    if not runs:
        return "open", "Planned; nothing was sent yet."
    if runs[-1].run.ended_at is None:
        return "bad", f"The last run ended {DIED}. What is left stays queued."
    code = summary.exit_code
    return _TONES.get(code, "bad"), f"Exit code {int(code)}: {MEANINGS[code]}."


_TONES = {
    ExitCode.ALL_ACCEPTED: "good",
    ExitCode.SOME_FAILED: "warning",
    ExitCode.SOME_UNKNOWN: "warning",
    ExitCode.INTERRUPTED: "warning",
}


def _left_out(counts: Mapping[str, int]) -> str:
    """Rows of the input that were not to be sent, by why."""
    why = {"duplicates": "duplicate", "suppressed": "suppressed", "sent_before": "sent before", "bad_rows": "bad"}
    return ", ".join(f"{counts[name]:,} {words}" for name, words in why.items() if counts.get(name)) or "nobody"


def _inline() -> dict[str, Any]:
    """The page's style and script, and the policy that names them."""
    style, script = ((_HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    policy = f"default-src 'none'; style-src {_source(style)}; script-src {_source(script)}; base-uri 'none'"
    return {"style": Markup(style), "script": Markup(script), "policy": Markup(policy)}  # noqa: S704 - files of ours


def _source(text: str) -> str:
    """How a policy names an inline block: by the hash of every character between its tags."""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        finalize=shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        {
            "grouped": "{:,}".format,
            "local": _local,
            "utc": _utc,
            "iso": _iso,
            "took": charts.duration,
            "printable": printable,
            "remarks": _remarks,
            "parts": _parts,
        }
    )
    environment.globals.update({"WIDTH": charts.WIDTH, "HEIGHT": charts.HEIGHT, "KINDS": charts.KINDS})
    return environment


def shown(value: Any) -> Any:  # noqa: ANN401 - as jinja2 has it: whatever a template prints
    """A value as the page shows it: nothing for None, and codes for characters that could not be seen as they are."""
    if value is None:
        return ""
    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return Markup().join(map(_shown_character, value.replace("\r\n", "\n")))


def _shown_character(character: str) -> str:
    if character.isprintable() or character in "\n\t":
        return escape(character)
    return Markup("<code>{}</code>").format(code(character))


def _parts(identifier: str) -> Markup:
    """A recipient that may be broken after each comma, and else only where it must be."""
    return Markup(",<wbr>").join(shown(part) for part in identifier.split(","))


def _local(moment: Moment | None) -> str:
    return "" if moment is None else local(moment)


def _utc(moment: Moment | None) -> str:
    return "" if moment is None else utc(moment)


def _iso(moment: Moment) -> str:
    """A time for the machine: it sorts by this."""
    return f"{as_datetime(moment).astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _remarks(record: MessageRecord) -> list[str]:
    """What the server answered about a message, and what may have happened to it, each by itself."""
    status = "" if record.http_status in (None, 200) else f"HTTP {record.http_status}"
    answer = " ".join(filter(None, (status, record.error_code)))
    twice = "may have been sent twice" if record.possible_duplicate else ""
    operation = f"operation {record.operation_id}" if record.state is State.PROCESSING else ""
    return [remark for remark in (record.error, answer, *record.warnings, twice, operation) if remark]
