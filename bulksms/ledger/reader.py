"""Reader: what a ledger says, read-only, also beside a living run and after a crash.

Law: a message found `sending` while no run lives is told as `unknown` (`crash`), which the next run makes it.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from bulksms.errors import LedgerTrouble
from bulksms.ledger import file
from bulksms.ledger.figures import Figures
from bulksms.ledger.history import Decision, read_decisions
from bulksms.ledger.lock import is_held
from bulksms.ledger.schema import MAY_HAVE_SENT_TWICE
from bulksms.ledger.selection import EVERYTHING, Selection
from bulksms.message import UNFINISHED, Reason, State


@dataclass(frozen=True, slots=True)
class Plan:
    """What was planned: the input, its other columns, the fingerprint, and the URL that it is bound to."""

    created_at: str
    input: str
    columns: tuple[str, ...]
    fingerprint: str
    identity: str
    """Its own from the moment it was made, wherever the file goes: two ledgers of the same messages differ in it."""
    summary: dict[str, Any]
    settings: dict[str, Any]
    url: str | None
    deadline: float | None
    """POSIX seconds; None until a run had one."""
    purged_at: str | None = None
    """When names and texts were removed for good; from then on nobody can be sent anything from this ledger."""


@dataclass(frozen=True, slots=True)
class Run:
    """One process that worked on the ledger. `ended_at` is None while it lives and after it died."""

    number: int
    started_at: str
    ended_at: str | None
    url: str
    version: str
    user: str
    host: str
    process: int
    settings: dict[str, Any]
    confirmed_by: str
    stopped: str | None
    elapsed_seconds: float | None
    settled: int | None


@dataclass(frozen=True, slots=True)
class Standing:
    """How many messages stand where; `is_living` says whether a run is working on them now."""

    counts: dict[State, int]
    may_have_sent_twice: int
    is_living: bool
    crashed: int = 0
    """Found `sending` while no run lives: told as `unknown`, and the next run has to make them so."""

    @property
    def left(self) -> int:
        """Those for which a run has something to do."""
        return self.unfinished + self.crashed

    def to_send(self, *, crashed_too: bool) -> int:
        """How many messages a run would send, `crashed_too` if those that a dead run had under way are sent again."""
        return self.counts[State.QUEUED] + (self.crashed if crashed_too else 0)

    @property
    def total(self) -> int:
        """All messages of the plan."""
        return sum(self.counts.values())

    @property
    def unfinished(self) -> int:
        """Those that a run still has to do something about."""
        return sum(self.counts[state] for state in UNFINISHED)


@dataclass(frozen=True, slots=True)
class Line:
    """One message as the ledger knows it, for the report."""

    row: int
    recipient: str
    state: State
    reason: str | None
    attempts: int
    http_status: int | None
    result_type: int | None
    error_code: str | None
    error: str | None
    warnings: tuple[str, ...]
    object_dn: str | None
    operation_id: str | None
    may_have_sent_twice: bool
    first_attempt_at: float | None
    finished_at: float | None
    latency_ms: float | None
    encoding: str | None
    segments: int | None
    text: str
    other_columns: dict[str, str]


class Told(NamedTuple):
    """Somebody who was told, or may have been; `row` is that of the ledger's input."""

    row: int
    recipient: str
    key: str
    state: State
    other_columns: dict[str, str]


TOLD = (State.ACCEPTED, State.UNKNOWN, State.PROCESSING, State.AWAITING_APPROVAL, State.SENDING)
"""The states of those who were told or may have been. Of those that are queued again, some may have been, too."""

# A doubt says that one of its attempts may have been processed. `+` reads the rows as they lie, in the input's order.
_WAS_TOLD = (
    f"(+message.state IN ({', '.join(repr(state.value) for state in TOLD)})"
    " OR +message.state = 'queued' AND message.doubt IS NOT NULL)"
)

_FOUND_SENDING = (State.UNKNOWN, Reason.CRASH)
"""What is told of a message that a dead run left `sending`; the next run makes it so."""

_LINE = """
SELECT input_row, recipient, state, reason, attempts, http_status, result_type, error_code, error, warnings, object_dn,
    operation_id, may_have_sent_twice, first_attempt_at, finished_at, latency_ms, encoding, segments, text,
    other_columns
FROM message
"""


