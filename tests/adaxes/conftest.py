"""Peers that play a script, ports in every condition, and certificates of our own authority."""

import asyncio
import contextlib
import datetime as dt
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.adaxes.harness import Certify, Connection, Listen, Peer, Script


@pytest.fixture
async def listen() -> AsyncIterator[Listen]:
    """Start peers: each plays its script to every client, over TLS with `ssl=`."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(script: Script, **options: object) -> Peer:
            peer = Peer()

            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                peer.connections += 1
                task = asyncio.current_task()
                assert task is not None
                peer.tasks.add(task)
                try:
                    with contextlib.suppress(asyncio.IncompleteReadError, OSError):
                        await script(Connection(peer, reader, writer))
                finally:
                    writer.close()
                    with contextlib.suppress(OSError, asyncio.CancelledError):
                        await writer.wait_closed()
                    peer.tasks.discard(task)

            server = await asyncio.start_server(serve, "127.0.0.1", 0, **options)  # type: ignore[arg-type]
            peer.port = server.sockets[0].getsockname()[1]

            async def stop() -> None:
                server.close()
                tasks = list(peer.tasks)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await server.wait_closed()

            stack.push_async_callback(stop)
            return peer

        yield start


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    path.write_bytes(authority.cert_pem.bytes())
    return path


@pytest.fixture(scope="session")
def certify(authority: trustme.CA) -> Certify:
    """A server's context with a certificate for this name; with negative days it has expired."""

    def context(
        name: str = "localhost", *, days: int = 30, begins_in: int = -60, is_self_signed: bool = False
    ) -> ssl.SSLContext:
        now = dt.datetime.now(dt.UTC)
        begin, end = now + dt.timedelta(days=begins_in), now + dt.timedelta(days=days)
        shown = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if is_self_signed:
            _self_signed(name, begin, end, shown)
        else:
            authority.issue_cert(name, not_before=begin, not_after=end).configure_cert(shown)
        return shown

    return context


def _self_signed(name: str, begin: dt.datetime, end: dt.datetime, context: ssl.SSLContext) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number(), begin, end)
    certificate = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False).sign(
        key, hashes.SHA256()
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + certificate.public_bytes(serialization.Encoding.PEM)
    with trustme.Blob(pem).tempfile() as file:
        context.load_cert_chain(file)


@pytest.fixture
def free_port() -> Iterator[int]:
    """A port that is bound, so that nobody else gets it, and does not listen."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture
def full_backlog() -> Iterator[int]:
    """A port whose queue of connections is full: one more gets no answer."""
    with socket.socket() as listening, contextlib.ExitStack() as stack:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        port = listening.getsockname()[1]
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        yield port


@pytest.fixture(scope="session")
def tls(certify: Certify) -> ssl.SSLContext:
    return certify()
