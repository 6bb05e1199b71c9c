"""An answer counts only for a request that has left: what a server sends unasked settles no message.

Each server here refuses every request, in a way that names it: a success can only be an answer that nobody asked for.
"""

import asyncio
import os
import ssl
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bulksms.adaxes import AccessToken, Client, ClientSettings
from bulksms.adaxes.exchange import QuietConnector
from bulksms.model.attempt import Failure
from tests.adaxes.harness import SUCCESS, Connection, Listen, Peer

UNASKED = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(SUCCESS) + SUCCESS
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
ERROR = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
SECOND_SEGMENT = 0.05
"""Seconds after an answer at which a second one follows, while the connection is idle."""

Answer = Callable[[Connection, bytes], Awaitable[None]]


def own_answer(connection: Connection, request: bytes) -> None:
    """Refuse the request in a way that shows whose answer it is: the seconds to wait are the number in its text."""
    number = request.rpartition(b"text")[2].partition(b'"')[0].decode()
    connection.answer(b"", "503 Service Unavailable", f"Retry-After: {number}\r\n")


async def two_in_one_segment(connection: Connection, request: bytes) -> None:
    own_answer(connection, request)
    connection.writer.write(UNASKED)


async def unasked_before_the_answer(connection: Connection, request: bytes) -> None:
    connection.writer.write(CONTINUE * 500)
    own_answer(connection, request)


async def unasked_later(connection: Connection, request: bytes) -> None:
    own_answer(connection, request)
    await connection.writer.drain()
    await asyncio.sleep(SECOND_SEGMENT)
    connection.writer.write(UNASKED)


async def many_unasked_later(connection: Connection, request: bytes) -> None:
    await unasked_later(connection, request)
    connection.writer.write(UNASKED * 200)


async def interim_answers_later(connection: Connection, request: bytes) -> None:
    own_answer(connection, request)
    await connection.writer.drain()
    await asyncio.sleep(SECOND_SEGMENT)
    connection.writer.write(CONTINUE * 1_000)


async def error_later(connection: Connection, request: bytes) -> None:
    own_answer(connection, request)
    await connection.writer.drain()
    await asyncio.sleep(SECOND_SEGMENT)
    connection.writer.write(ERROR)


async def half_an_answer_later(connection: Connection, request: bytes) -> None:
    own_answer(connection, request)
    await connection.writer.drain()
    await asyncio.sleep(SECOND_SEGMENT)
    connection.writer.write(UNASKED[:20])


async def end_later(connection: Connection, request: bytes) -> None:
    own_answer(connection, request)
    await connection.writer.drain()
    await asyncio.sleep(SECOND_SEGMENT)
    connection.writer.close()


ANSWERS: dict[str, Answer] = {
    "two in one segment": two_in_one_segment,
    "interim answers before the answer": unasked_before_the_answer,
    "a second one while idle": unasked_later,
    "many while idle": many_unasked_later,
    "interim answers while idle": interim_answers_later,
    "an error while idle": error_later,
    "half an answer while idle": half_an_answer_later,
    "the end while idle": end_later,
}


@pytest.fixture(params=["plain", "TLS"])
def serve(
    request: pytest.FixtureRequest, listen: Listen, tls: ssl.SSLContext, ca_file: Path
) -> Callable[..., Awaitable[tuple[Peer, ClientSettings]]]:
    """Start a peer, over TLS or not, and say how to reach it with one worker."""

    async def started(script: Callable[[Connection], Awaitable[None]]) -> tuple[Peer, ClientSettings]:
        if request.param == "plain":
            peer = await listen(script)
            return peer, ClientSettings(peer.base, workers=1, timeout=5.0)
        peer = await listen(script, ssl=tls)
        return peer, ClientSettings(peer.secure_base, workers=1, timeout=5.0, ca_file=ca_file)

    return started


def answering(answer: Answer) -> Callable[[Connection], Awaitable[None]]:
    async def script(connection: Connection) -> None:
        while True:
            await answer(connection, await connection.request())

    return script


def requests_for(peer: Peer, text: str) -> int:
    return sum(text.encode() in request for request in peer.requests)


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=list(ANSWERS))
async def test_no_message_gets_an_answer_that_it_did_not_ask_for(
    answer: Answer, serve: Callable[..., Awaitable[tuple[Peer, ClientSettings]]]
) -> None:
    peer, settings = await serve(answering(answer))
    async with Client(settings, AccessToken("sandbox")) as client:
        for number in range(4):
            attempt = await client.send(f"CN={number}", f"text{number}")
            assert (attempt.status, attempt.retry_after) == (503, number), attempt
            assert requests_for(peer, f"text{number}") == 1
            await asyncio.sleep(2 * SECOND_SEGMENT)


