"""The simulator as a whole: wire format, slow sends, outages, starting and stopping."""

import asyncio
import json
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import bulksms.sandbox
from bulksms.sandbox import Away, Fault, FaultPlan, IdShape, Journal, Sandbox, SlowSends, Wait, serve
from tests.platforms import with_posix_signals

RECIPIENT = "CN=Anna Berg,OU=Staff,DC=example,DC=com"
GOOD = {"directoryObject": RECIPIENT, "text": "Hello"}
HEADERS = {"Adm-Authorization": "sandbox"}


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(headers=HEADERS, timeout=aiohttp.ClientTimeout(total=10)) as session:
        yield session


async def send(
    session: aiohttp.ClientSession, sandbox: Sandbox, body: object = None, **headers: str
) -> tuple[int, Any]:
    url = f"{sandbox.url}/api/directoryObjects/sendSms"
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with session.post(url, json=body or GOOD, headers=sent) as answer:
        return answer.status, await _content(answer)


async def poll(session: aiohttp.ClientSession, sandbox: Sandbox, operation: str) -> tuple[int, Any]:
    async with session.get(f"{sandbox.url}/api/runningOperations/{operation}") as answer:
        return answer.status, await _content(answer)


async def _content(answer: aiohttp.ClientResponse) -> Any:
    attempt = await answer.read()
    return json.loads(attempt) if answer.content_type == "application/json" else attempt


async def test_a_good_request_is_accepted_and_booked(session: aiohttp.ClientSession) -> None:
    async with Sandbox() as sandbox:
        status, result = await send(session, sandbox)
        assert (status, result["resultType"], result["actualObjectDN"]) == (200, 0, RECIPIENT)
        (booked,) = sandbox.journal.received
    assert (booked.number, booked.recipient, booked.text, booked.authorized) == (1, RECIPIENT, "Hello", True)
    assert (booked.fault, booked.delivered, booked.status) == (None, True, 200)
    assert booked.at == pytest.approx(time.time(), abs=3600)
    assert sandbox.journal.in_flight == 0


async def test_a_text_is_booked_exactly(session: aiohttp.ClientSession) -> None:
    text = 'Grüße, 🙂\r\n\tund \u2028 mehr \\ " '
    async with Sandbox() as sandbox:
        await send(session, sandbox, GOOD | {"text": text})
    assert sandbox.journal.texts(RECIPIENT) == [text]


@pytest.mark.parametrize("body", [[], "text", {}, {"directoryObject": "CN=A"}, {"text": "Hello"}])
async def test_a_body_without_its_members_is_a_400(session: aiohttp.ClientSession, body: object) -> None:
    await _is_refused(session, body)


@pytest.mark.parametrize(
    "more", [{"directoryObject": 1}, {"text": None}, {"directoryObject": ""}, {"text": ""}, {"extra": "x"}]
)
async def test_a_body_with_anything_else_is_a_400(session: aiohttp.ClientSession, more: dict[str, object]) -> None:
    await _is_refused(session, GOOD | more)


async def _is_refused(session: aiohttp.ClientSession, body: object) -> None:
    async with Sandbox() as sandbox:
        url = f"{sandbox.url}/api/directoryObjects/sendSms"
        async with session.post(url, data=json.dumps(body), headers={"Content-Type": "application/json"}) as answer:
            attempt = await answer.json()
            assert (answer.status, attempt["code"]) == (400, "badRequest")
            assert attempt["modelState"]
        assert (sandbox.journal.total, sandbox.journal.deliveries) == (1, 0)


async def test_another_content_type_is_a_415(session: aiohttp.ClientSession) -> None:
    async with Sandbox() as sandbox:
        status, _ = await send(session, sandbox, content_type="text/plain")
    assert (status, sandbox.journal.deliveries) == (415, 0)


@pytest.mark.parametrize("token", ["", "wrong", "Bearer sandbox"])
async def test_a_wrong_token_is_a_401_and_uses_up_no_fault(session: aiohttp.ClientSession, token: str) -> None:
    async with Sandbox(faults=FaultPlan.of({RECIPIENT: ["503"]})) as sandbox:
        status, result = await send(session, sandbox, Adm_Authorization=token)
        assert (status, result["code"]) == (401, "unauthenticated")
        assert (sandbox.journal.unauthorized, sandbox.journal.deliveries) == (1, 0)
        assert [(await send(session, sandbox))[0] for _ in range(2)] == [503, 200]