class LedgerReader:
    """A ledger opened for reading; use it in a `with` block. Raises LedgerTrouble if it cannot be read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = file.open_read_only(path)
        self._was_living: bool | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    @contextmanager
    def one_moment(self) -> Iterator[None]:
        """Whatever is read in this block, and in blocks within it, is of one moment, also beside a living run."""
        if self._was_living is not None:
            yield
            return
        was_living = is_held(self.path)
        with file.speaking_of(self.path):
            self._connection.execute("BEGIN")
            self._connection.execute("SELECT input FROM plan").fetchone()  # the moment is that of the first look
        self._was_living = was_living or is_held(self.path)
        try:
            yield
        finally:
            self._was_living = None
            self._connection.execute("ROLLBACK")

    def _is_living(self) -> bool:
        return is_held(self.path) if self._was_living is None else self._was_living

    def figures(self) -> Figures:
        """What the attempts and messages add up to; best asked in `one_moment`."""
        return Figures(self.path, self._connection, is_living=self._is_living())

    def plan(self) -> Plan:
        """What was planned."""
        with file.speaking_of(self.path):
            row = self._connection.execute(
                "SELECT created_at, input, columns, fingerprint, identity, summary, settings, url, deadline, purged_at "
                "FROM plan"
            ).fetchone()
        created_at, source, columns, fingerprint, identity, summary, settings, url, deadline, purged_at = row
        kept = (json.loads(summary), json.loads(settings), url, deadline, purged_at)
        return Plan(created_at, source, tuple(json.loads(columns)), fingerprint, identity, *kept)

    def runs(self) -> list[Run]:
        """Every run on this ledger, the first one first. `elapsed_seconds` and `settled` are None until it ends."""
        with file.speaking_of(self.path):
            rows = self._connection.execute(
                "SELECT number, started_at, ended_at, url, version, operating_system_user, host, process, settings, "
                "confirmed_by, stopped, elapsed_seconds, settled FROM run ORDER BY number"
            ).fetchall()
        return [_run(row) for row in rows]

    def decisions(self) -> list[Decision]:
        """What people decided: sent again, settled by hand, purged; the first decision first."""
        with file.speaking_of(self.path):
            return read_decisions(self._connection)

    def standing(self) -> Standing:
        """How many messages stand where, in one look at the counters."""
        was_living = self._is_living()
        with file.speaking_of(self.path):
            tally = dict(self._connection.execute("SELECT name, messages FROM tally"))
        # A run that began or ended while we looked has not crashed.
        is_living = was_living or self._is_living()
        counts = {state: tally[state] for state in State}
        crashed = 0 if is_living else counts[State.SENDING]
        counts[State.UNKNOWN] += crashed
        counts[State.SENDING] -= crashed
        return Standing(counts, tally[MAY_HAVE_SENT_TWICE], is_living, crashed)

    def last_attempt_at(self) -> float | None:
        """When the last attempt began, as a POSIX time; None if there was none."""
        with file.speaking_of(self.path):
            (moment,) = self._connection.execute("SELECT MAX(began_at) FROM attempt").fetchone()
        return None if moment is None else float(moment)

    def reasons(self) -> list[tuple[State, str | None, int]]:
        """Messages by state and reason; this one counts rows."""
        was_living = self._is_living()
        with file.speaking_of(self.path):
            rows = self._connection.execute(
                "SELECT state, reason, COUNT(*) FROM message WHERE state NOT IN ('accepted', 'queued') "
                "GROUP BY state, reason ORDER BY state, reason"
            ).fetchall()
        counts = _as_told(rows, is_living=was_living or self._is_living())
        return [(state, reason, count) for (state, reason), count in counts.items()]

    def numbers_in(self, rows: Container[int]) -> dict[int, int]:
        """The messages of these rows of the input: {number: row}."""
        with file.speaking_of(self.path):
            found = self._connection.execute("SELECT number, input_row FROM message")
            return {number: row for number, row in found if row in rows}

    def numbers_of(self, key: str) -> list[int]:
        """The messages to the recipient with this key."""
        with file.speaking_of(self.path):
            found = self._connection.execute(
                "SELECT number FROM message WHERE recipient_key = ? ORDER BY number", (key,)
            )
            return [number for (number,) in found]

    def check_counters(self) -> None:
        """Count the rows themselves. Raises LedgerTrouble if they are not what the counters say."""
        with file.speaking_of(self.path), self.one_moment():
            rows = dict(self._connection.execute("SELECT state, COUNT(*) FROM message GROUP BY state").fetchall())
            tally = dict(self._connection.execute("SELECT name, messages FROM tally"))
        differing = [state for state in State if rows.get(state, 0) != tally[state]]
        if differing:
            raise LedgerTrouble(
                f"The ledger's counters differ from its rows in {', '.join(differing)}.",
                hint="Keep the ledger as it is and report this; `bulksms report` tells of each row.",
            )

    def lines(self, only: Selection = EVERYTHING) -> Iterator[Line]:
        """Every message in the input's order, or those that are selected."""
        was_living = self._is_living()
        with file.speaking_of(self.path):
            rows = self._connection.execute(f"{_LINE} {_where(only)} ORDER BY number")
            is_living = was_living or self._is_living()
            for row in rows:
                line = _line(row, is_living=is_living)
                if only.takes(line.state, line.reason):
                    yield line

    def lines_of(self, numbers: Iterable[int]) -> Iterator[Line]:
        """These messages, in the order in which they are asked for."""
        is_living = self._is_living()
        with file.speaking_of(self.path):
            for number in numbers:
                for row in self._connection.execute(f"{_LINE} WHERE number = ?", (number,)):
                    yield _line(row, is_living=is_living)

    def told(self) -> Iterator[Told]:
        """Everybody who was told or may have been, in the input's order; each once, by the first row that says so."""
        earlier = _WAS_TOLD.replace("message.", "earlier.")
        with file.speaking_of(self.path):
            for row, recipient, key, state, columns in self._connection.execute(
                "SELECT input_row, recipient, recipient_key, state, other_columns FROM message "  # noqa: S608 - constants
                f"WHERE {_WAS_TOLD} AND NOT EXISTS (SELECT 1 FROM message AS earlier WHERE {earlier} "
                "AND earlier.recipient_key = message.recipient_key AND earlier.number < message.number) "
                "ORDER BY number"
            ):
                yield Told(row, recipient, key, State(state), json.loads(columns))

    def has_told(self, key: str) -> bool:
        """Whether the recipient with this key is one of `told`."""
        with file.speaking_of(self.path):
            found = self._connection.execute(
                f"SELECT 1 FROM message WHERE recipient_key = ? AND {_WAS_TOLD} LIMIT 1",  # noqa: S608 - a constant
                (key,),
            )
            return found.fetchone() is not None


