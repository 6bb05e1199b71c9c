"""`status --watch`: another shell sees what the run shows, until it ends, and the run notices nothing of it."""

import json
import re
from typing import TYPE_CHECKING

import pytest

from bulksms.ledger.sqlite.remote_control import status_path
from tests.platforms import on_terminals

if TYPE_CHECKING:
    import subprocess

    from tests.cli.harness import CliHarness, Server, Start
    from tests.harness import TerminalFactory

LEDGER = "people.ledger.db"
PEOPLE = 60


def living(cli: "CliHarness", start: "Start") -> "tuple[Server, subprocess.Popen[str]]":
    """A run of a few seconds, in the middle of its work."""
    server = cli.server(latency=0.2)
    cli.people(PEOPLE)
    process = start("send", "people.csv", "--yes", "--workers", "4", "--no-adapt", "--quiet")
    while server.journal.total < 4 or not status_path(cli.folder / LEDGER).exists():
        assert process.poll() is None
    return server, process


@on_terminals
def test_another_shell_sees_what_the_run_shows(cli: "CliHarness", start: "Start", terminal: "TerminalFactory") -> None:
    _, process = living(cli, start)
    screen = terminal("status", LEDGER, "--watch", columns=80)
    screen.until("4 at once: fixed")
    assert any(re.search(r"[█░]+  \d+ of 60  \d+ %", line) for line in screen.lines)
    assert screen.end() == 0
    assert process.wait(60) == 0
    assert "60 of 60  100 %" in screen.shown
    assert "Handed to Adaxes: 60 of 60" in screen.shown
    # Commands to copy are not wrapped.
    assert max(len(line) for line in screen.lines if " report " not in line and " send " not in line) <= 80
    assert cli.files == {"people.csv", LEDGER}, "no reader kept the run from folding its files together"


@on_terminals
def test_ctrl_c_ends_the_watching_only(cli: "CliHarness", start: "Start", terminal: "TerminalFactory") -> None:
    server, process = living(cli, start)
    screen = terminal("status", LEDGER, "--watch")
    screen.until(" of 60 ")
    screen.interrupt()
    assert screen.end() == 0
    assert "The run goes on" in screen.shown
    assert "Handed to" not in screen.shown
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert server.journal.total == PEOPLE


def test_without_a_terminal_it_is_a_line_now_and_then(
    cli: "CliHarness", start: "Start", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bulksms.cli.commands.status.LINE_EVERY", 0.3)
    living(cli, start)
    called = cli("status", LEDGER, "--watch")
    assert called.code == 0
    assert called.err.startswith("For the ticket, the whole report:\n")
    line, result = called.out.splitlines()[0], called.out.partition("Handed to Adaxes: 60 of 60")[2]
    assert re.match(r"\d+ of 60 \(\d+ %\) after .* accepted, 0 failed, 0 unknown, .* queued; .*4 at once: fixed", line)
    assert "60 = 60 accepted" in result


def test_for_machines_it_is_an_object_a_line(
    cli: "CliHarness", start: "Start", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bulksms.cli.commands.status.LOOK_EVERY", 0.3)
    living(cli, start)
    result = cli("status", LEDGER, "--watch", "--json")
    assert result.code == 0
    first, *_, last = [json.loads(line) for line in result.out.splitlines()]
    members = list(cli("status", LEDGER, "--json").json)
    assert list(first) == list(last) == [*members, "pace"]
    assert first["total"] == PEOPLE
    assert first["machines"] == []
    assert first["pace"]["concurrency"] == first["pace"]["ceiling"] == 4
    assert first["pace"]["adapts"] is False
    assert last["counts"]["accepted"] == PEOPLE
    assert last["pace"] is None


def test_a_ledger_that_nobody_works_on_is_reported_at_once(cli: "CliHarness") -> None:
    cli.people(3)
    cli("plan", "people.csv")
    result = cli("status", LEDGER, "--watch")
    assert (result.code, result.out) == (0, cli("status", LEDGER).out)
    found = cli("status", LEDGER, "--watch", "--json").json
    assert (found["pace"], found["counts"]["queued"]) == (None, 3)


def test_what_a_killed_run_left_is_not_believed(cli: "CliHarness", start: "Start") -> None:
    _, process = living(cli, start)
    process.kill()
    process.wait()
    assert status_path(cli.folder / LEDGER).exists()
    result = cli("status", LEDGER, "--watch", "--json").json
    assert result["pace"] is None
    assert result["counts"]["unknown"] <= 4
    assert cli("resume", LEDGER, "--yes").code in (0, 4)
    assert cli.files == {"people.csv", LEDGER}