async def test_faults_meet_the_first_requests_of_their_recipient_and_then_all_is_well(
    session: aiohttp.ClientSession,
) -> None:
    marked = {"directoryObject": "CN=B [429\\,404],DC=x", "text": "Hello"}
    async with Sandbox(faults=FaultPlan.of({RECIPIENT: ["503", "500"]})) as sandbox:
        seen = [((await send(session, sandbox))[0], (await send(session, sandbox, marked))[0]) for _ in range(3)]
    assert seen == [(503, 429), (500, 404), (200, 200)]
    assert sandbox.journal.requests(RECIPIENT) == 3
    assert sandbox.journal.delivered(RECIPIENT) == 1


async def test_everybody_meets_the_fault_of_everybody(session: aiohttp.ClientSession) -> None:
    async with Sandbox() as sandbox:
        sandbox.everybody = Fault.STATUS_403
        assert (await send(session, sandbox))[0] == 403
        sandbox.everybody = None
        assert sandbox.everybody is None
        assert (await send(session, sandbox))[0] == 200


async def test_sends_in_flight_are_counted(session: aiohttp.ClientSession) -> None:
    async with Sandbox(latency=0.05) as sandbox:
        await asyncio.gather(*[send(session, sandbox) for _ in range(7)])
    assert (sandbox.journal.max_in_flight, sandbox.journal.in_flight) == (7, 0)
    assert list(sandbox.journal.times) == sorted(sandbox.journal.times)


async def test_latency_holds_an_answer_back(session: aiohttp.ClientSession) -> None:
    async with Sandbox(latency=(0.05, 0.06)) as sandbox:
        before = time.monotonic()
        await send(session, sandbox)
        assert time.monotonic() - before >= 0.05


async def test_a_wrong_base_is_redirected_and_a_wrong_path_is_not_found(session: aiohttp.ClientSession) -> None:
    async with Sandbox() as sandbox:
        root = sandbox.url.removesuffix("/restApi")
        async with session.post(f"{root}/api/directoryObjects/sendSms", allow_redirects=False) as answer:
            assert answer.status == 302
        async with session.get(f"{sandbox.url}/api/nothing") as answer:
            assert (answer.status, (await answer.json())["code"]) == (404, "notFound")
        async with session.get(f"{sandbox.url}/api/directoryObjects/sendSms") as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "POST")
        async with session.get(f"{sandbox.url}/api/nothing", headers={"Adm-Authorization": "x"}) as answer:
            assert (answer.status, (await answer.json())["code"]) == (401, "unauthenticated")
    assert sandbox.journal.calls["GET /api/nothing"] == 2
    assert sandbox.journal.total == 0


# Slow sends.


@pytest.mark.parametrize("shape", IdShape)
async def test_an_operations_id_has_the_chosen_shape(session: aiohttp.ClientSession, shape: IdShape) -> None:
    plan = FaultPlan.of({RECIPIENT: ["202"]})
    async with Sandbox(faults=plan, slow_sends=SlowSends(shape=shape, polls=1)) as sandbox:
        _, result = await send(session, sandbox)
        operation = result if shape is IdShape.STRING else result[shape.value]
        assert (await poll(session, sandbox, operation))[1]["completed"]


RESULTS = {"202": 0, "202_failed": 1, "202_suspended": 2}


@pytest.mark.parametrize(("fault", "result"), RESULTS.items())
async def test_an_operation_completes_after_its_polls(session: aiohttp.ClientSession, fault: str, result: int) -> None:
    async with Sandbox(faults=FaultPlan.of({RECIPIENT: [fault]}), slow_sends=SlowSends(polls=3)) as sandbox:
        _, operation = await send(session, sandbox)
        lines = [(await poll(session, sandbox, operation))[1] for _ in range(4)]
    assert lines[:2] == [{"completed": False, "operationResult": None}] * 2
    assert [answer["operationResult"]["resultType"] for answer in lines[2:]] == [result] * 2
    assert sandbox.journal.calls["GET /api/runningOperations/"] == 4
    assert {call.operation for call in sandbox.journal.called} == {operation}


async def test_a_lost_operation_is_not_found(session: aiohttp.ClientSession) -> None:
    async with Sandbox(faults=FaultPlan.of({RECIPIENT: ["202_lost"]})) as sandbox:
        _, operation = await send(session, sandbox)
        status, result = await poll(session, sandbox, operation)
    assert (status, result["code"]) == (404, "notFound")


async def test_a_stuck_operation_never_completes(session: aiohttp.ClientSession) -> None:
    async with Sandbox(faults=FaultPlan.of({RECIPIENT: ["202_stuck"]}), slow_sends=SlowSends(polls=1)) as sandbox:
        _, operation = await send(session, sandbox)
        assert not any([(await poll(session, sandbox, operation))[1]["completed"] for _ in range(5)])


