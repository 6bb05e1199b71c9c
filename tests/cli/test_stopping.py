"""Wrong text, stop now: what another shell can do about a living run, how long it takes, and what it says."""

import shlex
import sys
import time
from typing import TYPE_CHECKING

import pytest

from bulksms.cli import cancel
from bulksms.ledger import live
from bulksms.ledger.control import control_path
from bulksms.ledger.reader import Standing
from bulksms.message import State

if TYPE_CHECKING:
    import subprocess

    from tests.cli.conftest import Desk, Server, Start
    from tests.conftest import Desktop

LEDGER = "people.ledger.db"
PEOPLE = 40
WORKERS = 4
on_terminals = pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")


def living(desk: "Desk", start: "Start", mark: str = "", **server: float) -> "tuple[Server, subprocess.Popen[str]]":
    """A run in the middle of its work."""
    there = desk.server(**server)
    desk.people(PEOPLE, mark=mark)
    process = start("send", "people.csv", "--yes", "--workers", str(WORKERS), "--no-adapt")
    while there.journal.total < WORKERS:
        assert process.poll() is None
        time.sleep(0.01)
    return there, process


def states(desk: "Desk") -> dict[State, int]:
    """How many messages stand where."""
    found = [line.state for line in desk.lines()]
    return {state: found.count(state) for state in State if state in found}


def test_stop_waits_for_the_end_and_says_how_to_go_on(desk: "Desk", start: "Start") -> None:
    _, process = living(desk, start, latency=0.4)
    said = desk("stop", LEDGER)
    assert process.poll() is not None or process.wait(5) == 143, "it has ended when `stop` has"
    counts = states(desk)
    assert (said.code, said.out) == (0, "")
    assert f"It has stopped: 40 = {counts[State.QUEUED]} queued + {counts[State.ACCEPTED]} accepted." in said.err
    assert f"{counts[State.QUEUED]} are left; to continue:\n  bulksms resume {LEDGER}\n" in said.err
    _, talk = process.communicate(timeout=60)
    assert "Stopped (interrupted): by `bulksms stop`." in talk


