"""SqliteDraft: a plan while it is written, and by what its messages are compared: fingerprint and overlap.

Invariants: a ledger under its own name is always complete, so a draft has a name of its own until everything in it is
on disk; it never overwrites a ledger. Rows pass through in large batches and are not held in memory.
"""

import hashlib
import json
import os
import random
import secrets
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from itertools import chain
from pathlib import Path
from typing import Any, Self

from bulksms.errors import LedgerError, PlanError
from bulksms.ledger.records import DraftRow, QueuedRow, Repeated
from bulksms.ledger.sqlite import database
from bulksms.ledger.sqlite.schema import ATTEMPTS_MADE, POSSIBLE_DUPLICATE, timestamp
from bulksms.model.message import Reason, State
from bulksms.model.recipient import IdentifierKind
from bulksms.system import SYSTEM

BATCH = 2_000
"""Rows that are passed on together: enough that passing does not show, too few to be felt in memory."""

STATEMENT = 100
"""Rows to one INSERT: seven values each, and old SQLite libraries take no more than 999."""

TRIES = 20
"""Looks at a random place for examples: what is left out lies between, and a row can be found twice."""


# Column names out of the class above, no value from outside.
_INSERT = f"""
INSERT INTO message ({", ".join(DraftRow._fields)})
VALUES ({", ".join("?" for _ in DraftRow._fields)})
"""  # noqa: S608

_QUEUED_FIELDS = DraftRow._fields[:7]
_QUEUED = f"({', '.join('?' for _ in _QUEUED_FIELDS)}, 'queued')"
# As above: names of columns and question marks.
_INSERT_QUEUED = f"INSERT INTO message ({', '.join(_QUEUED_FIELDS)}, state) VALUES {_QUEUED}"  # noqa: S608
_INSERT_MANY_QUEUED = _INSERT_QUEUED + f", {_QUEUED}" * (STATEMENT - 1)

_REPEATED = """
SELECT number, input_row, first_row, first_row_with_text, number > first_with_text FROM (
    SELECT number, input_row,
        FIRST_VALUE(number) OVER person AS first, FIRST_VALUE(input_row) OVER person AS first_row,
        FIRST_VALUE(number) OVER same AS first_with_text, FIRST_VALUE(input_row) OVER same AS first_row_with_text
    FROM message
    WHERE +state = 'queued' AND recipient_key IN (
        SELECT recipient_key FROM message WHERE recipient_key > '' GROUP BY recipient_key HAVING COUNT(*) > 1
    )
    WINDOW person AS (PARTITION BY recipient_key ORDER BY number),
        same AS (PARTITION BY recipient_key, text ORDER BY number)
) WHERE number > first ORDER BY number
"""
"""The keys that are there twice are found in their index alone; `+` keeps SQLite from going through all that is
queued instead. What it sorts, it sorts in a file."""


