"""Remote control: how another shell commands a living run, and sees what only the run itself knows, without a signal.

Invariants: a command and a status are small files beside the ledger; only the run itself writes to the ledger. The
status is written anew about once a second and gone with the run. Nothing depends on it: who cannot read it sees the
ledger's counts alone.
"""

import os
import secrets
from contextlib import suppress
from pathlib import Path

import msgspec

from bulksms.ledger.records import Author, ControlCommand, RunStatus
from bulksms.ledger.sqlite import database
from bulksms.ledger.sqlite.lock import share_as


def control_path(ledger: Path) -> Path:
    """The file that carries the command."""
    real = ledger.resolve()
    return real.with_name(real.name + ".control")


def write_command(ledger: Path, command: ControlCommand, author: Author) -> None:
    """Leave the command for the run that works on this ledger. Raises LedgerError if it cannot be written."""
    with database.translate_errors(ledger):
        written = _beside(control_path(ledger))
        written.write_bytes(msgspec.json.encode((command, author)))
        written.replace(control_path(ledger))


def take_command(ledger: Path) -> tuple[ControlCommand, Author] | None:
    """The command in the file, if any, and who gave it; it is removed first, so that a later command is never lost."""
    path = control_path(ledger)
    if not path.exists():
        return None
    taken = _beside(path)
    try:
        path.replace(taken)
        return msgspec.json.decode(taken.read_bytes(), type=tuple[ControlCommand, Author])
    except (OSError, msgspec.MsgspecError):
        return None
    finally:
        with suppress(OSError):
            taken.unlink(missing_ok=True)


def clear_command(ledger: Path) -> None:
    """Remove the command: the run has read it, or it is older than the run."""
    with database.translate_errors(ledger):
        control_path(ledger).unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    """A name of its own beside the file, whose content is therefore always complete."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}")


def status_path(ledger: Path) -> Path:
    """The file that the run writes."""
    real = ledger.resolve()
    return real.with_name(real.name + ".live")


def write_status(ledger: Path, pace: RunStatus) -> None:
    """Write it down, whole or not at all. A disk that takes none of it is no trouble of the run's."""
    path = status_path(ledger)
    fresh = path.with_name(path.name + ".new")
    with suppress(OSError):
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            share_as(ledger, file.fileno())
            file.write(msgspec.json.encode(pace))
        fresh.replace(path)


def read_status(ledger: Path, run: int | None) -> RunStatus | None:
    """The last status of this run; None if it wrote none, or the file is that of another run, which died."""
    try:
        pace = msgspec.json.decode(status_path(ledger).read_bytes(), type=RunStatus)
    except (OSError, msgspec.MsgspecError):
        return None
    return pace if pace.run == run else None


def remove_status(ledger: Path) -> None:
    """The run is over."""
    path = status_path(ledger)
    for name in (path, path.with_name(path.name + ".new")):
        with suppress(OSError):
            name.unlink()
