"""Writer: the one thread and the one connection that write a ledger during a run.

Laws: `begin` returns only when the row is `sending` on disk; what is handed over while a commit is under way shares the
next one (group commit), settlements before beginnings, so that a message's last attempt is always on disk no later than
its next one. After a failed write nothing is written any more: every waiter is told, and no request leaves.
"""

import asyncio
import sqlite3
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

from bulksms.attempt import Attempt
from bulksms.errors import LedgerTrouble
from bulksms.ledger import commit, decisions, file
from bulksms.ledger.lock import RunLock
from bulksms.ledger.reader import Standing, read_standing
from bulksms.ledger.schema import MAY_HAVE_SENT_TWICE, timestamp
from bulksms.ledger.settlement import Row, Settlement, rows_of
from bulksms.message import MOVES, Message, Reason, State

Answer = TypeVar("Answer")

_CLAIM = """
SELECT number, input_row, recipient, text, attempts, tries, doubt, may_have_sent_twice, operation_id
FROM message WHERE state = ? AND number > ?
    AND {again} (SELECT 1 FROM attempt WHERE attempt.message = message.number AND run < ?) ORDER BY number LIMIT ?
"""
_FRESH, _AGAIN = _CLAIM.format(again="NOT EXISTS"), _CLAIM.format(again="EXISTS")
_RUN = """
INSERT INTO run (number, started_at, url, version, operating_system_user, host, process, settings, confirmed_by)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_FIRST_TEXT = """
SELECT text FROM message WHERE state = 'queued' AND NOT EXISTS (SELECT 1 FROM attempt) ORDER BY number LIMIT 1
"""
_BEGIN_TEST = "INSERT INTO test_message (run, recipient, text, began_at) VALUES (?, ?, ?, ?)"
_END_TEST = "UPDATE test_message SET ended_at = ?, http_status = ?, evidence = ?, error = ? WHERE run = ?"
_END_RUN = "UPDATE run SET ended_at = ?, stopped = ?, elapsed_seconds = ?, settled = ? WHERE number = ?"


class _Settled(NamedTuple):
    """Something that has ended, as it is written down."""

    move: tuple[State, State]
    row: Row
    evidence: Row | None


class _Beginning(NamedTuple):
    """An attempt that is about to be made, and who waits to make it."""

    number: int
    now: float
    is_first_after_doubt: bool
    begun: asyncio.Future[None]


class _Errand(NamedTuple):
    """Something to run between two commits, and how to tell who waits for it."""

    run: Callable[[sqlite3.Connection], None]
    tell: Callable[[LedgerTrouble | None], None]


class _Batch(NamedTuple):
    """What one commit takes, with what runs after it."""

    errands: list[_Errand]
    beginnings: list[_Beginning]
    settlements: list[_Settled]


class RunRecord(NamedTuple):
    """Who runs what, for the ledger's list of runs. `settings` is a JSON object."""

    url: str
    version: str
    user: str
    host: str
    process: int
    settings: str
    confirmed_by: str


async def open_for_run(
    path: Path, recovery: file.Recovery, record: RunRecord, again: decisions.Retry | None = None
) -> "LedgerWriter":
    """Lock and recover the ledger, note the run and, at the first one, the URL that the plan is bound to.

    What is to be sent `again` is queued in the same transaction. Raises LedgerLocked if a run is working on the ledger,
    LedgerTrouble if it cannot be used, PlanRefused if there is not so much to be sent again as was counted.
    """
    lock = RunLock(path)

    def open_and_note() -> tuple[sqlite3.Connection, int]:
        holder = f"{record.user} on {record.host}, process {record.process}"
        connection = file.open_for_run(path, lock, recovery, holder)
        try:
            with file.speaking_of(path), file.transaction(connection):
                if again is not None:
                    decisions.queue_again(connection, again)
                connection.execute("UPDATE plan SET url = ? WHERE url IS NULL", (record.url,))
                (number,) = connection.execute("SELECT COALESCE(MAX(number), 0) + 1 FROM run").fetchone()
                connection.execute(_RUN, (number, timestamp(), *record))
        except BaseException:
            with suppress(sqlite3.Error):
                file.close_after_run(connection)
            connection.close()
            lock.release()
            raise
        return connection, number

    connection, number = await asyncio.to_thread(open_and_note)
    return LedgerWriter(path, lock, connection, number)


