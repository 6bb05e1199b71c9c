"""Values: what is written after an option, made into what the program works with, and what the Tab key offers there.

Invariants: a value that is wrong raises ValueError with a sentence. At the Tab key no ledger is opened and no server
asked; what cannot be read offers nothing, and says nothing.
"""

import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import click
from click.shell_completion import CompletionItem

from bulksms.ledger import DatabaseUrl, LedgerUrl, Rows, Selection, is_url
from bulksms.model.message import REASONS, State
from bulksms.model.recipient import BadRecipient, parse_recipient
from bulksms.model.run_settings import AUTO_WORKERS, Deadline, SendingHours
from bulksms.policy.judgement import FailureLimit

_AGE = re.compile(r"(\d{1,5})([dw])", re.ASCII)
SUFFIXES = (".ledger.db", ".sandbox.db")
"""How the names of ledgers end."""


class LedgerParameter(click.Path):
    """A path, which the shell completes with the ledgers there are (or any file), or the URL of one in a database."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401 - as click has it
        """The name of the ledger. Raises UsageError for a URL that is none of a ledger."""
        if isinstance(value, str) and is_url(value):
            return LedgerUrl.parse(value)
        return super().convert(value, param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The ledgers in the folder that is being typed, and its folders."""
        typed = Path(incomplete)
        folder = typed if incomplete.endswith(("/", "\\")) else typed.parent
        try:
            found = sorted(path for path in folder.iterdir() if path.name.endswith(SUFFIXES))
        except OSError:
            found = []
        named = [str(path) for path in found if str(path).startswith(incomplete.removeprefix("./"))]
        return [CompletionItem(name) for name in named] or super().shell_complete(ctx, param, incomplete)


class DatabaseParameter(click.Path):
    """A folder, or the URL of a database."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401 - as click has it
        """The folder or the database. Raises UsageError for a URL that is none of a database."""
        if isinstance(value, str) and is_url(value):
            return DatabaseUrl.parse(value)
        return super().convert(value, param, ctx)


FOLDER = DatabaseParameter(path_type=Path)
LEDGER = LedgerParameter(path_type=Path)


def states(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """`failed`, `failed:rejected`, … after what is typed up to the last comma."""
    before, comma, last = incomplete.rpartition(",")
    words = chain.from_iterable((state.value, *(f"{state}:{reason}" for reason in REASONS[state])) for state in State)
    return [f"{before}{comma}{word}" for word in words if word.startswith(last)]


def columns(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """The columns of the input that is named before, if it is a CSV file that can be read."""
    # An option that still lacks its value keeps click from giving the arguments their names.
    source = context.params.get("source") or next(iter(context.args), None)
    return [name for name in _header(source) if name.startswith(incomplete)]


def _header(source: Any) -> Iterator[str]:  # noqa: ANN401 - whatever was typed
    from bulksms.errors import BulksmsError  # noqa: PLC0415 - only at the Tab key
    from bulksms.input.csv_rows import DelimitedRows  # noqa: PLC0415
    from bulksms.input.decoding import Text  # noqa: PLC0415

    try:
        with Path(str(source)).open("rb") as stream:
            yield from DelimitedRows(Text(stream, str(source), None), None).columns
    except (OSError, BulksmsError):
        return


def moment(value: str) -> float:
    """`--at`: a time of day or a moment; POSIX seconds. Raises ValueError."""
    try:
        at = deadline(value).at
    except ValueError as error:
        raise ValueError(str(error).replace(" or 30m", "")) from error
    if at is None:
        raise ValueError(f"{value!r} is no moment; give a time such as 14:30 or 2026-11-22T14:30+01:00")
    return at


def hours(value: str) -> str:
    """`--hours 08:00-20:00`. Raises ValueError."""
    return str(SendingHours.parse(value))


def deadline(value: str) -> Deadline:
    """`--deadline`: a time of day, a moment, or a duration from the first request. Raises ValueError."""
    try:
        return Deadline.parse(value, datetime.now().astimezone(), datetime.astimezone)
    except ValueError as error:
        raise ValueError(f"{error}; give a time such as 14:30, 2026-11-22T14:30+01:00 or 30m") from error


def identifier(value: str) -> str:
    """`--test-to`: a DN, GUID or SID. Raises ValueError."""
    try:
        return parse_recipient(value).given
    except BadRecipient as error:
        raise ValueError(str(error)) from error


def match_property(value: str) -> str:
    """`--match`: the name of a property. Raises ValueError."""
    from bulksms.input.options import property_name  # noqa: PLC0415 - it would cost the help its start

    return property_name(value)


def failure_limit(value: str) -> str:
    """`--max-failures 25` or `10%`, kept as it was written. Raises ValueError."""
    try:
        FailureLimit.parse(value)
    except ValueError as error:
        raise ValueError(f"{value!r} is neither a number such as 25 nor a share such as 10%") from error
    return value


class WorkersRange(click.IntRange):
    """`auto`, or a number of requests."""

    name = "auto or integer"
    file_type = int | Literal["auto"]

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: ANN401 - as click has it
        """The number; that of `auto` is the most that a run finds by itself."""
        return AUTO_WORKERS if value == "auto" else int(super().convert(value, param, ctx))


WORKERS = WorkersRange(1, 1024)


def named_value(value: str) -> tuple[str, str]:
    """`--set until=18:00`. Raises ValueError."""
    name, equals, given = value.partition("=")
    if not name.strip() or not equals:
        raise ValueError(f"{value!r} is not NAME=VALUE")
    return name.strip(), given


def selection(value: str) -> Selection:
    """`--only failed:attempts_exhausted,expired`. Raises ValueError with a sentence that names the states."""
    return Selection.parse(value)


def rows(value: str) -> Rows:
    """`--rows 12,40-60`: rows as the report shows them. Raises ValueError."""
    return Rows.parse(value)


def age(value: str) -> timedelta:
    """`--older-than 90d` or `12w`. Raises ValueError."""
    match = _AGE.fullmatch(value.strip())
    if match is None:
        raise ValueError(f"{value!r} is no age; write days such as 90d, or weeks such as 12w")
    return timedelta(days=int(match[1]) * (7 if match[2] == "w" else 1))


def names(value: str) -> tuple[str, ...]:
    """`--columns row,name,mobile`. Raises ValueError for none at all."""
    found = tuple(name.strip() for name in value.split(",") if name.strip())
    if not found:
        raise ValueError("name at least one column, such as row,name,status")
    return found


def arguments_of(command: str) -> str | Sequence[str]:
    """The command for `subprocess`, as POSIX shells split it; Windows splits it itself. Raises ValueError."""
    if not command.strip():
        raise ValueError("the command is empty")
    if sys.platform == "win32":
        return command
    return shlex.split(command)


def checked_command(value: str) -> str:
    """`--on-finish`, `--token-command`: kept as it was written. Raises ValueError if its quotes are not closed."""
    arguments_of(value)
    return value
