"""A send through a proxy: the tunnel carries it, and a proxy that opens none let nothing leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bulksms.model.attempt import Failure
from tests.adaxes.harness import TOKEN, answer_once, client, fin_at_once, one_send, rst_at_once

if TYPE_CHECKING:
    from pathlib import Path
    from ssl import SSLContext

    from tests.adaxes.harness import Connection, Listen, Script


async def test_a_tunnel_carries_the_request_and_the_proxy_password(
    listen: Listen, tls: SSLContext, ca_file: Path
) -> None:
    seen: list[bytes] = []
    peer = await listen(answer_once, ssl=tls)

    async def script(connection: Connection) -> None:
        seen.append(await connection.tunnel(peer.port))

    proxy = await listen(script)
    attempt = await one_send(peer.secure_base, ca_file=ca_file, proxy=f"http://user:pass@127.0.0.1:{proxy.port}")
    assert (attempt.failure, attempt.status) == (None, 200)
    await proxy.quiet()
    assert seen[0].startswith(f"CONNECT localhost:{peer.port} HTTP/1.1".encode())
    assert b"Basic dXNlcjpwYXNz" in seen[0]
    assert TOKEN.encode() not in seen[0]


@pytest.mark.parametrize(
    ("status", "headers", "words"),
    [
        ("407 Authentication", "Proxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\n", "NTLM"),
        ("407 Authentication", 'Proxy-Authenticate: Basic realm="x"\r\n', "user name and password"),
        ("403 Forbidden", "", "403"),
        ("503 Away", "", "503"),
    ],
)
async def test_a_proxy_that_opens_no_tunnel_is_reported_with_its_status(
    listen: Listen, status: str, headers: str, words: str
) -> None:
    async def script(connection: Connection) -> None:
        await connection.reader.readuntil(b"\r\n\r\n")
        connection.answer(b"", status, headers)

    proxy = await listen(script)
    attempt = await one_send("https://adaxes.example.com/restApi", proxy=f"http://u:geheim@127.0.0.1:{proxy.port}")
    assert (attempt.failure, attempt.status) == (Failure.PROXY_REFUSED, int(status[:3]))
    assert not attempt.headers_sent
    assert words in (attempt.detail or "")
    assert "geheim" not in repr(attempt)


async def test_a_proxy_that_keeps_silent_is_a_connect_timeout(listen: Listen) -> None:
    async def script(connection: Connection) -> None:
        while await connection.reader.read(65536):
            pass

    proxy = await listen(script)
    attempt = await one_send("https://adaxes.example.com/restApi", 0.3, proxy=f"http://127.0.0.1:{proxy.port}")
    assert (attempt.failure, attempt.headers_sent) == (Failure.CONNECT_TIMEOUT, False)


@pytest.mark.parametrize("script", [fin_at_once, rst_at_once])
async def test_a_proxy_that_hangs_up_never_passed_the_request_on(listen: Listen, script: Script) -> None:
    proxy = await listen(script)
    attempt = await one_send("https://adaxes.example.com/restApi", proxy=f"http://127.0.0.1:{proxy.port}")
    assert attempt.failure in (Failure.DISCONNECTED, Failure.REFUSED)
    assert not attempt.headers_sent


async def test_a_proxy_that_is_not_there_is_refused(free_port: int) -> None:
    attempt = await one_send("https://adaxes.example.com/restApi", proxy=f"http://u:geheim@127.0.0.1:{free_port}")
    assert (attempt.failure, attempt.headers_sent) == (Failure.REFUSED, False)
    assert "geheim" not in repr(attempt)


async def test_a_plain_proxy_that_wants_a_log_in_answers_407(listen: Listen) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        connection.answer(b"", "407 Authentication", "Proxy-Authenticate: NTLM\r\n")

    proxy = await listen(script)
    attempt = await one_send("http://adaxes.example.com/restApi", proxy=f"http://127.0.0.1:{proxy.port}")
    assert (attempt.status, attempt.failure) == (407, None)
    assert "NTLM" in (attempt.detail or "")


async def test_a_proxy_that_opens_no_tunnel_for_a_question_let_nothing_leave(listen: Listen) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        connection.answer(b"", "403 Forbidden")

    proxy = await listen(script)
    async with client("https://adaxes.example.com/restApi", proxy=f"http://127.0.0.1:{proxy.port}") as one:
        attempt = (await one.poll("a-1")).attempt
    assert (attempt.failure, attempt.status, attempt.headers_sent) == (Failure.PROXY_REFUSED, 403, False)
