"""Errors of an exchange: a `Failure` for what aiohttp raises, a few words about it, and what to do about it.

Invariant: the words hold no secret, no recipient and no text, and no more of a URL than its host.
"""

import os
import ssl
from collections.abc import Mapping

import aiohttp

from bulksms.adaxes.wire import sentence
from bulksms.model.attempt import Attempt, Failure

NETWORK_ERRORS = (aiohttp.ClientError, OSError, TimeoutError, ValueError)
"""What an exchange may raise because of the network or the other side; anything else is an internal error.

`ValueError` is included for host names and addresses that only the resolver or the URL library refuses.
"""


HEADER_LIMIT = 64 * 1024
"""Bytes of the status line, and of each header of an answer: what proxies commonly let through at most."""


def failure_of(error: BaseException, *, headers_sent: bool) -> Failure:
    """How the exchange broke off, by the type of the exception and by whether the request may have left."""
    if isinstance(error, TimeoutError):
        return Failure.READ_TIMEOUT if headers_sent and not _while_connecting(error) else Failure.CONNECT_TIMEOUT
    for kind, failure in _BY_TYPE:
        if isinstance(error, kind):
            return failure
    if isinstance(error, aiohttp.ClientConnectorError):
        return _without_connection(error)
    if isinstance(error, aiohttp.ClientPayloadError) and _is_cut_short(error):
        return Failure.DISCONNECTED
    if isinstance(error, ValueError) and not headers_sent:
        return Failure.BAD_URL
    return Failure.DISCONNECTED if isinstance(error, OSError) else Failure.MALFORMED


_BY_TYPE: tuple[tuple[type[BaseException], Failure], ...] = (
    (aiohttp.ClientConnectorDNSError, Failure.UNRESOLVED),
    (aiohttp.ClientConnectorCertificateError, Failure.BAD_CERTIFICATE),
    (aiohttp.ClientConnectorSSLError, Failure.TLS_HANDSHAKE),
    (aiohttp.ClientHttpProxyError, Failure.PROXY_REFUSED),
    (aiohttp.InvalidURL, Failure.BAD_URL),
    (aiohttp.NonHttpUrlClientError, Failure.BAD_URL),
    (aiohttp.ClientProxyConnectionError, Failure.REFUSED),
    (aiohttp.ServerConnectionError, Failure.DISCONNECTED),
    (aiohttp.ClientConnectionResetError, Failure.DISCONNECTED),
)
"""The first match counts."""


def _while_connecting(error: TimeoutError) -> bool:
    return isinstance(error, aiohttp.ConnectionTimeoutError)


def _without_connection(error: aiohttp.ClientConnectorError) -> Failure:
    """Refused and unreachable, or a TLS handshake that the other side broke off."""
    broken_off = isinstance(error.os_error, (ConnectionResetError, ConnectionAbortedError, BrokenPipeError))
    return Failure.TLS_HANDSHAKE if broken_off and error.ssl is not False else Failure.REFUSED


def describe_error(error: BaseException) -> str:
    """A few words about the error on one line, without the address of the request."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            words = describe_certificate(error.certificate_error)[0]
        case aiohttp.ClientHttpProxyError():
            words = describe_proxy_error(error.status, error.headers)
        case aiohttp.ClientConnectorError():
            cause = error.os_error
            reason = getattr(cause, "reason", None) or _describe_system_error(cause) or type(cause).__name__
            words = f"{error.host}: {reason}"
        case aiohttp.ServerDisconnectedError():
            words = "the server closed the connection without an answer"
        case aiohttp.ConnectionTimeoutError():
            words = "no connection in time"
        case TimeoutError():
            words = "no answer in time" if isinstance(error, aiohttp.SocketTimeoutError) else "the time was up"
        case aiohttp.ClientResponseError():
            is_line_too_long = error.message.startswith("Got more than")  # the only sign of the parser's LineTooLong
            too_long = f"a header of the answer is longer than {HEADER_LIMIT // 1024} kB"
            words = too_long if is_line_too_long else f"not an HTTP answer: {error.message}"
        case aiohttp.ClientPayloadError():
            words = "the body of the answer was cut short or not as announced"
        case OSError() if error.strerror and not isinstance(error, TimeoutError):
            words = error.strerror.partition(" for http")[0]
        case _:
            words = type(error).__name__
    return sentence(words)


def _describe_system_error(error: OSError) -> str | None:
    """The operating system's words; asyncio replaces them by the address, which is shown already."""
    is_asyncio_s = (error.strerror or "").startswith("Connect call failed")
    return os.strerror(error.errno) if is_asyncio_s and error.errno else error.strerror


