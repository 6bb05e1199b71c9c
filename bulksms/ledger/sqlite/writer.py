"""Writer: the one connection that writes a ledger during a run.

Invariants: an intent's future is done only when the row is `sending` on disk. What is handed over while a commit is
under way shares the next one (group commit), in the order in which it was handed over, so that an outcome is on disk no
later than anything handed over after it. After a failed write nothing more is written: every waiter gets the error, and
no request leaves. SQLite's own write lock is held from the first commit to the last, whatever happens to the lock file.
"""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

from bulksms.errors import LedgerError
from bulksms.ledger.contract import LedgerReader
from bulksms.ledger.records import (
    Action,
    Author,
    ControlCommand,
    Counts,
    OutcomeRecord,
    Recovery,
    Retry,
    RunStart,
    SettledElsewhere,
    SharedHold,
)
from bulksms.ledger.sqlite import batch, database, operator_actions
from bulksms.ledger.sqlite.draft import require_fingerprint
from bulksms.ledger.sqlite.driver import Driver, WriterThread
from bulksms.ledger.sqlite.lock import Place, RunLock
from bulksms.ledger.sqlite.reader import SqliteReader, read_counts
from bulksms.ledger.sqlite.recovery import LogMark, withdraw
from bulksms.ledger.sqlite.remote_control import take_command
from bulksms.ledger.sqlite.schema import ATTEMPTS, timestamp
from bulksms.model.attempt import Attempt
from bulksms.model.message import TRANSITIONS, Message, Reason, State
from bulksms.model.run_settings import StopReason
from bulksms.system import SYSTEM, System

Answer = TypeVar("Answer")

LEAST_AHEAD = 256
"""Messages that are claimed at once, at least: a claim is a query."""
COMMAND_INTERVAL = 0.3
"""Seconds between two looks for a command of another shell."""

