"""Opening: a file that is no ledger is refused, readers change nothing, recovery is part of a run's opening."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path
from unittest.mock import Mock

import pytest

from bulksms.errors import LedgerError, LedgerLockedError
from bulksms.ledger import EVIDENCE, OutcomeRecord, Selection
from bulksms.ledger.sqlite import database
from bulksms.ledger.sqlite.database import is_ledger
from bulksms.ledger.sqlite.lock import is_held
from bulksms.ledger.sqlite.reader import SqliteReader
from bulksms.ledger.sqlite.writer import SqliteWriter
from bulksms.model.attempt import Attempt, OperationResult, ResultType
from bulksms.model.message import Message, Reason, State
from bulksms.policy.retry import Evidence

Running = Callable[..., AbstractAsyncContextManager[SqliteWriter]]
AsItLies = Callable[[Path, Path], Path]
CheckLedger = Callable[[Path, int], None]
NAME = "people.ledger.db"


async def begun(ledger: SqliteWriter, count: int = 3) -> list[Message]:
    """All messages, each with an attempt under way."""
    messages = await ledger.claim(State.QUEUED, 0, count)
    for message in messages:
        message.attempts += 1
        message.tries += 1
        await ledger.record_intent(message, 1_700_000_000.0)
    return messages


def names(folder: Path) -> set[str]:
    """The files there; a lock file stays, and says nothing when it is not held."""
    return {entry.name for entry in folder.iterdir() if entry.suffix != ".lock"}


def content_of(path: Path) -> tuple[bytes, int] | None:
    return (path.read_bytes(), path.stat().st_mtime_ns) if path.is_file() else None


def read_all(path: Path) -> None:
    with SqliteReader(path) as reader:
        reader.plan()
        reader.counts()
        reader.runs()
        list(reader.messages())
        reader.check_counters()


def no_file(path: Path) -> None:
    assert not path.exists()


def not_a_database(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


def another_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE message (number INTEGER)")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (no_file, "There is no ledger"),
        (not_a_database(b""), "is not a ledger"),
        (not_a_database(b"recipient;text\r\nCN=A,DC=x;Hello\r\n"), "is not a ledger"),
        (not_a_database(b"PK\x03\x04" + bytes(5_000)), "is not a ledger"),
        (not_a_database(b"SQLite format 3\x00"), "is not a ledger"),
        (another_database, "is not a ledger"),
        (Path.mkdir, "is not a ledger"),
    ],
    ids=["missing", "empty", "CSV", "workbook", "header only", "another program's", "folder"],
)
async def test_what_is_no_ledger_is_reported_as_such_and_left_alone(
    make: Callable[[Path], None], words: str, tmp_path: Path, running: Running
) -> None:
    path = tmp_path / NAME
    make(path)
    before = content_of(path)
    assert not is_ledger(path)
    with pytest.raises(LedgerError, match=words) as trouble:
        SqliteReader(path)
    assert trouble.value.hint
    with pytest.raises(LedgerError, match=words):
        async with running(path):
            pass
    assert names(tmp_path) == ({NAME} if make is not no_file else set())
    assert content_of(path) == before


@pytest.mark.parametrize("make", [not_a_database(b""), not_a_database(b"recipient\n"), another_database, Path.mkdir])
def test_what_is_no_ledger_is_not_removed(make: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / NAME
    make(path)
    before = content_of(path)
    with pytest.raises(LedgerError, match="is not a ledger"):
        database.remove(path)
    assert names(tmp_path) == {NAME}
    assert content_of(path) == before


async def test_a_newer_ledger_is_neither_read_nor_sent(planned: Path, running: Running) -> None:
    with closing(sqlite3.connect(planned)) as connection:
        connection.execute("PRAGMA user_version = 999")
    before = content_of(planned)
    assert is_ledger(planned)
    with pytest.raises(LedgerError, match="newer version"):
        SqliteReader(planned)
    with pytest.raises(LedgerError, match="newer version"):
        async with running(planned):
            pass
    assert names(planned.parent) == {NAME}
    assert content_of(planned) == before


@pytest.mark.parametrize("size", [50, 1_000, 4_096, 10_000, 20_000])
def test_a_truncated_ledger_is_trouble_and_no_traceback(planned: Path, size: int) -> None:
    assert size < planned.stat().st_size
    os.truncate(planned, size)
    with pytest.raises(LedgerError):
        read_all(planned)


def test_a_file_that_another_program_has_locked_is_not_called_something_else(
    planned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect
    with closing(connect(planned, isolation_level=None)) as another:
        another.execute("PRAGMA locking_mode = EXCLUSIVE")
        another.execute("BEGIN EXCLUSIVE")
        # Nobody waits five seconds in a test.
        monkeypatch.setattr(sqlite3, "connect", lambda *args, **kwargs: connect(*args, **{**kwargs, "timeout": 0.0}))
        with pytest.raises(LedgerError, match="locked"):
            read_all(planned)
        another.execute("ROLLBACK")


async def test_readers_change_nothing_and_leave_nothing(planned: Path, running: Running) -> None:
    async with running(planned) as ledger:
        await begun(ledger)
    before = content_of(planned)
    with SqliteReader(planned) as reader:
        reader.plan()
        reader.counts()
        reader.check_counters()
        assert reader.last_attempt_at() is None
        assert len(list(reader.messages())) == 3
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader._connection.execute("UPDATE message SET state = 'accepted'")
    assert names(planned.parent) == {NAME}
    assert content_of(planned) == before


async def test_a_ledger_in_a_folder_that_cannot_be_written_to_is_read_as_it_lies(
    planned: Path, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(planned) as ledger:
        await begun(ledger)
    planned.parent.chmod(0o500)
    if os.access(planned.parent, os.W_OK):  # the administrator may do everything
        monkeypatch.setattr(os, "access", lambda *_: False)
    try:
        assert is_ledger(planned)
        with SqliteReader(planned) as reader:
            assert reader.counts().counts[State.UNKNOWN] == 3
            assert len(list(reader.messages())) == 3
    finally:
        planned.parent.chmod(0o700)
    assert names(planned.parent) == {NAME}


async def test_status_beside_a_living_run_sees_every_commit(
    planned: Path, running: Running, check_ledger: CheckLedger
) -> None:
    async with running(planned) as ledger:
        messages = await begun(ledger, count=2)
        assert names(planned.parent) >= {NAME, f"{NAME}-wal"}
        with SqliteReader(planned) as reader:
            counts = reader.counts()
            assert counts.is_living
            assert (counts.counts[State.QUEUED], counts.counts[State.SENDING], counts.crashed) == (1, 2, 0)
            assert (counts.unfinished, counts.left) == (3, 3)
            assert [line.state for line in reader.messages()] == [State.SENDING, State.SENDING, State.QUEUED]
            attempt = Attempt(True, 200, result=OperationResult(ResultType.SUCCEEDED), began_at=5.0)
            ledger.record_outcome(messages[0], attempt, OutcomeRecord(State.ACCEPTED, evidence="succeeded"))
            await ledger.flush()
            assert reader.counts().counts[State.ACCEPTED] == 1
            assert [line.state for line in reader.messages(Selection.of(State.ACCEPTED))] == [State.ACCEPTED]
            assert reader.runs()[0].ended_at is None
            assert reader.last_attempt_at() == 5.0
        check_ledger(planned, 3)


async def test_a_run_that_ends_while_somebody_looks_has_not_crashed(
    planned: Path, running: Running, as_it_lies: AsItLies, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(planned) as ledger:
        await begun(ledger)
        crashed = as_it_lies(planned, planned.with_name("copy.db"))
    for answers in ([True, False], [False, True]):
        held = iter(answers * 2)
        monkeypatch.setattr("bulksms.ledger.sqlite.reader.is_held", lambda _, held=held: next(held))
        with SqliteReader(crashed) as reader:
            assert reader.counts().crashed == 0
            held = iter(answers)
    monkeypatch.undo()
    with SqliteReader(crashed) as reader:
        assert reader.counts().crashed == 3


async def test_after_a_crash_what_was_sending_is_read_as_unknown(
    planned: Path, running: Running, as_it_lies: AsItLies
) -> None:
    async with running(planned) as ledger:
        await begun(ledger, count=2)
        crashed = as_it_lies(planned, planned.with_name("copy.db"))
    with SqliteReader(crashed) as reader:
        counts = reader.counts()
        assert not counts.is_living
        assert (counts.counts[State.SENDING], counts.counts[State.UNKNOWN], counts.crashed) == (0, 2, 2)
        assert (counts.total, counts.unfinished, counts.left) == (3, 1, 3)
        lines = list(reader.messages())
        assert [(line.state, line.reason) for line in lines] == [
            (State.UNKNOWN, "crash"),
            (State.UNKNOWN, "crash"),
            (State.QUEUED, None),
        ]
        assert [line.row for line in reader.messages(Selection.of(State.UNKNOWN))] == [2, 3]
        assert not list(reader.messages(Selection.of(State.SENDING)))
        reader.check_counters()


RECOVERED = {
    # mode, attempts that may be made: what the next run makes of a first one that it finds under way
    ("at-most-once", State.UNKNOWN, 5): ("unknown", "crash"),
    ("balanced", State.UNKNOWN, 5): ("unknown", "crash"),
    ("balanced", State.UNKNOWN, 1): ("unknown", "crash"),
    ("at-least-once", State.QUEUED, 5): ("queued", None),
    ("at-least-once", State.QUEUED, 2): ("queued", None),
    ("at-least-once", State.QUEUED, 1): ("unknown", "crash"),
}


@pytest.mark.parametrize("case", RECOVERED, ids=str)
async def test_the_next_run_makes_of_it_what_the_evidence_table_says(
    case: tuple[str, State, int],
    planned: Path,
    running: Running,
    as_it_lies: AsItLies,
    check_ledger: CheckLedger,
) -> None:
    async with running(planned) as ledger:
        await begun(ledger, count=1)
        crashed = as_it_lies(planned, planned.with_name("copy.db"))
    (_, state, max_attempts), outcome = case, RECOVERED[case]
    async with running(crashed, state, max_attempts) as ledger:
        assert ledger.run == 2
        with SqliteReader(crashed) as reader:
            line = next(reader.messages())
            assert (line.state.value, line.reason, line.error_code) == (*outcome, "crashed")
            assert (line.finished_at is None) is (line.state is State.QUEUED)
        assert [message.number for message in await ledger.claim(State.QUEUED, 0, 10)] == [2, 3]
        claimed = await ledger.claim(State.QUEUED, 0, 10, again=True)
        assert len(claimed) == (line.state is State.QUEUED)
        for again in claimed:
            assert (again.number, again.in_doubt, again.tries, again.attempts) == (1, Reason.CRASH, 1, 1)
            again.attempts += 1
            await ledger.record_intent(again, 6.0)
            assert (await ledger.counts()).possible_duplicate == 1
    with closing(sqlite3.connect(crashed)) as connection:
        lines = connection.execute("SELECT message, attempt, run, began_at, headers_sent, evidence FROM attempt")
        assert lines.fetchall() == [(1, 1, 1, 1_700_000_000.0, None, "crashed")]
    check_ledger(crashed, 3)


async def test_recovery_finds_nothing_in_a_ledger_that_ended_cleanly(
    planned: Path, running: Running, check_ledger: CheckLedger
) -> None:
    for number in (1, 2):
        async with running(planned, State.QUEUED) as ledger:
            assert ledger.run == number
    check_ledger(planned, 3)
    with SqliteReader(planned) as reader:
        assert reader.counts().counts[State.QUEUED] == 3
        assert reader.last_attempt_at() is None


async def test_a_clean_end_leaves_one_file(planned: Path, running: Running) -> None:
    async with running(planned) as ledger:
        await begun(ledger)
        await ledger.end_run("interrupted", 1.5, 0)
    assert names(planned.parent) == {NAME}
    with SqliteReader(planned) as reader:
        (run,) = reader.runs()
    assert (run.stopped, run.elapsed_seconds, run.settled, run.user, run.host) == (
        "interrupted",
        1.5,
        0,
        "anna",
        "server-1",
    )
    assert run.ended_at is not None


async def test_a_reader_at_the_end_costs_no_truth(planned: Path, running: Running, check_ledger: CheckLedger) -> None:
    with SqliteReader(planned) as reader:
        async with running(planned) as ledger:
            await begun(ledger, count=1)
            # The end waits a little for readers; nobody waits for that in a test.
            await ledger.execute(lambda connection: connection.execute("PRAGMA busy_timeout = 10"))
            lines = reader.messages()
            next(lines)
        assert not is_held(planned)
        lines.close()  # type: ignore[attr-defined]  # a generator
    check_ledger(planned, 3)
    async with running(planned):
        pass
    assert names(planned.parent) == {NAME}


async def test_a_second_run_is_refused_while_the_first_one_lives(planned: Path, running: Running) -> None:
    async with running(planned) as ledger:
        with pytest.raises(LedgerLockedError, match="anna on server-1, process 4711"):
            async with running(planned):
                pass
        with pytest.raises(LedgerLockedError):
            database.remove(planned)
        await begun(ledger)
    async with running(planned) as ledger:
        assert ledger.run == 2


async def test_a_ledger_is_bound_to_the_url_of_its_first_run(planned: Path, running: Running) -> None:
    async with running(planned) as ledger:
        assert ledger.path == planned
    with SqliteReader(planned) as reader:
        assert reader.plan().url == "https://adaxes.example/restApi"
        assert reader.runs()[0].url == "https://adaxes.example/restApi"


@pytest.mark.parametrize(
    "statement", ["UPDATE plan", "INSERT INTO run", "PRAGMA journal_mode = WAL", "BEGIN IMMEDIATE"]
)
async def test_a_run_that_cannot_begin_lets_go_of_the_ledger(
    statement: str, planned: Path, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(sqlite3.Connection):
        def execute(self, sql: str, *values: object) -> sqlite3.Cursor:
            if sql.strip().startswith(statement):
                raise sqlite3.OperationalError("disk I/O error")
            return super().execute(sql, *values)  # type: ignore[arg-type]  # as it was called

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **kwargs: connect(*args, factory=Failing, **kwargs))
    with pytest.raises(LedgerError, match="disk I/O error"):
        async with running(planned):
            pass
    monkeypatch.undo()
    assert not is_held(planned)
    async with running(planned) as ledger:
        assert len(await ledger.claim(State.QUEUED, 0, 10)) == 3


async def test_a_file_system_without_a_write_ahead_log_is_reported(
    planned: Path, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NetworkShare(sqlite3.Connection):
        def execute(self, sql: str, *values: object) -> sqlite3.Cursor:
            sql = sql.replace("journal_mode = WAL", "journal_mode = DELETE")
            return super().execute(sql, *values)  # type: ignore[arg-type]  # as it was called

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **kwargs: connect(*args, factory=NetworkShare, **kwargs))
    with pytest.raises(LedgerError, match="cannot carry a write-ahead log"):
        async with running(planned):
            pass


async def test_a_disk_without_room_for_the_run_is_reported_before_it_begins(
    planned: Path, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = content_of(planned)
    needed = database.SPACE_FOR_LOG + 3 * database.SPACE_A_MESSAGE
    with monkeypatch.context() as patched:
        patched.setattr("shutil.disk_usage", lambda folder: Mock(free=needed - 1) if folder == planned.parent else None)
        with pytest.raises(LedgerError, match="has 40 MB left; the run may need 40 MB") as result:
            async with running(planned):
                pass
    assert result.value.hint == "Make room first; nothing was sent."
    assert content_of(planned) == before
    assert names(planned.parent) == {NAME}
    monkeypatch.setattr("shutil.disk_usage", lambda _: Mock(free=needed))
    async with running(planned) as ledger:
        assert len(await ledger.claim(State.QUEUED, 0, 10)) == 3


async def test_a_rehearsals_ledger_is_removed_with_everything_beside_it(
    planned: Path, running: Running, as_it_lies: AsItLies
) -> None:
    async with running(planned) as ledger:
        await begun(ledger)
        crashed = as_it_lies(planned, planned.with_name("copy.db"))
    database.remove(crashed)
    database.remove(crashed)
    assert names(planned.parent) == {NAME}
    database.remove(planned)
    assert not names(planned.parent)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (sqlite3.OperationalError("database or disk is full"), "is full"),
        (OSError(28, "No space left on device"), "is full"),
        (sqlite3.OperationalError("database is locked"), "cannot be used: database is locked"),
        (PermissionError(13, "Permission denied"), "cannot be used: Permission denied"),
        (sqlite3.DatabaseError("file is not a database"), "is not a ledger"),
    ],
)
def test_trouble_is_sent_in_a_persons_words(error: Exception, words: str) -> None:
    with pytest.raises(LedgerError, match=words) as trouble, database.translate_errors(Path("people.ledger.db")):
        raise error
    assert trouble.value.hint
    assert "people.ledger.db" in f"{trouble.value} {trouble.value.hint}"


def test_counters_that_differ_from_the_rows_are_reported(planned: Path) -> None:
    with closing(sqlite3.connect(planned, isolation_level=None)) as connection:
        connection.execute("UPDATE tally SET messages = 2 WHERE name = 'queued'")
    with SqliteReader(planned) as reader, pytest.raises(LedgerError, match="queued"):
        reader.check_counters()


def test_the_ledger_knows_everything_that_an_attempt_can_prove() -> None:
    assert set(EVIDENCE) == {evidence.value for evidence in Evidence}
