"""The ledger's file: made, opened, recognised, recovered.

Invariants: recovery is part of opening for a run; at most one connection writes; readers open it read-only, and change
nothing but what a death in the middle of a write left undone. Files are created with mode 0600 (POSIX).
"""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from bulksms.errors import LedgerError, LedgerLockedError, PlanError
from bulksms.ledger.contract import damage_error
from bulksms.ledger.records import Recovery
from bulksms.ledger.sqlite.lock import RunLock, is_held, log_path, require_one_name
from bulksms.ledger.sqlite.recovery import give_log_up, is_log_lost, recover
from bulksms.ledger.sqlite.schema import (
    APPLICATION_ID,
    INDEXES,
    LAST_RUN,
    TABLES,
    TALLIES,
    VERSION,
    migrate,
    version_of,
)
from bulksms.model.message import UNFINISHED
from bulksms.system import SYSTEM, System

SPACE_FOR_LOG = 40_000_000
"""Bytes for the write-ahead log: twice the size at which it is folded in."""
SPACE_A_MESSAGE = 500
"""Bytes that a run adds for a message: about 160 for one attempt that is accepted, more for errors and retries."""

LATEST = 253_370_764_800.0
"""The year 9999: no moment of a ledger is later, and calendars end soon after it."""


@contextmanager
def translate_errors(path: Path) -> Iterator[None]:
    """Raise errors of SQLite and of the operating system about this ledger as LedgerError, in a person's words."""
    try:
        yield
    except (sqlite3.DatabaseError, OSError) as error:
        raise ledger_error(path, error) from error


def ledger_error(path: Path, error: Exception) -> LedgerError:
    """What went wrong with this ledger, in a person's words."""
    if isinstance(error, LedgerError):
        return error
    if isinstance(error, ValueError | TypeError | KeyError | OverflowError) or _is_damage(error):
        return damage_error(path, error)
    words = (isinstance(error, OSError) and error.strerror) or str(error)
    if "not a database" in words:
        return _not_a_ledger(path)
    if "full" in words or "No space left" in words:
        return LedgerError(
            f"The disk that holds {path.name} is full.",
            hint="Make room, then `bulksms resume` it; nothing was sent that is not in the ledger.",
        )
    return LedgerError(
        f"The ledger {path.name} cannot be used: {words}.",
        hint="Look at the folder's rights and at the space left on the disk; a ledger belongs on a local disk.",
    )


def _is_damage(error: Exception) -> bool:
    """Whether SQLite says that the file is not as SQLite leaves it."""
    if not isinstance(error, sqlite3.DatabaseError):
        return False
    words = str(error)
    return any(it in words for it in ("malformed", "no such table", "no such column", "UTF-8", "corrupt", "datatype"))


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """As `translate_errors`, for a block that turns what the file says into values: what makes none is damage."""
    try:
        with translate_errors(path):
            yield
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise damage_error(path, error) from error


def require_moment(at: float) -> float:
    """A POSIX time that a calendar knows. Raises ValueError, or TypeError, for anything else in the file."""
    if not 0.0 <= at <= LATEST:
        raise ValueError(f"{at} is no moment")
    return at


