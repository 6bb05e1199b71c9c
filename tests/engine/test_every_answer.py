"""Every answer that a server or a proxy can give: the end state and the number of requests, as the contract has them.

Each status from 200 to 599 is judged as the API's own error, as a page, empty, with a byte order mark and in four
charsets. On the wire the statuses with a meaning of their own, and some of each class, are given to one recipient among
others and to everybody.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from bulksms.adaxes import wire
from bulksms.ledger import open_ledger
from bulksms.model.attempt import Attempt
from bulksms.model.message import Reason, State
from bulksms.model.run_settings import RunSettings, StopReason
from bulksms.policy.retry import Evidence, classify

if TYPE_CHECKING:
    from tests.engine.harness import EngineHarness

WORDS = "Zugriff verweigert für Müller (5 €)"
API_ERROR = f'{{"message": "{WORDS}", "code": "accessDenied"}}'
PAGE = f"<!DOCTYPE html><html><head><title>{WORDS}</title></head><body><h1>{WORDS}</h1></body></html>"
SUCCESS = b'{"resultType": 0, "innerMessages": [], "exception": null}'
JSON = "application/json"

BODIES: dict[str, tuple[bytes, str | None]] = {
    "api": (API_ERROR.encode(), JSON),
    "api with BOM": (API_ERROR.encode("utf-8-sig"), JSON),
    "api in UTF-16": (API_ERROR.encode("utf-16"), f"{JSON}; charset=utf-16"),
    "api in Latin-1": (API_ERROR.encode("cp1252"), f"{JSON}; charset=iso-8859-1"),
    "api in Windows-1252": (API_ERROR.encode("cp1252"), None),
    "page": (PAGE.encode(), "text/html; charset=utf-8"),
    "page with BOM": (PAGE.encode("utf-8-sig"), "text/html"),
    "page in UTF-16": (PAGE.encode("utf-16"), "text/html"),
    "page in Latin-1": (PAGE.encode("cp1252"), "text/html; charset=iso-8859-1"),
    "page in Windows-1252": (PAGE.encode("cp1252"), "text/html"),
    "empty": (b"", None),
}
RETRIED = {408, 425, 429, 503}
STOPPING = {*range(300, 400), 405, 407, 501}


def evidence_of(status: int) -> Evidence:
    """What an answer without an operation result proves, as the table of the contract has it."""
    if status in STOPPING:
        return Evidence.MISDIRECTED
    if status == 401:
        return Evidence.UNAUTHENTICATED
    if status in RETRIED:
        return Evidence.NOT_PROCESSED
    if status in (500, 502):
        return Evidence.SERVER_FAILED
    return Evidence.REJECTED if 400 <= status < 500 else Evidence.LOST


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("hundreds", range(2, 6))
def test_each_status_is_judged_by_the_contract_whatever_its_body(hundreds: int, name: str) -> None:
    body, content_type = BODIES[name]
    for status in range(hundreds * 100, hundreds * 100 + 100):
        reading = wire.read_answer(status, wire.to_utf8(body, content_type), "token", (), content_type)
        attempt = Attempt(
            headers_sent=True,
            status=status,
            result=reading.result,
            api_error=reading.api_error,
            operation_id=reading.operation_id,
            snippet=reading.snippet,
            is_page=reading.is_page,
        )
        assert classify(attempt) is evidence_of(status), status
        assert attempt.is_from_api is name.startswith("api")
        assert attempt.is_page is name.startswith("page")
        if name != "empty":
            assert WORDS in (attempt.error or "")


# --- on the wire -------------------------------------------------------------------------------------------

STATUSES = (
    200,
    201,
    202,
    299,
    302,
    307,
    400,
    401,
    402,
    403,
    404,
    405,
    407,
    409,
    413,
    422,
    451,
    500,
    501,
    502,
    504,
    505,
    599,
)
OTHERS = 8
PEOPLE = 30
WORKERS = 4
ODD = "CN=Odd,DC=example,DC=com"
Choose = Callable[[bytes], bool]


@asynccontextmanager
async def server(status: int, kind: str, chosen: Choose) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that gives this answer to the requests that are chosen by their bodies, and success to the others."""
    body, content_type = BODIES[kind]
    requests: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
                asked = await reader.readexactly(length)
                requests.append(asked)
                odd = chosen(asked)
                code, content, media = (status, body, content_type) if odd else (200, SUCCESS, JSON)
                header = f"Content-Type: {media}\r\n" if media else ""
                head_of_answer = f"HTTP/1.1 {code} Answer\r\n{header}Content-Length: {len(content)}\r\n\r\n"
                writer.write(head_of_answer.encode() + content)
                await writer.drain()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/restApi", requests


