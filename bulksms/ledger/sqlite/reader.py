"""Reader: what a ledger says, read-only, also beside a living run and after a crash.

Invariant: a message found `sending` while no run lives is reported as `unknown` (`crash`), which the next run makes it.
So is a message found `queued` if a dead run's log is missing, because it may have been sent. The database counts
what is in `Statistics`: what comes out is bounded by time, outcomes and runs, never by the number of messages.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import msgspec

from bulksms.errors import LedgerError
from bulksms.ledger.records import (
    EVIDENCE,
    POSSIBLY_SENT,
    AttemptHistogram,
    AuditEntry,
    Counts,
    LedgerSnapshot,
    MachineRecord,
    MessageRecord,
    OutcomeGroup,
    Period,
    Plan,
    PossibleRecipient,
    RunRecord,
)
from bulksms.ledger.selection import EVERYTHING, Selection
from bulksms.ledger.sqlite import database
from bulksms.ledger.sqlite.draft import count_queued
from bulksms.ledger.sqlite.lock import is_held
from bulksms.ledger.sqlite.operator_actions import read_audit, retried_by
from bulksms.ledger.sqlite.recovery import is_log_lost
from bulksms.ledger.sqlite.schema import ATTEMPTS_MADE, POSSIBLE_DUPLICATE
from bulksms.model.message import Reason, State

# A doubt says that one of its attempts may have been processed. `+` reads the rows as they lie, in the input's order.
_POSSIBLY_SENT = (
    f"(+message.state IN ({', '.join(repr(state.value) for state in POSSIBLY_SENT)})"
    " OR +message.state = 'queued' AND message.doubt IS NOT NULL)"
)

_AFTER_CRASH = (State.UNKNOWN, Reason.CRASH)
"""How a message is reported that a dead run left `sending`; the next run makes it so."""

_SENDING = frozenset({State.SENDING})
_SENDING_OR_QUEUED = frozenset({State.SENDING, State.QUEUED})

_REASONED = ", ".join(f"'{state}'" for state in State if state not in (State.ACCEPTED, State.QUEUED))
"""The states whose reasons are of interest; naming them lets the index find their rows."""

_LINE = """
SELECT input_row, recipient, state, reason, attempts, http_status, result_type, error_code, error, warnings, object_dn,
    operation_id, possible_duplicate, first_attempt_at, finished_at, latency_ms, encoding, segments, text,
    other_columns
