"""A folder with a plan, and the program as a process of its own, plain or with a fault built in."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from bulksms.ledger import MessageRecord, open_ledger
from bulksms.ledger.sqlite.invariants import verify
from bulksms.model.message import State
from bulksms.sandbox import Journal
from tests.invariants import hold

RUNNER = str(Path(__file__).with_name("runner.py"))
PATIENCE = 180.0
"""Seconds after which something that should have happened is given up."""


class ProcessResult(NamedTuple):
    """How a process ended: its exit code (negative: the signal) and its output."""

    code: int
    output: str
    talk: str


class FaultHarness:
    """One folder and the processes that work there; all are ended with the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger = folder / "people.ledger.db"
        self.credentials = {"BULKSMS_TOKEN": "sandbox"}
        self._processes: list[asyncio.subprocess.Process] = []

    def write_people(self, count: int) -> None:
        """An input of so many people."""
        lines = [f'"{person(number)}",Outage of system {number}.' for number in range(count)]
        (self.folder / "people.csv").write_text("\n".join(["directoryObject,text", *lines, ""]))

    async def start(self, url: str, *arguments: str, **fault: Any) -> asyncio.subprocess.Process:
        """Start the program, with a fault of the runner if one is named."""
        program = (RUNNER, json.dumps(fault)) if fault else ("-m", "bulksms")
        kept = {name: value for name, value in os.environ.items() if not name.startswith("BULKSMS_")}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *program,
            *arguments,
            cwd=self.folder,
            env=kept | {"BULKSMS_URL": url} | self.credentials,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        self._processes.append(process)
        return process

    async def end_of(self, process: asyncio.subprocess.Process) -> ProcessResult:
        """Wait for the end."""
        async with asyncio.timeout(PATIENCE):
            result, talk = await process.communicate()
        return ProcessResult(process.returncode or 0, result.decode(), talk.decode())

    async def run(self, url: str, *arguments: str, **fault: Any) -> ProcessResult:
        """Run the program to its end."""
        return await self.end_of(await self.start(url, *arguments, **fault))

    async def send(self, url: str, *options: str, **fault: Any) -> ProcessResult:
        """`bulksms send` to its end."""
        return await self.run(url, "send", "people.csv", "--yes", *options, **fault)

    async def resume(self, url: str, *options: str, **fault: Any) -> ProcessResult:
        """`bulksms resume` to its end."""
        return await self.run(url, "resume", self.ledger.name, *options, **fault)

    async def script(self, name: str) -> ProcessResult:
        """Run a script of the folder; it may import the runner."""
        environment = os.environ | {"PYTHONPATH": str(Path(RUNNER).parent)}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            name,
            cwd=self.folder,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        self._processes.append(process)
        return await self.end_of(process)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until it is so."""
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 - no event tells of what a server has received
                await asyncio.sleep(0.002)

    def lines(self) -> dict[str, MessageRecord]:
        """What the ledger says of everybody, after its equation and its invariants were checked."""
        with open_ledger(self.ledger) as reader:
            reader.check_counters()
            lines = list(reader.messages())
            assert reader.counts().total == len(lines)
        assert [invariant for invariant, violation in verify(self.ledger) if violation] == []
        return {line.recipient: line for line in lines}

    def agree(self, journal: Journal) -> dict[str, MessageRecord]:
        """The same, held against what a server received."""
        hold(journal, self.ledger)
        return self.lines()

    async def clear(self) -> None:
        """End what is still running."""
        for process in self._processes:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.communicate()


def person(number: int) -> str:
    """A recipient's name."""
    return f"CN=Person {number},OU=Staff,DC=example,DC=com"


def count(lines: dict[str, MessageRecord], state: State) -> int:
    """How many are in this state."""
    return sum(line.state is state for line in lines.values())
