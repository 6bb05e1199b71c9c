"""Log-in: one for all workers, in time, and never a second one after a refusal. The judge is the simulator."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING

import msgspec
import pytest

from bulksms.adaxes import AccessToken, Account, Client, ClientSettings, Credentials, is_unauthenticated
from bulksms.adaxes.endpoint import Token
from bulksms.errors import UsageError
from bulksms.model.attempt import Failure
from bulksms.sandbox import Fault, Sandbox
from bulksms.sandbox.server import Account as SandboxAccount
from bulksms.system import SYSTEM

if TYPE_CHECKING:
    from tests.adaxes.harness import Connection, Listen, Script

USERNAME, PASSWORD = "operator@example.com", "sandbox"
GOOD = Account(USERNAME, PASSWORD)
WRONG = Account(USERNAME, "correct horse")
CREATE = "POST /api/authSessions/create"
RECIPIENT = "CN=John Smith,CN=Users,DC=example,DC=com"


def client(url: str, credentials: Credentials = GOOD, **options: object) -> Client:
    return Client(ClientSettings(url, **options), credentials)  # type: ignore[arg-type]


def tokenless(**options: float) -> Sandbox:
    return Sandbox(token=None, account=SandboxAccount(USERNAME, PASSWORD, **options))


async def test_many_workers_share_one_log_in() -> None:
    async with tokenless() as sandbox, client(sandbox.url) as one:
        problems = await asyncio.gather(*[one.ready() for _ in range(20)])
        attempts = await asyncio.gather(*[one.send(RECIPIENT, f"text {number}") for number in range(20)])
    assert problems == [None] * 20
    assert all(attempt.result is not None for attempt in attempts)
    assert sandbox.journal.calls["POST /api/auth"] == 1
    assert sandbox.journal.calls["POST /api/authSessions/create"] == 1


async def test_many_workers_share_a_log_in_that_fails() -> None:
    """Those who waited for it get its answer; the next one to ask tries again."""
    async with tokenless() as sandbox, client(sandbox.url) as one:
        sandbox.trouble[CREATE] = [Fault.HTML_503] * 2
        problems = await asyncio.gather(*[one.ready() for _ in range(20)])
        assert len({id(problem) for problem in problems}) == 1
        assert problems[0] is not None
        assert not problems[0].final
        assert sandbox.journal.calls[CREATE] == 1
        await asyncio.gather(*[one.renew(None) for _ in range(20)])
        assert sandbox.journal.calls[CREATE] == 2
        assert await one.ready() is None
    assert sandbox.journal.calls[CREATE] == 3


async def test_the_end_gives_token_and_session_back() -> None:
    async with tokenless() as sandbox:
        async with client(sandbox.url) as one:
            assert await one.ready() is None
            assert (sandbox.log_ins.open_tokens, sandbox.log_ins.open_sessions) == (1, 1)
        assert (sandbox.log_ins.open_tokens, sandbox.log_ins.open_sessions) == (0, 0)


async def test_the_end_logs_out_also_when_cancelled() -> None:
    async with tokenless() as sandbox:
        entered = asyncio.Event()

        async def run() -> None:
            async with client(sandbox.url) as one:
                await one.ready()
                entered.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(run())
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (sandbox.log_ins.open_tokens, sandbox.log_ins.open_sessions) == (0, 0)


async def test_a_log_out_that_is_not_answered_holds_nothing_up(listen: Listen) -> None:
    peer = await listen(log_in_server("2999-01-01T00:00:00.0000000Z", log_out=False))
    async with client(peer.base, timeout=0.3) as one:
        assert await one.ready() is None
        began = time.monotonic()
    assert time.monotonic() - began < 20
    assert sum(request.startswith(b"DELETE") for request in peer.requests) == 1


async def test_ten_lifetimes_take_ten_log_ins_and_nobody_is_refused() -> None:
    """Renewed a tenth before its end: no send that takes less than that ever meets an expired token."""
    lifetime, lives = 0.4, 5
    async with tokenless(token_lifetime=lifetime) as sandbox, client(sandbox.url) as one:
        end = time.monotonic() + lives * lifetime

        async def worker() -> list[int | None]:
            statuses = []
            while time.monotonic() < end:
                assert await one.ready() is None
                began = time.monotonic()
                status = (await one.send(RECIPIENT, "text")).status
                if time.monotonic() - began < lifetime / 10:
                    statuses.append(status)
                elif status == 401:
                    await one.renew(one.token)
                await asyncio.sleep(0.01)
            return statuses

        for statuses in await asyncio.gather(*[worker() for _ in range(4)]):
            assert set(statuses) <= {200}
        assert lives / 2 <= sandbox.log_ins.issued <= lives * 1.4 + 1


async def test_a_revoked_token_is_replaced_once_for_all_workers() -> None:
    async with tokenless() as sandbox, client(sandbox.url) as one:
        assert await one.ready() is None
        await one.send(RECIPIENT, "proves the token")
        sandbox.log_ins.revoke()

        async def worker() -> bool:
            exchange = one.exchange(RECIPIENT, "text")
            attempt = await exchange.run()
            assert is_unauthenticated(attempt)
            assert await one.renew(exchange.token) is None
            return (await one.send(RECIPIENT, "text")).result is not None

        assert await asyncio.gather(*[worker() for _ in range(8)]) == [True] * 8
        assert sandbox.log_ins.issued == 2


async def test_a_new_token_that_is_refused_at_once_ends_it() -> None:
    async with tokenless() as sandbox, client(sandbox.url) as one:
        assert await one.ready() is None
        sandbox.log_ins.revoke()
        exchange = one.exchange(RECIPIENT, "text")
        assert is_unauthenticated(await exchange.run())
        problem = await one.renew(exchange.token)
        assert problem is not None
        assert problem.final
        assert await one.ready() is problem
        assert sandbox.log_ins.issued == 1


async def test_a_refused_access_token_is_final_without_any_request() -> None:
    async with Sandbox(token="another") as sandbox, client(sandbox.url, AccessToken("wrong")) as one:
        assert await one.ready() is None
        exchange = one.exchange(RECIPIENT, "text")
        assert is_unauthenticated(await exchange.run())
        problem = await one.renew(exchange.token)
        assert problem is not None
        assert problem.final
        assert "access token" in problem.sentence
        assert await one.ready() is problem
        assert not sandbox.journal.calls["POST /api/authSessions/create"]


async def test_a_wrong_password_makes_exactly_one_request() -> None:
    async with tokenless() as sandbox, client(sandbox.url, WRONG) as one:
        problems = await asyncio.gather(*[one.ready() for _ in range(10)])
        problems.append(await one.ready())
        await one.poll("some-operation")
        assert sandbox.journal.calls["POST /api/authSessions/create"] == 1
    problem = problems[0]
    assert problem is not None
    assert all(one_more is problem for one_more in problems)
    assert problem.final
    assert problem.attempts_left == 4
    assert problem.sentence == ("The user name or the password is wrong. 4 more tries before the account is locked.")
    assert "correct horse" not in repr(problem)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("invalidCredentials", "wrong"),
        ("accessDenied", "not allowed"),
        ("accountIsDisabled", "disabled"),
        ("accountLockedOut", "locked out"),
        ("accountExpired", "expired"),
        ("logonTimeIncorrect", "time of day"),
        ("somethingNew", "The log-in failed."),
    ],
)
async def test_every_refusal_is_reported_in_plain_words(code: str, words: str) -> None:
    async with tokenless() as sandbox, client(sandbox.url) as one:
        sandbox.log_ins.refusal = code
        problem = await one.ready()
    assert problem is not None
    assert problem.final
    assert words in problem.sentence


@pytest.mark.parametrize(
    ("answer", "final", "words"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", True, "404"),
        (b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n", True, "302"),
        (b"HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n", True, "405"),
        (b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n", True, "400"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n<html>Log in</h", True, "none that Adaxes gives"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n<html>", False, "200"),
        (b"HTTP/1.1 503 Away\r\nContent-Length: 0\r\n\r\n", False, "503"),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", False, "500"),
        (b"HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n", False, "429"),
        (b"", False, "did not reach"),
    ],
)
async def test_only_what_cannot_change_is_final(listen: Listen, answer: bytes, final: bool, words: str) -> None:
    async def script(connection: Connection) -> None:
        while await connection.request():
            connection.writer.write(answer)
            if b"Length: 0" not in answer:
                return

    peer = await listen(script)
    async with client(peer.base) as one:
        problem = await one.ready()
        assert problem is not None
        assert (problem.final, words in problem.sentence) == (final, True)
        again = await one.ready()
    assert len(peer.requests) == (1 if final else 2)
    assert (again is problem) == final


async def test_a_renewal_that_fails_by_bad_luck_leaves_the_old_token_in_use() -> None:
    async with tokenless(token_lifetime=1.5) as sandbox, client(sandbox.url) as one:
        assert await one.ready() is None
        token = one.token
        assert token is not None
        token.renew_at = SYSTEM.monotonic()
        sandbox.trouble["POST /api/authSessions/create"] = [Fault.HTML_503]
        assert await one.ready() is None
        assert one.token is token
        assert (await one.send(RECIPIENT, "text")).result is not None
        token.renew_at = token.expires_at = SYSTEM.monotonic()
        sandbox.trouble["POST /api/authSessions/create"] = [Fault.HTML_503]
        problem = await one.ready()
        assert problem is not None
        assert not problem.final
        assert problem.attempt.status == 503
        assert await one.ready() is None
        assert one.token is not token


async def test_a_poll_logs_in_again_by_itself() -> None:
    async with tokenless() as sandbox, client(sandbox.url) as one:
        assert await one.ready() is None
        await one.send(RECIPIENT, "proves the token")
        sandbox.log_ins.revoke()
        poll = await one.poll("unknown")
        assert poll.attempt.status == 404
        assert sandbox.log_ins.issued == 2


@pytest.mark.parametrize("token", [b'{"token": ""}', b'{"token": "a\\nb"}', b'{"token": 7}', b"[]"])
async def test_a_second_step_without_a_token_is_final_and_keeps_the_session_id_out(
    listen: Listen, token: bytes
) -> None:
    async def script(connection: Connection) -> None:
        while request := await connection.request():
            connection.answer(b'{"sessionId":"s3cret-id"}' if b"authSessions/create" in request else token)

    peer = await listen(script)
    async with client(peer.base) as one:
        problem = await one.ready()
    assert problem is not None
    assert problem.final
    assert "s3cret-id" not in repr(problem)


async def test_an_unreachable_server_is_not_final(free_port: int) -> None:
    async with client(f"http://127.0.0.1:{free_port}/restApi") as one:
        problem = await one.ready()
        assert problem is not None
        assert not problem.final
        assert problem.attempt.failure is Failure.REFUSED


@pytest.mark.parametrize("step", [1, 2])
async def test_a_server_that_repeats_what_it_was_sent_gives_nothing_away(listen: Listen, step: int) -> None:
    async def script(connection: Connection) -> None:
        while request := await connection.request():
            if step == 2 and b"authSessions/create" in request:
                connection.answer(b'{"sessionId": "s3cret"}')
            else:
                echo = {"message": "Bad: s3cret", "code": "s3cret", "modelState": {"s3cret": ["s3cret"]}}
                connection.answer(msgspec.json.encode(echo), "400 Bad Request")

    peer = await listen(script)
    async with client(peer.base, Account("me", "s3cret" if step == 1 else "password")) as one:
        problem = await one.ready()
    assert len(peer.requests) == step
    assert problem is not None
    assert "Bad: " in problem.sentence
    assert "s3cret" not in repr(problem)


# --- life-times --------------------------------------------------------------------------------------------


def log_in_server(expires: str | None, date: str | None = None, *, log_out: bool = True) -> Script:
    headers = f"Date: {date}\r\n" if date else ""

    async def script(connection: Connection) -> None:
        while request := await connection.request():
            if b"authSessions/create" in request:
                connection.answer(b'{"sessionId":"s/1","expiresAtUtc":null}')
            elif request.startswith(b"POST"):
                body = {"token": "t+1"} | ({"expiresAtUtc": expires} if expires else {})
                connection.answer(msgspec.json.encode(body), headers=headers)
            elif log_out:
                connection.answer(b"", "204 No Content")

    return script


@pytest.mark.parametrize("expires", [None, "soon", "", "9999-99-99T00:00:00Z", "1999-01-01T00:00:00.0000000Z"])
async def test_a_token_without_a_believable_end_is_used_until_it_is_refused(
    listen: Listen, expires: str | None
) -> None:
    peer = await listen(log_in_server(expires))
    async with client(peer.base) as one:
        assert await one.ready() is None
        assert await one.ready() is None
        token = one.token
    assert token is not None
    assert (token.renew_at, token.expires_at) == (math.inf, math.inf)
    deletes = [request.split(b" ")[1] for request in peer.requests if request.startswith(b"DELETE")]
    assert deletes == [b"/restApi/api/auth?token=t%2B1", b"/restApi/api/authSessions?id=s%2F1"]


async def test_the_servers_clock_counts_where_clocks_differ(listen: Listen) -> None:
    peer = await listen(log_in_server("2001-01-01T00:30:00.1234567Z", "Mon, 01 Jan 2001 00:00:00 GMT"))
    async with client(peer.base) as one:
        began = SYSTEM.monotonic()
        assert await one.ready() is None
        token = one.token
        assert token is not None
    assert 1799 < token.expires_at - began < 1810
    assert token.expires_at - token.renew_at == pytest.approx(60)


# --- secrets -----------------------------------------------------------------------------------------------


def test_no_secret_is_in_a_repr() -> None:
    shown = repr([AccessToken("s3cret"), Account("me", "s3cret"), Token("s3cret"), client("https://x", WRONG)])
    assert "s3cret" not in shown
    assert "correct horse" not in shown
    assert "me" in shown


@pytest.mark.parametrize("value", ["", "  ", "xx yy", "a\nb", "tökén", "Bearer abc", "a\x00", "a\x7f"])
def test_a_token_that_cannot_be_one_is_refused_without_showing_it(value: str) -> None:
    with pytest.raises(UsageError) as caught:
        AccessToken(value)
    assert caught.value.hint is not None
    assert not value.strip() or value not in str(caught.value)


@pytest.mark.parametrize(("username", "password"), [("", "x"), ("  ", "x"), ("me", "")])
def test_an_account_without_name_or_password_is_refused(username: str, password: str) -> None:
    with pytest.raises(UsageError):
        Account(username, password)


def test_the_blanks_around_a_token_do_not_matter() -> None:
    assert AccessToken(" abc\n") == AccessToken("abc")


async def test_a_new_token_that_expired_before_its_first_use_is_replaced() -> None:
    """A machine that was held up for a life-time must not take that for a refusal."""
    async with tokenless(token_lifetime=0.2) as server:
        async with client(server.url) as own:
            assert await own.ready() is None
            exchange = own.exchange(RECIPIENT, "Hi")
            await asyncio.sleep(0.25)
            assert is_unauthenticated(await exchange.run())
            assert await own.renew(exchange.token) is None
            assert (await own.send(RECIPIENT, "Hi")).status == 200
        assert server.log_ins.issued == 2
