"""Check: is everything there that a run needs? Asked step by step, without sending anything.

Law: each step is a value that says what it found; the first that fails is the last, for those after it need it.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from bulksms.adaxes.client import Client
from bulksms.adaxes.exchange import is_the_apis
from bulksms.adaxes.look_ups import look_up
from bulksms.adaxes.tls import tls_context
from bulksms.adaxes.url import without_password
from bulksms.attempt import Attempt, Failure

NOBODY = "00000000-0000-0000-0000-000000000000"
"""The GUID of an object that cannot exist (RFC 9562, 5.9): asking for it shows who answers."""
_SOON = 14
_PATH_HINT = "The URL is https://host/<virtual directory of the REST API>, such as https://host.example.com/restApi."
_AGAIN = "The server or a proxy before it is in trouble; try again, or ask who runs it."
_AUTHORITY_HINT = (
    "Add the certificate of the authority that signed it to this system's trusted ones,"
    " or name a PEM file that holds it with --ca-file."
)


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
class Finding:
    """What one step found, in one line, and what to do about it."""

    step: Step
    good: bool
    said: str
    hint: str | None = None


async def check(
    client: Client, recipient: str | None = None, *, number_property: str = "mobile"
) -> AsyncIterator[Finding]:
    """The steps, one after the other, until one fails; with a recipient, whether it has a number as well."""
    yield Finding(Step.URL, good=True, said=client.settings.base_url)
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
            if not finding.good:
                return
    finally:
        for step in steps:
            step.close()


async def _dns(client: Client) -> Finding:
    host, port = _nearest(client)
    try:
        async with asyncio.timeout(client.settings.timeout):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError) as error:
        hint = "Check the spelling of the host name, and whether this machine uses your organisation's name servers."
        return Finding(Step.DNS, good=False, said=f"{host} has no address: {_reason(error)}", hint=hint)
    addresses = ", ".join(dict.fromkeys(str(address[0]) for *_, address in found))
    return Finding(Step.DNS, good=True, said=f"{host} is {addresses}")


async def _tcp(client: Client) -> Finding:
    host, port = _nearest(client)
    began = time.perf_counter()
    try:
        async with asyncio.timeout(client.settings.timeout):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError) as error:
        hint = "Check the port, the firewall in between, and whether the server is up."
        return Finding(Step.TCP, good=False, said=f"no connection to {host}:{port}: {_reason(error)}", hint=hint)
    elapsed = time.perf_counter() - began
    writer.transport.abort()
    way = f" (the proxy {without_password(client.settings.proxy)})" if client.settings.proxy else ""
    return Finding(Step.TCP, good=True, said=f"connected to {host}:{port}{way} in {elapsed * 1000:.0f} ms")


async def _tls(client: Client) -> Finding:
    host, port = _nearest(client)
    context = await asyncio.to_thread(tls_context, client.settings.ca_file)
    try:
        async with asyncio.timeout(client.settings.timeout):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except ssl.SSLCertVerificationError as error:
        said = error.verify_message or str(error)
        return Finding(Step.TLS, good=False, said=f"the certificate is not good: {said}", hint=_certificate_hint(said))
    except (OSError, TimeoutError) as error:
        hint = "Check the port: it may be one for plain http://."
        return Finding(Step.TLS, good=False, said=f"the TLS handshake failed: {_reason(error)}", hint=hint)
    certificate = writer.get_extra_info("peercert") or {}
    writer.transport.abort()
    return _about(certificate)


async def _path(client: Client) -> Finding:
    """Without a token, so that nothing but the path is asked about."""
    attempt = await client.request("GET", f"/api/directoryObjects?directoryObject={NOBODY}").run()
    if _by_the_api(attempt):
        return Finding(Step.PATH, good=True, said="the Adaxes REST API answers")
    if attempt.failure is Failure.BAD_CERTIFICATE:
        words = attempt.detail or ""
        return Finding(
            Step.TLS, good=False, said=f"the certificate is not good: {words}", hint=_certificate_hint(words)
        )
    said = f"this is not the Adaxes REST API: {_words(attempt)}"
    return Finding(Step.PATH, good=False, said=said, hint=_path_hint(attempt))


async def _token(client: Client) -> Finding:
    problem = await client.ready()
    if problem is None:
        attempt = (await look_up(client, NOBODY)).attempt
        problem = await client.ready()
        if problem is None and not _by_the_api(attempt):
            return Finding(Step.TOKEN, good=False, said=f"it could not be tried: {_words(attempt)}", hint=_AGAIN)
    if problem is not None:
        return Finding(Step.TOKEN, good=False, said=problem.sentence, hint=problem.hint)
    expires_at = None if client.token is None else client.token.expires_at
    if expires_at is None:
        return Finding(Step.TOKEN, good=True, said="the token is accepted")
    minutes = max(0.0, expires_at - time.monotonic()) / 60
    return Finding(Step.TOKEN, good=True, said=f"logged in; the token is good for {minutes:.0f} minutes and renewed")


async def _round_trip(client: Client) -> Finding:
    attempt = (await look_up(client, NOBODY)).attempt
    if attempt.failure is not None:
        return Finding(Step.ROUND_TRIP, good=False, said=_words(attempt), hint=_AGAIN)
    return Finding(Step.ROUND_TRIP, good=True, said=f"answered in {attempt.elapsed * 1000:.0f} ms")


async def _recipient(client: Client, recipient: str, number_property: str) -> Finding:
    answer = await look_up(client, recipient, (number_property,))
    found = answer.found
    if found is None:
        known = answer.attempt.status == 404
        said = "there is no such object" if known else f"it could not be looked up: {_words(answer.attempt)}"
        hint = "Give the DN, GUID or SID of a user or contact, as Adaxes shows it."
        return Finding(Step.RECIPIENT, good=False, said=said, hint=hint)
    name = found.display_name or found.dn or recipient
    if not found.properties.get(number_property):
        hint = f"Fill in its property {number_property}, or have another one used in the SMS settings of Adaxes."
        return Finding(Step.RECIPIENT, good=False, said=f"{name} has no {number_property} number", hint=hint)
    state = ", but the account is disabled" if found.disabled else ""
    return Finding(Step.RECIPIENT, good=True, said=f"{name} has a {number_property} number{state}")


def _nearest(client: Client) -> tuple[str, int]:
    """The host and port that this machine connects to: the proxy's if there is one."""
    parts = urlsplit(client.settings.proxy or client.settings.base_url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _by_the_api(attempt: Attempt) -> bool:
    """Whether the API answered; no web server has an object to show for a GUID that cannot exist."""
    return attempt.failure is None and is_the_apis(attempt)


def _about(certificate: Mapping[str, Any]) -> Finding:
    """Who signed a certificate and until when it is good (`SSLSocket.getpeercert`)."""
    issuer = dict(pair for part in certificate.get("issuer", ()) for pair in part)
    signed_by = issuer.get("organizationName") or issuer.get("commonName")
    said = "the certificate is good" + (f", signed by {signed_by}" if signed_by else "")
    if "notAfter" not in certificate:
        return Finding(Step.TLS, good=True, said=said)
    end = datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)
    days = (end - datetime.now(UTC)).days
    hint = "Have it renewed soon." if days < _SOON else None
    return Finding(Step.TLS, good=True, said=f"{said}, until {end:%Y-%m-%d} ({days} days)", hint=hint)


def _certificate_hint(words: str) -> str:
    words = words.lower()
    if "expired" in words:
        return "Have the server's certificate renewed, and check this machine's clock."
    if "mismatch" in words:
        return "Use the host name that stands in the certificate."
    return _AUTHORITY_HINT


def _path_hint(attempt: Attempt) -> str:
    if attempt.status is None or attempt.status >= 500:
        return _AGAIN
    return _PATH_HINT


def _words(attempt: Attempt) -> str:
    """What came back, in a few words."""
    if attempt.status is None:
        return attempt.detail or str(attempt.failure)
    said = attempt.detail or attempt.error
    return f"it answered {attempt.status}" + (f", {said}" if said else "")


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLError):
        return error.reason or "SSL error"
    return getattr(error, "strerror", None) or type(error).__name__
