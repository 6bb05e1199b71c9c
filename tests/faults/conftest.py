"""A folder with a plan, and the program as a process of its own, plain or with a fault built in."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bulksms.ledger.reader import LedgerReader, Line
from bulksms.ledger.verification import verify
from bulksms.message import State
from bulksms.sandbox import Journal, compare

RUNNER = str(Path(__file__).with_name("runner.py"))
PATIENCE = 180.0
"""Seconds after which something that should have happened is given up."""


class Ended(NamedTuple):
    """How a process ended: its exit code (negative: the signal) and what it said."""

    code: int
    said: str
    talk: str


class Desk:
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

    async def end_of(self, process: asyncio.subprocess.Process) -> Ended:
        """Wait for the end."""
        async with asyncio.timeout(PATIENCE):
            said, talk = await process.communicate()
        return Ended(process.returncode or 0, said.decode(), talk.decode())

    async def run(self, url: str, *arguments: str, **fault: Any) -> Ended:
        """Run the program to its end."""
        return await self.end_of(await self.start(url, *arguments, **fault))

    async def send(self, url: str, *options: str, **fault: Any) -> Ended:
        """`bulksms send` to its end."""
        return await self.run(url, "send", "people.csv", "--yes", *options, **fault)

    async def resume(self, url: str, *options: str, **fault: Any) -> Ended:
        """`bulksms resume` to its end."""
        return await self.run(url, "resume", self.ledger.name, *options, **fault)

    async def script(self, name: str) -> Ended:
        """Run a script that stands in the folder; it may import the runner."""
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

    def lines(self) -> dict[str, Line]:
        """What the ledger says of everybody, after its equation and its laws were found to hold."""
        with LedgerReader(self.ledger) as reader:
            reader.check_counters()
            lines = list(reader.lines())
            assert reader.standing().total == len(lines)
        assert [law for law, broken in verify(self.ledger) if broken] == []
        return {line.recipient: line for line in lines}

    def agree(self, journal: Journal) -> dict[str, Line]:
        """The same, held against what a server received."""
        lines = self.lines()
        told = ((line.recipient, line.state, line.may_have_sent_twice, line.text) for line in lines.values())
        comparison = compare(journal, told)
        assert comparison.agrees, comparison
        return lines

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


def count(lines: dict[str, Line], state: State) -> int:
    """How many are in this state."""
    return sum(line.state is state for line in lines.values())


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """A folder of its own."""
    desk = Desk(tmp_path)
    yield desk
    await desk.clear()