async def test_polls_with_trouble_meet_it_and_then_the_result(session: aiohttp.ClientSession) -> None:
    plan = FaultPlan.of({RECIPIENT: ["202_poll_trouble"]})
    async with Sandbox(faults=plan, slow_sends=SlowSends(polls=1)) as sandbox:
        _, operation = await send(session, sandbox)
        assert (await poll(session, sandbox, operation))[0] == 503
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await poll(session, sandbox, operation)
        assert (await poll(session, sandbox, operation))[1]["operationResult"]["resultType"] == 0


async def test_a_poll_needs_the_token(session: aiohttp.ClientSession) -> None:
    async with Sandbox() as sandbox:
        url = f"{sandbox.url}/api/runningOperations/1"
        async with session.get(url, headers={"Adm-Authorization": "x"}) as answer:
            assert answer.status == 401


async def test_a_send_longer_than_its_wait_becomes_an_operation(session: aiohttp.ClientSession) -> None:
    async with Sandbox(latency=1.2) as sandbox:
        status, operation = await send(session, sandbox, Adm_Wait="1")
        assert status == 202
        assert sandbox.journal.deliveries == 1
        lines = [(await poll(session, sandbox, operation))[1]]
        while not lines[-1]["completed"]:
            await asyncio.sleep(0.05)
            lines.append((await poll(session, sandbox, operation))[1])
        assert lines[-1]["operationResult"]["resultType"] == 0


@pytest.mark.parametrize(("wait", "status"), [(Wait.HONOURED, 202), (Wait.IGNORED, 200), (Wait.REFUSED, 400)])
async def test_the_wait_is_treated_as_chosen(session: aiohttp.ClientSession, wait: Wait, status: int) -> None:
    async with Sandbox(latency=0.05, slow_sends=SlowSends(wait=wait)) as sandbox:
        assert (await send(session, sandbox, Adm_Wait="0"))[0] == status
        assert (await send(session, sandbox))[0] == 200
        assert (await send(session, sandbox, Adm_Wait="5"))[0] == (400 if wait is Wait.REFUSED else 200)


async def test_a_slow_send_is_slow_and_waits_like_any_other(session: aiohttp.ClientSession) -> None:
    async with Sandbox(faults=FaultPlan.of({RECIPIENT: ["slow", "slow"]}), slow=0.1) as sandbox:
        before = time.monotonic()
        assert (await send(session, sandbox))[0] == 200
        assert time.monotonic() - before >= 0.1
        assert (await send(session, sandbox, Adm_Wait="0"))[0] == 202


# The whole server.


async def test_an_unavailable_server_answers_503_to_everything_until_it_is_back(session: aiohttp.ClientSession) -> None:
    async with Sandbox() as sandbox:
        await sandbox.go_away()
        assert (await send(session, sandbox))[0] == 503
        assert (await poll(session, sandbox, "1"))[0] == 503
        await sandbox.come_back()
        assert (await send(session, sandbox))[0] == 200
    assert sandbox.journal.deliveries == 1
    assert sandbox.journal.total == 2


async def test_a_refusing_server_closes_what_is_open_and_is_back_at_the_same_address(
    session: aiohttp.ClientSession,
) -> None:
    async with Sandbox(latency=30) as slow, Sandbox() as sandbox:
        hanging = asyncio.create_task(send(session, slow))
        while not slow.journal.total:  # noqa: ASYNC110 - the journal has no event to wait for
            await asyncio.sleep(0.001)
        await slow.go_away(Away.REFUSED)
        with pytest.raises(aiohttp.ClientConnectionError):
            await hanging
        assert (await send(session, sandbox))[0] == 200
        url = sandbox.url
        await sandbox.go_away(Away.REFUSED)
        with pytest.raises(aiohttp.ClientConnectorError):
            await send(session, sandbox)
        await sandbox.come_back()
        assert sandbox.url == url
        assert (await send(session, sandbox))[0] == 200


@pytest.mark.parametrize("fault", ["stall", "stall_before", "stall_body", "slow", "ok"])
async def test_a_stopped_server_leaves_nothing_behind_and_waits_for_nobody(
    session: aiohttp.ClientSession, fault: str
) -> None:
    before = asyncio.all_tasks()
    async with Sandbox(faults=FaultPlan.of({RECIPIENT: [fault]}), latency=60.0, slow=60.0) as sandbox:
        sending = asyncio.create_task(send(session, sandbox))
        while not sandbox.journal.total:  # noqa: ASYNC110 - the journal has no event to wait for
            await asyncio.sleep(0.001)
        started = time.monotonic()
    assert time.monotonic() - started < 30
    with pytest.raises(aiohttp.ClientError):
        await sending
    assert asyncio.all_tasks() == before
    assert sandbox.journal.in_flight == 0


