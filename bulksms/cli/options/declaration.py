"""Declaration: an option is one field of a frozen class, and everything else is made of it.

`--name`, `BULKSMS_NAME`, the key of a settings file, `--help` and the reference page come from that field, and mypy
checks its type wherever the option is read.

Invariants: the command line beats the environment, which beats the file, which beats the default. What says that
something is to be done now, or with whom (`--yes`, `--new`, `--text`), is an `option` and no `setting`: it is given
each time, so a forgotten variable can never confirm a send.
"""

import importlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from inspect import get_annotations
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NamedTuple, TypedDict, TypeVar, Unpack, cast, dataclass_transform

import click
from click.core import ParameterSource

from bulksms.errors import UsageError

PREFIX = "BULKSMS_"
_OTHER_ENCODING = re.compile("[\udc80-\udcff]")
"""How Python keeps a byte of an argument that is no text (PEP 383)."""
OWN = "Options"
HEADINGS = (OWN, "Input", "Recipients looked up", "Endpoint", "Pace and safety", "Output and logs")
"""Under which the help shows the options of a command that has many; its own come first."""
COLUMN = 24
"""Characters for an option in the help; the explanation of a longer one begins in the next line."""
FILE = click.Path(path_type=Path)
REQUIRED = object()
"""No default."""
Value = TypeVar("Value")
Parsed = TypeVar("Parsed", bound="Options")


class How(TypedDict, total=False):
    """How an option is written and what it takes, where its name and its default do not tell.

    `flag` is its name where that of the field cannot be, `short` a letter for it; `parse` makes the value of what is
    written, and raises ValueError; `shown` is the default that the help shows where the field's own is None: what holds
    then is decided elsewhere.
    """

    flag: str
    short: str
    type: click.ParamType[Any]
    parse: Callable[[str], object]
    metavar: str
    shown: object
    show_envvar: bool
    hidden: bool
    complete: Callable[[click.Context, click.Parameter, str], list[str]]
    eager: Callable[[click.Context, click.Parameter, Any], Any]
    envvar: str


class Declared(NamedTuple):
    """What a field says of its option."""

    help: str
    is_setting: bool
    default: Any
    how: How


class Argument(NamedTuple):
    """What a field says of its positional argument."""

    metavar: str
    kind: click.ParamType[Any]
    is_required: bool
    many: bool


class Given(NamedTuple):
    """Where a value was given, the name of that place, and the value as click took it, before it was parsed."""

    place: Literal["flag", "environment", "file"]
    name: str
    value: object


def option(default: Value, help: str, **how: Unpack[How]) -> Value:  # noqa: A002 - the word of click and argparse
    """An option that is given with each call, or not at all."""
    return cast("Value", Declared(help, False, default, how))


def setting(default: Value, help: str, **how: Unpack[How]) -> Value:  # noqa: A002 - as above
    """An option that `BULKSMS_<NAME>` and a settings file may give, too."""
    return cast("Value", Declared(help, True, default, how))


def argument(metavar: str, kind: click.ParamType[Any] = FILE, *, many: bool = False, default: object = REQUIRED) -> Any:  # noqa: ANN401 - the field's
    """A positional argument, required unless it has a default."""
    return Argument(metavar, kind, default is REQUIRED, many)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(argument,))
class Options:
    """The parsed options of a command, or of a group that several commands share: a frozen dataclass.

    A dataclass to the type checker only: `@dataclass` compiles half a dozen methods for each class, which would double
    the time that `--help` takes (measured: 130 ms against 75 ms of processor time).
    """

    HEADING: ClassVar[str] = OWN
    """Under which heading the help shows these options."""
    EXAMPLE: ClassVar[str] = ""
    MODULE: ClassVar[str] = ""
    """The module of `bulksms.cli.commands` that has the command's `run_NAME`, where it has not the command's name."""
    EXPANDED: "ClassVar[Callable[[type[Options], Mapping[str, Any], list[str]], list[str]] | None]" = None
    """Makes of the parsed words, and of the words themselves, those that are meant: some of them may be in a file."""
    SETTINGS_ONLY: ClassVar[bool] = False
    """Whether the command takes of its groups the settings and not the other options."""
    FIELDS: ClassVar[Mapping[str, "Declared | Argument | type[Options]"]] = {}
    given: Mapping[str, Given] = MappingProxyType({})
    """For each option of the call that was given: where, by the name of its field."""

    def __init_subclass__(cls) -> None:
        """Collect the fields; a default becomes the class's attribute."""
        found = dict(cls.FIELDS)
        for name, kind in get_annotations(cls).items():
            declared = cls.__dict__.get(name)
            if isinstance(declared, Declared | Argument):
                found[name] = declared
                setattr(cls, name, declared.default if isinstance(declared, Declared) else None)
            elif isinstance(kind, type) and issubclass(kind, Options):
                found[name] = kind
        cls.FIELDS = found

    def __init__(self, **values: Any) -> None:  # noqa: ANN401 - the type checker sees the fields
        if unknown := values.keys() - self.FIELDS.keys() - {"given"}:
            raise TypeError(f"{type(self).__name__} has no {', '.join(sorted(unknown))}")
        self.__dict__.update(values)

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse: options are parsed once."""
        raise AttributeError(f"{type(self).__name__} is frozen: {name} cannot be set to {value!r}")

    def on_command_line(self, name: str) -> bool:
        """Whether this call's own words gave the option, rather than the environment, a file or nobody."""
        return name in self.given and self.given[name].place == "flag"


