"""The options that several commands share, each declared once."""

from dataclasses import fields, replace
from pathlib import Path
from typing import ClassVar, Literal

import click

from bulksms.cli.options.declaration import FILE, Options, option, setting
from bulksms.cli.options.settings_file import read_settings
from bulksms.cli.options.values import (
    LEDGER,
    WORKERS,
    checked_command,
    columns,
    deadline,
    failure_limit,
    hours,
    identifier,
    match_property,
    moment,
    named_value,
)
from bulksms.ledger import LedgerName
from bulksms.model.run_settings import AUTO_WORKERS, FIXED_WORKERS, Deadline, DeliveryMode, RunSettings
from bulksms.policy.rate_limiter import parse_rate

DEFAULTS = RunSettings()


class InputOptions(Options):
    """How the input is read, and what text is made of it."""

    HEADING: ClassVar[str] = "Input"
    format: Literal["csv", "jsonl", "xlsx"] | None = option(
        None, "Format of the input.  [by its name]", type=click.Choice(["csv", "jsonl", "xlsx"])
    )
    text: str | None = option(None, "One text for all; ((column)) takes that row's value.", metavar="TEMPLATE")
    set: tuple[tuple[str, str], ...] = option(
        (), "The value of ((NAME)) in the text; repeatable.", parse=named_value, metavar="NAME=VALUE"
    )
    text_file: Path | None = option(None, "The same, from a file (UTF-8).", type=FILE, metavar="FILE")
    no_template: bool = option(False, "The text for all is literal: ((…)) is sent as written.")
    recipient_column: str | None = setting(
        None, "Column of the DN, GUID or SID, or of the names for --match.", complete=columns, metavar="NAME"
    )
    text_column: str | None = setting(None, "Column of the texts.", complete=columns, metavar="NAME")
    delimiter: str | None = option(None, "Delimiter of a CSV.  [counted in the header]", metavar="CHAR")
    encoding: str | None = option(None, "Encoding.  [BOM, UTF-8, Windows-1252 with a warning]", metavar="NAME")
    sheet: str | None = option(None, "Sheet of an Excel workbook.", metavar="NAME")
    include_hidden_rows: bool = option(False, "Send to the rows that are hidden or filtered out in a workbook, too.")
    skip_invalid: bool = setting(False, "Send the good rows; bad ones are recorded as skipped.")
    rejects: Path | None = option(None, "Write the bad rows there, with what is wrong.", type=FILE, metavar="FILE")
    force: bool = option(False, "Replace the file of --rejects if it is there already.")
    suppress: tuple[Path, ...] = setting((), "Never send to those in this file.", type=FILE, metavar="FILE")
    not_sent_in: tuple[LedgerName, ...] = option(
        (),
        "Leave out everybody to whom that ledger sent, or may have sent; repeatable.",
        type=LEDGER,
        metavar="LEDGER",
    )
    sent_in: tuple[LedgerName, ...] = option(
        (),
        "Instead of INPUT: send to everybody to whom that ledger sent, or may have sent; repeatable.",
        type=LEDGER,
        metavar="LEDGER",
    )
    max_segments: int | None = setting(None, "Refuse texts of more SMS segments.", type=click.IntRange(1), metavar="N")
    gsm7: str | None = setting(None, "Replace typographic characters by GSM-7 ones.", type=click.Choice(["replace"]))
    show: int = setting(
        5,
        "First messages shown in the preview, beside three from anywhere.",
        type=click.IntRange(0, 1000),
        metavar="N",
    )


