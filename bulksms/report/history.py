"""History: who worked on a ledger, from where, how, on whose word, and why each run ended; and the ledgers of a folder.

Invariant: of a run's options only what differs from the defaults is reported, in the words of the command line.
"""

import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bulksms.errors import LedgerError, UsageError
from bulksms.ledger import (
    Action,
    AuditEntry,
    Counts,
    DatabaseUrl,
    LedgerName,
    LedgerReader,
    Plan,
    RunRecord,
    Transition,
    ledger_at,
    ledgers_of,
    open_ledger,
)
from bulksms.model.message import State
from bulksms.model.run_settings import RunSettings, StopReason
from bulksms.report.shapes import LedgerEntry, RunEntry
from bulksms.report.text import local_minute, printable, wrapped

STOPS: Mapping[str, str] = {
    "interrupted": "somebody stopped it: Ctrl-C, a signal, `bulksms stop` or `bulksms cancel`",
    "unauthorized": "the server did not take the credentials",
    "wrong_endpoint": "the server answered, but not as Adaxes would there",
    "server_unavailable": "the server was away for too long",
    "too_many_failures": "too many failed",
    "too_many_unknown": "of too many it stayed unknown whether they were sent",
    "canary_failed": "one of the first, which went alone, was not accepted",
    "deadline": "the deadline passed",
    "outside_hours": "the sending hours ended",
    "ledger_error": "the ledger could not be written",
    "internal_error": "an internal error of bulksms ended it",
}
"""Why a run ended early, in a person's words, by the stable word that the ledger keeps."""

FINISHED = "finished"
LIVING = "it is working now"
DIED = "without a word: it was killed, or the machine went down"

_WIDTH = 80
_NAMES = 14


@dataclass(frozen=True, slots=True)
class RunDescription:
    """One run as people and machines see it."""

    run: RunRecord
    is_living: bool
    options: dict[str, Any]
    """Those that are not the default, by their names in the settings."""
    stop: AuditEntry | None = None
    """Who stopped it, if a person did."""

    @property
    def ending(self) -> str:
        """How it ended, in words."""
        if self.run.ended_at is None:
            return LIVING if self.is_living else DIED
        if self.run.stopped is None:
            return FINISHED
        if self.stopped_by is not None:
            return f"stopped ({self.run.stopped}): {self.stopped_by}"
        return f"stopped ({self.run.stopped}): {STOPS.get(self.run.stopped, self.run.stopped)}"

    @property
    def stopped_by(self) -> str | None:
        """Who stopped it, where, and with what; None if no person did."""
        stop = self.stop
        return None if stop is None else f"by {stop.user} on {stop.host} with {stop.confirmed_by}"

    @property
    def account(self) -> str | None:
        """The account that sent; None if it was an access token."""
        account = self.run.settings.get("account")
        return None if account is None else str(account)

    @property
    def is_rehearsal(self) -> bool:
        """Whether it sent to the simulator only."""
        return bool(self.run.settings.get("sandbox"))

    @property
    def messages_per_second(self) -> float | None:
        """Messages that it settled a second; None until it has ended."""
        if self.run.settled is None or not self.run.elapsed_seconds:
            return None
        return round(self.run.settled / self.run.elapsed_seconds, 2)

    @property
    def settled(self) -> str:
        """How many messages it settled, in what time."""
        if self.run.settled is None or self.run.elapsed_seconds is None:
            return "not counted: it has not ended by itself"
        settled = f"{self.run.settled:,} in {self.run.elapsed_seconds:,.1f} s"
        speed = self.messages_per_second
        return settled if speed is None else f"{settled}, {speed:,} a second"

    def flags(self) -> list[str]:
        """The options as one would write them."""
        return [_flag(name, value) for name, value in self.options.items()]

    def entry(self) -> RunEntry:
        """The same for machines."""
        run = self.run
        return RunEntry(
            run=run.number,
            started_at=run.started_at,
            ended_at=run.ended_at,
            is_living=self.is_living,
            stopped=None if run.stopped is None else StopReason(run.stopped),
            user=run.user,
            host=run.host,
            process=run.process,
            account=self.account,
            url=run.url,
            version=run.version,
            options=self.options,
            confirmed_by=run.confirmed_by,
            stopped_by=self.stopped_by,
            elapsed_seconds=None if run.elapsed_seconds is None else round(run.elapsed_seconds, 3),
            settled=run.settled,
            messages_per_second=self.messages_per_second,
        )

    def facts(self) -> dict[str, str]:
        """What there is to say of it, by name; the same for the terminal and the page."""
        run = self.run
        return {
            "started": local_minute(run.started_at),
            "ended": ", ".join(filter(None, (run.ended_at and local_minute(run.ended_at), self.ending))),
            "settled": self.settled,
            "by": f"{run.user} on {run.host}, process {run.process}",
            "confirmed by": run.confirmed_by,
            "sent to": run.url,
            "account": self.account or "an access token",
            "version": run.version,
            "options": " ".join(self.flags()) or "the defaults",
        }