class DeclaredOption(click.Option):
    """The option of a field, for click."""

    def __init__(self, name: str, declared: Declared, heading: str) -> None:
        how = declared.how
        self.key = how.get("flag", f"--{name.replace('_', '-')}").removeprefix("--")
        self.is_setting, self.heading, self.parse = declared.is_setting, heading, how.get("parse")
        self.default_value = declared.default if declared.default is not None else how.get("shown")
        multiple, is_flag = declared.default == (), declared.default is False
        attributes: dict[str, Any] = {"type": how.get("type"), "metavar": how.get("metavar")}
        if is_flag:
            attributes = {"is_flag": True}
        if (eager := how.get("eager")) is not None:
            attributes |= {"is_eager": True, "callback": eager}
        elif self.parse is not None:
            attributes["callback"] = self._require_parsable
        variable = how.get("envvar", PREFIX + self.key.replace("-", "_").upper() if self.is_setting else None)
        words = [how["short"]] if "short" in how else []
        super().__init__(
            [*words, f"--{self.key}", name],
            help=f"{declared.help}{self._shown_default()}",
            multiple=multiple,
            envvar=variable,
            show_envvar=how.get("show_envvar", False),
            hidden=how.get("hidden", False),
            shell_complete=how.get("complete"),
            default=None if multiple or is_flag else declared.default,
            **attributes,
        )

    def _shown_default(self) -> str:
        default = self.default_value
        if not default:
            return ""
        return f"  [{default:,g}]" if isinstance(default, float | int) else f"  [{default}]"

    def _require_parsable(self, _: click.Context, __: click.Parameter, value: Any) -> Any:  # noqa: ANN401 - as click has it
        """Refuse here, where click names the place, what `parsed` could not make a value of."""
        self.parsed(value)
        return value

    def parsed(self, value: Any) -> Any:  # noqa: ANN401 - of any option
        """The field's value. Raises click.BadParameter."""
        if self.parse is None or value is None:
            return value
        try:
            return tuple(map(self.parse, value)) if self.multiple else self.parse(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from error

    def process_value(self, ctx: click.Context, value: Any) -> Any:  # noqa: ANN401 - as click has it
        """As click does. Raises UsageError for bytes that are no text in the encoding of the terminal."""
        processed = super().process_value(ctx, value)
        for text in processed if isinstance(processed, tuple) else (processed,):
            if isinstance(text, str) and _OTHER_ENCODING.search(text):
                raise UsageError(
                    f"--{self.key} is not in the encoding of the terminal, {sys.getfilesystemencoding()}.",
                    hint="Save the text as UTF-8 in a file, and name that with --text-file."
                    if self.key == "text"
                    else "Type it where the terminal's encoding is the system's, such as UTF-8.",
                )
        return processed

    @property
    def takes_text(self) -> bool:
        """Whether what is written is a text, of which `parse` may make something else."""
        return isinstance(self.type, click.types.StringParamType | click.Choice)

    @property
    def file_type(self) -> Any:  # noqa: ANN401 - a type expression
        """The type of its value in a settings file."""
        if self.is_flag:
            return bool
        if (own := getattr(self.type, "file_type", None)) is not None:
            return own
        match self.type:
            case click.IntRange():
                return int
            case click.FloatRange():
                return float
        # What is parsed may be a number: `rate = 20` needs no quotes.
        kind = str | int | float if self.parse is not None else str
        return list[kind] | kind if self.multiple else kind  # type: ignore[valid-type]  # made at run time

    def get_help_extra(self, ctx: click.Context) -> click.types.OptionHelpExtra:
        """As click has it, without the range, which the error of a wrong value has, and the default, which is in the
        help.
        """
        extra = super().get_help_extra(ctx)
        extra.pop("range", None)
        return extra

    def get_error_hint(self, ctx: click.Context | None) -> str:
        """The place of a wrong value, which is not always the command line."""
        given = None if ctx is None else self.given(ctx)
        if given is None:
            return super().get_error_hint(ctx)
        return f"'{self.key}' in {given.name}" if given.place == "file" else f"'{given.name}'"

    def given(self, context: click.Context) -> Given | None:
        """Where the value was given; None for the default."""
        name = self.name or ""
        value = context.params.get(name)
        match context.get_parameter_source(name):
            case ParameterSource.COMMANDLINE:
                return Given("flag", f"--{self.key}", value)
            case ParameterSource.ENVIRONMENT:
                return Given("environment", str(self.envvar), value)
            case ParameterSource.DEFAULT_MAP:
                return Given("file", str(context.params.get("config")), value)
        return None


class OptionsCommand(click.Command):
    """A command whose options are declared; its module is imported when it runs, so that the help starts at once.

    `all_kinds` are the options of every command: a settings file may hold the settings of any of them.
    """

    def __init__(self, name: str, kind: type[Options], all_kinds: Mapping[str, type[Options]]) -> None:
        self.kind, self.all_kinds = kind, all_kinds
        example = f"Example: {kind.EXAMPLE}" if kind.EXAMPLE else None
        super().__init__(name, params=list(parameters(kind)), help=kind.__doc__, epilog=example)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does; the words of a mailing file come before those that were typed, which win."""
        if (expand := self.kind.EXPANDED) is not None and not ctx.resilient_parsing:
            parsed, _, _ = self.make_parser(ctx).parse_args(list(args))
            args = expand(self.kind, parsed, list(args))
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as click has it
        """Run the command with its options."""
        module = importlib.import_module(f"bulksms.cli.commands.{self.kind.MODULE or self.name}")
        return getattr(module, f"run_{self.name}")(read_options(self.kind, ctx))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As click does, with a section a heading; all of them have the same column."""
        sections: dict[str, list[tuple[str, str]]] = {heading: [] for heading in HEADINGS}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                written, explanation = record
                heading = getattr(parameter, "heading", OWN)
                sections[heading].append((written.ljust(COLUMN), explanation))
        for heading, records in sections.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records, col_max=COLUMN)


