"""The program as others start it: help, version, imports, pipes, and two processes that know of each other."""

import json
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bulksms.cli import COMMANDS
from bulksms.ledger.reader import LedgerReader
from bulksms.message import State
from bulksms.sandbox import Journal
from bulksms.version import VERSION

if TYPE_CHECKING:
    from tests.cli.conftest import Desk, Start

# Help


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str, desk: "Desk") -> None:
    said = desk(name, "--help")
    assert said.code == 0
    assert f"Example: bulksms {name}" in " ".join(said.out.split())


def test_the_help_names_every_command(desk: "Desk") -> None:
    said = desk("--help")
    assert said.code == 0
    assert desk("-h").out == said.out
    assert all(re.search(rf"^  {name} ", said.out, re.MULTILINE) for name in COMMANDS)


def test_version_is_told(desk: "Desk") -> None:
    assert desk("--version").out == f"bulksms, version {VERSION}\n"


@pytest.mark.parametrize("arguments", ["['--help']", "['status', '--help']", "['status', 'people.ledger.db']"])
def test_help_and_status_do_not_import_aiohttp(arguments: str, desk: "Desk", start: "Start") -> None:
    desk.people(1)
    desk("plan", "people.csv")
    look = f"import sys, bulksms.cli; bulksms.cli.run({arguments}); print({{'aiohttp', 'rich'}} & set(sys.modules))"
    process = start(program=("-c", look))
    said, talk = process.communicate(timeout=60)
    assert said.splitlines()[-1] == "set()", talk


# As a process


def test_python_m_bulksms_is_the_same_program(desk: "Desk", start: "Start") -> None:
    server = desk.server()
    desk.people(3)
    process = start("send", "people.csv", "--yes")
    said, talk = process.communicate(timeout=60)
    assert process.returncode == 0, talk
    assert "3 = 3 accepted" in said
    assert server.journal.total == 3
    assert desk.token not in said + talk


def test_a_reader_that_goes_away_is_no_defect(desk: "Desk", start: "Start") -> None:
    desk.people(5_000)
    desk("plan", "people.csv")
    process = start("report", "people.ledger.db", "--format", "jsonl")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""


@pytest.mark.parametrize(("option", "unknown"), [(None, 0), ("--now", 4)])
def test_stop_drains_a_run_from_another_shell(
    option: str | None, unknown: int, desk: "Desk", start: "Start", tmp_path: Path
) -> None:
    server = desk.server(latency=1.0 if option is None else 3_600.0)
    desk.people(40)
    process = start("send", "people.csv", "--yes", "--workers", "4")
    wait_until(lambda: server.journal.total == 4)
    said = desk("stop", "people.ledger.db", *([] if option is None else [option]))
    assert said.code == 0
    assert "was told to stop" in said.err
    _, talk = process.communicate(timeout=60)
    assert process.returncode == 143, talk
    with LedgerReader(tmp_path / "people.ledger.db") as reader:
        counts = reader.standing().counts
    assert counts[State.UNKNOWN] == unknown
    assert counts[State.ACCEPTED] == server.journal.total - unknown
    assert counts[State.QUEUED] == 40 - server.journal.total


def test_cancel_stops_a_run_and_withdraws_the_rest(desk: "Desk", start: "Start") -> None:
    server = desk.server(latency=1.0)
    desk.people(40)
    process = start("send", "people.csv", "--yes", "--workers", "4")
    wait_until(lambda: server.journal.total == 4)
    said = desk("cancel", "people.ledger.db")
    process.communicate(timeout=60)
    assert said.code == 0
    states = [line.state for line in desk.lines()]
    assert states.count(State.ACCEPTED) == server.journal.total
    assert states.count(State.CANCELLED) == 40 - server.journal.total


def test_sandbox_serves_until_it_is_told_to_end(desk: "Desk", start: "Start") -> None:
    desk.write("faults.toml", 'seed = 3\n[[rules]]\nshare = 0.5\nfaults = "result_failed"\n')
    arguments = ["--port", "0", "--latency", "0.05", "--faults", "faults.toml", "--seed", "5", "--journal", "in.jsonl"]
    process = start("sandbox", *arguments)
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/restApi", url)
    desk.export("BULKSMS_URL", url)
    desk.export("BULKSMS_TOKEN", "sandbox")
    desk.people(30)
    told = desk("send", "people.csv", "--yes", "--json", "--quiet").json
    process.send_signal(signal.SIGINT)
    _, talk = process.communicate(timeout=60)
    assert process.returncode == 0
    setting = "$env:{} = '{}'" if sys.platform == "win32" else "export {}={}"
    for variable, value in (("BULKSMS_URL", url), ("BULKSMS_TOKEN", "sandbox")):
        assert f"  {setting.format(variable, value)}\n" in talk
    journal = Journal.read(desk.folder / "in.jsonl")
    assert journal.total == 30
    assert 5 <= told["counts"]["failed"] <= 25
    assert told["counts"]["failed"] + told["counts"]["accepted"] == 30
    assert all(json.loads(line)["kind"] == "send" for line in (desk.folder / "in.jsonl").read_text().splitlines())


def test_a_port_that_is_taken_is_told_in_a_sentence(desk: "Desk") -> None:
    server = desk.serve()
    port = server.url.split(":")[2].split("/")[0]
    said = desk("sandbox", "--port", port)
    assert said.code != 0
    assert "defect" not in said.err, said.err


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until it is so."""
    end = time.monotonic() + 60.0
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.005)
