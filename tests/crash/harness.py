"""The program and the simulator as processes of their own, so that either can be killed."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bulksms.ledger import Counts, open_ledger
from bulksms.sandbox import Comparison, Journal
from tests.forks import ForkedProcess, ForkServer, Process
from tests.invariants import hold

PATIENCE = 180.0
"""Seconds after which something that should have happened is given up."""


class Server:
    """`python -m bulksms.sandbox` with a journal file."""

    def __init__(self, process: Process, url: str, journal_file: Path) -> None:
        self.process = process
        self.url = url
        self.journal_file = journal_file

    @property
    def journal(self) -> Journal:
        """What it has received so far."""
        return Journal.read(self.journal_file)

    @property
    def written(self) -> int:
        """Bytes of its journal so far: a cheap clock that ticks with every request."""
        return self.journal_file.stat().st_size

    def holds(self, ledger: Path) -> Comparison:
        """What a ledger says against what was received; every invariant has to hold."""
        return hold(self.journal, ledger).comparison


class CrashHarness:
    """One folder, one input, and the processes that work there; all are ended with the test.

    The `forks`, if any, make the processes.
    """

    def __init__(self, folder: Path, forks: ForkServer | None = None) -> None:
        self.folder = folder
        self.ledger = folder / "people.ledger.db"
        self._forks = forks
        self._processes: list[Process] = []

    def write_people(self, count: int) -> None:
        """An input of so many people."""
        lines = [
            f'"CN=Person {number},OU=Staff,DC=example,DC=com",Outage of system {number}.' for number in range(count)
        ]
        (self.folder / "people.csv").write_text("\n".join(["directoryObject,text", *lines, ""]))

    def serve(self, *options: str) -> Server:
        """Start a simulator."""
        journal_file = self.folder / "journal.jsonl"
        arguments = ("bulksms.sandbox", "--port", "0", "--journal", str(journal_file), *options)
        process = self._start(arguments, {}, subprocess.DEVNULL)
        return Server(process, self._first_line(process), journal_file)

    def start(self, server: Server, *arguments: str, state: Path | None = None) -> Process:
        """Start the program; with a `state` folder of its own it is another machine's."""
        environment = {"BULKSMS_URL": server.url, "BULKSMS_TOKEN": "sandbox"}
        if state is not None:
            environment["XDG_STATE_HOME"] = str(state)
        return self._start(("bulksms", *arguments), environment, subprocess.PIPE)

    def run(self, server: Server, *arguments: str, state: Path | None = None) -> tuple[int, str, str]:
        """Run the program to its end: exit code, stdout, stderr."""
        process = self.start(server, *arguments, state=state)
        result, talked = process.communicate(timeout=PATIENCE)
        return process.returncode, result, talked

    def counts(self) -> Counts:
        """The counts of the ledger."""
        with open_ledger(self.ledger) as reader:
            return reader.counts()

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until it is so."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, "it never came to that"
            time.sleep(0.001)

    def end(self) -> None:
        """End what is still running."""
        for process in self._processes:
            process.kill()
            with contextlib.suppress(ValueError):  # its output was read to the end already
                process.communicate()

    def _start(self, arguments: tuple[str, ...], more: dict[str, str], talk: int) -> Process:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("BULKSMS_")}
        process: Process
        if self._forks is not None:
            process = self._forks.start(arguments, self.folder, kept | more)
        else:
            process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                cwd=self.folder,
                env=kept | more,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=talk,
                text=True,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def _first_line(self, process: Process) -> str:
        if isinstance(process, ForkedProcess):
            self.wait_until(lambda: "\n" in process.output)
            return process.output.splitlines()[0]
        assert process.stdout is not None
        return process.stdout.readline().strip()
