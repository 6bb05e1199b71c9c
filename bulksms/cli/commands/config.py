"""`bulksms config` and `completion`: each setting and where it came from, and what a shell needs for the Tab key.

Invariants: of a secret only its place is shown, never its value. A completion script asks the program itself each time,
which looks at no server and no settings file for it.
"""

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import click
from click.shell_completion import BashComplete, FishComplete, PowerShellComplete, ZshComplete

from bulksms.cli.options.commands import SETTINGS, CompletionOptions, ConfigOptions
from bulksms.cli.options.declaration import PREFIX, DeclaredOption, Given
from bulksms.cli.options.endpoint import Secret, files_given, find_secret
from bulksms.cli.ui.console import print_json, print_table, say
from bulksms.ledger import LedgerName
from bulksms.report.shapes import Configuration, CredentialsSource, SettingValue

MASK = "***"
SECRETS = {"token": "BULKSMS_TOKEN", "password": "BULKSMS_PASSWORD"}
OTHER_VARIABLES = (*SECRETS.values(), "BULKSMS_CONFIG", "BULKSMS_TRACEBACK")
"""Variables that are read, and give no setting."""


class Shown(NamedTuple):
    """A value as it holds, and where it was given; `origin` is None for the default."""

    value: Any
    origin: str | None

    @property
    def text(self) -> str:
        """The value in a table."""
        if isinstance(self.value, bool):
            return "yes" if self.value else "no"
        if isinstance(self.value, float):
            return f"{self.value:g}"
        if self.value is None:
            return ""
        return ", ".join(self.value) if isinstance(self.value, list) else str(self.value)


def run_config(options: ConfigOptions) -> None:
    """Show every setting with its value and its place."""
    endpoint, ledger = options.sending.endpoint, options.ledger
    shown = {name: _shown(setting, options.given.get(setting.name or "")) for name, setting in SETTINGS.items()}
    if ledger is not None:
        shown |= _kept(ledger, options)
    secret = find_secret(files_given(endpoint, "flag"), os.environ, files_given(endpoint, "file"))
    for variable, near in _unread():
        say(f"{variable} is no setting, and nothing reads it{f'; did you mean {near}?' if near else '.'}")
    if options.sending.output.as_json:
        print_json(_configuration(shown, secret, endpoint.config))
        return
    for name, variable in SECRETS.items():
        shown[name] = Shown(MASK, variable) if os.environ.get(variable) else Shown(None, None)
    changed = {name: it for name, it in shown.items() if it.origin is not None}
    # What was changed comes first: it is what a person looks for.
    listed = changed | shown if options.all else changed
    if listed:
        print_table(
            ("setting", "value", "from"), [(name, it.text, it.origin or "default") for name, it in listed.items()]
        )
    if not options.all:
        click.echo(f"{len(shown) - len(changed)} more settings have their defaults; --all shows them.")
    click.echo(f"Credentials: {_credentials(secret)}.")


def _shown(setting: DeclaredOption, given: Given | None) -> Shown:
    if given is None:
        return Shown(setting.default_value, None)
    value = given.value
    if isinstance(value, tuple):
        return Shown([str(one) for one in value], given.name)
    if isinstance(value, str | Path):
        return Shown(re.sub(r"(?<=://)[^/]*@", f"{MASK}@", str(value)), given.name)
    return Shown(value, given.name)


def _kept(ledger: LedgerName, options: ConfigOptions) -> dict[str, Shown]:
    """What the ledger's last run was started with, where no option says otherwise."""
    from bulksms.ledger import open_ledger  # noqa: PLC0415 - only where a ledger is named

    with open_ledger(ledger) as reader:
        plan, runs = reader.plan(), reader.runs()
    kept = dict(runs[-1].settings) if runs else {}
    if "adapt" in kept:
        kept["no_adapt"] = not kept["adapt"]
    if "deadline" in kept:
        after, at = kept["deadline"].get("after"), plan.deadline
        kept["deadline"] = (
            datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds") if at else after and f"{after:g}s"
        )
    if plan.url is not None:
        kept["url"] = plan.url
    names = {setting.name: name for name, setting in SETTINGS.items()}
    return {
        names[parameter]: Shown(value, str(ledger))
        for parameter, value in kept.items()
        if parameter in names and not options.on_command_line(parameter)
    }


def _unread() -> Iterator[tuple[str, str | None]]:
    """Variables that look as if they were for us, and what was probably meant."""
    known = [str(setting.envvar) for setting in SETTINGS.values()] + [*OTHER_VARIABLES]
    for variable in sorted(os.environ):
        if variable.startswith(PREFIX) and variable not in known:
            yield variable, next(iter(get_close_matches(variable, known, 1, cutoff=0.8)), None)


def _configuration(shown: dict[str, Shown], secret: Secret | None, file: Path | None) -> Configuration:
    return Configuration(
        file=None if file is None else str(file),
        settings={name: SettingValue(value=it.value, origin=it.origin or "default") for name, it in shown.items()},
        credentials=None if secret is None else CredentialsSource(kind=secret.kind, origin=secret.origin),
    )


def _credentials(secret: Secret | None) -> str:
    if secret is None:
        return "none; at a terminal the access token is asked for"
    return f"{secret.kind}, from {secret.origin}"


class _CommaSafeFish(FishComplete):
    """click's script cuts a value at its first comma, as in `failed,unknown`."""

    source_template = FishComplete.source_template.replace("string split ", "string split --max 1 ")


SHELLS = {"bash": BashComplete, "zsh": ZshComplete, "fish": _CommaSafeFish, "powershell": PowerShellComplete}
PROGRAM = "bulksms"


def run_completion(options: CompletionOptions) -> None:
    """Print the script."""
    # The script names the program only; which commands there are is asked when it runs.
    script = SHELLS[options.shell](click.Group(PROGRAM), {}, PROGRAM, f"_{PROGRAM.upper()}_COMPLETE")
    click.echo(script.source(), nl=False)
