"""The program and the stand-in server as processes of their own, so that either can be killed."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bulksms.ledger.reader import LedgerReader, Standing
from bulksms.sandbox import Comparison, Journal, compare

PATIENCE = 180.0
"""Seconds after which something that should have happened is given up."""


class Server:
    """`python -m bulksms.sandbox` with a journal file."""

    def __init__(self, process: subprocess.Popen[str], url: str, journal_file: Path) -> None:
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
        """What a ledger says against what was received."""
        with LedgerReader(ledger) as reader:
            reader.check_counters()
            lines = [(it.recipient, it.state, it.may_have_sent_twice, it.text) for it in reader.lines()]
        return compare(self.journal, lines)


class Stage:
    """One folder, one input, and the processes that work there; all are ended with the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger = folder / "people.ledger.db"
        self._processes: list[subprocess.Popen[str]] = []

    def write_people(self, count: int) -> None:
        """An input of so many people."""
        lines = [
            f'"CN=Person {number},OU=Staff,DC=example,DC=com",Outage of system {number}.' for number in range(count)
        ]
        (self.folder / "people.csv").write_text("\n".join(["directoryObject,text", *lines, ""]))

    def serve(self, *options: str) -> Server:
        """Start a stand-in server."""
        journal_file = self.folder / "journal.jsonl"
        arguments = ("-m", "bulksms.sandbox", "--port", "0", "--journal", str(journal_file), *options)
        process = self._start(arguments, {}, subprocess.DEVNULL)
        assert process.stdout is not None
        return Server(process, process.stdout.readline().strip(), journal_file)

    def start(self, server: Server, *arguments: str) -> subprocess.Popen[str]:
        """Start the program."""
        environment = {"BULKSMS_URL": server.url, "BULKSMS_TOKEN": "sandbox"}
        return self._start(("-m", "bulksms", *arguments), environment, subprocess.PIPE)

    def run(self, server: Server, *arguments: str) -> tuple[int, str, str]:
        """Run the program to its end: exit code, stdout, stderr."""
        process = self.start(server, *arguments)
        said, talked = process.communicate(timeout=PATIENCE)
        return process.returncode, said, talked

    def standing(self) -> Standing:
        """How the ledger stands."""
        with LedgerReader(self.ledger) as reader:
            return reader.standing()

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

    def _start(self, arguments: tuple[str, ...], more: dict[str, str], talk: int) -> subprocess.Popen[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("BULKSMS_")}
        process = subprocess.Popen(
            [sys.executable, *arguments],
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


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A folder of its own."""
    stage = Stage(tmp_path)
    yield stage
    stage.end()