class LookupOptions(Options):
    """What the directory is asked about the recipients before anything is sent."""

    HEADING: ClassVar[str] = "Recipients looked up"
    verify_recipients: bool = setting(
        False,
        "Look up every recipient first; reject unknown objects, non-persons, disabled accounts, missing numbers and "
        "duplicates.",
    )
    number_property: str = setting(
        "mobile", "Property that holds the phone number (with --verify-recipients).", metavar="NAME"
    )
    match: str | None = setting(
        None,
        "The recipients' column holds values of this property, such as mail, sAMAccountName, mobile or employeeID: "
        "look them up, and send to the GUIDs.",
        parse=match_property,
        metavar="PROPERTY",
    )
    country: str | None = setting(
        None, "Country of telephone numbers without a country code, such as DE (with --match mobile).", metavar="CODE"
    )
    group: tuple[str, ...] = option(
        (),
        "Instead of INPUT: send to the members of this group (DN, GUID or SID); repeatable. The text's ((property)) "
        "takes that property of each.",
        metavar="ID",
    )
    ou: tuple[str, ...] = option(
        (), "Instead of INPUT: send to the users in this organizational unit; repeatable.", metavar="DN"
    )
    subtree: bool = option(False, "With --ou: also in the organizational units below it.")
    search: tuple[str, ...] = option(
        (),
        "Instead of INPUT: send to the people whom this LDAP filter selects, such as (department=Sales); repeatable.",
        metavar="FILTER",
    )
    not_group: tuple[str, ...] = option((), "Leave out the members of this group; repeatable.", metavar="ID")
    direct_only: bool = option(False, "Without the members of the groups in it.")
    size_limit: int = setting(10_000, "Refuse an audience of more people.", type=click.IntRange(1), metavar="N")


class EndpointOptions(Options):
    """Where the messages go, and how this side gets there."""

    HEADING: ClassVar[str] = "Endpoint"
    url: str | None = setting(None, "https://HOST/restApi", show_envvar=True)
    token_file: Path | None = setting(
        None,
        "File with the access token.  [the first that is there: BULKSMS_TOKEN, BULKSMS_TOKEN_FILE, systemd's "
        "bulksms-token, BULKSMS_USERNAME with BULKSMS_PASSWORD, a question at the terminal]",
        type=FILE,
        metavar="FILE",
    )
    token_command: str | None = setting(
        None,
        "Command that prints the access token, such as one of a vault; no shell reads it.",
        parse=checked_command,
        metavar="COMMAND",
    )
    password_file: Path | None = setting(
        None,
        "File with the password of BULKSMS_USERNAME: log in with that account.  [BULKSMS_PASSWORD]",
        type=FILE,
        metavar="FILE",
    )
    username: str | None = setting(None, "Account to log in with, user@domain or DOMAIN\\user.", metavar="NAME")
    ca_file: Path | None = setting(None, "More certificate authorities (PEM).", type=FILE, metavar="FILE")
    proxy: str | None = setting(None, "Proxy.  [HTTPS_PROXY, NO_PROXY]", metavar="URL")
    insecure_http: bool = setting(False, "Allow http:// to another host than this one.")
    config: Path | None = option(
        None,
        "Settings file, such as workers = 32.  [bulksms.toml, if it is here]",
        type=FILE,
        metavar="FILE",
        envvar="BULKSMS_CONFIG",
        eager=read_settings,
    )
    """The settings file that was read, if one was."""