FROM message
"""


class SqliteReader:
    """A ledger opened for reading; use it in a `with` block. Raises LedgerError if it cannot be read.

    With a `connection` it reads by that one, as a run's opening does, and closes nothing.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection | None = None) -> None:
        self.path = path
        self._connection = connection or database.open_read_only(path)
        self._was_living: bool | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    @contextmanager
    def one_moment(self) -> Iterator[None]:
        """Whatever is read in this block, and in blocks within it, is of one moment, also beside a living run."""
        if self._was_living is not None:
            yield
            return
        was_living = is_held(self.path)
        with database.reading(self.path):
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

    def _in_doubt(self, *, is_living: bool) -> frozenset[State]:
        """The states that are reported as `unknown`, because a dead run may have sent such messages."""
        if is_living:
            return frozenset()
        return _SENDING_OR_QUEUED if is_log_lost(self.path, self._connection) else _SENDING

    def statistics(self) -> "Statistics":
        """What the attempts and messages add up to; best asked in `one_moment`."""
        return Statistics(self.path, self._connection, is_living=self._is_living())

    def plan(self) -> Plan:
        """What was planned."""
        with database.reading(self.path):
            row = self._connection.execute(
                "SELECT created_at, input, columns, fingerprint, identity, summary, settings, url, deadline, purged_at "
                "FROM plan"
            ).fetchone()
            created_at, source, columns, fingerprint, identity, summary, settings, url, deadline, purged_at = row
            kept = (_object(summary), _object(settings), url, deadline, _time(purged_at))
            if deadline is not None:
                database.require_moment(deadline)
            return Plan(
                str(_time(created_at)), source, tuple(map(str, json.loads(columns))), fingerprint, identity, *kept
            )

    def runs(self) -> list[RunRecord]:
        """Every run on this ledger, the first one first. `elapsed_seconds` and `settled` are None until it ends."""
        with database.reading(self.path):
            rows = self._connection.execute(
                "SELECT number, started_at, ended_at, url, version, operating_system_user, host, process, settings, "
                "confirmed_by, stopped, elapsed_seconds, settled FROM run ORDER BY number"
            ).fetchall()
            return [_run(row) for row in rows]

    def machines(self) -> list[MachineRecord]:
        """See the contract; a file is one machine's."""
        return []

    def operator_actions(self) -> list[AuditEntry]:
        """What people decided: sent again, settled by hand, purged; the first decision first."""
        with database.reading(self.path):
            return read_audit(self._connection)

    def counts(self) -> Counts:
        """The number of messages in each state, read from the counters at once."""
        was_living = self._is_living()
        with database.reading(self.path):
            tally = dict(self._connection.execute("SELECT name, messages FROM tally"))
            # A run that began or ended while we looked has not crashed.
            is_living = was_living or self._is_living()
            in_doubt = self._in_doubt(is_living=is_living)
            counts = {state: int(tally[state]) for state in State}
            crashed = sum(counts[state] for state in in_doubt)
            counts[State.UNKNOWN] += crashed
            counts.update(dict.fromkeys(in_doubt, 0))
            return Counts(
                counts,
                int(tally[POSSIBLE_DUPLICATE]),
                is_living,
                crashed,
                attempts=int(tally[ATTEMPTS_MADE]),
                is_log_lost=State.QUEUED in in_doubt,
            )

    def snapshot(self) -> LedgerSnapshot:
        """See the contract."""
        with self.one_moment():
            actions = tuple(self.operator_actions())
            return LedgerSnapshot(self.plan(), tuple(self.runs()), self.counts(), self.last_attempt_at(), actions)

    def last_attempt_at(self) -> float | None:
        """When the last attempt began, as a POSIX time; None if there was none."""
        with database.reading(self.path):
            (moment,) = self._connection.execute("SELECT MAX(began_at) FROM attempt").fetchone()
            return None if moment is None else float(moment)

    def reasons(self) -> list[tuple[State, str | None, int]]:
        """Messages by state and reason; this one counts rows."""
        was_living = self._is_living()
        with database.reading(self.path):
            rows = self._connection.execute(
                f"SELECT state, reason, COUNT(*) FROM message WHERE state IN ({_REASONED}) "  # noqa: S608 - constants
                "GROUP BY state, reason ORDER BY state, reason"
            ).fetchall()
            in_doubt = self._in_doubt(is_living=was_living or self._is_living())
            if State.QUEUED in in_doubt:
                rows += self._connection.execute("SELECT name, NULL, messages FROM tally WHERE name = 'queued'")
            found = Counter[tuple[State, str | None]]()
            for state, reason, count in rows:
                found[_AFTER_CRASH if state in in_doubt else (State(state), reason)] += int(count)
            return [(state, reason, count) for (state, reason), count in found.items()]

    def numbers_in(self, rows: Container[int]) -> dict[int, int]:
        """The messages of these rows of the input: {number: row}."""
        with database.reading(self.path):
            found = self._connection.execute("SELECT number, input_row FROM message")
            return {number: row for number, row in found if row in rows}

    def numbers_of(self, key: str) -> list[int]:
        """The messages to the recipient with this key."""
        with database.reading(self.path):
            found = self._connection.execute(
                "SELECT number FROM message WHERE recipient_key = ? ORDER BY number", (key,)
            )
            return [number for (number,) in found]

    def check_counters(self) -> None:
        """Count the rows themselves. Raises LedgerError if they are not what the counters say."""
        with database.reading(self.path), self.one_moment():
            rows = dict(self._connection.execute("SELECT state, COUNT(*) FROM message GROUP BY state").fetchall())
            tally = dict(self._connection.execute("SELECT name, messages FROM tally"))
        differing = [state for state in State if rows.get(state, 0) != tally[state]]
        if differing:
            raise LedgerError(
                f"The ledger's counters differ from its rows in {', '.join(differing)}.",
                hint="Keep the ledger as it is and report this; `bulksms report` tells of each row.",
            )

    def messages(self, only: Selection = EVERYTHING) -> Iterator[MessageRecord]:
        """Every message in the input's order, or those that are selected."""
        was_living = self._is_living()
        with database.reading(self.path):
            rows = self._connection.execute(f"{_LINE} {_where(only)} ORDER BY number")
            in_doubt = self._in_doubt(is_living=was_living or self._is_living())
            if not only.chosen:
                for row in rows:
                    yield _line(row, in_doubt)
                return
            for row in rows:
                line = _line(row, in_doubt)
                if only.takes(line.state, line.reason):
                    yield line

    def messages_of(self, numbers: Iterable[int]) -> Iterator[MessageRecord]:
        """These messages, in the order in which they are asked for."""
        with database.reading(self.path):
            in_doubt = self._in_doubt(is_living=self._is_living())
            for number in numbers:
                for row in self._connection.execute(f"{_LINE} WHERE number = ?", (number,)):
                    yield _line(row, in_doubt)

    def possible_recipients(self) -> Iterator[PossibleRecipient]:
        """Everybody who was, or may have been, sent a message, in the input's order; each once, by the first row that
        says so.
        """
        earlier = _POSSIBLY_SENT.replace("message.", "earlier.")
        with database.reading(self.path):
            for row, recipient, key, state, columns in self._connection.execute(
                "SELECT input_row, recipient, recipient_key, state, other_columns FROM message "  # noqa: S608 - constants
                f"WHERE {_POSSIBLY_SENT} AND NOT EXISTS (SELECT 1 FROM message AS earlier WHERE {earlier} "
                "AND earlier.recipient_key = message.recipient_key AND earlier.number < message.number) "
                "ORDER BY number"
            ):
                yield PossibleRecipient(row, recipient, key, State(state), json.loads(columns))

    def possibly_sent(self) -> Iterator[tuple[str, str]]:
        """See the contract."""
        with database.reading(self.path):
            # Not `yield from`, which would close the cursor of a generator that nobody reads to its end: by then the
            # connection may be closed, and that is an error.
            for recipient_key, text in self._connection.execute(  # noqa: UP028
                f"SELECT recipient_key, text FROM message WHERE {_POSSIBLY_SENT} AND recipient_key > ''"  # noqa: S608
            ):
                yield recipient_key, text

    def count_queued(
        self, sent: Iterable[tuple[str, str]], again: Selection | None = None, numbers: Sequence[int] | None = None
    ) -> int:
        """See the contract."""
        with database.reading(self.path):
            retried = None if again is None else retried_by(self._connection, again, numbers)
            return count_queued(self._connection, sent, retried)

    def has_possible_recipients(self, key: str) -> bool:
        """Whether the recipient with this key is one of `possible_recipients`."""
        with database.reading(self.path):
            found = self._connection.execute(
                f"SELECT 1 FROM message WHERE recipient_key = ? AND {_POSSIBLY_SENT} LIMIT 1",  # noqa: S608 - a constant
                (key,),
            )
            return found.fetchone() is not None


