"""Control: how another shell tells a living run to stop, on every platform and without a signal.

Law: a wish is a file beside the ledger; only the run itself writes to the ledger.
"""

import secrets
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from bulksms.ledger import file


class Wish(StrEnum):
    """What a person in another shell wants of the run."""

    STOP = "stop"
    STOP_NOW = "stop now"
    CANCEL = "cancel"


def control_path(ledger: Path) -> Path:
    """The file that carries the wish."""
    return ledger.with_name(ledger.name + ".control")


def ask(ledger: Path, wish: Wish) -> None:
    """Leave the wish for the run that works on this ledger. Raises LedgerTrouble if it cannot be written."""
    with file.speaking_of(ledger):
        written = _beside(control_path(ledger))
        written.write_text(wish)
        written.replace(control_path(ledger))


def take(ledger: Path) -> Wish | None:
    """The wish that lies there, if any, and take it away: one that is left after that is another one."""
    path = control_path(ledger)
    if not path.exists():
        return None
    taken = _beside(path)
    try:
        path.replace(taken)
        return Wish(taken.read_text())
    except (OSError, ValueError):
        return None
    finally:
        with suppress(OSError):
            taken.unlink(missing_ok=True)


def forget(ledger: Path) -> None:
    """Take the wish away: it was heard, or is older than the run."""
    with file.speaking_of(ledger):
        control_path(ledger).unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    """A name of one's own: what stands under the other one is always whole."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}")
