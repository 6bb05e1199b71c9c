"""Every option in `--help` has a test that shows its effect; which one stands in `effects.toml`."""

import tomllib
from pathlib import Path

import click
import pytest

from bulksms.cli import COMMANDS, commands

HERE = Path(__file__).parent
EFFECTS: dict[str, dict[str, str]] = tomllib.loads((HERE / "effects.toml").read_text(encoding="utf-8"))


def options_of(name: str) -> set[str]:
    """The options of a command, each by its long name."""
    command = commands.get_command(click.Context(commands), name)
    assert command is not None
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    return {next(flag for flag in option.opts if flag.startswith("--")) for option in options}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_test_that_shows_its_effect(name: str) -> None:
    assert set(EFFECTS.get(name, {})) == options_of(name)


@pytest.mark.parametrize("by", sorted({by for shown in EFFECTS.values() for by in shown.values()}))
def test_every_test_that_is_named_is_there_and_is_held_to_it(by: str, request: pytest.FixtureRequest) -> None:
    """Whatever is done at a desk is held to it: the desk demands the option."""
    file, _, name = by.partition("::")
    function = name.partition("[")[0]
    assert f"\ndef {function}(" in (HERE / file).read_text(encoding="utf-8")
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    cases = [item for item in items if item.path == HERE / file and item.originalname == function]
    # Where nothing of this function was collected there is nothing to hold.
    assert not cases or any(name in (item.name, item.originalname) and "desk" in item.fixturenames for item in cases)


def test_no_command_is_told_of_that_there_is_not() -> None:
    assert set(EFFECTS) <= set(COMMANDS)
