"""The second start: the same messages to the same place go out from one ledger only, unless a person says so."""

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bulksms.cli.flows.duplicate_guard import own_record
from bulksms.cli.ui.prompts import TYPED_ABOVE
from bulksms.ledger.sqlite import database

if TYPE_CHECKING:
    from tests.cli.harness import CliHarness

SEND = ("send", "people.csv", "--yes")
AGAIN = (*SEND, "--ledger", "again.db")


@pytest.fixture(params=["by this user", "--start-registry"])
def registry(
    request: pytest.FixtureRequest, cli: "CliHarness", monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> list[str]:
    """The two ways to know of it; with `--start-registry` each call is made on a machine of its own."""
    if request.param == "by this user":
        return []
    shared = tmp_path / "shared"
    shared.mkdir()
    cli.export("BULKSMS_START_REGISTRY", str(tmp_path / "not this one"))
    machines = iter(range(1_000))

    def own_record_of_another_machine() -> Path:
        return tmp_path / "machines" / str(next(machines))

    monkeypatch.setattr("bulksms.cli.flows.duplicate_guard.own_record", own_record_of_another_machine)
    return ["--start-registry", str(shared)]


def test_the_same_messages_from_another_ledger_are_refused(registry: list[str], cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(3)
    assert cli(*SEND, *registry).code == 0
    for _ in range(2):
        result = cli(*AGAIN, *registry)
        assert (result.code, result.out) == (3, "")
        assert f"The same plan (3 messages to {server.url}) was started from " in result.err
        assert f"{cli.folder / 'people.ledger.db'} on {socket.gethostname()}, by " in result.err
        assert "nothing sent now." in result.err
        assert "--new sends all of it, to everybody who has it perhaps a second time" in result.err
        assert not (cli.folder / "again.db").exists()
    assert server.journal.total == 3


def test_new_sends_them_all_the_same_and_says_so(registry: list[str], cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(3)
    cli(*SEND, *registry)
    result = cli(*AGAIN, "--new", *registry)
    assert result.code == 0
    assert "The same plan was started from" in result.err
    assert str(cli.folder / "people.ledger.db") in result.err
    assert result.err.count("--new starts it all the same") == 1
    assert server.journal.total == 6


def test_a_ledger_that_was_planned_is_refused_and_kept(registry: list[str], cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(3)
    cli(*SEND, *registry)
    cli("plan", "people.csv", "--ledger", "planned.db", *registry)
    planned = (cli.folder / "planned.db").read_bytes()
    for command in (["resume", "planned.db"], ["send", "planned.db", "--yes"]):
        result = cli(*command, *registry)
        assert result.code == 3
        assert f"`bulksms send {cli.folder / 'planned.db'} --new` sends from this one" in result.err
        assert (cli.folder / "planned.db").read_bytes() == planned
    assert cli("send", "planned.db", "--yes", "--new", *registry).code == 0
    assert server.journal.total == 6


def test_its_own_ledger_goes_on(registry: list[str], cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(4)
    cli.export("BULKSMS_TOKEN", "wrong")
    assert cli(*SEND, *registry).code == 5
    assert cli("resume", "people.ledger.db", *registry).code == 5
    assert cli(*SEND, *registry).code == 5
    (cli.folder / "people.ledger.db").rename(cli.folder / "moved.db")
    cli.at(server)
    assert cli("resume", "moved.db", *registry).code == 0


def test_one_that_was_made_anew_under_the_same_name_is_another(registry: list[str], cli: "CliHarness") -> None:
    """Deleting the ledger to make the program send again would send everything twice."""
    server = cli.server()
    cli.people(3)
    cli(*SEND, *registry)
    (cli.folder / "people.ledger.db").unlink()
    result = cli(*SEND, *registry)
    assert result.code == 3
    assert "That ledger is gone, and with it who was sent what" in result.err
    assert server.journal.total == 3


def test_the_older_of_two_ledgers_does_not_go_on_unasked(registry: list[str], cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(3)
    cli.export("BULKSMS_TOKEN", "wrong")
    cli(*SEND, *registry)
    cli.at(server)
    assert cli(*AGAIN, "--new", *registry).code == 0
    sent = server.journal.total
    result = cli("resume", "people.ledger.db", *registry)
    assert result.code == 3
    assert "again.db" in result.err
    assert server.journal.total == sent


@pytest.mark.parametrize("other", ["text", "people", "url"])
def test_other_messages_and_another_server_are_no_second_start(
    other: str, registry: list[str], cli: "CliHarness"
) -> None:
    server = cli.server()
    cli.people(3)
    cli(*SEND, *registry)
    if other == "url":
        cli.at(cli.serve())
    cli.people(4 if other == "people" else 3, mark="other" if other == "text" else "")
    assert cli(*AGAIN, *registry).code == 0
    assert server.journal.total == {"text": 6, "people": 7, "url": 3}[other]


@pytest.mark.parametrize("option", ["--dry-run", "--sandbox"])
def test_dry_runs_and_rehearsals_are_neither_noted_nor_refused(
    option: str, registry: list[str], cli: "CliHarness"
) -> None:
    cli.server()
    cli.people(3)
    how_it_ends = 4 if option == "--sandbox" else 0
    assert cli(*SEND, option, *registry).code == how_it_ends
    assert cli(*SEND, *registry).code == 0
    assert cli(*SEND, "--ledger", "rehearsed.db", option, *registry).code == how_it_ends
    result = cli(*AGAIN, *registry)
    assert result.code == 3
    assert "was started from" in result.err


def test_nothing_is_registered_before_a_person_has_confirmed(registry: list[str], cli: "CliHarness") -> None:
    cli.server()
    cli.people(3)
    assert cli("send", "people.csv", *registry).code == 2
    assert cli(*AGAIN, *registry).code == 0


def test_who_comes_second_between_question_and_answer_is_refused_and_leaves_nothing(
    registry: list[str], cli: "CliHarness", monkeypatch: pytest.MonkeyPatch
) -> None:
    server = cli.server()
    cli.people(3)
    cli(*SEND, *registry)
    monkeypatch.setattr("bulksms.cli.commands.send.require_not_started", lambda *_, **__: None)
    assert cli(*AGAIN, *registry).code == 3
    assert not (cli.folder / "again.db").exists()
    assert server.journal.total == 3


# The user's own record


def test_the_record_is_small_private_and_names_nobody(cli: "CliHarness", own_state: Path) -> None:
    cli.server()
    cli.people(3)
    cli(*SEND)
    folder = own_record()
    assert folder.is_relative_to(own_state)
    start, history = sorted(folder.iterdir(), key=lambda path: path.name.startswith("ledger."))
    kept, noted = json.loads(start.read_text()), json.loads(history.read_text())
    assert kept["ledger"] == noted["ledger"] == str(cli.folder / "people.ledger.db")
    assert kept["messages"] == noted["attempts"] == 3
    assert "Person" not in start.read_text() + history.read_text()
    if os.name == "posix":
        assert [path.stat().st_mode & 0o777 for path in (start, history, folder)] == [0o600, 0o600, 0o700]


def test_a_record_that_cannot_be_kept_does_not_stop_an_alert(cli: "CliHarness", own_state: Path) -> None:
    server = cli.server()
    cli.people(3)
    (own_state / "bulksms").write_text("a file where the folder should be")
    result = cli(*SEND)
    assert result.code == 0
    assert f"warning: this user's record of what was sent, {own_record()}, cannot be used: " in result.err
    assert server.journal.total == 3


def test_a_user_without_a_home_gets_no_folder_of_that_name(cli: "CliHarness", monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody knows a home, the path would begin with `~`, beneath the working directory."""
    cli.server()
    cli.people(1)
    monkeypatch.setattr("bulksms.cli.flows.duplicate_guard.own_record", lambda: Path("~", ".local", "state", "bulksms"))
    result = cli(*SEND)
    assert result.code == 0
    assert "this user has no home" in result.err
    assert cli.files == {"people.csv", "people.ledger.db"}


# --start-registry


def test_without_a_writable_registry_nothing_is_sent(cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(1)
    cli.write("a-file", "")
    for folder in ("none", "a-file"):
        result = cli(*SEND, "--start-registry", folder)
        assert (result.code, result.out) == (2, "")
        assert f"The start registry {folder} cannot be used: it is no folder that is there." in result.err
    assert cli.files == {"people.csv", "a-file"}
    assert server.journal.total == 0


def test_a_registry_that_goes_away_sends_nothing(cli: "CliHarness", monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked at before the question, gone after it."""
    server = cli.server()
    cli.people(1)
    shared = cli.folder / "shared"
    shared.mkdir()
    monkeypatch.setattr("bulksms.cli.commands.send.require_not_started", lambda *_, **__: shutil.rmtree(shared))
    assert cli(*SEND, "--start-registry", "shared").code == 2
    assert cli.files == {"people.csv"}
    assert server.journal.total == 0


def test_of_two_machines_at_the_same_instant_exactly_one_sends(cli: "CliHarness", tmp_path: Path) -> None:
    server = cli.server(latency=0.05)
    cli.people(5)
    (cli.folder / "shared").mkdir()
    machines = []
    for name in ("a", "b", "c"):
        (cli.folder / name).mkdir()
        shutil.copy(cli.folder / "people.csv", cli.folder / name)
        process = subprocess.Popen(
            [sys.executable, "-m", "bulksms", *SEND, "--start-registry", str(Path("..", "shared"))],
            cwd=cli.folder / name,
            env=os.environ | {"XDG_STATE_HOME": str(tmp_path / "state" / name)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        machines.append(process)
    talk = [process.communicate(timeout=60)[1] for process in machines]
    assert sorted(process.returncode for process in machines) == [0, 3, 3], talk
    assert server.journal.total == 5
    assert [(cli.folder / name / "people.ledger.db").exists() for name in "abc"].count(True) == 1


# Asking


@pytest.mark.parametrize("also", [[], ["--max-recipients", "5000"]])
def test_up_to_a_thousand_yes_is_enough(also: list[str], cli: "CliHarness") -> None:
    server = cli.server(keep_entries=False)
    cli.people(TYPED_ABOVE)
    assert cli(*SEND, "--quiet", *also).code == 0
    assert server.journal.total == TYPED_ABOVE == 1_000


def test_expect_is_enough_beyond_that(cli: "CliHarness") -> None:
    server = cli.server(keep_entries=False)
    cli.people(TYPED_ABOVE + 1)
    fingerprint = cli("send", "people.csv", "--dry-run", "--json").json["fingerprint"]
    assert cli(*SEND, "--quiet").code == 2
    assert cli(*SEND, "--quiet", "--expect", fingerprint).code == 0
    assert server.journal.total == TYPED_ABOVE + 1


def test_a_finished_ledger_is_refused_under_whatever_name_it_is_called(cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(2)
    cli(*SEND)
    for command in (SEND, ("send", "people.ledger.db", "--yes"), ("send", "people.ledger.db", "--yes", "--new")):
        result = cli(*command)
        assert (result.code, result.out) == (3, "")
        assert "already sent to 2 on 20" in result.err
    assert "--new --not-sent-in people.ledger.db` sends an input to those who are new" in result.err
    assert server.journal.total == 2


def test_a_ledger_of_another_plan_is_refused(cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(2)
    cli.people(3, "others.csv", mark="other")
    cli("plan", "others.csv")
    result = cli(*SEND, "--ledger", "others.ledger.db")
    assert result.code == 3
    assert "others.ledger.db is about another plan" in result.err
    assert server.journal.total == 0


def test_a_file_that_has_changed_is_no_reason_to_resume_what_has_ended(cli: "CliHarness") -> None:
    cli.server()
    cli.people(2)
    assert cli("send", "people.csv", "--yes").code == 0
    cli.people(3)
    refused = cli("send", "people.csv", "--yes")
    assert refused.code == 3
    assert "`bulksms send people.csv --new --not-sent-in people.ledger.db` sends to the 1 who is new" in refused.err
    assert "bulksms resume" not in refused.err


@pytest.mark.parametrize("command", ["send people.ledger.db --yes", "resume people.ledger.db"])
def test_a_ledger_is_opened_for_reading_once_before_its_run_and_once_after_it(
    command: str, cli: "CliHarness", monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.server()
    cli.people(5)
    assert cli("plan", "people.csv").code == 0
    opened: list[Path] = []
    really = database.open_read_only

    def counted(path: Path) -> sqlite3.Connection:
        opened.append(path)
        return really(path)

    monkeypatch.setattr("bulksms.ledger.sqlite.reader.database.open_read_only", counted)
    assert cli(*command.split()).code == 0
    assert [path.name for path in opened] == ["people.ledger.db"] * 2
