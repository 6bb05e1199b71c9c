"""Connecting: as whom, over which way, and what of it is left behind."""

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bulksms.adaxes import AccessToken, Account, Endpoint
from bulksms.cli.options.endpoint import Files, find_credentials
from bulksms.errors import UsageError
from bulksms.ledger import open_ledger
from bulksms.model.message import State
from bulksms.sandbox import Account as SandboxAccount
from bulksms.sandbox import Fault, SlowSends, Wait
from tests.cli.log_in import (
    ACCOUNT,
    CREATE,
    NAME,
    PASSWORD,
    PATIENCE,
    PERSON,
    log_in_as,
    require_nowhere,
    start,
    wait_until,
)
from tests.platforms import on_terminals

if TYPE_CHECKING:
    from tests.cli.harness import CliHarness


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


@on_terminals
def test_at_a_terminal_the_token_is_asked_for_and_not_shown(cli: "CliHarness") -> None:
    import pty  # noqa: PLC0415 - POSIX only

    server = cli.server()
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
    os.write(leader, cli.token.encode() + b"\n")
    out, _ = process.communicate(timeout=PATIENCE)
    with contextlib.suppress(OSError):
        shown += os.read(leader, 65536)
    os.close(leader)
    assert process.returncode == 0, shown
    assert b"the token is accepted" in out
    assert cli.token.encode() not in shown + out


# Log-in


def test_a_run_of_ten_token_lifetimes_tells_everybody_once_and_logs_in_once_a_lifetime(cli: "CliHarness") -> None:
    lifetime, people = 0.3, 320
    server = cli.server(token=None, account=SandboxAccount(NAME, PASSWORD, token_lifetime=lifetime))
    log_in_as(cli)
    cli.people(people)
    began = time.monotonic()
    result = cli("send", "people.csv", "--yes", "--rate", "100", "--workers", "4", "--json")
    elapsed = time.monotonic() - began
    assert result.code == 0
    assert elapsed >= 10 * lifetime
    assert result.json["counts"]["accepted"] == people
    assert result.json["possible_duplicate"] == 0
    journal = server.journal
    assert all(journal.delivered(line.recipient) == 1 for line in cli.lines())
    assert journal.total - people == sum(entry.status == 401 for entry in journal.received)
    assert 10 <= journal.calls[CREATE] == server.sandbox.log_ins.issued <= math.ceil(elapsed / (0.9 * lifetime)) + 1
    # The last one was deleted, unless its life was over by then.
    assert server.sandbox.log_ins.issued - 1 <= server.sandbox.log_ins.open_tokens <= server.sandbox.log_ins.issued


def test_a_token_that_is_revoked_in_the_middle_is_replaced_once_and_burns_nobody(cli: "CliHarness") -> None:
    server = cli.server(token=None, account=ACCOUNT, latency=0.01)
    log_in_as(cli)
    cli.people(120)

    def revoke() -> None:
        while server.journal.total < 40:
            time.sleep(0.002)
        server.sandbox.log_ins.revoke()

    revoking = threading.Thread(target=revoke)
    revoking.start()
    result = cli("send", "people.csv", "--yes", "--workers", "8", "--max-attempts", "1")
    revoking.join()
    assert result.code == 0
    assert [line.state for line in cli.lines()] == [State.ACCEPTED] * 120
    assert all(server.journal.delivered(line.recipient) == 1 for line in cli.lines())
    assert server.journal.calls[CREATE] == 2


