"""From a file to the database and back: everything comes along, all of it or nothing, and nobody's is overwritten."""

import sqlite3
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from bulksms.errors import LedgerError, PlanError
from bulksms.ledger import Author, LedgerUrl, Selection, ledger_at, open_ledger
from bulksms.ledger.postgresql.catalogue import blocking, connected, connected_to, entries
from bulksms.ledger.postgresql.export import export
from bulksms.ledger.postgresql.publishing import publish, require_free
from bulksms.ledger.records import OutcomeRecord
from bulksms.model.attempt import Attempt, OperationResult, ResultType
from bulksms.model.message import Reason, State
from tests.ledger.harness import plan, run_on


@pytest.fixture
def people(database: str) -> LedgerUrl:
    """The name of a ledger that is not there yet."""
    return LedgerUrl.parse(f"{database}?ledger=people")


async def begun(folder: Path) -> Path:
    """A ledger of a run that sent, lost an answer, and died with a request under way; a person settled the lost one."""
    file = plan(folder / "people.ledger.db", 5)
    async with run_on(file) as writer:
        accepted, lost, crashed, *_ = await writer.claim(State.QUEUED, 0, 9)
        for message in (accepted, lost, crashed):
            message.attempts += 1
            message.tries += 1
            await writer.record_intent(message, 100.0)
        words = OperationResult(ResultType.SUCCEEDED, warnings=("with a NUL: \0",))
        succeeded = Attempt(True, 200, result=words, began_at=100.0, elapsed=0.25)
        writer.record_outcome(accepted, succeeded, OutcomeRecord(State.ACCEPTED, evidence="succeeded"))
        unknown = OutcomeRecord(State.UNKNOWN, Reason.NO_ANSWER, Reason.NO_ANSWER, evidence="lost")
        writer.record_outcome(lost, Attempt(True, detail="no answer", began_at=100.0, elapsed=30.0), unknown)
        await writer.begin_test("CN=Test,DC=x", 99.0)
    ledger_at(file).resolve({2: State.FAILED}, Author("anna", "server-1", "--yes", "rang them"))
    return file


def all_rows(file: Path) -> dict[str, list[tuple[object, ...]]]:
    """What a ledger says, by table, without what is of the file alone."""
    with closing(sqlite3.connect(file)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = {it: sorted(connection.execute(f"SELECT * FROM {it}"), key=repr) for it in tables}  # noqa: S608
    found["run"] = [row[:-1] for row in found["run"]]
    found["plan"] = [row[:-2] for row in found["plan"]]
    return found


async def test_everything_comes_along_and_back(people: LedgerUrl, tmp_path: Path) -> None:
    file = await begun(tmp_path)
    publish(file, people)
    copy = tmp_path / "copy.ledger.db"
    assert export(people, copy) is False
    assert all_rows(copy) == all_rows(file)
    assert not [name for name, problem in ledger_at(copy).verify() if problem]
    with open_ledger(copy) as reader:
        assert [record.state for record in reader.messages(Selection.of(State.UNKNOWN))] == [State.UNKNOWN]
        assert [entry.action for entry in reader.operator_actions()] == ["resolve"]
        assert len(reader.runs()) == 1
    if sys.platform != "win32":
        assert stat.S_IMODE(copy.stat().st_mode) == 0o600


async def test_a_published_plan_waits_for_machines_in_one_piece(people: LedgerUrl, tmp_path: Path) -> None:
    require_free(people)
    publish(plan(tmp_path / "people.ledger.db", 7), people)
    async with connected_to(people) as connection:
        assert await connection.fetchval("SELECT sum(queued) FROM machine") == 7
        assert tuple(await connection.fetchrow("SELECT next, last FROM remainder")) == (1, 7)
        assert await connection.fetchval("SELECT count(*) FROM message WHERE state = 'queued'") == 7
        assert [entry.name for entry in await entries(connection)] == ["people"]
    with pytest.raises(PlanError, match="already, and none is ever overwritten"):
        require_free(people)


def test_a_name_and_a_ledger_are_in_a_database_once(people: LedgerUrl, tmp_path: Path) -> None:
    file = plan(tmp_path / "people.ledger.db")
    publish(file, people)
    with pytest.raises(PlanError, match="already, and none is ever overwritten"):
        publish(plan(tmp_path / "other.ledger.db"), people)
    with pytest.raises(PlanError, match="in the database already, as people") as caught:
        publish(file, LedgerUrl(people.database, "others"))
    assert str(people) in str(caught.value.hint)


def test_of_several_that_take_a_name_at_once_one_gets_it(people: LedgerUrl, tmp_path: Path) -> None:
    files = [plan(tmp_path / f"{number}.ledger.db", 50) for number in range(4)]

    def take(file: Path) -> bool:
        try:
            publish(file, people)
        except PlanError:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(take, files)) == [False, False, False, True]


def test_what_breaks_off_leaves_nothing_behind(people: LedgerUrl, tmp_path: Path) -> None:
    file = plan(tmp_path / "people.ledger.db")
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE message SET text = 'a' || char(0) || 'b' WHERE number = 3")
    with pytest.raises(LedgerError, match="refused this: invalid byte sequence"):
        publish(file, people)
    require_free(people)

    async def schemas() -> list[str]:
        async with connected(people.database) as connection:
            rows = await connection.fetch("SELECT nspname FROM pg_namespace WHERE nspname ~ 'ledger|bulksms'")
            return [row[0] for row in rows]

    assert blocking(schemas()) == []


def test_an_export_overwrites_nothing_and_leaves_no_half_of_a_file(people: LedgerUrl, tmp_path: Path) -> None:
    publish(plan(tmp_path / "people.ledger.db"), people)
    taken = tmp_path / "taken.ledger.db"
    taken.write_text("mine")
    with pytest.raises(LedgerError, match="File exists"):
        export(people, taken)
    assert taken.read_text() == "mine"
    missing = tmp_path / "missing.ledger.db"
    with pytest.raises(LedgerError, match="There is no ledger others"):
        export(LedgerUrl(people.database, "others"), missing)
    assert not missing.exists()


async def test_an_export_is_of_one_moment_and_tells_whether_machines_work(people: LedgerUrl, tmp_path: Path) -> None:
    publish(plan(tmp_path / "people.ledger.db"), people)
    async with connected_to(people) as connection:
        await connection.execute("INSERT INTO machine (run) VALUES (1)")
        assert export(people, tmp_path / "one.ledger.db") is True
        await connection.execute("UPDATE machine SET beaten_at = beaten_at - interval '1 hour'")
        assert export(people, tmp_path / "two.ledger.db") is False


async def test_without_a_catalogue_there_is_no_ledger(people: LedgerUrl, tmp_path: Path) -> None:
    async with connected(people.database) as connection:
        assert await entries(connection) == []
    with pytest.raises(LedgerError, match="There is no ledger people"):
        async with connected_to(people):
            pass
    with pytest.raises(LedgerError, match="There is no ledger people"):
        export(people, tmp_path / "copy.ledger.db")