def describe_proxy_error(status: int, headers: Mapping[str, str] | None) -> str:
    """What the refusal of a proxy means."""
    if status != 407:
        return f"the proxy answered {status}"
    schemes = " ".join(value for name, value in (headers or {}).items() if name.lower() == "proxy-authenticate").lower()
    if ("ntlm" in schemes or "negotiate" in schemes) and "basic" not in schemes:
        return "the proxy wants a log-in by NTLM or Negotiate, which is not supported: name a proxy without, or none"
    return "the proxy wants a user name and password: give them in the proxy's address"


_CA_FILE = (
    "Add the certificate of the authority that signed it to this system's trusted ones,"
    " or name a PEM file that holds it with --ca-file."
)
_SELF_SIGNED = "If it is the right server, name a PEM file that holds this certificate with --ca-file."
_RENEW = "Have the server's certificate renewed."
_CLOCK = "Check the clocks of this machine and of the server."
_HOST_NAME = "Use a host name that the certificate names, or have one made for this host name."
_UNTRUSTED = "the server's certificate is not trusted: no authority that this system trusts signed it"
_CERTIFICATE_PROBLEMS: Mapping[int, tuple[str, str]] = {
    2: (_UNTRUSTED, _CA_FILE),
    9: ("the server's certificate is not valid yet", _CLOCK),
    10: ("the server's certificate has expired", f"{_RENEW} {_CLOCK}"),
    18: ("the server's certificate is self-signed, so no authority vouches for it", _SELF_SIGNED),
    19: (f"{_UNTRUSTED} (the authority at its end is a private one)", _CA_FILE),
    20: (_UNTRUSTED, _CA_FILE),
    21: (_UNTRUSTED, _CA_FILE),
    23: ("the server's certificate was revoked", _RENEW),
    62: ("the server's certificate is for another host name", _HOST_NAME),
    64: ("the server's certificate is for another address", _HOST_NAME),
}
"""OpenSSL's `X509_V_ERR_…` codes that operators meet: what is wrong, and what to do."""


def describe_certificate(error: BaseException) -> tuple[str, str]:
    """Why a certificate is not accepted, and what to do about it."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is not accepted: {error}", _CA_FILE
    known = _CERTIFICATE_PROBLEMS.get(error.verify_code)
    if known is not None:
        return known
    return f"the server's certificate is not accepted: {error.verify_message or error.reason or error}", _CA_FILE


_PAGE_HINT = (
    "A log-in page, a proxy or another web server answers in place of Adaxes: check the URL, --proxy and NO_PROXY."
)
_PROXY_HINT = (
    "Give the proxy's user name and password in the address of --proxy, or list the server in NO_PROXY"
    " to connect without the proxy."
)


def hint_for(attempt: Attempt) -> str | None:
    """What to do about an attempt that shows the set-up to be wrong; None if the attempt does not tell."""
    if attempt.failure is Failure.BAD_CERTIFICATE:
        problems = _CERTIFICATE_PROBLEMS.values()
        return next((hint for words, hint in problems if words == attempt.detail), _CA_FILE)
    if attempt.status == 407 or attempt.failure is Failure.PROXY_REFUSED:
        return _PROXY_HINT
    is_redirect = attempt.status is not None and 300 <= attempt.status < 400
    return _PAGE_HINT if attempt.is_page or is_redirect else None


def _is_cut_short(error: aiohttp.ClientPayloadError) -> bool:
    """Whether the body ended too early, not wrongly: the parser's words are the only sign."""
    return error.__cause__ is None or "not enough data" in str(error.__cause__).lower()
