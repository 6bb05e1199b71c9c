"""What the program finds itself in: no home, no terminal, closed streams, full disks, a C locale, a read-only folder.

Each command runs once in each: never an internal error, never a traceback; what was sent is what the exit code says.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import pytest

from bulksms.cli.options.commands import KINDS
from bulksms.ledger import open_ledger
from bulksms.model.message import State
from tests.cli.harness import TOKEN, Server
from tests.platforms import with_posix_files

pytestmark = with_posix_files

PEOPLE = 3
SEND = ("send", "people.csv", "--yes")
NOWHERE = "postgresql://127.0.0.1:1/nowhere?ledger=people"
"""Nobody listens there."""
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("plan", "people.csv", "--ledger", "planned.db"),
    ("send", "people.csv", "--dry-run"),
    SEND,
    ("status", "people.ledger.db"),
    ("report", "people.ledger.db"),
    ("report", "people.ledger.db", "--format", "csv"),
    ("verify", "people.ledger.db"),
    ("history",),
    ("config",),
    ("completion", "bash"),
    ("check",),
    ("resume", "people.ledger.db"),
    ("retry", "people.ledger.db", "--yes"),
    ("resolve", "people.ledger.db", "--accepted", "2"),
    ("stop", "people.ledger.db"),
    ("work", "people.ledger.db"),
    ("pause", "people.ledger.db"),
    ("export", NOWHERE, "exported.db"),
    ("import", "planned.db", NOWHERE),
    ("new", "alert.toml"),
    ("approve", "planned.db", "0" * 64),
    ("cancel", "planned.db"),
    ("purge", "people.ledger.db", "--yes"),
)
"""In an order in which each finds what it needs."""
MAY_BE_REFUSED = frozenset(
    ["stop", "cancel", "purge", "resolve", "retry", "approve", "work", "pause", "export", "import"]
)
FULL = "disk is full|No space left|cannot be written|disk I/O error"
CLOSED = {0: "<&-", 1: ">&-", 2: "2>&-"}


class Result(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


class Surroundings:
    """A folder and a server; `run` starts the program below a shell that makes the surroundings."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder = folder
        self.server = server
        rows = (f'"CN=Person {number},DC=example",Outage {number}.' for number in range(PEOPLE))
        (folder / "people.csv").write_text("\n".join(["directoryObject,text", *rows, ""]))

    def run(
        self, *arguments: str | bytes, script: str = 'exec "$@"', prefix: tuple[str, ...] = (), **more: str
    ) -> Result:
        """Run the program to its end; `script` starts it as `"$@"`, `more` goes into the environment."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("BULKSMS_")}
        mine = {"BULKSMS_URL": self.server.url, "BULKSMS_TOKEN": TOKEN, "XDG_STATE_HOME": str(self.folder / "state")}
        done = subprocess.run(
            [*prefix, "sh", "-c", script, "sh", sys.executable, "-m", "bulksms", *arguments],
            cwd=self.folder,
            env={name: value for name, value in (kept | mine | more).items() if value},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=180,
            check=False,
        )
        result = Result(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
        assert result.code != 70, result
        assert result.code >= 0, result
        assert "Traceback" not in result.err, result
        assert "Exception ignored" not in result.err, result
        return result

    def require_true(self, result: Result, ledger: str = "people.ledger.db") -> None:
        """What was sent is what the exit code and the ledger say."""
        sent = self.server.journal.total
        assert sent == (PEOPLE if result.code == 0 else 0), result
        if (self.folder / ledger).exists():
            with open_ledger(self.folder / ledger) as reader:
                assert reader.counts().counts[State.ACCEPTED] == sent


@pytest.fixture
def surroundings(tmp_path: Path) -> Iterator[Surroundings]:
    server = Server()
    yield Surroundings(tmp_path, server)
    server.end()


@cache
def can(*command: str) -> bool:
    """Whether this machine lets us do that."""
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0


UNSHARE = ("unshare", "--mount")
needs_mounts = pytest.mark.skipif(not can(*UNSHARE), reason="mounting needs rights that are not there")

SURROUNDINGS: Mapping[str, Callable[[Surroundings, tuple[str, ...]], Result]] = {
    "all streams closed": lambda here, command: here.run(*command, script='exec "$@" <&- >&- 2>&-'),
    "full output": lambda here, command: here.run(*command, script='exec "$@" > /dev/full 2> /dev/full'),
    "no home": lambda here, command: here.run(*command, HOME="/dev/null", XDG_STATE_HOME=""),
    "a C locale": lambda here, command: here.run(*command, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0"),
    "process 1": lambda here, command: here.run(*command, prefix=("unshare", "--pid", "--fork")),
}


def test_no_command_is_forgotten() -> None:
    assert {command[0] for command in COMMANDS} == set(KINDS) - {"sandbox"}, "a sandbox runs until it is ended"


ONE_OR_TWO_CLOSED = [pair for size in (1, 2) for pair in combinations(CLOSED, size)]


@pytest.mark.soak
@pytest.mark.parametrize("closed", ONE_OR_TWO_CLOSED)
def test_every_command_runs_with_these_streams_closed(closed: tuple[int, ...], surroundings: Surroundings) -> None:
    script = f'exec "$@" {" ".join(CLOSED[number] for number in closed)}'
    for command in COMMANDS:
        result = surroundings.run(*command, script=script)
        assert result.code in {0, 2, 3, 6}, (command, result)
        if command == SEND:
            assert result.code == 0, result
            surroundings.require_true(result)
    assert surroundings.server.journal.total == PEOPLE


IN_SHORT = {"all streams closed", "full output"}
"""These run at every change, the others in the long form."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in IN_SHORT else pytest.mark.soak) for name in SURROUNDINGS]
)
def test_every_command_runs_in(name: str, surroundings: Surroundings) -> None:
    if name == "process 1" and not can("unshare", "--pid", "--fork"):
        pytest.skip("a namespace of processes needs rights that are not there")
    for command in COMMANDS:
        result = SURROUNDINGS[name](surroundings, command)
        if command == SEND:
            assert result.code == 0, result
            surroundings.require_true(result)
        is_lost = name in ("all streams closed", "full output")
        may_be_refused = command[0] in MAY_BE_REFUSED
        usual = {0, 2, 3, 6} if may_be_refused or is_lost else {0}
        assert result.code in usual, (command, result)
    assert surroundings.server.journal.total == PEOPLE