def _not_a_ledger(path: Path) -> LedgerError:
    return LedgerError(
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

    SQLite itself is asked: opening the file beside a living connection of this process would drop its locks. Raises
    LedgerError if the system keeps it from looking into a file that is called like a ledger.
    """
    try:
        return path.is_file() and _application_id(path) == APPLICATION_ID
    except sqlite3.DatabaseError as error:
        if path.suffix == ".db" and isinstance(error, sqlite3.OperationalError):
            raise ledger_error(path, error) from error
        return False


def _application_id(path: Path) -> int:
    _roll_back(path)
    with closing(_connect_read_only(path)) as connection:
        (found,) = connection.execute("PRAGMA application_id").fetchone()
    return int(found)


def _roll_back(path: Path) -> None:
    """Undo a write in the middle of which a process died; only a connection that may write can.

    Without the right to write, the read-only connection reports what is wrong.
    """
    journal = path.resolve().with_name(path.resolve().name + "-journal")
    if not journal.exists():
        return
    with suppress(sqlite3.DatabaseError), closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()


def open_read_only(path: Path) -> sqlite3.Connection:
    """A connection that can change nothing, also beside a living run.

    Raises LedgerError if the file is missing, no ledger, of a newer version, or of an older one that a run works on.
    """
    _require_ledger(path)
    with translate_errors(path):
        connection = _connect_read_only(path)
        try:
            connection.execute("PRAGMA busy_timeout = 5000")
            if version_of(path, connection) < VERSION:
                connection.close()
                _migrate_unused(path)
                connection = _connect_read_only(path)
                connection.execute("PRAGMA busy_timeout = 5000")
        except BaseException:
            connection.close()
            raise
        return connection


def _migrate_unused(path: Path) -> None:
    """Take an older ledger to this version. Raises LedgerLockedError if a run works on it."""
    lock = RunLock(path)
    lock.acquire("migrating")
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection, transaction(connection):
            migrate(path, connection)
    finally:
        lock.release()


def _connect_read_only(path: Path) -> sqlite3.Connection:
    """Without the right to make the shared-memory file, a ledger that ended cleanly is read as it lies there."""
    mode = "mode=ro" if log_path(path).exists() or os.access(path.parent, os.W_OK) else "immutable=1"
    location = f"{path.absolute().as_uri()}?{mode}"
    return sqlite3.connect(location, uri=True, isolation_level=None, check_same_thread=False)


def open_for_run(  # noqa: PLR0913 - the last two are for those who need them
    path: Path,
    lock: RunLock,
    recovery: Recovery,
    holder: str,
    *,
    gives_log_up: bool = False,
    takes_copy: bool = False,
    now: Callable[[], float] = SYSTEM.now,
) -> sqlite3.Connection:
    """Lock the ledger, open its one writing connection, and recover what a dead run left `sending`.

    Raises LedgerLockedError if a run is working on it, LedgerError if it cannot be used, or if a dead run's log is
    missing and the person has not decided to do without it (`gives_log_up`), PlanError for the copy of a ledger that is
    kept in a database, unless that is wanted (`takes_copy`).
    """
    _require_ledger(path)
    with translate_errors(path):
        require_one_name(path)
        lock.acquire(holder)
    try:
        with translate_errors(path):
            connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            try:
                is_lost = version_of(path, connection) == VERSION and is_log_lost(path, connection)
                if is_lost and not gives_log_up:
                    raise lost_log_error(path, connection)  # noqa: TRY301 - the connection is closed below
                _require_no_writer(path, connection)
                _require_space(path, connection)
                _make_durable(path, connection)
                with transaction(connection):
                    migrate(path, connection)
                    if not takes_copy:
                        _require_original(path, connection)
                    recover(connection, recovery, now())
                    if is_lost:
                        give_log_up(connection, now())
            except BaseException:
                connection.close()
                raise
            return connection
    except BaseException:
        lock.release()
        raise


def _require_original(path: Path, connection: sqlite3.Connection) -> None:
    """Of a ledger and its copies one alone may be worked on: what the others do not know would be sent again."""
    kept_in, moving_to = connection.execute("SELECT kept_in, moving_to FROM plan").fetchone()
    if kept_in is not None:
        raise PlanError(
            f"{path.name} is a copy, to be read: the ledger itself is kept in {kept_in}.",
            hint=f"Give the command that name: '{kept_in}'.",
        )
    if moving_to is not None:
        raise PlanError(
            f"{path.name} was being moved into a database when that was broken off.",
            hint=f"`bulksms import {path} '{moving_to}'` completes it.",
        )


def _require_no_writer(path: Path, connection: sqlite3.Connection) -> None:
    """A living run holds SQLite's own write lock, also when somebody has removed its lock file."""
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        if "locked" not in str(error):
            raise
        raise LedgerLockedError(
            f"Another run is working on {path.name}.",
            hint=f"Wait for it to end; `bulksms status {path.name}` shows how far it is.",
        ) from error


def require_log(path: Path) -> None:
    """Raises LedgerError if a dead run's log is missing."""
    with translate_errors(path), closing(open_read_only(path)) as connection:
        if is_log_lost(path, connection) and not is_held(path):
            raise lost_log_error(path, connection)


def lost_log_error(path: Path, connection: sqlite3.Connection) -> LedgerError:
    """Why nothing is sent from a ledger whose log is missing, and what can be done."""
    (number, _, _) = connection.execute(LAST_RUN).fetchone()
    (queued,) = connection.execute("SELECT messages FROM tally WHERE name = 'queued'").fetchone()
    log = log_path(path).name
    return LedgerError(
        f"The file {log} is missing: run {number} on {path.name} neither ended nor left its write-ahead log, so "
        f"{queued:,} messages that look queued may have been sent. Nothing is sent now.",
        hint=f"Put {log} back beside {path.name}, from where the ledger was when that run died. If it is lost, "
        f"`bulksms retry {path} --only unknown` sends to them once more, to some of them perhaps for the second time.",
    )


@contextmanager
def exclusive(  # noqa: PLR0913 - the last three are for those who need them
    path: Path,
    recovery: Recovery,
    holder: str,
    system: System = SYSTEM,
    *,
    takes_copy: bool = False,
    gives_log_up: bool = True,
) -> Iterator[sqlite3.Connection]:
    """The ledger under its run lock, recovered, for what a person decides about it while no run lives.

    That person does without the log of a dead run if it is missing. Raises LedgerLockedError if a run is working on
    it, LedgerError if it cannot be used, PlanError for a copy as `open_for_run`.
    """
    lock = RunLock(path, system.sleep)
    connection = open_for_run(
        path, lock, recovery, holder, gives_log_up=gives_log_up, takes_copy=takes_copy, now=system.now
    )
    try:
        with translate_errors(path), closing(connection):
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

    Raises LedgerError if the file is something else, LedgerLockedError if a run is working on it.
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
    """Before anything is sent: room for what the run will write. Raises LedgerError if there is not enough."""
    tally = dict(connection.execute("SELECT name, messages FROM tally"))
    unfinished = sum(tally[state] for state in UNFINISHED)
    needed = SPACE_FOR_LOG + SPACE_A_MESSAGE * unfinished
    free = shutil.disk_usage(path.absolute().parent).free
    if free < needed:
        raise LedgerError(
            f"The disk that holds {path.name} has {free / 1e6:,.0f} MB left; the run may need {needed / 1e6:,.0f} MB.",
            hint="Make room first; nothing was sent.",
        )


def _make_durable(path: Path, connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA busy_timeout = 5000")
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise LedgerError(
            f"The file system that holds {path.name} cannot carry a write-ahead log.",
            hint="Keep the ledger on a local disk, not on a network share.",
        )
    connection.executescript(
        "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 0;"
        "PRAGMA cache_size = -16000;"
        # fsync on macOS does not reach the disk; this does, and is nothing elsewhere.
        "PRAGMA fullfsync = 1; PRAGMA checkpoint_fullfsync = 1;"
    )


def _require_ledger(path: Path) -> None:
    if not path.exists():
        raise LedgerError(
            f"There is no ledger {path}.", hint="`bulksms send FILE` or `bulksms plan FILE` makes one here."
        )
    with translate_errors(path):
        if not path.is_file() or _application_id(path) != APPLICATION_ID:
            raise _not_a_ledger(path)