def read_counts(connection: sqlite3.Connection) -> Counts:
    """The number of messages in each state, from inside a run."""
    tally = dict(connection.execute("SELECT name, messages FROM tally"))
    counts = {state: tally[state] for state in State}
    return Counts(counts, tally[POSSIBLE_DUPLICATE], is_living=True, attempts=tally[ATTEMPTS_MADE])


def _run(row: tuple[Any, ...]) -> RunRecord:
    values = dict(zip(RunRecord.__slots__, row, strict=True))
    values["settings"] = _object(values["settings"])
    for name in ("started_at", "ended_at"):
        _time(values[name])
    return RunRecord(**values)


def _time(text: str | None) -> str | None:
    """A time as it is written. Raises ValueError if it is none."""
    if text is not None:
        datetime.fromisoformat(text)
    return text


def _object(text: str) -> dict[str, Any]:
    """A JSON object. Raises ValueError for any other text."""
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("a value is not a JSON object")  # noqa: TRY004 - the text is wrong, not its type
    return value


def _line(row: tuple[Any, ...], in_doubt: frozenset[State]) -> MessageRecord:
    values = list(row)
    state = _STATES.get(row[_STATE]) or State(row[_STATE])
    values[_STATE] = state
    if state in in_doubt:
        values[_STATE], values[_REASON] = _AFTER_CRASH
    values[_WARNINGS] = tuple(json.loads(row[_WARNINGS])) if row[_WARNINGS] else ()
    values[_POSSIBLE_DUPLICATE] = bool(row[_POSSIBLE_DUPLICATE])
    values[_OTHER_COLUMNS] = _columns(row[_OTHER_COLUMNS])
    if (first := row[_FIRST_ATTEMPT_AT]) is not None:
        database.require_moment(first)
    if (finished := row[_FINISHED_AT]) is not None:
        database.require_moment(finished)
    if (latency := row[_LATENCY]) is not None:
        database.require_moment(abs(latency))  # no answer takes longer; a clock that went back is no damage
    return MessageRecord._make(values)


