"""How many are left to send, where a run died or the server still works: the number that a person says yes to."""

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.harness import CliHarness

LEDGER = "people.ledger.db"


@pytest.fixture
def planned(cli: "CliHarness") -> "CliHarness":
    """Three people of a plan."""
    cli.people(3)
    assert cli("plan", "people.csv", "--quiet").code == 0
    return cli


def leave(cli: "CliHarness", state: str, where: str, *, operation: str | None = None) -> None:
    """Leave messages as a run that died, or whose server is slow, would."""
    with closing(sqlite3.connect(cli.folder / LEDGER)) as connection, connection:
        connection.execute(
            f"UPDATE message SET state = ?, attempts = 1, tries = 1, began_at = 5, operation_id = ? WHERE {where}",  # noqa: S608 - ours
            (state, operation),
        )
        if operation is not None:
            connection.execute(
                "INSERT INTO attempt (message, attempt, run, began_at, evidence) "
                "SELECT number, 1, 0, 5, 'started' FROM message"
            )
        connection.execute(
            "INSERT OR REPLACE INTO tally SELECT state, COUNT(*) FROM message GROUP BY state UNION SELECT 'queued', "
            "(SELECT COUNT(*) FROM message WHERE state = 'queued')"
        )


@pytest.mark.parametrize(("delivery", "left"), [("balanced", 2), ("at-least-once", 3)])
def test_what_a_dead_run_had_under_way_counts_if_it_is_sent_again(
    delivery: str, left: int, planned: "CliHarness"
) -> None:
    server = planned.server()
    leave(planned, "sending", "input_row = 2")
    result = planned("send", LEDGER, "--delivery", delivery)
    assert result.code == 2, "there is nobody to ask"
    assert f"{left} of 3 are left to send, to http://127.0.0.1:" in result.err
    assert planned("send", LEDGER, "--delivery", delivery, "--yes", "--max-recipients", str(left)).code in (0, 4)
    assert server.journal.total == left


def test_history_counts_nobody_as_unknown_and_left(planned: "CliHarness") -> None:
    leave(planned, "sending", "input_row = 2")
    (ledger,) = planned("history", "--json").json["ledgers"]
    assert (ledger["counts"]["unknown"], ledger["counts"]["queued"], ledger["left"]) == (1, 2, 2)


def test_nobody_is_asked_where_only_the_server_has_work_left(planned: "CliHarness") -> None:
    server = planned.server()
    leave(planned, "processing", "1 = 1", operation="0e4de3ef-7ad5-4b0e-9ef6-3f0a0f1d2f57")
    result = planned("status", LEDGER)
    assert "The server still works on 3; to ask what became of them, sending nothing:\n" in result.err
    result = planned("send", LEDGER)
    assert result.code == 4, "the server knows nothing of it"
    assert "nothing is left to send." in result.err
    assert server.journal.total == 0


def test_cancel_says_so_where_nothing_is_queued(planned: "CliHarness") -> None:
    assert "nothing is withdrawn" not in planned("cancel", LEDGER).err
    result = planned("cancel", LEDGER)
    assert result.err.startswith("Nothing is queued, so nothing is withdrawn.\n")


def test_resume_says_what_it_does_before_it_begins(planned: "CliHarness") -> None:
    planned.server()
    leave(planned, "sending", "input_row = 2")
    leave(planned, "accepted", "input_row = 3")
    result = planned("resume", LEDGER)
    assert result.code == 4
    before = result.err.partition("Exit code")[0]
    assert "people.csv, planned " in before
    assert ": 1 of 3 is left to send, to http://127.0.0.1:" in before
    assert "1 may have been sent when the last run died; they are unknown, and not sent again." in before