async def test_a_client_that_goes_takes_its_stalled_request_with_it() -> None:
    async with Sandbox(faults=FaultPlan.of({RECIPIENT: ["stall"]})) as sandbox:
        async with aiohttp.ClientSession(headers=HEADERS) as session:
            sending = asyncio.create_task(send(session, sandbox))
            while not sandbox.journal.in_flight:  # noqa: ASYNC110 - the journal has no event to wait for
                await asyncio.sleep(0.001)
            sending.cancel()
            await asyncio.wait([sending])
        while sandbox.journal.in_flight:  # noqa: ASYNC110 - the journal has no event to wait for
            await asyncio.sleep(0.001)
    assert sandbox.journal.deliveries == 1


async def test_a_port_that_is_taken_is_an_error_that_leaves_nothing_open(tmp_path: Path) -> None:
    async with Sandbox() as sandbox:
        port = int(sandbox.url.removesuffix("/restApi").rpartition(":")[2])
        with pytest.raises(OSError, match="address already in use"):
            async with Sandbox(port=port, journal_file=tmp_path / "journal.jsonl"):
                pass


async def test_a_sandbox_that_was_never_started_cannot_go_away() -> None:
    with pytest.raises(RuntimeError):
        await Sandbox().go_away(Away.REFUSED)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
async def test_it_serves_https(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    made += ["-keyout", str(key), "-out", str(certificate), "-days", "1", "-subj", "/CN=127.0.0.1"]
    made += ["-addext", "subjectAltName=IP:127.0.0.1"]
    await asyncio.to_thread(subprocess.run, made, check=True, capture_output=True)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=certificate))
    async with Sandbox(tls=server) as sandbox, aiohttp.ClientSession(headers=HEADERS, connector=connector) as session:
        assert sandbox.url.startswith("https://127.0.0.1:")
        assert (await send(session, sandbox))[0] == 200
        with pytest.raises(aiohttp.ClientOSError):
            await send(session, sandbox, GOOD | {"directoryObject": "CN=B [reset_after]"})


async def test_serve_tells_its_url_and_runs_until_it_is_cancelled(tmp_path: Path) -> None:
    result: asyncio.Queue[str] = asyncio.Queue()
    file = tmp_path / "journal.jsonl"
    serving = asyncio.create_task(serve(ready=result.put_nowait, journal_file=file, token="other"))
    url = await result.get()
    async with (
        aiohttp.ClientSession(headers={"Adm-Authorization": "other"}) as session,
        session.post(f"{url}/api/directoryObjects/sendSms", json=GOOD) as answer,
    ):
        assert answer.status == 200
        assert Journal.read(file).delivered(RECIPIENT) == 1
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving


@with_posix_signals
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
async def test_as_a_process_it_prints_its_url_and_ends_on_a_signal(tmp_path: Path, end: signal.Signals) -> None:
    faults, file = tmp_path / "faults.json", tmp_path / "journal.jsonl"
    faults.write_text(json.dumps({"rules": [{"recipient": RECIPIENT, "faults": ["503"]}]}), encoding="utf-8")
    options = ["--port", "0", "--journal", str(file), "--faults", str(faults), "--latency", "0-0.01", "--seed", "3"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-m", "bulksms.sandbox", *options, stdout=-1, stderr=-1
    )
    assert process.stdout is not None
    url = (await process.stdout.readline()).decode().strip()
    async with aiohttp.ClientSession(headers=HEADERS) as session:
        for status in (503, 200):
            async with session.post(f"{url}/api/directoryObjects/sendSms", json=GOOD) as answer:
                assert answer.status == status
        process.send_signal(end)
        rest = await process.communicate()
    assert (process.returncode, rest) == (0, (b"", b""))
    assert [one.fault for one in Journal.read(file).received] == ["503", None]


@pytest.mark.parametrize("options", [["--faults", "missing.toml"], ["--latency", "soon"], ["--seed", "x"]])
def test_as_a_process_a_mistake_is_a_sentence(options: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bulksms.sandbox", *options]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert ended.stderr


async def test_as_a_process_a_taken_port_is_a_sentence() -> None:
    async with Sandbox() as sandbox:
        port = sandbox.url.removesuffix("/restApi").rpartition(":")[2]
        command = [sys.executable, "-m", "bulksms.sandbox", "--port", port]
        ended = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "in use" in ended.stderr


def test_the_package_is_imported_without_aiohttp() -> None:
    code = "import sys, bulksms.sandbox; assert 'aiohttp' not in sys.modules; bulksms.sandbox.Sandbox"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_package_has_the_names_that_it_lists() -> None:
    assert all(getattr(bulksms.sandbox, name) for name in bulksms.sandbox.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        _ = bulksms.sandbox.nothing
