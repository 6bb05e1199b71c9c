"""Histories: the notes of a run outside its ledger, in every folder where they are kept.

Invariant: a run that another copy of its ledger has begun already does not send.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from bulksms.errors import PlanError, UsageError
from bulksms.ledger import Counts, LedgerName, LedgerUrl, LedgerWriter, RunRecord, RunStart, ledger_name, open_ledger
from bulksms.log import log
from bulksms.planning.ledger_history import LedgerHistory, OlderCopy, RunNote


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
