"""Endpoint: where to send and as whom, gathered from flags, environment and, at a terminal, the person.

Law: a secret is never an argument, and goes nowhere but into the credentials.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import click

from bulksms.adaxes import AccessToken, Account, Credentials, parse_base_url, parse_proxy, proxy_for
from bulksms.cli.console import on_terminal
from bulksms.errors import UsageError

SYSTEMD_CREDENTIAL = "bulksms-token"
"""The name under which a unit hands the token over: `LoadCredential=bulksms-token:/etc/…` (systemd.exec(5))."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to send: base URL, credentials, certificate authorities, proxy."""

    base_url: str
    credentials: Credentials
    ca_file: Path | None = None
    proxy: str | None = None

    @property
    def account(self) -> str | None:
        """The user name that is logged in with; None for an access token, which names nobody."""
        return self.credentials.username if isinstance(self.credentials, Account) else None


@dataclass(frozen=True, slots=True)
class EndpointOptions:
    """What the command line said about it."""

    url: str | None
    token_file: Path | None
    ca_file: Path | None
    proxy: str | None
    insecure_http: bool
    password_file: Path | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Take the values of `endpoint_options` together."""
        names = ("url", "token_file", "ca_file", "proxy", "insecure_http", "password_file")
        return cls(**{name: values[name] for name in names})

    def url_or(self, kept: str | None) -> str:
        """The base URL, by default the one that the ledger is bound to. Raises UsageError if there is none."""
        if self.url is None and kept is not None:
            return kept
        if self.url is None:
            raise UsageError(
                "There is no URL to send to.",
                hint="Set BULKSMS_URL or --url to https://HOST/restApi, or rehearse with `bulksms send --sandbox`.",
            )
        return parse_base_url(self.url, insecure_http=self.insecure_http)

    def resolve(self, base_url: str, environment: Mapping[str, str]) -> Endpoint:
        """Everything that is needed to connect. Raises UsageError if there is no token and no account."""
        proxy = parse_proxy(self.proxy) if self.proxy else proxy_for(base_url, environment)
        credentials = find_credentials(self.token_file, self.password_file, environment)
        return Endpoint(base_url, credentials, self.ca_file, proxy)


def find_credentials(
    token_file: Path | None, password_file: Path | None, environment: Mapping[str, str]
) -> Credentials:
    """The credentials: the first of these that is there, flags before the environment.

    1. `--token-file`, or `--password-file` with BULKSMS_USERNAME; both together are refused
    2. BULKSMS_TOKEN
    3. BULKSMS_TOKEN_FILE
    4. systemd's `$CREDENTIALS_DIRECTORY/bulksms-token`
    5. BULKSMS_USERNAME with BULKSMS_PASSWORD; at a terminal the password is asked for without echo if it is missing
    6. at a terminal: the token, asked for without echo

    Raises UsageError if there is nothing, or only half of an account.
    """
    if token_file is not None and password_file is not None:
        raise UsageError("Both --token-file and --password-file are given.", hint="Use the token or the account.")
    if password_file is not None:
        return _account(_read(password_file, "password").rstrip("\r\n"), environment)
    if token_file is None:
        token = environment.get("BULKSMS_TOKEN")
        if token:
            return AccessToken(token)
        token_file = _named_token_file(environment)
    if token_file is not None:
        return AccessToken(_read(token_file, "token"))
    if environment.get("BULKSMS_USERNAME") or environment.get("BULKSMS_PASSWORD"):
        return _account(environment.get("BULKSMS_PASSWORD"), environment)
    if on_terminal():
        return AccessToken(_ask("Access token"))
    raise UsageError(
        "There is no access token and no account.",
        hint="Set BULKSMS_TOKEN or --token-file, or BULKSMS_USERNAME with BULKSMS_PASSWORD or --password-file; "
        "neither is ever an argument, where others can see it.",
    )


def _named_token_file(environment: Mapping[str, str]) -> Path | None:
    if named := environment.get("BULKSMS_TOKEN_FILE"):
        return Path(named)
    if folder := environment.get("CREDENTIALS_DIRECTORY"):
        credential = Path(folder, SYSTEMD_CREDENTIAL)
        return credential if credential.exists() else None
    return None


def _account(password: str | None, environment: Mapping[str, str]) -> Account:
    username = environment.get("BULKSMS_USERNAME")
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


def from_environment(options: EndpointOptions, base_url: str) -> Endpoint:
    """Resolve against the process's environment."""
    return options.resolve(base_url, os.environ)
