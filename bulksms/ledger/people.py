"""People: who is who among the recipients of one plan, by all the identifiers that the directory told of.

Laws: an identifier belongs to one person. Nothing of it is kept: it lives in a temporary file of SQLite's own, so that
memory does not grow with the number of people, and is gone when it is closed.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from bulksms.ledger import file

_NOWHERE = Path("a temporary file")


class People:
    """A book of keys (`bulksms.recipient`): those of one person lead to the one that was there first."""

    def __init__(self) -> None:
        with file.speaking_of(_NOWHERE):
            self._connection = sqlite3.connect("", isolation_level=None)
            self._connection.executescript(
                "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
                "CREATE TABLE known (identifier TEXT PRIMARY KEY, person TEXT NOT NULL) WITHOUT ROWID;"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def same(self, keys: Sequence[str]) -> str:
        """The key by which the person with these keys is known; if by none of them yet, it is the first from now on.

        Raises LedgerTrouble if the temporary file cannot be written.
        """
        person = next(filter(None, map(self.known, keys)), keys[0])
        with file.speaking_of(_NOWHERE):
            self._connection.executemany(
                "INSERT INTO known VALUES (?, ?) ON CONFLICT DO NOTHING", [(key, person) for key in keys]
            )
        return person

    def known(self, key: str) -> str | None:
        """The key by which the owner of this one is known, if anybody is."""
        with file.speaking_of(_NOWHERE):
            found = self._connection.execute("SELECT person FROM known WHERE identifier = ?", (key,)).fetchone()
        return None if found is None else str(found[0])

    def also(self, unwanted: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        """Each (key, why), and the key by which its owner is known where that is another one."""
        for key, why in unwanted:
            yield key, why
            person = self.known(key)
            if person is not None and person != key:
                yield person, why
