"""One ledger, one history: whatever people do to the file, the server receives nothing twice unless they ask for it.

Real files, real processes; the server's journal is the judge.
"""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from bulksms.ledger import open_ledger
from bulksms.ledger.sqlite.lock import lock_path
from bulksms.model.message import State
from tests.crash.harness import CrashHarness, Server
from tests.forks import Process
from tests.platforms import with_posix_signals

PEOPLE = 60
SLOW = ("--workers", "4", "--no-adapt")

pytestmark = with_posix_signals


def received(server: Server) -> Counter[str]:
    """How many requests came for each recipient."""
    lines = server.journal_file.read_text().splitlines() if server.journal_file.exists() else []
    return Counter(json.loads(line)["recipient"] for line in lines)


def require_once(server: Server) -> None:
    """Nobody was sent to twice."""
    assert max(received(server).values(), default=0) <= 1


def planned(harness: CrashHarness, people: int = PEOPLE) -> Server:
    """A ledger of so many people, and a server that takes its time."""
    harness.write_people(people)
    server = harness.serve("--latency", "0.1")
    assert harness.run(server, "plan", "people.csv", "--quiet")[0] == 0
    return server


def under_way(harness: CrashHarness, server: Server, *, state: Path | None = None) -> Process:
    """A run that has sent to some."""
    process = harness.start(server, "send", "people.ledger.db", "--yes", *SLOW, state=state)
    harness.wait_until(lambda: len(received(server)) >= 8)
    return process


def killed(harness: CrashHarness, server: Server) -> int:
    """A run was killed in the middle; how many requests the server had received."""
    process = under_way(harness, server)
    process.kill()
    process.wait()
    harness.wait_until(lambda: not lock_path(harness.ledger).exists() or len(received(server)) >= 8)
    return sum(received(server).values())


def require_undisturbed(harness: CrashHarness, server: Server, process: Process) -> None:
    """The run goes on to the end that it is given, and all that it sent is known."""
    process.terminate()
    process.communicate(timeout=180)
    assert process.returncode == 143
    counts = harness.counts().counts
    assert counts[State.ACCEPTED] == len(received(server))
    assert counts[State.UNKNOWN] == 0
    require_once(server)


def shared_registry(harness: CrashHarness, *, shared: bool) -> tuple[tuple[str, ...], Path | None, Path | None]:
    """The options and the state folders of two machines that share a registry, or of one machine."""
    if not shared:
        return (), None, None
    folder = harness.folder / "registry"
    folder.mkdir()
    return ("--start-registry", str(folder)), harness.folder / "state-1", harness.folder / "state-2"


@pytest.mark.parametrize("shared", [False, True], ids=["one machine", "two machines with a start registry"])
@pytest.mark.parametrize("how", ["copied before it was sent", "restored under its name"])
def test_an_older_copy_is_refused_with_what_it_misses(how: str, shared: bool, harness: CrashHarness) -> None:
    server = planned(harness)
    registry, first, second = shared_registry(harness, shared=shared)
    copy = harness.folder / "copy.ledger.db"
    shutil.copyfile(harness.ledger, copy)
    assert harness.run(server, "send", "people.ledger.db", "--yes", "--quiet", *registry, state=first)[0] == 0
    if how == "restored under its name":
        copy = copy.replace(harness.ledger)
    command = ("people.csv",) if how == "restored under its name" else ("copy.ledger.db",)
    code, _, talk = harness.run(server, "send", *command, "--yes", *registry, state=second)
    assert code == 3
    assert "older copy" in talk
    assert "run 1" in talk
    assert "60 attempts" in talk
    assert "--new" in talk
    assert sum(received(server).values()) == PEOPLE
    require_once(server)


def test_a_copy_from_the_middle_of_a_run_is_refused(harness: CrashHarness) -> None:
    server = planned(harness)
    killed(harness, server)
    copy = harness.folder / "copy.ledger.db"
    for suffix in ("", "-wal"):
        shutil.copyfile(f"{harness.ledger}{suffix}", f"{copy}{suffix}")
    assert harness.run(server, "resume", "people.ledger.db", "--quiet")[0] == 4
    code, _, talk = harness.run(server, "resume", "copy.ledger.db")
    assert code == 3
    assert "from before run 2" in talk
    assert harness.run(server, "retry", "copy.ledger.db", "--only", "failed", "--yes")[0] == 3
    require_once(server)


