"""What is sent is byte for byte what the ledger has, and nothing else."""

import asyncio
import json
import random
from typing import TYPE_CHECKING

from aiohttp import web

from bulksms.model.message import State
from bulksms.model.run_settings import RunSettings
from bulksms.sandbox import Sandbox

if TYPE_CHECKING:
    from tests.engine.harness import EngineHarness

SETTINGS = RunSettings(workers=4, timeout=5.0)

TEXTS = [
    "Plain.",
    'She wrote "now", and it\'s \\ not \\n a line.',
    "two\nlines\r\nand\ta tab\r",
    "  blanks at both ends  ",
    "🚒 outage 👩🏽‍🚒 🇩🇪",
    "\u200fהודעה: השרת אינו זמין\u200e ok",  # noqa: RUF001 - the letters are meant
    "الخادم غير متاح \u202bRTL\u202c",
    "zero\u200bwidth\u200djoiner\ufeffbom\u2060",
    "é and e\u0301 are not the same bytes",
    "</script><b>&amp;",
    "%name% ((name)) {name} $name",
    "\u2028line\u2029paragraph",
    "\U0010ffff￿\ufdd0",
    "€" * 500,
]
RECIPIENTS = [
    'CN=Keller\\, "Anna",OU=Staff,DC=example,DC=com',
    "CN=Schäfer 🚒\\\\,DC=example",
    "{F38B2FFC-80A4-4F5A-91C9-BC701E7EA419}",
    "S-1-5-21-3635565734-1729062999-1822655016-1604",
]


async def test_every_text_arrives_byte_for_byte(harness: "EngineHarness") -> None:
    messages = [(f"CN={number},DC=example", text) for number, text in enumerate(TEXTS)]
    messages += [(recipient, "To you.") for recipient in RECIPIENTS]
    ledger = harness.plan(messages)
    async with Sandbox() as server:
        run = await harness.work(ledger, server.url, SETTINGS)
    record = harness.record(ledger, run, server.journal)
    assert {who: server.journal.texts(who) for who, _ in messages} == {who: [text] for who, text in messages}
    assert record.count(State.ACCEPTED) == len(messages)


async def test_the_request_is_the_documented_one_and_no_more(harness: "EngineHarness") -> None:
    """Method, path, headers and the raw body, seen by a server that understands nothing."""
    seen: list[tuple[str, str, dict[str, str], bytes]] = []

    async def record(request: web.BaseRequest) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        seen.append((request.method, request.path_qs, headers, await request.read()))
        return web.json_response({"resultType": 0})

    loop = asyncio.get_running_loop()
    server = web.Server(record, access_log=None)
    listening = await loop.create_server(server, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    messages = [(f"CN={number},DC=example", text) for number, text in enumerate(TEXTS)]
    try:
        settings = RunSettings(workers=1, timeout=5.0)
        await harness.work(harness.plan(messages), f"http://127.0.0.1:{port}/a/restApi", settings, token="secret")
    finally:
        listening.close()
        await server.shutdown(1.0)

    bodies = [json.loads(body) for _, _, _, body in seen]
    assert bodies == [{"directoryObject": who, "text": text} for who, text in messages]
    assert all(body.count(b'"directoryObject"') == 1 for *_, body in seen)
    assert {(method, path) for method, path, _, _ in seen} == {("POST", "/a/restApi/api/directoryObjects/sendSms")}
    for _, _, headers, body in seen:
        assert headers["adm-authorization"] == "secret"
        assert headers["content-type"] == "application/json"
        assert headers["content-length"] == str(len(body))
        assert headers["adm-wait"] == "4"
        body.decode()  # valid UTF-8, whatever the text


async def test_any_text_arrives_as_it_is(harness: "EngineHarness", chance: random.Random) -> None:
    """Three hundred texts of any characters that can be in a file at all."""

    def character() -> str:
        point = chance.choice((range(1, 128), range(1, 0xD800), range(0xE000, 0x110000)))
        return chr(chance.choice(point))

    texts = ["".join(character() for _ in range(chance.randint(1, 40))) for _ in range(300)]
    messages = [(f"CN={number},DC=example", text) for number, text in enumerate(texts)]
    ledger = harness.plan(messages)
    async with Sandbox() as server:
        await harness.work(ledger, server.url, SETTINGS)
    assert [server.journal.texts(who) for who, _ in messages] == [[text] for text in texts]
