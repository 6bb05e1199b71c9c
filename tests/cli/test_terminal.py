"""What a person at a terminal sees and is asked: on a pseudo-terminal, with the program as a process."""

import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from bulksms.ledger import open_ledger
from bulksms.model.message import State
from tests.platforms import on_terminals

if TYPE_CHECKING:
    from tests.cli.harness import CliHarness
    from tests.harness import TerminalFactory

PATIENCE = 180.0
"""Seconds after which something that should have happened is given up."""
pytestmark = on_terminals


def test_a_person_is_shown_the_preview_and_asked(cli: "CliHarness", terminal: "TerminalFactory") -> None:
    server = cli.server()
    cli.people(3)
    screen = terminal("send", "people.csv")
    screen.until("Send 3 messages to http://127.0.0.1")
    assert server.journal.total == 0
    assert "3 rows, 3 to send" in screen.shown
    screen.type("y")
    assert screen.end() == 0
    assert "3 = 3 accepted" in screen.shown
    assert cli.token not in screen.shown
    assert server.journal.total == 3
    with open_ledger(cli.folder / "people.ledger.db") as reader:
        assert reader.runs()[0].confirmed_by == "at the terminal"


def test_no_sends_nothing_and_leaves_nothing(cli: "CliHarness", terminal: "TerminalFactory") -> None:
    server = cli.server()
    cli.people(3)
    screen = terminal("send", "people.csv")
    screen.until("Send 3 messages")
    screen.type("n")
    assert screen.end() == 130
    assert "Stopped before anything was sent." in screen.shown
    assert server.journal.total == 0
    assert cli.files == {"people.csv"}


def test_for_a_thousand_and_more_the_number_has_to_be_typed(cli: "CliHarness", terminal: "TerminalFactory") -> None:
    server = cli.server(keep_entries=False)
    cli.people(1_001)
    screen = terminal("send", "people.csv")
    screen.until("Type 1,001 to send, or Enter to stop")
    screen.type("y")
    screen.until("'y' is not 1,001.")
    screen.type("1001")
    assert screen.end() == 0
    assert server.journal.total == 1_001
    assert "1,001 of 1,001  100 %" in screen.shown, "the bar"


@pytest.mark.parametrize("typed", [["1,000", "100", "1002"], [""], ["n"], ["12", "No"]])
def test_another_number_or_a_no_sends_nothing(typed: list[str], cli: "CliHarness", terminal: "TerminalFactory") -> None:
    server = cli.server()
    cli.people(1_001)
    screen = terminal("send", "people.csv")
    for line in typed:
        screen.until("Type 1,001 to send, or Enter to stop")
        screen.forget()
        screen.type(line)
    assert screen.end() == 130
    assert "Stopped before anything was sent." in screen.shown
    assert server.journal.total == 0
    assert cli.files == {"people.csv"}


@pytest.mark.parametrize("count", [3, 1_001])
def test_the_end_of_what_is_typed_is_a_no(count: int, cli: "CliHarness", terminal: "TerminalFactory") -> None:
    server = cli.server()
    cli.people(count)
    screen = terminal("send", "people.csv")
    screen.until("Send ")
    screen.until(": ")
    screen.type("\x04", end="")
    assert screen.end() == 130
    assert "Stopped before anything was sent." in screen.shown
    assert server.journal.total == 0


def test_the_token_is_asked_for_without_echo(
    cli: "CliHarness", terminal: "TerminalFactory", monkeypatch: pytest.MonkeyPatch
) -> None:
    server = cli.server()
    monkeypatch.delenv("BULKSMS_TOKEN")
    cli.people(1)
    screen = terminal("send", "people.csv", "--yes")
    screen.until("Access token")
    time.sleep(0.1)  # the echo is switched off just after the words are shown
    screen.type(cli.token)
    assert screen.end() == 0
    assert cli.token not in screen.shown
    assert server.journal.unauthorized == 0


