"""Signals, a second run, and the same command again: as real processes."""

import json
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from bulksms.message import State

if TYPE_CHECKING:
    import subprocess

    from tests.crash.conftest import Server, Stage

PEOPLE = 60
WORKERS = 4
PATIENCE = 180.0
EXITS = {signal.SIGTERM: 143, signal.SIGINT: 130}

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as POSIX does it")


def begin(stage: "Stage", server: "Server", *options: str) -> "subprocess.Popen[str]":
    """A run in the middle of its work."""
    process = stage.start(server, "send", "people.csv", "--yes", "--workers", str(WORKERS), *options)
    stage.wait_until(lambda: server.journal_file.exists() and server.journal.total > WORKERS)
    return process


@pytest.mark.parametrize("number", EXITS, ids=lambda number: number.name)
def test_a_signal_drains_the_run_and_resume_finishes_it(number: signal.Signals, stage: "Stage") -> None:
    stage.write_people(PEOPLE)
    server = stage.serve("--latency", "0.04")
    process = begin(stage, server)
    process.send_signal(number)
    said, talk = process.communicate(timeout=PATIENCE)

    assert process.returncode == EXITS[number]
    assert "Stopping" in talk
    assert f"Exit code {EXITS[number]}" in talk
    assert "bulksms resume people.ledger.db" in talk
    standing = stage.standing()
    assert f"{standing.counts[State.ACCEPTED]:,} accepted" in said
    assert standing.counts[State.ACCEPTED] == server.journal.total
    assert standing.counts[State.QUEUED] == PEOPLE - server.journal.total > 0
    assert server.holds(stage.ledger).agrees

    code, _, _ = stage.run(server, "resume", "people.ledger.db")
    assert code == 0
    assert server.journal.total == PEOPLE == stage.standing().counts[State.ACCEPTED]


@pytest.mark.parametrize("number", EXITS, ids=lambda number: number.name)
def test_a_second_signal_breaks_off_what_is_in_flight(number: signal.Signals, stage: "Stage") -> None:
    stage.write_people(PEOPLE)
    (stage.folder / "silent.toml").write_text('[[rules]]\nshare = 1\nfaults = "stall"\n')
    server = stage.serve("--faults", "silent.toml")
    process = stage.start(server, "send", "people.csv", "--yes", "--workers", str(WORKERS), "--json")
    stage.wait_until(lambda: server.journal_file.exists() and server.journal.total == WORKERS)
    process.send_signal(number)
    assert process.stderr is not None
    while "Stopping" not in (line := process.stderr.readline()):
        assert line, "it ended without a word"
    process.send_signal(number)
    said, _ = process.communicate(timeout=PATIENCE)

    assert process.returncode == EXITS[number]
    told = json.loads(said)
    assert told["stopped"] == "interrupted"
    assert told["counts"]["unknown"] == WORKERS
    assert told["counts"]["queued"] == PEOPLE - WORKERS
    assert server.holds(stage.ledger).agrees
    _, report, _ = stage.run(server, "report", "people.ledger.db", "--only", "unknown", "--format", "jsonl")
    assert [json.loads(line)["reason"] for line in report.splitlines()] == ["interrupted"] * WORKERS


def test_a_signal_ends_a_run_that_only_waits_for_slow_sends(stage: "Stage") -> None:
    stage.write_people(3)
    (stage.folder / "stuck.toml").write_text('[[rules]]\nshare = 1\nfaults = "202_stuck"\n')
    server = stage.serve("--faults", "stuck.toml")
    process = stage.start(server, "send", "people.csv", "--yes")
    stage.wait_until(lambda: stage.ledger.exists() and stage.standing().counts[State.PROCESSING] == 3)
    process.send_signal(signal.SIGHUP)  # the terminal was closed
    _, talk = process.communicate(timeout=PATIENCE)
    assert process.returncode == 143
    assert "The server still works on 3" in talk
    assert stage.standing().counts[State.PROCESSING] == 3


def test_a_second_run_on_a_living_ledger_is_refused(stage: "Stage") -> None:
    stage.write_people(PEOPLE)
    server = stage.serve("--latency", "30")
    process = stage.start(server, "send", "people.csv", "--yes", "--workers", str(WORKERS))
    stage.wait_until(lambda: server.journal_file.exists() and server.journal.total == WORKERS)
    for command in (
        ("resume", "people.ledger.db"),
        ("send", "people.csv", "--yes"),
    ):
        code, said, talk = stage.run(server, *command)
        assert code == 6, command
        assert said == ""
        assert "error: Another run is working on people.ledger.db" in talk
        assert "hint: " in talk
        assert "Traceback" not in talk
    code, said, _ = stage.run(server, "status", "people.ledger.db", "--json")
    assert code == 0
    assert json.loads(said)["counts"]["sending"] == WORKERS
    code, said, _ = stage.run(server, "status", "people.ledger.db")
    assert "A run is working on it now; to follow it:\n  bulksms status " in said
    process.kill()
    process.communicate()
    assert server.journal.total == WORKERS
    _, said, _ = stage.run(server, "status", "people.ledger.db", "--json")
    assert json.loads(said)["counts"]["unknown"] == WORKERS, "dead now: what was in flight is unknown"


def test_the_same_command_after_an_interruption_sends_the_rest_and_then_nothing(stage: "Stage") -> None:
    stage.write_people(PEOPLE)
    server = stage.serve("--latency", "0.04")
    process = begin(stage, server)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE)
    again = ("send", "people.csv", "--yes")

    code, _, talk = stage.run(server, *again)
    assert code == 0
    assert "going on with what is left" in talk
    assert server.journal.total == PEOPLE

    code, said, talk = stage.run(server, *again)
    assert code == 3
    assert said == ""
    assert f"already sent to {PEOPLE}" in talk
    assert "nothing sent now" in talk
    assert server.journal.total == PEOPLE
    assert server.holds(stage.ledger).agrees
