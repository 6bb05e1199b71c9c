"""How often a command opens its ledger: what it has to know it reads once, and again when something was written."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from bulksms.ledger.sqlite import database
from tests.cli.test_retry import LEDGER, sent
from tests.cli.test_what_is_left import leave

if TYPE_CHECKING:
    from tests.cli.harness import CliHarness

OPENINGS = {
    "status LEDGER": "read",
    "status --json LEDGER": "read",
    "report LEDGER": "read",
    "report --runs LEDGER": "read",
    "report --format html LEDGER": "read",
    "config LEDGER": "read",
    "stop LEDGER": "read",
    "send LEDGER --yes": "read",
    "resume LEDGER --yes": "read",
    "retry LEDGER --yes --only cancelled": "read",
    "retry LEDGER --yes --only expired": "read",
    "retry LEDGER --yes": "read write read",
    "resolve LEDGER --accepted 5": "read write read",
    "cancel LEDGER --yes": "read read",
    "purge LEDGER --yes": "read write",
}
"""What each command does with the ledger of a run that has ended and left nothing to send, one after the other."""


@pytest.fixture
def openings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each opening of a ledger from now on."""
    found: list[str] = []

    def counting(what: str, opening: Callable[..., Any]) -> Callable[..., Any]:
        def count(*arguments: Any, **options: Any) -> Any:
            found.append(what)
            return opening(*arguments, **options)

        return count

    monkeypatch.setattr(database, "open_read_only", counting("read", database.open_read_only))
    monkeypatch.setattr(database, "open_for_run", counting("write", database.open_for_run))
    return found


@pytest.mark.parametrize(("command", "expected"), OPENINGS.items())
def test_a_command_opens_its_ledger_no_more_often_than_it_has_to(
    command: str, expected: str, cli: "CliHarness", openings: list[str]
) -> None:
    sent(cli)
    openings.clear()
    cli(*(LEDGER if word == "LEDGER" else word for word in command.split()))
    assert " ".join(openings) == expected


def test_a_retry_after_a_crash_reads_the_ledger_once_more_because_recovery_changes_it(
    cli: "CliHarness", openings: list[str]
) -> None:
    cli.server()
    cli.people(2)
    assert cli("plan", "people.csv").code == 0
    leave(cli, "sending", "input_row = 2")
    openings.clear()
    assert cli("retry", LEDGER, "--only", "unknown", "--yes").code == 0
    assert openings == ["read", "write", "read", "write", "read"]


def test_a_first_run_reads_its_ledger_once_before_and_once_after(cli: "CliHarness", openings: list[str]) -> None:
    cli.server()
    cli.people(2)
    assert cli("send", "people.csv", "--yes").code == 0
    assert openings == ["read", "write", "read"]


def test_a_resumption_reads_its_ledger_once_before_and_once_after(cli: "CliHarness", openings: list[str]) -> None:
    cli.server()
    cli.people(2)
    assert cli("plan", "people.csv").code == 0
    openings.clear()
    assert cli("resume", LEDGER, "--yes").code == 0
    assert openings == ["read", "write", "read"]