def read_options(kind: type[Parsed], context: click.Context) -> Parsed:
    """The options of a call, which click has taken apart."""
    options = [it for it in context.command.params if isinstance(it, DeclaredOption)]
    found = ((it.name or "", it.given(context)) for it in options)
    given = {name: place for name, place in found if place is not None}
    values = dict(context.params) | {it.name or "": it.parsed(context.params.get(it.name or "")) for it in options}
    return _made(kind, values, given)


def _made(kind: type[Parsed], values: Mapping[str, Any], given: Mapping[str, Given]) -> Parsed:
    known: dict[str, Any] = {"given": given}
    for name, declared in kind.FIELDS.items():
        if isinstance(declared, type):
            known[name] = _made(declared, values, given)
        elif values.get(name) is not None:
            known[name] = values[name]
    return kind(**known)


def parameters(kind: type[Options], *, settings_only: bool = False) -> Iterator[click.Parameter]:
    """The parameters of a command, in the order of its fields; those of a group are where the group is."""
    for name, declared in kind.FIELDS.items():
        if isinstance(declared, Declared):
            if declared.is_setting or "eager" in declared.how or not settings_only:
                yield DeclaredOption(name, declared, kind.HEADING)
        elif isinstance(declared, Argument):
            if not settings_only:
                metavar, takes, required, many = declared
                yield click.Argument([name], type=takes, metavar=metavar, required=required, nargs=-1 if many else 1)
        else:
            yield from parameters(declared, settings_only=settings_only or kind.SETTINGS_ONLY)


def settings_of(kinds: Mapping[str, type[Options]]) -> dict[str, DeclaredOption]:
    """Every setting of these commands by its key; of those that several have, the first one's."""
    settings: dict[str, DeclaredOption] = {}
    for option_ in options_of(kinds):
        if option_.is_setting:
            settings.setdefault(option_.key, option_)
    return settings


def options_of(kinds: Mapping[str, type[Options]]) -> Iterator[DeclaredOption]:
    """The options of these commands."""
    for kind in kinds.values():
        yield from (it for it in parameters(kind) if isinstance(it, DeclaredOption))
