"""Connecting: as whom, over which way, and what of it is left behind."""

import asyncio
import contextlib
import datetime as dt
import json
import math
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme

from bulksms.adaxes import AccessToken, Account, Endpoint
from bulksms.cli.settings.endpoint import find_credentials
from bulksms.cli.settings.secret import Files
from bulksms.errors import UsageError
from bulksms.ledger.reader import LedgerReader
from bulksms.message import State
from bulksms.sandbox import Account as SandboxAccount
from bulksms.sandbox import Directory, DirectoryObject, Fault, SlowSends, Wait
from bulksms.sandbox.log_in import LogIns

if TYPE_CHECKING:
    from tests.cli.conftest import Desk, Server

NAME, PASSWORD = "operator@example.com", "c0rrect horse & battery"
ACCOUNT = SandboxAccount(NAME, PASSWORD, delay=0.0)
CREATE = "POST /api/authSessions/create"
PATIENCE = 180.0
"""Seconds after which something that should have happened is given up."""
PERSON = "7a4267ce-d354-44e7-8bd6-c681f1284a41"
on_posix = pytest.mark.skipif(os.name != "posix", reason="signals and terminals of POSIX")


def log_in_as(desk: "Desk", name: str = NAME, password: str = PASSWORD) -> None:
    desk.export("BULKSMS_TOKEN", "")
    desk.export("BULKSMS_USERNAME", name)
    desk.export("BULKSMS_PASSWORD", password)


