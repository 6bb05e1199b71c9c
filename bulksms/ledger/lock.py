"""The run lock: one run at a time works on a ledger.

Law: a kernel lock on a file beside the ledger, never on the database itself (closing another descriptor of it would
drop SQLite's own POSIX locks) and never a process number in a file (it outlives its process). The kernel lets go when
the process dies, however it dies.
"""

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from bulksms.errors import LedgerLocked, LedgerTrouble

_PATIENCE = 10
_PAUSE = 0.02
"""A reader that looks whether a run lives holds the lock for an instant; a starting run waits that out (seconds)."""


def lock_path(ledger: Path) -> Path:
    """The file beside the ledger that carries the lock."""
    return ledger.with_name(ledger.name + ".lock")


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

    def __init__(self, ledger: Path) -> None:
        self._ledger = ledger
        self._path = lock_path(ledger)
        self._descriptor: int | None = None

    def acquire(self, holder: str) -> None:
        """Take the lock and write `holder` into its file.

        Raises LedgerLocked if another process has it, LedgerTrouble if the file cannot be made.
        """
        for _ in range(_PATIENCE):
            descriptor = self._open()
            if _lock(descriptor) and self._is_current(descriptor):
                os.ftruncate(descriptor, 0)
                os.write(descriptor, b" " + holder.encode())
                self._descriptor = descriptor
                return
            held_by = _holder(descriptor)
            os.close(descriptor)
            time.sleep(_PAUSE)
        raise LedgerLocked(
            f"Another run is working on {self._ledger.name}{f' ({held_by})' if held_by else ''}.",
            hint=f"Wait for it to end; `bulksms status {self._ledger.name}` shows how far it is.",
        )

    def release(self) -> None:
        """Let go, and take the file away where the platform allows it while the lock is held."""
        if self._descriptor is None:
            return
        with suppress(OSError):
            self._path.unlink()
        os.close(self._descriptor)
        self._descriptor = None

    def _open(self) -> int:
        try:
            return os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise LedgerTrouble(
                f"The lock file {self._path.name} cannot be made: {error.strerror}.",
                hint="A ledger needs a folder that can be written to.",
            ) from error

    def _is_current(self, descriptor: int) -> bool:
        """Whether the path still names this file: the holder before us removes it as it lets go."""
        try:
            on_disk = self._path.stat()
        except FileNotFoundError:
            return False
        status = os.fstat(descriptor)
        return (on_disk.st_dev, on_disk.st_ino) == (status.st_dev, status.st_ino)


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
            raise LedgerTrouble(
                f"This file system cannot lock a file: {error.strerror}.",
                hint="Keep the ledger on a local disk, not on a network share.",
            ) from error
        return True
