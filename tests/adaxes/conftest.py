"""A peer of raw sockets that counts every byte of a request it gets, and certificates of our own authority."""

import asyncio
import contextlib
import datetime as dt
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trustme

SUCCESS = b'{"resultType":0,"innerMessages":[],"exception":null,"actualObjectDN":"CN=John,DC=example","extraInfo":{}}'


@dataclass
class Connection:
    """One accepted connection; what was read of it is counted by its peer."""

    peer: "Peer"
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def request(self) -> bytes:
        """Read one whole request; raises IncompleteReadError at the end of the connection."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        self.peer.received += head
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        body = await self.reader.readexactly(int(lengths[0].partition(b":")[2]) if lengths else 0)
        self.peer.received += body
        self.peer.requests.append(head + body)
        return head + body

    def answer(self, body: bytes = SUCCESS, status: str = "200 OK", headers: str = "") -> None:
        lines = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        self.writer.write(lines.encode() + body)

    def reset(self) -> None:
        """Break the connection off with a RST."""
        linger_no_time = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_no_time)
        self.writer.transport.abort()

    async def tunnel(self, port: int) -> bytes:
        """Be a proxy that opens the tunnel it is asked for to a port of this machine; returns what it was asked."""
        asked = await self.reader.readuntil(b"\r\n\r\n")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        self.writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(_carry(self.reader, writer), _carry(reader, self.writer))
        return asked

    async def until_end(self) -> None:
        """Count everything that still comes."""
        with contextlib.suppress(OSError):
            while data := await self.reader.read(65536):
                self.peer.received += data


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
    finally:
        writer.close()


Script = Callable[[Connection], Awaitable[None]]


@dataclass
class Peer:
    """A listening socket on loopback that plays a script to each connection."""

    port: int = 0
    connections: int = 0
    received: bytearray = field(default_factory=bytearray)
    requests: list[bytes] = field(default_factory=list)
    tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}/restApi"

    @property
    def secure_base(self) -> str:
        return f"https://localhost:{self.port}/restApi"

    async def quiet(self) -> None:
        """Wait until every connection's script has come to its end."""
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=10)


Listen = Callable[..., Awaitable[Peer]]


@pytest.fixture
async def listen() -> AsyncIterator[Listen]:
    """Start peers: each plays its script to whoever connects, over TLS with `ssl=`."""
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


Certify = Callable[..., ssl.SSLContext]


@pytest.fixture(scope="session")
def certify(authority: trustme.CA) -> Certify:
    """What a server with a certificate for this name shows; with negative days it has expired."""

    def context(name: str = "localhost", *, days: int = 30) -> ssl.SSLContext:
        now = dt.datetime.now(dt.UTC)
        begin, end = now - dt.timedelta(days=60), now + dt.timedelta(days=days)
        shown = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name, not_before=begin, not_after=end).configure_cert(shown)
        return shown

    return context


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