def end_of_one(status: int, kind: str) -> tuple[State, Reason | None, int, StopReason | None]:
    """State and reason of the one who met the answer, the requests for them, and why the run stopped."""
    evidence = evidence_of(status)
    if evidence is Evidence.MISDIRECTED:
        return State.QUEUED, None, 1, StopReason.WRONG_ENDPOINT
    if evidence is Evidence.UNAUTHENTICATED:
        return State.QUEUED, None, 1, StopReason.UNAUTHORIZED
    if evidence is Evidence.REJECTED:
        return State.FAILED, Reason.REJECTED if kind == "api" else Reason.REJECTED_BEFORE_API, 1, None
    reason = Reason.AMBIGUOUS_ANSWER if status >= 500 else Reason.NO_ANSWER
    return State.UNKNOWN, reason, 2 if evidence is Evidence.SERVER_FAILED else 1, None


@pytest.mark.parametrize("kind", ["api", "page", "empty"])
@pytest.mark.parametrize("status", STATUSES)
async def test_what_one_recipient_meets_is_that_recipients(harness: "EngineHarness", status: int, kind: str) -> None:
    people = [*(f"CN={number},DC=x" for number in range(OTHERS)), ODD, *(f"CN=After {n},DC=x" for n in range(OTHERS))]
    ledger = harness.plan([(name, "Outage.") for name in people])
    async with server(status, kind, lambda asked: b"CN=Odd" in asked) as (url, requests):
        run = await harness.work(ledger, url, RunSettings(workers=1))
    with open_ledger(ledger) as reader:
        records = {record.recipient: record for record in reader.messages()}
    odd = records[ODD]
    state, reason, count, stopped = end_of_one(status, kind)
    assert (odd.state, odd.reason, sum(b"CN=Odd" in asked for asked in requests)) == (state, reason, count)
    assert run.stopped is stopped
    done = sum(record.state is State.ACCEPTED for record in records.values())
    assert done == (2 * OTHERS if stopped is None else OTHERS)


def everybody_stops(status: int, kind: str) -> tuple[State, int, StopReason | None]:
    """The state that nobody's message may be worse than, the most requests, and why the run stops."""
    evidence = evidence_of(status)
    if evidence is Evidence.MISDIRECTED:
        return State.QUEUED, WORKERS, StopReason.WRONG_ENDPOINT
    if evidence is Evidence.UNAUTHENTICATED:
        return State.QUEUED, WORKERS, StopReason.UNAUTHORIZED
    if evidence is Evidence.REJECTED:
        if status in (403, 404) or kind == "page" or (status == 400 and kind == "empty"):
            return State.QUEUED, 20 + WORKERS, StopReason.WRONG_ENDPOINT
        return State.FAILED, PEOPLE, None
    if kind == "page" and evidence is Evidence.LOST:
        return State.UNKNOWN, 3 + WORKERS, StopReason.WRONG_ENDPOINT
    return State.UNKNOWN, 2 * (20 + WORKERS), StopReason.TOO_MANY_UNKNOWN


@pytest.mark.parametrize("kind", ["api", "page", "empty"])
@pytest.mark.parametrize("status", [status for status in STATUSES if status not in (502, 504)])
async def test_what_everybody_meets_stops_the_run_with_few_requests(
    harness: "EngineHarness", status: int, kind: str
) -> None:
    ledger = harness.plan_people(PEOPLE)
    async with server(status, kind, lambda _: True) as (url, requests):
        run = await harness.work(ledger, url, RunSettings(workers=WORKERS))
    with open_ledger(ledger) as reader:
        records = list(reader.messages())
    state, most, stopped = everybody_stops(status, kind)
    assert run.stopped is stopped
    assert len(requests) <= most
    assert {record.state for record in records} <= {State.QUEUED, state}
    if stopped is StopReason.WRONG_ENDPOINT and state is State.UNKNOWN:
        assert sum(record.state is State.UNKNOWN for record in records) <= 2 + WORKERS


@pytest.mark.parametrize("kind", ["api", "page", "empty"])
@pytest.mark.parametrize("status", [*sorted(RETRIED), 502, 504])
async def test_a_server_that_is_not_there_for_anybody_fails_nobody(
    harness: "EngineHarness", status: int, kind: str
) -> None:
    ledger = harness.plan_people(PEOPLE)
    async with server(status, kind, lambda _: True) as (url, _):
        run = await harness.work(ledger, url, RunSettings(workers=WORKERS, max_outage=0.3))
    with open_ledger(ledger) as reader:
        states = {record.state for record in reader.messages()}
    assert run.stopped is not None
    assert states <= ({State.QUEUED} if status in RETRIED else {State.QUEUED, State.UNKNOWN})
