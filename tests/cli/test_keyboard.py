"""Keys that are typed while a run lives: neither shown, nor left for the shell, and the terminal is as it was."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from bulksms.cli.ui import process
from tests.platforms import on_terminals

if sys.platform != "win32":
    import fcntl
    import struct
    import termios

if TYPE_CHECKING:
    from tests.cli.harness import CliHarness

pytestmark = on_terminals
PATIENCE = 180.0
TYPED = "rm -rf precious\n"


class Shell:
    """A shell's terminal, which outlives the program: what it shows, how it is set, and what is left to be read."""

    def __init__(self, folder: Any, *arguments: str) -> None:
        self._master, self._slave = os.openpty()
        self.before = termios.tcgetattr(self._slave)
        self.program = subprocess.Popen(
            [sys.executable, "-m", "bulksms", *arguments],
            cwd=folder,
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            env={**os.environ, "TERM": "xterm-256color"},
            start_new_session=True,
        )
        self.shown = ""
        os.set_blocking(self._master, False)

    def until(self, words: str) -> None:
        end = time.monotonic() + PATIENCE
        while words not in self.shown:
            assert time.monotonic() < end, self.shown
            self._read()

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def type_unread(self, keys: str) -> None:
        """The keys are in the terminal's buffer when this returns: nobody reads them."""
        os.write(self._master, keys.encode())
        end = time.monotonic() + PATIENCE
        while self.left < len(keys) and self.program.poll() is None:
            assert time.monotonic() < end, self.shown
            self._read()

    def end(self) -> int:
        end = time.monotonic() + PATIENCE
        while self.program.poll() is None:
            assert time.monotonic() < end, self.shown
            self._read()
        self._read()
        return self.program.returncode

    @property
    def is_as_before(self) -> bool:
        return termios.tcgetattr(self._slave) == self.before

    @property
    def left(self) -> int:
        """Bytes that the shell would read."""
        size = fcntl.ioctl(self._slave, termios.FIONREAD, struct.pack("i", 0))
        return int(struct.unpack("i", size)[0])

    def close(self) -> None:
        self.program.kill()
        self.program.wait()
        os.close(self._master)
        os.close(self._slave)

    def _read(self) -> None:
        try:
            self.shown += os.read(self._master, 65_536).decode(errors="replace")
        except BlockingIOError:
            time.sleep(0.01)


@pytest.fixture
def shell(cli: "CliHarness") -> Iterator[Any]:
    """Opens one terminal."""
    opened: list[Shell] = []

    def start(*arguments: str) -> Shell:
        opened.append(Shell(cli.folder, *arguments))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


def test_keys_typed_during_a_run_are_neither_shown_nor_left_for_the_shell(cli: "CliHarness", shell: Any) -> None:
    cli.server(latency=0.2)
    cli.people(40)
    it = shell("send", "people.csv", "--yes", "--workers", "4", "--no-adapt")
    it.until(" at once: ")
    it.type_unread(TYPED)
    it.until("40 of 40  100 %")
    assert it.end() == 0
    assert "precious" not in it.shown
    assert it.left == 0
    assert it.is_as_before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_the_terminal_is_as_it_was_however_the_run_ends(number: int, cli: "CliHarness", shell: Any) -> None:
    cli.server(latency=0.2)
    cli.people(400)
    it = shell("send", "people.csv", "--yes", "--workers", "4", "--no-adapt")
    it.until(" at once: ")
    assert not it.is_as_before
    it.type_unread(TYPED)
    it.program.send_signal(number)
    code = it.end()
    assert code == (-number if number == signal.SIGQUIT else 128 + (2 if number == signal.SIGINT else 15))
    assert it.is_as_before
    assert it.left == 0


def test_suspended_the_run_gives_the_terminal_back(cli: "CliHarness", shell: Any) -> None:
    cli.server(latency=0.1)
    cli.people(60)
    it = shell("send", "people.csv", "--yes", "--workers", "4", "--no-adapt")
    it.until(" at once: ")
    it.program.send_signal(signal.SIGTSTP)
    end = time.monotonic() + PATIENCE
    while not it.is_as_before:
        assert time.monotonic() < end
        time.sleep(0.01)
    it.program.send_signal(signal.SIGCONT)
    while it.is_as_before and it.program.poll() is None:
        time.sleep(0.001)
    assert it.end() == 0
    assert it.is_as_before


def test_what_was_typed_before_a_question_is_no_answer_to_it(cli: "CliHarness", shell: Any) -> None:
    server = cli.server(latency=1.0)
    cli.people(5)
    it = shell("send", "people.csv", "--canary", "1")
    it.until("Send 5 messages")
    it.type("y\n")
    it.until(" at once: ")
    it.type("y\n")
    it.until("Go on with all the others?")
    time.sleep(0.5)
    assert it.program.poll() is None
    it.type("n\n")
    assert it.end() == 5
    assert server.journal.total == 1
    assert it.is_as_before


def test_watching_a_run_hears_no_keys_either(cli: "CliHarness", shell: Any) -> None:
    cli.server(latency=0.5)
    cli.people(40)
    run = shell("send", "people.csv", "--yes", "--workers", "4", "--no-adapt")
    run.until(" at once: ")
    watching = shell("status", "people.ledger.db", "--watch")
    watching.until(" at once: ")
    watching.type_unread(TYPED)
    run.program.send_signal(signal.SIGTERM)
    run.end()
    watching.end()
    assert "precious" not in watching.shown
    assert watching.left == 0
    assert watching.is_as_before


def test_where_there_is_no_terminal_nothing_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulksms.cli.ui.process.os.isatty", lambda _: False)
    keyboard = process.Keyboard()
    keyboard.mute()
    assert not keyboard.is_silent
    keyboard.unmute()


def test_a_terminal_that_belongs_to_another_job_is_let_be(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = os.openpty()
    monkeypatch.setattr("bulksms.cli.ui.process.os.isatty", lambda number: number == 0)
    monkeypatch.setattr("bulksms.cli.ui.process.os.tcgetpgrp", lambda _: os.getpgrp() + 1)
    keyboard = process.Keyboard()
    keyboard.mute()
    assert not keyboard.is_silent
    os.close(master)
    os.close(slave)
