"""Every fault of the simulator, as a real client sees it: row by row."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import aiohttp
import pytest

from bulksms.sandbox import Fault, FaultPlan, Sandbox
from bulksms.sandbox.faults import PROCESSED

RECIPIENT = "CN=Anna Berg,OU=Staff,DC=example,DC=com"
HEADERS = {"Adm-Authorization": "sandbox", "Content-Type": "application/json"}
BODY = json.dumps({"directoryObject": RECIPIENT, "text": "Hello"}).encode()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=None, sock_read=0.2)
    async with aiohttp.ClientSession(headers=HEADERS, timeout=timeout) as session:
        yield session


@dataclass(frozen=True)
class Seen:
    status: int
    body: bytes
    headers: dict[str, str]


async def send(session: aiohttp.ClientSession, sandbox: Sandbox, body: bytes = BODY) -> Seen:
    url = f"{sandbox.url}/api/directoryObjects/sendSms"
    async with session.post(url, data=body, allow_redirects=False) as answer:
        return Seen(answer.status, await answer.read(), dict(answer.headers))


API_ERRORS = [fault for fault in Fault if fault.value[:3].isdecimal() and fault.value[0] in "45"]
API_ERRORS = [
    fault for fault in API_ERRORS if "html" not in fault and fault not in ("407", "502_processed", "504_processed")
]
PAGES = [Fault.HTML_403, Fault.HTML_404, Fault.STATUS_407, Fault.HTML_500, Fault.HTML_502, Fault.HTML_502_PROCESSED]
PAGES += [Fault.HTML_503, Fault.HTML_504, Fault.HTML_504_PROCESSED]
RESULTS: dict[Fault, tuple[int | str, int | str | None]] = {
    Fault.OK: (0, None),
    Fault.RESULT_FAILED: (1, None),
    Fault.RESULT_SUSPENDED: (2, 4),
    Fault.RESULT_WARNING: (0, 1),
    Fault.RESULT_ERROR: (0, 0),
    Fault.RESULT_NAMED: ("Succeeded", "Warning"),
    Fault.HUGE_200: (0, 2),
    Fault.DRIP: (0, None),
    Fault.ANSWER_THEN_CLOSE: (0, None),
    Fault.SLOW: (0, None),
}
BODIES: dict[Fault, tuple[int, bytes]] = {
    Fault.EMPTY_200: (200, b""),
    Fault.UNREADABLE_JSON: (200, b'{"resultType": 0, "innerMessages": [}'),
    Fault.WRONG_JSON_200: (200, b'{"status": "ok"}'),
    Fault.STATUS_201: (201, b'{"created": true}'),
    Fault.STATUS_204: (204, b""),
    Fault.ACCEPTED_202_NO_ID: (202, b""),
}
OPERATIONS = [fault for fault in Fault if fault.value.startswith("202") and fault is not Fault.ACCEPTED_202_NO_ID]
REDIRECTS = {Fault.REDIRECT: 302, Fault.REDIRECT_307: 307}
BROKEN: dict[Fault, tuple[type[Exception], int | None]] = {
    Fault.DROP_BEFORE: (aiohttp.ServerDisconnectedError, None),
    Fault.DROP_AFTER: (aiohttp.ServerDisconnectedError, None),
    Fault.RESET_BEFORE: (aiohttp.ClientOSError, None),
    Fault.RESET_AFTER: (aiohttp.ClientOSError, None),
    Fault.STALL_BEFORE: (aiohttp.SocketTimeoutError, None),
    Fault.STALL: (aiohttp.SocketTimeoutError, None),
    Fault.STALL_BODY: (aiohttp.SocketTimeoutError, 200),
    Fault.TRUNCATED: (aiohttp.ClientPayloadError, 200),
    Fault.GARBAGE: (aiohttp.ClientResponseError, None),
}


def test_every_fault_has_its_row() -> None:
    rows = [*API_ERRORS, *PAGES, *RESULTS, *BODIES, *OPERATIONS, *REDIRECTS, *BROKEN, Fault.HTML_200]
    assert sorted(rows) == sorted(Fault)


@pytest.mark.parametrize("fault", API_ERRORS)
async def test_an_api_error_is_its_status_and_the_apis_error_object(
    fault: Fault, session: aiohttp.ClientSession
) -> None:
    async with Sandbox(faults=FaultPlan.of({RECIPIENT: [fault]})) as sandbox:
        seen = await send(session, sandbox)
    assert seen.status == int(fault.value[:3])
    parsed = json.loads(seen.body)
    assert set(parsed) == {"message", "code"}
    assert (parsed["code"] == "unauthenticated") == (fault == "401")
    assert ("Retry-After" in seen.headers) == ("retry" in fault)


@pytest.mark.parametrize("fault", [*PAGES, Fault.HTML_200])
async def test_a_page_is_html_and_no_json(fault: Fault, session: aiohttp.ClientSession) -> None:
    async with Sandbox(faults=FaultPlan.of({RECIPIENT: [fault]})) as sandbox:
        seen = await send(session, sandbox)
    assert seen.status == (200 if fault is Fault.HTML_200 else int(fault.value[:3]))
    assert seen.headers["Content-Type"].startswith("text/html")
    assert seen.body.startswith(b"<!DOCTYPE html")


@pytest.mark.parametrize(("fault", "result"), RESULTS.items())
async def test_a_result_is_an_operation_result(
    fault: Fault, result: tuple[int | str, int | str | None], session: aiohttp.ClientSession
) -> None:
    async with Sandbox(faults=FaultPlan.of({RECIPIENT: [fault]}), slow=0.01) as sandbox:
        seen = await send(session, sandbox)
    parsed = json.loads(seen.body)
    assert seen.status == 200
    assert {"resultType", "exception", "innerMessages", "actualObjectDN", "extraInfo"} <= set(parsed)
    message = parsed
    while message["innerMessages"]:
        message = message["innerMessages"][-1]
    assert (parsed["resultType"], message.get("messageType")) == result
    assert bool(parsed["exception"]) == (fault is Fault.RESULT_FAILED)
    assert (len(seen.body) > 1_000_000) == (fault is Fault.HUGE_200)


@pytest.mark.parametrize(("fault", "answer"), BODIES.items())
async def test_an_odd_success_is_its_status_and_body(
    fault: Fault, answer: tuple[int, bytes], session: aiohttp.ClientSession
) -> None:
    async with Sandbox(faults=FaultPlan.of({RECIPIENT: [fault]})) as sandbox:
        seen = await send(session, sandbox)
    assert (seen.status, seen.body) == answer


@pytest.mark.parametrize("fault", OPERATIONS)
async def test_a_202_names_an_operation(fault: Fault, session: aiohttp.ClientSession) -> None:
    async with Sandbox(faults=FaultPlan.of({RECIPIENT: [fault]})) as sandbox:
        seen = await send(session, sandbox)
    assert seen.status == 202
    assert isinstance(json.loads(seen.body), str)


@pytest.mark.parametrize(("fault", "status"), REDIRECTS.items())
async def test_a_redirect_leads_to_a_200_for_those_who_follow(
    fault: Fault, status: int, session: aiohttp.ClientSession
) -> None:
    async with Sandbox(faults=FaultPlan.of({RECIPIENT: [fault, fault]})) as sandbox:
        seen = await send(session, sandbox)
        assert seen.status == status
        async with session.post(f"{sandbox.url}/api/directoryObjects/sendSms", data=BODY, max_redirects=2) as followed:
            assert followed.status == 200
        assert sandbox.journal.deliveries == (fault is Fault.REDIRECT_307)
        assert sandbox.journal.calls["GET /signIn"] == (fault is Fault.REDIRECT)


@pytest.mark.parametrize(("fault", "seen"), BROKEN.items())
async def test_a_broken_connection_breaks_as_its_name_says(
    fault: Fault, seen: tuple[type[Exception], int | None], session: aiohttp.ClientSession
) -> None:
    error, status = seen
    async with Sandbox(faults=FaultPlan.of({RECIPIENT: [fault]})) as sandbox:
        with pytest.raises(error):
            await send(session, sandbox)
        assert sandbox.journal.received[0].status == status
        assert (await send(session, sandbox)).status == 200


@pytest.mark.parametrize("fault", Fault)
async def test_a_fault_says_whether_the_message_went_out(fault: Fault, session: aiohttp.ClientSession) -> None:
    async with Sandbox(faults=FaultPlan.of({RECIPIENT: [fault]}), slow=0.0) as sandbox:
        with contextlib.suppress(aiohttp.ClientError):
            await send(session, sandbox)
        assert sandbox.journal.delivered(RECIPIENT) == (fault in PROCESSED)
        assert sandbox.journal.received[0].fault == fault


async def test_a_date_to_retry_after_lies_ahead(session: aiohttp.ClientSession) -> None:
    async with Sandbox(faults=FaultPlan.of({RECIPIENT: ["429_retry_date"]}), retry_after=100) as sandbox:
        seen = await send(session, sandbox)
    ahead = parsedate_to_datetime(seen.headers["Retry-After"]) - parsedate_to_datetime(seen.headers["Date"])
    assert 100 <= ahead.total_seconds() <= 102


async def test_retry_after_is_in_whole_seconds(session: aiohttp.ClientSession) -> None:
    async with Sandbox(faults=FaultPlan.of({RECIPIENT: ["503_retry_after"]}), retry_after=1.2) as sandbox:
        seen = await send(session, sandbox)
    assert seen.headers["Retry-After"] == "2"


def _speak(sandbox: Sandbox) -> bytes:
    """What a plain socket reads until the end of the connection; raises `ConnectionResetError` at RST."""
    host, port = sandbox.url.removeprefix("http://").removesuffix("/restApi").split(":")
    head = f"POST /restApi/api/directoryObjects/sendSms HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BODY)}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
    with socket.create_connection((host, int(port)), timeout=5) as plain:
        plain.sendall(head.encode() + b"\r\n" + BODY)
        read = b""
        while piece := plain.recv(65536):
            read += piece
        return read


@pytest.mark.parametrize("fault", [Fault.DROP_BEFORE, Fault.DROP_AFTER])
async def test_a_drop_is_a_fin_without_a_byte(fault: Fault) -> None:
    async with Sandbox(faults=FaultPlan.of({RECIPIENT: [fault]})) as sandbox:
        assert await asyncio.to_thread(_speak, sandbox) == b""


@pytest.mark.parametrize("fault", [Fault.RESET_BEFORE, Fault.RESET_AFTER])
async def test_a_reset_is_an_rst(fault: Fault) -> None:
    async with Sandbox(faults=FaultPlan.of({RECIPIENT: [fault]})) as sandbox:
        with pytest.raises(ConnectionResetError):
            await asyncio.to_thread(_speak, sandbox)


async def test_garbage_has_no_status_line() -> None:
    async with Sandbox(faults=FaultPlan.of({RECIPIENT: [Fault.GARBAGE]})) as sandbox:
        assert not (await asyncio.to_thread(_speak, sandbox)).startswith(b"HTTP")


async def test_a_truncated_answer_promises_more_than_it_sends() -> None:
    async with Sandbox(faults=FaultPlan.of({RECIPIENT: [Fault.TRUNCATED]})) as sandbox:
        head, _, body = (await asyncio.to_thread(_speak, sandbox)).partition(b"\r\n\r\n")
    promised = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    assert 0 < len(body) < promised


async def test_an_answer_then_close_promises_to_keep_the_connection_and_ends_it() -> None:
    async with Sandbox(faults=FaultPlan.of({RECIPIENT: [Fault.ANSWER_THEN_CLOSE]})) as sandbox:
        read = await asyncio.to_thread(_speak, sandbox)
    assert b"Connection: keep-alive" in read
    assert read.endswith(b"}")
