"""Options that several commands share, each once."""

from collections.abc import Callable
from datetime import datetime
from functools import partial, reduce
from pathlib import Path
from typing import Any, TypeVar

import click

from bulksms.cli.settings.setting import Setting, read_settings
from bulksms.delivery.breaker import FailureLimit
from bulksms.delivery.deadline import Deadline
from bulksms.delivery.outcome import Delivery
from bulksms.delivery.pace import parse_rate
from bulksms.ledger.selection import Rows, Selection
from bulksms.recipient import BadRecipient, parse_recipient

Function = TypeVar("Function", bound=Callable[..., Any])
Option = Callable[[Function], Function]

MATCHES = ("mail", "sAMAccountName", "userPrincipalName")
"""Names by which people can be looked up, `bulksms.intake.Match`: written out, for it would cost the help its start."""
FILE = click.Path(path_type=Path)
INPUT = click.Path(allow_dash=True)
"""A file or standard input; the shell completes it as a file."""
setting = partial(click.option, cls=Setting)
"""An option that `BULKSMS_<NAME>` and a file may give, too."""


config_option = click.option(
    "--config",
    type=FILE,
    envvar="BULKSMS_CONFIG",
    is_eager=True,
    expose_value=False,
    callback=read_settings,
    metavar="FILE",
    help="File of settings, such as workers = 32.  [bulksms.toml, if it is here]",
)


def _all_of(*options: Callable[[Function], Function]) -> Callable[[Function], Function]:
    return lambda function: reduce(lambda decorated, option: option(decorated), reversed(options), function)


def input_options(function: Function) -> Function:
    """How the input is read, and what text is made of it."""
    return _all_of(
        click.option(
            "--format", type=click.Choice(["csv", "jsonl", "xlsx"]), help="Format of the input.  [by its name]"
        ),
        click.option("--text", metavar="TEMPLATE", help="One text for all; ((column)) takes that row's value."),
        click.option("--text-file", type=FILE, metavar="FILE", help="The same, from a file (UTF-8)."),
        click.option("--no-template", is_flag=True, help="The text for all is literal: ((…)) is sent as it stands."),
        setting(
            "--recipient-column", metavar="NAME", help="Column of the DN, GUID or SID, or of the names for --match."
        ),
        setting("--text-column", metavar="NAME", help="Column of the texts."),
        click.option("--delimiter", metavar="CHAR", help="Delimiter of a CSV.  [counted in the header]"),
        click.option("--encoding", metavar="NAME", help="Encoding.  [BOM, UTF-8, Windows-1252 with a warning]"),
        click.option("--sheet", metavar="NAME", help="Sheet of an Excel workbook."),
        setting("--skip-bad", is_flag=True, help="Send the good rows; bad ones are recorded as skipped."),
        click.option("--rejects", type=FILE, metavar="FILE", help="Write the bad rows there, with what is wrong."),
        setting("--suppress", type=FILE, multiple=True, metavar="FILE", help="Never send to those in this file."),
        click.option(
            "--not-told-in",
            type=FILE,
            multiple=True,
            metavar="LEDGER",
            help="Leave out who was or may have been told in that ledger; repeatable.",
        ),
        click.option(
            "--told-in",
            type=FILE,
            multiple=True,
            metavar="LEDGER",
            help="Instead of INPUT: send to those who were or may have been told in that ledger; repeatable.",
        ),
        setting("--max-segments", type=click.IntRange(1), metavar="N", help="Refuse texts of more SMS segments."),
        setting("--gsm7", type=click.Choice(["replace"]), help="Replace typographic characters by GSM-7 ones."),
        setting(
            "--show",
            type=click.IntRange(0, 1000),
            metavar="N",
            help="First messages shown in the preview, beside three from anywhere.",
            otherwise=5,
        ),
    )(function)


def look_up_options(function: Function) -> Function:
    """What the directory is asked about the recipients before anything is sent."""
    return _all_of(
        setting(
            "--verify-recipients",
            is_flag=True,
            help="Look everybody up first: unknown, no person, no number, disabled, the same person twice.",
        ),
        setting(
            "--number-property", metavar="NAME", help="Property that must hold a number, for that.", otherwise="mobile"
        ),
        setting(
            "--match",
            type=click.Choice(MATCHES),
            help="The recipients' column holds these names: look them up, and send to the GUIDs.",
        ),
        click.option(
            "--group",
            multiple=True,
            metavar="ID",
            help="Instead of INPUT: send to the members of this group (DN, GUID or SID); repeatable. The text's "
            "((property)) takes that property of each.",
        ),
        click.option("--direct-only", is_flag=True, help="Without the members of the groups in it."),
        setting(
            "--size-limit",
            type=click.IntRange(1),
            metavar="N",
            help="Refuse a group of more members.",
            otherwise=10_000,
        ),
    )(function)


