"""Ledgers of earlier runs, in every state that a message can be in, and recipients."""

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

from bulksms.ledger import DraftRow, new_draft
from bulksms.model.message import State

Earlier = Callable[..., Path]


def keep_earlier(
    path: Path, people: Iterable[tuple[str, State]], *, columns: tuple[str, ...] = ("name",), doubt: str | None = None
) -> Path:
    """A ledger of people in these states; rows begin with 2, the column is the person's name."""
    rows = [
        DraftRow(row, f"CN={name},DC=x", f"dn:cn={name.lower()},dc=x", "Outage", f'{{"name": "{name}"}}', "GSM-7", 1)
        for row, (name, _) in enumerate(people, 2)
    ]
    with new_draft(path) as draft:
        draft.add(rows)
        draft.index()
        draft.keep(source="people.csv", columns=list(columns), fingerprint="", summary="{}", version="1")
    with closing(sqlite3.connect(path)) as connection, connection:
        for number, (_, state) in enumerate(people, 1):
            connection.execute("UPDATE message SET state = ?, doubt = ? WHERE number = ?", (state, doubt, number))
        connection.execute("UPDATE tally SET messages = (SELECT COUNT(*) FROM message WHERE state = tally.name)")
    return path
