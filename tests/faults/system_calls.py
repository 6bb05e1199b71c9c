"""System calls that fail or kill, as SQLite's own tests have them: `strace --inject` at the N-th call of a command.

A case names a command, a system call, the calls that meet the fault, and the fault. The files are the ledger and those
beside it; what the server received is the judge. `python -m tests.faults.system_calls --cases 40 --seed 7` is the
long form.
"""

import argparse
import asyncio
import os
import random
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from bulksms.ledger import open_ledger
from bulksms.model.message import State
from bulksms.sandbox import FaultPlan, Sandbox

LEDGER = "l.db"
BESIDE = ("", "-wal", "-shm", "-journal", ".lock", ".control", ".live", ".live.new", ".progress")
PEOPLE = 12
TOKEN = "sandbox"
CALLS = (
    "pwrite64",
    "pread64",
    "write",
    "read",
    "fdatasync",
    "fsync",
    "openat",
    "ftruncate",
    "unlink",
    "rename",
    "link",
    "flock",
    "fcntl",
)
FAULTS = ("error=EIO", "error=ENOSPC", "error=EACCES", "error=EINTR", "signal=KILL")
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "plan": ("plan", "p.csv", "--ledger", LEDGER),
    "send": ("send", LEDGER, "--yes"),
    "resume": ("resume", LEDGER),
    "retry": ("retry", LEDGER, "--only", "failed", "--yes"),
    "resolve": ("resolve", LEDGER, "--accepted", "2"),
    "cancel": ("cancel", LEDGER),
    "purge": ("purge", LEDGER, "--yes"),
    "report": ("report", LEDGER, "--format", "csv"),
    "status": ("status", LEDGER),
    "verify": ("verify", LEDGER),
}
ANYWHERE = ("pwrite64", "fdatasync", "fsync", "ftruncate", "link", "rename")
"""What `plan` calls for its draft alone, whose name is made up: there the call is traced on every file."""
SENDING = ("send", "resume", "retry")
KILLED = (-9, 137)
PATIENCE = 120.0


class Case(NamedTuple):
    """One fault: at the `nth` call, or from it on."""

    command: str
    call: str
    nth: int
    onwards: bool
    fault: str

    def __str__(self) -> str:
        return f"{self.command}: {self.call} #{self.nth}{'+' if self.onwards else ''} {self.fault}"


class Ended(NamedTuple):
    """How a process ended, and everything that it printed."""

    code: int
    printed: str


