"""The ledger's file: made, opened, recognised, recovered.

Laws: recovery is part of opening for a run; at most one connection writes; readers open it read-only and never change
it. Files are created with mode 0600 (POSIX).
"""

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bulksms.errors import LedgerTrouble
from bulksms.ledger.lock import RunLock
from bulksms.ledger.schema import APPLICATION_ID, INDEXES, TABLES, TALLIES, VERSION
from bulksms.message import Reason, State

SPACE_FOR_LOG = 40_000_000
"""Bytes for the write-ahead log: twice the size at which it is folded in."""
SPACE_A_MESSAGE = 500
"""Bytes that a run adds for a message: about 160 for one attempt that is accepted, more for errors and retries."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """What opening made of the messages that were `sending` when the last run died.

    `state` and `reason` are what the evidence table says of a crash in the chosen delivery mode; a message whose
    `max_attempts` tries are used up becomes `unknown` whatever the mode.
    """

    state: State
    max_attempts: int


@contextmanager
def speaking_of(path: Path) -> Iterator[None]:
    """Tell SQLite's and the operating system's errors about this ledger as LedgerTrouble, in a person's words."""
    try:
        yield
    except (sqlite3.DatabaseError, OSError) as error:
        raise trouble(path, error) from error


def trouble(path: Path, error: Exception) -> LedgerTrouble:
    """What went wrong with this ledger, in a person's words."""
    if isinstance(error, LedgerTrouble):
        return error
    words = (isinstance(error, OSError) and error.strerror) or str(error)
    if "not a database" in words:
        return _not_a_ledger(path)
    if "full" in words or "No space left" in words:
        return LedgerTrouble(
            f"The disk that holds {path.name} is full.",
            hint="Make room, then `bulksms resume` it; nothing was sent that is not in the ledger.",
        )
    return LedgerTrouble(
        f"The ledger {path.name} cannot be used: {words}.",
        hint="Look at the folder's rights and at the space left on the disk; a ledger belongs on a local disk.",
    )


def _not_a_ledger(path: Path) -> LedgerTrouble:
    return LedgerTrouble(
        f"{path.name} is not a ledger.",
        hint="A ledger is written by `bulksms plan` or `bulksms send`; its name usually ends in .ledger.db.",
    )


def create(path: Path | None) -> sqlite3.Connection:
    """A new, empty ledger for a draft; None is SQLite's own temporary file, which leaves nothing behind.

    A draft is not durable while it is built (no journal, no fsync): it only gets its name when it is complete.
    """
    if path is not None:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    connection = sqlite3.connect("" if path is None else path, isolation_level=None, check_same_thread=False)
    try:
        connection.executescript(
            f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -8000;"
            f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION};{TABLES}"
        )
        connection.executemany("INSERT INTO tally (name, messages) VALUES (?, 0)", [(name,) for name in TALLIES])
    except BaseException:
        connection.close()
        if path is not None:
            path.unlink()
        raise
    return connection


def index(connection: sqlite3.Connection) -> None:
    """Build the indexes: once, after the rows are in, which is faster than keeping them while they come."""
    connection.executescript(INDEXES)


def is_ledger(path: Path) -> bool:
    """Whether the file is a ledger of any version; False for anything else, or nothing at all.

    SQLite itself is asked: opening the file beside a living connection of this process would drop its locks.
    """
    try:
        return path.is_file() and _application_id(path) == APPLICATION_ID
    except sqlite3.DatabaseError:
        return False


def _application_id(path: Path) -> int:
    with closing(_connect_read_only(path)) as connection:
        (found,) = connection.execute("PRAGMA application_id").fetchone()
    return int(found)


def open_read_only(path: Path) -> sqlite3.Connection:
    """A connection that can change nothing, also beside a living run.

    Raises LedgerTrouble if the file is missing, no ledger, or of a newer version.
    """
    _require_ledger(path)
    with speaking_of(path):
        connection = _connect_read_only(path)
        try:
            connection.execute("PRAGMA busy_timeout = 5000")
            _require_version(path, connection)
        except BaseException:
            connection.close()
            raise
        return connection


def _connect_read_only(path: Path) -> sqlite3.Connection:
    """Without the right to make the shared-memory file, a ledger that ended cleanly is read as it lies there."""
    has_log = path.with_name(path.name + "-wal").exists()
    mode = "mode=ro" if has_log or os.access(path.parent, os.W_OK) else "immutable=1"
    location = f"{path.absolute().as_uri()}?{mode}"
    return sqlite3.connect(location, uri=True, isolation_level=None, check_same_thread=False)


def open_for_run(path: Path, lock: RunLock, recovery: Recovery, holder: str) -> sqlite3.Connection:
    """Lock the ledger, open its one writing connection, and recover what a dead run left `sending`.

    Raises LedgerLocked if a run is working on it, LedgerTrouble if it cannot be used.
    """
    _require_ledger(path)
    lock.acquire(holder)
    try:
        with speaking_of(path):
            connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            try:
                _require_version(path, connection)
                _require_space(path, connection)
                _make_durable(path, connection)
                recover(connection, recovery)
            except BaseException:
                connection.close()
                raise
            return connection
    except BaseException:
        lock.release()
        raise


