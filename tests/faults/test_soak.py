"""Soak: ten minutes, 200,000 messages, 5 % faults, 20 kills. `pytest -m soak -n 0`; left out otherwise."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def kills(*options: str) -> str:
    """The line of figures; what broke a promise is an error of the process."""
    command = [sys.executable, "-m", "benchmarks.kills", *options]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_the_figures_of_the_readme_can_be_had_in_short() -> None:
    told = kills("--kills", "2", "--messages", "500", "--faults", "0.05")
    assert "500 messages" in told
    assert ": 0 silent losses, 0 duplicates, 0 untrue, 0 broken laws;" in told


@pytest.mark.soak
def test_ten_minutes_of_faults_and_kills_keep_every_promise() -> None:
    told = kills("--kills", "20", "--messages", "200000", "--faults", "0.05", "--rate", "400")
    assert "20 kills, 200,000 messages" in told