class LedgerWriter:
    """The ledger of a living run. Its methods belong to the event loop's thread; no SQLite call is made there."""

    def __init__(self, path: Path, lock: RunLock, connection: sqlite3.Connection, run: int) -> None:
        self.path = path
        self.run = run
        self._lock = lock
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._errands: deque[_Errand] = deque()
        self._beginnings: deque[_Beginning] = deque()
        self._settlements: deque[_Settled] = deque()
        self._handed_over = threading.Event()
        self._closing = False
        self._is_waking = False
        self._broken: LedgerTrouble | None = None
        self._thread = threading.Thread(target=self._write, name="ledger-writer", daemon=True)
        self._thread.start()

    def begin(self, message: Message, now: float) -> asyncio.Future[None]:
        """An attempt is about to be made; await the answer before the request may leave.

        `message` counts this attempt already. `now` is a POSIX time in seconds. The future raises LedgerTrouble if the
        intent is not on disk.
        """
        future: asyncio.Future[None] = self._loop.create_future()
        if (trouble := self._trouble) is not None:
            _tell(future, trouble)
            return future
        is_first_after_doubt = message.doubt is not None and not message.may_have_sent_twice
        if is_first_after_doubt:
            message.may_have_sent_twice = True
        self._beginnings.append(_Beginning(message.number, now, is_first_after_doubt, future))
        self._wake()
        return future

    def settle(self, message: Message, attempt: Attempt, settlement: Settlement) -> None:
        """An attempt has ended, or what it began. It is on disk no later than what is begun or asked after it.

        So whoever settles one message and begins the next waits once for both. Raises ValueError for a move that the
        states do not allow; that the ledger failed is told by the next `begin` or `flush`.
        """
        if settlement.state not in MOVES[settlement.was]:
            raise ValueError(f"no message goes from {settlement.was} to {settlement.state}")
        if self._trouble is None:
            move = settlement.was, settlement.state
            self._settlements.append(_Settled(move, *rows_of(message, attempt, settlement, self.run)))
            self._wake()

    def claim(self, state: State, after: int, limit: int, *, again: bool = False) -> asyncio.Future[list[Message]]:
        """The next messages in this state whose number is above `after`, in the plan's order.

        `again` takes those that an earlier run has attempted already, and otherwise the others are taken.
        """
        statement, values = _AGAIN if again else _FRESH, (state, after, self.run, limit)
        return self.errand(lambda connection: [_message(row) for row in connection.execute(statement, values)])

    def errand(self, ask: Callable[[sqlite3.Connection], Answer]) -> asyncio.Future[Answer]:
        """Run something on the writing connection, between two commits, in the writer's thread."""
        future: asyncio.Future[Answer] = self._loop.create_future()
        answers: list[Answer] = []
        errand = _Errand(
            run=lambda connection: answers.append(ask(connection)),
            tell=lambda trouble: _tell(future, trouble, answers),
        )
        if (trouble := self._trouble) is not None:
            errand.tell(trouble)
        else:
            self._errands.append(errand)
            self._handed_over.set()
        return future

    async def withdraw(self, state: State, reason: Reason) -> None:
        """Make of everything `queued` this state: `expired` or `cancelled`.

        What may have been processed by an earlier attempt becomes `unknown`, for what made it doubtful.
        """
        await self.errand(lambda connection: file.withdraw(connection, state, reason))

    async def begin_test(self, recipient: str, now: float) -> str | None:
        """A test message is about to leave; its intent is on disk when this returns.

        The text is the first queued message's; None if nothing is queued, or somebody was sent to already.
        """

        def note(connection: sqlite3.Connection) -> str | None:
            row = connection.execute(_FIRST_TEXT).fetchone()
            if row is not None:
                connection.execute(_BEGIN_TEST, (self.run, recipient, row[0], now))
            return None if row is None else str(row[0])

        return await self.errand(note)

    async def end_test(self, attempt: Attempt, evidence: str) -> None:
        """What came of the test message."""
        values = (attempt.began_at + attempt.elapsed, attempt.status, evidence, attempt.error, self.run)
        await self.errand(lambda connection: connection.execute(_END_TEST, values))

    async def keep_deadline(self, at: float) -> None:
        """The deadline as a moment (POSIX seconds), for this run and those that resume it."""
        await self.errand(lambda connection: connection.execute("UPDATE plan SET deadline = ?", (at,)))

    async def flush(self) -> None:
        """Wait until everything handed over so far is on disk."""
        await self.errand(lambda _: None)

    async def standing(self) -> Standing:
        """How many messages stand where, everything handed over so far included."""
        return await self.errand(read_standing)

    async def end_run(self, stopped: str | None, elapsed: float, settled: int) -> None:
        """Note when and why the run ended, its seconds, and how many messages it settled."""
        values = (timestamp(), stopped, elapsed, settled, self.run)
        await self.errand(lambda connection: connection.execute(_END_RUN, values))

    async def close(self) -> None:
        """Wait for everything handed over, fold the log into the file, let go of the lock."""
        self._closing = True
        self._handed_over.set()
        await asyncio.to_thread(self._thread.join)

    @property
    def _trouble(self) -> LedgerTrouble | None:
        """Why nothing is taken any more."""
        return self._broken or (_ended(self.path) if self._closing else None)

    def _wake(self) -> None:
        """Have the writer take what waits once everybody who is ready now has handed over: that makes fewer commits."""
        if not self._is_waking:
            self._is_waking = True
            self._loop.call_soon(self._wake_now)

    def _wake_now(self) -> None:
        self._is_waking = False
        self._handed_over.set()

    def _write(self) -> None:
        """The writer's thread: take everything that waits, write it, wake the waiters."""
        while True:
            self._handed_over.wait()
            self._handed_over.clear()
            batch = self._take()
            if any(batch):
                self._handle(batch)
            elif self._closing:
                break
            if self._closing:
                self._handed_over.set()
        self._end()

    def _take(self) -> _Batch:
        """What waits now, the last handed over first: so that whatever it may rest on is taken with it."""
        errands = _emptied(self._errands)
        beginnings = _emptied(self._beginnings)
        return _Batch(errands, beginnings, _emptied(self._settlements))

    def _handle(self, batch: _Batch) -> None:
        try:
            if self._broken is None:
                self._commit(batch)
                for errand in batch.errands:
                    errand.run(self._connection)
        except Exception as error:  # noqa: BLE001 - whatever failed, the waiters must be told or they wait for ever
            self._broken = file.trouble(self.path, error)
        with suppress(RuntimeError):  # the loop may have been closed under a run that was given up
            self._loop.call_soon_threadsafe(_tell_all, batch, self._broken)

    def _commit(self, batch: _Batch) -> None:
        settlements = [settled.row for settled in batch.settlements]
        evidence = [settled.evidence for settled in batch.settlements if settled.evidence is not None]
        beginnings = [beginning.number for beginning in batch.beginnings]
        if not settlements and not beginnings:
            return
        with file.transaction(self._connection):
            moved = commit.settle(self._connection, settlements)
            commit.add_evidence(self._connection, evidence)
            if beginnings:
                moved += commit.begin(self._connection, beginnings, batch.beginnings[0].now)
            commit.count(self._connection, _tally(batch))
            self._require_moved(moved, len(settlements) + len(beginnings))

    def _require_moved(self, moved: int, asked: int) -> None:
        if moved != asked:
            raise LedgerTrouble(
                f"The ledger {self.path.name} was changed by somebody else while this run was working on it.",
                hint="Let only bulksms write to a ledger; `bulksms status` shows how it stands.",
            )

    def _end(self) -> None:
        try:
            file.close_after_run(self._connection)
        except sqlite3.Error:
            # What was said to be written is in the log beside the file; the next opening folds it in.
            self._connection.close()
        finally:
            self._lock.release()