_STATES = {state.value: state for state in State}
_STATE, _REASON, _WARNINGS, _POSSIBLE_DUPLICATE, _OTHER_COLUMNS = map(
    MessageRecord._fields.index, ("state", "reason", "warnings", "possible_duplicate", "other_columns")
)
_FIRST_ATTEMPT_AT, _FINISHED_AT, _LATENCY = map(
    MessageRecord._fields.index, ("first_attempt_at", "finished_at", "latency_ms")
)
_decode_columns = msgspec.json.Decoder(dict[str, str]).decode


def _columns(text: str) -> dict[str, str]:
    """The input's other columns. Raises ValueError for what is no JSON object."""
    try:
        return _decode_columns(text)
    except msgspec.DecodeError:
        return _object(text)


def _where(only: Selection) -> str:
    """The rows among which those of the selection are; read as they lie, in the input's order."""
    if not only.chosen:
        return ""
    states = only.states | (_SENDING_OR_QUEUED if State.UNKNOWN in only.states else set())
    return f"WHERE +state IN ({', '.join(repr(state.value) for state in sorted(states))})"


GROUPS = 40
"""Groups that are listed; the messages in others are only counted."""

# Under way there is no line of evidence yet. After a crash those attempts prove as much as any other that was lost.
_ATTEMPTS = """
(SELECT run, began_at, ended_at, evidence FROM attempt
    UNION ALL SELECT (SELECT MAX(number) FROM run), began_at, NULL, 'sending' FROM message WHERE state = 'sending'
) AS every
"""
_PERIODS = f"""
SELECT run, MIN(began_at), MAX(COALESCE(ended_at, began_at)), COUNT(*) FROM {_ATTEMPTS} GROUP BY run ORDER BY run
"""  # noqa: S608 - constants
_BEGUN = f"""
SELECT CAST((began_at - ?) / ? AS INTEGER) AS slot, COUNT(*) FROM {_ATTEMPTS} WHERE run = ? GROUP BY slot
"""  # noqa: S608 - constants
_ENDED = f"""
SELECT CAST((COALESCE(ended_at, began_at) - ?) / ? AS INTEGER) AS slot, evidence, COUNT(*)
FROM {_ATTEMPTS} WHERE run = ? GROUP BY slot, evidence
"""  # noqa: S608 - constants
_ANSWER_TIMES = """
SELECT CAST(elapsed_ms AS INTEGER) AS milliseconds, COUNT(*) FROM attempt WHERE http_status IS NOT NULL
GROUP BY milliseconds ORDER BY milliseconds
"""
# What differs from recipient to recipient by name only is the same outcome. Of what was skipped every row has its own
# words, and they are ours.
_OUTCOMES = """
SELECT state, reason, http_status, error_code,
    CASE WHEN state = 'skipped' THEN NULL
        ELSE REPLACE(REPLACE(error, recipient, '…'), COALESCE(object_dn, ''), '…') END AS words,
    warnings, COUNT(*) AS messages, MIN(input_row) AS first_row
FROM message GROUP BY state, reason, http_status, error_code, words, warnings
ORDER BY messages DESC, first_row LIMIT ?
"""