def test_a_wrong_password_makes_one_request_and_burns_nobody(cli: "CliHarness", issued: list[str]) -> None:
    server = cli.server(token=None, account=ACCOUNT)
    log_in_as(cli, password="wr0ng password")
    cli.people(40)
    result = cli("send", "people.csv", "--yes", "--log-file", "run.log", "--log-level", "debug")
    assert result.code == 5
    assert "Stopped (unauthorized): The user name or the password is wrong. 4 more tries before" in result.err
    assert "hint: Write the user name as" in result.err
    assert server.journal.calls[CREATE] == 1
    assert server.journal.total == 0
    assert {(line.state, line.attempts) for line in cli.lines()} == {(State.QUEUED, 0)}
    require_nowhere(cli, "wr0ng password", *issued)

    cli.export("BULKSMS_PASSWORD", PASSWORD)
    assert cli("resume", "people.ledger.db", "--yes").code == 0
    assert server.journal.total == 40


def test_a_log_in_for_a_poll_that_finds_nobody_there_is_tried_again(cli: "CliHarness") -> None:
    server = cli.server(token=None, account=ACCOUNT)
    server.sandbox.everybody = Fault.ACCEPTED_202
    server.sandbox.trouble["GET /api/runningOperations/"] = [Fault.STATUS_401] * 3
    log_in_as(cli)
    cli.people(1)

    def go_away() -> None:
        wait_until(lambda: server.journal.calls["POST /api/auth"] == 1)
        server.sandbox.trouble[CREATE] = [Fault.HTML_503] * 2

    going = threading.Thread(target=go_away)
    going.start()
    result = cli("send", "people.csv", "--yes")
    going.join()
    assert result.code == 0, result.err
    assert server.journal.calls[CREATE] == 4
    assert server.journal.total == 1


def test_a_log_in_that_finds_nobody_there_waits_as_long_as_the_run_may(cli: "CliHarness") -> None:
    server = cli.server(token=None, account=ACCOUNT)
    server.sandbox.trouble[CREATE] = [Fault.HTML_503] * 12
    log_in_as(cli)
    cli.people(20)
    assert cli("send", "people.csv", "--yes", "--no-adapt", "--max-attempts", "1").code == 0
    assert server.journal.total == 20
    assert server.journal.calls[CREATE] == 13

    server.sandbox.log_ins.revoke()
    server.sandbox.trouble[CREATE] = [Fault.HTML_503] * 1000
    cli.people(20, mark="again")
    result = cli("send", "people.csv", "--yes", "--ledger", "second.db", "--max-outage", "0.3")
    assert result.code == 5
    assert "Stopped (server_unavailable): The log-in was answered with 503." in result.err
    assert server.journal.total == 20

    server.sandbox.trouble[CREATE] = [Fault.STATUS_503_RETRY_AFTER]
    began = time.monotonic()
    assert cli("resume", "second.db", "--max-outage", "0.5").code == 5
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
def test_every_refusal_of_a_log_in_stops_the_run_in_plain_words(cli: "CliHarness", code: str, words: str) -> None:
    server = cli.server(token=None, account=ACCOUNT)
    server.sandbox.log_ins.refusal = code
    log_in_as(cli)
    cli.people(3)
    result = cli("send", "people.csv", "--yes")
    assert result.code == 5
    assert words in result.err
    assert server.journal.calls[CREATE] == 1


def test_a_wrong_token_makes_one_request_a_worker_at_most_and_burns_nobody(cli: "CliHarness") -> None:
    server = cli.server(latency=0.02)
    cli.export("BULKSMS_TOKEN", "wrong-token")
    cli.people(40)
    result = cli("send", "people.csv", "--yes", "--workers", "4", "--no-adapt", "--max-attempts", "1")
    assert result.code == 5
    assert "Stopped (unauthorized): The server does not accept the access token." in result.err
    assert 1 <= server.journal.total <= 4
    assert {line.state for line in cli.lines()} == {State.QUEUED}
    cli.export("BULKSMS_TOKEN", cli.token)
    assert cli("resume", "people.ledger.db", "--yes", "--max-attempts", "1").code == 0
    require_nowhere(cli, "wrong-token")


