"""The commands on a ledger in a database, named by its URL: each as on a file, or refused with what to do instead."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bulksms.model.message import State

if TYPE_CHECKING:
    from tests.cli.harness import CliHarness


@pytest.fixture
def people(database: str, cli: "CliHarness") -> str:
    """The URL of a ledger that is not there yet; its input is."""
    cli.people(3)
    return f"{database}?ledger=people"


def counts(cli: "CliHarness", ledger: str) -> dict[str, int]:
    found: dict[str, int] = cli("status", ledger, "--json").json["counts"]
    return {state: count for state, count in found.items() if count}


def test_a_plan_is_published_and_looked_at_by_its_url(cli: "CliHarness", people: str, database: str) -> None:
    planned = cli("plan", "people.csv", "--ledger", people)
    assert planned.code == 0
    assert f"Planned: {people}.\nTo send it:\n  bulksms send '{people}'" in planned.out
    assert not list(cli.folder.glob("*.db"))
    assert counts(cli, people) == {"queued": 3}
    assert cli("verify", people).code == 0
    rows = [json.loads(line) for line in cli("report", people, "--format", "jsonl").out.splitlines()]
    assert [row["status"] for row in rows] == ["queued"] * 3
    page = cli("report", people, "--format", "html", "-o", "people.html")
    assert page.code == 0
    listed = cli("history", database)
    assert listed.code == 0
    assert listed.out.splitlines()[1].split()[0] == "people"
    (entry,) = cli("history", database, "--json").json["ledgers"]
    assert entry["ledger"] == people
    again = cli("plan", "people.csv", "--ledger", people)
    assert again.code == 3
    assert "none is ever overwritten" in again.err


def test_a_plan_is_started_from_one_ledger_of_a_database(
    cli: "CliHarness", people: str, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = cli.server()
    assert cli("send", "people.csv", "--ledger", people, "--yes").code == 0
    monkeypatch.setattr("bulksms.cli.flows.duplicate_guard.own_record", lambda: tmp_path / "of another machine")
    other = f"{database}?ledger=other"
    refused = cli("send", "people.csv", "--ledger", other, "--yes")
    assert refused.code == 3
    assert f"The same plan (3 messages to {server.url}) was started from {people} on " in refused.err
    assert f"`bulksms status '{people}'` shows how far that is" in refused.err
    assert cli("plan", "people.csv", "--ledger", other, "--quiet").code == 0
    assert cli("send", other, "--yes").code == 3
    assert server.journal.total == 3
    again = cli("send", other, "--new", "--yes")
    assert again.code == 0
    assert f"The same plan was started from {people} on " in again.err
    assert server.journal.total == 6


def test_a_run_on_it_is_as_one_on_a_file(cli: "CliHarness", people: str) -> None:
    server = cli.server()
    assert cli("plan", "people.csv", "--ledger", people, "--quiet").code == 0
    sent = cli("send", people, "--yes")
    assert sent.code == 0, sent.err
    assert server.journal.total == 3
    assert counts(cli, people) == {"accepted": 3}
    again = cli("send", people, "--yes")
    assert again.code == 3
    assert server.journal.total == 3
    runs = cli("report", people, "--runs", "--json").json["runs"]
    assert [(run["run"], run["is_living"]) for run in runs] == [(1, False)]


def test_an_input_is_sent_by_way_of_a_database_at_once(cli: "CliHarness", people: str) -> None:
    server = cli.server()
    assert cli("send", "people.csv", "--ledger", people, "--yes", "--quiet").code == 0
    assert server.journal.total == 3
    assert cli("send", "people.csv", "--ledger", people, "--yes", "--quiet").code == 3
    follow_up = cli("plan", "--sent-in", people, "--text", "All clear.", "--ledger", "clear.ledger.db", "--quiet")
    assert follow_up.code == 0
    assert len(cli.lines("clear.ledger.db")) == 3


def test_a_begun_ledger_moves_and_its_copy_is_only_read(cli: "CliHarness", people: str) -> None:
    cli.server()
    assert cli("plan", "people.csv", "--quiet").code == 0
    moved = cli("import", "people.ledger.db", people)
    assert moved.code == 0
    assert "people.ledger.db is a copy from now on" in moved.err
    refused = cli("send", "people.ledger.db", "--yes")
    assert refused.code == 3
    assert f"Give the command that name: '{people}'" in refused.err
    assert cli("send", people, "--yes", "--quiet").code == 0
    exported = cli("export", people, "copy.ledger.db")
    assert exported.code == 0
    assert "a copy to be read" in exported.err
    assert [line.state for line in cli.lines("copy.ledger.db")] == [State.ACCEPTED] * 3
    assert cli("verify", "copy.ledger.db").code == 0
    assert cli("export", people, "copy.ledger.db").code == 3
    assert cli("resume", "copy.ledger.db", "--yes").code in (0, 3)
    assert cli("purge", "copy.ledger.db", "--yes").code == 0


def test_decisions_about_it_are_as_about_a_file(cli: "CliHarness", people: str) -> None:
    cli.server()
    assert cli("plan", "people.csv", "--ledger", people, "--quiet").code == 0
    stopped = cli("stop", people)
    assert stopped.code == 6
    assert f"`bulksms status '{people}'`" in " ".join(stopped.err.split())
    assert cli("cancel", people, "--yes").code == 0
    assert counts(cli, people) == {"cancelled": 3}
    assert cli("purge", people, "--yes").code == 0
    assert cli("report", people, "--runs").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "sentence", "hint"),
    [
        (("status", "postgresql://anna:secret@db/x?ledger=people"), 2, "A password in the URL", "~/.pgpass"),
        (("status", "postgresql://db/x"), 2, "names no ledger", "bulksms history"),
        (("history", "postgresql://db/x?ledger=people"), 2, "names a ledger", "without `ledger=`"),
        (
            ("send", "people.csv", "--sandbox", "--ledger", "postgresql://db/x?ledger=people"),
            2,
            "in a file",
            "--ledger",
        ),
        (("export", "people.ledger.db", "copy.ledger.db"), 2, "is a file already", "Copy it"),
        (("import", "people.ledger.db", "other.ledger.db"), 2, "is no URL of a ledger", "postgresql://"),
        (("status", "postgresql://127.0.0.1:1/x?ledger=people"), 6, "does not answer", "firewall"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(
    arguments: tuple[str, ...], code: int, sentence: str, hint: str, cli: "CliHarness"
) -> None:
    cli.people(3)
    result = cli(*arguments)
    assert result.code == code, result.err
    words = " ".join(result.err.split())
    assert sentence in words
    assert hint in words.partition("hint: ")[2]
    assert "secret" not in result.err
