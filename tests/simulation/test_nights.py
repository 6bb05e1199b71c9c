"""Nights from seeds, in CI's short form: every one ends with every invariant held, and the same seed is the same night.

The nights run in an interpreter of their own, because the simulated loop needs Python 3.12 or newer.
"""

import re
import subprocess
from pathlib import Path

import pytest

from tests.invariants import INVARIANTS, as_table
from tests.simulation.interpreter import ROOT, NoInterpreterError, interpreter
from tests.simulation.planted import PLANTED, Planted

NIGHTS = 300
FOUND = {
    1341: "a stop while the canary's operation was polled did not end the wait for it, nor the run",
    106: "a run that was stopped while it logged in still sent a message for each worker",
}
"""Seeds that found something, or find it where it is planted again. A change of the world changes their nights."""


def simulate(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the simulation; skips, and says so, if there is no interpreter for it."""
    try:
        python = interpreter()
    except NoInterpreterError as problem:
        pytest.skip(str(problem))
    command = [python, "-m", "tests.simulation", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_every_night_ends_with_every_invariant_held() -> None:
    done = simulate("--seeds", str(NIGHTS), "--first", "1000", "--jobs", "2")
    assert done.returncode == 0, done.stdout + done.stderr[-2_000:]
    assert f"{NIGHTS} nights" in done.stdout


@pytest.mark.parametrize("seed", FOUND)
def test_a_seed_that_found_something_finds_nothing_any_more(seed: int) -> None:
    done = simulate("--replay", str(seed))
    assert done.returncode == 0, done.stdout[-3_000:]


def test_the_same_seed_gives_the_same_history() -> None:
    """Also when other nights were played before it."""
    first, second = simulate("--replay", "8", "--trace"), simulate("--replay", "5", "8", "--trace")
    assert re.search(r"^trace [0-9a-f]{16,}$", first.stdout, re.MULTILINE)
    assert second.stdout.endswith(first.stdout)


def test_a_shorter_night_breaks_the_same_promise() -> None:
    done = simulate("--plant", "unknown is not in the exit code", "--seeds", "5", "--jobs", "1")
    shorter = re.search(r"--replay (\d+) --only '(.*)'$", done.stdout, re.MULTILINE)
    assert shorter, done.stdout
    again = simulate("--plant", "unknown is not in the exit code", "--replay", shorter[1], "--only", shorter[2])
    assert "The exit code is the contract's, for the whole ledger." in again.stdout
    assert len(shorter[2].split(";")) < 12


@pytest.mark.parametrize("planted", PLANTED, ids=lambda it: it.what)
def test_a_planted_bug_still_fits_the_code(planted: Planted) -> None:
    """Each is one line of the package, found once and replaced by another."""
    text = (ROOT / planted.file).read_text(encoding="utf-8")
    assert planted.planted_in(text) != text


@pytest.mark.parametrize("planted", [it for it in PLANTED if it.quick], ids=lambda it: it.what)
def test_a_planted_bug_is_found(planted: Planted) -> None:
    """The quickest of them here; `python -m tests.simulation --planted` plays all."""
    done = simulate("--plant", planted.what, "--seeds", "60", "--jobs", "1", "--first-only")
    assert done.returncode == 1, done.stdout


def test_every_invariant_names_a_planted_bug() -> None:
    names = {planted.what for planted in PLANTED}
    assert [it.promise for it in INVARIANTS if it.planted not in names] == []


def test_the_page_lists_every_invariant() -> None:
    page = Path(ROOT / "docs" / "simulation.md").read_text(encoding="utf-8")
    assert as_table() in page, "python -m tests.invariants prints the table for the page"