class SqliteDraft:
    """A plan under construction; `keep` gives it its name, leaving the block without that leaves nothing behind.

    With `path` None it lives in a temporary file of SQLite's own and cannot be kept: the dry run.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        # Not the process number: in a container the next process has the same, and a killed one leaves its draft.
        self._building = None if path is None else path.with_name(f".{path.name}.{secrets.token_hex(4)}.plan")
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        try:
            with self._speaking():
                self._connection = database.create(self._building)
                self._connection.execute("BEGIN")
        except BaseException:  # Ctrl-C may come between any two steps
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._building is not None:
            with suppress(FileNotFoundError):
                self._building.unlink()

    @property
    def connection(self) -> sqlite3.Connection:
        """The draft's own connection, for the queries of the preview."""
        if self._connection is None:
            raise RuntimeError("a draft is used inside its `with` block")
        return self._connection

    def add(self, rows: Iterable[DraftRow]) -> None:
        """Write rows of any state, in the input's order."""
        with self._speaking():
            self.connection.executemany(_INSERT, rows)

    def queue(self, rows: Sequence[QueuedRow]) -> None:
        """Write rows that are to be sent, in the input's order: the way that millions of them come."""
        whole = len(rows) - len(rows) % STATEMENT
        with self._speaking():
            for start in range(0, whole, STATEMENT):
                values = tuple(chain.from_iterable(rows[start : start + STATEMENT]))
                self.connection.execute(_INSERT_MANY_QUEUED, values)
            self.connection.executemany(_INSERT_QUEUED, rows[whole:])

    def index(self) -> None:
        """Close the rows and build the indexes; `add` is over."""
        with self._speaking():
            self.connection.execute("COMMIT")
            database.index(self.connection)

    def repeated(self) -> Iterator[Repeated]:
        """Every queued row whose recipient is in an earlier queued row already, in the input's order.

        `first_row` is the first with the same text, or else the recipient's first.
        """
        for number, row, first_row, first_row_with_text, same_text in self.connection.execute(_REPEATED):
            yield Repeated(number, row, first_row_with_text if same_text else first_row, bool(same_text))

    def skip_duplicates(self, duplicates: Iterable[tuple[int, int]]) -> None:
        """Mark (number, row of the first) as `skipped`: same recipient, same text."""
        with self._speaking():
            self.connection.execute("CREATE TEMPORARY TABLE duplicate (number INTEGER PRIMARY KEY, first_row INTEGER)")
            self.connection.execute("BEGIN")
            self.connection.executemany("INSERT INTO duplicate VALUES (?, ?)", duplicates)
            self.connection.execute(
                "UPDATE message SET state = 'skipped', reason = ?, error = 'duplicate of row ' || "
                "(SELECT first_row FROM duplicate WHERE duplicate.number = message.number) "
                "WHERE number IN (SELECT number FROM duplicate)",
                (Reason.DUPLICATE,),
            )
            self.connection.execute("COMMIT")

    def skip_recipients(self, unwanted: Iterable[tuple[str, str]]) -> int:
        """Mark the messages to these (recipient's key, why) as `skipped`; how many there were."""
        with self._speaking():
            self.connection.execute("CREATE TEMPORARY TABLE unwanted (recipient_key TEXT PRIMARY KEY, why TEXT)")
            self.connection.execute("BEGIN")
            self.connection.executemany("INSERT INTO unwanted VALUES (?, ?) ON CONFLICT DO NOTHING", unwanted)
            skipped = self.connection.execute(
                "UPDATE message SET state = 'skipped', reason = ?, "
                "error = (SELECT why FROM unwanted WHERE unwanted.recipient_key = message.recipient_key) "
                "WHERE +state = 'queued' AND recipient_key IN (SELECT recipient_key FROM unwanted)",
                (Reason.SUPPRESSED,),
            ).rowcount
            self.connection.execute("COMMIT")
            self.connection.execute("DROP TABLE unwanted")
        return skipped

    def recipient_keys(self) -> Iterator[str]:
        """The key of every recipient to be sent to, in the input's order."""
        rows = self.connection.execute("SELECT recipient_key FROM message WHERE state = 'queued' ORDER BY number")
        return (key for (key,) in rows)

    def count_queued(self, sent: Iterable[tuple[str, str]]) -> int:
        """See the contract."""
        with self._speaking():
            return count_queued(self.connection, sent)

    def count_queued_for(self, keys: Iterable[str]) -> int:
        """See the contract."""
        with self._speaking():
            return count_queued_for(self.connection, keys)

    def kinds(self) -> dict[str, int]:
        """Messages to be sent by kind of identifier, which is how a recipient's key begins."""
        kinds = {}
        for kind in IdentifierKind:
            of_kind = (f"{kind.lower()}:", f"{kind.lower()};")
            # Counted in the index alone, with those that are not sent taken off: reading all rows takes ten times that.
            (count,) = self.connection.execute(
                "SELECT COUNT(*) - (SELECT COUNT(*) FROM message WHERE state = 'skipped' AND +recipient_key >= ? "
                "AND +recipient_key < ?) FROM message WHERE recipient_key >= ? AND recipient_key < ?",
                of_kind * 2,
            ).fetchone()
            if count:
                kinds[kind.value] = int(count)
        return kinds

    def sizes(self) -> Counter[tuple[str, int]]:
        """Messages to be sent by (encoding, segments)."""
        rows = self.connection.execute(
            "SELECT encoding, segments, COUNT(*) FROM message WHERE state = 'queued' GROUP BY encoding, segments"
        )
        return Counter({(encoding, segments): count for encoding, segments, count in rows})

    def examples(self, first: int, anywhere: int) -> list[tuple[int, str, str, str, int]]:
        """The first messages to be sent and some from anywhere behind them; none at all if `first` is 0.

        Each is (row, recipient, text, encoding, segments).
        """
        if not first:
            return []
        select = "SELECT number, input_row, recipient, text, encoding, segments FROM message WHERE state = 'queued' "
        rows = self.connection.execute(select + "ORDER BY number LIMIT ?", (first + anywhere + 1,)).fetchall()
        if len(rows) > first + anywhere:
            (last,) = self.connection.execute("SELECT MAX(number) FROM message").fetchone()
            found: dict[int, tuple[Any, ...]] = {}
            for _ in range(TRIES):
                number = random.randint(rows[first][0], last)  # noqa: S311 - which rows are shown is no secret
                near = self.connection.execute(select + "AND number >= ? ORDER BY number LIMIT 1", (number,)).fetchone()
                if near is not None and len(found) < anywhere:
                    found[near[0]] = near
            rows[first:] = [found[number] for number in sorted(found)]
        return [row[1:] for row in rows]

    def fingerprint(self) -> str:
        """See the contract."""
        return fingerprint_of(self.connection)

    def _speaking(self) -> AbstractContextManager[None]:
        return database.translate_errors(self._path or Path("a temporary file"))

    def keep(self, *, source: str, columns: list[str], fingerprint: str, summary: str, version: str) -> Path:
        """Put everything on disk, then give the ledger its name.

        Raises PlanError if the name is taken.
        """
        if self._path is None or self._building is None:
            raise RuntimeError("a draft without a name cannot be kept")
        with database.translate_errors(self._path):
            self.connection.execute("BEGIN")
            self.connection.execute(
                "INSERT INTO plan (created_at, version, input, columns, fingerprint, identity, summary, settings) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, '{}')",
                (
                    timestamp(SYSTEM.now()),
                    version,
                    source,
                    json.dumps(columns),
                    fingerprint,
                    secrets.token_hex(16),
                    summary,
                ),
            )
            self.connection.execute(
                "UPDATE tally SET messages = (SELECT COUNT(*) FROM message WHERE state = tally.name) "
                "WHERE name NOT IN (?, ?)",
                (POSSIBLE_DUPLICATE, ATTEMPTS_MADE),
            )
            self.connection.execute("COMMIT")
            self.connection.close()
            self._connection = None
            _rename_durably(self._building, self._path)
        return self._path


