"""What tests of several rooms start: the program on a pseudo-terminal."""

import codecs
import contextlib
import os
import re
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Sequence

if sys.platform != "win32":
    import fcntl
    import termios

PATIENCE = 180.0
"""Seconds after which something that should have happened is given up."""


class Terminal:
    """The program on a pseudo-terminal: what it shows, and a keyboard."""

    def __init__(self, arguments: Sequence[str], columns: int, environment: dict[str, str]) -> None:
        self._master, slave = os.openpty()
        if sys.platform != "win32":
            lines = 24 if columns <= 80 else 40
            fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
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
        assert ready, f"nothing more was printed after: {self.shown}"
        try:
            data = os.read(self._master, 65_536)
        except OSError:  # how Linux says that nobody writes any more
            return False
        self.shown += self._decoder.decode(data)
        return bool(data)


class TerminalFactory:
    """Opens terminals and closes them."""

    def __init__(self) -> None:
        self._open: list[Terminal] = []

    def __call__(self, *arguments: str, columns: int = 120, **environment: str) -> Terminal:
        """The program on a terminal: 24 lines of 80 columns, or 40 of more; these variables are in its environment."""
        self._open.append(Terminal(arguments, columns, environment))
        return self._open[-1]

    def close(self) -> None:
        for terminal in self._open:
            terminal.close()
