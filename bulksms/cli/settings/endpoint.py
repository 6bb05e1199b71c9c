"""Endpoint: where to send and as whom, gathered from flags, environment and, at a terminal, the person.

Law: a secret is never an argument, and goes nowhere but into the credentials.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import click

from bulksms.adaxes import AccessToken, Account, Credentials, Endpoint, parse_base_url, parse_proxy, proxy_for
from bulksms.cli.screen.console import on_terminal
from bulksms.cli.settings.secret import Files, find_secret
from bulksms.cli.settings.setting import in_file, on_command_line
from bulksms.errors import UsageError

NOTHING = Files()


@dataclass(frozen=True, slots=True)
class EndpointOptions:
    """What was said about it; `flags` are the secrets' places on the command line, `configured` those in a file."""

    url: str | None
    ca_file: Path | None
    proxy: str | None
    insecure_http: bool
    flags: Files = NOTHING
    configured: Files = NOTHING

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Take the values of `endpoint_options` together."""
        names = ("url", "ca_file", "proxy", "insecure_http")
        flags, configured = Files.of(values, on_command_line), Files.of(values, in_file)
        return cls(**{name: values[name] for name in names}, flags=flags, configured=configured)

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
        credentials = find_credentials(self.flags, environment, self.configured)
        return Endpoint(base_url, credentials, self.ca_file, proxy)


def find_credentials(flags: Files, environment: Mapping[str, str], configured: Files = NOTHING) -> Credentials:
    """The credentials that `find_secret` finds; `configured` is what a file of settings names.

    At a terminal what is missing is asked for without echo. Raises UsageError if there is nothing, or only half of an
    account.
    """
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
    if secret.is_token:
        return AccessToken(value or "")
    name = flags.username or environment.get("BULKSMS_USERNAME") or configured.username
    return _account(name, value)


def _account(username: str | None, password: str | None) -> Account:
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
