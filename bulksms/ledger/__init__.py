"""The ledger: plan and result at once, and alone enough to resume. This room is what a ledger promises, for any store.

The other rooms import from here only; how a store keeps the promises is in a room of its own (`sqlite`, `postgresql`).
A ledger's name says which one: a path is a SQLite file, a URL a schema in PostgreSQL. A store is imported when a ledger
is first opened, so that importing the contract costs nothing.
Invariants: an attempt is on disk before its request may leave; nothing is reported as written before it is on disk.
"""

from pathlib import Path
from typing import overload

from bulksms.errors import UsageError
from bulksms.ledger.contract import (
    Draft,
    FileDraft,
    Invariant,
    Ledger,
    LedgerReader,
    LedgerWriter,
    News,
    Statistics,
    damage_error,
    unfinished_error,
)
from bulksms.ledger.name import DatabaseUrl, LedgerName, LedgerUrl, file_beside, free_beside, is_url, ledger_name
from bulksms.ledger.records import (
    EVIDENCE,
    HELD_UNTIL_RELEASED,
    POSSIBLY_SENT,
    RELEASED,
    Action,
    AttemptHistogram,
    AuditEntry,
    Author,
    ControlCommand,
    Counts,
    DraftRow,
    LastStart,
    LedgerSnapshot,
    MachineRecord,
    MessageRecord,
    OutcomeGroup,
    OutcomeRecord,
    Period,
    Plan,
    PossibleRecipient,
    QueuedRow,
    Recovery,
    Repeated,
    Retry,
    RunRecord,
    RunStart,
    RunStatus,
    SettledElsewhere,
    SharedHold,
    Transition,
)
from bulksms.ledger.selection import EVERYTHING, Rows, Selection

__all__ = [
    "EVERYTHING",
    "EVIDENCE",
    "HELD_UNTIL_RELEASED",
    "POSSIBLY_SENT",
    "RELEASED",
    "Action",
    "AttemptHistogram",
    "AuditEntry",
    "Author",
    "ControlCommand",
    "Counts",
    "DatabaseUrl",
    "Draft",
    "DraftRow",
    "Invariant",
    "LastStart",
    "Ledger",
    "LedgerName",
    "LedgerReader",
    "LedgerSnapshot",
    "LedgerUrl",
    "LedgerWriter",
    "MachineRecord",
    "MessageRecord",
    "News",
    "OutcomeGroup",
    "OutcomeRecord",
    "Period",
    "Plan",
    "PossibleRecipient",
    "QueuedRow",
    "Recovery",
    "Repeated",
    "Retry",
    "Rows",
    "RunRecord",
    "RunStart",
    "RunStatus",
    "Selection",
    "SettledElsewhere",
    "SharedHold",
    "Statistics",
    "Transition",
    "damage_error",
    "export_ledger",
    "file_beside",
    "free_beside",
    "import_ledger",
    "is_url",
    "last_start",
    "ledger_at",
    "ledger_name",
    "ledgers_of",
    "new_draft",
    "note_start",
    "open_ledger",
    "unfinished_error",
]


def ledger_at(name: LedgerName) -> Ledger:
    """The ledger of this name, which need not exist yet; nothing is opened."""
    if isinstance(name, LedgerUrl):
        _require_driver()
        from bulksms.ledger.postgresql.store import PostgresqlLedger  # noqa: PLC0415 - a store is loaded when needed

        return PostgresqlLedger(name)
    from bulksms.ledger.sqlite.store import SqliteLedger  # noqa: PLC0415 - as above

    return SqliteLedger(name)


def open_ledger(name: LedgerName) -> LedgerReader:
    """Open a ledger for reading, in a `with` block. Raises LedgerError if it cannot be read."""
    return ledger_at(name).open_reader()


@overload
def new_draft(name: Path | None) -> FileDraft: ...
@overload
def new_draft(name: LedgerName | None) -> Draft: ...
def new_draft(name: LedgerName | None) -> Draft:
    """A plan under construction, to be kept under this name; None makes one that leaves nothing behind (a dry run)."""
    if isinstance(name, LedgerUrl):
        _require_driver()
        from bulksms.ledger.postgresql.draft import PostgresqlDraft  # noqa: PLC0415 - as above

        return PostgresqlDraft(name)
    from bulksms.ledger.sqlite.draft import SqliteDraft  # noqa: PLC0415 - as above

    return SqliteDraft(name)


def export_ledger(url: LedgerUrl, file: Path) -> bool:
    """Write what a ledger in a database says to a new file, a copy that can be read; whether a machine works on it.

    Raises PlanError if the name of the file is taken, LedgerError if the database or the file cannot be used.
    """
    _require_driver()
    from bulksms.ledger.postgresql.export import export  # noqa: PLC0415 - as above

    ledger_at(file).require_free()
    return export(url, file)


def import_ledger(file: Path, url: LedgerUrl, recovery: Recovery, holder: str) -> None:
    """Move the ledger of a file into a database; the file is a copy from then on. Repeating it completes it.

    Raises LedgerLockedError if a run works on the file, PlanError if the name is taken or the file is a copy,
    LedgerError if the file or the database cannot be used.
    """
    _require_driver()
    from bulksms.ledger.postgresql.publishing import move  # noqa: PLC0415 - as above

    move(file, url, recovery, holder)


def ledgers_of(database: DatabaseUrl) -> list[LedgerUrl]:
    """The ledgers of a database, the earliest first. Raises LedgerError if it cannot be used."""
    _require_driver()
    from bulksms.ledger.postgresql.catalogue import list_ledgers  # noqa: PLC0415 - as above

    return list_ledgers(database)


def last_start(database: DatabaseUrl, fingerprint: str, url: str) -> LastStart:
    """The last start of this plan to this URL that the database has noted. Raises LedgerError if it cannot be used."""
    _require_driver()
    from bulksms.ledger.postgresql import catalogue  # noqa: PLC0415 - as above

    return catalogue.last_start(database, fingerprint, url)


def note_start(database: DatabaseUrl, fingerprint: str, url: str, number: int, record: str) -> bool:
    """Note a start of this plan to this URL; False if another one has this number. Raises LedgerError, as above."""
    _require_driver()
    from bulksms.ledger.postgresql import catalogue  # noqa: PLC0415 - as above

    return catalogue.note_start(database, fingerprint, url, number, record)


def _require_driver() -> None:
    """Raises UsageError if the driver of the database is not installed."""
    from importlib.util import find_spec  # noqa: PLC0415 - for a URL only

    if find_spec("asyncpg") is None:
        raise UsageError(
            "A ledger in PostgreSQL needs a driver that is not installed.",
            hint="pip install 'adaxes-bulksms[postgresql]'",
        )
