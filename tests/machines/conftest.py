"""A ledger in a database with machines on it; and a database server that a test may stop and kill."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bulksms.sandbox import Sandbox
from bulksms.sandbox.postgresql import PostgresqlServer
from tests.machines.harness import MESSAGES, Machines, planned

LATENCY = (0.05, 0.15)


@pytest.fixture
async def machines(database: str, tmp_path: Path) -> AsyncIterator[Machines]:
    """A planned ledger, and no machine yet."""
    url = await planned(database, tmp_path)
    async with Sandbox(latency=LATENCY) as server:
        made = Machines(url, server, MESSAGES)
        yield made
        made.kill_all()


@pytest.fixture
def own_server(postgresql: PostgresqlServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresqlServer]:
    """A database server of the test's own."""
    del postgresql  # it says whether there is one at all
    with PostgresqlServer() as server:
        monkeypatch.setenv("PGPASSFILE", str(server.password_file))
        yield server


@pytest.fixture
async def alone(own_server: PostgresqlServer, tmp_path: Path) -> AsyncIterator[Machines]:
    """A planned ledger on a server of its own, and no machine yet."""
    url = await planned(own_server.create_database("machines"), tmp_path)
    async with Sandbox(latency=LATENCY) as server:
        made = Machines(url, server, MESSAGES)
        yield made
        made.kill_all()