def describe_runs(reader: LedgerReader) -> list[RunDescription]:
    """Every run on this ledger, the first one first."""
    runs, is_living = reader.runs(), reader.counts().is_living
    defaults = RunSettings().as_dict()
    actions = reader.operator_actions()
    return [
        RunDescription(
            run,
            is_living and run is runs[-1] and run.ended_at is None,
            {name: value for name, value in run.settings.items() if name != "account" and value != defaults.get(name)},
            stop_of(run, actions),
        )
        for run in runs
    ]


def stop_of(run: RunRecord, actions: Iterable[AuditEntry]) -> AuditEntry | None:
    """The action of a person that stopped this run, if one did: it was written down just before the end."""
    stops = (action for action in actions if action.action in (Action.STOP, Action.CANCEL))
    within = (action for action in stops if run.started_at <= action.decided_at <= (run.ended_at or ""))
    return next(within, None) if run.stopped == StopReason.INTERRUPTED else None


def as_blocks(runs: Iterable[RunDescription], decisions: Iterable[str] = ()) -> Iterator[str]:
    """A block a run, then what people decided, in lines of at most 80 columns, for a person's eyes."""
    between = ""
    for described in runs:
        yield f"{between}Run {described.run.number}\n"
        between = "\n"
        for name, value in described.facts().items():
            yield _filled(value, f"  {name:<{_NAMES}}", " " * (_NAMES + 2))
    if not between:
        yield "No run has worked on it yet.\n"
    heading = "\nDecided by people\n"
    for decision in decisions:
        yield heading + _filled(decision, "  ", "    ")
        heading = ""


def _filled(text: str, first: str, others: str) -> str:
    """Lines that a narrow terminal shows whole, unless one word is longer."""
    return "\n".join([*wrapped(printable(text), first, others, _WIDTH, break_words=False), ""])


def _flag(name: str, value: object) -> str:
    option = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{option}" if value else f"--no-{option}"
    if isinstance(value, Mapping):  # a deadline: a moment, or seconds from the first request
        at, after = value.get("at"), value.get("after")
        if isinstance(at, int | float):
            value = datetime.fromtimestamp(at, UTC).astimezone().isoformat(timespec="seconds")
        elif isinstance(after, int | float):
            value = f"{after:g}s"
    return f"--{option} {value:g}" if isinstance(value, float) else f"--{option} {value}"


def decision_lines(decisions: Iterable[AuditEntry]) -> Iterator[str]:
    """`2026-11-22 15:30 +01:00 resolve by anna on server-1: 2 unknown:no_answer to accepted ("rang them")`."""
    for decision in decisions:
        moves = ", ".join(map(_describe, decision.transitions))
        note = "" if decision.note is None else f' ("{" ".join(decision.note.split())}")'
        who = f"{local_minute(decision.decided_at)} {decision.action} by {decision.user} on {decision.host}"
        if decision.action in (Action.STOP, Action.CANCEL):
            who += f" with {decision.confirmed_by}"
        yield printable(f"{who}{f': {moves}' if moves else ''}{note}")


def _describe(move: Transition) -> str:
    before = move.state_before if move.reason_before is None else f"{move.state_before}:{move.reason_before}"
    return f"{move.messages:,} {before} to {move.state_after}"