@pytest.fixture
def issued(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every session id and token that a stand-in server gives out."""
    names: list[str] = []
    give = LogIns._give

    def noted(self: LogIns, book: dict[str, float], lifetime: float) -> tuple[str, str]:
        name, expires = give(self, book, lifetime)
        names.append(name)
        return name, expires

    monkeypatch.setattr(LogIns, "_give", noted)
    return names


def require_nowhere(desk: "Desk", *secrets: str, but: str = "") -> None:
    """None of the secrets is in a byte that was said or left behind, but in the file that it was read from."""
    places = [(path.name, path.read_bytes()) for path in desk.folder.rglob("*") if path.is_file() and path.name != but]
    places += [("said", (said.out + said.err).encode()) for said in desk.said]
    for name, content in places:
        for secret in secrets:
            for spelling in {secret, json.dumps(secret)[1:-1]}:
                assert spelling.encode() not in content, f"{spelling} in {name}"


# Credentials


def test_the_first_credentials_that_are_there_count(tmp_path: Path) -> None:
    for name in ("token", "named", "bulksms-token", "password"):
        (tmp_path / name).write_text(f"from-{name}\n", encoding="utf-8-sig")
    environment = {
        "BULKSMS_TOKEN": "from-environment",
        "BULKSMS_TOKEN_FILE": str(tmp_path / "named"),
        "CREDENTIALS_DIRECTORY": str(tmp_path),
        "BULKSMS_USERNAME": NAME,
        "BULKSMS_PASSWORD": PASSWORD,
    }
    assert find_credentials(Files(tmp_path / "token", None), environment) == AccessToken("from-token")
    assert find_credentials(Files(None, tmp_path / "password"), environment) == Account(NAME, "from-password")
    in_turn = [
        ("BULKSMS_TOKEN", AccessToken("from-environment")),
        ("BULKSMS_TOKEN_FILE", AccessToken("from-named")),
        ("CREDENTIALS_DIRECTORY", AccessToken("from-bulksms-token")),
        ("BULKSMS_USERNAME", Account(NAME, PASSWORD)),
    ]
    for name, expected in in_turn:
        assert find_credentials(Files(), environment) == expected
        del environment[name]
    with pytest.raises(UsageError, match="a password and no user name"):
        find_credentials(Files(), environment)
    with pytest.raises(UsageError, match="no access token and no account"):
        find_credentials(Files(), {"CREDENTIALS_DIRECTORY": str(tmp_path / "nothing")})
    with pytest.raises(UsageError, match="Both --token-file and --password-file"):
        find_credentials(Files(tmp_path / "token", tmp_path / "password"), {})
    with pytest.raises(UsageError, match="The user name or the password is empty"):
        find_credentials(Files(), {"BULKSMS_USERNAME": NAME})


def test_a_password_is_taken_as_it_is_but_for_the_line_end(tmp_path: Path) -> None:
    (tmp_path / "password").write_bytes(b"  blanks count \r\n")
    credentials = find_credentials(Files(None, tmp_path / "password"), {"BULKSMS_USERNAME": NAME})
    assert credentials == Account(NAME, "  blanks count ")
    assert "blanks" not in repr(credentials) + repr(Endpoint("https://x", credentials))
    assert Endpoint("https://x", credentials).account == NAME
    assert Endpoint("https://x", AccessToken("t")).account is None


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00secret"])
def test_a_file_that_cannot_be_read_is_named_without_its_content(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "password").write_bytes(content)
    with pytest.raises(UsageError, match=r"The password file .* cannot be read") as refused:
        find_credentials(Files(None, tmp_path / "password"), {"BULKSMS_USERNAME": NAME})
    assert refused.value.__cause__ is None
    assert "secret" not in str(refused.value)


@on_posix
def test_at_a_terminal_the_token_is_asked_for_and_not_shown(desk: "Desk") -> None:
    import pty  # noqa: PLC0415 - POSIX only

    server = desk.server()
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "bulksms", "check", "--url", server.url],
        stdin=follower,
        stdout=subprocess.PIPE,
        stderr=follower,
        env={name: value for name, value in os.environ.items() if not name.startswith("BULKSMS_")},
        start_new_session=True,
    )
    os.close(follower)
    shown = b""
    while b"Access token" not in shown:
        shown += os.read(leader, 1024)
    os.write(leader, desk.token.encode() + b"\n")
    out, _ = process.communicate(timeout=PATIENCE)
    with contextlib.suppress(OSError):
        shown += os.read(leader, 65536)
    os.close(leader)
    assert process.returncode == 0, shown
    assert b"the token is accepted" in out
    assert desk.token.encode() not in shown + out


# Log-in


def test_a_run_of_ten_token_lifetimes_tells_everybody_once_and_logs_in_once_a_lifetime(desk: "Desk") -> None:
    lifetime, people = 0.3, 320
    server = desk.server(token=None, account=SandboxAccount(NAME, PASSWORD, token_lifetime=lifetime))
    log_in_as(desk)
    desk.people(people)
    began = time.monotonic()
    said = desk("send", "people.csv", "--yes", "--rate", "100", "--workers", "4", "--json")
    elapsed = time.monotonic() - began
    assert said.code == 0
    assert elapsed >= 10 * lifetime
    assert said.json["counts"]["accepted"] == people
    assert said.json["may_have_sent_twice"] == 0
    journal = server.journal
    assert all(journal.delivered(line.recipient) == 1 for line in desk.lines())
    assert journal.total - people == sum(entry.status == 401 for entry in journal.received)
    assert 10 <= journal.calls[CREATE] == server.sandbox.log_ins.issued <= math.ceil(elapsed / (0.9 * lifetime)) + 1
    # The last one was given back, unless its life was over by then.
    assert server.sandbox.log_ins.issued - 1 <= server.sandbox.log_ins.open_tokens <= server.sandbox.log_ins.issued


def test_a_token_that_is_revoked_in_the_middle_is_replaced_once_and_burns_nobody(desk: "Desk") -> None:
    server = desk.server(token=None, account=ACCOUNT, latency=0.01)
    log_in_as(desk)
    desk.people(120)

    def revoke() -> None:
        while server.journal.total < 40:
            time.sleep(0.002)
        server.sandbox.log_ins.revoke()

    revoking = threading.Thread(target=revoke)
    revoking.start()
    said = desk("send", "people.csv", "--yes", "--workers", "8", "--max-attempts", "1")
    revoking.join()
    assert said.code == 0
    assert [line.state for line in desk.lines()] == [State.ACCEPTED] * 120
    assert all(server.journal.delivered(line.recipient) == 1 for line in desk.lines())
    assert server.journal.calls[CREATE] == 2


def test_a_wrong_password_makes_one_request_and_burns_nobody(desk: "Desk", issued: list[str]) -> None:
    server = desk.server(token=None, account=ACCOUNT)
    log_in_as(desk, password="wr0ng password")
    desk.people(40)
    said = desk("send", "people.csv", "--yes", "--log-file", "run.log", "--log-level", "debug")
    assert said.code == 5
    assert "Stopped (unauthorized): The user name or the password is wrong. 4 more tries before" in said.err
    assert "hint: Write the user name as" in said.err
    assert server.journal.calls[CREATE] == 1
    assert server.journal.total == 0
    assert {(line.state, line.attempts) for line in desk.lines()} == {(State.QUEUED, 0)}
    require_nowhere(desk, "wr0ng password", *issued)

    desk.export("BULKSMS_PASSWORD", PASSWORD)
    assert desk("resume", "people.ledger.db", "--yes").code == 0
    assert server.journal.total == 40


def test_a_log_in_for_a_poll_that_finds_nobody_there_is_tried_again(desk: "Desk") -> None:
    server = desk.server(token=None, account=ACCOUNT)
    server.sandbox.everybody = Fault.ACCEPTED_202
    server.sandbox.trouble["GET /api/runningOperations/"] = [Fault.STATUS_401] * 3
    log_in_as(desk)
    desk.people(1)

    def go_away() -> None:
        wait_until(lambda: server.journal.calls["POST /api/auth"] == 1)
        server.sandbox.trouble[CREATE] = [Fault.HTML_503] * 2

    going = threading.Thread(target=go_away)
    going.start()
    said = desk("send", "people.csv", "--yes")
    going.join()
    assert said.code == 0, said.err
    assert server.journal.calls[CREATE] == 4
    assert server.journal.total == 1


def test_a_log_in_that_finds_nobody_there_waits_as_long_as_the_run_may(desk: "Desk") -> None:
    server = desk.server(token=None, account=ACCOUNT)
    server.sandbox.trouble[CREATE] = [Fault.HTML_503] * 12
    log_in_as(desk)
    desk.people(20)
    assert desk("send", "people.csv", "--yes", "--no-adapt", "--max-attempts", "1").code == 0
    assert server.journal.total == 20
    assert server.journal.calls[CREATE] == 13

    server.sandbox.log_ins.revoke()
    server.sandbox.trouble[CREATE] = [Fault.HTML_503] * 1000
    desk.people(20, mark="again")
    said = desk("send", "people.csv", "--yes", "--ledger", "second.db", "--max-pause", "0.3")
    assert said.code == 5
    assert "Stopped (away): The log-in was answered with 503." in said.err
    assert server.journal.total == 20

    server.sandbox.trouble[CREATE] = [Fault.STATUS_503_RETRY_AFTER]
    began = time.monotonic()
    assert desk("resume", "second.db", "--max-pause", "0.5").code == 5
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("accessDenied", "This account is not allowed to log in to Adaxes."),
        ("accountIsDisabled", "This account is disabled."),
        ("accountLockedOut", "This account is locked out."),
        ("accountExpired", "This account has expired."),
        ("logonTimeIncorrect", "This account is not allowed to log in at this time of day."),
    ],
)
def test_every_refusal_of_a_log_in_stops_the_run_in_plain_words(desk: "Desk", code: str, words: str) -> None:
    server = desk.server(token=None, account=ACCOUNT)
    server.sandbox.log_ins.refusal = code
    log_in_as(desk)
    desk.people(3)
    said = desk("send", "people.csv", "--yes")
    assert said.code == 5
    assert words in said.err
    assert server.journal.calls[CREATE] == 1


def test_a_wrong_token_makes_one_request_a_worker_at_most_and_burns_nobody(desk: "Desk") -> None:
    server = desk.server(latency=0.02)
    desk.export("BULKSMS_TOKEN", "wrong-token")
    desk.people(40)
    said = desk("send", "people.csv", "--yes", "--workers", "4", "--no-adapt", "--max-attempts", "1")
    assert said.code == 5
    assert "Stopped (unauthorized): The server does not accept the access token." in said.err
    assert 1 <= server.journal.total <= 4
    assert {line.state for line in desk.lines()} == {State.QUEUED}
    desk.export("BULKSMS_TOKEN", desk.token)
    assert desk("resume", "people.ledger.db", "--yes", "--max-attempts", "1").code == 0
    require_nowhere(desk, "wrong-token")


def test_the_end_logs_out_and_the_ledger_keeps_who_sent(desk: "Desk") -> None:
    server = desk.server(token=None, account=ACCOUNT)
    log_in_as(desk, password="")
    desk.write("password", PASSWORD + "\n")
    desk.people(3)
    assert desk("send", "people.csv", "--yes", "--password-file", "password").code == 0
    assert (server.sandbox.log_ins.open_tokens, server.sandbox.log_ins.open_sessions) == (0, 0)
    with LedgerReader(desk.folder / "people.ledger.db") as reader:
        assert [run.settings["account"] for run in reader.runs()] == [NAME]


@on_posix
def test_ctrl_c_logs_out_too(desk: "Desk") -> None:
    server = desk.server(token=None, account=ACCOUNT, latency=0.05)
    log_in_as(desk)
    desk.people(400)
    process = start(desk, server, "send", "people.csv", "--yes")
    wait_until(lambda: server.journal.total > 10)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert (server.sandbox.log_ins.open_tokens, server.sandbox.log_ins.open_sessions) == (0, 0)


@on_posix
def test_a_signal_while_the_log_out_waits_takes_no_result_away(desk: "Desk") -> None:
    server = desk.server(token=None, account=ACCOUNT)
    server.sandbox.trouble["DELETE /api/auth"] = [Fault.STALL]
    log_in_as(desk)
    desk.people(5)
    process = start(desk, server, "send", "people.csv", "--yes", "--json")
    wait_until(lambda: server.journal.calls["DELETE /api/auth"] == 1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert json.loads(out)["counts"]["accepted"] == 5


def test_a_test_message_needs_a_good_log_in_first(desk: "Desk") -> None:
    server = desk.server(token=None, account=ACCOUNT)
    log_in_as(desk, password="wr0ng password")
    desk.people(3)
    said = desk("send", "people.csv", "--yes", "--test-to", PERSON)
    assert said.code == 5
    assert "Stopped (unauthorized): The user name or the password is wrong." in said.err
    assert (server.journal.calls[CREATE], server.journal.total) == (1, 0)


def test_a_test_message_is_not_stopped_by_a_header_that_the_server_refuses(desk: "Desk") -> None:
    server = desk.server(slow_sends=SlowSends(wait=Wait.REFUSED))
    desk.people(3)
    assert desk("send", "people.csv", "--yes", "--test-to", PERSON).code == 0
    assert [entry.status for entry in server.journal.received] == [400, 200, 200, 200, 200]


# Secrets


@on_posix
def test_no_secret_is_in_any_byte_that_runs_leave_behind(desk: "Desk", issued: list[str]) -> None:
    """A run that is killed, with its write-ahead log, one that goes well, and one that meets every kind of answer."""
    server = desk.server(token=None, account=ACCOUNT, latency=0.01)
    log_in_as(desk)
    desk.people(300)
    logs = ("--log-file", "run.log", "--log-level", "debug", "--log-format", "json")
    process = start(desk, server, "send", "people.csv", "--yes", *logs)
    wait_until(lambda: server.journal.total > 30)
    process.kill()
    out, err = process.communicate(timeout=PATIENCE)
    assert (desk.folder / "people.ledger.db-wal").stat().st_size > 0
    require_nowhere(desk, PASSWORD, *issued)
    assert not any(secret.encode() in out + err for secret in (PASSWORD, *issued))

    server.sandbox.everybody = None
    assert desk("resume", "people.ledger.db", "--yes", *logs).code in (0, 4)
    for format_ in ("csv", "jsonl", "table"):
        desk("report", "people.ledger.db", "--format", format_)
    desk("check", "--json")
    desk.people(30, "marked.csv", mark="[400] [403] [500_html] [html_200] [garbage] [401]")
    desk("send", "marked.csv", "--yes", "--max-failures", "20", *logs)
    assert len(issued) >= 6
    require_nowhere(desk, PASSWORD, *issued)


# Check


def test_check_says_line_by_line_that_all_is_well(desk: "Desk") -> None:
    directory = Directory()
    directory.add(DirectoryObject("CN=Ann,DC=x", PERSON, "user", None, {"displayName": "Ann", "mobile": "+49 1"}))
    directory.add(DirectoryObject("CN=Bob,DC=x", PERSON[:-1] + "2", "user", None, {"displayName": "Bob", "pager": "1"}))
    server = desk.server(directory=directory)
    said = desk("check")
    assert said.code == 0
    assert said.err == ""
    assert [line.split()[:2] for line in said.out.splitlines()] == [
        ["✓", step] for step in ("url", "dns", "tcp", "path", "token", "round_trip")
    ]
    assert desk("check", PERSON).out.splitlines()[-1] == "✓ recipient   Ann has a mobile number"
    said = desk("check", "CN=Bob,DC=x")
    assert said.code == 5
    assert said.out.splitlines()[-2] == "✗ recipient   Bob has no mobile number"
    assert desk("check", "CN=Bob,DC=x", "--number-property", "pager", "--timeout", "5").code == 0
    assert server.journal.total == 0
    assert desk.files == set()


def test_check_as_json_tells_each_step(desk: "Desk") -> None:
    desk.server()
    desk.export("BULKSMS_TOKEN", "wrong-token")
    said = desk("check", "--json")
    assert said.code == 5
    told = said.json
    assert told["good"] is False
    assert [(step["step"], step["good"]) for step in told["steps"]][-2:] == [("path", True), ("token", False)]
    assert told["steps"][-1]["hint"]
    assert "wrong-token" not in said.out


def test_check_logs_in_and_out(desk: "Desk", issued: list[str]) -> None:
    server = desk.server(token=None, account=ACCOUNT)
    log_in_as(desk)
    said = desk("check")
    assert said.code == 0
    assert "✓ token       logged in; the token is good for 30 minutes and renewed" in said.out
    assert server.sandbox.log_ins.open_tokens == server.sandbox.log_ins.open_sessions == 0
    log_in_as(desk, password="wr0ng password")
    said = desk("check")
    assert said.code == 5
    assert "✗ token       The user name or the password is wrong. 4 more tries" in said.out
    assert "hint: Write the user name as" in said.out
    require_nowhere(desk, PASSWORD, "wr0ng password", *issued)


@pytest.mark.parametrize(
    ("written", "code", "words"),
    [
        ("adaxes.example.com/restApi", 5, "✗ url         The URL has no https:// in front."),
        ("http://adaxes.example.com/restApi", 5, "✗ url         The URL begins with http://"),
        ("https://", 5, "✗ url"),
        ("{base}/api/", 0, "hint: This is what is used of the URL that was given"),
        ("{base}", 0, "✓ url         {base}\n✓ dns"),
        ("{host}/wrong", 5, "hint: The URL is https://host/<virtual directory of the REST API>"),
        ("http://127.0.0.1:1/restApi", 5, "✗ tcp"),
    ],
)
def test_check_names_the_right_form_of_a_url(desk: "Desk", written: str, code: int, words: str) -> None:
    base = desk.server().url
    places = {"base": base, "host": base.removesuffix("/restApi")}
    said = desk("check", "--url", written.format(**places))
    assert said.code == code
    assert words.format(**places) in said.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("check",), "There is no URL to check"),
        (("check", "ann@example.com", "--url", "https://x.example"), "cannot be looked up"),
        (("check", "--number-property", "pager", "--url", "https://x.example"), "none is named"),
        (("check", "--url", "https://x.example"), "no access token and no account"),
    ],
)
def test_check_without_what_it_needs_is_wrong_usage(desk: "Desk", arguments: tuple[str, ...], words: str) -> None:
    said = desk(*arguments)
    assert said.code == 2
    assert words in said.err
    assert "hint:" in said.err


def test_a_console_without_the_marks_gets_words(desk: "Desk") -> None:
    server = desk.server()
    environment = {"BULKSMS_URL": server.url, "BULKSMS_TOKEN": desk.token, "PYTHONIOENCODING": "cp1252"}
    done = subprocess.run(
        [sys.executable, "-m", "bulksms", "check"], env=os.environ | environment, capture_output=True, check=True
    )
    assert [line.split()[0] for line in done.stdout.decode("cp1252").splitlines()] == ["ok"] * 6


# The way


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
def ca_file(desk: "Desk", authority: trustme.CA) -> Path:
    path = desk.folder / "ca.pem"
    path.write_bytes(authority.cert_pem.bytes())
    return path


def test_an_internal_authority_is_believed_with_its_file_only(desk: "Desk", certify: Certify, ca_file: Path) -> None:
    server = desk.server(tls=certify())
    assert server.url.startswith("https://")
    desk.people(3)
    said = desk("check")
    assert said.code == 5
    assert "✗ tls" in said.out
    assert "this system's trusted ones" in said.out
    assert "--ca-file" in said.out
    said = desk("send", "people.csv", "--yes")
    assert said.code == 5
    assert "Stopped (endpoint)" in said.err
    assert {line.state for line in desk.lines()} == {State.QUEUED}
    assert server.journal.total == 0
    assert "✓ tls         the certificate is good" in desk("check", "--ca-file", ca_file).out
    assert desk("resume", "people.ledger.db", "--yes", "--ca-file", ca_file).code == 0
    assert server.journal.total == 3


@pytest.mark.parametrize(
    ("shown", "hint"),
    [
        ({"name": "other.example.com"}, "Use the host name that stands in the certificate."),
        ({"days": -1}, "Have the server's certificate renewed"),
    ],
)
def test_a_certificate_that_is_not_good_stops_everything(
    desk: "Desk", certify: Certify, ca_file: Path, shown: dict[str, object], hint: str
) -> None:
    server = desk.server(tls=certify(**shown))
    desk.people(2)
    said = desk("check", "--ca-file", ca_file)
    assert said.code == 5
    assert hint in said.out
    assert desk("send", "people.csv", "--yes", "--ca-file", ca_file).code == 5
    assert server.journal.total == 0


def test_tls_to_a_plain_port_is_found(desk: "Desk") -> None:
    server = desk.server()
    said = desk("check", "--url", server.url.replace("http://", "https://"))
    assert said.code == 5
    assert "✗ tls         the TLS handshake failed" in said.out


def test_a_file_of_authorities_that_is_none_is_wrong_usage(desk: "Desk", certify: Certify) -> None:
    desk.server(tls=certify())
    desk.write("ca.pem", "not a certificate")
    said = desk("check", "--ca-file", "ca.pem")
    assert said.code == 2
    assert "holds no certificates" in said.err


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
"""Nobody's name (RFC 6761): only a proxy can lead there."""


@pytest.mark.parametrize("how", ["--proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_a_proxy_is_used_and_its_password_shown_nowhere(
    desk: "Desk", certify: Certify, ca_file: Path, lead_to: Callable[["Server"], Proxy], how: str
) -> None:
    server = desk.server(tls=certify(HOST))
    proxy = lead_to(server)
    address = f"http://clerk:pr0xy-s3cret@127.0.0.1:{proxy.port}"
    desk.export("BULKSMS_URL", f"https://{HOST}/restApi")
    options: tuple[str | Path, ...] = ("--ca-file", ca_file)
    if how == "--proxy":
        options += ("--proxy", address)
    else:
        desk.export(how, address)
    desk.people(3)
    said = desk("check", *options)
    assert said.code == 0, said.out
    assert "(the proxy http://***@127.0.0.1:" in said.out
    assert desk("send", "people.csv", "--yes", "--log-file", "run.log", "--log-level", "debug", *options).code == 0
    assert server.journal.total == 3
    assert proxy.asked
    assert all(head.startswith(f"CONNECT {HOST}:443 ") for head in proxy.asked)
    assert all("Proxy-Authorization: Basic " in head and desk.token not in head for head in proxy.asked)
    require_nowhere(desk, "pr0xy-s3cret", "Y2xlcms6cHIweHktczNjcmV0")


def test_no_proxy_leaves_the_proxy_out(desk: "Desk", lead_to: Callable[["Server"], Proxy]) -> None:
    proxy = lead_to(desk.server())
    desk.export("BULKSMS_URL", f"https://{HOST}/restApi")
    desk.export("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
    desk.export("NO_PROXY", ".example.test")
    assert f"✗ dns         {HOST} has no address" in desk("check", "--timeout", "5").out
    assert proxy.asked == []


def test_plain_http_to_another_machine_needs_the_switch(desk: "Desk", lead_to: Callable[["Server"], Proxy]) -> None:
    server = desk.server()
    proxy = lead_to(server)
    desk.people(2)
    there = ("--url", f"http://{HOST}/restApi", "--proxy", f"http://127.0.0.1:{proxy.port}")
    said = desk("send", "people.csv", "--yes", *there)
    assert said.code == 2
    assert "--insecure-http" in said.err
    assert desk("send", "people.csv", "--yes", *there, "--insecure-http").code == 0
    assert server.journal.total == 2
    assert proxy.asked


def test_no_redirect_is_followed(desk: "Desk") -> None:
    server = desk.server()
    server.sandbox.everybody = Fault.REDIRECT
    desk.people(5)
    said = desk("send", "people.csv", "--yes", "--workers", "1")
    assert said.code == 5
    assert "Stopped (endpoint): 302" in said.err
    assert server.journal.total == 1
    assert server.journal.calls.total() == 0
    assert {line.state for line in desk.lines()} == {State.QUEUED}


def test_a_mistyped_url_is_a_dead_end_for_its_ledger_and_not_for_the_people(desk: "Desk") -> None:
    server = desk.server()
    desk.people(3)
    wrong = server.url.removesuffix("/restApi")
    said = desk("send", "people.csv", "--yes", "--url", wrong)
    assert said.code == 5
    way_out = "`bulksms send INPUT --new --not-told-in people.ledger.db`"
    assert way_out in said.err
    assert "`bulksms check`" in said.err
    said = desk("resume", "people.ledger.db")
    assert said.code == 3
    assert way_out in said.err
    assert desk("send", "people.csv", "--yes", "--new", "--not-told-in", "people.ledger.db").code == 0
    assert server.journal.total == 3


def start(desk: "Desk", server: "Server", *arguments: str) -> "subprocess.Popen[bytes]":
    """The program as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "bulksms", *arguments],
        cwd=desk.folder,
        env=os.environ | {"BULKSMS_URL": server.url},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.002)
