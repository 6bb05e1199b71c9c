"""Where to send and as whom, gathered from flags, environment, settings file and, at a terminal, the person.

Invariants: a secret is never an argument, is never shown, and goes nowhere but into the credentials. The command line
beats the environment, which beats the settings file; a question at the terminal comes last.
"""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from bulksms.cli.options.groups import EndpointOptions
from bulksms.cli.options.values import arguments_of
from bulksms.cli.ui.console import on_terminal
from bulksms.errors import UsageError

if TYPE_CHECKING:
    from bulksms.adaxes import Account, Credentials, Endpoint

SYSTEMD_CREDENTIAL = "bulksms-token"
"""The name under which a unit hands the token over: `LoadCredential=bulksms-token:/etc/…` (systemd.exec(5))."""


@dataclass(frozen=True, slots=True)
class Files:
    """The files and the command of secrets, and the account's name, that were named in one place."""

    token: Path | None = None
    password: Path | None = None
    username: str | None = None
    token_command: str | None = None


NOTHING = Files()
TOKEN_SECONDS = 60.0
"""How long the command of a token may take: a vault may ask a person something."""


@dataclass(frozen=True, slots=True)
class Secret:
    """Where it is: a file, a variable of the environment, or what a command prints; else the terminal is asked."""

    is_token: bool
    origin: str
    file: Path | None = None
    variable: str | None = None
    command: str | None = None

    @property
    def kind(self) -> Literal["access token", "account"]:
        """What it is, in words."""
        return "access token" if self.is_token else "account"


def files_given(options: EndpointOptions, place: Literal["flag", "file"]) -> Files:
    """The files of secrets that were named on the command line, or in the settings file."""

    def there(name: str) -> bool:
        return name in options.given and options.given[name].place == place

    return Files(
        options.token_file if there("token_file") else None,
        options.password_file if there("password_file") else None,
        options.username if there("username") else None,
        options.token_command if there("token_command") else None,
    )


def base_url(options: EndpointOptions, kept: str | None = None) -> str:
    """The base URL, by default the `kept` one that the ledger is bound to. Raises UsageError if there is none."""
    from bulksms.adaxes import parse_base_url  # noqa: PLC0415 - `config` starts without aiohttp

    if options.url is None and kept is not None:
        return kept
    if options.url is None:
        raise UsageError(
            "There is no URL to send to.",
            hint="Set BULKSMS_URL or --url to https://HOST/restApi, or rehearse with `bulksms send --sandbox`.",
        )
    return parse_base_url(options.url, insecure_http=options.insecure_http)


def url_if_given(options: EndpointOptions) -> str | None:
    """The base URL, for a preview that needs none."""
    return None if options.url is None else base_url(options)


def resolve(options: EndpointOptions, url: str) -> "Endpoint":
    """Everything that is needed to connect. Raises UsageError if there is no token and no account."""
    from bulksms.adaxes import Endpoint, parse_proxy, proxy_for  # noqa: PLC0415 - as above

    proxy = parse_proxy(options.proxy) if options.proxy else proxy_for(url, os.environ)
    credentials = find_credentials(files_given(options, "flag"), os.environ, files_given(options, "file"))
    return Endpoint(url, credentials, options.ca_file, proxy)


def find_secret(flags: Files, environment: Mapping[str, str], configured: Files) -> Secret | None:
    """The first of these that is there; None if only the terminal is left to ask for a token.

    1. `--token-file`, `--token-command`, or `--password-file` or `--username`; two of these together are refused
    2. BULKSMS_TOKEN
    3. BULKSMS_TOKEN_FILE, then BULKSMS_TOKEN_COMMAND
    4. systemd's `$CREDENTIALS_DIRECTORY/bulksms-token`
    5. BULKSMS_PASSWORD, then BULKSMS_PASSWORD_FILE
    6. `token-file`, `token-command` or `password-file` in the settings file; both together are refused
    7. a user name, in the environment or in the settings file: its password is asked for at the terminal

    Raises UsageError.
    """
    account = "--password-file" if flags.password is not None else "--username"
    if flags.token is not None and (flags.password is not None or flags.username is not None):
        raise UsageError(f"Both --token-file and {account} are given.", hint="Use the token or the account.")
    if flags.token_command is not None and (flags.token or flags.password or flags.username):
        raise UsageError("--token-command and another source of credentials are given.", hint="Use one of them.")
    if flags.token_command is not None:
        return Secret(is_token=True, origin="--token-command", command=flags.token_command)
    if flags.token is not None:
        return Secret(is_token=True, origin="--token-file", file=flags.token)
    if flags.password is not None:
        return Secret(is_token=False, origin="--password-file", file=flags.password)
    if flags.username is not None:
        return _password(environment, configured) or Secret(is_token=False, origin="--username")
    return _token(environment) or _of_an_account(environment, configured)


