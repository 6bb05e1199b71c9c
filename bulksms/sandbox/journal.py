"""Journal: what the simulator received, what it answered, and how a ledger is held against that.

Invariant: a request is in the journal before a byte of its answer leaves; a journal file has each line flushed to the
operating system, so that another process can judge a killed one. `delivered` says whether the phone would ring for this
request: decided when it arrives, never changed. In a comparison each state allows a number of deliveries, `_ALLOWED`;
the rows of one recipient (and text, if texts are given) together allow the sum, so that a duplicate beside its original
is no difference.
"""

import os
from array import array
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from types import MappingProxyType
from typing import Self

import msgspec

from bulksms.model.message import State


class Received(msgspec.Struct, frozen=True, tag="send", tag_field="kind"):
    """One `sendSms` request.

    `at` is a POSIX time (UTC) and `clock` the monotonic time of its arrival, both in seconds. `recipient` and `text`
    are empty if the body was invalid. `authorized` says whether its token was valid, `fault` which
    one was played, `delivered` whether the message went out, `status` which status was answered (None: none).
    """

    number: int
    at: float
    clock: float
    recipient: str
    text: str
    authorized: bool
    fault: str | None
    delivered: bool
    status: int | None


class Called(msgspec.Struct, frozen=True, tag="call", tag_field="kind"):
    """Any other request.

    `path` is without the base and without its query, which may hold a secret; `operation` is the id of the polled
    operation, which is left out of the path.
    """

    at: float
    clock: float
    method: str
    path: str
    status: int | None
    operation: str | None = None