_CLAIM = """
SELECT number, input_row, recipient, text, attempts, tries, doubt, possible_duplicate, operation_id
FROM message WHERE state = ? AND number > ?
    AND {again} (SELECT 1 FROM attempt WHERE attempt.message = message.number AND run < ?) ORDER BY number LIMIT ?
"""
_FRESH, _AGAIN = _CLAIM.format(again="NOT EXISTS"), _CLAIM.format(again="EXISTS")
_RUN = """
INSERT INTO run (number, started_at, url, version, operating_system_user, host, process, settings, confirmed_by)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_FIRST_TEXT = """
SELECT text FROM message WHERE state = ? AND NOT EXISTS (SELECT 1 FROM attempt) ORDER BY number LIMIT 1
"""
_BEGIN_TEST = "INSERT INTO test_message (run, recipient, text, began_at) VALUES (?, ?, ?, ?)"
_END_TEST = "UPDATE test_message SET ended_at = ?, http_status = ?, evidence = ?, error = ? WHERE run = ?"
_END_RUN = (
    "UPDATE run SET ended_at = ?, stopped = ?, elapsed_seconds = ?, settled = ? WHERE number = ? AND ended_at IS NULL"
)


class _Begin(NamedTuple):
    """An intent, and who waits until it is on disk."""

    intent: batch.Intent
    begun: asyncio.Future[bool]


class _Task(NamedTuple):
    """Something to run inside the transaction, after all steps, and how to answer who waits for it."""

    run: Callable[[sqlite3.Connection], None]
    answer: Callable[[LedgerError | None], None]


class _Opened(NamedTuple):
    """A ledger that is open for a run."""

    connection: sqlite3.Connection
    lock: RunLock
    mark: LogMark
    identity: str
    run: int
    started_at: str
    attempts: int


_HandedOver = _Begin | batch.Outcome | _Task


async def open_for_run(  # noqa: PLR0913 - the last two are what a simulation puts in their place
    path: Path,
    recovery: Recovery,
    record: RunStart,
    again: Retry | None = None,
    check: Callable[[LedgerReader], None] | None = None,
    *,
    driver: Driver | None = None,
    system: System = SYSTEM,
) -> "SqliteWriter":
    """See the contract; the writer is driven by a thread of its own, or by another `driver`."""
    driver, now = driver or WriterThread(), system.now
    lock = RunLock(path, system.sleep)

    def open_and_note() -> _Opened:
        started_at = timestamp(now())
        holder = f"{record.user} on {record.host}, process {record.process}"
        connection = database.open_for_run(path, lock, recovery, holder, now=now)
        try:
            with database.translate_errors(path):
                require_fingerprint(path, connection)
                if check is not None:
                    check(SqliteReader(path, connection))
                with database.transaction(connection):
                    if again is not None:
                        operator_actions.queue_again(connection, again, now())
                    connection.execute("UPDATE plan SET url = ? WHERE url IS NULL", (record.url,))
                    (number,) = connection.execute("SELECT COALESCE(MAX(number), 0) + 1 FROM run").fetchone()
                    connection.execute(_RUN, (number, started_at, *record))
                mark = LogMark(path, connection, number)
                mark.begin()
                (attempts,) = connection.execute(ATTEMPTS).fetchone()
                (identity,) = connection.execute("SELECT identity FROM plan").fetchone()
                connection.execute("BEGIN IMMEDIATE")
        except BaseException:
            with suppress(sqlite3.Error):
                database.close_after_run(connection)
            connection.close()
            lock.release()
            raise
        return _Opened(connection, lock, mark, identity, number, started_at, attempts)

    return SqliteWriter(path, await driver.call(open_and_note), driver, now)


class SqliteWriter:
    """The ledger of a living run. Its methods belong to the event loop's thread; no SQLite call is made there."""

    def __init__(self, path: Path, opened: _Opened, driver: Driver, now: Callable[[], float]) -> None:
        self.path = path
        self._now = now
        self.identity = opened.identity
        self.run = opened.run
        self.saved_as: Path | None = None
        """Where the end of the run put what it knows, if its file was gone by then."""
        self.started_at = opened.started_at
        self._connection, self._lock, self._mark, self._attempts = (
            opened.connection,
            opened.lock,
            opened.mark,
            opened.attempts,
        )
        self._loop = asyncio.get_running_loop()
        self.command_interval = COMMAND_INTERVAL
        """Seconds between two looks for a command of another shell."""
        self._queue: deque[_HandedOver] = deque()
        self._closing = False
        self._is_waking = False
        self._broken: LedgerError | None = None
        self._displaced: LedgerError | None = None
        self._place = Place(path, now)
        self._driver = driver
        self._driver.start(self._step)

    @property
    def attempts(self) -> int:
        """How many attempts of all runs are on disk."""
        return self._attempts

    @property
    def trouble(self) -> LedgerError | None:
        """Why no intent is taken any more: a write failed, or the file is not the one under its name any more."""
        return self._broken or self._displaced

    def record_intent(self, message: Message, now: float) -> asyncio.Future[bool]:
        """See the contract."""
        future: asyncio.Future[bool] = self._loop.create_future()
        if self._closing or self._broken is not None or self._displaced is not None:
            _answer(future, self._displaced or self._refusal)
            return future
        is_first_after_doubt = message.in_doubt is not None and not message.possible_duplicate
        self._queue.append(_Begin(batch.Intent(message.number, now, is_first_after_doubt), future))
        if not self._is_waking:
            self._wake()
        return future

    def record_outcome(self, message: Message, attempt: Attempt, outcome: OutcomeRecord) -> None:
        """See the contract."""
        if outcome.state not in TRANSITIONS[outcome.previous_state]:
            raise ValueError(f"no message goes from {outcome.previous_state} to {outcome.state}")
        if not self._closing and self._broken is None:
            self._queue.append(batch.Outcome.of(message, attempt, outcome, self.run))
            if not self._is_waking:
                self._wake()

    def claim(self, state: State, after: int, limit: int, *, again: bool = False) -> asyncio.Future[list[Message]]:
        """See the contract."""
        statement, values = _AGAIN if again else _FRESH, (state, after, self.run, limit)
        return self.execute(lambda connection: [_message(row) for row in connection.execute(statement, values)])

    def execute(self, ask: Callable[[sqlite3.Connection], Answer]) -> asyncio.Future[Answer]:
        """Run something inside the writer's transaction; what it changed is on disk when the future is done."""
        future: asyncio.Future[Answer] = self._loop.create_future()
        answers: list[Answer] = []
        task = _Task(
            run=lambda connection: answers.append(ask(connection)),
            answer=lambda trouble: _answer(future, trouble, answers),
        )
        if (trouble := self._refusal) is not None:
            task.answer(trouble)
        else:
            self._queue.append(task)
            self._driver.wake()
        return future

    still_mine = None
    settled_elsewhere = SettledElsewhere()

    @property
    def least_ahead(self) -> int:
        """See the contract; there is no other machine that would wait for them."""
        return LEAST_AHEAD

    def now(self) -> float:
        """See the contract."""
        return self._now()

    async def reserve(self, rate: float) -> float:  # noqa: ARG002 - of the contract
        """See the contract; there is no other machine."""
        return 0.0

    async def lead(self) -> bool:
        """See the contract; there is no other machine."""
        return True

    async def led(self) -> None:
        """See the contract; there is nobody who waits."""

    def share_stop(self, reason: StopReason) -> None:
        """See the contract; there is nobody to share it with."""

    def share_hold(self, hold: SharedHold) -> None:
        """See the contract; as above."""

    async def next_news(self) -> tuple[ControlCommand, Author]:
        """See the contract."""
        while True:
            await asyncio.sleep(self.command_interval)
            command = await asyncio.to_thread(take_command, self.path)
            if command is not None:
                return command

    async def withdraw(self, state: State, reason: Reason) -> None:
        """See the contract."""
        await self.execute(lambda connection: withdraw(connection, state, reason, self._now()))

    async def begin_test(self, recipient: str, now: float) -> str | None:
        """See the contract."""

        def note(connection: sqlite3.Connection) -> str | None:
            row = connection.execute(_FIRST_TEXT, (State.QUEUED,)).fetchone()
            if row is not None:
                connection.execute(_BEGIN_TEST, (self.run, recipient, row[0], now))
            return None if row is None else str(row[0])

        return await self.execute(note)

    async def end_test(self, attempt: Attempt, evidence: str) -> None:
        """See the contract."""
        values = (attempt.began_at + attempt.elapsed, attempt.status, evidence, attempt.error, self.run)
        await self.execute(lambda connection: connection.execute(_END_TEST, values))

    async def keep_deadline(self, at: float) -> float:
        """See the contract."""
        await self.execute(lambda connection: connection.execute("UPDATE plan SET deadline = ?", (at,)))
        return at

    async def flush(self) -> None:
        """See the contract."""
        await self.execute(lambda _: None)

    async def counts(self) -> Counts:
        """See the contract."""
        return await self.execute(read_counts)

    async def note_stop(self, action: Action, author: Author) -> None:
        """See the contract."""
        await self.execute(lambda connection: operator_actions.note(connection, action, author, self._now()))

    async def end_run(self, stopped: str | None, elapsed: float, settled: int) -> None:
        """See the contract."""
        values = (timestamp(self._now()), stopped, elapsed, settled, self.run)
        await self.execute(lambda connection: connection.execute(_END_RUN, values))

    async def close(self) -> None:
        """See the contract."""
        self._closing = True
        self._driver.wake()
        await self._driver.join()

    @property
    def _refusal(self) -> LedgerError | None:
        """Why nothing at all is taken any more."""
        return self._broken or (_ended(self.path) if self._closing else None)

    def _wake(self) -> None:
        """Have the writer take what waits once everybody who is ready now has handed over: that makes fewer commits."""
        self._is_waking = True
        self._loop.call_soon(self._wake_now)

    def _wake_now(self) -> None:
        self._is_waking = False
        self._driver.wake()

    def _step(self) -> bool:
        """Write everything that waits and answer who waits for it; False when that was the last time."""
        is_last = self._closing  # nothing is handed over after that
        self._check_place()
        if handed_over := [self._queue.popleft() for _ in range(len(self._queue))]:
            self._write(handed_over)
        if is_last:
            self._end()
        return not is_last

    def _check_place(self) -> None:
        """Take no intent any more for a file that is not the one under its name: nobody would find what it says."""
        if self._displaced is None:
            self._displaced = self._place.problem()
            self._lock.restore()

    def _write(self, handed_over: Sequence[_HandedOver]) -> None:
        try:
            if self._broken is None:
                self._commit(handed_over)
        except Exception as error:  # noqa: BLE001 - whatever failed, who waits has to hear of it or waits for ever
            self._broken = database.ledger_error(self.path, error)
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
        with suppress(RuntimeError):  # the loop may have been closed under a run that was given up
            self._loop.call_soon_threadsafe(_answer_all, handed_over, self._broken)

    def _commit(self, handed_over: Sequence[_HandedOver]) -> None:
        connection = self._connection
        steps = [it.intent if isinstance(it, _Begin) else it for it in handed_over if not isinstance(it, _Task)]
        if not connection.in_transaction:
            connection.execute("BEGIN IMMEDIATE")
        changes = connection.total_changes
        if steps and not batch.write(connection, steps):
            raise LedgerError(
                f"The ledger {self.path.name} was changed by somebody else while this run was working on it.",
                hint="Let only bulksms write to a ledger; `bulksms status` shows its state.",
            )
        for it in handed_over:
            if isinstance(it, _Task):
                it.run(connection)
        if connection.total_changes != changes:
            connection.execute("COMMIT")
            self._attempts += sum(isinstance(step, batch.Intent) for step in steps)
            with suppress(sqlite3.Error):  # this batch is on disk; a disk that fails now fails the next one
                self._mark.fold_if_large()
                connection.execute("BEGIN IMMEDIATE")

    def _end(self) -> None:
        try:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")  # nothing is in it
            if self._displaced is not None:
                self.saved_as = self._place.rescue(self._connection)
            database.close_after_run(self._connection)
        except (sqlite3.Error, OSError):
            # What was reported as written is in the log beside the file; the next opening folds it in.
            self._connection.close()
        finally:
            self._lock.release()


def _ended(path: Path) -> LedgerError:
    return LedgerError(f"The run on the ledger {path.name} has ended.", hint="Open the ledger again for another run.")


def _answer(future: asyncio.Future[Answer], trouble: LedgerError | None, answers: Sequence[Answer] = ()) -> None:
    if future.done():
        return
    if trouble is None:
        future.set_result(answers[0])
    else:
        future.set_exception(trouble)
        future.exception()  # marked as seen: who waited may have gone


def _answer_all(handed_over: Sequence[_HandedOver], trouble: LedgerError | None) -> None:
    for it in handed_over:
        if isinstance(it, _Begin):
            if trouble is None and not it.begun.done():
                it.begun.set_result(True)
            else:
                _answer(it.begun, trouble)
        elif isinstance(it, _Task):
            it.answer(trouble)


def _message(row: tuple[int, int, str, str, int, int, str | None, int, str | None]) -> Message:
    number, input_row, recipient, text, attempts, tries, doubt, twice, operation_id = row
    in_doubt = None if doubt is None else Reason(doubt)
    return Message(number, input_row, recipient, text, attempts, tries, in_doubt, bool(twice), operation_id)
