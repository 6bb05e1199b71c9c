"""What a person at a terminal sees and is asked: on a pseudo-terminal, with the program as a process."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from bulksms.ledger.reader import LedgerReader

if TYPE_CHECKING:
    from tests.cli.conftest import Desk

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
PATIENCE = 60.0


class Terminal:
    """The program on a pseudo-terminal: what it shows, and a keyboard."""

    def __init__(self, *arguments: str) -> None:
        self._master, slave = os.openpty()
        environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bulksms", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
        )
        os.close(slave)
        self.shown = ""

    def until(self, words: str) -> None:
        """Read until these words are shown."""
        end = time.monotonic() + PATIENCE
        while words not in self.shown:
            assert time.monotonic() < end, self.shown
            assert self._read(), self.shown

    def type(self, line: str) -> None:
        """Type a line."""
        os.write(self._master, f"{line}\n".encode())

    def interrupt(self) -> None:
        """Press Ctrl-C, and again if it fell into the moment before the line is read, where it is not noticed."""
        while self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5.0)

    def end(self) -> int:
        """Read to the end; the exit code."""
        while self._read():
            pass
        return self._process.wait(PATIENCE)

    def close(self) -> None:
        """Take the terminal away."""
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._master], [], [], PATIENCE)
        assert ready, f"nothing more was said after: {self.shown}"
        try:
            data = os.read(self._master, 65_536)
        except OSError:  # how Linux says that nobody writes any more
            return False
        self.shown += data.decode()
        return bool(data)


class Desktop:
    """Opens terminals and closes them."""

    def __init__(self) -> None:
        self._open: list[Terminal] = []

    def __call__(self, *arguments: str) -> Terminal:
        self._open.append(Terminal(*arguments))
        return self._open[-1]

    def close(self) -> None:
        for terminal in self._open:
            terminal.close()


@pytest.fixture
def terminal() -> Iterator[Desktop]:
    desktop = Desktop()
    yield desktop
    desktop.close()


def test_a_person_is_shown_the_preview_and_asked(desk: "Desk", terminal: Desktop) -> None:
    server = desk.server()
    desk.people(3)
    screen = terminal("send", "people.csv")
    screen.until("Send 3 messages to http://127.0.0.1")
    assert server.journal.total == 0
    assert "3 rows, 3 to send" in screen.shown
    screen.type("y")
    assert screen.end() == 0
    assert "3 = 3 accepted" in screen.shown
    assert desk.token not in screen.shown
    assert server.journal.total == 3
    with LedgerReader(desk.folder / "people.ledger.db") as reader:
        assert reader.runs()[0].confirmed_by == "at the terminal"


def test_no_sends_nothing_and_leaves_nothing(desk: "Desk", terminal: Desktop) -> None:
    server = desk.server()
    desk.people(3)
    screen = terminal("send", "people.csv")
    screen.until("Send 3 messages")
    screen.type("n")
    assert screen.end() == 130
    assert "Stopped before anything was sent." in screen.shown
    assert server.journal.total == 0
    assert desk.files == {"people.csv"}


def test_for_a_thousand_and_more_the_number_has_to_be_typed(desk: "Desk", terminal: Desktop) -> None:
    server = desk.server(keep_entries=False)
    desk.people(1_001)
    screen = terminal("send", "people.csv")
    screen.until("Type the number to send")
    screen.type("y")
    assert screen.end() == 130
    assert server.journal.total == 0
    screen = terminal("send", "people.csv")
    screen.until("Type the number to send")
    screen.type("1,001")
    assert screen.end() == 0
    assert server.journal.total == 1_001
    assert "1001/1001" in screen.shown.replace(",", ""), "the bar"


def test_the_token_is_asked_for_without_echo(desk: "Desk", terminal: Desktop, monkeypatch: pytest.MonkeyPatch) -> None:
    server = desk.server()
    monkeypatch.delenv("BULKSMS_TOKEN")
    desk.people(1)
    screen = terminal("send", "people.csv", "--yes")
    screen.until("Access token")
    time.sleep(0.1)  # the echo is switched off just after the words are shown
    screen.type(desk.token)
    assert screen.end() == 0
    assert desk.token not in screen.shown
    assert server.journal.unauthorized == 0


def test_resume_asks_if_nothing_was_attempted_yet(desk: "Desk", terminal: Desktop) -> None:
    server = desk.server()
    desk.people(2)
    desk("plan", "people.csv")
    screen = terminal("resume", "people.ledger.db")
    screen.until("Send 2 messages")
    assert "2 of 2 are left to send" in screen.shown
    screen.type("y")
    assert screen.end() == 0
    assert server.journal.total == 2


def test_the_canary_is_asked_about(desk: "Desk", terminal: Desktop) -> None:
    server = desk.server()
    desk.people(5)
    screen = terminal("send", "people.csv", "--canary", "1")
    screen.until("Send 5 messages")
    screen.type("y")
    screen.until("The canary was accepted. Go on with all the others?")
    assert server.journal.total == 1
    screen.type("n")
    assert screen.end() == 5
    assert server.journal.total == 1
    assert "4 queued" in screen.shown


def test_ctrl_c_at_the_question_sends_nothing(desk: "Desk", terminal: Desktop) -> None:
    server = desk.server()
    desk.people(3)
    screen = terminal("send", "people.csv")
    screen.until("Send 3 messages")
    screen.interrupt()
    assert screen.end() == 130
    assert server.journal.total == 0
    assert "Traceback" not in screen.shown
    assert desk.files == {"people.csv"}
