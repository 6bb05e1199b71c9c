"""Recovery: how an opening sees what a dead run left, and what becomes of its messages.

While a run lives, the main file says `log_seen = 0` of it and the log says 1 (the log mark). So an opening that reads 0
of a run without an end, beside no log, lacks what was in the log: messages that look queued may have been sent.
Invariants: a message whose request may have left is never queued again unless the delivery mode says so. The main file
never holds a 1 while the log holds anything newer; therefore the log is folded into the file here only, and SQLite's
own checkpoints are off. `now` is a POSIX time in seconds.
"""

import sqlite3
from contextlib import suppress
from pathlib import Path

from bulksms.errors import LedgerError
from bulksms.ledger.records import Recovery
from bulksms.ledger.sqlite.batch import update_counters
from bulksms.ledger.sqlite.lock import log_path
from bulksms.ledger.sqlite.schema import LAST_RUN
from bulksms.model.message import Reason, State

_ADD_EVIDENCE = """
INSERT INTO attempt (message, attempt, run, began_at, evidence, error)
SELECT number, attempts, (SELECT COALESCE(MAX(number), 0) FROM run), began_at, 'crashed',
    'the run died while this attempt was under way' FROM message WHERE state = ?
"""
_QUEUE_AGAIN = """
UPDATE message SET state = ?, doubt = ?, began_at = NULL, error_code = 'crashed' WHERE state = ? AND tries < ?
"""
_MAKE_UNKNOWN = """
UPDATE message SET state = ?, reason = ?, doubt = ?, began_at = NULL, error_code = 'crashed', finished_at = ?
WHERE state = ?
"""


def recover(connection: sqlite3.Connection, recovery: Recovery, now: float) -> None:
    """Make of every message found `sending` what the evidence table says, and write its attempt down."""
    if not connection.execute(_ADD_EVIDENCE, (State.SENDING,)).rowcount:
        return
    again = 0
    if recovery.state is State.QUEUED:
        values = (State.QUEUED, Reason.CRASH, State.SENDING, recovery.max_attempts)
        again = connection.execute(_QUEUE_AGAIN, values).rowcount
    unknown = _make_unknown(connection, State.SENDING, now)
    update_counters(connection, {State.SENDING: -again - unknown, State.QUEUED: again, State.UNKNOWN: unknown})


def give_log_up(connection: sqlite3.Connection, now: float) -> None:
    """Make everything that a run without its log left `queued` unknown: any of it may have been sent."""
    unknown = _make_unknown(connection, State.QUEUED, now)
    update_counters(connection, {State.QUEUED: -unknown, State.UNKNOWN: unknown})
    connection.execute("UPDATE run SET log_seen = 1")


def withdraw(connection: sqlite3.Connection, state: State, reason: Reason, now: float) -> None:
    """Move everything `queued` to this state, or to `unknown` if an earlier attempt may have been processed."""
    doubtful = connection.execute(
        "UPDATE message SET state = ?, reason = doubt, finished_at = ? WHERE state = ? AND doubt IS NOT NULL",
        (State.UNKNOWN, now, State.QUEUED),
    ).rowcount
    certain = connection.execute(
        "UPDATE message SET state = ?, reason = ?, finished_at = ? WHERE state = ?", (state, reason, now, State.QUEUED)
    ).rowcount
    update_counters(connection, {State.QUEUED: -doubtful - certain, State.UNKNOWN: doubtful, state: certain})


def _make_unknown(connection: sqlite3.Connection, state: State, now: float) -> int:
    values = (State.UNKNOWN, Reason.CRASH, Reason.CRASH, now, state)
    return connection.execute(_MAKE_UNKNOWN, values).rowcount


FOLD_AT = 16_000_000
"""Bytes of log at which it is folded into the file."""
PATIENCE = 10_000
"""Milliseconds that a starting run waits for those who are reading the ledger."""
_LEAST = 32 + 24 + 512
"""Bytes of a log that holds anything: its header, and a frame of the smallest page."""


def is_log_lost(ledger: Path, connection: sqlite3.Connection) -> bool:
    """Whether the last run neither ended nor left its log; only true if no run lives."""
    row = connection.execute(LAST_RUN).fetchone()
    if row is None or row[1] or row[2]:
        return False
    try:
        return log_path(ledger).stat().st_size < _LEAST
    except OSError:
        return True


class LogMark:
    """The mark of one run; its methods are called between two transactions."""

    def __init__(self, ledger: Path, connection: sqlite3.Connection, run: int) -> None:
        self._name = ledger.name
        self._log = log_path(ledger)
        self._connection = connection
        self._run = run
        self._fold_at = FOLD_AT

    def begin(self) -> None:
        """Put the run's row with its 0 into the main file, and the 1 into the log. Raises LedgerError if it cannot."""
        self._connection.execute(f"PRAGMA busy_timeout = {PATIENCE}")
        if not self._fold():
            raise LedgerError(
                f"Somebody has been reading {self._name} for a long time, so the run cannot begin. Nothing was sent.",
                hint="Repeat the command when they have finished.",
            )
        self._connection.execute("PRAGMA busy_timeout = 0")
        self._set(1)

    def fold_if_large(self) -> None:
        """Fold the log into the main file when it has grown; a reader that keeps it from that delays it."""
        with suppress(OSError):
            size = self._log.stat().st_size
            if size >= self._fold_at:
                self._set(0)
                self._fold_at = FOLD_AT if self._fold() else size + FOLD_AT
                self._set(1)

    def _set(self, value: int) -> None:
        self._connection.execute("UPDATE run SET log_seen = ? WHERE number = ?", (value, self._run))

    def _fold(self) -> bool:
        """Whether all of the log is in the file, on disk. The log keeps its bytes: an empty one counts as lost."""
        busy, frames, folded = self._connection.execute("PRAGMA wal_checkpoint(FULL)").fetchone()
        return not busy and frames == folded