@contextmanager
def changing(path: Path, recovery: Recovery, holder: str) -> Iterator[sqlite3.Connection]:
    """The ledger under its run lock, recovered, for what a person decides about it while no run lives.

    Raises LedgerLocked if a run is working on it, LedgerTrouble if it cannot be used.
    """
    lock = RunLock(path)
    connection = open_for_run(path, lock, recovery, holder)
    try:
        with speaking_of(path), closing(connection):
            try:
                yield connection
            finally:
                close_after_run(connection)
    finally:
        lock.release()


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of it on disk, or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # after some errors SQLite has rolled back by itself
            connection.execute("ROLLBACK")
        raise


def remove(path: Path) -> None:
    """Take a ledger away with everything beside it: a rehearsal's, which is made anew.

    Raises LedgerTrouble if the file is something else, LedgerLocked if a run is working on it.
    """
    if not path.exists():
        return
    _require_ledger(path)
    lock = RunLock(path)
    lock.acquire("removing")
    try:
        for suffix in ("", "-wal", "-shm", ".live"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    finally:
        lock.release()


def close_after_run(connection: sqlite3.Connection) -> None:
    """Fold the write-ahead log into the file and leave that mode, so that one file is left that anybody can read.

    Beside a reader the mode cannot be left; the ledger is as true then, in up to three files until the next run.
    """
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA busy_timeout = 0")
        connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()


def _require_space(path: Path, connection: sqlite3.Connection) -> None:
    """Before anything is sent: room for what the run will write. Raises LedgerTrouble if there is not enough."""
    (unfinished,) = connection.execute(
        "SELECT SUM(messages) FROM tally WHERE name IN ('queued', 'sending', 'processing')"
    ).fetchone()
    needed = SPACE_FOR_LOG + SPACE_A_MESSAGE * unfinished
    free = shutil.disk_usage(path.absolute().parent).free
    if free < needed:
        raise LedgerTrouble(
            f"The disk that holds {path.name} has {free / 1e6:,.0f} MB left; the run may need {needed / 1e6:,.0f} MB.",
            hint="Make room first; nothing was sent.",
        )


def _make_durable(path: Path, connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA busy_timeout = 5000")
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise LedgerTrouble(
            f"The file system that holds {path.name} cannot carry a write-ahead log.",
            hint="Keep the ledger on a local disk, not on a network share.",
        )
    connection.executescript(
        "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4000; PRAGMA cache_size = -16000;"
        # fsync on macOS does not reach the disk; this does, and is nothing elsewhere.
        "PRAGMA fullfsync = 1; PRAGMA checkpoint_fullfsync = 1;"
    )


def recover(connection: sqlite3.Connection, recovery: Recovery) -> None:
    """Make of every message found `sending` what the evidence table says, and write its attempt down."""
    connection.execute("BEGIN IMMEDIATE")
    (found,) = connection.execute("SELECT COUNT(*) FROM message WHERE state = 'sending'").fetchone()
    if found:
        connection.execute(
            "INSERT INTO attempt (message, attempt, run, began_at, evidence, error) "
            "SELECT number, attempts, (SELECT COALESCE(MAX(number), 0) FROM run), began_at, 'crashed', "
            "'the run died while this attempt was under way' FROM message WHERE state = 'sending'"
        )
        again = 0
        if recovery.state is State.QUEUED:
            again = connection.execute(
                "UPDATE message SET state = 'queued', doubt = ?, began_at = NULL, error_code = 'crashed' "
                "WHERE state = 'sending' AND tries < ?",
                (Reason.CRASH, recovery.max_attempts),
            ).rowcount
        connection.execute(
            "UPDATE message SET state = 'unknown', reason = ?, doubt = ?, began_at = NULL, error_code = 'crashed', "
            "finished_at = ? WHERE state = 'sending'",
            (Reason.CRASH, Reason.CRASH, time.time()),
        )
        changes = (("sending", -found), ("queued", again), ("unknown", found - again))
        connection.executemany(
            "UPDATE tally SET messages = messages + ? WHERE name = ?", [(change, name) for name, change in changes]
        )
    connection.execute("COMMIT")


def withdraw(connection: sqlite3.Connection, state: State, reason: Reason) -> None:
    """Make of everything `queued` this state, or `unknown` if an earlier attempt may have been processed."""
    connection.execute("BEGIN IMMEDIATE")
    doubtful = connection.execute(
        "UPDATE message SET state = 'unknown', reason = doubt, finished_at = ? "
        "WHERE state = 'queued' AND doubt IS NOT NULL",
        (time.time(),),
    ).rowcount
    certain = connection.execute(
        "UPDATE message SET state = ?, reason = ?, finished_at = ? WHERE state = 'queued'", (state, reason, time.time())
    ).rowcount
    changes = (("queued", -doubtful - certain), ("unknown", doubtful), (state.value, certain))
    connection.executemany(
        "UPDATE tally SET messages = messages + ? WHERE name = ?", [(change, name) for name, change in changes]
    )
    connection.execute("COMMIT")


def _require_ledger(path: Path) -> None:
    if not path.exists():
        raise LedgerTrouble(
            f"There is no ledger {path}.", hint="`bulksms send FILE` or `bulksms plan FILE` makes one here."
        )
    with speaking_of(path):
        if not path.is_file() or _application_id(path) != APPLICATION_ID:
            raise _not_a_ledger(path)


def _require_version(path: Path, connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise LedgerTrouble(
            f"The ledger {path.name} was written by a newer version of bulksms.",
            hint="Use that version or a later one: `pip install --upgrade adaxes-bulksms`.",
        )
