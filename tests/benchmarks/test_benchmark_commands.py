"""The benchmark commands: each as its user calls it, as small as it gets."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import layers, rivals
from benchmarks.contenders import BARE, CONTENDERS, ENGINE
from benchmarks.form import FULL, SHORT, Form
from benchmarks.people import FORMATS, people, write_people
from benchmarks.sections import SECTIONS
from bulksms.intake import InputOptions, Row, open_input

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = sorted(set(re.findall(r"python -m (benchmarks[^`|\n]*)", README)))
TINY = Form(rounds=1, seconds=0.01, latencies=(0.0,), workers=(1, 2), sizes=(20, 40), large=200, alone=100)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_section_measures_something_and_leaves_nothing_behind(
    section: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Who they are is tested one by one; here two are enough to take turns.
    monkeypatch.setattr(rivals, "CONTENDERS", tuple(one for one in CONTENDERS if one.name in (BARE, ENGINE)))
    figures = list(SECTIONS[section](TINY, tmp_path))
    assert figures
    for figure in figures:
        assert figure.section == section
        assert min(figure.sample.rounds) > 0 or figure.section == layers.SECTION or "of memory" in figure.unit
    assert list(tmp_path.iterdir()) == []


def test_the_one_command_prints_tables_and_writes_results(tmp_path: Path) -> None:
    ended = run("benchmarks", "--short", "--rounds", "1", "--only", "startup", "intake", "--results", str(tmp_path))
    assert "command: python -m benchmarks --short --rounds 1 --only startup intake" in ended.stdout
    assert "| figures to reach" in ended.stdout
    assert "| bulksms --help " in ended.stdout
    assert "startup: bulksms --help" in ended.stderr
    (written,) = tmp_path.iterdir()
    content = json.loads(written.read_text())
    assert set(content["seconds"]) == {"startup", "intake"}
    assert content["machine"]["packages"]["aiohttp"]
    assert content["form"]["rounds"] == 1


def test_the_engine_and_the_bare_loop_can_be_compared_alone() -> None:
    ended = run("benchmarks.throughput", "--messages", "50", "--workers", "4", "--rounds", "2")
    assert re.search(r"ratio: \d\.\d+ \(\d\.\d+ to \d\.\d+\)", ended.stdout)


def test_planning_can_be_measured_alone() -> None:
    assert "100 rows:" in run("benchmarks.planning", "--rows", "100", "--rounds", "1").stdout


def test_startup_can_be_measured_alone() -> None:
    assert "bulksms status (10 messages): " in run("benchmarks.startup", "--rounds", "1", "--messages", "10").stdout


def test_the_full_form_measures_what_the_targets_ask_for() -> None:
    assert {0.0, 0.02, 0.2} == set(FULL.latencies)
    assert {1, 16, 64, 256} == set(FULL.workers)
    assert {1_000, 10_000, 100_000, 1_000_000} == set(FULL.sizes)
    assert FULL.large == 1_000_000
    assert FULL.rounds_of(1_000_000) == 1
    assert FULL.rounds_of(1_000) == FULL.rounds > SHORT.rounds_of(1_000)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_in_the_readme_is_one_that_there_is(command: str) -> None:
    module, *arguments = shlex.split(command)
    known = run(module, "--help").stdout
    for option in arguments:
        if option.startswith("--"):
            assert f"{option} " in known or f"{option}]" in known or f"{option}\n" in known


@pytest.mark.parametrize("kind", FORMATS)
def test_people_are_the_same_in_every_format(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"people.{kind}"
    write_people(path, 30)
    with open_input(path, InputOptions(text="((name)) at ((site))")) as source:
        rows = [row for row in source if isinstance(row, Row)]
    expected = [(given, f"{name} at {site}") for given, name, site in people(30)]
    assert [(row.recipient.given, row.text) for row in rows] == expected
