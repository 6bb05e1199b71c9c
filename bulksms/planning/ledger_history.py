"""Ledger history: what is known outside a ledger's file of its runs, so that an older copy of it is recognised.

`LedgerHistory` keeps the notes in one folder; a run has `Histories`, which is every folder where they are kept.
Invariants: of two copies of one ledger that start the same run at the same instant, exactly one goes on. What is noted
of a run is never more than what was on disk in its ledger. A note names no recipient and no text.
"""

import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import msgspec

from bulksms.errors import PlanError, UsageError
from bulksms.ledger import Counts, LedgerName, LedgerUrl, LedgerWriter, RunRecord, RunStart, ledger_name, open_ledger
from bulksms.log import log

KEPT_FOR = timedelta(days=400)
"""After that a run is forgotten: what is restored then is no copy by mistake."""


LookAgain = Callable[[], tuple[Sequence[RunRecord], Counts]]


@dataclass(frozen=True, slots=True)
class RunNote:
    """One run on one ledger, and how far it came; `started_at` is ISO 8601 in UTC, `ledger` where the file was.

    `attempts` counts those of all runs of the ledger so far, `attempts_before` those of the earlier ones.
    """

    identity: str
    run: int
    started_at: str
    user: str
    host: str
    process: int
    ledger: str
    attempts_before: int
    attempts: int

    def is_of(self, record: RunRecord | None) -> bool:
        """Whether this run is the one that a ledger has recorded under its number."""
        return record is not None and (self.started_at, self.host, self.process) == (
            record.started_at,
            record.host,
            record.process,
        )


@dataclass(frozen=True, slots=True)
class OlderCopy:
    """What a copy of a ledger lacks: the first run of which it does not know everything, and what was done since."""

    note: RunNote
    """The last known run."""
    run: int
    knows_run: bool
    attempts: int
    """How many attempts it does not know of."""

    def __str__(self) -> str:
        made = f"{self.attempts:,} attempt{'' if self.attempts == 1 else 's'}"
        if self.knows_run:
            return f"it ends in the middle of run {self.run}, which made {made} more"
        return f"it is from before run {self.run}, since which {made} were made"


class LedgerHistory:
    """The notes in one folder, in files of this mode (POSIX). What the system refuses is raised as OSError.

    If it `has_to_hold`, nothing is sent without it; otherwise a folder that cannot be used costs a warning.
    """

    def __init__(self, folder: Path, mode: int = 0o600, *, has_to_hold: bool = False) -> None:
        self.folder = folder
        self.has_to_hold = has_to_hold
        self._mode = mode

    def missing_in(
        self, identity: str, runs: Sequence[RunRecord], counts: Counts, look_again: LookAgain | None = None
    ) -> OlderCopy | None:
        """What a ledger does not know of its own history; None if it knows all that was noted here.

        `look_again` reads the ledger anew, where other machines may have begun a run since it was read.
        """
        notes = self._notes(identity)
        older = _compare(notes, runs, counts)
        if older is not None and look_again is not None:
            return _compare(notes, *look_again())  # the ledger is younger than the notes now
        return older

    def begin(self, note: RunNote, *, in_spite: bool = False) -> RunNote | None:
        """Note that a run begins; the other copy's note, if that has begun the same run already.

        `in_spite` of that it is noted.
        """
        path = self._path(note.identity, note.run)
        fresh = self._write(note)
        try:
            if in_spite:
                fresh.replace(path)
                return None
            try:
                os.link(fresh, path)
            except FileExistsError:
                return _read(path) or note
            except OSError:  # a file system without hard links
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, self._mode)
                os.close(descriptor)
                fresh.replace(path)
            return None
        finally:
            with suppress(FileNotFoundError):
                fresh.unlink()

    def update(self, note: RunNote, attempts: int) -> None:
        """Note how far the run has come."""
        self._write(replace(note, attempts=attempts)).replace(self._path(note.identity, note.run))

    def forget_old(self) -> None:
        """Drop what is older than `KEPT_FOR`."""
        for path in self.folder.glob("ledger.*.json"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > KEPT_FOR.total_seconds():
                    path.unlink()

    def _path(self, identity: str, run: int) -> Path:
        return self.folder / f"ledger.{identity}.{run}.json"

    def _notes(self, identity: str) -> Mapping[int, RunNote]:
        notes = [_read(path) for path in self.folder.glob(f"ledger.{identity}.*.json")]
        return {note.run: note for note in notes if note is not None}

    def _write(self, note: RunNote) -> Path:
        """A whole note, on disk, under a name of its own."""
        fresh = self.folder / f".{note.identity}.{secrets.token_hex(4)}"
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, self._mode)
        try:
            os.write(descriptor, msgspec.json.encode(note))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return fresh