def _of_an_account(environment: Mapping[str, str], configured: Files) -> Secret | None:
    """What is left when there is no token on the command line and in the environment."""
    sources = {"token-file": configured.token, "token-command": configured.token_command}
    named = [name for name, value in (sources | {"password-file": configured.password}).items() if value is not None]
    if len(named) > 1:
        raise UsageError(f"Both {' and '.join(named)} are in the settings file.", hint="Use one of them.")
    if environment.get("BULKSMS_PASSWORD") or environment.get("BULKSMS_PASSWORD_FILE"):
        return _password(environment, configured)
    if configured.token is not None:
        return Secret(is_token=True, origin="token-file", file=configured.token)
    if configured.token_command is not None:
        return Secret(is_token=True, origin="token-command", command=configured.token_command)
    if configured.password is not None:
        return _password(environment, configured)
    if environment.get("BULKSMS_USERNAME"):
        return Secret(is_token=False, origin="BULKSMS_USERNAME")
    return None if configured.username is None else Secret(is_token=False, origin="username")


def _token(environment: Mapping[str, str]) -> Secret | None:
    if environment.get("BULKSMS_TOKEN"):
        return Secret(is_token=True, origin="BULKSMS_TOKEN", variable="BULKSMS_TOKEN")
    if named := environment.get("BULKSMS_TOKEN_FILE"):
        return Secret(is_token=True, origin="BULKSMS_TOKEN_FILE", file=Path(named))
    if command := environment.get("BULKSMS_TOKEN_COMMAND"):
        return Secret(is_token=True, origin="BULKSMS_TOKEN_COMMAND", command=command)
    if folder := environment.get("CREDENTIALS_DIRECTORY"):
        credential = Path(folder, SYSTEMD_CREDENTIAL)
        if credential.exists():
            return Secret(is_token=True, origin="CREDENTIALS_DIRECTORY", file=credential)
    return None


def _password(environment: Mapping[str, str], configured: Files) -> Secret | None:
    if environment.get("BULKSMS_PASSWORD"):
        return Secret(is_token=False, origin="BULKSMS_PASSWORD", variable="BULKSMS_PASSWORD")
    if named := environment.get("BULKSMS_PASSWORD_FILE"):
        return Secret(is_token=False, origin="BULKSMS_PASSWORD_FILE", file=Path(named))
    if configured.password is not None:
        return Secret(is_token=False, origin="password-file", file=configured.password)
    return None


def find_credentials(flags: Files, environment: Mapping[str, str], configured: Files = NOTHING) -> "Credentials":
    """The credentials that `find_secret` finds; `configured` is what a file of settings names.

    At a terminal what is missing is asked for without echo. Raises UsageError if there is nothing, or only half of an
    account.
    """
    from bulksms.adaxes import AccessToken  # noqa: PLC0415 - as above

    secret = find_secret(flags, environment, configured)
    if secret is None and not on_terminal():
        raise UsageError(
            "There is no access token and no account.",
            hint="Set BULKSMS_TOKEN or --token-file, or BULKSMS_USERNAME with BULKSMS_PASSWORD or --password-file; "
            "neither is ever an argument, where others can see it.",
        )
    if secret is None:
        return AccessToken(_ask("Access token"))
    value = environment[secret.variable] if secret.variable is not None else None
    if secret.file is not None:
        value = _read(secret.file, "token" if secret.is_token else "password").rstrip("\r\n")
    if secret.command is not None:
        value = output_of(secret.command, secret.origin).strip()
    if secret.is_token:
        return AccessToken(value or "")
    name = flags.username or environment.get("BULKSMS_USERNAME") or configured.username
    return _account(name, value)


def _account(username: str | None, password: str | None) -> "Account":
    from bulksms.adaxes import Account  # noqa: PLC0415 - as above

    if not username:
        raise UsageError(
            "There is a password and no user name for it.",
            hint="Set BULKSMS_USERNAME to user@domain or DOMAIN\\user.",
        )
    if not password and on_terminal():
        password = _ask(f"Password of {username}")
    return Account(username, password or "")


def _ask(what: str) -> str:
    return str(click.prompt(what, hide_input=True, err=True))


def _read(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        hint = f"It holds the {'access token' if what == 'token' else what} alone, in one line."
        # Without its cause: the text of a decoding error shows the bytes that it stumbled over.
        raise UsageError(f"The {what} file {path} cannot be read: {reason}.", hint=hint) from None


def output_of(command: str, name: str) -> str:
    """What the command `name`, such as `--token-command`, prints. Raises UsageError, without showing any of it."""
    hint = f"Run it by itself and look at what it says; {name} takes a program and its arguments, without a shell."
    try:
        done = subprocess.run(  # noqa: S603 - the operator's own command
            arguments_of(command), stdout=subprocess.PIPE, timeout=TOKEN_SECONDS, check=False
        )
        return done.stdout.decode("utf-8-sig") if done.returncode == 0 else _refuse(name, done.returncode, hint)
    except subprocess.TimeoutExpired:
        raise UsageError(f"The command of {name} took longer than {TOKEN_SECONDS:g} s.", hint=hint) from None
    except OSError as error:
        raise UsageError(f"The command of {name} cannot be run: {error.strerror}.", hint=hint) from error
    except UnicodeDecodeError:
        raise UsageError(f"The command of {name} prints what is no text.", hint=hint) from None


def _refuse(name: str, code: int, hint: str) -> str:
    raise UsageError(f"The command of {name} failed with exit code {code}.", hint=hint)
