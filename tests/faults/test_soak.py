"""Soak: ten minutes, 200,000 messages, 5 % faults, 20 kills: `pytest -m soak -n 0`."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.platforms import with_posix_signals

ROOT = Path(__file__).parents[2]


def kills(*options: str) -> str:
    """The line of figures; a violated invariant is an error of the process."""
    command = [sys.executable, "-m", "benchmarks", "kills", *options]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@with_posix_signals
def test_the_documented_figures_can_be_measured_in_short() -> None:
    printed = kills("--kills", "2", "--messages", "500", "--faults", "0.05")
    assert "500 messages" in printed
    assert ": 0 silent losses, 0 duplicates, 0 untrue, 0 violated invariants;" in printed


@pytest.mark.soak
def test_ten_minutes_of_faults_and_kills_keep_every_promise() -> None:
    printed = kills("--kills", "20", "--messages", "200000", "--faults", "0.05", "--rate", "400")
    assert "20 kills, 200,000 messages" in printed
