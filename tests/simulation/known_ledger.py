"""A ledger in a night: how it was planned, what is known of it outside of it, and the judgement."""

import contextlib
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import bulksms
from bulksms.model.run_settings import RunSettings
from tests.invariants import Facts, violations
from tests.simulation.server import Witness

SPACE = Path("/dev/shm") if Path("/dev/shm").is_dir() else Path(tempfile.gettempdir())  # noqa: S108 - made by mkdtemp
Cells = Counter[tuple[str, ...]]
_plans: dict[tuple[str, int, bool], Path] = {}
_workspace: list[Path] = []
_MET = """
SELECT COALESCE((SELECT evidence FROM attempt WHERE message = number ORDER BY attempt DESC LIMIT 1), 'none'), state,
    COUNT(*)
FROM message GROUP BY 1, 2
"""
_CAME = """
SELECT evidence, CASE
    WHEN attempt < (SELECT MAX(attempt) FROM attempt later WHERE later.message = number) THEN 'again' ELSE state
END, COUNT(*)
FROM attempt JOIN message ON number = message GROUP BY 1, 2
"""


def workspace() -> Path:
    """A folder of this process, removed by `clean`."""
    if not _workspace:
        _workspace.append(Path(tempfile.mkdtemp(prefix="bulksms-nights-", dir=SPACE)))
    return _workspace[0]


def clean() -> None:
    """Remove what the nights of this process left."""
    for folder in _workspace:
        shutil.rmtree(folder, ignore_errors=True)
    _workspace.clear()
    _plans.clear()


def recipients(who: str, size: int) -> list[str]:
    """Those to whom a plan of this size is sent."""
    return [f"CN={who}{number:02},DC=example,DC=com" for number in range(size)]


def plan_of(who: str, size: int, *, leaves_out: bool) -> Path:
    """A plan for so many, made once a process; one that `leaves_out` has three rows more that are not sent."""
    if (path := _plans.get((who, size, leaves_out))) is None:
        path = workspace() / f"plan-{who}-{size}-{leaves_out}.ledger.db"
        people = [{"recipient": name, "text": f"Outage {n}"} for n, name in enumerate(recipients(who, size))]
        options = bulksms.PlanOptions(first_examples=0)
        if leaves_out:
            never = workspace() / "never.txt"
            never.write_text("CN=Never,DC=example,DC=com\n", encoding="utf-8")
            options = bulksms.PlanOptions(skip_invalid=True, suppress=(never,), first_examples=0)
            people += [
                people[0],
                {"recipient": "CN=Never,DC=example,DC=com", "text": "No"},
                {"recipient": "", "text": ""},
            ]
        bulksms.plan(bulksms.InMemoryRows(people, bulksms.InputOptions()), path, options)
        _plans[who, size, leaves_out] = path
    return path


@dataclass
class KnownLedger:
    """One ledger, and what is known of it beside it."""

    path: Path
    total: int
    settings: RunSettings
    in_flight_at_deaths: int = 0
    by_a_person: set[str] = field(default_factory=set)
    """Recipients of unknown messages that a person sent to again, or settled."""
    others: frozenset[str] = frozenset()
    """Who gets something that is in another ledger, or in none."""

    @property
    def log(self) -> Path:
        """The write-ahead log."""
        return self.path.with_name(f"{self.path.name}-wal")

    def files(self) -> dict[Path, bytes]:
        """Everything that there is of it."""
        return {path: path.read_bytes() for path in (self.path, self.log) if path.exists()}

    def put(self, files: dict[Path, bytes]) -> None:
        """Put these files in the place of what there is."""
        for path in (self.path, self.log, self.path.with_name(f"{self.path.name}-shm")):
            path.unlink(missing_ok=True)
        for path, content in files.items():
            path.write_bytes(content)

    @contextlib.contextmanager
    def rows(self) -> Iterator[sqlite3.Connection]:
        """A connection of its own."""
        location = f"{self.path.as_uri()}?mode=rw"  # it may be gone, and is not to be made
        with contextlib.closing(sqlite3.connect(location, uri=True)) as connection:
            yield connection

    def sending(self) -> int:
        """Intents on disk without an outcome."""
        with self.rows() as connection:
            (sending,) = connection.execute("SELECT COUNT(*) FROM message WHERE state = 'sending'").fetchone()
        return int(sending)

    def attempts(self) -> int:
        """Attempts that it knows of."""
        with self.rows() as connection:
            (attempts,) = connection.execute("SELECT SUM(attempts) FROM message").fetchone()
        return int(attempts)

    def cover(self, cells: Cells, action: str) -> None:
        """Count in which states messages are, and after which evidence, as this happens."""
        if not self.path.exists():
            return
        with self.rows() as connection:
            for evidence, state, count in connection.execute(_MET):
                cells["action", evidence, state, action] += count

    def cover_the_end(self, cells: Cells) -> None:
        """Count what came of each attempt, and why each message is in its state."""
        with self.rows() as connection:
            for evidence, came, count in connection.execute(_CAME):
                cells["mode", evidence, self.settings.delivery.value, came] += count
            for state, reason, count in connection.execute("SELECT state, reason, COUNT(*) FROM message GROUP BY 1, 2"):
                cells["reason", state, reason or ""] += count

    def judge(self, witness: Witness, exit_code: int | None = None, *, verify: bool = False) -> list[str]:
        """What does not hold; with `verify` by the ledger's own invariants as well, which takes longest."""
        return violations(
            Facts(
                witness.journal,
                self.path,
                total=self.total,
                delivery=self.settings.delivery,
                in_flight_at_deaths=self.in_flight_at_deaths,
                sent_again_by_a_person=frozenset(self.by_a_person),
                posted_while_processing=tuple(it for it in witness.posted_while_processing if it not in self.others),
                exit_code=exit_code,
                others=self.others,
                verify=verify,
            )
        )
