"""Checking: what `check` does, from the options to the exit code.

Law: a line is there as soon as its step has ended, and no step sends anything.
"""

import asyncio
import sys
from dataclasses import replace
from typing import Any

import click

from bulksms import adaxes
from bulksms.adaxes import Client, Finding, Step
from bulksms.cli.doing.looking_up import NUMBER_PROPERTY
from bulksms.cli.screen.console import fitted, print_json
from bulksms.cli.settings.endpoint import EndpointOptions, from_environment
from bulksms.cli.settings.setting import on_command_line
from bulksms.errors import UsageError
from bulksms.recipient import BadRecipient, parse_recipient
from bulksms.report.summary import Exit

_WIDTH = max(map(len, Step))


def check(recipient: str | None, values: dict[str, Any]) -> int:
    """`bulksms check`; the exit code."""
    options = EndpointOptions.of(values)
    if options.url is None:
        raise UsageError("There is no URL to check.", hint="Set BULKSMS_URL or --url to https://HOST/restApi.")
    if recipient is None and on_command_line("number_property"):
        raise UsageError("--number-property is about a recipient, and none is named.", hint="Add its DN, GUID or SID.")
    identifier = None if recipient is None else _identifier(recipient)
    shown = _Shown(options.url, quiet=values["as_json"])
    try:
        url = options.url_or(None)
    except UsageError as mistake:
        shown.add(Finding(Step.URL, good=False, said=str(mistake), hint=mistake.hint))
    else:
        endpoint = from_environment(options, url)
        client = Client(endpoint.client_settings(1, values["timeout"]), endpoint.credentials)
        asyncio.run(_check(client, identifier, values["number_property"] or NUMBER_PROPERTY, shown))
    if values["as_json"]:
        print_json(shown.as_json())
    return Exit.ALL_ACCEPTED if shown.good else Exit.STOPPED


def _identifier(recipient: str) -> str:
    try:
        return parse_recipient(recipient).given
    except BadRecipient as bad:
        raise UsageError(f"{recipient!r} cannot be looked up: {bad}.", hint=bad.hint) from None


async def _check(client: Client, recipient: str | None, number_property: str, shown: "_Shown") -> None:
    async with client:
        async for finding in adaxes.check(client, recipient, number_property=number_property):
            shown.add(finding)


class _Shown:
    """The steps so far, each printed when it comes, unless all are printed as JSON."""

    def __init__(self, url: str, *, quiet: bool) -> None:
        self._url = url.strip().rstrip("/")
        self._findings: list[Finding] = []
        self._quiet = quiet

    @property
    def good(self) -> bool:
        """Whether every step that was tried went well."""
        return all(finding.good for finding in self._findings)

    def add(self, finding: Finding) -> None:
        """One more step has ended."""
        if finding.step is Step.URL and finding.good and finding.said.casefold() != self._url.casefold():
            finding = replace(finding, hint="This is what is used of the URL that was given; write it so.")
        self._findings.append(finding)
        if not self._quiet:
            click.echo(fitted(_line(finding), sys.stdout, " " * (_WIDTH + 4)))
            if finding.hint is not None:
                click.echo(fitted(f"  hint: {finding.hint}", sys.stdout, "  "))

    def as_json(self) -> dict[str, Any]:
        """All of it, for machines."""
        steps = [{"step": it.step, "good": it.good, "said": it.said, "hint": it.hint} for it in self._findings]
        return {"good": self.good, "steps": steps}


def _line(finding: Finding) -> str:
    good, bad = ("✓", "✗") if _can_show("✓✗") else ("ok", "no")
    return f"{good if finding.good else bad} {finding.step:<{_WIDTH}}  {finding.said}"


def _can_show(characters: str) -> bool:
    """Whether stdout takes these characters: older Windows consoles do not."""
    try:
        characters.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
