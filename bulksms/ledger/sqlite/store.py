"""Store: one SQLite file and the files beside it, as `bulksms.ledger.contract.Ledger` wants a ledger to behave."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bulksms.errors import PlanError
from bulksms.ledger.contract import LedgerReader
from bulksms.ledger.records import Action, Author, ControlCommand, Recovery, Retry, RunStart, RunStatus
from bulksms.ledger.sqlite import database, invariants, operator_actions, remote_control
from bulksms.ledger.sqlite.draft import require_free
from bulksms.ledger.sqlite.lock import is_held
from bulksms.ledger.sqlite.reader import SqliteReader
from bulksms.ledger.sqlite.recovery import withdraw
from bulksms.model.message import Reason, State
from bulksms.system import SYSTEM, System

if TYPE_CHECKING:
    from bulksms.ledger.sqlite.driver import Driver
    from bulksms.ledger.sqlite.writer import SqliteWriter

_MAKE_UNKNOWN = Recovery(State.UNKNOWN, max_attempts=0)


class SqliteLedger:
    """The ledger in the file of this name; the writer of a run is driven by a thread, or by another `driver`."""

    def __init__(self, path: Path, system: System = SYSTEM, driver: "Driver | None" = None) -> None:
        self._path = path
        self._system = system
        self._driver = driver

    def is_ledger(self) -> bool:
        """See the contract."""
        return database.is_ledger(self._path)

    def require_free(self) -> None:
        """See the contract."""
        require_free(self._path)

    def open_reader(self) -> SqliteReader:
        """See the contract."""
        return SqliteReader(self._path)

    async def open_for_run(
        self,
        start: RunStart,
        recovery: Recovery,
        retry: Retry | None = None,
        check: Callable[[LedgerReader], None] | None = None,
    ) -> "SqliteWriter":
        """See the contract."""
        from bulksms.ledger.sqlite import writer  # noqa: PLC0415 - asyncio is needed for a run only

        return await writer.open_for_run(
            self._path, recovery, start, retry, check, driver=self._driver, system=self._system
        )

    async def join_run(
        self,
        start: RunStart,  # noqa: ARG002 - of the contract
        recovery: Recovery,  # noqa: ARG002 - as above
        check: Callable[[LedgerReader], None] | None = None,  # noqa: ARG002 - as above
    ) -> "SqliteWriter":
        """See the contract."""
        raise PlanError(
            f"{self._path.name} is a file, on which one machine works at a time.",
            hint=f"`bulksms resume {self._path}` goes on with it; `bulksms import` moves it into a database, where "
            "several machines can.",
        )

    def is_living(self) -> bool:
        """See the contract."""
        return is_held(self._path)

    def require_log(self) -> None:
        """See the contract."""
        database.require_log(self._path)

    def recover(self, recovery: Recovery, holder: str) -> None:
        """See the contract."""
        with database.exclusive(self._path, recovery, holder, self._system):
            pass

    def cancel(self, author: Author) -> None:
        """See the contract."""
        exclusive = database.exclusive(self._path, _MAKE_UNKNOWN, "cancelling", self._system)
        with exclusive as connection, database.transaction(connection):
            withdraw(connection, State.CANCELLED, Reason.CANCELLED, self._system.now())
            operator_actions.note(connection, Action.CANCEL, author, self._system.now())

    def resolve(self, outcomes: Mapping[int, State], author: Author) -> None:
        """See the contract."""
        operator_actions.resolve(self._path, outcomes, author, self._system)

    def approve(self, author: Author) -> None:
        """See the contract."""
        operator_actions.approve(self._path, author, self._system)

    def purge(self, author: Author) -> None:
        """See the contract."""
        operator_actions.purge(self._path, author, self._system)

    def verify(self) -> list[tuple[str, str]]:
        """See the contract."""
        return invariants.verify(self._path)

    def remove(self) -> None:
        """See the contract."""
        database.remove(self._path)

    def send_command(self, command: ControlCommand, author: Author) -> None:
        """See the contract."""
        if command is ControlCommand.PAUSE:
            raise PlanError(
                f"{self._path.name} is a file, whose one run cannot be paused.",
                hint=f"`bulksms stop {self._path}` ends it, `bulksms resume {self._path}` goes on.",
            )
        remote_control.write_command(self._path, command, author)

    def clear_command(self) -> None:
        """See the contract."""
        remote_control.clear_command(self._path)

    def accept_failover(self) -> None:
        """See the contract."""
        raise PlanError(
            f"{self._path.name} is a file, so there is no server that could have taken over.",
            hint=f"`bulksms resume {self._path}` goes on.",
        )

    def write_status(self, status: RunStatus) -> None:
        """See the contract."""
        remote_control.write_status(self._path, status)

    def read_status(self, run: int | None) -> RunStatus | None:
        """See the contract."""
        return remote_control.read_status(self._path, run)

    def remove_status(self) -> None:
        """See the contract."""
        remote_control.remove_status(self._path)