def test_the_end_logs_out_and_the_ledger_keeps_who_sent(cli: "CliHarness") -> None:
    server = cli.server(token=None, account=ACCOUNT)
    log_in_as(cli, password="")
    cli.write("password", PASSWORD + "\n")
    cli.people(3)
    assert cli("send", "people.csv", "--yes", "--password-file", "password").code == 0
    assert (server.sandbox.log_ins.open_tokens, server.sandbox.log_ins.open_sessions) == (0, 0)
    with open_ledger(cli.folder / "people.ledger.db") as reader:
        assert [run.settings["account"] for run in reader.runs()] == [NAME]


@on_terminals
def test_ctrl_c_logs_out_too(cli: "CliHarness") -> None:
    server = cli.server(token=None, account=ACCOUNT, latency=0.05)
    log_in_as(cli)
    cli.people(400)
    process = start(cli, server, "send", "people.csv", "--yes")
    wait_until(lambda: server.journal.total > 10)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert (server.sandbox.log_ins.open_tokens, server.sandbox.log_ins.open_sessions) == (0, 0)


@on_terminals
def test_a_signal_while_the_log_out_waits_takes_no_result_away(cli: "CliHarness") -> None:
    server = cli.server(token=None, account=ACCOUNT)
    server.sandbox.trouble["DELETE /api/auth"] = [Fault.STALL]
    log_in_as(cli)
    cli.people(5)
    process = start(cli, server, "send", "people.csv", "--yes", "--json")
    wait_until(lambda: server.journal.calls["DELETE /api/auth"] == 1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert json.loads(out)["counts"]["accepted"] == 5


def test_a_test_message_needs_a_good_log_in_first(cli: "CliHarness") -> None:
    server = cli.server(token=None, account=ACCOUNT)
    log_in_as(cli, password="wr0ng password")
    cli.people(3)
    result = cli("send", "people.csv", "--yes", "--test-to", PERSON)
    assert result.code == 5
    assert "Stopped (unauthorized): The user name or the password is wrong." in result.err
    assert (server.journal.calls[CREATE], server.journal.total) == (1, 0)


def test_a_test_message_is_not_stopped_by_a_header_that_the_server_refuses(cli: "CliHarness") -> None:
    server = cli.server(slow_sends=SlowSends(wait=Wait.REFUSED))
    cli.people(3)
    assert cli("send", "people.csv", "--yes", "--test-to", PERSON).code == 0
    assert [entry.status for entry in server.journal.received] == [400, 200, 200, 200, 200]


# Secrets


@on_terminals
def test_no_secret_is_in_any_byte_that_runs_leave_behind(cli: "CliHarness", issued: list[str]) -> None:
    """A run that is killed, with its write-ahead log, one that goes well, and one that meets every kind of answer."""
    server = cli.server(token=None, account=ACCOUNT, latency=0.01)
    log_in_as(cli)
    cli.people(300)
    logs = ("--log-file", "run.log", "--log-level", "debug", "--log-format", "json")
    process = start(cli, server, "send", "people.csv", "--yes", *logs)
    wait_until(lambda: server.journal.total > 30)
    process.kill()
    out, err = process.communicate(timeout=PATIENCE)
    assert (cli.folder / "people.ledger.db-wal").stat().st_size > 0
    require_nowhere(cli, PASSWORD, *issued)
    assert not any(secret.encode() in out + err for secret in (PASSWORD, *issued))

    server.sandbox.everybody = None
    assert cli("resume", "people.ledger.db", "--yes", *logs).code in (0, 4)
    for format_ in ("csv", "jsonl", "table"):
        cli("report", "people.ledger.db", "--format", format_)
    cli("check", "--json")
    cli.people(30, "marked.csv", mark="[400] [403] [500_html] [html_200] [garbage] [401]")
    cli("send", "marked.csv", "--yes", "--max-failures", "20", *logs)
    assert len(issued) >= 6
    require_nowhere(cli, PASSWORD, *issued)


"""Nobody's name (RFC 6761): only a proxy can lead there."""
