"""Setting: an option that the environment and a file may give as well as the command line.

Laws: the command line beats the environment, which beats the file, which beats the default. What says that something is
to be done now, or with whom (`--yes`, `--new`, `--ledger`, `--text`), is no setting: it is said each time.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from bulksms.cli.settings.configuration import Kind, Known, checked, read

FILE_NAME = Path("bulksms.toml")
"""The file that is read where no other is named, if it is there."""
PREFIX = "BULKSMS_"
_READ = "bulksms.cli.settings.setting"
"""Where click's context keeps which file was read."""


class Setting(click.Option):
    """An option that may be `BULKSMS_MAX_RECIPIENTS` in the environment and `max-recipients` in a file, too.

    `otherwise` is the value that holds where it is given nowhere; the help shows it.
    """

    def __init__(self, declarations: tuple[str, ...], *, otherwise: object = None, **attributes: Any) -> None:  # noqa: ANN401 - as click has it
        otherwise = attributes.get("default", otherwise)
        if otherwise is not None:
            shown = f"{otherwise:,g}" if isinstance(otherwise, float | int) else str(otherwise)
            attributes["help"] = f"{attributes['help']}  [{shown}]"
        self.key = next(name for name in declarations if name.startswith("--")).removeprefix("--")
        super().__init__(declarations, **{"envvar": PREFIX + self.key.replace("-", "_").upper()} | attributes)
        self.otherwise = False if self.is_flag else otherwise

    @property
    def known(self) -> Known:
        """What a file may say of it."""
        return Known(self.name or self.key, self._kind, self.multiple)

    @property
    def _kind(self) -> Kind:
        if self.is_flag:
            return Kind.TRUTH
        match self.type:
            case click.IntRange():
                return Kind.WHOLE
            case click.FloatRange():
                return Kind.NUMBER
            case click.Path():
                return Kind.FILE
        return Kind.TEXT

    def get_help_extra(self, ctx: click.Context) -> click.types.OptionHelpExtra:
        """As click has it, without the range: that is said to whoever leaves it, and the default is said already."""
        extra = super().get_help_extra(ctx)
        extra.pop("range", None)
        return extra

    def get_error_hint(self, ctx: click.Context | None) -> str:
        """The place where a wrong value stands, which is not always the command line."""
        origin = None if ctx is None else self.origin(ctx)
        if origin is None:
            return super().get_error_hint(ctx)
        return f"'{origin}'" if origin in (self.envvar, f"--{self.key}") else f"'{self.key}' in {origin}"

    def origin(self, context: click.Context) -> str | None:
        """Where the value was given: the option, the variable, or the file; None for the default."""
        source = context.get_parameter_source(self.name or "")
        if source is ParameterSource.COMMANDLINE:
            return f"--{self.key}"
        if source is ParameterSource.ENVIRONMENT:
            return str(self.envvar)
        return str(context.meta[_READ]) if source is ParameterSource.DEFAULT_MAP else None


def on_command_line(name: str) -> bool:
    """Whether this call's own words gave the parameter, rather than the environment, a file or nobody."""
    return click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE


def in_file(name: str) -> bool:
    """Whether it is the file of settings that gave the parameter."""
    return click.get_current_context().get_parameter_source(name) is ParameterSource.DEFAULT_MAP


def file_read(context: click.Context) -> Path | None:
    """The file of settings that was read, if one was."""
    return context.meta.get(_READ)


def options_of_all(group: click.Group) -> Iterator[click.Option]:
    """The options of every command; `config` has those of the others."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = None if name == "config" else group.get_command(context, name)
        if command is not None:
            yield from (parameter for parameter in command.params if isinstance(parameter, click.Option))


def settings_of(group: click.Group) -> dict[str, Setting]:
    """Every setting of every command, by name; of those that several commands have, the first one's."""
    settings: dict[str, Setting] = {}
    for option in options_of_all(group):
        if isinstance(option, Setting):
            settings.setdefault(option.key, option)
    return settings


def read_settings(context: click.Context, _: click.Parameter, file: Path | None) -> None:
    """`--config FILE`, or `bulksms.toml` in the working directory: what it says holds where nothing else is said.

    Raises UsageError if it cannot be used.
    """
    if file is None and FILE_NAME.exists():
        file = FILE_NAME
    group = context.find_root().command
    if file is None or context.resilient_parsing or not isinstance(group, click.Group):
        return
    settings = settings_of(group)
    known = {name: setting.known for name, setting in settings.items()}
    names = {flag.removeprefix("--") for option in options_of_all(group) for flag in option.opts}
    context.default_map = checked(read(file), known, names - known.keys(), file)
    context.meta[_READ] = file
