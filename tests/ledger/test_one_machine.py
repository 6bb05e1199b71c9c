"""What only several machines have, a ledger in a file refuses with a sentence."""

from pathlib import Path

import pytest

from bulksms.errors import PlanError
from bulksms.ledger import Author, ControlCommand, Recovery, RunStart, ledger_at, open_ledger
from bulksms.model.message import State

START = RunStart("https://adaxes.example/restApi", "1.0", "anna", "server-1", 4711, "{}", "--yes")


async def test_a_file_is_joined_by_nobody(planned: Path) -> None:
    with pytest.raises(PlanError, match="one machine works at a time"):
        await ledger_at(planned).join_run(START, Recovery(State.UNKNOWN, 5))


def test_the_run_on_a_file_is_not_paused(planned: Path) -> None:
    with pytest.raises(PlanError, match="cannot be paused"):
        ledger_at(planned).send_command(ControlCommand.PAUSE, Author("anna", "server-1", "--yes"))


def test_a_file_has_no_server_that_could_have_taken_over(planned: Path) -> None:
    with pytest.raises(PlanError, match="is a file"):
        ledger_at(planned).accept_failover()
    with open_ledger(planned) as reader:
        assert reader.machines() == []
