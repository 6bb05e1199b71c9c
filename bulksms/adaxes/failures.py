"""Failures: what aiohttp raises, told as a `Failure` and a few words.

Law: the words hold no secret, no recipient and no text, and no more of a URL than its host.
"""

import os
import ssl
from collections.abc import Mapping

import aiohttp

from bulksms.adaxes.wire import sentence
from bulksms.attempt import Failure

NETWORK_ERRORS = (aiohttp.ClientError, OSError, TimeoutError, ValueError)
"""What an exchange may raise because of the network or the other side; anything else is a defect of this program.

`ValueError` is among them for host names and addresses that only the resolver or the URL library refuses.
"""


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
    return Failure.DISCONNECTED if isinstance(error, OSError) else Failure.GARBLED


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
"""The first that fits counts."""


def _while_connecting(error: TimeoutError) -> bool:
    return isinstance(error, aiohttp.ConnectionTimeoutError)


def _without_connection(error: aiohttp.ClientConnectorError) -> Failure:
    """Refused and unreachable, or a TLS handshake that the other side broke off."""
    broken_off = isinstance(error.os_error, (ConnectionResetError, ConnectionAbortedError, BrokenPipeError))
    return Failure.TLS_HANDSHAKE if broken_off and error.ssl is not False else Failure.REFUSED


def words_of(error: BaseException) -> str:
    """The library's words about the error, short, on one line, without the address of the request."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            words = _certificate_words(error.certificate_error)
        case aiohttp.ClientHttpProxyError():
            words = proxy_words(error.status, error.headers)
        case aiohttp.ClientConnectorError():
            cause = error.os_error
            words = f"{error.host}: {getattr(cause, 'reason', None) or _system_words(cause) or type(cause).__name__}"
        case aiohttp.ServerDisconnectedError():
            words = "the server closed the connection without an answer"
        case aiohttp.ConnectionTimeoutError():
            words = "no connection in time"
        case TimeoutError():
            words = "no answer in time" if isinstance(error, aiohttp.SocketTimeoutError) else "the time was up"
        case aiohttp.ClientResponseError():
            words = f"not an HTTP answer: {error.message}"
        case aiohttp.ClientPayloadError():
            words = "the body of the answer was cut short or not as announced"
        case OSError() if error.strerror and not isinstance(error, TimeoutError):
            words = error.strerror.partition(" for http")[0]
        case _:
            words = type(error).__name__
    return sentence(words)


def _system_words(error: OSError) -> str | None:
    """The operating system's words; asyncio puts the address there, which is said already."""
    is_asyncio_s = (error.strerror or "").startswith("Connect call failed")
    return os.strerror(error.errno) if is_asyncio_s and error.errno else error.strerror


def proxy_words(status: int, headers: Mapping[str, str] | None) -> str:
    """What a proxy that said no is told to mean."""
    if status != 407:
        return f"the proxy answered {status}"
    schemes = " ".join(value for name, value in (headers or {}).items() if name.lower() == "proxy-authenticate").lower()
    if ("ntlm" in schemes or "negotiate" in schemes) and "basic" not in schemes:
        return "the proxy wants a log-in by NTLM or Negotiate, which is not supported: name a proxy without, or none"
    return "the proxy wants a user name and password: give them in the proxy's address"


def _certificate_words(error: BaseException) -> str:
    """Why a certificate is not believed; the two ways out stand where an operator looks for them."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message or error.reason or "not verified"
    return str(error)


def _is_cut_short(error: aiohttp.ClientPayloadError) -> bool:
    """Whether the body ended too early, not wrongly: the parser's words are the only sign."""
    return error.__cause__ is None or "not enough data" in str(error.__cause__).lower()
