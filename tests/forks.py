"""Processes of the program that are forked from one that has everything imported: real ones, at a tenth of the cost.

The program behind it is `fork_server.py`, one for a session of tests. For platforms with `fork`.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Protocol

SERVER = Path(__file__).with_name("fork_server.py")


class Process(Protocol):
    """What a test does with a process, whether it was started or forked."""

    @property
    def returncode(self) -> int:
        """The exit code (negative: the signal) of a process that has ended."""

    @property
    def stdout(self) -> IO[str] | None:
        """Its standard output, if that is a pipe."""

    @property
    def stderr(self) -> IO[str] | None:
        """Its standard error, if that is a pipe."""

    def poll(self) -> int | None:
        """The exit code (negative: the signal), None while it lives."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; the exit code."""

    def communicate(self, *, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end; what it wrote to its two streams."""

    def send_signal(self, sig: int) -> None:
        """Send it a signal, if it lives."""

    def kill(self) -> None:
        """End it at once."""

    def terminate(self) -> None:
        """Ask it to end."""


class ForkedProcess:
    """A process that the fork server has; its streams are two files without a name."""

    stdout: IO[str] | None = None
    stderr: IO[str] | None = None

    def __init__(self, status: socket.socket, output: IO[bytes], talk: IO[bytes]) -> None:
        self._status = status
        self._output = output
        self._talk = talk
        self._lines = status.makefile("r")
        self.pid = int(self._lines.readline())
        self._code: int | None = None
        self._wrote = ("", "")

    @property
    def returncode(self) -> int:
        """The exit code (negative: the signal) of a process that has ended."""
        assert self._code is not None, "it lives"
        return self._code

    def poll(self) -> int | None:
        """The exit code (negative: the signal), None while it lives."""
        if self._code is None and select.select([self._status], [], [], 0)[0]:
            self._note_end()
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; the exit code. Raises TimeoutExpired."""
        if self._code is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
            self._note_end()
        return self.returncode

    def communicate(self, *, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end; what it wrote to its two streams. Raises TimeoutExpired."""
        self.wait(timeout)
        return self._wrote

    @property
    def output(self) -> str:
        """What it has written to standard output so far."""
        return _text(self._output) if self._code is None else self._wrote[0]

    def send_signal(self, sig: int) -> None:
        """Send it a signal, if it lives; the server does, who knows whether the number is still its own."""
        if self.poll() is None:
            try:
                self._status.send(bytes([sig]))
            except BrokenPipeError:
                self._note_end()

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def _note_end(self) -> None:
        self._code = int(self._lines.readline())
        self._wrote = (_text(self._output), _text(self._talk))
        for opened in (self._lines, self._status, self._output, self._talk):
            opened.close()


class ForkServer:
    """The client of one `fork_server.py`, which is ended with it."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, "-P", str(SERVER), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def start(self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> ForkedProcess:
        """Fork a process: a module and its arguments, in this folder and environment."""
        request = {"arguments": arguments, "folder": str(folder), "environment": dict(environment)}
        own, theirs = socket.socketpair()
        output, talk = (_file_without_name() for _ in range(2))
        with theirs, Path(os.devnull).open("rb") as nothing:
            descriptors = [it.fileno() for it in (theirs, nothing, output, talk)]
            socket.send_fds(self._control, [json.dumps(request).encode()], descriptors)
        return ForkedProcess(own, output, talk)

    def close(self) -> None:
        """End the server; a process that lives is killed with it."""
        self._control.close()
        self._server.wait()


def _file_without_name() -> IO[bytes]:
    return tempfile.TemporaryFile()


def _text(file: IO[bytes]) -> str:
    """All of a file, without moving the place where the process writes, which it shares."""
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode()
