"""Questions are bounded, paced, asked again after bad luck, and given up in a sentence."""

import asyncio
import time

import pytest

from bulksms.adaxes import AccessToken, Account, Client, ClientSettings, LookupAnswer, look_up
from bulksms.directory import RequestQueue
from bulksms.errors import ServerError
from bulksms.policy.retry import RetryPolicy
from bulksms.sandbox import Directory, Fault, Sandbox

QUICK = RetryPolicy(base=0.001, cap=0.01)
LOOK_UP = "GET /api/directoryObjects"


async def ask_all(
    server: Sandbox,
    count: int,
    *,
    at_once: int = 4,
    rate: float | None = None,
    credentials: AccessToken | Account | None = None,
) -> tuple[list[LookupAnswer], int, int]:
    """The answers, how many were reported, and the most questions that were open at once."""
    result = most = now = 0
    settings = ClientSettings(server.url, workers=at_once, timeout=5.0)
    async with Client(settings, credentials or AccessToken("sandbox")) as client:
        asking = RequestQueue(client, at_once=at_once, rate=rate, policy=QUICK)

        async def ask(identifier: str) -> LookupAnswer:
            nonlocal most, now
            now += 1
            most = max(most, now)
            try:
                return await look_up(client, identifier)
            finally:
                now -= 1

        def note(more: int) -> None:
            nonlocal result
            result += more

        people = [person.guid for person in server.directory]
        return await asking.each([people[place % len(people)] for place in range(count)], ask, note), result, most


async def test_answers_come_in_the_order_of_the_questions_and_each_is_counted() -> None:
    async with Sandbox(directory=Directory.synthetic(size=30)) as server:
        answers, result, most = await ask_all(server, 30)
        guids = [person.guid for person in server.directory][:30]
    assert [answer.found and answer.found.guid for answer in answers] == guids
    assert result == 30
    assert 1 <= most <= 4


async def test_nothing_is_asked_faster_than_the_rate() -> None:
    async with Sandbox() as server:
        began = time.monotonic()
        await ask_all(server, 11, rate=50.0)
        times = [call.clock for call in server.journal.called]
    assert times[-1] - began >= 10 / 50.0 - 0.005


async def test_bad_luck_is_asked_again() -> None:
    trouble = [Fault.HTML_503, Fault.STATUS_500, Fault.RESET_AFTER, Fault.GARBAGE, Fault.STATUS_429]
    async with Sandbox() as server:
        server.trouble[LOOK_UP] = list(trouble)
        answers, result, _ = await ask_all(server, 20)
    assert all(answer.found is not None for answer in answers)
    assert result == 20
    assert server.journal.calls[LOOK_UP] >= 20 + len(trouble)


async def test_retry_after_holds_everybody() -> None:
    async with Sandbox() as server:
        server.trouble[LOOK_UP] = [Fault.STATUS_503_RETRY_AFTER]
        await ask_all(server, 3, at_once=1)
        first, second, *_ = server.journal.called
    assert second.clock - first.clock >= 0.95


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault.HTML_404, "404"),
        (Fault.REDIRECT, "302"),
        (Fault.HTML_502, "502"),
        (Fault.HTML_403, "403"),
    ],
)
async def test_trouble_that_is_everybodys_ends_it_in_a_sentence(fault: Fault, words: str) -> None:
    async with Sandbox() as server:
        server.trouble[LOOK_UP] = [fault] * 100
        with pytest.raises(ServerError, match=words) as trouble:
            await ask_all(server, 40, at_once=2)
    assert str(trouble.value).startswith("The directory cannot be asked: ")
    assert "bulksms check" in str(trouble.value.hint)
    assert server.journal.calls[LOOK_UP] <= 2 * QUICK.max_attempts


async def test_a_wrong_token_is_asked_with_once_a_worker() -> None:
    async with Sandbox() as server:
        with pytest.raises(ServerError, match="does not accept the access token"):
            await ask_all(server, 40, at_once=4, credentials=AccessToken("wrong"))
    assert 1 <= server.journal.calls[LOOK_UP] <= 4


async def test_a_wrong_password_is_asked_with_once() -> None:
    async with Sandbox() as server:
        with pytest.raises(ServerError, match="The user name or the password is wrong"):
            await ask_all(server, 40, at_once=4, credentials=Account("operator@example.com", "wrong"))
    assert server.journal.calls["POST /api/authSessions/create"] == 1
    assert server.journal.calls[LOOK_UP] == 0


async def test_a_log_in_that_was_forgotten_is_made_again() -> None:
    async with Sandbox() as server:
        account = Account("operator@example.com", "sandbox")
        settings = ClientSettings(server.url, workers=4, timeout=5.0)
        async with Client(settings, account) as client:
            asking = RequestQueue(client, at_once=4, rate=None, policy=QUICK)
            people = [person.guid for person in server.directory][:10]
            first = await asking.each(people, lambda guid: look_up(client, guid), lambda _: None)
            server.log_ins.revoke()
            second = await asking.each(people, lambda guid: look_up(client, guid), lambda _: None)
    assert [answer.found for answer in first] == [answer.found for answer in second]
    assert server.log_ins.issued == 2


async def test_asking_can_be_cancelled() -> None:
    async with Sandbox() as server:
        server.trouble[LOOK_UP] = [Fault.STALL] * 10
        task = asyncio.create_task(ask_all(server, 10))
        while server.journal.calls[LOOK_UP] == 0:  # noqa: ASYNC110 - no event tells of what a server has received
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
