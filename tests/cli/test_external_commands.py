"""Commands of the operator: --token-command and --on-finish run without a shell, and cannot change what happened."""

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.platforms import with_posix_shell

if TYPE_CHECKING:
    from tests.cli.harness import CliHarness

SEND = ("send", "people.csv", "--yes", "--quiet")
pytestmark = with_posix_shell


def python(cli: "CliHarness", script: str) -> str:
    """A command that runs this script, in a file whose name a shell would take apart."""
    file = cli.write("a script; $(touch owned) `touch owned`.py", script)
    return shlex.join([sys.executable, str(file)])


def teller(cli: "CliHarness") -> str:
    """A command that writes down what it was given."""
    return python(
        cli,
        "import json, os, sys\n"
        "given = {name: value for name, value in os.environ.items() if name.startswith('BULKSMS_')}\n"
        "open('end.json', 'w').write(json.dumps([json.load(sys.stdin), given]))\n",
    )


def test_the_token_is_what_the_command_prints(cli: "CliHarness") -> None:
    server = cli.serve()
    cli.people(2)
    cli.write("the-token", cli.token + "\n")
    command = python(cli, "print(open('the-token').read())")
    assert cli(*SEND, "--url", server.url, "--token-command", command).code == 0
    assert server.journal.total == 2
    assert "owned" not in cli.files, "no shell reads it"


@pytest.mark.parametrize("place", ["environment", "file"])
def test_the_command_may_be_a_setting(place: str, cli: "CliHarness") -> None:
    server = cli.serve()
    cli.people(1)
    cli.write("the-token", cli.token)
    command = python(cli, "print(open('the-token').read())")
    if place == "environment":
        cli.export("BULKSMS_TOKEN_COMMAND", command)
    else:
        cli.write("bulksms.toml", f"token-command = {json.dumps(command)}\n")
    assert cli(*SEND, "--url", server.url).code == 0


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("raise SystemExit(7)", "failed with exit code 7"),
        ("import sys; sys.stdout.buffer.write(bytes([255]))", "prints what is no text"),
    ],
)
def test_a_command_that_gives_no_token_is_a_mistake(script: str, problem: str, cli: "CliHarness") -> None:
    server = cli.serve()
    cli.people(1)
    result = cli(*SEND, "--url", server.url, "--token-command", python(cli, script))
    assert result.code == 2
    assert problem in result.err
    assert server.journal.total == 0


@pytest.mark.parametrize("command", ["no-such-program", "'open", " "])
def test_a_command_that_cannot_be_run_is_a_mistake(command: str, cli: "CliHarness") -> None:
    cli.people(1)
    assert cli(*SEND, "--url", "https://adaxes.example", "--token-command", command).code == 2


@pytest.mark.parametrize(("mark", "code"), [("", 0), ("[result_failed]", 1), ("[drop_after]", 4)])
def test_the_end_is_announced_with_the_result_and_the_exit_code(mark: str, code: int, cli: "CliHarness") -> None:
    cli.server()
    cli.people(2, mark=mark)
    result = cli(*SEND, "--json", "--on-finish", teller(cli))
    assert result.code == code
    end, given = json.loads((cli.folder / "end.json").read_text(encoding="utf-8"))
    assert end == result.json
    assert given["BULKSMS_EXIT_CODE"] == str(code)
    assert Path(given["BULKSMS_LEDGER"]) == cli.folder / "people.ledger.db"
    assert given["BULKSMS_REHEARSAL"] == ""
    assert "BULKSMS_TOKEN" not in given


def test_a_stop_is_announced_as_well(cli: "CliHarness") -> None:
    cli.server()
    cli.people(3, mark="[result_failed]")
    assert cli(*SEND, "--canary", "1", "--on-finish", teller(cli)).code == 5
    end, given = json.loads((cli.folder / "end.json").read_text(encoding="utf-8"))
    assert (end["stopped"], given["BULKSMS_EXIT_CODE"]) == ("canary_failed", "5")


def test_a_rehearsal_is_announced_as_one(cli: "CliHarness") -> None:
    cli.people(1)
    assert cli(*SEND, "--sandbox", "--on-finish", teller(cli)).code == 0
    assert json.loads((cli.folder / "end.json").read_text(encoding="utf-8"))[1]["BULKSMS_REHEARSAL"] == "1"


@pytest.mark.parametrize(
    ("script", "words"),
    [("raise SystemExit(3)", "failed with exit code 3"), ("import time; time.sleep(60)", "took longer than 0.5 s")],
)
def test_a_command_that_fails_changes_nothing(
    script: str, words: str, cli: "CliHarness", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bulksms.cli.flows.announcement.SECONDS", 0.5 if "sleep" in script else 60.0)
    cli.server()
    cli.people(1)
    result = cli(*SEND, "--on-finish", python(cli, script))
    assert result.code == 0
    assert f"warning: the command of --on-finish {words}" in result.err