def _period(run: int, began_at: float, ended_at: float, attempts: int) -> Period:
    """Raises ValueError, or TypeError, if these are no moments, one after the other."""
    if database.require_moment(began_at) > database.require_moment(ended_at):
        raise ValueError(f"no run has attempts from {began_at} to {ended_at}")
    return Period(run, began_at, ended_at, attempts)


class Statistics:
    """What a ledger's attempts and messages add up to. Its methods raise LedgerError if it cannot be read."""

    def __init__(self, path: Path, connection: sqlite3.Connection, *, is_living: bool) -> None:
        self._path = path
        self._connection = connection
        self._is_living = is_living

    def periods(self) -> list[Period]:
        """Each run that made an attempt, the first one first."""
        with database.reading(self._path):
            return [_period(*row) for row in self._connection.execute(_PERIODS)]

    def attempt_histogram(self, run: int, since: float, seconds: float) -> AttemptHistogram:
        """What happened in each slot of so many `seconds` from `since` (a POSIX time)."""
        with database.reading(self._path):
            begun = dict(self._connection.execute(_BEGUN, (since, seconds, run)).fetchall())
            rows = self._connection.execute(_ENDED, (since, seconds, run)).fetchall()
            ended: dict[tuple[int, str], int] = {}
            for slot, evidence, count in rows:
                if slot < 0:
                    raise ValueError("an attempt ended before the first one began")
                if evidence not in EVIDENCE and evidence != State.SENDING:
                    raise ValueError(f"no attempt proves {evidence!r}")
                proved = "crashed" if evidence == "sending" and not self._is_living else evidence
                if proved != "sending":
                    ended[slot, proved] = ended.get((slot, proved), 0) + count
            return AttemptHistogram(begun, ended)

    def answer_times(self) -> list[tuple[int, int]]:
        """(milliseconds, how many attempts were answered in that time), the quickest first."""
        with database.reading(self._path):
            return [(int(milliseconds), count) for milliseconds, count in self._connection.execute(_ANSWER_TIMES)]

    def outcomes(self) -> list[OutcomeGroup]:
        """The messages by outcome and words, the largest group first, at most GROUPS of them."""
        with database.reading(self._path):
            return [self._outcome(row) for row in self._connection.execute(_OUTCOMES, (GROUPS,))]

    def one_text(self) -> str | None:
        """The text of all messages if it is the same, else None."""
        with database.reading(self._path):
            first, last = self._connection.execute("SELECT MIN(text), MAX(text) FROM message").fetchone()
        return first if first == last else None

    def _outcome(self, row: tuple[Any, ...]) -> OutcomeGroup:
        state, reason, http_status, error_code, words, warnings, messages, first_row = row
        if state == State.SENDING and not self._is_living:
            state, reason = State.UNKNOWN, Reason.CRASH
        server_warnings = tuple(json.loads(warnings or "[]"))
        return OutcomeGroup(State(state), reason, http_status, error_code, words, server_warnings, messages, first_row)
