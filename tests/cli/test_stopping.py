"""Wrong text, stop now: what another shell can do about a living run, how long it takes, and what it says."""

import re
import shlex
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bulksms.cli.commands import stop
from bulksms.ledger import Counts
from bulksms.ledger.sqlite import remote_control
from bulksms.ledger.sqlite.remote_control import control_path
from bulksms.model.message import State
from bulksms.system import operator
from tests.platforms import on_terminals

if TYPE_CHECKING:
    import subprocess

    from tests.cli.harness import CliHarness, Server, Start
    from tests.harness import TerminalFactory

LEDGER = "people.ledger.db"
PEOPLE = 40
WORKERS = 4


def living(
    cli: "CliHarness", start: "Start", mark: str = "", **server: float
) -> "tuple[Server, subprocess.Popen[str]]":
    """A run in the middle of its work."""
    there = cli.server(**server)
    cli.people(PEOPLE, mark=mark)
    process = start("send", "people.csv", "--yes", "--workers", str(WORKERS), "--no-adapt")
    while there.journal.total < WORKERS:
        assert process.poll() is None
        time.sleep(0.01)
    return there, process


def states(cli: "CliHarness") -> dict[State, int]:
    """How many messages are in which state."""
    found = [line.state for line in cli.lines()]
    return {state: found.count(state) for state in State if state in found}


def test_stop_waits_for_the_end_and_says_how_to_go_on(cli: "CliHarness", start: "Start") -> None:
    _, process = living(cli, start, latency=0.4)
    result = cli("stop", LEDGER)
    assert process.poll() is not None or process.wait(5) == 143, "it has ended when `stop` has"
    counts = states(cli)
    assert (result.code, result.out) == (0, "")
    assert f"It has stopped: 40 = {counts[State.QUEUED]} queued + {counts[State.ACCEPTED]} accepted." in result.err
    assert f"{counts[State.QUEUED]} are queued; to continue:\n  bulksms resume {LEDGER}\n" in result.err
    _, talk = process.communicate(timeout=60)
    assert re.search(r"Stopped \(interrupted\): by .+ on .+ with bulksms stop\.", talk)


