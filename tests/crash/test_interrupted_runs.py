"""Signals, a second run, and the same command again: as real processes."""

import json
import signal
from typing import TYPE_CHECKING

import pytest

from bulksms.model.message import State
from tests.platforms import with_posix_signals

if TYPE_CHECKING:
    from tests.crash.harness import CrashHarness, Server
    from tests.forks import Process

PEOPLE = 60
WORKERS = 4
PATIENCE = 180.0
EXITS = {signal.SIGTERM: 143, signal.SIGINT: 130}

pytestmark = with_posix_signals


def begin(harness: "CrashHarness", server: "Server", *options: str) -> "Process":
    """A run in the middle of its work."""
    process = harness.start(server, "send", "people.csv", "--yes", "--workers", str(WORKERS), *options)
    harness.wait_until(lambda: server.journal_file.exists() and server.journal.total > WORKERS)
    return process


@pytest.mark.parametrize("number", EXITS, ids=lambda number: number.name)
def test_a_signal_drains_the_run_and_resume_finishes_it(number: signal.Signals, harness: "CrashHarness") -> None:
    harness.write_people(PEOPLE)
    server = harness.serve("--latency", "0.04")
    process = begin(harness, server)
    process.send_signal(number)
    result, talk = process.communicate(timeout=PATIENCE)

    assert process.returncode == EXITS[number]
    assert "Stopping" in talk
    assert f"Exit code {EXITS[number]}" in talk
    assert "bulksms resume people.ledger.db" in talk
    counts = harness.counts()
    assert f"{counts.counts[State.ACCEPTED]:,} accepted" in result
    assert counts.counts[State.ACCEPTED] == server.journal.total
    assert counts.counts[State.QUEUED] == PEOPLE - server.journal.total > 0
    assert server.holds(harness.ledger).agrees

    code, _, _ = harness.run(server, "resume", "people.ledger.db")
    assert code == 0
    assert server.journal.total == PEOPLE == harness.counts().counts[State.ACCEPTED]


@pytest.mark.parametrize("number", EXITS, ids=lambda number: number.name)
def test_a_second_signal_breaks_off_what_is_in_flight(number: signal.Signals, harness: "CrashHarness") -> None:
    harness.write_people(PEOPLE)
    (harness.folder / "silent.toml").write_text('[[rules]]\nshare = 1\nfaults = "stall"\n')
    server = harness.serve("--faults", "silent.toml")
    process = harness.start(server, "send", "people.csv", "--yes", "--workers", str(WORKERS), "--json")
    harness.wait_until(lambda: server.journal_file.exists() and server.journal.total == WORKERS)
    process.send_signal(number)
    assert process.stderr is not None
    while "Stopping" not in (line := process.stderr.readline()):
        assert line, "it ended without a word"
    process.send_signal(number)
    result, _ = process.communicate(timeout=PATIENCE)

    assert process.returncode == EXITS[number]
    parsed = json.loads(result)
    assert parsed["stopped"] == "interrupted"
    assert parsed["counts"]["unknown"] == WORKERS
    assert parsed["counts"]["queued"] == PEOPLE - WORKERS
    assert server.holds(harness.ledger).agrees
    _, report, _ = harness.run(server, "report", "people.ledger.db", "--only", "unknown", "--format", "jsonl")
    assert [json.loads(line)["reason"] for line in report.splitlines()] == ["interrupted"] * WORKERS


def test_a_signal_ends_a_run_that_only_waits_for_slow_sends(harness: "CrashHarness") -> None:
    harness.write_people(3)
    (harness.folder / "stuck.toml").write_text('[[rules]]\nshare = 1\nfaults = "202_stuck"\n')
    server = harness.serve("--faults", "stuck.toml")
    process = harness.start(server, "send", "people.csv", "--yes")
    harness.wait_until(lambda: harness.ledger.exists() and harness.counts().counts[State.PROCESSING] == 3)
    process.send_signal(signal.SIGHUP)  # the terminal was closed
    _, talk = process.communicate(timeout=PATIENCE)
    assert process.returncode == 143
    assert "The server still works on 3" in talk
    assert harness.counts().counts[State.PROCESSING] == 3


def test_a_second_run_on_a_living_ledger_is_refused(harness: "CrashHarness") -> None:
    harness.write_people(PEOPLE)
    server = harness.serve("--latency", "30")
    process = harness.start(server, "send", "people.csv", "--yes", "--workers", str(WORKERS))
    harness.wait_until(lambda: server.journal_file.exists() and server.journal.total == WORKERS)
    for command in (
        ("resume", "people.ledger.db"),
        ("send", "people.csv", "--yes"),
    ):
        code, result, talk = harness.run(server, *command)
        assert code == 6, command
        assert result == ""
        assert "error: Another run is working on people.ledger.db" in talk
        assert "hint: " in talk
        assert "Traceback" not in talk
    code, result, _ = harness.run(server, "status", "people.ledger.db", "--json")
    assert code == 0
    assert json.loads(result)["counts"]["sending"] == WORKERS
    code, result, _ = harness.run(server, "status", "people.ledger.db")
    assert "A run is working on it now; to follow it:\n" in result
    assert " status people.ledger.db --watch" in result
    process.kill()
    process.communicate()
    assert server.journal.total == WORKERS
    _, result, _ = harness.run(server, "status", "people.ledger.db", "--json")
    assert json.loads(result)["counts"]["unknown"] == WORKERS, "dead now: what was in flight is unknown"


def test_the_same_command_after_an_interruption_sends_the_rest_and_then_nothing(harness: "CrashHarness") -> None:
    harness.write_people(PEOPLE)
    server = harness.serve("--latency", "0.04")
    process = begin(harness, server)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE)
    again = ("send", "people.csv", "--yes")

    code, _, talk = harness.run(server, *again)
    assert code == 0
    assert "going on with what is left" in talk
    assert server.journal.total == PEOPLE

    code, result, talk = harness.run(server, *again)
    assert code == 3
    assert result == ""
    assert f"already sent to {PEOPLE}" in talk
    assert "nothing sent now" in talk
    assert server.journal.total == PEOPLE
    assert server.holds(harness.ledger).agrees
