"""The catalogue of a database: versions, and what a person is shown when the database cannot be used."""

import socket
from pathlib import Path

import asyncpg
import pytest

from bulksms.errors import LedgerError, LedgerLockedError
from bulksms.ledger import LedgerUrl
from bulksms.ledger.name import DatabaseUrl
from bulksms.ledger.postgresql import catalogue
from bulksms.ledger.postgresql.catalogue import connect, connected, connected_to, entries, find
from bulksms.ledger.postgresql.publishing import publish
from bulksms.ledger.postgresql.schema import VERSION
from bulksms.sandbox.postgresql import PostgresqlServer
from tests.ledger.harness import plan

ADD_COLUMN = "ALTER TABLE plan ADD COLUMN added text"


@pytest.fixture
def people(database: str, tmp_path: Path) -> LedgerUrl:
    """A ledger of three messages."""
    name = LedgerUrl.parse(f"{database}?ledger=people")
    publish(plan(tmp_path / "people.ledger.db"), name)
    return name


async def execute(people: LedgerUrl, statement: str) -> None:
    async with connected_to(people) as connection:
        await connection.execute(statement)


async def version(people: LedgerUrl) -> int:
    async with connected(people.database) as connection:
        entry = await find(connection, people.name)
        assert entry is not None
        found: int = await connection.fetchval(f"SELECT schema_version FROM {entry.schema}.control")  # noqa: S608 - ours
        return found


def a_version_later(monkeypatch: pytest.MonkeyPatch, *statements: str, steps: bool = True) -> None:
    """This program is of the next version, and these statements lead to it."""
    monkeypatch.setattr(catalogue, "VERSION", VERSION + 1)
    monkeypatch.setattr(catalogue, "STEPS", {VERSION: statements} if steps else {})


async def test_ledgers_of_a_newer_version_are_refused(people: LedgerUrl) -> None:
    await execute(people, "UPDATE control SET schema_version = schema_version + 1")
    with pytest.raises(LedgerError, match="The ledger people was written by a newer version"):
        await execute(people, "SELECT 1")


async def test_a_newer_catalogue_is_refused(people: LedgerUrl) -> None:
    await execute(people, "UPDATE bulksms.catalogue SET version = version + 1")
    with pytest.raises(LedgerError, match=r"The catalogue .* was written by a newer version"):
        await execute(people, "SELECT 1")
    async with connected(people.database) as connection:
        with pytest.raises(LedgerError, match="newer version"):
            await entries(connection)


async def test_an_older_ledger_is_migrated_when_it_is_opened(
    people: LedgerUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await version(people)
    a_version_later(monkeypatch, "ALTER TABLE plan ADD COLUMN added text NOT NULL DEFAULT 'yes'")
    async with connected_to(people) as connection:
        assert await connection.fetchval("SELECT added FROM plan") == "yes"
    assert await version(people) == before + 1


async def test_a_migration_happens_whole_or_not_at_all(people: LedgerUrl, monkeypatch: pytest.MonkeyPatch) -> None:
    before = await version(people)
    a_version_later(monkeypatch, ADD_COLUMN, "ALTER TABLE nowhere ADD COLUMN x text")
    with pytest.raises(LedgerError, match='relation "nowhere" does not exist'):
        await execute(people, "SELECT 1")
    assert await version(people) == before
    a_version_later(monkeypatch, ADD_COLUMN)
    await execute(people, "SELECT added FROM plan")


async def test_an_older_ledger_is_not_migrated_beneath_a_machine(
    people: LedgerUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    await execute(people, "INSERT INTO machine (run) VALUES (1)")
    a_version_later(monkeypatch)
    with pytest.raises(LedgerLockedError, match="machines with that version work on it"):
        await execute(people, "SELECT 1")


async def test_a_version_that_nobody_knows_is_named(people: LedgerUrl, monkeypatch: pytest.MonkeyPatch) -> None:
    a_version_later(monkeypatch, steps=False)
    with pytest.raises(LedgerError, match="of version 1, which this program does not know"):
        await execute(people, "SELECT 1")


async def refusal(url: str) -> LedgerError:
    with pytest.raises(LedgerError) as caught:
        async with connected(DatabaseUrl.parse(url)):
            pass
    assert caught.value.hint
    return caught.value


async def test_what_keeps_one_out_of_a_database_is_shown_with_what_helps(
    postgresql: PostgresqlServer, database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert "is not there" in str(await refusal(postgresql.url("nowhere")))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        closed = await refusal(f"postgresql://127.0.0.1:{listener.getsockname()[1]}/messaging")
    assert "does not answer" in str(closed)
    assert "does not answer" in str(await refusal(f"{database}?sslmode=require"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PGSSLROOTCERT", raising=False)
    unverified = await refusal(f"{database}?sslmode=verify-full")
    assert "root certificate file" in str(unverified)
    assert "PGSSLROOTCERT" in str(unverified.hint)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "none"))
    stranger = await refusal(database)
    assert "does not let this user in" in str(stranger)
    assert "~/.pgpass" in str(stranger.hint)


async def test_a_role_without_rights_is_sent_to_the_page_about_them(
    postgresql: PostgresqlServer, people: LedgerUrl
) -> None:
    stranger = LedgerUrl.parse(str(people).replace("postgres@", "stranger@"))
    await execute(people, "CREATE ROLE stranger LOGIN PASSWORD 'open'")
    try:
        postgresql.add_password("stranger", "open")
        for granted in (
            "SELECT 1",
            "GRANT USAGE ON SCHEMA bulksms TO stranger; GRANT SELECT ON ALL TABLES IN SCHEMA bulksms TO stranger",
        ):
            await execute(people, granted)
            with pytest.raises(LedgerError, match="does not allow this") as caught:
                await execute(stranger, "SELECT 1")
            assert "docs/how-to/postgresql.md" in str(caught.value.hint)
    finally:
        await execute(people, "DROP OWNED BY stranger; DROP ROLE stranger")


class Pooled:
    """A connection through a pooler that gives each transaction another one: what was set is lost."""

    def __init__(self) -> None:
        self.is_terminated = False

    async def execute(self, *_: object) -> None: ...

    async def fetchval(self, _: str) -> str:
        return '"$user", public'

    def terminate(self) -> None:
        self.is_terminated = True


async def test_a_pooler_in_transaction_mode_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pooled = Pooled()

    async def reach(**_: object) -> Pooled:
        return pooled

    monkeypatch.setattr(asyncpg, "connect", reach)
    with pytest.raises(LedgerError, match="pooler"):
        await connect(DatabaseUrl.parse("postgresql://db/messaging"), "ledger_1")
    assert pooled.is_terminated


async def test_a_connection_names_its_program_and_its_schema(people: LedgerUrl) -> None:
    async with connected(people.database) as connection:
        entry = await find(connection, people.name)
        assert entry is not None
    own = await connect(people.database, entry.schema, program="bulksms people 3")
    assert await own.fetchval("SHOW application_name") == "bulksms people 3"
    assert await own.fetchval("SELECT count(*) FROM message") == 3
    await own.close()
