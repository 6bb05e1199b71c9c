"""History: the ledgers of a folder, each with how it stands and when something was last done to it."""

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from bulksms.errors import LedgerTrouble, UsageError
from bulksms.ledger.decisions import What
from bulksms.ledger.file import is_ledger
from bulksms.ledger.history import Decision
from bulksms.ledger.reader import LedgerReader, Plan, Run, Standing
from bulksms.message import State

SUFFIX = ".ledger.db"
"""A file of this name is expected to be a ledger."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One ledger in a line."""

    path: Path
    plan: Plan
    standing: Standing
    runs: int
    last_run: Run | None
    last_used_at: str
    """When it was planned, a run on it began or ended, or somebody decided something; a purge does not count."""
    purge_finished: bool
    """Whether names and texts are gone from the file, too; until then a purge has to be repeated."""

    @property
    def is_rehearsal(self) -> bool:
        """Whether nobody was really told."""
        return self.last_run is not None and bool(self.last_run.settings.get("sandbox"))

    @property
    def ended(self) -> str:
        """How its last run ended: `finished`, `died`, why it stopped; `living`, or `not sent` where there is none."""
        if self.standing.is_living:
            return "living"
        if self.last_run is None:
            return "not sent"
        if self.last_run.ended_at is None:
            return "died"
        return self.last_run.stopped or "finished"

    @property
    def remarks(self) -> list[str]:
        """What else there is to know of it."""
        remarks = ["rehearsal"] if self.is_rehearsal else []
        if self.plan.purged_at is not None:
            remarks.append(f"purged {self.plan.purged_at[:10]}" if self.purge_finished else "purge it again")
        return remarks

    def as_json(self) -> dict[str, Any]:
        """The documented members, in their order."""
        last = self.last_run
        return {
            "ledger": str(self.path),
            "planned_at": self.plan.created_at,
            "input": self.plan.input,
            "url": self.plan.url,
            "fingerprint": self.plan.fingerprint,
            "total": self.standing.total,
            "counts": {state.value: self.standing.counts[state] for state in State},
            "may_have_sent_twice": self.standing.may_have_sent_twice,
            "left": self.standing.unfinished,
            "runs": self.runs,
            "last_run_at": None if last is None else last.started_at,
            "ended": self.ended,
            "last_used_at": self.last_used_at,
            "rehearsal": self.is_rehearsal,
            "purged_at": self.plan.purged_at,
        }


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file that should be a ledger, and why it cannot be read."""

    path: Path
    trouble: LedgerTrouble


def entry_of(path: Path) -> Entry:
    """One ledger. Raises LedgerTrouble if it cannot be read."""
    with LedgerReader(path) as reader:
        plan, runs, decisions, standing = reader.plan(), reader.runs(), reader.decisions(), reader.standing()
    return Entry(
        path,
        plan,
        standing,
        len(runs),
        runs[-1] if runs else None,
        _last_used_at(plan, runs, decisions),
        any(decision.what == What.PURGE for decision in decisions),
    )


def ledgers_in(folder: Path) -> list[Entry | Unreadable]:
    """The ledgers of a folder, the earliest plan first; what cannot be read stands at the end.

    Raises UsageError if the folder cannot be read.
    """
    found = [_looked_at(path) for path in _candidates(folder)]
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
        if _is_file(path) and (path.name.endswith(SUFFIX) or is_ledger(path)):
            yield path


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:  # a link to nothing
        return False


def _looked_at(path: Path) -> Entry | Unreadable:
    try:
        return entry_of(path)
    except LedgerTrouble as trouble:
        return Unreadable(path, trouble)


def _last_used_at(plan: Plan, runs: list[Run], decisions: list[Decision]) -> str:
    """ISO 8601 in UTC, all of one form: the last one is the largest."""
    times = [plan.created_at, *(decision.decided_at for decision in decisions if decision.what != What.PURGE)]
    for run in runs:
        times += filter(None, (run.started_at, run.ended_at))
    return max(times)


def used_after(entry: Entry, moment: datetime) -> bool:
    """Whether something was done to it after this moment."""
    return datetime.fromisoformat(entry.last_used_at) > moment
