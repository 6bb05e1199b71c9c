"""`bulksms check` and `new`: by day, write a mailing file, reach the server step by step, and send nothing.

Invariants: a line is printed as soon as its step has ended, and no step sends anything.
"""

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

import click

from bulksms import adaxes
from bulksms.adaxes import CheckResult, Client, Step
from bulksms.cli.commands.send import run_send
from bulksms.cli.options.commands import KINDS, CheckOptions, NewOptions, SendOptions
from bulksms.cli.options.declaration import OptionsCommand, read_options
from bulksms.cli.options.endpoint import base_url, resolve
from bulksms.cli.options.mailing import SUFFIX, TEMPLATE, ages, is_mailing, read_mailing
from bulksms.cli.ui.console import command_line, fitted, info, print_json, say
from bulksms.errors import UsageError
from bulksms.model.recipient import BadRecipient, parse_recipient
from bulksms.report.shapes import Check, CheckStep
from bulksms.report.summary import ExitCode

_WIDTH = max(map(len, Step))


def run_check(options: CheckOptions) -> int:
    """Try one step after the other; the exit code."""
    recipient = options.recipient
    if recipient is not None and is_mailing(recipient):
        return _check_mailing(recipient, options)
    if options.endpoint.url is None:
        raise UsageError("There is no URL to check.", hint="Set BULKSMS_URL or --url to https://HOST/restApi.")
    if recipient is None and options.on_command_line("number_property"):
        raise UsageError("--number-property is about a recipient, and none is named.", hint="Add its DN, GUID or SID.")
    return _check_server(options.endpoint.url, None if recipient is None else _identifier(recipient), options)


def _check_server(given: str, identifier: str | None, options: CheckOptions) -> int:
    """Reach the server of this URL step by step, and look the recipient up there; the exit code."""
    shown = _Shown(given, quiet=options.as_json)
    try:
        url = base_url(options.endpoint)
    except UsageError as mistake:
        shown.add(CheckResult(Step.URL, passed=False, message=str(mistake), hint=mistake.hint))
    else:
        endpoint = resolve(options.endpoint, url)
        client = Client(endpoint.client_settings(1, options.timeout), endpoint.credentials)
        asyncio.run(_check(client, identifier, options.number_property, shown))
    if options.as_json:
        print_json(shown.check())
    return ExitCode.ALL_ACCEPTED if shown.good else ExitCode.STOPPED


def _check_mailing(file: str, options: CheckOptions) -> int:
    """What the mailing would do now: its files, the server if there is a URL, and the preview; the exit code."""
    if options.as_json:
        hint = f"`bulksms send {file} --dry-run --json` has the preview."
        raise UsageError("--json is about the steps of reaching the server.", hint=hint)
    for line in ages(read_mailing(Path(file), SendOptions)):
        click.echo(line)
    code: int = ExitCode.ALL_ACCEPTED
    if options.endpoint.url is None:
        say("There is no URL, so the server and the recipients' numbers are not looked at.")
    else:
        code = _check_server(options.endpoint.url, None, options)
    click.echo("")
    sending = _as_sent(file, options)
    code = run_send(sending, is_check=True) or code
    to_be_given = (word for name, value in sending.input.set if value == f"({name})" for word in ("--set", f"{name}=…"))
    say("To send it, with a value in the place of each …:" if sending.input.set else "To send it:")
    info(f"  {command_line(('send', file, *to_be_given))}")
    return code


def _as_sent(file: str, options: CheckOptions) -> SendOptions:
    """What `send MAILING.toml --dry-run` would do with the endpoint of a check. Raises UsageError."""
    words = [file, "--dry-run"]
    for name, value in read_mailing(Path(file), SendOptions).values.items():
        if not value.strip():
            say(f"The value {name} is given when it is sent: --set {name}=…")
            words += ["--set", f"{name}=({name})"]
    if options.endpoint.url is not None:
        words.append("--verify-recipients")
    given = [each for name, each in options.endpoint.given.items() if name in options.endpoint.FIELDS]
    for each in given:
        if each.place == "flag":
            words += [each.name] if each.value is True else [each.name, str(each.value)]
    command = OptionsCommand("send", SendOptions, KINDS)
    with click.Context(command) as parent:
        context = command.make_context("send", words, parent=parent)
    return read_options(SendOptions, context)


def _identifier(recipient: str) -> str:
    try:
        return parse_recipient(recipient).given
    except BadRecipient as bad:
        raise UsageError(f"{recipient!r} cannot be looked up: {bad}.", hint=bad.hint) from None


async def _check(client: Client, recipient: str | None, number_property: str, shown: "_Shown") -> None:
    async with client:
        async for finding in adaxes.diagnose(client, recipient, number_property=number_property):
            shown.add(finding)


class _Shown:
    """The steps so far, each printed when it comes, unless all are printed as JSON."""

    def __init__(self, url: str, *, quiet: bool) -> None:
        self._url = url.strip().rstrip("/")
        self._findings: list[CheckResult] = []
        self._quiet = quiet

    @property
    def good(self) -> bool:
        """Whether every step that was tried went well."""
        return all(finding.passed for finding in self._findings)

    def add(self, finding: CheckResult) -> None:
        """One more step has ended."""
        if finding.step is Step.URL and finding.passed and finding.message.casefold() != self._url.casefold():
            finding = replace(finding, hint="This is what is used of the URL that was given; write it so.")
        self._findings.append(finding)
        if not self._quiet:
            click.echo(fitted(_line(finding), sys.stdout, " " * (_WIDTH + 4)))
            if finding.hint is not None:
                click.echo(fitted(f"  hint: {finding.hint}", sys.stdout, "  "))

    def check(self) -> Check:
        """All of it, for machines."""
        steps = [CheckStep(step=it.step, ok=it.passed, message=it.message, hint=it.hint) for it in self._findings]
        return Check(ok=self.good, steps=steps)


def _line(finding: CheckResult) -> str:
    good, bad = ("✓", "✗") if _can_show("✓✗") else ("ok", "no")
    return f"{good if finding.passed else bad} {finding.step:<{_WIDTH}}  {finding.message}"


def _can_show(characters: str) -> bool:
    """Whether stdout takes these characters: older Windows consoles do not."""
    try:
        characters.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def run_new(options: NewOptions) -> int:
    """Write the file, never over another one; the exit code."""
    file = options.file
    if not is_mailing(str(file)):
        raise UsageError(f"{file} is no name for a mailing file.", hint=f"Let it end in {SUFFIX}: {file.stem}{SUFFIX}")
    try:
        with file.open("x", encoding="utf-8") as written:
            written.write(TEMPLATE.format(name=file.name))
    except FileExistsError:
        raise UsageError(f"{file} exists already and is not overwritten.", hint="Choose another name.") from None
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}.", hint="Choose another folder.") from error
    say(f"{file} is written. Edit it, then `bulksms check {file}` says what it would do.")
    return ExitCode.ALL_ACCEPTED
