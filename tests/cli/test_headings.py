"""The help of commands with many options: headings, and every option under one of them."""

import re
from collections import Counter

import click
import pytest

from bulksms.cli import COMMANDS, commands
from bulksms.cli.settings.headings import GROUPS, OWN, HeadedCommand, names_by_heading
from bulksms.cli.settings.options import input_options
from bulksms.cli.settings.setting import settings_of


def headed(name: str) -> HeadedCommand | None:
    """The command, if its help has headings."""
    command = commands.get_command(click.Context(commands), name)
    return command if isinstance(command, HeadedCommand) else None


HEADED = [name for name in COMMANDS if headed(name)]
SOME_HEADING = re.compile(rf"^({'|'.join((OWN, *GROUPS))}):$", re.MULTILINE)


def sections(name: str) -> dict[str, str]:
    """The help of the command, by heading."""
    command = headed(name)
    assert command is not None
    text = command.get_help(click.Context(command, info_name=name, help_option_names=["-h", "--help"]))
    _, *parts = SOME_HEADING.split(text)
    assert len(parts) == 2 * len(set(parts[::2]))
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_commands_with_many_options_have_headings() -> None:
    assert HEADED == ["send", "plan", "resume", "retry", "check", "config"]


def test_no_option_belongs_to_two_groups() -> None:
    names = Counter(name for group in names_by_heading().values() for name in group)
    assert {name for name, groups in names.items() if groups > 1} == set()


@pytest.mark.parametrize("name", HEADED)
def test_every_option_stands_under_exactly_one_heading(name: str) -> None:
    command, shown = headed(name), sections(name)
    assert command is not None
    where = {option: heading for heading, options in names_by_heading().items() for option in options}
    for option in command.params:
        if isinstance(option, click.Option):
            line = re.compile(rf"^  (-\w, )?{re.escape(option.opts[0])}\b(?!-)", re.MULTILINE)
            found = [heading for heading, text in shown.items() for _ in line.findall(text)]
            assert found == [where.get(option.name or "", OWN)], option.opts


def test_the_options_of_a_heading_keep_the_order_of_their_group() -> None:
    listed = re.findall(r"^  (?:-\w, )?--([\w-]+)", sections("send")["Input"], re.MULTILINE)
    assert listed == [
        option.opts[0].removeprefix("--") for option in click.command()(input_options(lambda: None)).params
    ]


def test_all_headings_have_one_column_of_explanations() -> None:
    help_ = "".join(sections("send").values())
    begin = {match.start(1) for line in help_.splitlines() if (match := re.match(r"  -.{23}  (\S)", line))}
    assert begin == {28}


def test_a_setting_is_listed_with_its_default_and_without_its_range() -> None:
    assert settings_of(commands)["workers"].opts == ["--workers"]
    assert re.search(r"--workers N +Requests at once\.  \[16\]\n", sections("send")["Pace and safety"])
