"""Follow-up: the recipients of earlier ledgers, to be sent another message or left out, and the overlap with them.

Invariants: people who may have been sent a message count as sent. Each person is one row, however many rows,
identifiers and ledgers name them. A message overlaps if its recipient and its text are those of one that may have been
sent; a ledger that cannot be read, a rehearsal, and one whose texts were removed say nothing. Memory does not grow with
the number of people: which identifiers belong together is in a temporary file of SQLite's own.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Protocol, Self

from bulksms.errors import InputError, LedgerError, UsageError
from bulksms.input import BadRow, Finding, InputOptions, Row, RowChecker, options_for_rows
from bulksms.input.options import check_options
from bulksms.input.template import folded
from bulksms.ledger import POSSIBLY_SENT, LedgerName, LedgerReader, PossibleRecipient, ledger_at, open_ledger

RECIPIENT_COLUMN = "directoryObject"
"""The name of a follow-up's recipient column, unless the ledger has another column of that name."""


@contextmanager
def open_earlier(path: LedgerName) -> Iterator[LedgerReader]:
    """A ledger of a real run.

    Raises:
        LedgerError: it cannot be read.
        UsageError: it is the ledger of a rehearsal.

    """
    with open_ledger(path) as ledger:
        if any(run.settings.get("sandbox") for run in ledger.runs()):
            raise UsageError(
                f"{path.name} is the ledger of a rehearsal: nobody in it was sent a message.",
                hint="Name the ledger of the run.",
            )
        yield ledger


def already_sent(ledgers: Iterable[LedgerReader]) -> Iterator[tuple[str, str]]:
    """The key of everybody who was, or may have been, sent a message, and the reason for leaving them out."""
    for ledger in ledgers:
        for earlier in _possible_recipients(ledger):
            yield earlier.key, f"sent before: {earlier.state}, row {earlier.row} of {ledger.path.name}"


def still_living(ledgers: Iterable[LedgerReader]) -> list[Finding]:
    """Warn of ledgers on which a run is working: their recipients are known for this moment only."""
    return [
        Finding(
            "W302",
            f"a run is still working on {ledger.path.name}; the messages it sends from now on are not counted",
            hint=f"`bulksms status {ledger.path}` shows when it has ended",
        )
        for ledger in ledgers
        if ledger.counts().is_living
    ]


class PossibleRecipients:
    """The recipients of earlier ledgers as rows, with the other columns of their ledgers for the template."""

    def __init__(self, ledgers: Sequence[LedgerReader], options: InputOptions) -> None:
        """Find the columns of all ledgers.

        Raises:
            InputError: a placeholder has no column, or the text is too long.
            UsageError: the text is not a valid template.

        """
        check_options(options, "jsonl")
        self.name = "recipients of " + ", ".join(ledger.path.name for ledger in ledgers)
        self._ledgers = ledgers
        names: dict[str, str] = {}
        for ledger in ledgers:
            for name in ledger.plan().columns:
                names.setdefault(folded(name), name)  # the first spelling wins
        self._recipient_column = RECIPIENT_COLUMN
        while folded(self._recipient_column) in names:
            self._recipient_column += "_"
        self.columns = (self._recipient_column, *names.values())
        self.checker = RowChecker(self.columns, options_for_rows(options, self._recipient_column), name=self.name)

    @property
    def total(self) -> int:
        """About how many people there are, by the counters: for the progress bar."""
        return sum(ledger.counts().counts[state] for ledger in self._ledgers for state in POSSIBLY_SENT)

    @property
    def findings(self) -> list[Finding]:
        """The findings of all rows so far. A text column of the earlier input is not an overlooked choice."""
        return [finding for finding in self.checker.findings if finding.code != "W202"] + still_living(self._ledgers)

    def __iter__(self) -> Iterator[Row | BadRow]:
        """One row for each person.

        Raises:
            InputError: nobody was sent a message, or the ledger was purged of its recipients.

        """
        empty = True
        for place, ledger in enumerate(self._ledgers):
            for recipient in _possible_recipients(ledger):
                if any(earlier.has_possible_recipients(recipient.key) for earlier in self._ledgers[:place]):
                    continue
                empty = False
                cells = {self._recipient_column: recipient.recipient, **recipient.other_columns}
                yield self.checker.check_row(recipient.row, cells)
        if empty:
            raise InputError(
                f"There are no {self.name}.", hint=f"`bulksms status {self._ledgers[0].path}` shows its counts."
            )


