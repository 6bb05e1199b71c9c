"""Writer: the one thread and the one connection that write a ledger during a run.

Laws: `begin` returns only when the row is `sending` on disk; what is handed over while a commit is under way shares the
next one (group commit), settlements before beginnings, so that a message's last attempt is always on disk no later than
its next one. After a failed write nothing is written any more: every waiter is told, and no request leaves.
"""

import asyncio
import json
import sqlite3
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from bulksms.attempt import Attempt
from bulksms.errors import LedgerTrouble
from bulksms.ledger import commit, decisions, file
from bulksms.ledger.lock import RunLock
from bulksms.ledger.reader import Standing, read_standing
from bulksms.ledger.schema import MAY_HAVE_SENT_TWICE, timestamp
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


class Settlement(NamedTuple):
    """What is written of a message when an attempt, or the last poll for it, has ended.

    `was` is the state that it leaves; `evidence` is what the attempt proved, None if this is not about an attempt.
    """

    state: State
    reason: Reason | None = None
    doubt: Reason | None = None
    was: State = State.SENDING
    evidence: str | None = None


class _Ticket(NamedTuple):
    """Something handed over to the writer: what to write or to run, and who waits for it."""

    tell: Callable[[LedgerTrouble | None], None]
    changes: Sequence[tuple[str, int]] = ()
    settlement: tuple[object, ...] | None = None
    evidence: tuple[object, ...] | None = None
    beginning: tuple[int, float] | None = None
    errand: Callable[[sqlite3.Connection], None] | None = None


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
        self._tickets: deque[_Ticket] = deque()
        self._handed_over = threading.Event()
        self._closing = False
        self._broken: LedgerTrouble | None = None
        self._thread = threading.Thread(target=self._write, name="ledger-writer", daemon=True)
        self._thread.start()

    def begin(self, message: Message, now: float) -> asyncio.Future[None]:
        """An attempt is about to be made; await the answer before the request may leave.

        `message` counts this attempt already. `now` is a POSIX time in seconds. The future raises LedgerTrouble if the
        intent is not on disk.
        """
        changes: list[tuple[str, int]] = [(State.QUEUED, -1), (State.SENDING, 1)]
        if message.doubt is not None and not message.may_have_sent_twice:
            message.may_have_sent_twice = True
            changes.append((MAY_HAVE_SENT_TWICE, 1))
        return self._write_down(changes, beginning=(message.number, now))

    def settle(self, message: Message, attempt: Attempt, settlement: Settlement) -> asyncio.Future[None]:
        """An attempt has ended, or what it began. The next `begin` waits for it too; the future is for who cannot.

        Raises ValueError for a move that the states do not allow.
        """
        state, was = settlement.state, settlement.was
        if state not in MOVES[was]:
            raise ValueError(f"no message goes from {was} to {state}")
        row = _settled_row(message, attempt, settlement)
        evidence = None if settlement.evidence is None else _evidence_row(message, attempt, settlement, self.run)
        return self._write_down([(was, -1), (state, 1)], settlement=row, evidence=evidence)

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
        self._hand_over(
            _Ticket(
                tell=lambda trouble: _tell(future, trouble, answers),
                errand=lambda connection: answers.append(ask(connection)),
            )
        )
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

    def _write_down(
        self,
        changes: Sequence[tuple[str, int]],
        *,
        settlement: tuple[object, ...] | None = None,
        evidence: tuple[object, ...] | None = None,
        beginning: tuple[int, float] | None = None,
    ) -> asyncio.Future[None]:
        future: asyncio.Future[None] = self._loop.create_future()
        tell = partial(_tell, future, answers=(None,))
        self._hand_over(_Ticket(tell, changes, settlement, evidence, beginning))
        return future

    def _hand_over(self, ticket: _Ticket) -> None:
        trouble = self._broken or (_ended(self.path) if self._closing else None)
        if trouble is not None:
            ticket.tell(trouble)
            return
        self._tickets.append(ticket)
        if not self._handed_over.is_set():  # cheaper than to set it again, and the writer clears it before it takes
            self._handed_over.set()

    def _write(self) -> None:
        """The writer's thread: take everything that waits, write it, wake the waiters."""
        while True:
            self._handed_over.wait()
            self._handed_over.clear()
            tickets = [self._tickets.popleft() for _ in range(len(self._tickets))]
            if tickets:
                self._handle(tickets)
            elif self._closing:
                break
            if self._closing:
                self._handed_over.set()
        self._end()

    def _handle(self, tickets: list[_Ticket]) -> None:
        try:
            if self._broken is None:
                self._commit(tickets)
                for ticket in tickets:
                    if ticket.errand is not None:
                        ticket.errand(self._connection)
        except Exception as error:  # noqa: BLE001 - whatever failed, the waiters must be told or they wait for ever
            self._broken = file.trouble(self.path, error)
        with suppress(RuntimeError):  # the loop may have been closed under a run that was given up
            self._loop.call_soon_threadsafe(_tell_all, tickets, self._broken)

    def _commit(self, tickets: list[_Ticket]) -> None:
        settlements = [ticket.settlement for ticket in tickets if ticket.settlement is not None]
        evidence = [ticket.evidence for ticket in tickets if ticket.evidence is not None]
        beginnings = [ticket.beginning for ticket in tickets if ticket.beginning is not None]
        if not settlements and not beginnings:
            return
        tally: Counter[str] = Counter()
        for ticket in tickets:
            for name, change in ticket.changes:
                tally[name] += change
        with file.transaction(self._connection):
            moved = commit.settle(self._connection, settlements)
            commit.add_evidence(self._connection, evidence)
            if beginnings:
                moved += commit.begin(self._connection, [number for number, _ in beginnings], beginnings[0][1])
            commit.count(self._connection, tally)
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


def _tell(future: asyncio.Future[Answer], trouble: LedgerTrouble | None, answers: Sequence[Answer]) -> None:
    if future.done():
        return
    if trouble is None:
        future.set_result(answers[0])
    else:
        future.set_exception(trouble)
        future.exception()  # marked as seen: not everybody waits for a settlement


def _tell_all(tickets: list[_Ticket], trouble: LedgerTrouble | None) -> None:
    for ticket in tickets:
        ticket.tell(trouble)


def _settled_row(message: Message, attempt: Attempt, settlement: Settlement) -> tuple[object, ...]:
    result = attempt.result
    ended_at = attempt.began_at + attempt.elapsed
    final = settlement.state not in (State.QUEUED, State.PROCESSING)
    return (
        settlement.state,
        settlement.reason,
        message.tries,
        settlement.doubt,
        attempt.status,
        None if result is None else int(result.result_type),
        attempt.error_code,
        attempt.error,
        json.dumps(result.warnings, ensure_ascii=False) if result is not None and result.warnings else None,
        None if result is None else result.object_dn,
        attempt.operation_id or message.operation_id,
        ended_at if final else None,
        attempt.elapsed * 1000.0 if settlement.was is State.SENDING else None,
        message.number,
        settlement.was,
    )


def _evidence_row(message: Message, attempt: Attempt, settlement: Settlement, run: int) -> tuple[object, ...]:
    return (
        message.number,
        message.attempts,
        run,
        attempt.began_at,
        attempt.began_at + attempt.elapsed,
        attempt.headers_sent,
        attempt.status,
        settlement.evidence,
        attempt.error,
        attempt.elapsed * 1000.0,
    )


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
