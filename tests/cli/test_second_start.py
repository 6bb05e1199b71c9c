"""The second start: the same messages to the same place go out from one ledger only, unless a person says so."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bulksms.cli.doing.claiming import own_record
from bulksms.cli.screen.asking import TYPED_ABOVE

if TYPE_CHECKING:
    from tests.cli.conftest import Desk

SEND = ("send", "people.csv", "--yes")
AGAIN = (*SEND, "--ledger", "again.db")


@pytest.fixture(params=["by this user", "--claims"])
def claims(request: pytest.FixtureRequest, desk: "Desk", monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The two ways to know of it; with `--claims` each call is made on a machine of its own."""
    if request.param == "by this user":
        return []
    shared = tmp_path / "shared"
    shared.mkdir()
    desk.export("BULKSMS_CLAIMS", str(tmp_path / "not this one"))
    machines = iter(range(1_000))

    def own_record_of_another_machine() -> Path:
        return tmp_path / "machines" / str(next(machines))

    monkeypatch.setattr("bulksms.cli.doing.claiming.own_record", own_record_of_another_machine)
    return ["--claims", str(shared)]


def test_the_same_messages_from_another_ledger_are_refused(claims: list[str], desk: "Desk") -> None:
    server = desk.server()
    desk.people(3)
    assert desk(*SEND, *claims).code == 0
    for _ in range(2):
        said = desk(*AGAIN, *claims)
        assert (said.code, said.out) == (3, "")
        assert f"The same plan (3 messages to {server.url}) was started from " in said.err
        assert f"{desk.folder / 'people.ledger.db'} on {socket.gethostname()}, by " in said.err
        assert "nothing sent now." in said.err
        assert "--new sends everything all the same" in said.err
        assert not (desk.folder / "again.db").exists()
    assert server.journal.total == 3


def test_new_sends_them_all_the_same_and_says_so(claims: list[str], desk: "Desk") -> None:
    server = desk.server()
    desk.people(3)
    desk(*SEND, *claims)
    said = desk(*AGAIN, "--new", *claims)
    assert said.code == 0
    assert "The same plan was started from" in said.err
    assert str(desk.folder / "people.ledger.db") in said.err
    assert said.err.count("--new starts it all the same") == 1
    assert server.journal.total == 6


def test_a_ledger_that_was_planned_is_refused_and_kept(claims: list[str], desk: "Desk") -> None:
    server = desk.server()
    desk.people(3)
    desk(*SEND, *claims)
    desk("plan", "people.csv", "--ledger", "planned.db")
    planned = (desk.folder / "planned.db").read_bytes()
    for command in (["resume", "planned.db"], ["send", "planned.db", "--yes"]):
        said = desk(*command, *claims)
        assert said.code == 3
        assert f"`bulksms send {desk.folder / 'planned.db'} --new` sends from this one" in said.err
        assert (desk.folder / "planned.db").read_bytes() == planned
    assert desk("send", "planned.db", "--yes", "--new", *claims).code == 0
    assert server.journal.total == 6


def test_its_own_ledger_goes_on(claims: list[str], desk: "Desk") -> None:
    server = desk.server()
    desk.people(4)
    desk.export("BULKSMS_TOKEN", "wrong")
    assert desk(*SEND, *claims).code == 5
    assert desk("resume", "people.ledger.db", *claims).code == 5
    assert desk(*SEND, *claims).code == 5
    (desk.folder / "people.ledger.db").rename(desk.folder / "moved.db")
    desk.at(server)
    assert desk("resume", "moved.db", *claims).code == 0


def test_one_that_was_made_anew_under_the_same_name_is_another(claims: list[str], desk: "Desk") -> None:
    """Whoever deletes the ledger to make the program send would send everything twice."""
    server = desk.server()
    desk.people(3)
    desk(*SEND, *claims)
    (desk.folder / "people.ledger.db").unlink()
    said = desk(*SEND, *claims)
    assert said.code == 3
    assert "That ledger is gone, and with it who was told" in said.err
    assert server.journal.total == 3


def test_the_older_of_two_ledgers_does_not_go_on_unasked(claims: list[str], desk: "Desk") -> None:
    server = desk.server()
    desk.people(3)
    desk.export("BULKSMS_TOKEN", "wrong")
    desk(*SEND, *claims)
    desk.at(server)
    assert desk(*AGAIN, "--new", *claims).code == 0
    sent = server.journal.total
    said = desk("resume", "people.ledger.db", *claims)
    assert said.code == 3
    assert "again.db" in said.err
    assert server.journal.total == sent


@pytest.mark.parametrize("other", ["text", "people", "url"])
def test_other_messages_and_another_server_are_no_second_start(other: str, claims: list[str], desk: "Desk") -> None:
    server = desk.server()
    desk.people(3)
    desk(*SEND, *claims)
    if other == "url":
        desk.at(desk.serve())
    desk.people(4 if other == "people" else 3, mark="other" if other == "text" else "")
    assert desk(*AGAIN, *claims).code == 0
    assert server.journal.total == {"text": 6, "people": 7, "url": 3}[other]


@pytest.mark.parametrize("option", ["--dry-run", "--sandbox"])
def test_dry_runs_and_rehearsals_are_neither_noted_nor_refused(option: str, claims: list[str], desk: "Desk") -> None:
    desk.server()
    desk.people(3)
    how_it_ends = 4 if option == "--sandbox" else 0
    assert desk(*SEND, option, *claims).code == how_it_ends
    assert desk(*SEND, *claims).code == 0
    assert desk(*SEND, "--ledger", "rehearsed.db", option, *claims).code == how_it_ends
    said = desk(*AGAIN, *claims)
    assert said.code == 3
    assert "was started from" in said.err