def read_standing(connection: sqlite3.Connection) -> Standing:
    """How many messages stand where, from inside a run."""
    tally = dict(connection.execute("SELECT name, messages FROM tally"))
    return Standing({state: tally[state] for state in State}, tally[MAY_HAVE_SENT_TWICE], is_living=True)


def _run(row: tuple[Any, ...]) -> Run:
    values = dict(zip(Run.__slots__, row, strict=True))
    values["settings"] = json.loads(values["settings"])
    return Run(**values)


def _line(row: tuple[Any, ...], *, is_living: bool) -> Line:
    values = dict(zip(Line.__slots__, row, strict=True))
    values["state"] = State(values["state"])
    if values["state"] is State.SENDING and not is_living:
        values["state"], values["reason"] = _FOUND_SENDING
    values["warnings"] = tuple(json.loads(values["warnings"] or "[]"))
    values["may_have_sent_twice"] = bool(values["may_have_sent_twice"])
    values["other_columns"] = json.loads(values["other_columns"])
    return Line(**values)


def _as_told(rows: Iterable[tuple[str, str | None, int]], *, is_living: bool) -> Counter[tuple[State, str | None]]:
    counts = Counter[tuple[State, str | None]]()
    for state, reason, count in rows:
        crashed = state == State.SENDING and not is_living
        counts[_FOUND_SENDING if crashed else (State(state), reason)] += count
    return counts


def _where(only: Selection) -> str:
    """The rows among which those of the selection are; read as they lie, in the input's order."""
    if not only.chosen:
        return ""
    states = only.states | ({State.SENDING} if State.UNKNOWN in only.states else set())
    return f"WHERE +state IN ({', '.join(repr(state.value) for state in sorted(states))})"