def test_new_sends_from_an_older_copy_and_then_the_other_one_is_the_older_copy(harness: CrashHarness) -> None:
    server = planned(harness)
    copy = harness.folder / "copy.ledger.db"
    shutil.copyfile(harness.ledger, copy)
    killed(harness, server)
    assert harness.run(server, "send", "copy.ledger.db", "--yes", "--quiet", "--new")[0] == 0
    assert harness.run(server, "resume", "people.ledger.db")[0] == 3


def test_a_second_hard_link_is_refused(harness: CrashHarness) -> None:
    server = planned(harness)
    os.link(harness.ledger, harness.folder / "same.ledger.db")
    for name in ("same.ledger.db", "people.ledger.db"):
        code, _, talk = harness.run(server, "send", name, "--yes")
        assert code == 6
        assert "2 names" in talk
    assert not received(server)


def test_a_living_run_is_one_under_a_symbolic_link_too(harness: CrashHarness) -> None:
    server = planned(harness, 900)
    elsewhere = harness.folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "link.ledger.db").symlink_to(harness.ledger)
    process = under_way(harness, server)
    code, _, talk = harness.run(server, "resume", "elsewhere/link.ledger.db")
    assert code == 6
    assert "Another run is working on" in talk
    require_undisturbed(harness, server, process)


def test_a_removed_lock_file_lets_no_second_run_in(harness: CrashHarness) -> None:
    server = planned(harness, 900)
    process = under_way(harness, server)
    lock_path(harness.ledger).unlink()
    code, _, talk = harness.run(server, "resume", "people.ledger.db")
    assert code == 6
    assert "Another run is working on" in talk
    require_undisturbed(harness, server, process)


def remove_log(ledger: Path) -> Path:
    Path(f"{ledger}-wal").unlink()
    return ledger


def truncate_log(ledger: Path) -> Path:
    os.truncate(f"{ledger}-wal", 0)
    return ledger


