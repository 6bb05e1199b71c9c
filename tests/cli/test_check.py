"""`bulksms check` reaches the server without sending."""

import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from bulksms.sandbox import Account, Directory, DirectoryObject
from tests.cli.log_in import ACCOUNT, PASSWORD, PERSON, log_in_as, require_nowhere

if TYPE_CHECKING:
    from tests.cli.harness import CliHarness


def test_check_tells_each_step_and_sends_nothing(cli: "CliHarness") -> None:
    server = cli.server()
    result = cli("check", "--timeout", "5")
    assert result.code == 0, result.out
    assert server.journal.total == 0
    found = cli("check", "--json").json
    assert found["ok"] is True
    assert all(step["ok"] for step in found["steps"])
    assert len(found["steps"]) >= 4


def test_check_of_a_server_that_is_not_there_exits_5(cli: "CliHarness") -> None:
    cli.export("BULKSMS_TOKEN", cli.token)
    result = cli("check", "--url", "http://127.0.0.1:9/restApi", "--timeout", "5")
    assert result.code == 5
    assert "hint: " in result.out


def test_check_of_a_wrong_token_exits_5(cli: "CliHarness") -> None:
    server = cli.server()
    cli.export("BULKSMS_TOKEN", "wrong")
    assert cli("check").code == 5
    assert server.journal.total == 0


def test_number_property_is_about_a_recipient(cli: "CliHarness") -> None:
    server = cli.server()
    result = cli("check", "--number-property", "telephoneNumber")
    assert result.code == 2
    who = next(it.guid for it in server.sandbox.directory if "mobile" in it.properties)
    assert cli("check", who).code == 0
    found = cli("check", who, "--number-property", "noSuchProperty", "--json")
    assert found.code == 5
    assert "noSuchProperty" in found.out


def test_check_needs_an_identifier(cli: "CliHarness") -> None:
    cli.server()
    result = cli("check", "jsmith")
    assert (result.code, result.out) == (2, "")
    assert "'jsmith' cannot be looked up" in result.err


def test_check_takes_the_token_of_a_file(cli: "CliHarness") -> None:
    server = cli.serve()
    cli.write("a-token", cli.token)
    assert cli("check", "--url", server.url).code == 2
    assert cli("check", "--url", server.url, "--token-file", "a-token").code == 0
    assert server.journal.unauthorized == 0


def test_check_takes_the_password_of_a_file(cli: "CliHarness") -> None:
    account = Account(password="a-password-4711")
    server = cli.serve(token=None, account=account)
    cli.export("BULKSMS_USERNAME", account.username)
    cli.write("password-token", account.password)
    cli.write("wrong-token", "another")
    assert cli("check", "--url", server.url, "--password-file", "password-token").code == 0
    assert cli("check", "--url", server.url, "--password-file", "wrong-token").code == 5


def test_check_goes_over_plain_http_only_if_it_is_allowed(cli: "CliHarness") -> None:
    """The simulator is the proxy here: what is asked of it names a host that does not exist."""
    server = cli.server()
    there = ("check", "--url", "http://adaxes.invalid/restApi", "--proxy", server.url.removesuffix("/restApi"))
    assert cli(*there).code == 5
    assert server.journal.calls.total() == 0
    cli(*there, "--insecure-http")
    assert server.journal.calls.total() > 0


def test_timeout_ends_a_check_of_a_server_that_does_not_answer(cli: "CliHarness") -> None:
    cli.export("BULKSMS_TOKEN", cli.token)
    began = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/restApi"
        assert cli("check", "--url", url, "--timeout", "0.3").code == 5
    assert time.monotonic() - began < 25.0  # a step takes 30 s without it


def test_check_says_line_by_line_that_all_is_well(cli: "CliHarness") -> None:
    directory = Directory()
    directory.add(DirectoryObject("CN=Ann,DC=x", PERSON, "user", None, {"displayName": "Ann", "mobile": "+49 1"}))
    directory.add(DirectoryObject("CN=Bob,DC=x", PERSON[:-1] + "2", "user", None, {"displayName": "Bob", "pager": "1"}))
    server = cli.server(directory=directory)
    result = cli("check")
    assert result.code == 0
    assert result.err == ""
    assert [line.split()[:2] for line in result.out.splitlines()] == [
        ["✓", step] for step in ("url", "dns", "tcp", "path", "token", "round_trip")
    ]
    assert cli("check", PERSON).out.splitlines()[-1] == "✓ recipient   Ann has a mobile number"
    result = cli("check", "CN=Bob,DC=x")
    assert result.code == 5
    assert result.out.splitlines()[-2] == "✗ recipient   Bob has no mobile number"
    assert cli("check", "CN=Bob,DC=x", "--number-property", "pager", "--timeout", "5").code == 0
    assert server.journal.total == 0
    assert cli.files == set()


def test_check_as_json_tells_each_step(cli: "CliHarness") -> None:
    cli.server()
    cli.export("BULKSMS_TOKEN", "wrong-token")
    result = cli("check", "--json")
    assert result.code == 5
    found = result.json
    assert found["ok"] is False
    assert [(step["step"], step["ok"]) for step in found["steps"]][-2:] == [("path", True), ("token", False)]
    assert found["steps"][-1]["hint"]
    assert "wrong-token" not in result.out


def test_check_logs_in_and_out(cli: "CliHarness", issued: list[str]) -> None:
    server = cli.server(token=None, account=ACCOUNT)
    log_in_as(cli)
    result = cli("check")
    assert result.code == 0
    assert "✓ token       logged in; the token is good for 30 minutes and renewed" in result.out
    assert server.sandbox.log_ins.open_tokens == server.sandbox.log_ins.open_sessions == 0
    log_in_as(cli, password="wr0ng password")
    result = cli("check")
    assert result.code == 5
    assert "✗ token       The user name or the password is wrong. 4 more tries" in result.out
    assert "hint: Write the user name as" in result.out
    require_nowhere(cli, PASSWORD, "wr0ng password", *issued)


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
def test_check_names_the_right_form_of_a_url(cli: "CliHarness", written: str, code: int, words: str) -> None:
    base = cli.server().url
    places = {"base": base, "host": base.removesuffix("/restApi")}
    result = cli("check", "--url", written.format(**places))
    assert result.code == code
    assert words.format(**places) in result.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("check",), "There is no URL to check"),
        (("check", "ann@example.com", "--url", "https://x.example"), "cannot be looked up"),
        (("check", "--number-property", "pager", "--url", "https://x.example"), "none is named"),
        (("check", "--url", "https://x.example"), "no access token and no account"),
    ],
)
def test_check_without_what_it_needs_is_wrong_usage(cli: "CliHarness", arguments: tuple[str, ...], words: str) -> None:
    result = cli(*arguments)
    assert result.code == 2
    assert words in result.err
    assert "hint:" in result.err


def test_a_console_without_the_marks_gets_words(cli: "CliHarness") -> None:
    server = cli.server()
    environment = {"BULKSMS_URL": server.url, "BULKSMS_TOKEN": cli.token, "PYTHONIOENCODING": "cp1252"}
    done = subprocess.run(
        [sys.executable, "-m", "bulksms", "check"], env=os.environ | environment, capture_output=True, check=True
    )
    assert [line.split()[0] for line in done.stdout.decode("cp1252").splitlines()] == ["ok"] * 6