class _Tally:
    """The requests and deliveries of one text to one recipient."""

    __slots__ = ("delivered", "requests", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.requests = 0
        self.delivered = 0


_LINE = msgspec.json.Decoder(Received | Called)


class Journal:
    """Everything that the simulator received, in memory as counts and, if asked for, as entries and as a file."""

    def __init__(self, file: Path | None = None, *, keep_entries: bool = True) -> None:
        """`keep_entries=False` keeps counts and times only, for long runs; a `file` is appended to once opened."""
        self.received: list[Received] = []
        """Each `sendSms` request, if entries are kept."""
        self.calls: Counter[str] = Counter()
        """How many other requests, as in `calls["POST /api/auth"]` and `calls["GET /api/runningOperations/"]`."""
        self.called: list[Called] = []
        """Each other request, if entries are kept."""
        self.total = 0
        """How many `sendSms` requests."""
        self.deliveries = 0
        """How many of them went out."""
        self.unauthorized = 0
        """How many of them came with a bad token, or none."""
        self.times = array("d")
        """Monotonic time of each `sendSms` request, ascending."""
        self.in_flight = 0
        """`sendSms` requests being worked on now."""
        self.max_in_flight = 0
        self._keep = keep_entries
        self._tallies: dict[str, list[_Tally]] = {}
        self._path = file
        self._file: FileIO | None = None

    @classmethod
    def read(cls, path: Path) -> Self:
        """The journal in a file, without a last line that was cut off.

        Raises `ValueError` for any other line that is not a journal's.
        """
        journal = cls()
        whole, _, _ = path.read_bytes().rpartition(b"\n")
        for line in whole.splitlines():
            entry = _LINE.decode(line)
            if isinstance(entry, Received):
                journal.add(entry)
            else:
                journal.add_call(entry)
        return journal

    def add(self, entry: Received) -> None:
        """Record a `sendSms` request."""
        self.total += 1
        self.unauthorized += not entry.authorized
        self.times.append(entry.clock)
        tally = self._tally(entry.recipient, entry.text)
        tally.requests += 1
        if entry.delivered:
            tally.delivered += 1
            self.deliveries += 1
        if self._keep:
            self.received.append(entry)
        self._write(entry)

    def add_call(self, entry: Called) -> None:
        """Record any other request."""
        self.calls[f"{entry.method} {entry.path}"] += 1
        if self._keep:
            self.called.append(entry)
        self._write(entry)

    def requests(self, recipient: str, text: str | None = None) -> int:
        """How many requests came for a recipient (with this text)."""
        return sum(tally.requests for tally in self._of(recipient, text))

    def delivered(self, recipient: str, text: str | None = None) -> int:
        """How often the recipient's phone would have rung (with this text)."""
        return sum(tally.delivered for tally in self._of(recipient, text))

    def texts(self, recipient: str) -> list[str]:
        """The different texts that came for a recipient, in order of arrival."""
        return [tally.text for tally in self._tallies.get(recipient, ())]

    def recipients(self) -> Iterator[str]:
        """Each recipient that a request came for, in order of arrival."""
        return iter(self._tallies)

    def between(self, start: float, end: float) -> int:
        """How many `sendSms` requests arrived in [start, end) of the monotonic clock."""
        return bisect_left(self.times, end) - bisect_left(self.times, start)

    def busiest(self, seconds: float) -> int:
        """The most `sendSms` requests within any interval of so many seconds."""
        return max((self.between(time, time + seconds) for time in self.times), default=0)

    def open(self) -> None:
        """Open the file, if one was named; raises `OSError`."""
        if self._path is not None and self._file is None:
            self._file = _open(self._path)

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _of(self, recipient: str, text: str | None) -> Iterator[_Tally]:
        return (tally for tally in self._tallies.get(recipient, ()) if text is None or tally.text == text)

    def _tally(self, recipient: str, text: str) -> _Tally:
        tallies = self._tallies.setdefault(recipient, [])
        for tally in tallies:
            if tally.text == text:
                return tally
        tallies.append(_Tally(text))
        return tallies[-1]

    def _write(self, entry: Received | Called) -> None:
        if self._file is not None:
            self._file.write(msgspec.json.encode(entry) + b"\n")


def _open(path: Path) -> FileIO:
    """An unbuffered file to append to, for its owner's eyes only: it holds names and texts.

    A last line that an earlier server could not finish is cut off first.
    """
    file = FileIO(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "a+")
    if path.is_file():
        file.seek(0)
        file.truncate(file.readall().rfind(b"\n") + 1)
    return file


Outcome = tuple[str, str, bool] | tuple[str, str, bool, str]
"""recipient, state, possible_duplicate, and optionally the text. Give the text with all rows or with none."""

_NOT_SENT = (0, 0)
_PERHAPS = (0, 1)
_ALLOWED: Mapping[State, tuple[int, int]] = MappingProxyType(
    {
        State.ACCEPTED: (1, 1),
        State.PROCESSING: _PERHAPS,
        State.SENDING: _PERHAPS,
        State.UNKNOWN: _PERHAPS,
        State.AWAITING_APPROVAL: _NOT_SENT,
        State.FAILED: _NOT_SENT,
        State.QUEUED: _NOT_SENT,
        State.EXPIRED: _NOT_SENT,
        State.CANCELLED: _NOT_SENT,
        State.SKIPPED: _NOT_SENT,
    }
)
"""The least and the most deliveries that a state allows; `possible_duplicate` removes the upper bound."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How the ledger and the journal differ. The first four are differences, in messages; the rest is information."""

    missing: int = 0
    """Accepted in the ledger, but never delivered."""
    denied: int = 0
    """Delivered, though the ledger says that it was certainly not sent."""
    repeated: int = 0
    """Delivered more often than allowed, and the ledger does not admit it."""
    strange: int = 0
    """Delivered to a recipient, or with a text, that the ledger does not know."""

    requests: int = 0
    delivered: int = 0
    unknown_delivered: int = 0
    """Unknown in the ledger, and delivered."""
    unknown_not_delivered: int = 0
    """Unknown in the ledger, and not delivered."""
    admitted_repeats: int = 0
    """Delivered more than once, and the ledger says that it may have been."""

    @property
    def agrees(self) -> bool:
        """Whether the ledger tells the truth."""
        return not (self.missing or self.denied or self.repeated or self.strange)

    def line(self) -> str:
        """One line for a person."""
        received = f"{_many(self.requests, 'request')} received, {_many(self.delivered, 'message')} processed"
        if self.agrees:
            return ", ".join([f"Rehearsal: {received}: server log and ledger agree", *self._information()])
        return f"Rehearsal: {received}: SERVER LOG AND LEDGER DIFFER: {', '.join(self._differences())}"

    def _information(self) -> list[str]:
        return _counted(
            (self.unknown_delivered, "unknown and processed"),
            (self.unknown_not_delivered, "unknown and not processed"),
            (self.admitted_repeats, "processed more than once, as the ledger says they may have been"),
        )

    def _differences(self) -> list[str]:
        return _counted(
            (self.missing, "accepted but never processed"),
            (self.denied, "processed though the ledger says not sent"),
            (self.repeated, "processed too often"),
            (self.strange, "processed but not in the ledger"),
        )


class _Expected:
    """What the rows of one recipient (and text) allow in total."""

    __slots__ = ("admitted", "least", "most", "unknown")

    def __init__(self) -> None:
        self.least = 0
        self.most = 0
        self.unknown = 0
        self.admitted = False

    def allow(self, state: State, possible_duplicate: bool) -> None:
        least, most = _ALLOWED[state]
        self.least += least
        self.most += most
        self.unknown += state is State.UNKNOWN
        self.admitted |= possible_duplicate


def compare(journal: Journal, outcomes: Iterable[Outcome]) -> Comparison:
    """Compare the messages of a ledger with the requests that arrived for them."""
    expected: defaultdict[tuple[str, str | None], _Expected] = defaultdict(_Expected)
    for recipient, state, possible_duplicate, *text in outcomes:
        expected[recipient, text[0] if text else None].allow(State(state), possible_duplicate)
    counts: defaultdict[str, int] = defaultdict(int)
    known = 0
    for (recipient, of_text), rows in expected.items():
        delivered = journal.delivered(recipient, of_text)
        known += delivered
        _judge(rows, delivered, counts)
    strange = journal.deliveries - known
    return Comparison(**counts, strange=strange, requests=journal.total, delivered=journal.deliveries)


def _judge(rows: _Expected, delivered: int, counts: defaultdict[str, int]) -> None:
    """Add the differences of one recipient to the counts."""
    if delivered < rows.least:
        counts["missing"] += rows.least - delivered
    elif delivered > rows.most:
        if rows.admitted:
            counts["admitted_repeats"] += 1
        elif rows.most:
            counts["repeated"] += 1
        else:
            counts["denied"] += 1
    unknown_delivered = min(rows.unknown, max(0, delivered - rows.least))
    counts["unknown_delivered"] += unknown_delivered
    counts["unknown_not_delivered"] += rows.unknown - unknown_delivered


def _counted(*parts: tuple[int, str]) -> list[str]:
    return [f"{count:,} {words}" for count, words in parts if count]


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
