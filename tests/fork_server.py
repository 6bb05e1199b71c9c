"""Fork server: a program that has everything imported, and forks a process for each command that it is asked for.

`python fork_server.py DESCRIPTOR` reads requests from a socket; `tests.forks` is its client. It has one thread, so that
a fork copies all of it. A forked process leads a session of its own, has the streams, folder, environment and arguments
of the request, and ends as an interpreter ends. It differs from a started one in nothing but the imports.
"""

import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import sys
import threading
import warnings
from contextlib import suppress
from typing import Any

ASKED_FOR_LATER = ("anyio._backends._asyncio", "encodings.idna", "uvloop")
"""What others import when a run begins."""
LARGEST = 1_000_000
"""Bytes of a request."""


def import_everything() -> None:
    """Import the whole package, and what a run asks for while it runs."""
    import bulksms  # noqa: PLC0415 - the package that is tested is imported here and nowhere before

    own = (module.name for module in pkgutil.walk_packages(bulksms.__path__, "bulksms."))
    for name in (*own, *ASKED_FOR_LATER):
        if not name.endswith("__main__"):
            with suppress(ImportError):  # it belongs to an extra that is not installed
                importlib.import_module(name)


class ForkServer:
    """The processes that live, each with the socket that its end is reported on."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._living: dict[int, socket.socket] = {}
        self._ended, self._wakes = os.pipe()
        for descriptor in (self._ended, self._wakes):
            os.set_blocking(descriptor, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wakes)

    def serve(self) -> dict[str, Any] | None:
        """Fork for each request: None at the end of the server, the request in a forked process."""
        while True:
            watched: list[Any] = [self._control, self._ended, *self._living.values()]
            readable, _, _ = select.select(watched, [], [])
            if self._ended in readable:
                with suppress(BlockingIOError):
                    os.read(self._ended, 4096)
                self._reap()
            for process, status in list(self._living.items()):
                if status in readable:
                    os.kill(process, _wanted_signal(status))
            if self._control in readable:
                message, descriptors, _, _ = socket.recv_fds(self._control, LARGEST, 4)
                if not message:
                    for process in self._living:
                        os.kill(process, signal.SIGKILL)
                    return None
                if self._fork(descriptors):
                    return dict(json.loads(message))

    def _fork(self, descriptors: list[int]) -> bool:
        """Whether this is the forked process; it has its streams then, and nothing of the server."""
        status, *streams = descriptors
        process = os.fork()
        if process == 0:
            os.setsid()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
            for descriptor in (*descriptors, self._ended, self._wakes, self._control.detach()):
                os.close(descriptor)
            for other in self._living.values():
                other.close()
            return True
        for stream in streams:
            os.close(stream)
        self._living[process] = socket.socket(fileno=status)
        self._living[process].sendall(f"{process}\n".encode())
        return False

    def _reap(self) -> None:
        while self._living:
            process, status = os.waitpid(-1, os.WNOHANG)
            if process == 0:
                return
            with self._living.pop(process) as waiting, suppress(BrokenPipeError):
                waiting.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _wanted_signal(status: socket.socket) -> int:
    """One byte is a signal; the end of the stream is a client that is gone."""
    try:
        return (status.recv(1) or bytes([signal.SIGKILL]))[0]
    except ConnectionResetError:
        return signal.SIGKILL


def main() -> None:
    """Serve until the client is gone; as a forked process, be the program that was asked for."""
    warnings.simplefilter("error", DeprecationWarning)  # how Python says that a process with threads forks
    server = ForkServer(socket.socket(fileno=int(sys.argv[1])))
    import_everything()
    if threading.active_count() != 1:
        raise SystemExit("an import has started a thread")
    gc.collect()
    gc.freeze()
    request = server.serve()
    if request is None:
        return
    del server
    warnings.resetwarnings()
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    module, *sys.argv[1:] = request["arguments"]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