def test_stop_has_patience_and_not_for_ever(desk: "Desk", start: "Start", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulksms.cli.doing.waiting.PATIENCE", 0.5)
    _, process = living(desk, start, latency=3_600.0)
    said = desk("stop", LEDGER)
    assert said.code == 0
    assert f"It still awaits answers. To see when it has ended:\n  bulksms status {LEDGER} --watch\n" in said.err
    assert process.poll() is None


@on_terminals
def test_ctrl_c_ends_the_waiting_only(desk: "Desk", start: "Start", terminal: "Desktop") -> None:
    _, process = living(desk, start, latency=3_600.0)
    screen = terminal("cancel", LEDGER)
    screen.until("Ctrl-C ends this waiting only.")
    screen.interrupt()
    assert screen.end() == 0
    assert "It still awaits answers" in screen.shown
    while control_path(desk.folder / LEDGER).exists():
        time.sleep(0.05)
    assert process.poll() is None
    assert desk("stop", LEDGER, "--now").code == 0
    process.communicate(timeout=60)
    assert states(desk) == {State.UNKNOWN: WORKERS, State.CANCELLED: PEOPLE - WORKERS}, "it was cancelled as well"


def test_stopping_at_once_awaits_nothing_and_says_so_on_both_sides(desk: "Desk", start: "Start") -> None:
    _, process = living(desk, start, latency=3_600.0)
    said = desk("stop", LEDGER, "--now")
    _, talk = process.communicate(timeout=60)
    assert "what is in flight is broken off." in said.err
    assert "what is in flight is broken off." in talk
    assert "awaited" not in said.err + talk


def test_cancel_says_what_it_did_and_whom_to_correct(desk: "Desk", start: "Start") -> None:
    _, process = living(desk, start, latency=0.3)
    said = desk("cancel", LEDGER)
    _, talk = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "Stopped (interrupted): `bulksms cancel` withdrew what was queued." in talk
    assert said.code == 0
    assert f"{states(desk)[State.CANCELLED]} cancelled" in said.out
    command = [line for line in said.err.splitlines() if line.startswith("  bulksms ")]
    assert command == [
        f"  bulksms send --told-in {LEDGER} --text-file correction.txt --ledger people.correction.ledger.db"
    ]


def test_cancel_does_not_wait_while_the_server_holds_everybody(desk: "Desk", start: "Start") -> None:
    _, process = living(desk, start, "[503_retry_after]", retry_after=300.0)
    began = time.monotonic()
    assert desk("cancel", LEDGER).code == 0
    assert time.monotonic() - began < 150.0, "not as long as the server asked for"
    process.communicate(timeout=60)
    assert states(desk) == {State.CANCELLED: PEOPLE}


def test_cancel_does_not_wait_while_the_server_is_away(desk: "Desk", start: "Start") -> None:
    server, process = living(desk, start, latency=0.2)
    server.end()
    told = server.journal.total
    while (pace := live.told(desk.folder / LEDGER, 1)) is None or pace.away is None:
        assert process.poll() is None
        time.sleep(0.05)
    assert desk("cancel", LEDGER).code == 0
    process.communicate(timeout=60)
    counts = states(desk)
    assert counts[State.CANCELLED] == PEOPLE - told
    assert sum(counts.values()) == PEOPLE


def test_cancel_withdraws_what_a_run_left_that_ended_before_it_heard(
    desk: "Desk", start: "Start", monkeypatch: pytest.MonkeyPatch
) -> None:
    _, process = living(desk, start, latency=3_600.0)

    def ends_first(*_: object) -> bool:
        process.kill()
        process.wait()
        return True

    monkeypatch.setattr(cancel, "tell_and_await", ends_first)
    assert desk("cancel", LEDGER).code == 0
    assert states(desk) == {State.UNKNOWN: WORKERS, State.CANCELLED: PEOPLE - WORKERS}


def test_cancel_reaches_a_run_that_began_meanwhile(
    desk: "Desk", start: "Start", monkeypatch: pytest.MonkeyPatch
) -> None:
    _, process = living(desk, start, latency=0.3)
    before = Standing({**dict.fromkeys(State, 0), State.QUEUED: PEOPLE}, 0, is_living=False)
    monkeypatch.setattr(cancel, "standing_of", lambda _: before)
    assert desk("cancel", LEDGER).code == 0
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert states(desk)[State.CANCELLED] > 0


def test_cancel_gives_up_waiting_but_not_the_wish(
    desk: "Desk", start: "Start", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bulksms.cli.doing.waiting.PATIENCE", 0.1)
    _, process = living(desk, start, latency=1.0)
    said = desk("cancel", LEDGER)
    assert (said.code, said.out) == (0, "")
    assert "It still awaits answers." in said.err
    process.communicate(timeout=60)
    assert states(desk)[State.CANCELLED] > 0


def test_a_wish_that_nobody_heard_is_not_left_lying(desk: "Desk", start: "Start") -> None:
    _, process = living(desk, start, latency=0.2)
    desk("stop", LEDGER)
    process.communicate(timeout=60)
    assert not control_path(desk.folder / LEDGER).exists()
    assert desk.files == {"people.csv", LEDGER}


def test_who_got_the_wrong_text_gets_a_correction_and_everybody_else_the_right_one(
    desk: "Desk", start: "Start"
) -> None:
    """The README's recipe, with the server's journal as judge."""
    server, process = living(desk, start, latency=0.2)
    cancelled = desk("cancel", LEDGER)
    process.communicate(timeout=60)
    wrong = server.journal.total
    assert WORKERS <= wrong < PEOPLE
    desk.write("correction.txt", "Please disregard.")
    (command,) = [line for line in cancelled.err.splitlines() if line.startswith("  bulksms ")]
    assert desk(*shlex.split(command)[1:], "--yes").code == 0
    assert server.journal.total == 2 * wrong
    right = ("--text", "The right text.", "--not-told-in", LEDGER, "--ledger", "right.ledger.db")
    assert desk("send", "people.csv", *right, "--yes").code == 0
    for number in range(PEOPLE):
        texts = server.journal.texts(f"CN=Person {number} ,DC=example,DC=com")
        assert texts in ([f"Outage {number}.", "Please disregard."], ["The right text."])
    assert server.journal.total == wrong + PEOPLE