def test_nothing_is_claimed_before_a_person_has_said_yes(claims: list[str], desk: "Desk") -> None:
    desk.server()
    desk.people(3)
    assert desk("send", "people.csv", *claims).code == 2
    assert desk(*AGAIN, *claims).code == 0


def test_who_comes_second_between_question_and_answer_is_refused_and_leaves_nothing(
    claims: list[str], desk: "Desk", monkeypatch: pytest.MonkeyPatch
) -> None:
    server = desk.server()
    desk.people(3)
    desk(*SEND, *claims)
    monkeypatch.setattr("bulksms.cli.doing.sending.require_unclaimed", lambda *_: None)
    assert desk(*AGAIN, *claims).code == 3
    assert not (desk.folder / "again.db").exists()
    assert server.journal.total == 3


# The user's own record


def test_the_record_is_small_private_and_names_nobody(desk: "Desk", own_state: Path) -> None:
    desk.server()
    desk.people(3)
    desk(*SEND)
    folder = own_record()
    assert folder.is_relative_to(own_state)
    (file,) = folder.iterdir()
    kept = json.loads(file.read_text())
    assert kept["ledger"] == str(desk.folder / "people.ledger.db")
    assert kept["messages"] == 3
    assert "Person" not in file.read_text()
    if os.name == "posix":
        assert [path.stat().st_mode & 0o777 for path in (file, folder)] == [0o600, 0o700]


def test_a_record_that_cannot_be_kept_does_not_stop_an_alert(desk: "Desk", own_state: Path) -> None:
    server = desk.server()
    desk.people(3)
    (own_state / "bulksms").write_text("a file where the folder should be")
    said = desk(*SEND)
    assert said.code == 0
    assert f"warning: this user's record of what was sent, {own_record()}, cannot be used: " in said.err
    assert server.journal.total == 3


def test_a_user_without_a_home_gets_no_folder_of_that_name(desk: "Desk", monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody knows a home, the path would begin with `~`, beneath the working directory."""
    desk.server()
    desk.people(1)
    monkeypatch.setattr("bulksms.cli.doing.claiming.own_record", lambda: Path("~", ".local", "state", "bulksms"))
    said = desk(*SEND)
    assert said.code == 0
    assert "this user has no home" in said.err
    assert desk.files == {"people.csv", "people.ledger.db"}


# --claims


def test_claims_that_cannot_be_kept_send_nothing(desk: "Desk") -> None:
    server = desk.server()
    desk.people(1)
    desk.write("a-file", "")
    for folder in ("none", "a-file"):
        said = desk(*SEND, "--claims", folder)
        assert (said.code, said.out) == (2, "")
        assert f"The claims in {folder} cannot be used: it is no folder that is there." in said.err
    assert desk.files == {"people.csv", "a-file"}
    assert server.journal.total == 0


def test_a_folder_of_claims_that_goes_away_sends_nothing(desk: "Desk", monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked at before the question, gone after it."""
    server = desk.server()
    desk.people(1)
    shared = desk.folder / "shared"
    shared.mkdir()
    monkeypatch.setattr("bulksms.cli.doing.sending.require_unclaimed", lambda *_: shutil.rmtree(shared))
    assert desk(*SEND, "--claims", "shared").code == 2
    assert desk.files == {"people.csv"}
    assert server.journal.total == 0


def test_of_two_machines_at_the_same_instant_exactly_one_sends(desk: "Desk", tmp_path: Path) -> None:
    server = desk.server(latency=0.05)
    desk.people(5)
    (desk.folder / "shared").mkdir()
    machines = []
    for name in ("a", "b", "c"):
        (desk.folder / name).mkdir()
        shutil.copy(desk.folder / "people.csv", desk.folder / name)
        process = subprocess.Popen(
            [sys.executable, "-m", "bulksms", *SEND, "--claims", str(Path("..", "shared"))],
            cwd=desk.folder / name,
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
    assert [(desk.folder / name / "people.ledger.db").exists() for name in "abc"].count(True) == 1


# Asking


@pytest.mark.parametrize("also", [[], ["--max-recipients", "5000"]])
def test_up_to_a_thousand_yes_is_enough(also: list[str], desk: "Desk") -> None:
    server = desk.server(keep_entries=False)
    desk.people(TYPED_ABOVE)
    assert desk(*SEND, "--quiet", *also).code == 0
    assert server.journal.total == TYPED_ABOVE == 1_000


def test_expect_is_enough_beyond_that(desk: "Desk") -> None:
    server = desk.server(keep_entries=False)
    desk.people(TYPED_ABOVE + 1)
    fingerprint = desk("send", "people.csv", "--dry-run", "--json").json["fingerprint"]
    assert desk(*SEND, "--quiet").code == 2
    assert desk(*SEND, "--quiet", "--expect", fingerprint).code == 0
    assert server.journal.total == TYPED_ABOVE + 1


def test_a_finished_ledger_is_refused_under_whatever_name_it_is_called(desk: "Desk") -> None:
    server = desk.server()
    desk.people(2)
    desk(*SEND)
    for command in (SEND, ("send", "people.ledger.db", "--yes"), ("send", "people.ledger.db", "--yes", "--new")):
        said = desk(*command)
        assert (said.code, said.out) == (3, "")
        assert "already sent to 2 on 20" in said.err
    assert "name the input with --new" in said.err
    assert server.journal.total == 2


def test_a_ledger_of_another_plan_is_refused(desk: "Desk") -> None:
    server = desk.server()
    desk.people(2)
    desk.people(3, "others.csv", mark="other")
    desk("plan", "others.csv")
    said = desk(*SEND, "--ledger", "others.ledger.db")
    assert said.code == 3
    assert "others.ledger.db is about another plan" in said.err
    assert server.journal.total == 0
