"""Random histories of one ledger: copies, restores, renames, lost logs, kills and commands, in any order.

`python -m tests.crash.random_histories 1000` is the long form, one seed after the other. The server's journal is the
judge: nobody is sent to twice unless a person asked for it by `retry --only unknown`.
"""

import json
import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

from bulksms.errors import LedgerError
from bulksms.ledger import Selection, open_ledger
from bulksms.model.message import State
from tests.crash.harness import CrashHarness

PEOPLE = 40
STEPS = 7


class RandomHistory:
    """One ledger and its copies in a folder, and a server."""

    def __init__(self, harness: CrashHarness, seed: int) -> None:
        self._harness = harness
        self._chance = random.Random(seed)  # noqa: S311 - no secret
        self._names = 0
        self._allowed: Counter[str] = Counter()
        self._steps: list[str] = []
        harness.write_people(PEOPLE)
        self._server = harness.serve("--latency", "0.05")
        self._run("plan", "people.csv", "--quiet")
        self._copies = [harness.ledger]

    def play(self) -> None:
        """Some steps; after each of them the journal is looked at. Raises AssertionError if somebody got it twice."""
        steps = (
            self._send,
            self._send,
            self._kill,
            self._kill,
            self._copy,
            self._restore,
            self._rename,
            self._lose_log,
        )
        for _ in range(STEPS):
            self._chance.choice((*steps, self._retry_unknown, self._cancel))()
            received = self.received()
            twice = {who: times for who, times in received.items() if times > 1 + self._allowed[who]}
            assert not twice, "\n".join(self._steps)

    def received(self) -> Counter[str]:
        """How many requests the server had for each recipient."""
        journal = self._server.journal_file
        lines = journal.read_text().splitlines() if journal.exists() else []
        return Counter(json.loads(line)["recipient"] for line in lines)

    def _run(self, *arguments: str) -> None:
        code, _, talk = self._harness.run(self._server, *arguments)
        self._steps.append(f"{' '.join(arguments)}: {code} {talk[-200:]}")
        assert code != 70, talk

    def _any(self) -> Path:
        return self._chance.choice(self._copies)

    def _send(self) -> None:
        self._run(*self._chance.choice((("send", "--yes"), ("resume",))), self._any().name, "--quiet")

    def _kill(self) -> None:
        ledger, before = self._any(), sum(self.received().values())
        process = self._harness.start(
            self._server, "send", ledger.name, "--yes", "--quiet", "--workers", "4", "--no-adapt"
        )
        until = before + self._chance.randrange(PEOPLE)
        self._harness.wait_until(lambda: process.poll() is not None or sum(self.received().values()) >= until)
        process.kill()
        process.communicate()
        self._steps.append(f"send {ledger.name}, killed after {sum(self.received().values()) - before}")

    def _copy(self) -> None:
        self._put(self._any(), self._new_name())

    def _restore(self) -> None:
        source, target = self._any(), self._any()
        if source != target:
            self._put(source, target)

    def _put(self, source: Path, target: Path) -> None:
        with_log = self._chance.random() < 0.5
        self._steps.append(f"copy {source.name} {target.name}{' and its log' if with_log else ''}")
        for suffix in ("-wal", "-shm"):
            Path(f"{target}{suffix}").unlink(missing_ok=True)
        shutil.copyfile(source, target)
        if with_log and Path(f"{source}-wal").exists():
            shutil.copyfile(f"{source}-wal", f"{target}-wal")
        if target not in self._copies:
            self._copies.append(target)

    def _rename(self) -> None:
        ledger, name = self._any(), self._new_name()
        self._steps.append(f"rename {ledger.name} {name.name}")
        ledger.rename(name)
        if self._chance.random() < 0.5 and Path(f"{ledger}-wal").exists():
            Path(f"{ledger}-wal").rename(f"{name}-wal")
        self._copies[self._copies.index(ledger)] = name

    def _lose_log(self) -> None:
        ledger = self._any()
        self._steps.append(f"lose the log of {ledger.name}")
        Path(f"{ledger}-wal").unlink(missing_ok=True)

    def _retry_unknown(self) -> None:
        """A person's word: the unknown messages of this copy may be sent once more."""
        ledger = self._any()
        try:
            with open_ledger(ledger) as reader:
                unknown = [line.recipient for line in reader.messages(Selection.of(State.UNKNOWN))]
        except LedgerError:
            unknown = []
        self._allowed.update(unknown)
        self._run("retry", ledger.name, "--only", "unknown", "--yes", "--quiet")

    def _cancel(self) -> None:
        if self._chance.random() < 0.3:
            self._run("cancel", self._any().name, "--yes")

    def _new_name(self) -> Path:
        self._names += 1
        return self._harness.folder / f"copy-{self._names}.ledger.db"


def main(first: int, last: int) -> None:
    """The long form."""
    for seed in range(first, last):
        with tempfile.TemporaryDirectory() as folder:
            harness = CrashHarness(Path(folder))
            try:
                RandomHistory(harness, seed).play()
            except AssertionError as error:
                sys.stderr.write(f"seed {seed}: {error}\n")
                raise SystemExit(1) from error
            finally:
                harness.end()


if __name__ == "__main__":
    main(0, int(sys.argv[1])) if len(sys.argv) == 2 else main(int(sys.argv[1]), int(sys.argv[2]))