@pytest.mark.parametrize("closed", ONE_OR_TWO_CLOSED)
def test_closed_streams_change_nothing_of_a_run(closed: tuple[int, ...], surroundings: Surroundings) -> None:
    script = f'exec "$@" {" ".join(CLOSED[number] for number in closed)}'
    result = surroundings.run(*SEND, "--log-file", "run.log", script=script)
    assert result.code == 0
    surroundings.require_true(result)
    log = (surroundings.folder / "run.log").read_text()
    assert ("result not shown" in log) == bool({1, 2} & set(closed))
    report = surroundings.run("report", "people.ledger.db", script=script)
    assert report.code == (2 if 1 in closed else 0)
    if 2 not in closed and 1 in closed:
        assert "Standard output cannot be written to: it is closed." in report.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device")
def test_output_to_a_full_disk_leaves_the_result_of_a_run(surroundings: Surroundings) -> None:
    result = surroundings.run(*SEND, script='exec "$@" > /dev/full')
    assert result.code == 0
    surroundings.require_true(result)
    assert result.err.count("Standard output cannot be written to: No space left on device.") == 1
    for command in ("report", "status"):
        result = surroundings.run(command, "people.ledger.db", script='exec "$@" > /dev/full')
        assert result.code == 2
        assert "error: Standard output cannot be written to: No space left on device." in result.err
        assert "hint: " in result.err
    result = surroundings.run("report", "people.ledger.db", "-o", "/dev/full")
    assert result.code == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device")
def test_a_log_on_a_full_disk_stops_no_run(surroundings: Surroundings) -> None:
    result = surroundings.run(*SEND, "--log-file", "/dev/full", "--log-level", "debug")
    assert result.code == 0
    surroundings.require_true(result)
    assert result.err.count("The log file /dev/full cannot be written: No space left on device.") == 1


def test_a_reader_that_goes_away_is_no_failure(surroundings: Surroundings) -> None:
    assert surroundings.run(*SEND).code == 0
    for command in ("report", "status", "config"):
        arguments = (command, *(["people.ledger.db"] if command != "config" else []))
        script = '("$@"; echo "code $?" >&2) | true'
        assert "code 0" in surroundings.run(*arguments, script=script).err


