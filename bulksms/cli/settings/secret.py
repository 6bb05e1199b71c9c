"""Secret: where the token or the password is, of all the places where one may be.

Laws: the command line beats the environment, which beats the file of settings; a question at the terminal comes last.
Only `bulksms.cli.settings.endpoint` reads what is found here; a secret's value is never shown.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from bulksms.errors import UsageError

SYSTEMD_CREDENTIAL = "bulksms-token"
"""The name under which a unit hands the token over: `LoadCredential=bulksms-token:/etc/…` (systemd.exec(5))."""


@dataclass(frozen=True, slots=True)
class Files:
    """The files of secrets, and the account's name, that were named in one place."""

    token: Path | None = None
    password: Path | None = None
    username: str | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any], said_there: Callable[[str], bool]) -> Self:
        """Those of a command's values that were said in that place."""
        names = ("token_file", "password_file", "username")
        return cls(*(values[name] if said_there(name) else None for name in names))


@dataclass(frozen=True, slots=True)
class Secret:
    """Where it is: a file, or a variable of the environment; if it is neither, the terminal is asked."""

    is_token: bool
    said_by: str
    file: Path | None = None
    variable: str | None = None

    @property
    def kind(self) -> str:
        """What it is, in words."""
        return "access token" if self.is_token else "account"


def find_secret(flags: Files, environment: Mapping[str, str], configured: Files) -> Secret | None:
    """The first of these that is there; None if only the terminal is left to ask for a token.

    1. `--token-file`, or `--password-file` or `--username`; both together are refused
    2. BULKSMS_TOKEN
    3. BULKSMS_TOKEN_FILE
    4. systemd's `$CREDENTIALS_DIRECTORY/bulksms-token`
    5. BULKSMS_PASSWORD, then BULKSMS_PASSWORD_FILE
    6. `token-file` or `password-file` in the file of settings; both together are refused
    7. a user name, in the environment or in the file of settings: its password is asked for at the terminal

    Raises UsageError.
    """
    account = "--password-file" if flags.password is not None else "--username"
    if flags.token is not None and (flags.password is not None or flags.username is not None):
        raise UsageError(f"Both --token-file and {account} are given.", hint="Use the token or the account.")
    if flags.token is not None:
        return Secret(is_token=True, said_by="--token-file", file=flags.token)
    if flags.password is not None:
        return Secret(is_token=False, said_by="--password-file", file=flags.password)
    if flags.username is not None:
        return _password(environment, configured) or Secret(is_token=False, said_by="--username")
    return _token(environment) or _of_an_account(environment, configured)


def _of_an_account(environment: Mapping[str, str], configured: Files) -> Secret | None:
    """What is left when there is no token on the command line and in the environment."""
    if configured.token is not None and configured.password is not None:
        raise UsageError(
            "Both token-file and password-file are in the file of settings.", hint="Use the token or the account."
        )
    if environment.get("BULKSMS_PASSWORD") or environment.get("BULKSMS_PASSWORD_FILE"):
        return _password(environment, configured)
    if configured.token is not None:
        return Secret(is_token=True, said_by="token-file", file=configured.token)
    if configured.password is not None:
        return _password(environment, configured)
    if environment.get("BULKSMS_USERNAME"):
        return Secret(is_token=False, said_by="BULKSMS_USERNAME")
    return None if configured.username is None else Secret(is_token=False, said_by="username")


def _token(environment: Mapping[str, str]) -> Secret | None:
    if environment.get("BULKSMS_TOKEN"):
        return Secret(is_token=True, said_by="BULKSMS_TOKEN", variable="BULKSMS_TOKEN")
    if named := environment.get("BULKSMS_TOKEN_FILE"):
        return Secret(is_token=True, said_by="BULKSMS_TOKEN_FILE", file=Path(named))
    if folder := environment.get("CREDENTIALS_DIRECTORY"):
        credential = Path(folder, SYSTEMD_CREDENTIAL)
        if credential.exists():
            return Secret(is_token=True, said_by="CREDENTIALS_DIRECTORY", file=credential)
    return None


def _password(environment: Mapping[str, str], configured: Files) -> Secret | None:
    if environment.get("BULKSMS_PASSWORD"):
        return Secret(is_token=False, said_by="BULKSMS_PASSWORD", variable="BULKSMS_PASSWORD")
    if named := environment.get("BULKSMS_PASSWORD_FILE"):
        return Secret(is_token=False, said_by="BULKSMS_PASSWORD_FILE", file=Path(named))
    if configured.password is not None:
        return Secret(is_token=False, said_by="password-file", file=configured.password)
    return None
