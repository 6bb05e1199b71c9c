"""The README says the same as the code: its tables are held against the tables they describe."""

import re
import shlex
from pathlib import Path

import click
import pytest

from bulksms.cli import COMMANDS, commands, run
from bulksms.cli.config import SETTINGS, Shown
from bulksms.delivery.outcome import VERDICTS, Delivery, Evidence
from bulksms.delivery.retry import Stop
from bulksms.intake import CODES
from bulksms.message import Reason, State
from bulksms.report.rows import COLUMNS
from bulksms.report.summary import MEANINGS

README = Path(__file__).parent.parent.joinpath("README.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """What stands under a heading."""
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def table(title: str) -> list[list[str]]:
    """The rows of the first table under a heading, without its head."""
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return rows[2:]


def test_the_evidence_table_is_the_code_s() -> None:
    found = {}
    for evidence, *verdicts in table("The evidence table"):
        name = Evidence(evidence.partition("`: ")[0].strip("`"))
        found.update({(name, mode): verdict for mode, verdict in zip(Delivery, verdicts, strict=True)})
    assert found == {key: verdict.value for key, verdict in VERDICTS.items()}


def test_the_states_are_the_code_s() -> None:
    assert [row[0].strip("`") for row in table("States")] == [
        state.value for state in [State.QUEUED, State.SENDING, State.PROCESSING, *list(State)[3:]]
    ]


def test_the_reasons_are_the_code_s() -> None:
    listed = section("States").partition("Reasons:")[2]
    assert re.findall(r"`([a-z_]+)`", listed) == [reason.value for reason in Reason]


def test_the_exit_codes_are_the_code_s() -> None:
    documented = {int(code): meaning for code, meaning in table("Exit codes")}
    assert list(documented) == [int(code) for code in MEANINGS]
    for code, meaning in MEANINGS.items():
        assert documented[int(code)].startswith(re.split(r"[;(]", meaning)[0].strip()), code


def test_the_codes_of_findings_are_the_code_s() -> None:
    rows = table("What can be wrong with an input")
    assert rows == [[code, finding.name, finding.meaning] for code, finding in CODES.items()]


def test_the_commands_are_the_code_s() -> None:
    rows = {row[0].strip("`").split()[0]: row[1] for row in table("Commands")}
    assert rows == dict(COMMANDS)


def test_the_report_s_columns_are_the_code_s() -> None:
    listed = section("The report").partition("with the columns `")[2].partition("`")[0]
    assert tuple(listed.replace("\n", " ").split(", ")) == COLUMNS


def test_the_reasons_to_stop_are_the_code_s() -> None:
    listed = next(row[1] for row in table("For machines") if row[0] == "`stopped`")
    assert re.findall(r"`([a-z]+)`", listed) == [stop.value for stop in Stop]


def test_the_settings_are_the_code_s() -> None:
    known = [(f"`{name}`", f"`{it.envvar}`", Shown(it.otherwise, None).text) for name, it in SETTINGS.items()]
    assert [tuple(row) for row in table("Configuration")][: len(known)] == known


def test_the_file_of_settings_in_the_readme_is_one_that_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "bulksms.toml"
    file.write_text(section("Configuration").partition("```toml\n")[2].partition("```")[0])
    assert run(["config", "--config", str(file)]) == 0


EXAMPLES = [
    line.split("#")[0].removeprefix("$ ").removeprefix("PS> ").strip()
    for line in README.splitlines()
    if line.startswith(("$ bulksms ", "PS> bulksms ", "bulksms "))
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_a_command_in_the_readme_is_one_that_there_is(example: str) -> None:
    _, name, *arguments = shlex.split(example)
    command = commands.get_command(click.Context(commands), name)
    assert command is not None
    command.make_context(name, list(arguments), resilient_parsing=False)


@pytest.mark.parametrize("option", sorted(set(re.findall(r"`(--[a-z0-9-]+)", README))))
def test_an_option_in_the_readme_is_one_that_there_is(option: str) -> None:
    known: set[str] = set()
    for name in COMMANDS:
        command = commands.get_command(click.Context(commands), name)
        assert command is not None
        known.update(flag for parameter in command.params for flag in parameter.opts)
    assert option in known | {"--help", "--version"}


def test_every_architecture_room_is_there() -> None:
    package = Path(__file__).parent.parent / "bulksms"
    for cell, _ in table("How it is built"):
        for room in re.findall(r"`([^`]+)`", cell):
            assert (package / room).exists(), room
