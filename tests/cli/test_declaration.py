"""Options are declared once: parsing, help and types come from the same field."""

import re
from typing import TYPE_CHECKING, get_type_hints

import click
import pytest

from bulksms.cli.app import COMMANDS, commands
from bulksms.cli.options.commands import KINDS, SETTINGS, ResumeOptions, SendOptions
from bulksms.cli.options.declaration import HEADINGS, OWN, DeclaredOption, OptionsCommand, read_options
from bulksms.cli.options.groups import RunOptions
from bulksms.ledger import open_ledger
from bulksms.model.run_settings import RunSettings

if TYPE_CHECKING:
    from tests.cli.harness import CliHarness


def command(name: str) -> OptionsCommand:
    found = commands.get_command(click.Context(commands), name)
    assert isinstance(found, OptionsCommand)
    return found


def sections(name: str) -> dict[str, str]:
    """The help of the command, by heading."""
    text = command(name).get_help(click.Context(command(name), info_name=name, help_option_names=["-h", "--help"]))
    _, *parts = re.split(rf"^({'|'.join(HEADINGS)}):$", text, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def options_of(name: str) -> list[DeclaredOption]:
    return [option for option in command(name).params if isinstance(option, DeclaredOption)]


def parsed(name: str, *arguments: str) -> object:
    context = command(name).make_context(name, list(arguments))
    return read_options(KINDS[name], context)


def test_every_command_declares_its_options() -> None:
    assert list(KINDS) == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_in_the_help_under_its_heading_alone(name: str) -> None:
    shown = sections(name)
    for option in options_of(name):
        if option.hidden:
            continue
        line = re.compile(rf"^  (-\w, )?{re.escape(f'--{option.key}')}\b(?!-)", re.MULTILINE)
        assert [heading for heading, text in shown.items() if line.search(text)] == [option.heading], option.key
        assert option.help


@pytest.mark.parametrize("name", COMMANDS)
def test_no_two_options_of_a_command_have_one_name(name: str) -> None:
    names = [option.name for option in command(name).params]
    assert len(names) == len(set(names))


def test_all_headings_have_one_column_of_explanations() -> None:
    help_ = "".join(sections("send").values())
    begin = {match.start(1) for line in help_.splitlines() if (match := re.match(r"  -.{23}  (\S)", line))}
    assert begin == {28}


def test_a_setting_is_listed_with_its_default_and_without_its_range() -> None:
    assert re.search(r"--max-attempts N +Attempts a message\.  \[5\]\n", sections("send")["Pace and safety"])
    assert "--yes" in sections("send")[OWN]


def test_values_arrive_typed_in_the_group_that_declares_them() -> None:
    options = parsed("send", "people.csv", "--rate", "300/min", "--suppress", "a", "--suppress", "b", "--json")
    assert isinstance(options, SendOptions)
    assert (options.source, options.run.rate, options.output.as_json) == ("people.csv", 5.0, True)
    assert [str(file) for file in options.input.suppress] == ["a", "b"]
    assert (options.run.workers, options.input.show, options.new) == (None, 5, False)
    assert options.run.on_command_line("rate")
    assert not options.run.on_command_line("workers")


def test_options_are_frozen_and_know_their_fields() -> None:
    options = parsed("resume", "people.ledger.db")
    assert isinstance(options, ResumeOptions)
    with pytest.raises(AttributeError, match="frozen"):
        options.yes = True  # type: ignore[misc]  # what is tested
    with pytest.raises(TypeError, match="wrkers"):
        RunOptions(wrkers=3)  # type: ignore[call-arg]  # what is tested


def test_what_a_run_is_started_with_has_an_option_each_of_the_same_name() -> None:
    ours, kept = get_type_hints(RunOptions), RunSettings().as_dict()
    assert set(kept) - set(ours) == {"adapt"}, "whose option says the contrary: --no-adapt"
    assert set(RunOptions.FIELDS) - set(kept) == {*("no_adapt", "start_registry", "at", "latest", "next_day")}, (
        "which are of this start only"
    )


def test_only_a_flag_changes_what_the_ledger_keeps(cli: "CliHarness") -> None:
    cli.export("BULKSMS_WORKERS", "9")
    options = parsed("resume", "x", "--timeout", "7")
    assert isinstance(options, ResumeOptions)
    assert options.run.settings() == RunSettings(workers=9, timeout=7.0)
    assert options.run.settings(RunSettings(workers=3)) == RunSettings(workers=3, timeout=7.0)


@pytest.mark.parametrize("call", [("resume", "planned.db"), ("retry", "planned.db", "--only", "expired", "--yes")])
def test_what_continues_a_ledger_takes_the_options_of_a_run(call: tuple[str, ...], cli: "CliHarness") -> None:
    cli.server()
    cli.people(3)
    assert cli("plan", "people.csv", "--ledger", "planned.db", "--quiet").code == 0
    if call[0] == "retry":
        assert cli("resume", "planned.db", "--deadline", "1s", "--rate", "0.1", "--workers", "1").code == 5
    assert cli(*call, "--max-attempts", "3", "--json", "--quiet").code == 0
    with open_ledger(cli.folder / "planned.db") as reader:
        assert reader.runs()[-1].settings["max_attempts"] == 3


def test_yes_answers_the_question(cli: "CliHarness", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulksms.cli.flows.ledger_run.on_terminal", lambda: True)
    server = cli.server()
    cli.people(2)
    cli("plan", "people.csv")
    assert cli("resume", "people.ledger.db").code == 2  # it is asked, and the terminal is none
    assert server.journal.total == 0
    assert cli("resume", "people.ledger.db", "--yes").code == 0
    assert server.journal.total == 2


def test_options_of_the_same_name_are_the_same_setting() -> None:
    kinds: dict[str, set[object]] = {}
    for name in COMMANDS:
        for option in options_of(name):
            if option.is_setting:
                kinds.setdefault(option.key, set()).add((option.name, str(option.file_type), option.envvar))
    assert set(kinds) == set(SETTINGS)
    assert {name: kind for name, kind in kinds.items() if len(kind) > 1} == {}
