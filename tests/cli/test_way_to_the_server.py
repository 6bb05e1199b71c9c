"""The way to the server: authorities, proxies, plain HTTP, redirects."""

import asyncio
import contextlib
import datetime as dt
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme

from bulksms.model.message import State
from bulksms.sandbox import Fault
from tests.cli.log_in import require_nowhere

if TYPE_CHECKING:
    from tests.cli.harness import CliHarness, Server


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


Certify = Callable[..., ssl.SSLContext]


@pytest.fixture(scope="session")
def certify(authority: trustme.CA) -> Certify:
    """What a server with a certificate for this name shows; with negative days it has expired."""

    def context(name: str = "127.0.0.1", *, days: int = 30) -> ssl.SSLContext:
        now = dt.datetime.now(dt.UTC)
        shown = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        begin = now - dt.timedelta(days=60)
        authority.issue_cert(name, not_before=begin, not_after=now + dt.timedelta(days=days)).configure_cert(shown)
        return shown

    return context


@pytest.fixture
def ca_file(cli: "CliHarness", authority: trustme.CA) -> Path:
    path = cli.folder / "ca.pem"
    path.write_bytes(authority.cert_pem.bytes())
    return path


def test_an_internal_authority_is_believed_with_its_file_only(
    cli: "CliHarness", certify: Certify, ca_file: Path
) -> None:
    server = cli.server(tls=certify())
    assert server.url.startswith("https://")
    cli.people(3)
    result = cli("check")
    assert result.code == 5
    assert "✗ tls" in result.out
    assert "this system's trusted ones" in result.out
    assert "--ca-file" in result.out
    result = cli("send", "people.csv", "--yes")
    assert result.code == 5
    assert "Stopped (wrong_endpoint): the server's certificate is not trusted" in " ".join(result.err.split())
    assert "--ca-file" in result.err
    assert {line.state for line in cli.lines()} == {State.QUEUED}
    assert server.journal.total == 0
    assert "✓ tls         the certificate is good" in cli("check", "--ca-file", ca_file).out
    assert cli("resume", "people.ledger.db", "--yes", "--ca-file", ca_file).code == 0
    assert server.journal.total == 3


@pytest.mark.parametrize(
    ("shown", "hint"),
    [
        ({"name": "other.example.com"}, "Use a host name that the certificate names"),
        ({"days": -1}, "Have the server's certificate renewed"),
    ],
)
def test_a_certificate_that_is_not_good_stops_everything(
    cli: "CliHarness", certify: Certify, ca_file: Path, shown: dict[str, object], hint: str
) -> None:
    server = cli.server(tls=certify(**shown))
    cli.people(2)
    result = cli("check", "--ca-file", ca_file)
    assert result.code == 5
    assert hint in result.out
    assert cli("send", "people.csv", "--yes", "--ca-file", ca_file).code == 5
    assert server.journal.total == 0


def test_tls_to_a_plain_port_is_found(cli: "CliHarness") -> None:
    server = cli.server()
    result = cli("check", "--url", server.url.replace("http://", "https://"))
    assert result.code == 5
    assert "✗ tls         the TLS handshake failed" in result.out


def test_a_file_of_authorities_that_is_none_is_wrong_usage(cli: "CliHarness", certify: Certify) -> None:
    cli.server(tls=certify())
    cli.write("ca.pem", "not a certificate")
    result = cli("check", "--ca-file", "ca.pem")
    assert result.code == 2
    assert "holds no certificates" in result.err


