"""Check: step by step, to the first that fails, each with a hint."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bulksms.adaxes import AccessToken, Account, CheckResult, Client, ClientSettings, Credentials, Step
from bulksms.adaxes.diagnose import diagnose
from bulksms.sandbox import Directory, Sandbox
from bulksms.sandbox import DirectoryObject as SandboxObject
from bulksms.sandbox.server import Account as SandboxAccount

if TYPE_CHECKING:
    from pathlib import Path
    from ssl import SSLContext

    from tests.adaxes.harness import Certify, Connection, Listen

TOKEN = AccessToken("sandbox")
WITHOUT_TLS = [Step.URL, Step.DNS, Step.TCP, Step.PATH, Step.TOKEN, Step.ROUND_TRIP]
PERSON = "7a4267ce-d354-44e7-8bd6-c681f1284a41"


async def findings(
    base_url: str, credentials: Credentials = TOKEN, recipient: str | None = None, **options: object
) -> list[CheckResult]:
    settings = ClientSettings(base_url, timeout=2.0, **options)  # type: ignore[arg-type]
    async with Client(settings, credentials) as client:
        return [finding async for finding in diagnose(client, recipient)]


def failed(found: list[CheckResult]) -> CheckResult:
    """The last one, which is the only one that failed."""
    assert [finding.passed for finding in found] == [True] * (len(found) - 1) + [False]
    assert found[-1].hint
    return found[-1]


async def test_a_good_server_passes_every_step_without_a_send() -> None:
    async with Sandbox() as sandbox:
        found = await findings(sandbox.url)
        assert sandbox.journal.total == 0
    assert [finding.step for finding in found] == WITHOUT_TLS
    assert all(finding.passed for finding in found)
    assert "sandbox" not in repr(found)


async def test_a_log_in_is_checked_with_its_end() -> None:
    account = SandboxAccount("me@example.com", "geheim")
    async with Sandbox(token=None, account=account) as sandbox:
        found = await findings(sandbox.url, Account("me@example.com", "geheim"))
        assert sandbox.log_ins.open_tokens == 0
        wrong = failed(await findings(sandbox.url, Account("me@example.com", "falsch")))
    assert "30 minutes" in found[WITHOUT_TLS.index(Step.TOKEN)].message
    assert wrong.step is Step.TOKEN
    assert "wrong" in wrong.message


async def test_a_wrong_token_is_found() -> None:
    async with Sandbox() as sandbox:
        finding = failed(await findings(sandbox.url, AccessToken("wrong")))
    assert finding.step is Step.TOKEN


async def test_a_name_without_address_is_found() -> None:
    finding = failed(await findings("https://no-such-host.invalid/restApi"))
    assert finding.step is Step.DNS
    assert "no-such-host.invalid" in finding.message


async def test_a_closed_port_is_found(free_port: int) -> None:
    finding = failed(await findings(f"http://127.0.0.1:{free_port}/restApi"))
    assert finding.step is Step.TCP


async def test_a_server_that_lets_wait_is_found(full_backlog: int) -> None:
    settings = ClientSettings(f"http://127.0.0.1:{full_backlog}/restApi", timeout=0.2)
    async with Client(settings, TOKEN) as client:
        finding = failed([finding async for finding in diagnose(client)])
    assert (finding.step, "in time" in finding.message) == (Step.TCP, True)


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        ("404 Not Found", "", b"<html><title>404</title></html>"),
        ("302 Found", "Location: /login\r\n", b""),
        ("200 OK", "", b"<html>Welcome</html>"),
        ("401 Unauthorized", "WWW-Authenticate: Negotiate\r\n", b"<html>401</html>"),
        ("503 Away", "", b""),
    ],
)
async def test_a_wrong_path_is_found(listen: Listen, status: str, headers: str, body: bytes) -> None:
    async def script(connection: Connection) -> None:
        while await connection.request():
            connection.answer(body, status, headers)

    peer = await listen(script)
    finding = failed(await findings(peer.base))
    assert finding.step is Step.PATH
    assert status[:3] in finding.message
    assert not any(b"Adm-Authorization" in request for request in peer.requests)


async def test_a_server_that_breaks_off_is_found(listen: Listen) -> None:
    async def script(connection: Connection) -> None:
        if connection.peer.requests:
            await connection.request()
        else:
            await connection.request()
            connection.answer(b'{"message": "?", "code": "unauthenticated"}', "401 No", "Connection: close\r\n")

    peer = await listen(script)
    finding = failed(await findings(peer.base))
    assert finding.step is Step.TOKEN


# --- TLS ---------------------------------------------------------------------------------------------------


async def test_a_good_certificate_is_reported_with_issuer_and_end(tls: SSLContext, ca_file: Path) -> None:
    async with Sandbox(tls=tls) as sandbox:
        url = sandbox.url.replace("127.0.0.1", "localhost")
        found = await findings(url, ca_file=ca_file)
    assert all(finding.passed for finding in found)
    finding = next(finding for finding in found if finding.step is Step.TLS)
    assert "trustme" in finding.message
    assert "days" in finding.message
    assert finding.hint is None


async def test_a_certificate_that_ends_soon_is_reported(certify: Certify, ca_file: Path) -> None:
    async with Sandbox(tls=certify(days=3)) as sandbox:
        found = await findings(sandbox.url.replace("127.0.0.1", "localhost"), ca_file=ca_file)
    finding = next(finding for finding in found if finding.step is Step.TLS)
    assert finding.passed
    assert finding.hint is not None


@pytest.mark.parametrize(
    ("name", "days", "known", "word"),
    [
        ("localhost", 30, False, "--ca-file"),
        ("localhost", -1, True, "renewed"),
        ("adaxes.example.com", 30, True, "host name"),
    ],
)
async def test_a_bad_certificate_is_found_with_its_fix(
    certify: Certify, ca_file: Path, *, name: str, days: int, known: bool, word: str
) -> None:
    async with Sandbox(tls=certify(name, days=days)) as sandbox:
        url = sandbox.url.replace("127.0.0.1", "localhost")
        finding = failed(await findings(url, ca_file=ca_file if known else None))
    assert finding.step is Step.TLS
    assert word in (finding.hint or "")


async def test_a_plain_port_is_found() -> None:
    async with Sandbox() as sandbox:
        finding = failed(await findings(sandbox.url.replace("http://127.0.0.1", "https://localhost")))
    assert finding.step is Step.TLS
    assert "http://" in (finding.hint or "")


async def test_a_proxy_is_connected_to_in_place_of_the_server(listen: Listen) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        connection.answer(b"", "407 Authentication", "Proxy-Authenticate: NTLM\r\n")

    proxy = await listen(script)
    found = await findings("https://adaxes.example.com/restApi", proxy=f"http://me:geheim@127.0.0.1:{proxy.port}")
    finding = failed(found)
    assert (finding.step, "NTLM" in finding.message) == (Step.PATH, True)
    assert "geheim" not in repr(found)


async def test_a_bad_certificate_behind_a_proxy_is_found(listen: Listen, tls: SSLContext) -> None:
    async with Sandbox(tls=tls) as sandbox:

        async def script(connection: Connection) -> None:
            await connection.tunnel(int(sandbox.url.rpartition(":")[2].partition("/")[0]))

        proxy = await listen(script)
        url = sandbox.url.replace("127.0.0.1", "localhost")
        finding = failed(await findings(url, proxy=f"http://127.0.0.1:{proxy.port}"))
    assert finding.step is Step.TLS


# --- a recipient -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("properties", "good", "word"),
    [
        ({"mobile": "+49 1"}, True, "has a mobile number"),
        ({"mobile": "+49 1", "userAccountControl": 514}, True, "disabled"),
        ({"displayName": "Anna"}, False, "Anna has no mobile number"),
    ],
)
async def test_a_recipient_is_reported_to_have_a_number_or_not(
    properties: dict[str, str | int | bool], good: bool, word: str
) -> None:
    directory = Directory()
    directory.add(SandboxObject("CN=a", PERSON, "user", None, properties))
    async with Sandbox(directory=directory) as sandbox:
        finding = (await findings(sandbox.url, recipient=PERSON))[-1]
    assert (finding.step, finding.passed) == (Step.RECIPIENT, good)
    assert word in finding.message
    assert "+49" not in finding.message


@pytest.mark.parametrize(("recipient", "word"), [(PERSON, "no such object"), ("anna", "400")])
async def test_a_recipient_that_is_not_there_is_found(recipient: str, word: str) -> None:
    async with Sandbox(directory=Directory()) as sandbox:
        finding = failed(await findings(sandbox.url, recipient=recipient))
    assert finding.step is Step.RECIPIENT
    assert word in finding.message
