"""Start registry: which plan was started to which URL, by whom and from which ledger: in a folder that others may
share, or in the database that keeps the ledger.

Invariants: a start is one file or row, under a number that one start alone can take, and never changed; of a plan's
starts the last one counts. So of several that start the same plan at the same instant exactly one goes on. A record
names no recipient and no text.
"""

import hashlib
import json
import os
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from bulksms.ledger import DatabaseUrl, last_start, note_start
from bulksms.planning.ledger_history import LedgerHistory

HOLDS_FOR = timedelta(hours=24)
"""After that the same plan may be started from another ledger: some messages are the same every day."""
OWN = 0o600
"""The mode of files in a user's own folder; those in a shared one are for everybody, and have to be there."""
KEPT_FOR = timedelta(days=30)
_PATIENCE = 10
_PAUSE = 0.02
"""A claim that is just being written is waited for (seconds)."""


@dataclass(frozen=True, slots=True)
class StartRecord:
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
    despite: str | None = None
    """The other ledger's claim that held then, in words."""

    def __str__(self) -> str:
        return f"{self.ledger} on {self.host}, by {self.user}, {self.started_at}"

    def holds(self, now: datetime) -> bool:
        """Whether it still keeps other ledgers from starting the same."""
        return now - datetime.fromisoformat(self.started_at) < HOLDS_FOR


class _Noted(NamedTuple):
    """What is known of the starts of a plan: the highest number, the last start, and the time now."""

    number: int
    last: StartRecord | None
    now: datetime


class Starts(ABC):
    """The starts of plans that are noted in one place."""

    def earlier_start(self, own: StartRecord) -> StartRecord | None:
        """The claim that keeps `own` from being made: the plan's last one, if it holds and is another ledger's."""
        return _against(own, self._noted(own))

    def register(self, own: StartRecord, *, in_spite: bool = False) -> StartRecord | None:
        """Claim the plan; what keeps it from that, if anything does.

        `in_spite` of that it is made, and says so.
        """
        while True:
            noted = self._noted(own)
            against = _against(own, noted)
            if against is not None and not in_spite:
                return against
            despite = None if against is None else str(against)
            # If somebody else was quicker, theirs is looked at.
            if self._add(noted.number + 1, replace(own, started_at=_iso(noted.now), despite=despite)):
                return against

    @abstractmethod
    def _noted(self, own: StartRecord) -> _Noted:
        """What is known of the starts of this plan to this URL."""

    @abstractmethod
    def _add(self, number: int, claim: StartRecord) -> bool:
        """Note a start; False if there is one with this number. It is on disk when this returns."""


class DatabaseStarts(Starts):
    """Those in a database, whose clock says how old a start is. Raises LedgerError if it cannot be used."""

    def __init__(self, database: DatabaseUrl) -> None:
        self._database = database

    def _noted(self, own: StartRecord) -> _Noted:
        number, record, now = last_start(self._database, own.fingerprint, own.url)
        last = None if record is None else StartRecord(**json.loads(record))
        return _Noted(number, last, datetime.fromtimestamp(now, UTC))

    def _add(self, number: int, claim: StartRecord) -> bool:
        return note_start(self._database, claim.fingerprint, claim.url, number, json.dumps(asdict(claim)))


class StartRegistry(Starts):
    """Those in one folder, in files of this mode (POSIX). Raises OSError if the system refuses."""

    def __init__(self, folder: Path, mode: int = OWN) -> None:
        self._folder = folder
        self._mode = mode
        self.history = LedgerHistory(folder, mode, has_to_hold=mode != OWN)
        """What is noted of each ledger's runs in the same folder."""

    def ledgers_on(self, host: str) -> Iterator[Path]:
        """Where the ledgers lay that were started on this machine, each start once, the latest last."""
        for path in sorted(self._folder.glob("*.*.*.json"), key=lambda it: it.name.split(".")[-2]):
            with suppress(OSError, ValueError, TypeError):
                record = StartRecord(**json.loads(path.read_bytes()))
                if record.host == host:
                    yield Path(record.ledger)

    def forget_old(self) -> None:
        """Drop what is older than `KEPT_FOR`, and runs that are older than a ledger's history is kept."""
        self.history.forget_old()
        for path in self._folder.glob("*.json"):
            if path.name.startswith("ledger."):
                continue
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > KEPT_FOR.total_seconds():
                    path.unlink()

    def _path(self, own: StartRecord, number: int | str) -> Path:
        """Named by the fingerprint, the URL, and a number that counts the starts."""
        return self._folder / f"{own.fingerprint}.{hashlib.sha256(own.url.encode()).hexdigest()[:12]}.{number}.json"

    def _numbers(self, own: StartRecord) -> Iterator[int]:
        for path in self._folder.glob(self._path(own, "*").name):
            number = path.name.split(".")[-2]
            if number.isdecimal():
                yield int(number)

    def _noted(self, own: StartRecord) -> _Noted:
        return _Noted(max(self._numbers(own), default=0), self._last(own), _now())

    def _add(self, number: int, claim: StartRecord) -> bool:
        try:
            self._write(number, claim)
        except FileExistsError:
            return False
        return True

    def _write(self, number: int, claim: StartRecord) -> None:
        """Whole and on disk when this returns. Raises FileExistsError if there is one already.

        It gets its name when it is whole: a process that dies meanwhile leaves nothing that looks like a start.
        """
        path = self._path(claim, number)
        fresh = self._folder / f".{path.name}.{secrets.token_hex(4)}"
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, self._mode)
        try:
            try:
                os.write(descriptor, json.dumps(asdict(claim), indent=1).encode() + b"\n")
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            try:
                os.link(fresh, path)
            except FileExistsError:
                raise
            except OSError:  # a file system without hard links: the name is taken first, and filled at once
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, self._mode))
                fresh.replace(path)
        finally:
            with suppress(OSError):
                fresh.unlink()

    def _last(self, own: StartRecord) -> StartRecord | None:
        for number in sorted(self._numbers(own), reverse=True):
            if (record := _read(self._path(own, number), own)) is not None:
                return record
        return None


def _against(own: StartRecord, noted: _Noted) -> StartRecord | None:
    last = noted.last
    return None if last is None or last.identity == own.identity or not last.holds(noted.now) else last


def _now() -> datetime:
    return datetime.now(UTC)


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _read(path: Path, own: StartRecord) -> StartRecord | None:
    """A start; one that nobody has finished writing is nobody's (None), one that may not be read is somebody's."""
    for _ in range(_PATIENCE):
        try:
            claim = StartRecord(**json.loads(path.read_bytes()))
            claim.holds(_now())
        except (ValueError, TypeError):
            time.sleep(_PAUSE)
            continue
        except FileNotFoundError:
            return None
        except PermissionError:
            break
        return claim
    else:
        return None
    made = _iso(datetime.fromtimestamp(path.stat().st_mtime, UTC))
    return replace(
        own, identity="", ledger=f"a claim that cannot be read ({path})", user="?", host="?", started_at=made
    )