SUFFIX = ".ledger.db"
"""A file of this name is expected to be a ledger."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One ledger in a line."""

    path: LedgerName
    plan: Plan
    message_counts: Counts
    runs: int
    last_run: RunRecord | None
    last_used_at: str
    """When it was planned, a run on it began or ended, or somebody decided something; a purge does not count."""
    stop: AuditEntry | None
    """Who stopped the last run, if a person did."""
    purge_finished: bool
    """Whether names and texts are gone from the file, too; until then a purge has to be repeated."""

    @property
    def is_rehearsal(self) -> bool:
        """Whether it is the ledger of a rehearsal."""
        return self.last_run is not None and bool(self.last_run.settings.get("sandbox"))

    @property
    def ended(self) -> str:
        """How its last run ended: `finished`, `died`, why it stopped; `living`, or `not sent` where there is none."""
        if self.message_counts.is_living:
            return "living"
        if self.last_run is None:
            return "not sent"
        if self.last_run.ended_at is None:
            return "died"
        return self.last_run.stopped or "finished"

    @property
    def stopped_by(self) -> str:
        """Who stopped its last run, where, and with what; empty if no person did."""
        stop = self.stop
        return "" if stop is None else f"{stop.user} on {stop.host} with {stop.confirmed_by}"

    @property
    def remarks(self) -> list[str]:
        """What else there is to know of it."""
        remarks = ["rehearsal"] if self.is_rehearsal else []
        if self.plan.purged_at is not None:
            remarks.append(
                f"purged {local_minute(self.plan.purged_at)[:10]}" if self.purge_finished else "purge it again"
            )
        return remarks

    def entry(self) -> LedgerEntry:
        """The same for machines."""
        last = self.last_run
        return LedgerEntry(
            ledger=str(self.path),
            planned_at=self.plan.created_at,
            input=self.plan.input,
            url=self.plan.url,
            fingerprint=self.plan.fingerprint,
            total=self.message_counts.total,
            counts={state: self.message_counts.counts[state] for state in State},
            possible_duplicate=self.message_counts.possible_duplicate,
            left=self.message_counts.unfinished,
            runs=self.runs,
            last_run_at=None if last is None else last.started_at,
            ended=self.ended,
            last_used_at=self.last_used_at,
            rehearsal=self.is_rehearsal,
            purged_at=self.plan.purged_at,
        )


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file that should be a ledger, and why it cannot be read."""

    path: LedgerName
    trouble: LedgerError


def entry_of(path: LedgerName) -> Entry:
    """One ledger. Raises LedgerError if it cannot be read."""
    with open_ledger(path) as reader:
        plan, runs, decisions, message_counts = reader.plan(), reader.runs(), reader.operator_actions(), reader.counts()
    return Entry(
        path,
        plan,
        message_counts,
        len(runs),
        runs[-1] if runs else None,
        _last_used_at(plan, runs, decisions),
        stop_of(runs[-1], decisions) if runs else None,
        any(decision.action == Action.PURGE for decision in decisions),
    )


def ledgers_in(folder: Path | DatabaseUrl) -> list[Entry | Unreadable]:
    """The ledgers of a folder or a database, the earliest plan first; what cannot be read comes last.

    Raises UsageError if the folder cannot be read, LedgerError if the database cannot be used.
    """
    found = [
        _looked_at(name) for name in (ledgers_of(folder) if isinstance(folder, DatabaseUrl) else _candidates(folder))
    ]
    entries = [one for one in found if isinstance(one, Entry)]
    entries.sort(key=lambda entry: (entry.plan.created_at, entry.path.name))
    return [*entries, *(one for one in found if isinstance(one, Unreadable))]


def _candidates(folder: Path) -> Iterator[Path]:
    """Regular files that are ledgers by their content, or should be by their name; a plan half written is hidden."""
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise UsageError(f"{folder} cannot be read: {error.strerror}.", hint="Name a folder with ledgers.") from error
    for path in paths:
        if _is_file(path) and (path.name.endswith(SUFFIX) or _is_ledger(path)):
            yield path


def _is_ledger(path: Path) -> bool:
    """What the system keeps us from looking into counts as one, and is listed as unreadable."""
    try:
        return ledger_at(path).is_ledger()
    except LedgerError:
        return True


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:  # a link to nothing
        return False


def _looked_at(path: LedgerName) -> Entry | Unreadable:
    try:
        return entry_of(path)
    except LedgerError as trouble:
        return Unreadable(path, trouble)


def _last_used_at(plan: Plan, runs: list[RunRecord], decisions: list[AuditEntry]) -> str:
    """ISO 8601 in UTC, all of one form: the last one is the largest."""
    times = [plan.created_at, *(decision.decided_at for decision in decisions if decision.action != Action.PURGE)]
    for run in runs:
        times += filter(None, (run.started_at, run.ended_at))
    return max(times)


def used_after(entry: Entry, moment: datetime) -> bool:
    """Whether something was done to it after this moment."""
    return datetime.fromisoformat(entry.last_used_at) > moment