class RunOptions(Options):
    """How a run sends. What is not given holds as the ledger has it, else as `RunSettings` does."""

    HEADING: ClassVar[str] = "Pace and safety"
    workers: int | None = setting(
        None,
        f"Requests at once, at most. auto finds how many the server takes, up to {AUTO_WORKERS}.",
        type=WORKERS,
        metavar="auto|N",
        shown="auto",
    )
    no_adapt: bool = setting(False, f"Always as many at once as --workers says; {FIXED_WORKERS} without it.")
    rate: float | None = setting(
        None,
        "Messages and look-ups a second; also N/s, N/min, N/h.  [no limit]",
        parse=parse_rate,
        metavar="N",
    )
    timeout: float | None = setting(
        None, "Seconds for an answer.", type=click.FloatRange(0.1, 3600), metavar="S", shown=DEFAULTS.timeout
    )
    server_wait: int | None = setting(
        None,
        "Ask the server to answer 202 after S seconds instead of blocking; 0 disables.  [0.8 time-outs]",
        type=click.IntRange(0, 3600),
        metavar="S",
    )
    max_attempts: int | None = setting(
        None, "Attempts a message.", type=click.IntRange(1, 100), metavar="N", shown=DEFAULTS.max_attempts
    )
    delivery: str | None = setting(
        None,
        "What may be sent again.",
        type=click.Choice([mode.value for mode in DeliveryMode]),
        shown=DEFAULTS.delivery.value,
    )
    max_failures: str | None = setting(
        None,
        "Stop after N failed messages, or when N% of the last 50 failed.",
        parse=failure_limit,
        metavar="N|N%",
    )
    test_to: str | None = setting(None, "First send the first text there: to yourself.", parse=identifier, metavar="ID")
    canary: int | None = setting(
        None, "Send the first N one at a time; stop if not accepted.", type=click.IntRange(1), metavar="N"
    )
    deadline: Deadline | None = setting(
        None,
        "14:30, 2026-11-22T14:30+01:00 or 30m; then nothing begins.",
        parse=deadline,
        metavar="TIME",
    )
    at: float | None = option(None, "Start then: 14:30, 2026-11-22T14:30+01:00.", parse=moment, metavar="TIME")
    latest: float | None = option(None, "With --at: what has not begun by then expires.", parse=moment, metavar="TIME")
    hours: str | None = setting(
        None, "Send only in these hours of the day, in local time.", parse=hours, metavar="08:00-20:00"
    )
    next_day: bool = option(False, "Go on when the sending hours begin again; else the rest stays queued.")
    keep_going: bool = setting(False, "Go on when many in a row are refused in the same words.")
    max_outage: float | None = setting(
        None,
        "Seconds that the server may be unavailable.",
        type=click.FloatRange(0),
        metavar="S",
        shown=DEFAULTS.max_outage,
    )
    poll_timeout: float | None = setting(
        None, "Ask so long about a slow send.", type=click.FloatRange(0.1), metavar="S", shown=DEFAULTS.poll_timeout
    )
    start_registry: Path | None = setting(
        None,
        "Shared folder where machines register the plans they start, so none is sent twice.",
        type=FILE,
        metavar="DIR",
    )

    def settings(self, kept: RunSettings | None = None) -> RunSettings:
        """How to send. What is kept of an earlier run holds against environment and file; only a flag changes it."""
        known = {one.name for one in fields(RunSettings)}
        names = [name for name in self.FIELDS if kept is None or self.on_command_line(name)]
        values = {name: getattr(self, name) for name in names if name in known}
        if values.get("keep_going") is False:
            del values["keep_going"]
        changed = (kept or DEFAULTS).changed(values)
        if self.latest is not None:
            changed = replace(changed, deadline=Deadline(at=self.latest))
        if not (self.no_adapt and "no_adapt" in names):
            return changed
        is_open = self.workers is None and kept is None
        return replace(changed, adapt=False, workers=FIXED_WORKERS if is_open else changed.workers)


class OutputOptions(Options):
    """What the command says, and what it writes down about itself."""

    HEADING: ClassVar[str] = "Output and logs"
    quiet: bool = setting(False, "No progress, no summary on stderr.", short="-q")
    as_json: bool = setting(False, "The result as one JSON object on stdout.", flag="--json")
    log_level: str = setting(
        "warning", "The least important events that are logged.", type=click.Choice(["debug", "info", "warning"])
    )
    log_format: str = setting("console", "For people, or a JSON object a line.", type=click.Choice(["console", "json"]))
    log_file: Path | None = setting(None, "Write the log there.  [stderr]", type=FILE, metavar="FILE")
    on_finish: str | None = setting(
        None,
        "Command run at every end, with the --json result on its standard input and BULKSMS_EXIT_CODE; no shell reads "
        "it.",
        parse=checked_command,
        metavar="COMMAND",
    )
    event_log: bool = setting(
        False, "Write start, end and what needs attention to the system's log; ids of ends are the exit codes."
    )
    log_recipients: bool = setting(False, "Name the recipients in the log, beside the rows' numbers.")


class SendingOptions(Options):
    """What every command that sends takes."""

    yes: bool = option(False, "Send without a question.")
    max_recipients: int | None = setting(None, "Refuse a plan of more.", type=click.IntRange(1), metavar="N")
    endpoint: EndpointOptions
    run: RunOptions
    output: OutputOptions
