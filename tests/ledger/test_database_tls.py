"""The way to a database: its certificate is verified, and a client shows its own. TLS is ended before the server.

The server of the tests speaks no TLS, so something in between does, as PostgreSQL does it.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trustme

from bulksms.errors import LedgerError
from bulksms.ledger.name import DatabaseUrl
from bulksms.ledger.postgresql.catalogue import connected
from bulksms.sandbox.postgresql import PostgresqlServer

SSL_REQUEST = bytes.fromhex("0000000804d2162f")
"""How a client of PostgreSQL asks for TLS."""


@asynccontextmanager
async def ended_before(server: PostgresqlServer, context: ssl.SSLContext) -> AsyncIterator[int]:
    """A port at which TLS is spoken, and behind which the server is."""
    tasks: set[asyncio.Task[None]] = set()

    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65_536):
                target.write(data)
                await target.drain()
        target.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            assert await reader.readexactly(8) == SSL_REQUEST
            writer.write(b"S")
            await writer.start_tls(context)
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", server.port)
            tasks.add(asyncio.create_task(copy(inner_reader, writer)))
            await copy(reader, inner_writer)

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listener:
        yield listener.sockets[0].getsockname()[1]
    await asyncio.gather(*tasks)


def context_of(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


async def ask(database: str, port: int) -> int:
    url = database.replace("@127.0.0.1:", "@localhost:").rpartition(":")
    text = f"{url[0]}:{port}/{url[2].partition('/')[2]}?sslmode=verify-full"
    async with connected(DatabaseUrl.parse(text)) as connection:
        answer: int = await connection.fetchval("SELECT 1")
        return answer


@pytest.fixture
def authority(postgresql: PostgresqlServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> trustme.CA:
    """An authority that PGSSLROOTCERT names; the password counts for the name of this machine, too."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "root.pem")
    monkeypatch.setenv("PGSSLROOTCERT", str(tmp_path / "root.pem"))
    passwords = tmp_path / "pgpass"
    passwords.touch(mode=0o600)
    passwords.write_text(postgresql.password_file.read_text().replace("127.0.0.1", "localhost"))
    monkeypatch.setenv("PGPASSFILE", str(passwords))
    return authority


async def test_a_server_with_the_right_certificate_is_trusted(
    postgresql: PostgresqlServer, database: str, authority: trustme.CA
) -> None:
    async with ended_before(postgresql, context_of(authority, "localhost")) as port:
        assert await ask(database, port) == 1


async def test_one_of_another_authority_or_of_another_name_is_not(
    postgresql: PostgresqlServer, database: str, authority: trustme.CA
) -> None:
    for context in (context_of(trustme.CA(), "localhost"), context_of(authority, "db.example.com")):
        async with ended_before(postgresql, context) as port:
            with pytest.raises(LedgerError, match="certificate verify failed") as caught:
                await ask(database, port)
            assert "certificate" in str(caught.value.hint)


async def test_a_client_shows_the_certificate_that_its_environment_names(
    postgresql: PostgresqlServer,
    database: str,
    authority: trustme.CA,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    context = context_of(authority, "localhost")
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    async with ended_before(postgresql, context) as port:
        with pytest.raises(LedgerError, match="does not answer"):
            await ask(database, port)
        own = authority.issue_cert("machine-1.example.com")
        own.private_key_pem.write_to_path(tmp_path / "key.pem")
        own.cert_chain_pems[0].write_to_path(tmp_path / "certificate.pem")
        monkeypatch.setenv("PGSSLKEY", str(tmp_path / "key.pem"))
        monkeypatch.setenv("PGSSLCERT", str(tmp_path / "certificate.pem"))
        assert await ask(database, port) == 1
