"""`bulksms check` reaches the server without sending."""

from typing import TYPE_CHECKING

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