@needs_mounts
@pytest.mark.parametrize(
    "full", ["ledger", "log", "output", "ledger and log", "ledger and output", "log and output", "everything"]
)
def test_a_disk_without_one_byte_left(full: str, surroundings: Surroundings) -> None:
    """The disk of the ledger, the log or the output is full from the start."""
    here = surroundings
    (here.folder / "disk").mkdir()
    assert here.run("plan", "people.csv", "--ledger", "planned.db").code == 0
    everything = full == "everything"
    on_disk = {what: everything or what in full for what in ("ledger", "log", "output")}
    ledger = "disk/planned.db" if on_disk["ledger"] else "planned.db"
    target = "disk/out" if on_disk["output"] else "out"
    script = (
        "mount -t tmpfs -o size=256k tmpfs disk && cp planned.db disk/ && : > disk/log && : > disk/out && "
        f'{{ cat /dev/zero > disk/fill 2> /dev/null; "$@" > {target}; code=$?; '
        "cp disk/planned.db after.db; exit $code; }"
    )
    log = "disk/log" if on_disk["log"] else "log"
    result = here.run("send", ledger, "--yes", "--log-file", log, "--log-level", "debug", script=script, prefix=UNSHARE)
    assert result.code == (6 if on_disk["ledger"] else 0), result
    here.require_true(result, "after.db" if on_disk["ledger"] else "planned.db")
    if on_disk["ledger"]:
        assert "error: The disk that holds planned.db " in result.err
        assert "hint: " in result.err
    for command in (("plan", "people.csv", "--ledger", "disk/other.db"), ("send", "people.csv", "--dry-run")):
        result = here.run(*command, script=script, prefix=UNSHARE)
        assert result.code in (0, 6), result


READ_ONLY = {
    "folder": 'mount --bind . . && mount -o remount,ro,bind . && cd "$PWD" && exec "$@"',
    "root": 'mount -o remount,ro,bind / && exec "$@"',
}


@needs_mounts
@pytest.mark.soak
@pytest.mark.parametrize("what", READ_ONLY)
def test_every_command_where_nothing_can_be_written(what: str, surroundings: Surroundings) -> None:
    here = surroundings
    assert here.run("plan", "people.csv", "--ledger", "planned.db").code == 0
    script = READ_ONLY[what]
    assert here.run(script=f"{script.replace('exec', ':')}; : > written", prefix=UNSHARE).code != 0
    for command in COMMANDS:
        arguments = ["planned.db" if argument == "people.ledger.db" else argument for argument in command]
        result = here.run(*arguments, script=script, prefix=UNSHARE)
        assert result.code in (0, 1, 2, 3, 6), result
        if command[0] in ("send", "resume") and "--dry-run" not in command:
            assert result.code == 6, result
    assert here.server.journal.total == 0


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have names in one encoding")
def test_a_file_name_in_another_encoding_works(surroundings: Surroundings) -> None:
    here = surroundings
    name = "M\u00fcnchen.csv".encode("latin-1")
    (here.folder / "people.csv").rename(here.folder / os.fsdecode(name))
    assert here.run("send", name, "--dry-run").code == 0
    assert here.run("plan", name, "--ledger", "planned.db").code == 0
    result = here.run("send", name, "--yes")
    assert result.code == 0, result
    assert here.server.journal.total == PEOPLE
    ledger = name.removesuffix(b".csv") + b".ledger.db"
    for command in ("status", "report", "verify"):
        assert here.run(command, ledger).code == 0
    assert here.run("status", ledger, "--json").code == 0
    assert here.run("history").code == 0
    assert here.run("report", ledger, "--format", "html").code == 0
    assert here.run("resume", ledger).code == 0
    assert here.run("purge", ledger, "--yes").code == 0


def test_a_text_in_another_encoding_is_named_as_such(surroundings: Surroundings) -> None:
    here = surroundings
    (here.folder / "people.csv").write_text("directoryObject\nCN=A\n")
    result = here.run("send", "people.csv", "--yes", "--text", "St\u00f6rung".encode("latin-1"))
    assert result.code == 2, result
    assert "encoding of the terminal" in result.err
    assert "--text-file" in result.err
    assert here.server.journal.total == 0