def _ended(path: Path) -> LedgerTrouble:
    return LedgerTrouble(f"The run on the ledger {path.name} has ended.", hint="Open the ledger again for another run.")


def _tell(future: asyncio.Future[Answer], trouble: LedgerTrouble | None, answers: Sequence[Answer] = ()) -> None:
    if future.done():
        return
    if trouble is None:
        future.set_result(answers[0])
    else:
        future.set_exception(trouble)
        future.exception()  # marked as seen: whoever waited may have gone


def _tell_all(batch: _Batch, trouble: LedgerTrouble | None) -> None:
    for beginning in batch.beginnings:
        _tell(beginning.begun, trouble, (None,))
    for errand in batch.errands:
        errand.tell(trouble)


def _emptied(waiting: deque[Answer]) -> list[Answer]:
    """Everything that stands there now; more may be put in meanwhile."""
    return [waiting.popleft() for _ in range(len(waiting))]


def _tally(batch: _Batch) -> Counter[str]:
    """How the counters change by a commit."""
    tally: Counter[str] = Counter()
    for (was, state), moved in Counter(settled.move for settled in batch.settlements).items():
        tally[was] -= moved
        tally[state] += moved
    tally[State.QUEUED] -= len(batch.beginnings)
    tally[State.SENDING] += len(batch.beginnings)
    tally[MAY_HAVE_SENT_TWICE] += sum(beginning.is_first_after_doubt for beginning in batch.beginnings)
    return tally


def _message(row: tuple[int, int, str, str, int, int, str | None, int, str | None]) -> Message:
    number, input_row, recipient, text, attempts, tries, doubt, twice, operation_id = row
    return Message(
        number,
        input_row,
        recipient,
        text,
        attempts,
        tries,
        None if doubt is None else Reason(doubt),
        bool(twice),
        operation_id,
    )