def _possible_recipients(ledger: LedgerReader) -> Iterator[PossibleRecipient]:
    for recipient in ledger.possible_recipients():
        if not recipient.key:
            raise InputError(
                f"{ledger.path.name} no longer has its recipients: its names were removed.",
                hint="Name the people in a file; --suppress FILE leaves them out.",
            )
        yield recipient


@contextmanager
def _translate_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise LedgerError(
            f"The temporary file of the recipients' identities cannot be used: {error}.",
            hint="Make room in the folder for temporary files, or name another one in TMPDIR.",
        ) from error


class IdentityMap:
    """The keys (`bulksms.model.recipient`) of each person, all leading to the one that was seen first."""

    def __init__(self) -> None:
        with _translate_errors():
            self._connection = sqlite3.connect("", isolation_level=None)
            self._connection.executescript(
                "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
                "CREATE TABLE known (identifier TEXT PRIMARY KEY, person TEXT NOT NULL) WITHOUT ROWID;"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def canonical(self, keys: Sequence[str]) -> str:
        """The canonical key of the person with these keys; if none of them is known yet, the first becomes canonical.

        Raises LedgerError if the temporary file cannot be written.
        """
        person = next(filter(None, map(self.known, keys)), keys[0])
        with _translate_errors():
            self._connection.executemany(
                "INSERT INTO known VALUES (?, ?) ON CONFLICT DO NOTHING", [(key, person) for key in keys]
            )
        return person

    def known(self, key: str) -> str | None:
        """The canonical key of this key's owner, if the owner is known."""
        with _translate_errors():
            found = self._connection.execute("SELECT person FROM known WHERE identifier = ?", (key,)).fetchone()
        return None if found is None else str(found[0])

    def with_aliases(self, unwanted: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        """Each (key, reason), followed by the canonical key of its owner where that differs."""
        for key, why in unwanted:
            yield key, why
            person = self.known(key)
            if person is not None and person != key:
                yield person, why


class Queued(Protocol):
    """A draft or a ledger: something with queued messages."""

    def count_queued(self, sent: Iterable[tuple[str, str]]) -> int:
        """How many queued messages have one of these recipients (their keys) and the text beside it."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """How many messages of a plan one ledger sent, or may have; its last attempt began at this POSIX time."""

    ledger: LedgerName
    messages: int
    last_attempt_at: float | None


@dataclass(frozen=True, slots=True)
class Overlaps:
    """Of each ledger that has one, and how many messages of the plan that makes in all."""

    found: tuple[Overlap, ...] = ()
    messages: int = 0

    def is_within(self, seconds: float, now: float) -> bool:
        """Whether one of them was made so short a time ago; `now` is a POSIX time."""
        return any(it.last_attempt_at is not None and now - it.last_attempt_at < seconds for it in self.found)


NO_OVERLAPS = Overlaps()


def find_overlaps(queued: Queued, ledgers: Sequence[LedgerName]) -> Overlaps:
    """Hold a plan's queued messages against these ledgers."""
    found = []
    for path in ledgers:
        with suppress(LedgerError), open_ledger(path) as reader:
            if not _is_evidence(reader):
                continue
            if messages := queued.count_queued(reader.possibly_sent()):
                found.append(Overlap(path, messages, reader.last_attempt_at()))
    if len(found) < 2:  # one ledger's messages are all of them
        return Overlaps(tuple(found), sum(overlap.messages for overlap in found))
    return Overlaps(tuple(found), queued.count_queued(chain.from_iterable(_sent(it.ledger) for it in found)))


def ledgers_in(folders: Iterable[Path]) -> Iterator[Path]:
    """The ledgers that these folders hold, by the end of their names and by what is in them."""
    for folder in dict.fromkeys(folder.absolute() for folder in folders):
        with suppress(OSError):
            for path in sorted(folder.glob("*.db")):
                with suppress(LedgerError):
                    if ledger_at(path).is_ledger():
                        yield path


def _sent(path: LedgerName) -> Iterator[tuple[str, str]]:
    with suppress(LedgerError), open_ledger(path) as reader:
        yield from reader.possibly_sent()


def _is_evidence(reader: LedgerReader) -> bool:
    counts = reader.counts()
    attempted = any(counts.counts[state] for state in POSSIBLY_SENT) or counts.left
    is_rehearsal = any(run.settings.get("sandbox") for run in reader.runs())
    return bool(attempted) and not is_rehearsal and reader.plan().purged_at is None