class Proxy:
    """An HTTP proxy on loopback that leads every request to one port, whatever host it was meant for."""

    def __init__(self, port: int) -> None:
        self.asked: list[str] = []
        self._to = port
        self._listening = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(),))
        self._thread.start()
        self._listening.wait()

    async def _serve(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._lead, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._listening.set()
        await self._ended.wait()
        server.close()

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.asked.append(head.decode())
            onward_reader, onward = await asyncio.open_connection("127.0.0.1", self._to)
            if head.startswith(b"CONNECT "):
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                onward.write(head)
            await asyncio.gather(_carry(reader, onward), _carry(onward_reader, writer))
        writer.close()

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
    writer.close()


@pytest.fixture
def lead_to() -> Iterator[Callable[["Server"], Proxy]]:
    proxies: list[Proxy] = []

    def start_proxy(server: "Server") -> Proxy:
        proxies.append(Proxy(int(server.url.split(":")[2].split("/")[0])))
        return proxies[-1]

    yield start_proxy
    for proxy in proxies:
        proxy.end()


HOST = "adaxes.example.test"


@pytest.mark.parametrize("how", ["--proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_a_proxy_is_used_and_its_password_shown_nowhere(
    cli: "CliHarness", certify: Certify, ca_file: Path, lead_to: Callable[["Server"], Proxy], how: str
) -> None:
    server = cli.server(tls=certify(HOST))
    proxy = lead_to(server)
    address = f"http://clerk:pr0xy-s3cret@127.0.0.1:{proxy.port}"
    cli.export("BULKSMS_URL", f"https://{HOST}/restApi")
    options: tuple[str | Path, ...] = ("--ca-file", ca_file)
    if how == "--proxy":
        options += ("--proxy", address)
    else:
        cli.export(how, address)
    cli.people(3)
    result = cli("check", *options)
    assert result.code == 0, result.out
    assert "(the proxy http://***@127.0.0.1:" in result.out
    assert cli("send", "people.csv", "--yes", "--log-file", "run.log", "--log-level", "debug", *options).code == 0
    assert server.journal.total == 3
    assert proxy.asked
    assert all(head.startswith(f"CONNECT {HOST}:443 ") for head in proxy.asked)
    assert all("Proxy-Authorization: Basic " in head and cli.token not in head for head in proxy.asked)
    require_nowhere(cli, "pr0xy-s3cret", "Y2xlcms6cHIweHktczNjcmV0")


def test_no_proxy_leaves_the_proxy_out(cli: "CliHarness", lead_to: Callable[["Server"], Proxy]) -> None:
    proxy = lead_to(cli.server())
    cli.export("BULKSMS_URL", f"https://{HOST}/restApi")
    cli.export("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
    cli.export("NO_PROXY", ".example.test")
    assert f"✗ dns         {HOST} has no address" in cli("check", "--timeout", "5").out
    assert proxy.asked == []


def test_plain_http_to_another_machine_needs_the_switch(
    cli: "CliHarness", lead_to: Callable[["Server"], Proxy]
) -> None:
    server = cli.server()
    proxy = lead_to(server)
    cli.people(2)
    there = ("--url", f"http://{HOST}/restApi", "--proxy", f"http://127.0.0.1:{proxy.port}")
    result = cli("send", "people.csv", "--yes", *there)
    assert result.code == 2
    assert "--insecure-http" in result.err
    assert cli("send", "people.csv", "--yes", *there, "--insecure-http").code == 0
    assert server.journal.total == 2
    assert proxy.asked


def test_no_redirect_is_followed(cli: "CliHarness") -> None:
    server = cli.server()
    server.sandbox.everybody = Fault.REDIRECT
    cli.people(5)
    result = cli("send", "people.csv", "--yes", "--workers", "1")
    assert result.code == 5
    assert "Stopped (wrong_endpoint): 302" in result.err
    assert server.journal.total == 1
    assert server.journal.calls.total() == 0
    assert {line.state for line in cli.lines()} == {State.QUEUED}


def test_a_mistyped_url_is_a_dead_end_for_its_ledger_and_not_for_the_people(cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(3)
    wrong = server.url.removesuffix("/restApi")
    result = cli("send", "people.csv", "--yes", "--url", wrong)
    assert result.code == 5
    way_out = "`bulksms send INPUT --new --not-sent-in people.ledger.db`"
    assert way_out in result.err
    assert "`bulksms check`" in result.err
    result = cli("resume", "people.ledger.db")
    assert result.code == 3
    assert way_out in result.err
    assert cli("send", "people.csv", "--yes", "--new", "--not-sent-in", "people.ledger.db").code == 0
    assert server.journal.total == 3


@pytest.mark.parametrize(("page", "state"), [("html_200", State.UNKNOWN), ("403_html", State.QUEUED)])
def test_a_page_for_everybody_stops_the_run_early_and_names_what_may_be_in_between(
    page: str, state: State, cli: "CliHarness"
) -> None:
    server = cli.server()
    cli.people(40, mark=f"[{page}]")
    result = cli("send", "people.csv", "--yes")
    assert result.code == 5
    assert "Stopped (wrong_endpoint)" in result.err
    words = " ".join(result.err.split())
    assert "A log-in page, a proxy or another web server answers in place of Adaxes" in words
    assert "NO_PROXY" in words
    assert {line.state for line in cli.lines()} == {State.QUEUED, state}
    # Those that had left beside the first ones are in it, too.
    assert server.journal.total <= (6 if page == "html_200" else 30)
