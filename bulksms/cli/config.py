"""`bulksms config`: each setting and where it came from.

Law: of a secret only its place is shown, never its value.
"""

import copy
import os
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import click

from bulksms.cli import commands, say
from bulksms.cli.screen.console import print_json, print_table
from bulksms.cli.settings.headings import HeadedCommand
from bulksms.cli.settings.options import FILE, config_option
from bulksms.cli.settings.secret import Files, Secret, find_secret
from bulksms.cli.settings.setting import PREFIX, Setting, file_read, in_file, on_command_line, settings_of

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


def _as_written(setting: Setting) -> Setting:
    """The same setting, whose value is checked as ever and left as it was written."""
    written, check = copy.copy(setting), setting.callback
    if check is not None:

        def checked(context: click.Context, parameter: click.Parameter, value: object) -> object:
            check(context, parameter, value)
            return value

        written.callback = checked
    return written


SETTINGS: Mapping[str, Setting] = {name: _as_written(setting) for name, setting in settings_of(commands).items()}


def config(ledger: Path | None, **values: Any) -> None:  # noqa: ANN401 - the values of every setting, by name
    """Show each setting and where it came from: an option, a variable of the environment, a file, or the default.

    With options, what they would change. With a LEDGER, what `bulksms resume LEDGER` would use, for what is kept there
    beats environment and file. Of secrets only the place is shown.
    """
    context = click.get_current_context()
    shown = {name: _shown(setting, values[setting.name or ""], context) for name, setting in SETTINGS.items()}
    if ledger is not None:
        shown |= _kept(ledger)
    flags, configured = Files.of(values, on_command_line), Files.of(values, in_file)
    secret = find_secret(flags, os.environ, configured)
    for variable, near in _unread():
        say(f"{variable} is no setting, and nobody reads it{f'; did you mean {near}?' if near else '.'}")
    if values["as_json"]:
        print_json(_as_json(shown, secret, file_read(context)))
        return
    for name, variable in SECRETS.items():
        shown[name] = Shown(MASK, variable) if os.environ.get(variable) else Shown(None, None)
    print_table(("setting", "value", "from"), [(name, it.text, it.origin or "default") for name, it in shown.items()])
    click.echo(f"Credentials: {_credentials(secret)}.")


def _shown(setting: Setting, value: Any, context: click.Context) -> Shown:  # noqa: ANN401 - of any setting
    origin = setting.origin(context)
    if origin is None:
        return Shown(setting.otherwise, None)
    if isinstance(value, tuple):
        return Shown([str(one) for one in value], origin)
    if isinstance(value, str | Path):
        return Shown(re.sub(r"(?<=://)[^/]*@", f"{MASK}@", str(value)), origin)
    return Shown(value, origin)


def _kept(ledger: Path) -> dict[str, Shown]:
    """What the ledger's last run was started with, where no option says otherwise."""
    from bulksms.ledger.reader import LedgerReader  # noqa: PLC0415 - only where a ledger is named

    with LedgerReader(ledger) as reader:
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
        if parameter in names and not on_command_line(parameter)
    }


def _unread() -> Iterator[tuple[str, str | None]]:
    """Variables that look as if they were for us, and what was probably meant."""
    known = [str(setting.envvar) for setting in SETTINGS.values()] + [*OTHER_VARIABLES]
    for variable in sorted(os.environ):
        if variable.startswith(PREFIX) and variable not in known:
            yield variable, next(iter(get_close_matches(variable, known, 1, cutoff=0.8)), None)


def _as_json(shown: dict[str, Shown], secret: Secret | None, file: Path | None) -> dict[str, Any]:
    return {
        "file": None if file is None else str(file),
        "settings": {name: {"value": it.value, "from": it.origin or "default"} for name, it in shown.items()},
        "credentials": None if secret is None else {"kind": secret.kind, "from": secret.said_by},
    }


def _credentials(secret: Secret | None) -> str:
    if secret is None:
        return "none; at a terminal the access token is asked for"
    return f"{secret.kind}, from {secret.said_by}"


command = config_option(
    HeadedCommand(
        "config",
        callback=config,
        help=config.__doc__,
        epilog="Example: bulksms config --config night.toml",
        params=[click.Argument(["ledger"], type=FILE, required=False), *SETTINGS.values()],
    )
)
