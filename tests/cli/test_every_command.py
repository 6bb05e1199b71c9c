"""Options of several commands that say where, as whom, and by which file: each command heeds them."""

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from bulksms.sandbox import Account, Directory, DirectoryObject

if TYPE_CHECKING:
    from tests.cli.conftest import Desk

GUID = "7a4267ce-d354-44e7-8bd6-c681f1284a41"
CALLS = {
    "send": ("send", "people.csv", "--yes"),
    "plan": ("plan", "people.csv", "--verify-recipients"),
    "resume": ("resume", "planned.db"),
    "retry": ("retry", "given_up.db", "--yes"),
    "check": ("check",),
}
"""Calls that need a server, and succeed if there is one."""
EACH = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@pytest.fixture
def directory() -> Directory:
    """One person, who has a number."""
    made = Directory()
    made.add(DirectoryObject("CN=Ann,DC=x", GUID, "user", "S-1-5-21-1-2-3-4", {"mobile": "+49151001"}))
    return made


@pytest.fixture
def prepared(desk: "Desk") -> "Desk":
    """An input and a plan of it."""
    desk.write("people.csv", f"guid,text\n{GUID},Hello\n")
    for name in ("planned.db", "given_up.db"):
        assert desk("plan", "people.csv", "--ledger", name, "--quiet").code == 0
    with closing(sqlite3.connect(desk.folder / "given_up.db")) as connection, connection:
        connection.execute("UPDATE message SET state = 'failed', reason = 'gave_up'")
        connection.execute("UPDATE tally SET messages = (SELECT COUNT(*) FROM message WHERE state = tally.name)")
    return desk


@EACH
def test_config_names_the_file_of_settings(call: tuple[str, ...], prepared: "Desk", directory: Directory) -> None:
    server = prepared.serve(directory=directory)
    prepared.write("a-token", prepared.token)
    prepared.write("night.toml", f'url = "{server.url}"\ntoken-file = "a-token"\n')
    assert prepared(*call).code == 2
    assert prepared(*call, "--config", "night.toml").code == 0
    assert server.journal.total + server.journal.calls.total() > 0


@EACH
def test_username_logs_in_with_the_password_of_the_environment(
    call: tuple[str, ...], prepared: "Desk", directory: Directory
) -> None:
    account = Account(password="a-password-4711")
    server = prepared.serve(directory=directory, token=None, account=account)
    prepared.export("BULKSMS_PASSWORD", account.password)
    prepared.export("BULKSMS_URL", server.url)
    assert prepared(*call).code == 2
    assert prepared(*call, "--username", account.username).code == 0
    assert server.journal.calls["POST /api/auth"] == 1


def test_claims_keep_a_second_ledger_from_the_same_plan(prepared: "Desk") -> None:
    server = prepared.server()
    (prepared.folder / "shared").mkdir()
    assert prepared("resume", "planned.db", "--claims", "shared").code == 0
    assert prepared("retry", "given_up.db", "--yes", "--claims", "shared").code == 3
    assert list((prepared.folder / "shared").iterdir())
    assert server.journal.total == 1


@pytest.mark.parametrize(("more", "named"), [((), False), (("--log-recipients",), True)], ids=["without", "with"])
@pytest.mark.parametrize("call", ["resume", "retry"])
def test_log_recipients_names_them(call: str, more: tuple[str, ...], named: bool, prepared: "Desk") -> None:
    prepared.server()
    log = ("--log-level", "debug", "--log-format", "json", "--log-file", "run.log")
    assert prepared(*CALLS[call], *log, *more).code == 0
    events = [json.loads(line) for line in (prepared.folder / "run.log").read_text(encoding="utf-8").splitlines()]
    assert any(GUID in event.values() for event in events) == named


@pytest.mark.parametrize("outcome", ["accepted", "failed"])
def test_outcome_says_what_became_of_everybody_in_the_file(outcome: str, desk: "Desk") -> None:
    desk.server()
    desk.people(3, mark="[drop_after]")
    assert desk("send", "people.csv", "--yes", "--quiet").code == 4
    desk.write("known.csv", "row\n2\n4\n")
    assert desk("resolve", "people.ledger.db", "--from", "known.csv", "--outcome", outcome).code == 0
    assert [line.state for line in desk.lines()] == [outcome, "unknown", outcome]