async def test_a_connection_without_unasked_bytes_is_used_again(
    serve: Callable[..., Awaitable[tuple[Peer, ClientSettings]]],
) -> None:
    async def plain(connection: Connection, request: bytes) -> None:
        own_answer(connection, request)

    peer, settings = await serve(answering(plain))
    async with Client(settings, AccessToken("sandbox")) as client:
        for number in range(5):
            assert (await client.send(f"CN={number}", f"text{number}")).status == 503
            await asyncio.sleep(SECOND_SEGMENT)
    assert peer.connections == 1


async def test_bytes_that_the_event_loop_has_not_read_yet_are_noticed(listen: Listen) -> None:
    """A thread writes them while the event loop is busy: they are in the kernel only."""

    async def script(connection: Connection) -> None:
        while True:
            own_answer(connection, await connection.request())
            descriptor = connection.writer.get_extra_info("socket").fileno()
            threading.Timer(SECOND_SEGMENT, os.write, (descriptor, UNASKED)).start()

    peer = await listen(script)
    async with Client(ClientSettings(peer.base, workers=1, timeout=5.0), AccessToken("sandbox")) as client:
        for number in range(3):
            attempt = await client.send(f"CN={number}", f"text{number}")
            assert (attempt.status, requests_for(peer, f"text{number}")) == (503, 1)
            time.sleep(2 * SECOND_SEGMENT)  # noqa: ASYNC251 - so that the loop reads nothing meanwhile


async def test_bytes_that_arrive_between_the_look_and_the_request_settle_nothing(
    listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As uvloop may do it, which reads from a socket before it goes on with what is ready."""

    async def script(connection: Connection) -> None:
        while True:
            own_answer(connection, await connection.request())

    connect = QuietConnector.connect

    async def connect_and_read(*arguments: Any, **options: Any) -> Any:
        connection: Any = await connect(*arguments, **options)
        asyncio.get_running_loop().call_soon(connection.protocol.data_received, UNASKED)
        return connection

    peer = await listen(script)
    monkeypatch.setattr(QuietConnector, "connect", connect_and_read)
    async with Client(ClientSettings(peer.base, workers=1, timeout=5.0), AccessToken("sandbox")) as client:
        attempt = await client.send("CN=1", "text1")
    assert (attempt.headers_sent, attempt.status, attempt.result) == (False, None, None)
    assert attempt.failure is Failure.DISCONNECTED
    assert attempt.error == "an answer came before the request had left"
    assert peer.received == b""


async def test_a_server_that_speaks_first_gets_no_request(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    async def greet(connection: Connection) -> None:
        connection.writer.write(UNASKED)
        await connection.until_end()

    create = aiohttp.TCPConnector._create_connection

    async def create_and_wait(*arguments: Any) -> Any:
        protocol = await create(*arguments)
        await asyncio.sleep(SECOND_SEGMENT)
        return protocol

    monkeypatch.setattr(aiohttp.TCPConnector, "_create_connection", create_and_wait)
    peer = await listen(greet)
    async with Client(ClientSettings(peer.base, workers=1, timeout=5.0), AccessToken("sandbox")) as client:
        attempt = await client.send("CN=0", "text0")
    assert (attempt.headers_sent, attempt.status, attempt.failure) == (False, None, Failure.DISCONNECTED)
    assert attempt.error == "the server sent something before it was asked anything"
    assert peer.received == b""


async def test_success_before_the_request_has_left_whole_is_no_success(listen: Listen) -> None:
    async def hasty(connection: Connection) -> None:
        await connection.reader.readuntil(b"\r\n\r\n")
        connection.answer()
        await connection.writer.drain()
        await asyncio.sleep(60)

    peer = await listen(hasty)
    async with Client(ClientSettings(peer.base, workers=1, timeout=5.0), AccessToken("sandbox")) as client:
        attempt = await client.send("CN=1", "x" * 20_000_000)
    assert (attempt.headers_sent, attempt.result) == (True, None)
    assert attempt.failure is Failure.MALFORMED


async def test_a_refusal_before_the_request_has_left_whole_is_one(listen: Listen) -> None:
    async def hasty(connection: Connection) -> None:
        await connection.reader.readuntil(b"\r\n\r\n")
        connection.answer(b"", "413 Content Too Large")
        await connection.writer.drain()
        await asyncio.sleep(60)

    peer = await listen(hasty)
    async with Client(ClientSettings(peer.base, workers=1, timeout=5.0), AccessToken("sandbox")) as client:
        attempt = await client.send("CN=1", "x" * 20_000_000)
    assert (attempt.headers_sent, attempt.status, attempt.failure) == (True, 413, None)
