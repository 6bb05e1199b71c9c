"""One run on one file: the run lock, and whether a living run's file is still the one under its name.

Invariant: a kernel lock on a file beside the ledger, never on the database itself (closing another descriptor of it
would drop SQLite's own POSIX locks) and never a process number in a file (it outlives its process). The kernel releases
it when the process dies, however it dies. The lock file goes by the ledger's file, not by a symbolic link to it, and is
never removed.
"""

import os
import sqlite3
import stat
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from bulksms.errors import LedgerError, LedgerLockedError
from bulksms.system import SYSTEM

_TRIES = 10
_PAUSE = 0.02
"""A reader that looks whether a run lives holds the lock for an instant; a starting run waits that out (seconds)."""


def lock_path(ledger: Path) -> Path:
    """The file beside the ledger that carries the lock."""
    real = ledger.resolve()
    return real.with_name(real.name + ".lock")


def log_path(ledger: Path) -> Path:
    """The write-ahead log; SQLite puts it beside the file itself, not beside a symbolic link."""
    real = ledger.resolve()
    return real.with_name(real.name + "-wal")


def share_as(ledger: Path, descriptor: int) -> None:
    """Give a file beside the ledger the ledger's group and mode, as SQLite does with its own.

    Another account that may write the ledger could not work on it otherwise. Only the owner of the file can.
    """
    if sys.platform != "win32":
        with suppress(OSError):
            like, now = ledger.stat(), os.fstat(descriptor)
            mode = like.st_mode & 0o666 | 0o600
            if now.st_gid != like.st_gid:
                os.fchown(descriptor, -1, like.st_gid)
            if stat.S_IMODE(now.st_mode) != mode:
                os.fchmod(descriptor, mode)


def is_held(ledger: Path) -> bool:
    """Whether a run is working on the ledger now."""
    try:
        descriptor = os.open(lock_path(ledger), os.O_RDWR)
    except OSError:
        return False
    try:
        return not _lock(descriptor)
    finally:
        os.close(descriptor)


class RunLock:
    """Held from `acquire` to `release`; the file tells a person who holds it."""

    def __init__(self, ledger: Path, sleep: Callable[[float], None] = SYSTEM.sleep) -> None:
        self._ledger = ledger
        self._sleep = sleep
        self._path = lock_path(ledger)
        self._holder = b""
        self._descriptors: list[int] = []

    def acquire(self, holder: str) -> None:
        """Take the lock and write `holder` into its file.

        Raises LedgerLockedError if another process has it, LedgerError if the file cannot be made.
        """
        self._holder = b" " + holder.encode()
        for _ in range(_TRIES):
            descriptor = self._open()
            if _lock(descriptor):
                self._keep(descriptor)
                return
            held_by = _holder(descriptor)
            os.close(descriptor)
            self._sleep(_PAUSE)
        raise LedgerLockedError(
            f"Another run is working on {self._ledger.name}{f' ({held_by})' if held_by else ''}.",
            hint=f"Wait for it to end; `bulksms status {self._ledger.name}` shows how far it is.",
        )

    def restore(self) -> None:
        """Put the lock file back if somebody removed it, so that others see this run again."""
        if self._descriptors and not self._path.exists():
            with suppress(OSError, LedgerError):
                descriptor = self._open()
                if _lock(descriptor):
                    self._keep(descriptor)
                else:
                    os.close(descriptor)

    def release(self) -> None:
        """Let go."""
        while self._descriptors:
            descriptor = self._descriptors.pop()
            with suppress(OSError):
                os.ftruncate(descriptor, 0)
            os.close(descriptor)

    def _keep(self, descriptor: int) -> None:
        self._descriptors.append(descriptor)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, self._holder)

    def _open(self) -> int:
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            what = "opened" if self._path.exists() else "made"
            raise LedgerError(
                f"The lock file {self._path.name} cannot be {what}: {error.strerror}.",
                hint="A ledger needs a folder, and a lock file if there is one, that this account can write to.",
            ) from error
        share_as(self._ledger, descriptor)
        return descriptor


def _holder(descriptor: int) -> str:
    """Who holds it, by the holder's own words; the first byte is the one that Windows locks."""
    os.lseek(descriptor, 1, os.SEEK_SET)
    return os.read(descriptor, 200).decode("utf-8", "replace")


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> bool:
        """One byte, without waiting; the kernel drops it with the process."""
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _lock(descriptor: int) -> bool:
        """The whole file, without waiting; the kernel drops it with the process."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise LedgerError(
                f"This file system cannot lock a file: {error.strerror}.",
                hint="Keep the ledger on a local disk, not on a network share.",
            ) from error
        return True


def require_one_name(ledger: Path) -> None:
    """Raises LedgerError if the file has more than one hard link: each name would have a log and a lock of its own."""
    if (names := ledger.stat().st_nlink) > 1:
        raise LedgerError(
            f"The file {ledger.name} has {names} names (hard links), so two runs could work on it without noticing.",
            hint=f"Keep one of them: `find -samefile {ledger}` names them all. To keep a copy, copy the file.",
        )


class Place:
    """Where the files of an open ledger were when its run began. `now` is a POSIX time."""

    def __init__(self, ledger: Path, now: Callable[[], float]) -> None:
        self._ledger = ledger
        self._now = now
        self._log = log_path(ledger)
        self._file_was = _identity(ledger)
        self._log_was = _identity(self._log)
        self._is_gone = False

    def problem(self) -> LedgerError | None:
        """What happened to the files, in a person's words; None if they are in their places."""
        try:
            status = self._ledger.stat()
        except FileNotFoundError:
            self._is_gone = True
            return self._error("was deleted or renamed")
        except OSError:
            return None  # the folder cannot be looked at for a moment; a write that fails says so itself
        if (status.st_dev, status.st_ino) != self._file_was:
            self._is_gone = True
            return self._error("was replaced by another file")
        if status.st_nlink > 1:
            return self._error("got a second name (a hard link)")
        if self._log_was is not None and _identity(self._log) != self._log_was:
            return self._error("lost its write-ahead log")
        return None

    def rescue(self, connection: sqlite3.Connection) -> Path | None:
        """Write what the open file says to a new file beside its name; None if it is in its place all the same."""
        if not self._is_gone:
            return None
        stem = self._ledger.name.removesuffix(".ledger.db")
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._now()))
        saved = self._ledger.with_name(f"{stem}.saved-{moment}.ledger.db")
        os.close(os.open(saved, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        with closing(sqlite3.connect(saved, isolation_level=None)) as copy:
            connection.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
        return saved

    def _error(self, what: str) -> LedgerError:
        return LedgerError(
            f"The file {self._ledger.name} {what} while a run was working on it; nothing new was begun since.",
            hint="The ledger that is named below says what was sent. Go on with that one, and with no other copy.",
        )


def _identity(path: Path) -> tuple[int, int] | None:
    """What the file is, whatever its name."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
