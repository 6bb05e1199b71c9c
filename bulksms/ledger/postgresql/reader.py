"""Reader: what a ledger in the database says. A few rows are asked for; whole tables are read in an exported copy.

Invariant: what is read in one block of `one_moment` is of one moment; a message found `sending` while no machine lives
is reported as `unknown` (`crash`).
"""

import tempfile
from collections.abc import Awaitable, Callable, Container, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self, TypeVar

from bulksms.ledger.name import LedgerUrl
from bulksms.ledger.postgresql import queries
from bulksms.ledger.postgresql.catalogue import blocking, connected_to
from bulksms.ledger.postgresql.export import export
from bulksms.ledger.postgresql.session import Connection
from bulksms.ledger.records import (
    AuditEntry,
    Counts,
    LedgerSnapshot,
    MachineRecord,
    MessageRecord,
    Plan,
    PossibleRecipient,
    RunRecord,
)
from bulksms.ledger.selection import EVERYTHING, Selection
from bulksms.ledger.sqlite.reader import SqliteReader, Statistics
from bulksms.model.message import State

Answer = TypeVar("Answer")


class _Copy(SqliteReader):
    """An exported ledger, as the database was at that moment."""

    def __init__(self, path: Path, *, is_living: bool) -> None:
        super().__init__(path)
        self._is_of_living = is_living

    def _is_living(self) -> bool:
        return self._is_of_living


class PostgresqlReader:
    """A ledger opened for reading; use it in a `with` block. Raises LedgerError if it cannot be read."""

    def __init__(self, url: LedgerUrl) -> None:
        self.path = url
        self._closing = ExitStack()
        self._copy: _Copy | None = None
        self._moments = 0
        self._ask(queries.read_plan)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    @contextmanager
    def one_moment(self) -> Iterator[None]:
        """See the contract."""
        if not self._moments:
            self._copy = None
        self._moments += 1
        try:
            yield
        finally:
            self._moments -= 1

    def plan(self) -> Plan:
        """See the contract."""
        return self._read().plan() if self._moments else self._ask(queries.read_plan)

    def runs(self) -> list[RunRecord]:
        """See the contract."""
        return self._read().runs() if self._moments else self._ask(queries.read_runs)

    def machines(self) -> list[MachineRecord]:
        """See the contract."""
        return self._ask(queries.read_machines)

    def operator_actions(self) -> list[AuditEntry]:
        """See the contract."""
        return self._read().operator_actions() if self._moments else self._ask(queries.read_operator_actions)

    def counts(self) -> Counts:
        """See the contract."""
        return self._read().counts() if self._moments else self._ask(queries.read_counts)

    def snapshot(self) -> LedgerSnapshot:
        """See the contract."""
        return self._ask(queries.read_snapshot)

    def last_attempt_at(self) -> float | None:
        """See the contract."""
        return self._ask(queries.read_last_attempt_at)

    def statistics(self) -> Statistics:
        """See the contract."""
        return self._read().statistics()

    def reasons(self) -> list[tuple[State, str | None, int]]:
        """See the contract."""
        return self._ask(queries.read_reasons)

    def check_counters(self) -> None:
        """See the contract."""
        self._ask(queries.check_counters)

    def messages(self, only: Selection = EVERYTHING) -> Iterator[MessageRecord]:
        """See the contract."""
        return self._read().messages(only)

    def messages_of(self, numbers: Iterable[int]) -> Iterator[MessageRecord]:
        """See the contract."""
        return self._read().messages_of(numbers)

    def numbers_in(self, rows: Container[int]) -> dict[int, int]:
        """See the contract."""
        return self._read().numbers_in(rows)

    def numbers_of(self, key: str) -> list[int]:
        """See the contract."""
        return self._read().numbers_of(key)

    def possible_recipients(self) -> Iterator[PossibleRecipient]:
        """See the contract."""
        return self._read().possible_recipients()

    def possibly_sent(self) -> Iterator[tuple[str, str]]:
        """See the contract."""
        return self._read().possibly_sent()

    def count_queued(
        self, sent: Iterable[tuple[str, str]], again: Selection | None = None, numbers: Sequence[int] | None = None
    ) -> int:
        """See the contract."""
        return self._read().count_queued(sent, again, numbers)

    def has_possible_recipients(self, key: str) -> bool:
        """See the contract."""
        return self._read().has_possible_recipients(key)

    def _ask(self, question: Callable[[Connection], Awaitable[Answer]]) -> Answer:
        async def ask() -> Answer:
            async with connected_to(self.path) as connection, connection.transaction(isolation="repeatable_read"):
                return await question(connection)

        return blocking(ask())

    def _read(self) -> _Copy:
        """A copy of this moment, or of that of the block."""
        if self._copy is None or not self._moments:
            folder = self._closing.enter_context(tempfile.TemporaryDirectory(prefix="bulksms-"))
            file = Path(folder) / f"{self.path.name}.ledger.db"
            is_living = export(self.path, file)
            self._copy = self._closing.enter_context(_Copy(file, is_living=is_living))
        return self._copy