def test_resume_asks_if_nothing_was_attempted_yet(cli: "CliHarness", terminal: "TerminalFactory") -> None:
    server = cli.server()
    cli.people(2)
    cli("plan", "people.csv")
    screen = terminal("resume", "people.ledger.db")
    screen.until("Send 2 messages")
    assert "2 of 2 are left to send" in screen.shown
    screen.type("y")
    assert screen.end() == 0
    assert server.journal.total == 2


def test_the_canary_is_asked_about(cli: "CliHarness", terminal: "TerminalFactory") -> None:
    server = cli.server()
    cli.people(5)
    screen = terminal("send", "people.csv", "--canary", "1")
    screen.until("Send 5 messages")
    screen.type("y")
    screen.until("The canary was accepted. Go on with all the others?")
    assert server.journal.total == 1
    time.sleep(0.6)  # more than two drawings
    screen.type("n")
    assert screen.end() == 5
    until_answered = screen.shown.partition("The canary was accepted")[2].partition("n\r\n")[0]
    assert until_answered.endswith("[y/N]: ")
    assert "░" not in until_answered, "nothing is drawn over a question"
    assert server.journal.total == 1
    assert "4 queued" in screen.shown
    screen = terminal("resume", "people.ledger.db")
    screen.until("Go on with all the others?")
    assert server.journal.total == 1, "one was accepted already: it is asked about again, and not repeated"
    screen.type("y")
    assert screen.end() == 0
    assert server.journal.total == 5


def test_a_canary_that_was_gone_on_from_is_not_asked_about_again(
    cli: "CliHarness", terminal: "TerminalFactory"
) -> None:
    server = cli.server(latency=0.05)
    cli.people(60)
    screen = terminal("send", "people.csv", "--canary", "1", "--rate", "10")
    screen.until("Send 60 messages")
    screen.type("y")
    screen.until("Go on with all the others?")
    screen.type("y")
    while server.journal.total < 5:
        time.sleep(0.01)
    screen.signal(signal.SIGINT)
    assert screen.end() == 130
    assert 4 < server.journal.total < 60
    screen = terminal("resume", "people.ledger.db", "--rate", "1000")
    assert screen.end() == 0
    assert "The canary" not in screen.shown
    assert server.journal.total == 60


def test_who_says_yes_to_the_canary_goes_on(cli: "CliHarness", terminal: "TerminalFactory") -> None:
    server = cli.server()
    cli.people(5)
    screen = terminal("send", "people.csv", "--canary", "2", "--test-to", "CN=Myself,DC=x")
    screen.until("Send 5 messages")
    screen.type("y")
    screen.until("Did it arrive? [y/N]")
    assert server.journal.total == 1
    screen.type("perhaps")
    screen.until("Type y or n.")
    screen.type("yes")
    screen.until("Go on with all the others? [y/N]")
    assert server.journal.total == 3
    screen.type("Y")
    assert screen.end() == 0
    assert server.journal.total == 6


@pytest.mark.parametrize("how", ["INT", "TERM", "stop", "deadline"])
def test_a_run_that_is_stopped_at_a_question_waits_for_no_answer(
    cli: "CliHarness", terminal: "TerminalFactory", how: str
) -> None:
    server = cli.server()
    cli.people(5)
    options = ("--deadline", "8s") if how == "deadline" else ()
    screen = terminal("send", "people.csv", "--canary", "1", *options)
    screen.until("Send 5 messages")
    screen.type("y")
    screen.until("Go on with all the others?")
    if how == "stop":
        assert cli("stop", "people.ledger.db").code == 0
    elif how != "deadline":
        screen.signal(signal.Signals[f"SIG{how}"])
    assert screen.end() == {"INT": 130, "deadline": 5}.get(how, 143)
    assert server.journal.total == 1
    assert f"4 {'expired' if how == 'deadline' else 'queued'}" in screen.shown