def _rename_durably(building: Path, path: Path) -> None:
    """On disk first, then the name, then the folder's entry; never over an existing file."""
    with building.open("rb+") as written:
        os.fsync(written.fileno())
    try:
        os.link(building, path)
    except FileExistsError:
        raise _taken(path) from None
    except OSError:  # a file system without hard links
        if path.exists():
            raise _taken(path) from None
        building.rename(path)
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def require_free(path: Path) -> None:
    """Raises PlanError if the name is taken, before the whole input is read."""
    if path.exists():
        raise _taken(path)


def _taken(path: Path) -> PlanError:
    return PlanError(
        f"{path} exists already and is never overwritten.",
        hint=f"Continue it with `bulksms resume {path}`, or choose another name with --ledger.",
    )


LENGTH = 8
"""Bytes of each length prefix."""
_ROWS = "SELECT CAST(recipient AS BLOB), CAST(text AS BLOB) FROM message WHERE state <> ? ORDER BY number"


def fingerprint_of(connection: sqlite3.Connection) -> str:
    """SHA-256 over the length-prefixed (recipient as given, text) of all messages but the skipped, in their order.

    A length is eight bytes, most significant first, and counts the UTF-8 bytes that follow.
    """
    digest = hashlib.sha256()
    rows = connection.execute(_ROWS, (State.SKIPPED,))
    rows.arraysize = 2_000
    while batch := rows.fetchmany():
        parts: list[bytes] = []
        for value in chain.from_iterable(batch):
            parts += (len(value).to_bytes(LENGTH, "big"), value)
        digest.update(b"".join(parts))
    return digest.hexdigest()


def require_fingerprint(path: Path, connection: sqlite3.Connection) -> None:
    """Raises LedgerError if the messages are not those that were planned."""
    planned, purged_at = connection.execute("SELECT fingerprint, purged_at FROM plan").fetchone()
    if purged_at is None and fingerprint_of(connection) != planned:
        raise LedgerError(
            f"A recipient or a text in {path.name} is not as it was planned: its fingerprint differs. "
            "Nothing was sent.",
            hint="Put the last good copy of the file in its place, or plan the input again under another name.",
        )


_FOR_RECIPIENT = "INSERT OR IGNORE INTO temp.found SELECT number FROM message WHERE recipient_key = ?"


def count_queued(connection: sqlite3.Connection, sent: Iterable[tuple[str, str]], retried: str | None = None) -> int:
    """How many queued messages have one of these recipients (their keys) and the text beside it.

    `retried` is a condition in SQL of others that count as well.
    """
    condition = "state = 'queued'" if retried is None else f"(state = 'queued' OR {retried})"
    return _count(connection, f"{_FOR_RECIPIENT} AND text = ? AND {condition}", sent)


def count_queued_for(connection: sqlite3.Connection, keys: Iterable[str]) -> int:
    """How many queued messages are for one of these recipients, whatever their text."""
    return _count(connection, f"{_FOR_RECIPIENT} AND state = 'queued'", ((key,) for key in keys))


def _count(connection: sqlite3.Connection, statement: str, values: Iterable[tuple[str, ...]]) -> int:
    connection.execute("CREATE TABLE IF NOT EXISTS temp.found (number INTEGER PRIMARY KEY)")
    connection.execute("DELETE FROM temp.found")
    connection.executemany(statement, values)
    (found,) = connection.execute("SELECT COUNT(*) FROM temp.found").fetchone()
    return int(found)
