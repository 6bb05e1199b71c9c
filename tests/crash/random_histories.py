"""Random histories of one ledger: copies, restores, renames, lost logs, kills and commands, in any order.

`python -m tests.crash.random_histories 1000` is the long form, one seed after the other. The server's journal is the
judge: nobody is sent to twice unless a person asked for it by `retry --only unknown` or `--new`. Each command is a
process of its own, forked, and killed with SIGKILL at random moments.
"""

import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from bulksms.errors import LedgerError
from bulksms.ledger import Selection, open_ledger
from bulksms.ledger.sqlite.lock import log_path
from bulksms.model.message import State
from tests.crash.harness import PATIENCE, CrashHarness
from tests.forks import ForkServer, Process

PEOPLE = 40
STEPS = 8
LATENCY = 0.03
SLOW = ("--workers", "4", "--no-adapt")
"""What makes a run long enough for something to happen to it."""
NAMES = "*.ledger.db"


class RandomHistory:
    """One ledger and its copies in a folder, one or two machines, and a server."""

    def __init__(self, harness: CrashHarness, seed: int) -> None:
        self._harness = harness
        self._chance = random.Random(seed)  # noqa: S311 - no secret
        self._names = 0
        self._allowed: Counter[str] = Counter()
        self._received: Counter[str] = Counter()
        self._read = 0
        self._steps: list[str] = []
        self._machines = [harness.folder / "state-1"]
        self._registry: tuple[str, ...] = ()
        if self._chance.random() < 0.3:
            self._machines.append(harness.folder / "state-2")
            (harness.folder / "registry").mkdir()
            self._registry = ("--start-registry", str(harness.folder / "registry"))
        harness.write_people(PEOPLE)
        self._server = harness.serve("--latency", str(LATENCY))
        self._run("plan", "people.csv", "--quiet")

    def play(self) -> None:
        """Some steps; after each of them the journal is looked at. Raises AssertionError if somebody got it twice."""
        steps = (
            (self._send, 4),
            (self._send_input, 1),
            (self._kill, 4),
            (self._race, 1),
            (self._disturb, 2),
            (self._copy, 3),
            (self._restore, 2),
            (self._rename, 2),
            (self._lose_log, 2),
            (self._retry_unknown, 2),
            (self._send_new, 1),
            (self._cancel, 1),
        )
        for _ in range(STEPS):
            self._chance.choices([step for step, _ in steps], [weight for _, weight in steps])[0]()
            self._judge()
        self._server.process.terminate()
        self._server.process.wait(PATIENCE)
        self._judge()
        for ledger in self._ledgers():
            self._run("verify", ledger.name)
            accepted = set(self._recipients(ledger, State.ACCEPTED))
            assert accepted <= self.received().keys(), self._with_steps(
                f"{ledger.name} has accepted what was not received"
            )

    def received(self) -> Counter[str]:
        """How many requests the server had for each recipient."""
        journal = self._server.journal_file
        if journal.exists():
            with journal.open("rb") as lines:
                lines.seek(self._read)
                whole, _, _ = lines.read().rpartition(b"\n")
            self._read += len(whole) + bool(whole)
            entries = map(json.loads, whole.splitlines())
            self._received.update(entry["recipient"] for entry in entries if entry["kind"] == "send")
        return self._received

    def _judge(self) -> None:
        twice = {who: times for who, times in self.received().items() if times > 1 + self._allowed[who]}
        assert not twice, self._with_steps(f"sent to more often than asked for: {twice}")

    def _with_steps(self, words: str) -> str:
        return "\n".join((*self._steps, words))

    # What people type.

    def _run(self, *arguments: str) -> int:
        return self._end(self._start(*arguments), *arguments)

    def _start(self, *arguments: str) -> Process:
        registry = self._registry if arguments[0] in ("send", "resume", "retry") else ()
        return self._harness.start(self._server, *arguments, *registry, state=self._chance.choice(self._machines))

    def _end(self, process: Process, *arguments: str) -> int:
        _, talk = process.communicate(timeout=PATIENCE)
        self._steps.append(f"{' '.join(arguments)}: {process.returncode} {talk[-300:]}")
        assert process.returncode != 70, self._with_steps(talk)
        assert "Traceback" not in talk, self._with_steps(talk)
        return process.returncode

    def _command(self, ledger: Path) -> tuple[str, ...]:
        return self._chance.choice((("send", ledger.name, "--yes"), ("resume", ledger.name)))

    def _send(self) -> None:
        if ledger := self._any():
            self._run(*self._command(ledger), "--quiet")

    def _send_input(self) -> None:
        self._run("send", "people.csv", "--yes", "--quiet")

    def _kill(self) -> None:
        """Kill a run after so many requests, or after so many seconds, which may be while it starts or ends."""
        if not (ledger := self._any()):
            return
        before = self.received().total()
        arguments = (*self._command(ledger), "--quiet", *SLOW)
        process = self._start(*arguments)
        if self._chance.random() < 0.5:
            self._await_requests(process, self._chance.randrange(PEOPLE))
        else:
            time.sleep(self._chance.random() * 0.6)
        process.kill()
        process.communicate(timeout=PATIENCE)
        self._steps.append(f"{' '.join(arguments)}, killed after {self.received().total() - before} requests")

    def _race(self) -> None:
        """Two runs at the same moment, on one copy or two."""
        if not (ledgers := self._ledgers()):
            return
        started = []
        for ledger in self._chance.choices(ledgers, k=2):
            arguments = (*self._command(ledger), "--quiet", *SLOW)
            started.append((self._start(*arguments), arguments))
        for process, arguments in started:
            self._end(process, *arguments)

    def _disturb(self) -> None:
        """Something happens to the files while a run lives; then it ends, or is killed."""
        if not (ledger := self._any()):
            return
        arguments = (*self._command(ledger), "--quiet", *SLOW)
        process = self._start(*arguments)
        self._await_requests(process, self._chance.randrange(PEOPLE // 2))
        self._steps.append(f"while {' '.join(arguments)} runs:")
        self._chance.choice((self._copy, self._restore, self._rename, self._lose_log))()
        if self._chance.random() < 0.5:
            time.sleep(self._chance.random() * 0.3)
            process.kill()
        self._end(process, *arguments)

    def _retry_unknown(self) -> None:
        """A person's word: the unknown messages of this copy may be sent once more."""
        if ledger := self._any():
            self._ask_for_more(ledger, State.UNKNOWN, "retry", ledger.name, "--only", "unknown", "--yes", "--quiet")

    def _send_new(self) -> None:
        """A person's word: what this copy has not sent may be sent from it, whatever others have sent."""
        if ledger := self._any():
            self._ask_for_more(ledger, State.QUEUED, "send", ledger.name, "--new", "--yes", "--quiet")

    def _ask_for_more(self, ledger: Path, state: State, *arguments: str) -> None:
        """Run a command that lets those in this state have one more, unless it is refused and changes nothing."""
        asked, before = self._recipients(ledger, state), self.received().total()
        self._allowed.update(asked)
        refused = self._run(*arguments) in (2, 3, 6)
        if refused and self.received().total() == before and self._recipients(ledger, state) == asked:
            self._allowed.subtract(asked)

    def _cancel(self) -> None:
        if ledger := self._any():
            self._run("cancel", ledger.name, "--yes")

    # What people do with files.

    def _copy(self) -> None:
        if ledger := self._any():
            self._put(ledger, self._new_name())

    def _restore(self) -> None:
        if len(self._ledgers()) > 1:
            self._put(*self._chance.sample(self._ledgers(), 2))

    def _put(self, source: Path, target: Path) -> None:
        with_log = self._chance.random() < 0.5
        self._steps.append(f"copy {source.name} {target.name}{' and its log' if with_log else ''}")
        for suffix in ("-wal", "-shm"):
            Path(f"{target}{suffix}").unlink(missing_ok=True)
        shutil.copyfile(source, target)
        if with_log and log_path(source).exists():
            shutil.copyfile(log_path(source), log_path(target))

    def _rename(self) -> None:
        if ledger := self._any():
            name = self._new_name()
            with_log = self._chance.random() < 0.5 and log_path(ledger).exists()
            self._steps.append(f"rename {ledger.name} {name.name}{' and its log' if with_log else ''}")
            ledger.rename(name)
            if with_log:
                log_path(ledger).rename(log_path(name))

    def _lose_log(self) -> None:
        if ledger := self._any():
            self._steps.append(f"lose the log of {ledger.name}")
            log_path(ledger).unlink(missing_ok=True)

    def _any(self) -> Path | None:
        ledgers = self._ledgers()
        return self._chance.choice(ledgers) if ledgers else None

    def _ledgers(self) -> list[Path]:
        return sorted(self._harness.folder.glob(NAMES))

    def _new_name(self) -> Path:
        self._names += 1
        return self._harness.folder / f"copy-{self._names}.ledger.db"

    def _await_requests(self, process: Process, number: int) -> None:
        enough = self.received().total() + number
        self._harness.wait_until(lambda: process.poll() is not None or self.received().total() >= enough)

    def _recipients(self, ledger: Path, state: State) -> list[str]:
        try:
            with open_ledger(ledger) as reader:
                return [message.recipient for message in reader.messages(Selection.of(state))]
        except LedgerError:
            return []


def main(first: int, last: int) -> int:
    """The long form; the number of broken histories."""
    broken, forks = 0, ForkServer()
    for seed in range(first, last):
        with tempfile.TemporaryDirectory() as folder:
            harness = CrashHarness(Path(folder), forks)
            try:
                RandomHistory(harness, seed).play()
            except AssertionError as error:
                broken += 1
                sys.stdout.write(f"seed {seed}: {error}\n\n")
            finally:
                harness.end()
        if (seed + 1 - first) % 10 == 0:
            sys.stdout.write(f"{seed + 1 - first} histories, {broken} broken\n")
            sys.stdout.flush()
    forks.close()
    return broken


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:]]
    sys.exit(min(main(*numbers) if len(numbers) == 2 else main(0, *numbers), 1))