def test_a_window_that_is_closed_lets_the_run_drain(cli: "CliHarness", terminal: "TerminalFactory") -> None:
    server = cli.server(latency=0.2)
    cli.people(200)
    screen = terminal("send", "people.csv", "--yes", "--rate", "20")
    while server.journal.total < 5:
        time.sleep(0.01)
    assert screen.shut() == 143
    with open_ledger(cli.folder / "people.ledger.db") as reader:
        counts, (run,) = reader.counts(), reader.runs()
    assert (run.stopped, run.ended_at is not None) == ("interrupted", True)
    assert counts.counts[State.ACCEPTED] == server.journal.total < 200
    assert counts.counts[State.QUEUED] == 200 - server.journal.total


def test_nohup_outlives_its_terminal(cli: "CliHarness") -> None:
    server = cli.server(latency=0.1)
    cli.people(60)
    command = ("nohup", sys.executable, "-m", "bulksms", "send", "people.csv", "--yes")
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe) as process:
        while server.journal.total < 4:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGHUP)
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert server.journal.total == 60


def test_after_a_yes_the_bar_goes_on_below_the_question(cli: "CliHarness", terminal: "TerminalFactory") -> None:
    cli.server(latency=0.1)
    cli.people(30)
    screen = terminal("send", "people.csv", "--canary", "1")
    screen.until("Send 30 messages")
    screen.type("y")
    screen.until("The canary was accepted. Go on with all the others? [y/N]: ")
    screen.forget()
    screen.type("y")
    assert screen.end() == 0
    assert any(line.endswith("30 of 30  100 %") for line in screen.lines)


def test_ctrl_c_at_the_question_sends_nothing(cli: "CliHarness", terminal: "TerminalFactory") -> None:
    server = cli.server()
    cli.people(3)
    screen = terminal("send", "people.csv")
    screen.until("Send 3 messages")
    screen.interrupt()
    assert screen.end() == 130
    assert server.journal.total == 0
    assert "Traceback" not in screen.shown
    assert cli.files == {"people.csv"}


def test_a_retry_names_the_number_the_endpoint_and_who_may_get_it_twice(
    cli: "CliHarness", terminal: "TerminalFactory"
) -> None:
    server = cli.server()
    cli.people(2, mark="[504]")
    cli("send", "people.csv", "--yes")
    for answer, code, total in (("n", 130, 2), ("y", 0, 4)):
        screen = terminal("retry", "people.ledger.db", "--only", "unknown")
        screen.until("perhaps a second time?")
        assert f"Send 2 messages to {server.url}, 2 of them perhaps a second time?" in screen.shown
        assert "2 of them may have been sent already; those people then get it twice." in screen.shown
        screen.type(answer)
        assert screen.end() == code
        assert server.journal.total == total
    with open_ledger(cli.folder / "people.ledger.db") as reader:
        assert [decision.confirmed_by for decision in reader.operator_actions()] == ["at the terminal"]


def test_a_purge_names_the_ledgers_and_no_leaves_them(cli: "CliHarness", terminal: "TerminalFactory") -> None:
    cli.server()
    cli.people(1)
    cli("send", "people.csv", "--yes")
    ledger = cli.folder / "people.ledger.db"
    for answer, code, is_left in (("n", 130, True), ("y", 0, False)):
        screen = terminal("purge", "people.ledger.db")
        screen.until("Remove the names and texts of people.ledger.db for good?")
        screen.type(answer)
        assert screen.end() == code
        assert (b"Person" in ledger.read_bytes()) is is_left


def test_a_ledger_keeps_to_one_line_of_the_history_however_narrow_the_terminal(
    cli: "CliHarness", terminal: "TerminalFactory"
) -> None:
    cli.server()
    cli.people(2, "of-a-long-name.csv")
    cli("send", "of-a-long-name.csv", "--yes")
    screen = terminal("history")
    assert screen.end() == 0
    (line,) = [line for line in screen.shown.splitlines() if "of-a-long-name" in line]
    assert line.split()[0] == "of-a-long-name.ledger.db"
    assert line.split()[-1] == "finished"
    assert "2" in line.split()
