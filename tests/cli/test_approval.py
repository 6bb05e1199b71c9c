"""A second person approves: nothing of such a plan is sent before another account has approved exactly it."""

import asyncio
import shlex
from typing import TYPE_CHECKING

import pytest

from bulksms import AccessToken, Endpoint, PlanError, open_ledger, open_run

if TYPE_CHECKING:
    from tests.cli.harness import CliHarness, Server

LEDGER = "people.ledger.db"


@pytest.fixture
def server(cli: "CliHarness", monkeypatch: pytest.MonkeyPatch) -> "Server":
    """A server, and a plan of anna's that needs an approval."""
    cli.people(3)
    account(monkeypatch, "anna")
    result = cli("plan", "people.csv", "--needs-approval")
    assert result.code == 0
    assert "To approve them, under that account:\n  bulksms approve people.ledger.db " in result.out
    return cli.server()


def account(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("bulksms.system._user", lambda: name)


def fingerprint(cli: "CliHarness") -> str:
    with open_ledger(cli.folder / LEDGER) as reader:
        return reader.plan().fingerprint


@pytest.mark.parametrize(
    "call", [("send", LEDGER), ("send", "people.csv"), ("resume", LEDGER), ("retry", LEDGER, "--only", "expired")]
)
def test_nothing_is_sent_without_an_approval(call: tuple[str, ...], server: "Server", cli: "CliHarness") -> None:
    result = cli(*call, "--yes")
    assert result.code == 3
    assert "needs the approval of another account; nothing was sent." in result.err
    assert f"`bulksms approve people.ledger.db {fingerprint(cli)}` approves them." in result.err
    assert server.journal.total == 0


def test_status_shows_the_second_person_the_texts_and_how_to_approve_them(
    server: "Server", cli: "CliHarness", monkeypatch: pytest.MonkeyPatch
) -> None:
    account(monkeypatch, "boris")
    shown = cli("status", LEDGER)
    look, approve = [shlex.split(line)[1:] for line in shown.err.splitlines() if line.startswith("  bulksms ")]
    texts = cli(*look).out
    with open_ledger(cli.folder / LEDGER) as reader:
        assert all(message.recipient in texts and message.text in texts for message in reader.messages())
    assert cli(*approve).code == 0
    assert "3 are queued; to start:\n  bulksms send people.ledger.db\n" in cli("status", LEDGER).err
    assert server.journal.total == 0


def test_a_program_is_refused_as_the_command_line_is(server: "Server", cli: "CliHarness") -> None:
    async def run() -> None:
        async with open_run(cli.folder / LEDGER, Endpoint.at(server.url, AccessToken(cli.token))):
            raise AssertionError

    with pytest.raises(PlanError, match="needs the approval"):
        asyncio.run(run())


def test_another_account_approves_and_then_it_is_sent(
    server: "Server", cli: "CliHarness", monkeypatch: pytest.MonkeyPatch
) -> None:
    account(monkeypatch, "boris")
    result = cli("approve", LEDGER, fingerprint(cli).upper(), "--note", "ticket 4711")
    assert result.code == 0
    assert "Approved: 3 messages of people.csv, planned by anna on " in result.err
    account(monkeypatch, "anna")
    (command,) = [line for line in result.err.splitlines() if line.startswith("  ")]
    assert cli(*shlex.split(command)[1:], "--yes").code == 0
    assert server.journal.total == 3
    with open_ledger(cli.folder / LEDGER) as reader:
        (decision,) = reader.operator_actions()
    assert (decision.action, decision.user, decision.note) == ("approve", "boris", "ticket 4711")
    assert "approve by boris" in cli("status", LEDGER).out


def test_the_planner_cannot_approve(server: "Server", cli: "CliHarness") -> None:
    result = cli("approve", LEDGER, fingerprint(cli))
    assert result.code == 3
    assert "was planned by this account, anna on" in result.err
    assert cli("send", LEDGER, "--yes").code == 3
    assert server.journal.total == 0


def test_another_plan_s_fingerprint_approves_nothing(
    server: "Server", cli: "CliHarness", monkeypatch: pytest.MonkeyPatch
) -> None:
    account(monkeypatch, "boris")
    result = cli("approve", LEDGER, "0" * 64)
    assert result.code == 3
    assert "has another fingerprint" in result.err
    assert cli("resume", LEDGER, "--yes").code == 3
    assert server.journal.total == 0


def test_a_plan_that_needs_none_is_not_approved(cli: "CliHarness") -> None:
    cli.people(1)
    cli("plan", "people.csv")
    result = cli("approve", LEDGER, fingerprint(cli))
    assert result.code == 3
    assert "needs no approval" in result.err