@dataclass
class Suite:
    """A server, and the ledgers that the commands begin with, each in a folder of its own."""

    folder: Path
    server: Sandbox

    async def prepare(self, command: str) -> dict[str, int]:
        """Make the ledger that a command begins with, and count its calls on these files without a fault.

        A case works on a copy, as a user whose start registry is empty.
        """
        folder = self.folder / "ready" / command
        folder.mkdir(parents=True)
        mark = {"retry": "[400] ", "resolve": "[drop_after] "}.get(command, "")
        rows = (f'"CN={command} {mark}{n},DC=x",Text {n}.' for n in range(PEOPLE))
        (folder / "p.csv").write_text("\n".join(["directoryObject,text", *rows, ""]))
        if command != "plan":
            await self._require(folder, 0, *COMMANDS["plan"])
        if command == "resume":
            await self._kill_in_the_middle(folder)
        elif command in ("retry", "resolve", "purge", "report", "status", "verify"):
            await self._require(folder, None, *COMMANDS["send"], "--max-attempts", "1", "--keep-going")
        working = self._copy(command, "count")
        trace = working / "trace"
        await self._run(working, *self._strace(command, working, trace, ",".join(CALLS)), *COMMANDS[command])
        counts = Counter(re.findall(r"^\d+ +(\w+)\(", trace.read_text(), re.MULTILINE))
        shutil.rmtree(working)
        return {call: counts[call] for call in (ANYWHERE if command == "plan" else CALLS) if counts[call]}

    async def trouble_with(self, case: Case, number: int) -> list[str]:
        """Everything that is not as promised after this fault."""
        folder = self._copy(case.command, f"{case.command}{number}")
        before = self._delivered(case.command)
        when = f"{case.nth}+" if case.onwards else f"{case.nth}"
        inject = ("-e", f"inject={case.call}:{case.fault}:when={when}")
        trace = folder / "trace"
        prefix = [*self._strace(case.command, folder, trace, case.call)[:-1], *inject, "--"]
        ended = await self._run(folder, *prefix, *COMMANDS[case.command])
        trouble = [f"{case}: {words}" for words in self._judge_end(case, ended, before)]
        trouble += [f"{case}: {words}" async for words in self._judge_afterwards(case, folder, before)]
        if not trouble:
            shutil.rmtree(folder)
        return trouble

    def _judge_end(self, case: Case, ended: Ended, before: Counter[str]) -> Iterator[str]:
        if ended.code == 70 or "Traceback" in ended.printed or "internal error" in ended.printed:
            yield f"{ended.code}: {ended.printed[-600:]}"
        if ended.code < 0 and not (case.fault == "signal=KILL" and ended.code in KILLED):
            yield f"it died of signal {-ended.code}"
        if ended.code == 0 and case.command in ("send", "resume"):
            sent = self._delivered(case.command) - before
            if case.command == "send" and len(sent) != PEOPLE:
                yield f"exit code 0, {len(sent)} of {PEOPLE} sent: {ended.printed[-300:]}"

    async def _judge_afterwards(self, case: Case, folder: Path, before: Counter[str]) -> AsyncIterator[str]:
        """Without faults every command opens the ledger again, nobody is sent to twice, and nobody is lost."""
        if case.command == "plan" and not (folder / LEDGER).exists():
            ended = await self._run(folder, *COMMANDS["plan"])
            if ended.code != 0:
                yield f"plan again: {ended.code} {ended.printed[-300:]}"
                return
        allowed = {("status", 0), ("verify", 0), ("report", 0), ("resume", 0), ("resume", 1), ("resume", 4)}
        if case.command == "purge":
            allowed.add(("resume", 3))
        for command in ("status", "resume", "verify"):
            ended = await self._run(folder, *COMMANDS[command])
            if (command, ended.code) not in allowed:
                yield f"{command} afterwards: {ended.code} {ended.printed[-500:]}"
        received = self._delivered(case.command) - before
        if case.command != "purge":
            for words in self._compare(folder, received):
                yield words

    def _compare(self, folder: Path, received: Counter[str]) -> Iterator[str]:
        for recipient, times in received.items():
            if times > 1:
                yield f"{recipient} was sent to {times} times"
        with open_ledger(folder / LEDGER) as reader:
            for message in reader.messages():
                ever = self.server.journal.delivered(message.recipient)
                if message.state is State.ACCEPTED and ever == 0 and message.reason != "resolved_by_hand":
                    yield f"{message.recipient} is accepted, and nothing was received"
                if message.state in (State.QUEUED, State.SENDING):
                    yield f"{message.recipient} is left {message.state}"
                if message.state in (State.FAILED, State.CANCELLED) and received[message.recipient]:
                    yield f"{message.recipient} is {message.state}, and was received"

    def _delivered(self, command: str) -> Counter[str]:
        journal = self.server.journal
        people = (who for who in journal.recipients() if who.startswith(f"CN={command} "))
        return Counter({who: journal.delivered(who) for who in people})

    def _copy(self, command: str, name: str) -> Path:
        folder = self.folder / name
        shutil.copytree(self.folder / "ready" / command, folder)
        shutil.rmtree(folder / "state", ignore_errors=True)
        return folder

    def _strace(self, command: str, folder: Path, trace: Path, calls: str) -> list[str]:
        paths = [] if command == "plan" else [f"-P{folder / (LEDGER + suffix)}" for suffix in BESIDE]
        return ["strace", "-f", "-qq", "-o", str(trace), *paths, "-e", f"trace={calls}", "--"]

    async def _kill_in_the_middle(self, folder: Path) -> None:
        """A run that died with a part of its messages sent, and its log beside the ledger."""
        process = await self._start(folder, *COMMANDS["send"], "--rate", "8", "--workers", "2")
        while len(self._delivered("resume")) < PEOPLE // 3:  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(0.02)
        process.kill()
        await process.communicate()

    async def _require(self, folder: Path, code: int | None, *arguments: str) -> None:
        ended = await self._run(folder, *arguments)
        if code is not None and ended.code != code:
            raise RuntimeError(f"{arguments}: {ended}")

    async def _run(self, folder: Path, *arguments: str) -> Ended:
        process = await self._start(folder, *arguments)
        async with asyncio.timeout(PATIENCE):
            printed, _ = await process.communicate()
        return Ended(process.returncode or 0, printed.decode(errors="replace"))

    async def _start(self, folder: Path, *arguments: str) -> asyncio.subprocess.Process:
        prefix, options = _split(arguments)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("BULKSMS_")}
        mine = {"BULKSMS_URL": self.server.url, "BULKSMS_TOKEN": TOKEN, "XDG_STATE_HOME": str(folder / "state")}
        return await asyncio.create_subprocess_exec(
            *prefix,
            sys.executable,
            *("-B", "-m", "bulksms"),
            *options,
            cwd=folder,
            env=kept | mine,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )


def _split(arguments: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """What runs the program, and the program's own arguments."""
    if "--" not in arguments:
        return (), arguments
    end = arguments.index("--") + 1
    return arguments[:end], arguments[end:]


def cases_of(counts: Mapping[str, int], command: str, chance: random.Random, number: int) -> list[Case]:
    """A sample of the cases of a command, each of its calls in turn."""
    calls = sorted(counts)
    chance.shuffle(calls)
    cases = []
    for place in range(number):
        call, fault = calls[place % len(calls)], chance.choice(FAULTS)
        # EINTR from a call on would be asked again for ever, as the system wants it.
        onwards = fault != "error=EINTR" and chance.random() < 0.4
        cases.append(Case(command, call, chance.randint(1, counts[call]), onwards, fault))
    return cases


async def try_cases(
    folder: Path, seed: int, commands: Sequence[str], number: int, report: Callable[[str], None] = lambda _: None
) -> list[str]:
    """Everything that is not as promised in so many cases of each command."""
    chance, found = random.Random(seed), []  # noqa: S311 - a sample that can be drawn again
    async with Sandbox(token=TOKEN, faults=FaultPlan()) as server:
        suite = Suite(folder, server)
        for command in commands:
            counts = await suite.prepare(command)
            for place, case in enumerate(cases_of(counts, command, chance, number)):
                trouble = await suite.trouble_with(case, place)
                report(f"{case}: {'not as promised' if trouble else 'ok'}")
                found += trouble
    return found


def main() -> int:
    """The long form."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=40, help="of each command")
    parser.add_argument("--commands", default=",".join(COMMANDS))
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="system-calls-"))
    commands = options.commands.split(",")
    found = asyncio.run(try_cases(folder, options.seed, commands, options.cases, partial(print, flush=True)))
    print(*found, sep="\n")  # noqa: T201 - the result of the long form
    print(f"{options.cases * len(commands)} faults, {len(found)} not as promised; their folders are in {folder}")  # noqa: T201
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
