"""Statistics: a ledger in numbers that a chart or a table of a few lines can show.

Invariant: the database counts; what comes out is bounded by time, outcomes and runs, never by the number of messages.
"""

import json
import sqlite3
from pathlib import Path
from typing import Any

from bulksms.ledger.records import EVIDENCE, AttemptHistogram, OutcomeGroup, Period
from bulksms.ledger.sqlite import database
from bulksms.model.message import Reason, State

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