LOSSES: dict[str, Callable[[Path], Path]] = {
    "removed": remove_log,
    "truncated": truncate_log,
    "left behind by a copy": lambda ledger: Path(shutil.copyfile(ledger, ledger.with_name("copy.ledger.db"))),
    "left behind by a rename": lambda ledger: ledger.rename(ledger.with_name("other.ledger.db")),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_without_the_log_of_a_dead_run_nothing_is_sent_without_a_persons_word(loss: str, harness: CrashHarness) -> None:
    server = planned(harness)
    before = killed(harness, server)
    log = Path(f"{harness.ledger}-wal").read_bytes()
    ledger = LOSSES[loss](harness.ledger)
    code, table, _ = harness.run(server, "status", ledger.name)
    assert code == 0
    assert "queued" not in table
    assert f"unknown        {PEOPLE}" in table
    assert harness.run(server, "verify", ledger.name)[0] == 6
    for command in (("resume", ledger.name), ("send", ledger.name, "--yes")):
        code, _, talk = harness.run(server, *command)
        assert code == 6
        assert f"{ledger.name}-wal is missing" in talk
        assert "second time" in talk
    assert sum(received(server).values()) == before
    Path(f"{ledger}-wal").write_bytes(log)
    assert harness.run(server, "resume", ledger.name, "--quiet")[0] == 4
    with open_ledger(ledger) as reader:
        assert reader.counts().counts[State.QUEUED] == 0
    require_once(server)


def test_a_person_may_do_without_the_log_and_duplicates_are_marked(harness: CrashHarness) -> None:
    server = planned(harness)
    killed(harness, server)
    Path(f"{harness.ledger}-wal").unlink()
    assert harness.run(server, "retry", "people.ledger.db", "--only", "unknown", "--yes", "--quiet")[0] == 0
    with open_ledger(harness.ledger) as reader:
        marked = {line.recipient for line in reader.messages() if line.possible_duplicate}
    assert {recipient for recipient, requests in received(server).items() if requests > 1} <= marked
    assert len(received(server)) == PEOPLE


def replace(ledger: Path) -> None:
    copy = ledger.with_name("b")
    shutil.copyfile(ledger, copy)
    copy.replace(ledger)


DISPLACEMENTS: dict[str, Callable[[Path], object]] = {
    "replaced": replace,
    "deleted": Path.unlink,
    "renamed": lambda ledger: ledger.rename(ledger.with_name("other.ledger.db")),
}


@pytest.mark.parametrize(
    "shared",
    [False, pytest.param(True, marks=pytest.mark.soak)],
    ids=["one machine", "two machines with a start registry"],
)
@pytest.mark.parametrize("how", DISPLACEMENTS)
def test_a_run_whose_file_is_gone_stops_and_saves_what_it_knows(how: str, shared: bool, harness: CrashHarness) -> None:
    server = planned(harness, 400)
    registry, first, second = shared_registry(harness, shared=shared)
    arguments = ("send", "people.ledger.db", "--yes", *SLOW, *registry)
    process = harness.start(server, *arguments, state=first)
    harness.wait_until(lambda: len(received(server)) >= 8)
    DISPLACEMENTS[how](harness.ledger)
    table, talk = process.communicate(timeout=180)
    assert process.returncode == 6
    (saved,) = harness.folder.glob("people.saved-*.ledger.db")
    sent = len(received(server))
    assert sent < 400
    assert f"Handed to Adaxes: {sent} of 400  ({saved.name})" in table
    assert f"The file people.ledger.db was {'replaced' if how == 'replaced' else 'deleted or renamed'}" in talk
    if harness.ledger.exists():
        code, _, talk = harness.run(server, "send", "people.csv", "--yes", *registry, state=second)
        assert code in {3, 6}
        assert sum(received(server).values()) == sent
    assert harness.run(server, "resume", saved.name, "--quiet", *registry, state=second)[0] == 0
    assert len(received(server)) == 400
    require_once(server)


def test_a_run_whose_file_gets_a_second_name_stops(harness: CrashHarness) -> None:
    server = planned(harness, 400)
    process = under_way(harness, server)
    os.link(harness.ledger, harness.folder / "same.ledger.db")
    _, talk = process.communicate(timeout=180)
    assert process.returncode == 6
    assert "got a second name" in talk
    (harness.folder / "same.ledger.db").unlink()
    assert harness.run(server, "resume", "people.ledger.db", "--quiet")[0] == 0
    assert len(received(server)) == 400
    require_once(server)


@pytest.mark.parametrize("column", ["text", "recipient"])
def test_one_changed_letter_is_noticed_before_anything_is_sent(column: str, harness: CrashHarness) -> None:
    server = planned(harness)
    with closing(sqlite3.connect(harness.ledger)) as connection, connection:
        connection.execute(f"UPDATE message SET {column} = REPLACE({column}, 's', 'z') WHERE number = 7")  # noqa: S608
    assert harness.run(server, "verify", "people.ledger.db")[0] == 6
    code, _, talk = harness.run(server, "send", "people.ledger.db", "--yes")
    assert code == 6
    assert "fingerprint" in talk
    assert not received(server)


HOT = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE message SET other_columns = '{}' || hex(zeroblob(2000))")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("command", ["status", "verify", "report", "resume", "send"])
def test_every_command_opens_a_ledger_after_a_death_in_the_middle_of_a_write(
    command: str, harness: CrashHarness
) -> None:
    server = planned(harness)
    subprocess.run([sys.executable, "-c", HOT, str(harness.ledger)], check=False)
    assert Path(f"{harness.ledger}-journal").stat().st_size
    more = {"resume": ("--quiet",), "send": ("--yes", "--quiet")}.get(command, ())
    code, _, talk = harness.run(server, command, "people.ledger.db", *more)
    assert code == 0, talk
    assert len(received(server)) == (PEOPLE if command in {"resume", "send"} else 0)
