"""`bulksms check` reaches the server without sending."""

import socket
import time
from typing import TYPE_CHECKING

from bulksms.sandbox import Account

if TYPE_CHECKING:
    from tests.cli.conftest import Desk


def test_check_tells_each_step_and_sends_nothing(desk: "Desk") -> None:
    server = desk.server()
    said = desk("check", "--timeout", "5")
    assert said.code == 0, said.out
    assert server.journal.total == 0
    told = desk("check", "--json").json
    assert told["good"] is True
    assert all(step["good"] for step in told["steps"])
    assert len(told["steps"]) >= 4


def test_check_of_a_server_that_is_not_there_exits_5(desk: "Desk") -> None:
    desk.export("BULKSMS_TOKEN", desk.token)
    said = desk("check", "--url", "http://127.0.0.1:9/restApi", "--timeout", "5")
    assert said.code == 5
    assert "hint: " in said.out


def test_check_of_a_wrong_token_exits_5(desk: "Desk") -> None:
    server = desk.server()
    desk.export("BULKSMS_TOKEN", "wrong")
    assert desk("check").code == 5
    assert server.journal.total == 0


def test_number_property_is_about_a_recipient(desk: "Desk") -> None:
    server = desk.server()
    said = desk("check", "--number-property", "telephoneNumber")
    assert said.code == 2
    who = next(it.guid for it in server.sandbox.directory if "mobile" in it.properties)
    assert desk("check", who).code == 0
    told = desk("check", who, "--number-property", "noSuchProperty", "--json")
    assert told.code == 5
    assert "noSuchProperty" in told.out


def test_check_needs_an_identifier(desk: "Desk") -> None:
    desk.server()
    said = desk("check", "jsmith")
    assert (said.code, said.out) == (2, "")
    assert "'jsmith' cannot be looked up" in said.err


def test_check_takes_the_token_of_a_file(desk: "Desk") -> None:
    server = desk.serve()
    desk.write("a-token", desk.token)
    assert desk("check", "--url", server.url).code == 2
    assert desk("check", "--url", server.url, "--token-file", "a-token").code == 0
    assert server.journal.unauthorized == 0


def test_check_takes_the_password_of_a_file(desk: "Desk") -> None:
    account = Account(password="a-password-4711")
    server = desk.serve(token=None, account=account)
    desk.export("BULKSMS_USERNAME", account.username)
    desk.write("password-token", account.password)
    desk.write("wrong-token", "another")
    assert desk("check", "--url", server.url, "--password-file", "password-token").code == 0
    assert desk("check", "--url", server.url, "--password-file", "wrong-token").code == 5


def test_check_goes_over_plain_http_only_if_it_is_allowed(desk: "Desk") -> None:
    """The stand-in server is the proxy here: what is asked of it names a host that does not exist."""
    server = desk.server()
    there = ("check", "--url", "http://adaxes.invalid/restApi", "--proxy", server.url.removesuffix("/restApi"))
    assert desk(*there).code == 5
    assert server.journal.calls.total() == 0
    desk(*there, "--insecure-http")
    assert server.journal.calls.total() > 0


def test_timeout_ends_a_check_of_a_server_that_does_not_answer(desk: "Desk") -> None:
    desk.export("BULKSMS_TOKEN", desk.token)
    began = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/restApi"
        assert desk("check", "--url", url, "--timeout", "0.3").code == 5
    assert time.monotonic() - began < 25.0  # a step takes 30 s without it
