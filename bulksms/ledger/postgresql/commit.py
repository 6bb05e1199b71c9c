"""Commit: what a machine has begun and learnt is written by one statement, exactly once.

Invariant: each commit of a machine has the next serial, and the database takes none but the next. So a machine whose
answer was lost learns whether its commit has happened.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bulksms.ledger.postgresql import statements
from bulksms.ledger.postgresql.batch import Intent, Outcome, columns
from bulksms.ledger.postgresql.membership import boot_time
from bulksms.ledger.postgresql.session import Connection, Session

_STATUS_OF_COMMIT = "SELECT serial, fenced FROM machine WHERE run = $1"
_SENDING = "SELECT number FROM message_state WHERE number = ANY ($1::bigint[]) AND state = 'sending'"


class GoneBackError(Exception):
    """The database does not know what it has confirmed: a failover, or a backup, has lost commits."""


@dataclass(slots=True)
class Batch:
    """What one commit writes; `late` are outcomes of an earlier membership."""

    intents: list[Intent] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    late: list[Outcome] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        return not (self.intents or self.outcomes or self.late)


class Committed(NamedTuple):
    """What a commit has begun, and when it was `asked` for, by `boot_time`.

    `row` is its answer; None if that was lost and only the messages that were begun could be read again.
    """

    begun: set[int]
    asked: float
    row: Any


class Commits:
    """The commits of one membership."""

    def __init__(self, session: Session, run: int) -> None:
        self._session = session
        self._run = run
        self._serial = 0

    async def write(self, batch: Batch) -> Committed | None:
        """Write it; None if this machine was fenced. Raises GoneBackError, and LedgerError."""
        intents = batch.intents
        values = (
            intents[0].now if intents else 0.0,
            [intent.number for intent in intents],
            [intent.number for intent in intents if intent.is_marked],
            *columns([outcome.row for outcome in batch.outcomes]),
        )
        serial = self._serial + 1
        asked = 0.0
        is_repeated = False

        async def write(connection: Connection) -> Committed | None:
            nonlocal asked, is_repeated
            if is_repeated:  # the answer was lost: did it happen?
                begun = await self._begun_by(connection, serial, values[1])
                if begun is not None:
                    return Committed(begun, asked, None)
            is_repeated = True
            asked = boot_time()
            row = await connection.fetchrow(statements.COMMIT, self._run, serial, *values)
            if row["is_mine"]:
                return Committed(set(row["begun"]), asked, row)
            if await self._is_fenced(connection, serial):
                return None
            raise ConnectionError("an earlier try of this commit is still under way, or has just ended")

        committed = await self._session.run(write)
        if committed is not None:
            self._serial = serial
        return committed

    async def _begun_by(self, connection: Connection, serial: int, numbers: object) -> set[int] | None:
        """What a commit has begun whose answer was lost; None if it has not happened."""
        status = await connection.fetchrow(_STATUS_OF_COMMIT, self._run)
        if status is None or status["serial"] < serial - 1:
            raise GoneBackError
        if status["serial"] < serial or status["fenced"]:
            return None
        return {row["number"] for row in await connection.fetch(_SENDING, numbers)}

    async def _is_fenced(self, connection: Connection, serial: int) -> bool:
        status = await connection.fetchrow(_STATUS_OF_COMMIT, self._run)
        if status is None or status["serial"] < serial - 1:
            raise GoneBackError
        return bool(status["fenced"])
