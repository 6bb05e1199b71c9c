"""Store: a ledger in a PostgreSQL database, as `bulksms.ledger.contract.Ledger` wants a ledger to behave."""

import json
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from bulksms.errors import LedgerError
from bulksms.ledger.contract import LedgerReader
from bulksms.ledger.name import LedgerUrl
from bulksms.ledger.postgresql import catalogue, operator_actions, publishing
from bulksms.ledger.postgresql.catalogue import blocking, connected_to
from bulksms.ledger.postgresql.export import export
from bulksms.ledger.postgresql.membership import CHANNEL
from bulksms.ledger.postgresql.reader import PostgresqlReader
from bulksms.ledger.postgresql.session import Connection
from bulksms.ledger.records import Author, ControlCommand, Recovery, Retry, RunStart, RunStatus
from bulksms.ledger.sqlite import invariants
from bulksms.model.message import State

if TYPE_CHECKING:
    from bulksms.ledger.postgresql.writer import PostgresqlWriter

Answer = TypeVar("Answer")

_COMMAND = """
UPDATE control SET command = $1, reason = NULL, commanded_by = $2, version = version + 1
"""
_WRITE_STATUS = "UPDATE machine SET status = $2 WHERE run = $1 AND NOT fenced"
_READ_STATUS = "SELECT status FROM machine WHERE NOT fenced AND run = $1"


class PostgresqlLedger:
    """The ledger of this name in its database."""

    def __init__(self, url: LedgerUrl) -> None:
        self._url = url

    def is_ledger(self) -> bool:
        """See the contract."""

        async def ask() -> bool:
            async with catalogue.connected(self._url.database) as connection:
                return await catalogue.find(connection, self._url.name) is not None

        return blocking(ask())

    def require_free(self) -> None:
        """See the contract."""
        publishing.require_free(self._url)

    def open_reader(self) -> PostgresqlReader:
        """See the contract."""
        return PostgresqlReader(self._url)

    async def open_for_run(
        self,
        start: RunStart,
        recovery: Recovery,
        retry: Retry | None = None,
        check: Callable[[LedgerReader], None] | None = None,
    ) -> "PostgresqlWriter":
        """See the contract."""
        from bulksms.ledger.postgresql import opening  # noqa: PLC0415 - needed for a run only

        return await opening.open_for_run(self._url, start, recovery, retry, check)

    async def join_run(
        self, start: RunStart, recovery: Recovery, check: Callable[[LedgerReader], None] | None = None
    ) -> "PostgresqlWriter":
        """See the contract."""
        from bulksms.ledger.postgresql import opening  # noqa: PLC0415 - as above

        return await opening.join_run(self._url, start, recovery, check)

    def is_living(self) -> bool:
        """See the contract; by the clock of the database, so it is right within two leases."""
        return bool(self._ask(lambda connection: connection.fetchval(catalogue.IS_LIVING)))

    def require_log(self) -> None:
        """See the contract; a database has no log beside it that could be missing."""

    def recover(self, recovery: Recovery, holder: str) -> None:  # noqa: ARG002 - a machine is named by its run
        """See the contract."""

        async def settle(connection: Connection) -> None:
            async with operator_actions.exclusive(connection, self._url, recovery):
                pass

        self._ask(settle)

    def cancel(self, author: Author) -> None:
        """See the contract."""
        self._ask(lambda connection: operator_actions.cancel(connection, self._url, author))

    def resolve(self, outcomes: Mapping[int, State], author: Author) -> None:
        """See the contract."""
        self._ask(lambda connection: operator_actions.resolve(connection, self._url, outcomes, author))

    def approve(self, author: Author) -> None:
        """See the contract."""
        self._ask(lambda connection: operator_actions.approve(connection, self._url, author))

    def purge(self, author: Author) -> None:
        """See the contract."""
        self._ask(lambda connection: operator_actions.purge(connection, self._url, author))

    def verify(self) -> list[tuple[str, str]]:
        """See the contract; it checks an exported copy."""
        with tempfile.TemporaryDirectory(prefix="bulksms-") as folder:
            file = Path(folder) / f"{self._url.name}.ledger.db"
            export(self._url, file)
            return invariants.verify(file)

    def remove(self) -> None:
        """See the contract."""
        self._ask(lambda connection: operator_actions.remove(connection, self._url))

    def send_command(self, command: ControlCommand, author: Author) -> None:
        """See the contract."""

        async def announce(connection: Connection) -> None:
            async with connection.transaction():
                await connection.execute(_COMMAND, command.value, json.dumps(author))
                await connection.execute("SELECT pg_notify($1, '')", CHANNEL)

        self._ask(announce)

    def clear_command(self) -> None:
        """See the contract; a command holds for every machine until somebody starts the run again."""

    def accept_failover(self) -> None:
        """See the contract."""
        self._ask(lambda connection: operator_actions.accept_failover(connection, self._url))

    def write_status(self, status: RunStatus) -> None:
        """See the contract."""
        with suppress(LedgerError):
            text = msgspec.json.encode(status).decode()
            self._ask(lambda connection: connection.execute(_WRITE_STATUS, status.run, text))

    def read_status(self, run: int | None) -> RunStatus | None:
        """See the contract."""
        text = self._ask(lambda connection: connection.fetchval(_READ_STATUS, run))
        return None if text is None else msgspec.json.decode(text, type=RunStatus)

    def remove_status(self) -> None:
        """See the contract; what a machine has published goes when it leaves."""

    def _ask(self, work: Callable[[Connection], Awaitable[Answer]]) -> Answer:
        async def ask() -> Answer:
            async with connected_to(self._url) as connection:
                return await work(connection)

        return blocking(ask())
