"""Kills: a real run, killed with SIGKILL again and again at random instants, judged by what the server received.

The program and the simulator are processes of their own; the simulator's journal is the judge. Prints one line of
figures. The exit code is 1 if an invariant is violated: nobody lost, nobody sent a message twice, never more unknown at
one kill than there are workers.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bulksms.ledger import open_ledger
from bulksms.model.message import State
from bulksms.sandbox import Journal
from tests.invariants import Facts, violations

FAULTS = {
    "202": 3.0,
    "429": 3.0,
    "result_failed": 3.0,
    "500_processed": 2.0,
    "drop_after": 1.0,
    "stall_before": 0.3,
    "503": 0.1,
    "429_retry_after": 0.02,
}
"""The faults of the recipients that `--faults` selects, with their weights; the last two hold all workers."""
LINE = 250
"""About how many bytes of the journal are one request."""


@dataclass
class Figures:
    """The results."""

    kills: int = 0
    crashed: list[int] = field(default_factory=list)
    lost: int = 0
    duplicates: int = 0
    untrue: int = 0
    unknown: int = 0
    requests: int = 0
    violations: int = 0

    def hold(self, workers: int) -> bool:
        """Whether every invariant holds."""
        return not (self.lost or self.duplicates or self.untrue or self.violations) and self.most <= workers

    @property
    def most(self) -> int:
        """The most messages that one kill left unknown."""
        return max(self.crashed, default=0)


def write_input(folder: Path, messages: int, faults: float) -> None:
    """Write the people, and the faults that some of them meet."""
    with (folder / "people.csv").open("w") as file:
        file.write("directoryObject,text\n")
        for number in range(messages):
            file.write(f'"CN=Person {number},OU=Staff,DC=example,DC=com",Outage of system {number}.\n')
    shares = {name: faults * weight / sum(FAULTS.values()) for name, weight in FAULTS.items()}
    rules = [f'[[rules]]\nshare = {share:.9f}\nfaults = "{name}"\n' for name, share in shares.items()]
    (folder / "faults.toml").write_text("".join(rules))


@contextmanager
def server(folder: Path, seed: int) -> Iterator[str]:
    """The simulator; its URL."""
    options = ("--latency", "0.002-0.02", "--faults", "faults.toml", "--seed", str(seed), "--journal", "journal.jsonl")
    process = subprocess.Popen(
        [sys.executable, "-m", "bulksms.sandbox", "--port", "0", *options],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield (process.stdout.readline() if process.stdout else "").strip()
    finally:
        process.terminate()
        process.communicate()


class Victim:
    """The program, restarted after each kill."""

    def __init__(self, folder: Path, url: str, options: list[str]) -> None:
        self.folder = folder
        self.ledger = folder / "people.ledger.db"
        self._options = options
        own = {"BULKSMS_URL": url, "BULKSMS_TOKEN": "sandbox", "XDG_STATE_HOME": str(folder / "state")}
        self._environment = os.environ | own

    def start(self) -> subprocess.Popen[bytes]:
        """`resume`, or `send` if there is no ledger yet."""
        command = ["resume", self.ledger.name] if self.ledger.exists() else ["send", "people.csv", "--yes"]
        with (self.folder / "talk.txt").open("ab") as talk:
            return subprocess.Popen(
                [sys.executable, "-m", "bulksms", *command, "--max-recipients", "10000000", *self._options],
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=talk,
                stderr=talk,
            )

    def kill_at_random(self, chance: random.Random, between: int) -> bool:
        """Start it and kill it between two of its requests, or at any time; whether it was still alive."""
        process = self.start()
        if chance.random() < 0.85:
            enough = self._written() + chance.randrange(1, 2 * between * LINE)
            while self._written() < enough and process.poll() is None:
                time.sleep(0.002)
            time.sleep(chance.uniform(0.0, 0.02))
        else:
            time.sleep(chance.uniform(0.0, 1.2))
        was_alive = process.poll() is None
        process.kill()
        process.wait()
        return was_alive

    def _written(self) -> int:
        """Bytes of the server's journal: a clock that ticks with every request."""
        return (self.folder / "journal.jsonl").stat().st_size

    def left(self, messages: int) -> int:
        """How many messages a run still has to work on."""
        if not self.ledger.exists():
            return messages
        with open_ledger(self.ledger) as reader:
            return reader.counts().left

    def crashed(self) -> int:
        """How many messages were in flight at the kill."""
        if not self.ledger.exists():
            return 0
        with open_ledger(self.ledger) as reader:
            return reader.counts().crashed


def judge(folder: Path, ledger: Path, messages: int, figures: Figures) -> None:
    """Compare the ledger with the journal."""
    journal = Journal.read(folder / "journal.jsonl")
    facts = Facts(journal, ledger, total=messages)
    lines, comparison = facts.messages, facts.comparison
    unfinished = sum(line.state in (State.QUEUED, State.SENDING, State.PROCESSING) for line in lines)
    figures.lost = comparison.missing + unfinished + messages - len({line.recipient for line in lines})
    # The one repetition that the default mode allows, after a 500, is marked in the ledger.
    figures.duplicates = sum(journal.delivered(it.recipient) > 1 and not it.possible_duplicate for it in lines)
    figures.untrue = comparison.denied + comparison.strange
    figures.unknown = sum(line.state is State.UNKNOWN for line in lines)
    figures.requests = journal.total
    figures.violations = len(violations(facts))


def measure(folder: Path, arguments: argparse.Namespace) -> Figures:
    """Run, kill, resume, and finally compare."""
    figures = Figures()
    chance = random.Random(arguments.seed)
    write_input(folder, arguments.messages, arguments.faults)
    options = ["--workers", str(arguments.workers), "--no-adapt", "--timeout", "2", "--keep-going"]
    options += ["--rate", arguments.rate] if arguments.rate else []
    with server(folder, arguments.seed) as url:
        victim = Victim(folder, url, options)
        while figures.kills < arguments.kills and (still := victim.left(arguments.messages)):
            # Some are killed by the clock, wherever they are: the others have to be killed a little earlier.
            between = int(0.7 * still / (arguments.kills - figures.kills))
            if victim.kill_at_random(chance, max(1, between)):
                figures.kills += 1
                figures.crashed.append(victim.crashed())
        while victim.start().wait() == 5:
            time.sleep(0.1)
    judge(folder, victim.ledger, arguments.messages, figures)
    return figures


def main() -> int:
    """Print the line; 0 if every invariant holds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--messages", type=int, default=2_000)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--faults", type=float, default=0.0, help="fraction of the recipients that meet a fault")
    parser.add_argument("--rate", default="", help="as --rate of the program; default: no limit")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bulksms-kills-") as folder:
        figures = measure(Path(folder), arguments)
    print(
        f"{figures.kills} kills, {arguments.messages:,} messages, {figures.requests:,} requests: "
        f"{figures.lost} silent losses, {figures.duplicates} duplicates, {figures.untrue} untrue, "
        f"{figures.violations} violated invariants; {figures.unknown:,} unknown, "
        f"{figures.most} at most at one kill with {arguments.workers} workers; {time.monotonic() - began:.0f} s"
    )
    return 0 if figures.hold(arguments.workers) else 1


if __name__ == "__main__":
    sys.exit(main())