def test_stop_has_patience_and_not_for_ever(cli: "CliHarness", start: "Start", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulksms.cli.commands.stop.TIMEOUT", 0.5)
    _, process = living(cli, start, latency=3_600.0)
    result = cli("stop", LEDGER)
    assert result.code == 0
    assert f"It still awaits answers. To see when it has ended:\n  bulksms status {LEDGER} --watch\n" in result.err
    assert process.poll() is None


@on_terminals
def test_ctrl_c_ends_the_waiting_only(cli: "CliHarness", start: "Start", terminal: "TerminalFactory") -> None:
    _, process = living(cli, start, latency=3_600.0)
    screen = terminal("cancel", LEDGER)
    screen.until("Ctrl-C stops waiting, not the run.")
    screen.interrupt()
    assert screen.end() == 0
    assert "It still awaits answers" in screen.shown
    while control_path(cli.folder / LEDGER).exists():
        time.sleep(0.05)
    assert process.poll() is None
    assert cli("stop", LEDGER, "--now").code == 0
    process.communicate(timeout=60)
    assert states(cli) == {State.UNKNOWN: WORKERS, State.CANCELLED: PEOPLE - WORKERS}, "it was cancelled as well"


def test_stopping_at_once_awaits_nothing_and_says_so_on_both_sides(cli: "CliHarness", start: "Start") -> None:
    _, process = living(cli, start, latency=3_600.0)
    result = cli("stop", LEDGER, "--now")
    _, talk = process.communicate(timeout=60)
    assert "requests in flight are aborted." in result.err
    assert "what is in flight is broken off." in talk
    assert "awaited" not in result.err + talk


def test_cancel_says_what_it_did_and_whom_to_correct(cli: "CliHarness", start: "Start") -> None:
    _, process = living(cli, start, latency=0.3)
    result = cli("cancel", LEDGER)
    _, talk = process.communicate(timeout=60)
    assert process.returncode == 143
    assert re.search(r"Stopped \(interrupted\): by .+ on .+ with bulksms cancel\.", talk)
    assert "Exit code 143: terminated; nothing is left queued." in talk
    assert result.code == 0
    assert f"{states(cli)[State.CANCELLED]} cancelled" in result.out
    command = [line for line in result.err.splitlines() if line.startswith("  bulksms ")]
    assert command == [
        f"  bulksms send --sent-in {LEDGER} --text-file correction.txt --ledger people.correction.ledger.db",
        f"  bulksms send INPUT --not-sent-in {LEDGER} --ledger people.new.ledger.db",
    ]


def test_cancel_does_not_wait_while_the_server_holds_everybody(cli: "CliHarness", start: "Start") -> None:
    _, process = living(cli, start, "[503_retry_after]", retry_after=300.0)
    began = time.monotonic()
    assert cli("cancel", LEDGER).code == 0
    assert time.monotonic() - began < 150.0, "not as long as the server asked for"
    process.communicate(timeout=60)
    assert states(cli) == {State.CANCELLED: PEOPLE}


def test_cancel_does_not_wait_while_the_server_is_away(cli: "CliHarness", start: "Start") -> None:
    server, process = living(cli, start, latency=0.2)
    server.end()
    printed = server.journal.total
    while (pace := remote_control.read_status(cli.folder / LEDGER, 1)) is None or pace.unavailable_for is None:
        assert process.poll() is None
        time.sleep(0.05)
    assert cli("cancel", LEDGER).code == 0
    process.communicate(timeout=60)
    counts = states(cli)
    assert counts[State.CANCELLED] == PEOPLE - printed
    assert sum(counts.values()) == PEOPLE


def test_cancel_withdraws_what_a_run_left_that_ended_before_it_heard(
    cli: "CliHarness", start: "Start", monkeypatch: pytest.MonkeyPatch
) -> None:
    _, process = living(cli, start, latency=3_600.0)

    def ends_first(*_: object) -> bool:
        process.kill()
        process.wait()
        return True

    monkeypatch.setattr(stop, "command_and_wait", ends_first)
    assert cli("cancel", LEDGER).code == 0
    assert states(cli) == {State.UNKNOWN: WORKERS, State.CANCELLED: PEOPLE - WORKERS}


def test_cancel_reaches_a_run_that_began_meanwhile(
    cli: "CliHarness", start: "Start", monkeypatch: pytest.MonkeyPatch
) -> None:
    _, process = living(cli, start, latency=0.3)
    before = Counts({**dict.fromkeys(State, 0), State.QUEUED: PEOPLE}, 0, is_living=False)
    monkeypatch.setattr(stop, "counts_of", lambda _: before)
    assert cli("cancel", LEDGER).code == 0
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert states(cli)[State.CANCELLED] > 0


def test_cancel_gives_up_waiting_but_not_the_command(
    cli: "CliHarness", start: "Start", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bulksms.cli.commands.stop.TIMEOUT", 0.1)
    _, process = living(cli, start, latency=1.0)
    result = cli("cancel", LEDGER)
    assert (result.code, result.out) == (0, "")
    assert "It still awaits answers." in result.err
    process.communicate(timeout=60)
    assert states(cli)[State.CANCELLED] > 0


def test_a_command_that_was_never_read_is_removed(cli: "CliHarness", start: "Start") -> None:
    _, process = living(cli, start, latency=0.2)
    cli("stop", LEDGER)
    process.communicate(timeout=60)
    assert not control_path(cli.folder / LEDGER).exists()
    assert cli.files == {"people.csv", LEDGER}


def test_who_got_the_wrong_text_gets_a_correction_and_everybody_else_the_right_one(
    cli: "CliHarness", start: "Start"
) -> None:
    """The README's recipe, with the server's journal as judge."""
    server, process = living(cli, start, latency=0.2)
    cancelled = cli("cancel", LEDGER)
    process.communicate(timeout=60)
    wrong = server.journal.total
    assert WORKERS <= wrong < PEOPLE
    cli.write("correction.txt", "Please disregard.")
    command, _ = [line for line in cancelled.err.splitlines() if line.startswith("  bulksms ")]
    assert cli(*shlex.split(command)[1:], "--yes").code == 0
    assert server.journal.total == 2 * wrong
    right = ("--text", "The right text.", "--not-sent-in", LEDGER, "--ledger", "right.ledger.db")
    assert cli("send", "people.csv", *right, "--yes").code == 0
    for number in range(PEOPLE):
        texts = server.journal.texts(f"CN=Person {number} ,DC=example,DC=com")
        assert texts in ([f"Outage {number}.", "Please disregard."], ["The right text."])
    assert server.journal.total == wrong + PEOPLE


def test_cancelling_a_ledger_at_rest_asks(cli: "CliHarness", terminal: "TerminalFactory") -> None:
    cli.people(3)
    cli("plan", "people.csv")
    for answer, code, left in (("n", 130, 3), ("y", 0, 0)):
        screen = terminal("cancel", LEDGER)
        screen.until("Withdraw 3 queued messages of people.ledger.db for good?")
        screen.type(answer)
        assert screen.end() == code
        assert states(cli).get(State.QUEUED, 0) == left
    assert "Nobody got it; to send the right INPUT:" in screen.shown
    assert "send INPUT --not-sent-in people.ledger.db --ledger people.new.ledger.db" in screen.shown


def test_what_is_resolved_suggests_the_next_step(cli: "CliHarness") -> None:
    cli.server()
    cli.people(2, mark="[drop_after]")
    assert cli("send", "people.csv", "--yes").code == 4
    result = cli("resolve", LEDGER, "--accepted", "2", "--failed", "3")
    assert "To keep" not in result.err
    assert "  bulksms retry people.ledger.db --only failed:resolved_by_hand\n" in result.err
    assert cli("retry", LEDGER, "--only", "failed:resolved_by_hand", "--yes", "--delivery", "at-least-once").code == 0
    result = cli("status", LEDGER)
    assert (
        "For the ticket, the whole report:\n  bulksms report people.ledger.db --format html -o people.html\n"
        in result.err
    )


def test_status_once_beside_a_run_shows_its_pace(cli: "CliHarness", start: "Start") -> None:
    _, process = living(cli, start, latency=0.4)
    end = time.monotonic() + 60
    while not re.search(r"at once: ", cli("status", LEDGER).out):
        assert time.monotonic() < end
        assert process.poll() is None
    cli("stop", LEDGER)
    process.communicate(timeout=60)


@pytest.mark.parametrize("how", ["Ctrl-C", "the signal SIGTERM", "bulksms stop", "bulksms cancel"])
def test_who_stopped_a_run_where_and_with_what_is_kept_and_reported(
    how: str, cli: "CliHarness", start: "Start", tmp_path: Path
) -> None:
    _, process = living(cli, start, latency=0.3)
    if how.startswith("bulksms"):
        assert cli(how.split()[1], LEDGER).code == 0
    else:
        process.send_signal(signal.SIGINT if how == "Ctrl-C" else signal.SIGTERM)
    _, talk = process.communicate(timeout=60)
    who = " on ".join(operator())
    assert f"Stopped (interrupted): by {who} with {how}." in talk
    status = cli("status", LEDGER).out
    assert f"End of run 1: stopped (interrupted): by {who} with {how}." in status
    assert f"interrupted  {who} with {how}" in cli("history").out
    assert f"stopped (interrupted): by {who} with {how}" in " ".join(cli("report", LEDGER, "--runs").out.split())
    assert cli("report", LEDGER, "--runs", "--json").json["runs"][0]["stopped_by"] == f"by {who} with {how}"
    cli("report", LEDGER, "--format", "html", "-o", "page.html")
    assert f"by {who} with {how}" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert cli("verify", LEDGER).code == 0


def test_who_cancelled_a_ledger_at_rest_is_kept_and_reported(cli: "CliHarness") -> None:
    cli.people(2)
    cli("plan", "people.csv", "--quiet")
    assert cli("cancel", LEDGER, "--yes").code == 0
    who = " on ".join(operator())
    assert re.search(rf"cancel by {re.escape(who)} with bulksms cancel", cli("status", LEDGER).out)


def test_a_run_that_ended_by_itself_was_stopped_by_nobody(cli: "CliHarness") -> None:
    cli.server()
    cli.people(1)
    cli("send", "people.csv", "--yes")
    assert cli("report", LEDGER, "--runs", "--json").json["runs"][0]["stopped_by"] is None
