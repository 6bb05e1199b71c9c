"""The program never advises sending twice: what earlier ledgers sent is shown before it is sent again."""

import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bulksms.model.message import State

if TYPE_CHECKING:
    from tests.cli.harness import CliHarness

SEND = ("send", "people.csv", "--yes")


def add_a_person(cli: "CliHarness") -> None:
    with (cli.folder / "people.csv").open("a", encoding="utf-8") as file:
        file.write('"CN=New,DC=example,DC=com",Outage 99.\n')


def test_a_file_with_one_more_row_is_offered_to_the_one_who_is_new(cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(5)
    assert cli(*SEND).code == 0
    add_a_person(cli)
    result = cli(*SEND)
    assert result.code == 3
    command = "bulksms send people.csv --new --not-sent-in people.ledger.db"
    assert f"`{command}` sends to the 1 who is new" in result.err
    assert "--new sends 6 messages, 5 of them perhaps a second time" in result.err
    assert result.err.index("--not-sent-in") < result.err.index("--new sends 6 messages")
    assert cli(*command.split()[1:], "--yes", "--ledger", "new.db").code == 0
    assert server.journal.total == 6
    assert all(server.journal.requests(line.recipient) == 1 for line in cli.lines("new.db") if line.attempts)


def test_new_says_who_was_sent_the_text_already(cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(5)
    assert cli(*SEND).code == 0
    add_a_person(cli)
    result = cli(*SEND, "--new", "--ledger", "again.db")
    assert result.code == 0
    assert re.search(
        r"warning: 5 of these 6 were sent this text, or may have been, by \S*people\.ledger\.db"
        r" at \d{4}-\d\d-\d\d \d\d:\d\d [+-]\d\d:\d\d\.",
        result.err,
    )
    assert "To send to the others only:\n  bulksms send people.csv --new --not-sent-in " in result.err
    assert server.journal.total == 11


def test_the_command_for_the_others_has_the_options_that_were_typed(cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(5)
    options = ("--text", "It is ((directoryObject)).", "--suppress", "never.csv")
    cli.write("never.csv", "dn\n")
    assert cli(*SEND, *options).code == 0
    add_a_person(cli)
    result = cli("send", "people.csv", *options, "--dry-run")
    (command,) = [line for line in result.err.splitlines() if "--new --not-sent-in" in line]
    in_a_hint = cli(*SEND, *options).err.split("`")[1]
    for line in (command, in_a_hint):
        words = shlex.split(line)[1:]
        assert [words[words.index(name) + 1] for name in ("--text", "--suppress")] == [options[1], options[3]]
    assert cli(*words, "--yes", "--ledger", "others.db").code == 0
    assert server.journal.total == 6


def test_no_command_is_offered_where_there_are_no_others(cli: "CliHarness") -> None:
    cli.server()
    cli.people(3)
    assert cli(*SEND).code == 0
    result = cli(*SEND, "--new", "--ledger", "again.db")
    assert "3 of these 3 were sent this text" in result.err
    assert "To send to the others" not in result.err


def test_the_preview_says_that_a_list_left_nobody_out(cli: "CliHarness") -> None:
    cli.server()
    cli.people(3)
    assert cli(*SEND).code == 0
    cli.write("never.csv", 'dn\n"CN=Somebody else,DC=x"\n')
    cli.write("more.csv", 'dn,text\n"CN=New,DC=x",Hello\n')
    result = cli("send", "more.csv", "--suppress", "never.csv", "--not-sent-in", "people.ledger.db", "--dry-run")
    assert "more.csv: 1 row, 1 to send, 0 suppressed, 0 sent before\n" in result.out
    assert "0 suppressed" not in cli("send", "more.csv", "--dry-run").out


@pytest.mark.parametrize("command", [("plan", "people.csv", "--ledger", "p.db"), ("send", "people.csv", "--dry-run")])
def test_a_preview_names_the_overlap(command: tuple[str, ...], cli: "CliHarness") -> None:
    cli.server()
    cli.people(3)
    assert cli(*SEND, "--ledger", "elsewhere.db").code == 0
    result = cli(*command)
    assert result.code == 0
    assert "warning: 3 of these 3 were sent this text, or may have been, by " in result.err
    assert "elsewhere.db at " in result.err


def test_a_ledger_in_another_folder_is_known_by_the_start_registry(cli: "CliHarness") -> None:
    cli.server()
    cli.people(3)
    (cli.folder / "far").mkdir()
    assert cli(*SEND, "--ledger", "far/away.db").code == 0
    add_a_person(cli)
    result = cli("send", "people.csv", "--dry-run")
    assert f"3 of these 4 were sent this text, or may have been, by {Path('far', 'away.db')}" in result.err


def test_what_is_left_of_an_older_ledger_is_asked_about_if_a_newer_one_has_sent_it(cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(3)
    assert cli("plan", "people.csv", "--ledger", "old.db").code == 0
    add_a_person(cli)
    assert cli(*SEND, "--ledger", "new.db").code == 0
    result = cli("resume", "old.db")
    assert result.code == 2
    assert "3 of these 3 were sent this text, or may have been, by new.db" in result.err
    assert server.journal.total == 4
    assert cli("resume", "old.db", "--yes").code == 0


@pytest.mark.parametrize("other", ["text", "rehearsal", "purged"])
def test_other_texts_and_ledgers_without_evidence_say_nothing(other: str, cli: "CliHarness") -> None:
    cli.server()
    cli.people(3)
    if other == "rehearsal":
        cli(*SEND, "--sandbox")
    else:
        assert cli(*SEND).code == 0
    if other == "purged":
        assert cli("purge", "people.ledger.db", "--yes").code == 0
    if other == "text":
        cli.write("people.csv", "".join(f'"CN=Person {n} ,DC=example,DC=com",Other.\n' for n in range(3)))
        text = (cli.folder / "people.csv").read_text(encoding="utf-8")
        cli.write("people.csv", f"directoryObject,text\n{text}")
    result = cli("send", "people.csv", "--dry-run")
    assert result.code == 0
    assert "were sent this text" not in result.err


def test_the_same_input_after_all_of_it_was_sent_is_no_reason_to_send_it_again(cli: "CliHarness") -> None:
    cli.server()
    cli.people(3)
    assert cli(*SEND).code == 0
    result = cli(*SEND)
    assert result.code == 3
    assert "It was sent to everybody in it, or may have been" in result.err
    assert "--new sends 3 messages, 3 of them perhaps a second time" in result.err


@pytest.mark.parametrize("command", [("plan", "people.csv", "--ledger", "p.db"), ("send", "people.csv", "--dry-run")])
def test_the_preview_for_machines_has_the_overlap_by_ledger(command: tuple[str, ...], cli: "CliHarness") -> None:
    cli.server()
    cli.people(3)
    assert cli(*SEND, "--ledger", "first.db").code == 0
    add_a_person(cli)
    assert cli(*SEND, "--ledger", "second.db").code == 0
    preview = json.loads(cli(*command, "--json").out)
    assert (preview["to_send"], preview["sent_elsewhere"]) == (4, 4)
    assert [(Path(it["ledger"]).name, it["messages"]) for it in preview["overlaps"]] == [
        ("first.db", 3),
        ("second.db", 4),
    ]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", it["last_attempt_at"]) for it in preview["overlaps"])


def test_without_an_overlap_the_preview_for_machines_says_so(cli: "CliHarness") -> None:
    cli.people(3)
    preview = json.loads(cli("send", "people.csv", "--dry-run", "--json").out)
    assert (preview["sent_elsewhere"], preview["overlaps"]) == (0, [])


@pytest.mark.parametrize("how", ["all", "rows"])
def test_a_retry_says_what_other_ledgers_sent_in_the_meantime(how: str, cli: "CliHarness") -> None:
    cli.server()
    cli.people(4, mark="[422]")
    assert cli(*SEND, "--ledger", "old.db").code == 1
    add_a_person(cli)
    assert cli(*SEND, "--ledger", "new.db").code == 0
    named = ("--rows", "3,5") if how == "rows" else ("--only", "failed")
    result = cli("retry", "old.db", *named, "--yes")
    count = 2 if how == "rows" else 4
    assert f"warning: {count} of these {count} were sent this text, or may have been, by new.db" in result.err
    assert [line.state for line in cli.lines("old.db")].count(State.ACCEPTED) == count


@pytest.mark.parametrize("command", [("plan", "people.csv", "--ledger", "p.db"), ("send", "people.csv", "--dry-run")])
def test_what_the_start_registry_of_all_knows_is_in_the_preview(command: tuple[str, ...], cli: "CliHarness") -> None:
    cli.server()
    cli.people(3)
    for folder in ("far", "shared"):
        (cli.folder / folder).mkdir()
    shared = ("--start-registry", "shared")
    assert cli(*SEND, "--ledger", "far/away.db", *shared).code == 0
    cli.export("XDG_STATE_HOME", str(cli.folder / "another-user"))
    assert "were sent this text" not in cli(*command).err
    (cli.folder / "p.db").unlink(missing_ok=True)
    result = cli(*command, *shared)
    assert result.code == 0
    assert f"3 of these 3 were sent this text, or may have been, by {Path('far', 'away.db')}" in result.err


@pytest.mark.parametrize("command", [("plan", "people.csv"), ("send", "people.csv", "--dry-run")])
def test_a_start_registry_that_cannot_be_used_is_refused_in_a_preview_as_in_a_run(
    command: tuple[str, ...], cli: "CliHarness"
) -> None:
    cli.people(3)
    result = cli(*command, "--start-registry", "missing")
    assert result.code == 2
    assert "The start registry missing cannot be used" in result.err


def test_after_a_purge_the_safe_way_is_named_first(cli: "CliHarness") -> None:
    cli.server()
    cli.people(3)
    assert cli(*SEND).code == 0
    assert cli("purge", "people.ledger.db", "--yes").code == 0
    for command in (
        ("send", "people.ledger.db", "--yes"),
        ("resume", "people.ledger.db"),
        ("retry", "people.ledger.db"),
    ):
        result = cli(*command)
        assert result.code == 3
        assert result.err.index("--new --suppress FILE") < result.err.index(
            "--new alone sends to everybody, to 3 of them perhaps a second time"
        )


def test_for_another_server_the_safe_way_is_named_first(cli: "CliHarness") -> None:
    cli.server()
    cli.people(3, mark="[405]")
    assert cli(*SEND).code == 5
    result = cli("resume", "people.ledger.db", "--url", "https://other.example/restApi")
    assert result.code == 3
    assert result.err.index("--new --not-sent-in people.ledger.db") < result.err.index("--new alone sends to everybody")


def test_the_ledger_of_a_rehearsal_is_refused_as_that(cli: "CliHarness") -> None:
    cli.people(2)
    cli.server()
    assert cli("send", "people.csv", "--sandbox", "--yes").code in (0, 1, 4)
    refused = cli("send", "people.sandbox.db", "--yes")
    assert refused.code == 3
    assert "already sent" not in refused.err
    assert "nothing was sent to anybody, then or now." in refused.err


def test_the_preview_names_the_canary(cli: "CliHarness") -> None:
    cli.server()
    cli.people(3)
    shown = " ".join(cli("send", "people.csv", "--canary", "2", "--dry-run").out.split())
    assert "canary the first 2 messages one at a time; the others only if Adaxes accepts them" in shown
    assert "canary" not in cli("send", "people.csv", "--dry-run").out
