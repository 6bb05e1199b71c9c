"""`status --watch`: another shell sees what the run shows, until it ends, and the run notices nothing of it."""

import json
import re
import sys
from typing import TYPE_CHECKING

import pytest

from bulksms.ledger.live import live_path

if TYPE_CHECKING:
    import subprocess

    from tests.cli.conftest import Desk, Server, Start
    from tests.conftest import Desktop

LEDGER = "people.ledger.db"
PEOPLE = 60
on_terminals = pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")


def living(desk: "Desk", start: "Start") -> "tuple[Server, subprocess.Popen[str]]":
    """A run of a few seconds, in the middle of its work."""
    server = desk.server(latency=0.2)
    desk.people(PEOPLE)
    process = start("send", "people.csv", "--yes", "--workers", "4", "--no-adapt", "--quiet")
    while server.journal.total < 4 or not live_path(desk.folder / LEDGER).exists():
        assert process.poll() is None
    return server, process


@on_terminals
def test_another_shell_sees_what_the_run_shows(desk: "Desk", start: "Start", terminal: "Desktop") -> None:
    _, process = living(desk, start)
    screen = terminal("status", LEDGER, "--watch", columns=80)
    screen.until("4 at once: fixed")
    assert any(re.search(r"[█░]+  \d+ of 60  \d+ %", line) for line in screen.lines)
    assert screen.end() == 0
    assert process.wait(60) == 0
    assert "60 of 60  100 %" in screen.shown
    assert "Handed to Adaxes: 60 of 60" in screen.shown
    assert max(map(len, screen.lines)) <= 80
    assert desk.files == {"people.csv", LEDGER}, "no reader kept the run from folding its files together"


@on_terminals
def test_ctrl_c_ends_the_watching_only(desk: "Desk", start: "Start", terminal: "Desktop") -> None:
    server, process = living(desk, start)
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
    desk: "Desk", start: "Start", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bulksms.cli.screen.watching.LINE_EVERY", 0.3)
    living(desk, start)
    said = desk("status", LEDGER, "--watch")
    assert (said.code, said.err) == (0, "")
    line, result = said.out.splitlines()[0], said.out.partition("Handed to Adaxes: 60 of 60")[2]
    assert re.match(r"\d+ of 60 \(\d+ %\) after .* accepted, 0 failed, 0 unknown, .* queued; .*4 at once: fixed", line)
    assert "60 = 60 accepted" in result


def test_for_machines_it_is_an_object_a_line(desk: "Desk", start: "Start", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulksms.cli.screen.watching.LOOK_EVERY", 0.3)
    living(desk, start)
    said = desk("status", LEDGER, "--watch", "--json")
    assert said.code == 0
    first, *_, last = [json.loads(line) for line in said.out.splitlines()]
    members = list(desk("status", LEDGER, "--json").json)
    assert list(first) == list(last) == [*members, "pace"]
    assert first["total"] == PEOPLE
    assert first["pace"]["concurrency"] == first["pace"]["ceiling"] == 4
    assert first["pace"]["adapts"] is False
    assert last["counts"]["accepted"] == PEOPLE
    assert last["pace"] is None


def test_a_ledger_that_nobody_works_on_is_told_at_once(desk: "Desk") -> None:
    desk.people(3)
    desk("plan", "people.csv")
    said = desk("status", LEDGER, "--watch")
    assert (said.code, said.out) == (0, desk("status", LEDGER).out)
    told = desk("status", LEDGER, "--watch", "--json").json
    assert (told["pace"], told["counts"]["queued"]) == (None, 3)


def test_what_a_killed_run_left_is_not_believed(desk: "Desk", start: "Start") -> None:
    _, process = living(desk, start)
    process.kill()
    process.wait()
    assert live_path(desk.folder / LEDGER).exists()
    told = desk("status", LEDGER, "--watch", "--json").json
    assert told["pace"] is None
    assert told["counts"]["unknown"] <= 4
    assert desk("resume", LEDGER, "--yes").code in (0, 4)
    assert desk.files == {"people.csv", LEDGER}
