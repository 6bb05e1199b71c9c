"""Diagnose: checks what a run needs, step by step, without sending anything.

Invariant: each step is a value that says what it found; the first failure is the last step, since later ones need it.
"""

import asyncio
import math
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from bulksms.adaxes.client import Client
from bulksms.adaxes.endpoint import tls_context, without_password
from bulksms.adaxes.errors import describe_certificate, hint_for
from bulksms.adaxes.lookups import look_up
from bulksms.model.attempt import Attempt, Failure

NOBODY = "00000000-0000-0000-0000-000000000000"
"""The GUID of an object that cannot exist (RFC 9562, 5.9): asking for it shows who answers."""
_SOON = 14
_PATH_HINT = "The URL is https://host/<virtual directory of the REST API>, such as https://host.example.com/restApi."
_AGAIN = "The server or a proxy before it is in trouble; try again, or ask who runs it."


class Step(StrEnum):
    """What is asked, in this order. The words are what `check --json` prints."""

    URL = "url"
    DNS = "dns"
    TCP = "tcp"
    TLS = "tls"
    PATH = "path"
    TOKEN = "token"  # noqa: S105 - a word, not a secret
    ROUND_TRIP = "round_trip"
    RECIPIENT = "recipient"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one step found, in one line, and what to do about it."""

    step: Step
    passed: bool
    message: str
    hint: str | None = None


async def diagnose(
    client: Client, recipient: str | None = None, *, number_property: str = "mobile"
) -> AsyncIterator[CheckResult]:
    """The steps, one after the other, until one fails; with a recipient, whether it has a number as well."""
    yield CheckResult(Step.URL, passed=True, message=client.settings.base_url)
    steps = [_dns(client), _tcp(client)]
    if client.settings.proxy is None and client.settings.base_url.startswith("https:"):
        steps.append(_tls(client))
    steps += [_path(client), _token(client), _round_trip(client)]
    if recipient is not None:
        steps.append(_recipient(client, recipient, number_property))
    try:
        while steps:
            finding = await steps.pop(0)
            yield finding
            if not finding.passed:
                return
    finally:
        for step in steps:
            step.close()


async def _dns(client: Client) -> CheckResult:
    host, port = _nearest(client)
    try:
        async with asyncio.timeout(client.settings.timeout):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError) as error:
        hint = "Check the spelling of the host name, and whether this machine uses your organisation's name servers."
        return CheckResult(Step.DNS, passed=False, message=f"{host} has no address: {_reason(error)}", hint=hint)
    addresses = ", ".join(dict.fromkeys(str(address[0]) for *_, address in found))
    return CheckResult(Step.DNS, passed=True, message=f"{host} is {addresses}")


async def _tcp(client: Client) -> CheckResult:
    host, port = _nearest(client)
    began = client.system.monotonic()
    try:
        async with asyncio.timeout(client.settings.timeout):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError) as error:
        hint = "Check the port, the firewall in between, and whether the server is up."
        return CheckResult(
            Step.TCP, passed=False, message=f"no connection to {host}:{port}: {_reason(error)}", hint=hint
        )
    elapsed = client.system.monotonic() - began
    writer.transport.abort()
    way = f" (the proxy {without_password(client.settings.proxy)})" if client.settings.proxy else ""
    return CheckResult(Step.TCP, passed=True, message=f"connected to {host}:{port}{way} in {elapsed * 1000:.0f} ms")


async def _tls(client: Client) -> CheckResult:
    host, port = _nearest(client)
    context = await asyncio.to_thread(tls_context, client.settings.ca_file)
    try:
        async with asyncio.timeout(client.settings.timeout):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except ssl.SSLCertVerificationError as error:
        message, hint = describe_certificate(error)
        return CheckResult(Step.TLS, passed=False, message=message, hint=hint)
    except (OSError, TimeoutError) as error:
        hint = "Check the port: it may be one for plain http://."
        return CheckResult(Step.TLS, passed=False, message=f"the TLS handshake failed: {_reason(error)}", hint=hint)
    certificate = writer.get_extra_info("peercert") or {}
    writer.transport.abort()
    return _about(certificate)


async def _path(client: Client) -> CheckResult:
    """Without a token, so that nothing but the path is asked about."""
    attempt = await client.request("GET", f"/api/directoryObjects?directoryObject={NOBODY}").run()
    if _by_the_api(attempt):
        return CheckResult(Step.PATH, passed=True, message="the Adaxes REST API answers")
    if attempt.failure is Failure.BAD_CERTIFICATE:
        return CheckResult(Step.TLS, passed=False, message=attempt.detail or "", hint=hint_for(attempt))
    message = f"this is not the Adaxes REST API: {_words(attempt)}"
    return CheckResult(Step.PATH, passed=False, message=message, hint=_path_hint(attempt))


async def _token(client: Client) -> CheckResult:
    problem = await client.ready()
    if problem is None:
        attempt = (await look_up(client, NOBODY)).attempt
        problem = await client.ready()
        if problem is None and not _by_the_api(attempt):
            return CheckResult(
                Step.TOKEN, passed=False, message=f"it could not be tried: {_words(attempt)}", hint=_AGAIN
            )
    if problem is not None:
        return CheckResult(Step.TOKEN, passed=False, message=problem.sentence, hint=problem.hint)
    expires_at = math.inf if client.token is None else client.token.expires_at
    if expires_at == math.inf:
        return CheckResult(Step.TOKEN, passed=True, message="the token is accepted")
    minutes = max(0.0, expires_at - client.system.monotonic()) / 60
    return CheckResult(
        Step.TOKEN, passed=True, message=f"logged in; the token is good for {minutes:.0f} minutes and renewed"
    )


async def _round_trip(client: Client) -> CheckResult:
    attempt = (await look_up(client, NOBODY)).attempt
    if attempt.failure is not None:
        return CheckResult(Step.ROUND_TRIP, passed=False, message=_words(attempt), hint=_AGAIN)
    return CheckResult(Step.ROUND_TRIP, passed=True, message=f"answered in {attempt.elapsed * 1000:.0f} ms")


async def _recipient(client: Client, recipient: str, number_property: str) -> CheckResult:
    answer = await look_up(client, recipient, (number_property,))
    found = answer.found
    if found is None:
        known = answer.attempt.status == 404
        message = "there is no such object" if known else f"it could not be looked up: {_words(answer.attempt)}"
        hint = "Give the DN, GUID or SID of a user or contact, as Adaxes shows it."
        return CheckResult(Step.RECIPIENT, passed=False, message=message, hint=hint)
    name = found.display_name or found.dn or recipient
    if not found.properties.get(number_property):
        hint = f"Fill in its property {number_property}, or have another one used in the SMS settings of Adaxes."
        return CheckResult(Step.RECIPIENT, passed=False, message=f"{name} has no {number_property} number", hint=hint)
    state = ", but the account is disabled" if found.disabled else ""
    return CheckResult(Step.RECIPIENT, passed=True, message=f"{name} has a {number_property} number{state}")


def _nearest(client: Client) -> tuple[str, int]:
    """The host and port that this machine connects to: the proxy's if there is one."""
    parts = urlsplit(client.settings.proxy or client.settings.base_url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _by_the_api(attempt: Attempt) -> bool:
    """Whether the API answered; no web server has an object to show for a GUID that cannot exist."""
    return attempt.failure is None and attempt.is_from_api


def _about(certificate: Mapping[str, Any]) -> CheckResult:
    """Who signed a certificate and until when it is good (`SSLSocket.getpeercert`)."""
    issuer = dict(pair for part in certificate.get("issuer", ()) for pair in part)
    signed_by = issuer.get("organizationName") or issuer.get("commonName")
    message = "the certificate is good" + (f", signed by {signed_by}" if signed_by else "")
    if "notAfter" not in certificate:
        return CheckResult(Step.TLS, passed=True, message=message)
    end = datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)
    days = (end - datetime.now(UTC)).days
    hint = "Have it renewed soon." if days < _SOON else None
    return CheckResult(Step.TLS, passed=True, message=f"{message}, until {end:%Y-%m-%d} ({days} days)", hint=hint)


def _path_hint(attempt: Attempt) -> str:
    if attempt.status is None or attempt.status >= 500:
        return _AGAIN
    return " ".join(filter(None, (_PATH_HINT, hint_for(attempt))))


def _words(attempt: Attempt) -> str:
    """What came back, in a few words."""
    if attempt.status is None:
        return attempt.detail or str(attempt.failure)
    words = attempt.detail or attempt.error
    return f"it answered {attempt.status}" + (f", {words}" if words else "")


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLError):
        return error.reason or "SSL error"
    return getattr(error, "strerror", None) or type(error).__name__