def _compare(notes: Mapping[int, RunNote], runs: Sequence[RunRecord], counts: Counts) -> OlderCopy | None:
    """The first of these notes of which the ledger knows nothing."""
    if not notes:
        return None
    known = {run.number: run for run in runs}
    last = notes[max(notes)]
    for number in sorted(notes):
        if not notes[number].is_of(known.get(number)):
            missing = last.attempts - notes[number].attempts_before
            return OlderCopy(last, number, knows_run=False, attempts=missing)
    if counts.attempts < last.attempts:
        return OlderCopy(last, last.run, knows_run=True, attempts=last.attempts - counts.attempts)
    return None


def _read(path: Path) -> RunNote | None:
    """A note; None for one that nobody has finished writing, which is no run's."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=RunNote)
    except (msgspec.MsgspecError, FileNotFoundError):
        return None


class Histories:
    """The folders; `in_spite` if a person has decided to send from an older copy."""

    def __init__(self, kept_in: Sequence[LedgerHistory] = (), *, in_spite: bool = False) -> None:
        self._kept_in = kept_in
        self._in_spite = in_spite
        self._note: RunNote | None = None

    def require_latest(self, ledger: LedgerName, identity: str, runs: Sequence[RunRecord], counts: Counts) -> None:
        """Raises PlanError if the ledger is an older copy, UsageError if a shared folder cannot be read."""
        if self._in_spite:
            return
        look_again = partial(_read_again, ledger) if isinstance(ledger, LedgerUrl) else None
        for history in self._kept_in:
            with _usable(history):
                older = history.missing_in(identity, runs, counts, look_again)
                if older is not None:
                    raise older_copy_error(ledger, older)

    def begin(self, writer: LedgerWriter, ledger: LedgerName, start: RunStart) -> None:
        """Note that the run begins. Raises PlanError if another copy has begun the same run."""
        if not self._kept_in:
            return
        note = RunNote(
            writer.identity,
            writer.run,
            writer.started_at,
            start.user,
            start.host,
            start.process,
            os.fsencode(str(ledger.absolute())).decode(errors="backslashreplace"),
            writer.attempts,
            writer.attempts,
        )
        for history in self._kept_in:
            with _usable(history):
                other = history.begin(note, in_spite=self._in_spite)
                if other is not None:
                    older = OlderCopy(other, other.run, knows_run=False, attempts=other.attempts)
                    raise older_copy_error(ledger, older)
        self._note = note

    def update(self, attempts: int) -> None:
        """Note how far the run has come; what cannot be noted is logged, and costs nobody a message."""
        if self._note is None or attempts == self._note.attempts:
            return
        self._note = replace(self._note, attempts=attempts)
        for history in self._kept_in:
            try:
                history.update(self._note, attempts)
            except OSError as error:
                log.warning("progress not noted", why=error.strerror)

    def end(self, writer: LedgerWriter) -> None:
        """Note how far the run came, and where its ledger is if it had to be saved elsewhere."""
        if self._note is not None and writer.saved_as is not None:
            self._note = replace(self._note, ledger=str(writer.saved_as.absolute()), attempts=-1)
        self.update(writer.attempts)


NO_HISTORIES = Histories()


def _read_again(ledger: LedgerUrl) -> tuple[Sequence[RunRecord], Counts]:
    """What a database knows now: another machine may have joined since it was asked."""
    with open_ledger(ledger) as reader:
        return reader.runs(), reader.counts()


@contextmanager
def _usable(history: LedgerHistory) -> Iterator[None]:
    """A shared folder has to hold; this user's own must not keep an alert from going out."""
    try:
        yield
    except OSError as error:
        if history.has_to_hold:
            raise UsageError(
                f"The start registry {history.folder} cannot be used: {error.strerror}. Nothing was sent.",
                hint="--start-registry names a folder that every machine can reach and write; omit it to go without.",
            ) from error
        log.warning("history not noted", folder=str(history.folder), why=error.strerror)


def older_copy_error(ledger: LedgerName, older: OlderCopy) -> PlanError:
    """Why nothing is sent from an older copy, and what can be done."""
    latest = ledger_name(older.note.ledger)
    is_there = latest != ledger.absolute() and (isinstance(latest, LedgerUrl) or latest.exists())
    there = latest if is_there else None
    use = f"Use the ledger that knows them, `bulksms status {there}`" if there else "Put the latest ledger in its place"
    return PlanError(
        f"{ledger} is an older copy of its ledger: {older}. Nothing is sent now.",
        hint=f"{use}; it was {older.note.ledger} on {older.note.host} (run {older.note.run}, by {older.note.user}, "
        f"{older.note.started_at}). `bulksms send {ledger} --new` sends from this copy all the same, to those people "
        "for the second time.",
    )
