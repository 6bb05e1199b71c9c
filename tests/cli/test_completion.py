"""Completion: what each shell shows when the person presses the Tab key, from the script that the program prints."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bulksms.cli.app import COMMANDS
from bulksms.cli.options.commands import SHELLS

if TYPE_CHECKING:
    from tests.cli.harness import CliHarness

PROGRAM = f'#!/bin/sh\nexec "{sys.executable}" -m bulksms "$@"\n'
Complete = Callable[[str], list[str]]


@pytest.fixture
def path(cli: "CliHarness", tmp_path: Path) -> str:
    """Where a shell finds the program, and a folder whose file of settings is of no use."""
    cli.write("bulksms.toml", "no toml")
    program = tmp_path / "bin" / "bulksms"
    program.parent.mkdir()
    program.write_text(PROGRAM)
    program.chmod(0o755)
    return os.pathsep.join([str(program.parent), os.environ["PATH"]])


def run(path: str, *command: str, **variables: str) -> str:
    environment = os.environ | {"PATH": path} | variables
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=60)
    assert done.stderr == ""
    return done.stdout


def in_bash(path: str) -> Complete:
    def complete(line: str) -> list[str]:
        script = f"""
            source <(bulksms completion bash)
            COMP_WORDS=({line} {'""' if line.endswith(" ") else ""})
            COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
            $(complete -p bulksms | grep -o '_[a-z_]*') bulksms
            printf '%s\\n' "${{COMPREPLY[@]}}"
        """
        return run(path, "bash", "--norc", "-c", script).split()

    return complete


def in_zsh(path: str) -> Complete:
    """The completion's own function, with zsh's functions that draw on a screen replaced by printing."""

    def complete(line: str) -> list[str]:
        script = f"""
            compdef() {{ function_name=$1 }}
            compadd() {{ print -l -- $completions }}
            _describe() {{ print -l -- ${{completions_with_descriptions%%:*}} }}
            source <(bulksms completion zsh)
            words=({line} {'""' if line.endswith(" ") else ""})
            CURRENT=${{#words}}
            $function_name
        """
        return run(path, "zsh", "-f", "-c", script).split()

    return complete


def in_fish(path: str) -> Complete:
    def complete(line: str) -> list[str]:
        script = f"bulksms completion fish | source; complete -C '{line}'"
        result = run(path, "fish", "--no-config", "-c", script)
        return [words.split("\t")[0] for words in result.splitlines()]

    return complete


def in_powershell(path: str) -> Complete:
    """What the script asks the program, whether there is a PowerShell here or not."""

    def complete(line: str) -> list[str]:
        words = line.split()
        place = len(words) if line.endswith(" ") else len(words) - 1
        asked = {"_BULKSMS_COMPLETE": "powershell_complete", "COMP_WORDS": line.strip(), "COMP_CWORD": str(place)}
        kinds, values, _ = (run(path, "bulksms", **asked).splitlines()[part::3] for part in range(3))
        return [value for kind, value in zip(kinds, values, strict=True) if kind == "plain"]

    return complete


@pytest.fixture(params=[*SHELLS])
def complete(request: pytest.FixtureRequest, path: str) -> Complete:
    if request.param != "powershell" and shutil.which(request.param) is None:
        pytest.skip(f"there is no {request.param} here")
    shells = {"bash": in_bash, "zsh": in_zsh, "fish": in_fish, "powershell": in_powershell}
    return shells[request.param](path)


def test_the_commands_are_completed(complete: Complete) -> None:
    assert set(complete("bulksms ")) == set(COMMANDS)
    assert set(complete("bulksms st")) == {"status", "stop"}


def test_the_options_of_a_command_are_completed(complete: Complete) -> None:
    assert set(complete("bulksms send --log-")) == {"--log-level", "--log-format", "--log-file", "--log-recipients"}
    assert set(complete("bulksms completion ")) == set(SHELLS)


def test_the_values_of_an_option_are_completed(complete: Complete) -> None:
    assert set(complete("bulksms send --delivery at-")) == {"at-most-once", "at-least-once"}


@pytest.mark.parametrize("command", ["status", "send", "plan"])
def test_names_of_files_are_the_shell_s_own(command: str, path: str) -> None:
    asked = {"COMP_WORDS": f"bulksms {command} peo", "COMP_CWORD": "2"}
    assert run(path, "bulksms", _BULKSMS_COMPLETE="bash_complete", **asked) == "file,peo\n"


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_data_and_nothing_else(shell: str, cli: "CliHarness") -> None:
    result = cli("completion", shell)
    assert (result.code, result.err) == (0, "")
    assert f"{shell}_complete" in result.out


def test_another_shell_is_a_mistake(cli: "CliHarness") -> None:
    result = cli("completion", "tcsh")
    assert (result.code, result.out) == (2, "")
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish', 'powershell'" in result.err


def test_ledgers_are_completed_for_a_ledger(path: str, tmp_path: Path) -> None:
    for name in ("people.ledger.db", "people.csv", "other.ledger.db", "people.sandbox.db"):
        (tmp_path / name).touch()
    for command, typed, expected in [
        ("status", "peo", ["people.ledger.db", "people.sandbox.db"]),
        ("purge", "o", ["other.ledger.db"]),
        ("send --sent-in", "", ["other.ledger.db", "people.ledger.db", "people.sandbox.db"]),
    ]:
        words = f"bulksms {command} {typed}"
        place = len(words.split(" ")) - 1
        printed = run(path, "bulksms", _BULKSMS_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(place))
        assert printed.split() == [f"plain,{name}" for name in expected]


def test_states_are_completed_after_the_last_comma(complete: Complete) -> None:
    assert set(complete("bulksms report x --only failed,unk")) >= {"failed,unknown", "failed,unknown:crash"}
    assert "failed:rejected" in complete("bulksms retry x --only fai")


def test_the_columns_of_the_file_are_completed(complete: Complete, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("who;what;where\nCN=A;Hello;here\n", encoding="utf-8")
    assert set(complete("bulksms send people.csv --recipient-column wh")) == {"who", "what", "where"}
    assert set(complete("bulksms plan people.csv --text-column wha")) == {"what"}


def test_a_file_that_cannot_be_read_offers_no_columns(path: str) -> None:
    asked = {"COMP_WORDS": "bulksms plan none.csv --text-column wha", "COMP_CWORD": "4"}
    assert run(path, "bulksms", _BULKSMS_COMPLETE="bash_complete", **asked).strip() == ""