def input_or_instead(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """INPUT may be absent only where --told-in or --group takes its place."""
    if value is None and not context.params.get("told_in") and not context.params.get("group"):
        raise click.MissingParameter(ctx=context, param=parameter)
    return value


def endpoint_options(function: Function) -> Function:
    """Where the messages go, and how this side gets there."""
    return _all_of(
        setting("--url", show_envvar=True, help="https://HOST/restApi"),
        setting(
            "--token-file",
            type=FILE,
            metavar="FILE",
            help="File with the access token.  [the first that is there: BULKSMS_TOKEN, BULKSMS_TOKEN_FILE, systemd's "
            "bulksms-token, BULKSMS_USERNAME with BULKSMS_PASSWORD, a question at the terminal]",
        ),
        setting(
            "--password-file",
            type=FILE,
            metavar="FILE",
            help="File with the password of BULKSMS_USERNAME: log in with that account.  [BULKSMS_PASSWORD]",
        ),
        setting("--username", metavar="NAME", help="Account to log in with, user@domain or DOMAIN\\user."),
        setting("--ca-file", type=FILE, metavar="FILE", help="More certificate authorities (PEM)."),
        setting("--proxy", metavar="URL", help="Proxy.  [HTTPS_PROXY, NO_PROXY]"),
        setting("--insecure-http", is_flag=True, help="Allow http:// to another host than this one."),
        config_option,
    )(function)


def run_options(function: Function) -> Function:
    """How a run sends; what is not said holds as the ledger has it, else as the default."""
    modes = click.Choice([mode.value for mode in Delivery])
    return _all_of(
        setting("--workers", type=click.IntRange(1, 1024), metavar="N", help="Requests at once.", otherwise=16),
        setting("--no-adapt", is_flag=True, help="Keep to that number; else a run begins with 4 and feels its way."),
        setting(
            "--rate",
            callback=rate,
            metavar="N",
            help="Messages and look-ups a second; also N/s, N/min, N/h.  [no limit]",
        ),
        setting(
            "--timeout", type=click.FloatRange(0.1, 3600), metavar="S", help="Seconds for an answer.", otherwise=30.0
        ),
        setting(
            "--server-wait",
            type=click.IntRange(0, 3600),
            metavar="S",
            help="Seconds the server may work before it answers that it still does; 0 is off.  [0.8 time-outs]",
        ),
        setting("--max-attempts", type=click.IntRange(1, 100), metavar="N", help="Attempts a message.", otherwise=5),
        setting("--delivery", type=modes, help="What may be sent again.", otherwise=Delivery.BALANCED.value),
        setting(
            "--max-failures", callback=failure_limit, metavar="N|N%", help="Stop at so many failures, or such a part."
        ),
        setting("--test-to", callback=identifier, metavar="ID", help="First send the first text there: to yourself."),
        setting(
            "--canary",
            type=click.IntRange(1),
            metavar="N",
            help="Send the first N one at a time; stop if not accepted.",
        ),
        setting(
            "--deadline",
            callback=deadline,
            metavar="TIME",
            help="14:30, 2026-11-22T14:30+01:00 or 30m; then nothing begins.",
        ),
        setting("--keep-going", is_flag=True, help="Go on when many in a row are refused in the same words."),
        setting(
            "--max-pause",
            type=click.FloatRange(0),
            metavar="S",
            help="Seconds that the server may be away.",
            otherwise=600.0,
        ),
        setting(
            "--poll-timeout",
            type=click.FloatRange(0.1),
            metavar="S",
            help="Ask so long about a slow send.",
            otherwise=600.0,
        ),
        setting(
            "--claims",
            type=FILE,
            metavar="DIR",
            help="Folder shared by several machines: of one plan to one URL, only the first of them starts it.",
        ),
    )(function)


def talk_options(function: Function) -> Function:
    """What the command says, and what it writes down about itself."""
    return _all_of(
        setting("--quiet", "-q", is_flag=True, help="No progress, no summary on stderr."),
        setting("--json", "as_json", is_flag=True, help="The result as one JSON object on stdout."),
        setting(
            "--log-level",
            type=click.Choice(["debug", "info", "warning"]),
            default="warning",
            help="Events that are told.",
        ),
        setting(
            "--log-format",
            type=click.Choice(["console", "json"]),
            default="console",
            help="For people, or a JSON object a line.",
        ),
        setting("--log-file", type=FILE, metavar="FILE", help="Write the log there.  [stderr]"),
        setting("--log-recipients", is_flag=True, help="Name the recipients in the log, beside the rows' numbers."),
    )(function)


def rate(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """`--rate 300/min` as messages a second."""
    try:
        return None if value is None else parse_rate(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def deadline(_: click.Context, __: click.Parameter, value: str | None) -> Deadline | None:
    """`--deadline`: a time of day, a moment, or a duration from the first request."""
    try:
        return None if value is None else Deadline.parse(value, datetime.now().astimezone())
    except ValueError as error:
        hint = "give a time such as 14:30, 2026-11-22T14:30+01:00 or 30m"
        raise click.BadParameter(f"{error}; {hint}") from error


def identifier(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """`--test-to`: a DN, GUID or SID."""
    try:
        return None if value is None else parse_recipient(value).given
    except BadRecipient as error:
        raise click.BadParameter(str(error)) from error


def failure_limit(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """`--max-failures 25` or `10%`, kept as it was written."""
    try:
        if value is not None:
            FailureLimit.parse(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is neither a number such as 25 nor a part such as 10%") from error
    return value


def selection(_: click.Context, __: click.Parameter, value: str | None) -> Selection | None:
    """`--only failed:gave_up,expired`: the states, or a sentence that names the good ones."""
    try:
        return None if value is None else Selection.parse(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def rows(_: click.Context, __: click.Parameter, value: str | None) -> Rows | None:
    """`--rows 12,40-60`: rows as the report shows them."""
    try:
        return None if value is None else Rows.parse(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
