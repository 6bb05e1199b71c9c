"""A peer of raw sockets that counts every byte of a request it gets, and certificates of our own authority."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bulksms.adaxes import AccessToken, Client, ClientSettings

if TYPE_CHECKING:
    from bulksms.model.attempt import Attempt

SUCCESS = b'{"resultType":0,"innerMessages":[],"exception":null,"actualObjectDN":"CN=John,DC=example","extraInfo":{}}'


@dataclass
class Connection:
    """One accepted connection; what was read of it is counted by its peer."""

    peer: Peer
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
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

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
Certify = Callable[..., ssl.SSLContext]


RECIPIENT = "CN=Smith\\, John,CN=Users,DC=example,DC=com"
TEXT = "Ausfall ab 18:00, bitte ä€ \U0001f4f5 speichern"
TOKEN = "T0ken+/=secret"


def client(base_url: str, patience: float = 5.0, **options: object) -> Client:
    return Client(ClientSettings(base_url, timeout=patience, **options), AccessToken(TOKEN))  # type: ignore[arg-type]


async def one_send(base_url: str, patience: float = 5.0, **options: object) -> Attempt:
    """One message, sent once; what came of it."""
    async with client(base_url, patience, **options) as one:
        return await one.send(RECIPIENT, TEXT)


async def fin_at_once(_: Connection) -> None:
    pass


async def rst_at_once(connection: Connection) -> None:
    connection.reset()


async def fin_after_reading(connection: Connection) -> None:
    await connection.request()


async def silence(connection: Connection) -> None:
    await connection.request()
    await connection.until_end()


async def answer_once(connection: Connection) -> None:
    await connection.request()
    connection.answer()
