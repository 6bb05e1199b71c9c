"""Live: what only a living run knows of itself, for whoever looks at its ledger from another shell.

Law: it is a small file beside the ledger, written anew about once a second and gone with the run. Nothing depends on
it: who cannot read it sees the ledger's counts alone.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a run is, and why. Seconds and messages a second; None is not so, or not known yet.

    `rate` is how fast it may be at most. `concurrency` of at most `ceiling` requests may be in flight; `why` is the
    reason of its last change, None before the first. `held` is how much longer nobody may go, as `why_held` says;
    `alone` is true from then on until the one message that goes first has a good answer. `away` is how long the server
    has been away. `deadline` is a POSIX time. `errors` are the last kinds of complaint, each with how often it was
    heard.
    """

    run: int
    elapsed: float
    overall: float | None
    recent: float | None
    concurrency: int
    ceiling: int
    adapts: bool
    in_flight: int
    rate: float | None = None
    why: str | None = None
    held: float | None = None
    why_held: str | None = None
    alone: bool = False
    away: float | None = None
    deadline: float | None = None
    stopping: str | None = None
    errors: tuple[tuple[str, int], ...] = ()


def live_path(ledger: Path) -> Path:
    """The file that the run writes."""
    return ledger.with_name(ledger.name + ".live")


def tell(ledger: Path, pace: Pace) -> None:
    """Write it down, whole or not at all. A disk that takes none of it is no trouble of the run's."""
    path = live_path(ledger)
    fresh = path.with_name(path.name + ".new")
    with suppress(OSError):
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(msgspec.json.encode(pace))
        fresh.replace(path)


def told(ledger: Path, run: int | None) -> Pace | None:
    """What this run told last; None if it told nothing, or the file is another run's that died."""
    try:
        pace = msgspec.json.decode(live_path(ledger).read_bytes(), type=Pace)
    except (OSError, msgspec.MsgspecError):
        return None
    return pace if pace.run == run else None


def forget(ledger: Path) -> None:
    """The run is over."""
    path = live_path(ledger)
    for name in (path, path.with_name(path.name + ".new")):
        with suppress(OSError):
            name.unlink()
