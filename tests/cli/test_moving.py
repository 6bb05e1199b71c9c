"""A run moves to another machine as one file: its ledger. The input, the settings and the URL need not come with it."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bulksms.ledger import open_ledger

if TYPE_CHECKING:
    from tests.cli.harness import CliHarness, Server

PEOPLE = 60


def begun(cli: "CliHarness", server: "Server", folder: Path, end: signal.Signals) -> None:
    """A run in this folder that a signal ended after some messages."""
    cli.people(PEOPLE, f"{folder.name}/people.csv")
    process = subprocess.Popen(
        [sys.executable, "-m", "bulksms", "send", "people.csv", "--yes", "--max-attempts", "7", "--workers", "4"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + 60.0
        while server.journal.total < 12:
            assert time.monotonic() < until
            time.sleep(0.005)
        process.send_signal(end)
        process.wait(60)
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(("end", "files"), [(signal.SIGINT, 1), (signal.SIGKILL, 2)], ids=["drained", "killed"])
def test_the_ledger_alone_goes_on_elsewhere(
    end: signal.Signals, files: int, cli: "CliHarness", monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = cli.folder / "here", cli.folder / "there"
    here.mkdir()
    there.mkdir()
    server = cli.server(latency=0.05)
    begun(cli, server, here, end)
    before = server.journal.total
    moved = [path for path in here.glob("people.ledger.db*") if path.suffix == ".db" or path.name.endswith("-wal")]
    assert len(moved) == files
    for path in moved:
        shutil.copy(path, there)
    shutil.rmtree(here)
    monkeypatch.chdir(there)
    monkeypatch.delenv("BULKSMS_URL")
    result = cli("resume", "people.ledger.db", "--json")
    assert result.code == (0 if end is signal.SIGINT else 4)
    counts = result.json["counts"]
    assert counts["accepted"] + counts["unknown"] == PEOPLE
    assert counts["unknown"] <= (0 if end is signal.SIGINT else 4)
    assert before < PEOPLE
    assert server.journal.total <= PEOPLE
    assert all(count == 1 for count in map(server.journal.requests, server.journal.recipients()))
    with open_ledger(there / "people.ledger.db") as reader:
        assert [run.settings["max_attempts"] for run in reader.runs()] == [7, 7]
        assert {run.url for run in reader.runs()} == {server.url}
