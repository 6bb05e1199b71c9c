"""Writer: what a run asks of a ledger that other machines may work on, too. What is written goes by the write queue.

Invariant: what a run asks for is done once everything that it handed over before is on disk.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from bulksms.errors import LedgerError
from bulksms.ledger.name import LedgerUrl
from bulksms.ledger.postgresql import statements
from bulksms.ledger.postgresql.holdings import Holdings
from bulksms.ledger.postgresql.membership import TIMESTAMP, Membership, leave
from bulksms.ledger.postgresql.observer import Observer
from bulksms.ledger.postgresql.operator_actions import note_once
from bulksms.ledger.postgresql.queries import read_running_counts
from bulksms.ledger.postgresql.session import Connection, Session
from bulksms.ledger.postgresql.shared_run import News, SharedRun
from bulksms.ledger.postgresql.write_queue import WriteQueue
from bulksms.ledger.records import Action, Author, Counts, Recovery, RunStart, SettledElsewhere, SharedHold
from bulksms.model.attempt import Attempt
from bulksms.model.message import Message, Reason, State
from bulksms.model.run_settings import StopReason
from bulksms.system import SYSTEM

Answer = TypeVar("Answer")

_KEEP_DEADLINE = "UPDATE plan SET deadline = COALESCE(deadline, $1) RETURNING deadline"
_FIRST_TEXT = """
SELECT text FROM message_content JOIN message_state USING (number)
WHERE state = 'queued' AND NOT EXISTS (SELECT FROM attempt) ORDER BY number LIMIT 1
"""
_BEGIN_TEST = """
INSERT INTO test_message (run, recipient, text, began_at)
SELECT $1, $2, $3, $4 WHERE NOT EXISTS (SELECT FROM test_message WHERE run = $1)
"""
_END_TEST = "UPDATE test_message SET ended_at = $2, http_status = $3, evidence = $4, error = $5 WHERE run = $1"
_END_RUN = f"""
UPDATE run SET ended_at = {TIMESTAMP}, stopped = $2, elapsed_seconds = $3, settled = $4
WHERE number = $1 AND ended_at IS NULL
"""  # noqa: S608 - a constant


class PostgresqlWriter:
    """The ledger of a living machine. Its methods belong to the event loop."""

    saved_as = None
    least_ahead = 1

    def __init__(
        self, path: LedgerUrl, session: Session, membership: Membership, start: RunStart, recovery: Recovery
    ) -> None:
        self.path = path
        self.identity = membership.identity
        self.started_at = membership.started_at
        self._session = session
        self._recovery = recovery
        self._shared = SharedRun(session, lambda: self.run, path.name, membership.clock_offset)
        self._holdings = Holdings(session, self, membership.lease)
        self._queue = WriteQueue(path.name, session, membership, start, self._holdings, self._shared)
        self.announce = self._queue.announce
        """Another machine or a person has changed what holds for all."""
        self.record_intent = self._queue.record_intent
        self.record_outcome = self._queue.record_outcome
        self.flush = self._queue.flush
        self.is_settled = self._queue.is_settled
        self.still_mine = self._queue.is_fresh
        observer = Observer(session, lambda: self.run, membership.lease, recovery)
        self._writing = self._queue.supervised(self._queue.write())
        self._observing = self._queue.supervised(observer.watch(self._holdings.wake))
        self._claiming: set[asyncio.Task[list[Message]]] = set()

    @property
    def run(self) -> int:
        """See the contract; it is another one once this machine was fenced."""
        return self._queue.run

    @property
    def attempts(self) -> int:
        """See the contract."""
        return self._queue.attempts

    @property
    def trouble(self) -> LedgerError | None:
        """See the contract."""
        return self._queue.trouble

    def now(self) -> float:
        """The database's time, as a POSIX time in seconds: that of all machines."""
        return SYSTEM.now() + self._shared.clock_offset

    def claim(
        self,
        state: State,
        after: int,  # noqa: ARG002 - of the contract
        limit: int,
        *,
        again: bool = False,
    ) -> asyncio.Future[list[Message]]:
        """See the contract; `after` says nothing here: what is in hand is not handed out twice."""
        task = asyncio.get_running_loop().create_task(self._holdings.claim(state, limit, again=again))
        self._claiming.add(task)
        task.add_done_callback(self._claiming.discard)
        return task

    @property
    def settled_elsewhere(self) -> SettledElsewhere:
        """See the contract."""
        return self._shared.settled_elsewhere

    async def next_news(self) -> News:
        """See the contract."""
        return await self._shared.news.get()

    def share_stop(self, reason: StopReason) -> None:
        """See the contract."""
        self._queue.stop()
        self._shared.stop(reason)

    def share_hold(self, hold: SharedHold) -> None:
        """See the contract."""
        self._shared.hold(hold)

    def let_go(self) -> None:
        """This machine has nothing to probe with: another one may."""
        self._shared.let_go()

    async def lead(self) -> bool | None:
        """See the contract."""
        await self.flush()
        return await self._shared.lead()

    async def led(self) -> None:
        """See the contract."""
        await self.flush()
        await self._shared.led()

    async def reserve(self, rate: float) -> float:
        """See the contract."""
        return await self._shared.reserve(rate)

    async def withdraw(self, state: State, reason: Reason) -> None:
        """See the contract."""
        await self._after_all(lambda connection: connection.fetchval(statements.WITHDRAW, self.run, state, reason))

    async def begin_test(self, recipient: str, now: float) -> str | None:
        """See the contract."""

        async def note(connection: Connection) -> str | None:
            text = await connection.fetchval(_FIRST_TEXT)
            if text is not None:
                await connection.execute(_BEGIN_TEST, self.run, recipient, text, now)
            return None if text is None else str(text)

        return await self._after_all(note)

    async def end_test(self, attempt: Attempt, evidence: str) -> None:
        """See the contract."""
        ended_at = attempt.began_at + attempt.elapsed
        values = (self.run, ended_at, attempt.status, evidence, attempt.error)
        await self._after_all(lambda connection: connection.execute(_END_TEST, *values))

    async def keep_deadline(self, at: float) -> float:
        """See the contract."""
        return float(await self._after_all(lambda connection: connection.fetchval(_KEEP_DEADLINE, at)))

    async def counts(self) -> Counts:
        """See the contract."""
        return await self._after_all(read_running_counts)

    async def note_stop(self, action: Action, author: Author) -> None:
        """See the contract; of the machines that were stopped one notes it."""
        await self._after_all(lambda connection: note_once(connection, action, author, self.started_at))

    async def end_run(self, stopped: str | None, elapsed: float, settled: int) -> None:
        """See the contract."""
        values = (stopped and str(stopped), elapsed, settled)
        await self._after_all(lambda connection: connection.execute(_END_RUN, self.run, *values))

    async def close(self) -> None:
        """See the contract."""
        self._queue.close()
        self._holdings.wake()
        await asyncio.wait([self._writing])
        self._observing.cancel()
        for claim in self._claiming:
            claim.cancel()
        await asyncio.wait([self._observing, *self._claiming])
        if self.trouble is None:
            with suppress(LedgerError):
                await self._session.run(lambda connection: leave(connection, self.run, self._recovery))
        await self._session.close()

    def takes_more(self) -> bool:
        """Whether anything is still to be begun."""
        return self._queue.is_open and not self._shared.is_stopped

    async def _after_all(self, ask: Callable[[Connection], Awaitable[Answer]]) -> Answer:
        """Ask something once everything that was handed over is on disk."""
        await self.flush()
        return await self._session.run(ask)
