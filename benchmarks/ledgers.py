"""Ledgers: made for a benchmark, with so many messages, of which the first may be sent already."""

import sqlite3
from contextlib import closing
from pathlib import Path

from benchmarks.wire import recipient, text
from bulksms.ledger.draft import Draft, DraftRow

_ACCEPT = """
UPDATE message SET state = 'accepted', attempts = 1, tries = 1, http_status = 200, result_type = 0,
    object_dn = recipient, first_attempt_at = 1764000000.0, finished_at = 1764000000.2, latency_ms = 200.0
WHERE number <= ?
"""
_EVIDENCE = """
INSERT INTO attempt (message, attempt, run, began_at, ended_at, headers_sent, http_status, evidence, elapsed_ms)
SELECT number, 1, 1, first_attempt_at, finished_at, 1, 200, 'succeeded', latency_ms FROM message WHERE number <= ?
"""
_TALLY = "UPDATE tally SET messages = (SELECT COUNT(*) FROM message WHERE state = tally.name) WHERE name IN (?, ?)"


def plan_ledger(path: Path, messages: int) -> None:
    """A ledger with so many queued messages."""
    with Draft(path) as draft:
        draft.add(
            DraftRow(number + 2, recipient(number), f"dn:{number}", text(number), "{}", "GSM-7", 1)
            for number in range(messages)
        )
        draft.index()
        draft.keep(source="benchmark", columns=[], fingerprint=draft.fingerprint(), summary="{}", version="0")


def accept_first(path: Path, messages: int) -> None:
    """Make so many messages `accepted`, as runs would have left them."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(_ACCEPT, (messages,))
        connection.execute(_EVIDENCE, (messages,))
        connection.execute(_TALLY, ("queued", "accepted"))
