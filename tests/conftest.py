"""What tests of several rooms need: aioresponses on the aiohttp that the project demands, a terminal, and a record of
starts of their own.
"""

import codecs
import contextlib
import inspect
import os
import re
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import aioresponses.core
import pytest
from aiohttp import ClientResponse
from hypothesis import settings

if sys.platform != "win32":
    import fcntl
    import termios

# On CI hypothesis chooses its examples by the tests alone; everywhere no example has to be over in a given time.
settings.register_profile("any machine", parent=settings(), deadline=None)
settings.load_profile("any machine")

PATIENCE = 180.0
"""Seconds after which something that should have happened is given up."""


@pytest.fixture(autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's record of what was started is never that of the person who runs the tests."""
    folder = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    return folder


class _MockedResponse(ClientResponse):
    """aioresponses 0.7 does not know the argument `stream_writer`, which aiohttp 3.14 made obligatory."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("stream_writer", Mock(output_size=0))
        super().__init__(*args, **kwargs)


if "stream_writer" in inspect.signature(ClientResponse.__init__).parameters:
    aioresponses.core.ClientResponse = _MockedResponse  # type: ignore[attr-defined]  # its own import


class Terminal:
    """The program on a pseudo-terminal: what it shows, and a keyboard."""

    def __init__(self, arguments: Sequence[str], columns: int, environment: dict[str, str]) -> None:
        self._master, slave = os.openpty()
        if sys.platform != "win32":
            fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bulksms", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=kept | {"TERM": "xterm-256color"} | environment,
            start_new_session=True,
        )
        os.close(slave)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.shown = ""

    def until(self, words: str) -> None:
        """Read until these words are shown."""
        end = time.monotonic() + PATIENCE
        while words not in self.shown:
            assert time.monotonic() < end, self.shown
            assert self._read(), self.shown

    def type(self, line: str, end: str = "\n") -> None:
        """Type a line."""
        os.write(self._master, f"{line}{end}".encode())

    def forget(self) -> None:
        """What was shown so far is looked at no more."""
        self.shown = ""

    @property
    def lines(self) -> list[str]:
        """Every line that was ever shown, as a person reads it: without what moves the cursor or colours the words."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.shown).replace("\r\n", "\n").replace("\r", "\n").split("\n")

    def interrupt(self) -> None:
        """Press Ctrl-C, and again if it fell into the moment before the line is read, where it is not noticed."""
        while self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5.0)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, once."""
        self._process.send_signal(number)

    def shut(self) -> int:
        """Close the window; the exit code."""
        os.close(self._master)
        self._process.send_signal(signal.SIGHUP)
        self._master = os.open(os.devnull, os.O_RDONLY)
        return self._process.wait(PATIENCE)

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
        self.shown += self._decoder.decode(data)
        return bool(data)


class Desktop:
    """Opens terminals and closes them."""

    def __init__(self) -> None:
        self._open: list[Terminal] = []

    def __call__(self, *arguments: str, columns: int = 120, **environment: str) -> Terminal:
        """The program on a terminal of so many columns, with these variables in its environment."""
        self._open.append(Terminal(arguments, columns, environment))
        return self._open[-1]

    def close(self) -> None:
        for terminal in self._open:
            terminal.close()


@pytest.fixture
def terminal() -> Iterator[Desktop]:
    desktop = Desktop()
    yield desktop
    desktop.close()
