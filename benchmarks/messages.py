"""Messages: the same synthetic people as a CSV file, as a ledger, and as requests."""

import csv
import json
import sqlite3
from contextlib import closing
from itertools import chain
from pathlib import Path

from bulksms.ledger import DraftRow, new_draft

PATH = "/api/directoryObjects/sendSms"
TOKEN = "sandbox"  # noqa: S105 - no secret: it opens nothing
HEADERS = {"Adm-Authorization": TOKEN}
ANSWER = json.dumps(
    {
        "resultType": 0,
        "innerMessages": [],
        "exception": None,
        "actualObjectDN": "CN=John Smith,CN=Users,DC=example,DC=com",
        "extraInfo": {},
    }
)
"""The documented answer to an accepted message (Adaxes REST API, "Send SMS")."""
COLUMNS = ("directoryObject", "name", "site")
TEXT = "((name)), outage since 02:40: the VPN gateway at ((site)) is down. Please join the incident bridge."
"""A text for all, with two of the columns."""

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


def recipient(number: int) -> str:
    """The DN of a person."""
    return f"CN=User {number},OU=Staff,DC=example,DC=com"


def text(number: int) -> str:
    """The text for a person."""
    return f"Hello {number}"


def body(number: int) -> dict[str, str]:
    """The request for a person, before it is encoded as JSON."""
    return {"directoryObject": recipient(number), "text": text(number)}


def require_accepted(accepted: int, messages: int) -> None:
    """Raises RuntimeError if a message was lost: a contender that loses messages has no speed."""
    if accepted != messages:
        raise RuntimeError(f"only {accepted} of {messages} messages were accepted")


def write_people(path: Path, count: int) -> None:
    """Write a CSV file of that many people."""
    people = ((recipient(number), f"User {number}", f"FRA{number % 9}") for number in range(count))
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(chain([COLUMNS], people))


def plan_ledger(path: Path, messages: int) -> None:
    """Make a ledger with that many queued messages."""
    with new_draft(path) as draft:
        draft.add(
            DraftRow(number + 2, recipient(number), f"dn:{number}", text(number), "{}", "GSM-7", 1)
            for number in range(messages)
        )
        draft.index()
        draft.keep(source="benchmark", columns=[], fingerprint=draft.fingerprint(), summary="{}", version="0")


def accept_first(path: Path, messages: int) -> None:
    """Make the first messages of a ledger `accepted`, as runs would have left them."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(_ACCEPT, (messages,))
        connection.execute(_EVIDENCE, (messages,))
        connection.execute(_TALLY, ("queued", "accepted"))
        connection.execute("UPDATE tally SET messages = ? WHERE name = 'attempts'", (messages,))
