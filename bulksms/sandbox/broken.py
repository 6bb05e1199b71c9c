"""Broken: answers that are none, played on the connection itself.

Law: what a client sees is what the fault's name says, whatever library it uses: the bytes and the way in which the
connection ends are made here, by hand. A stalled exchange ends when its client goes or the server stops.
"""

import asyncio
import contextlib
import socket
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from bulksms.sandbox.answers import JSON
from bulksms.sandbox.fault import Fault

# `struct linger` with the linger switched on and no time: close() sends RST. Winsock's members are shorts.
_RESET_AT_ONCE = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
_DRIP_BYTES = 40
_DRIP_PAUSE = 0.005


class Ending(Enum):
    """How a connection ends."""

    FINISH = auto()
    """FIN: closed in order, after what was written."""
    RESET = auto()
    """RST: closed at once."""
    SILENCE = auto()
    """Not at all, until the client goes."""


@dataclass(frozen=True, slots=True)
class Broken:
    """What is sent before the end (with `status` if a status line is among it), and the end."""

    ending: Ending
    sent: bytes = b""
    status: int | None = None
    dripped: bool = False


class Gone(web.StreamResponse):
    """What a handler returns when the connection was ended under it: aiohttp writes nothing more and lets go."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:  # noqa: ARG002 - aiohttp's signature
        raise ConnectionResetError("ended on purpose")


def _answer(body: bytes, connection: str = "close") -> bytes:
    """The head of a good answer and what there is of its body."""
    head = f"Content-Type: {JSON}\r\nContent-Length: {len(_RESULT)}\r\nConnection: {connection}\r\n\r\n"
    return f"HTTP/1.1 200 OK\r\n{head}".encode() + body


_RESULT = b'{"resultType":0,"innerMessages":[],"exception":null,"actualObjectDN":null,"extraInfo":{}}'

BROKEN: Mapping[Fault, Broken] = MappingProxyType(
    {
        Fault.DROP_BEFORE: Broken(Ending.FINISH),
        Fault.DROP_AFTER: Broken(Ending.FINISH),
        Fault.RESET_BEFORE: Broken(Ending.RESET),
        Fault.RESET_AFTER: Broken(Ending.RESET),
        Fault.STALL_BEFORE: Broken(Ending.SILENCE),
        Fault.STALL: Broken(Ending.SILENCE),
        Fault.STALL_BODY: Broken(Ending.SILENCE, _answer(_RESULT[:20]), 200),
        Fault.TRUNCATED: Broken(Ending.FINISH, _answer(_RESULT[:20]), 200),
        Fault.GARBAGE: Broken(Ending.FINISH, b"\x16\x03\x01 this is not HTTP\r\n\r\n"),
        Fault.ANSWER_THEN_CLOSE: Broken(Ending.FINISH, _answer(_RESULT, "keep-alive"), 200),
        Fault.DRIP: Broken(Ending.FINISH, _answer(_RESULT), 200, dripped=True),
    }
)


async def play(broken: Broken, request: web.BaseRequest) -> Gone:
    """Sends what there is to send and ends the connection."""
    transport = request.transport
    if transport is None:
        return Gone()
    if broken.dripped:
        for start in range(0, len(broken.sent), _DRIP_BYTES):
            transport.write(broken.sent[start : start + _DRIP_BYTES])
            await asyncio.sleep(_DRIP_PAUSE)
    else:
        transport.write(broken.sent)
    if broken.ending is Ending.SILENCE:
        await _for_ever()
    end(transport, reset=broken.ending is Ending.RESET)
    return Gone()


async def _for_ever() -> None:
    """Until the handler is cancelled: aiohttp does it when the client goes, the sandbox when it stops."""
    await asyncio.get_running_loop().create_future()


def end(transport: asyncio.Transport, *, reset: bool = False) -> None:
    """Closes a connection in order, or resets it."""
    if not reset:
        transport.close()
        return
    sock = transport.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):  # the other side may have closed it
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_ONCE)
    transport.abort()
