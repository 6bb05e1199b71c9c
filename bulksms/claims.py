"""Claims: who has started which plan to which URL, and from which ledger, in a folder into which others look as well.

Laws: a claim is one file, made exclusively and never changed; of a plan's claims the last one counts. So of several
that start the same plan at the same instant exactly one goes on. A claim names no recipient and no text.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

HOLDS_FOR = timedelta(hours=24)
"""After that the same plan may be started from another ledger: some messages are the same every day."""
KEPT_FOR = timedelta(days=30)
_PATIENCE = 10
_PAUSE = 0.02
"""A claim that is just being written is waited for (seconds)."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One start of a plan; `started_at` is ISO 8601 in UTC.

    `identity` is the ledger's own, None before there is one; `ledger` is where it lay.
    """

    fingerprint: str
    url: str
    identity: str | None
    ledger: str
    user: str
    host: str
    messages: int
    started_at: str = ""
    in_spite_of: str | None = None
    """The other ledger's claim that held then, in words."""

    def __str__(self) -> str:
        return f"{self.ledger} on {self.host}, by {self.user}, {self.started_at}"

    def holds(self, now: datetime) -> bool:
        """Whether it still keeps other ledgers from starting the same."""
        return now - datetime.fromisoformat(self.started_at) < HOLDS_FOR


class Claims:
    """The claims in one folder, in files of this mode (POSIX). What the system refuses is raised as OSError."""

    def __init__(self, folder: Path, mode: int = 0o600) -> None:
        self._folder = folder
        self._mode = mode

    def against(self, own: Claim) -> Claim | None:
        """The claim that keeps `own` from being made: the plan's last one, if it holds and is another ledger's."""
        last = self._last(own)
        return None if last is None or last.identity == own.identity or not last.holds(_now()) else last

    def make(self, own: Claim, *, in_spite: bool = False) -> Claim | None:
        """Claim the plan; what keeps it from that, if anything does.

        `in_spite` of that it is made, and says so.
        """
        while True:
            number = max(self._numbers(own), default=0) + 1
            against = self.against(own)
            if against is not None and not in_spite:
                return against
            said = None if against is None else str(against)
            with suppress(FileExistsError):  # somebody else was quicker: theirs is looked at
                self._write(number, replace(own, started_at=_said(_now()), in_spite_of=said))
                return against

    def forget_old(self) -> None:
        """Drop what is older than `KEPT_FOR`."""
        for path in self._folder.glob("*.json"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > KEPT_FOR.total_seconds():
                    path.unlink()

    def _path(self, own: Claim, number: int | str) -> Path:
        """Named by the fingerprint, the URL, and a number that counts the starts."""
        return self._folder / f"{own.fingerprint}.{hashlib.sha256(own.url.encode()).hexdigest()[:12]}.{number}.json"

    def _numbers(self, own: Claim) -> Iterator[int]:
        for path in self._folder.glob(self._path(own, "*").name):
            number = path.name.split(".")[-2]
            if number.isdecimal():
                yield int(number)

    def _write(self, number: int, claim: Claim) -> None:
        """On disk when this returns. Raises FileExistsError if there is one already."""
        descriptor = os.open(self._path(claim, number), os.O_WRONLY | os.O_CREAT | os.O_EXCL, self._mode)
        try:
            os.write(descriptor, json.dumps(asdict(claim), indent=1).encode() + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _last(self, own: Claim) -> Claim | None:
        number = max(self._numbers(own), default=None)
        return None if number is None else _read(self._path(own, number), own)


def _now() -> datetime:
    return datetime.now(UTC)


def _said(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _read(path: Path, own: Claim) -> Claim:
    """What cannot be read is somebody's all the same."""
    for _ in range(_PATIENCE):
        with suppress(ValueError, TypeError, PermissionError):
            claim = Claim(**json.loads(path.read_bytes()))
            claim.holds(_now())
            return claim
        time.sleep(_PAUSE)
    made = _said(datetime.fromtimestamp(path.stat().st_mtime, UTC))
    return replace(
        own, identity="", ledger=f"a claim that cannot be read ({path})", user="?", host="?", started_at=made
    )
