"""Endpoint: where to send, as whom, and whose certificates are believed.

Invariants: no text made here contains a password from a URL; no secret is in a `repr`, nor in the text of an exception
raised here. The environment is an argument. Verification of certificate and host name is always on; every file is read
in `tls_context`, once, before the loop needs it.
"""

import ipaddress
import math
import re
import ssl
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import SplitResult, urlsplit

import truststore

from bulksms.errors import UsageError


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token that an administrator created (Adaxes 2026.1 and newer), used as it is.

    Raises UsageError if it is empty or cannot be part of a header.
    """

    value: str = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", self.value.strip())
        if not self.value:
            raise UsageError("The token is empty.", hint="Set BULKSMS_TOKEN or --token-file to the access token.")
        if not (self.value.isascii() and self.value.isprintable()) or " " in self.value:
            raise UsageError(
                "The token has a blank, a line end or a character outside ASCII in it.",
                hint="Copy the access token alone, in one line and without quotes.",
            )
        if self.value.lower().startswith("bearer"):
            raise UsageError("The token begins with Bearer.", hint="Give the bare token; Adaxes wants no scheme.")


@dataclass(frozen=True, slots=True)
class Account:
    r"""A user name (`user@domain` or `DOMAIN\user`) and password to log in with (Adaxes 2025.1 and older)."""

    username: str
    password: str = field(repr=False)

    def __post_init__(self) -> None:
        if not self.username.strip() or not self.password:
            raise UsageError(
                "The user name or the password is empty.",
                hint="Set BULKSMS_USERNAME and BULKSMS_PASSWORD, or --password-file.",
            )


Credentials = AccessToken | Account


@dataclass(slots=True, eq=False)
class Token:
    """A security token in use.

    `renew_at` and `expires_at` are readings of the client's monotonic clock, infinite if the server gave no lifetime.
    `was_accepted` is set by the first answer that the API gave to it: a token that never had any is rejected for good,
    not expired.
    """

    value: str = field(repr=False)
    renew_at: float = math.inf
    expires_at: float = math.inf
    was_accepted: bool = False


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """Where to send and how patiently.

    `base_url` is what `parse_base_url` returns. `workers` is how many sends may be under way at once, `timeout` in
    seconds. `server_wait` is the `Adm-Wait` header in seconds, None for none. `proxy` is what `parse_proxy` or
    `proxy_for` returns.
    """

    base_url: str
    workers: int = 16
    timeout: float = 30.0
    server_wait: int | None = None
    ca_file: Path | None = None
    proxy: str | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Base URL, credentials, certificate authorities (PEM), proxy. `Endpoint.at` makes one of what people write.

    `base_url` is what `parse_base_url` returns, `proxy` what `parse_proxy` or `proxy_for` returns.
    """

    base_url: str
    credentials: Credentials
    ca_file: Path | None = None
    proxy: str | None = None

    @classmethod
    def at(
        cls,
        url: str,
        credentials: Credentials,
        *,
        ca_file: Path | None = None,
        proxy: str | None = None,
        insecure_http: bool = False,
    ) -> Self:
        """The endpoint at `https://HOST/<virtual directory>`; `insecure_http` allows `http://` to another machine.

        No proxy is used but the one that is given. Raises UsageError for a URL or a proxy that cannot be used.
        """
        base_url = parse_base_url(url, insecure_http=insecure_http)
        return cls(base_url, credentials, ca_file, None if proxy is None else parse_proxy(proxy))

    @property
    def account(self) -> str | None:
        """The user name that is logged in with; None for an access token, which names nobody."""
        return self.credentials.username if isinstance(self.credentials, Account) else None

    def client_settings(self, workers: int, timeout: float, server_wait: int | None = None) -> ClientSettings:
        """How a client gets there, with so many sends at once and so much patience (seconds)."""
        return ClientSettings(self.base_url, workers, timeout, server_wait, self.ca_file, self.proxy)


_RIGHT_FORM = "Write the address of the Adaxes REST API, such as https://host.example.com/restApi."
_DEFAULT_PORTS = {"http": 80, "https": 443}
_TOO_MUCH = re.compile(r"(/api(/directoryobjects(/sendsms)?)?)?/*\Z", re.IGNORECASE)
"""What people copy along with the base: the API's own path, as the documentation's pages print it."""


def parse_base_url(text: str, *, insecure_http: bool = False) -> str:
    """The base that `/api/…` is appended to: `https://host/<virtual directory>` without a trailing slash.

    A trailing slash, `/api` and the full address of `sendSms` are trimmed. Scheme and host come in lower case and
    without the scheme's own port, so that two spellings of one server compare equal.
    Raises UsageError with a hint that names the right form. `insecure_http` allows `http://` to another machine.
    """
    parts = _split(text.strip(), "URL", _RIGHT_FORM)
    if parts.scheme not in _DEFAULT_PORTS:
        raise UsageError(f"The URL begins with {parts.scheme}:// instead of https://.", hint=_RIGHT_FORM)
    if "@" in parts.netloc:
        raise UsageError(
            "The URL has a user name or password in it.",
            hint="Leave it out: the token or log-in is given by other settings. " + _RIGHT_FORM,
        )
    if parts.query or parts.fragment or text.strip()[-1] in "?#":
        raise UsageError("The URL has a ? or # part, which a base URL cannot have.", hint=_RIGHT_FORM)
    if parts.scheme == "http" and not insecure_http and not is_loopback(parts.hostname or ""):
        raise UsageError(
            "The URL begins with http://, so the token and every text could be read on the way.",
            hint=f"Use https://{parts.netloc}{parts.path} or, if you must, the switch --insecure-http.",
        )
    return f"{parts.scheme}://{_authority(parts)}{_TOO_MUCH.sub('', parts.path)}"


def is_loopback(host: str) -> bool:
    """Whether the host is this machine (RFC 6761 for `localhost`, RFC 1122 and 4291 for the addresses)."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def proxy_for(base_url: str, environ: Mapping[str, str]) -> str | None:
    """The proxy that the environment names for this server, or None.

    `https_proxy`, `http_proxy`, `all_proxy` in lower then upper case; `no_proxy` as a list of host names (their
    subdomains included), addresses, networks (`10.0.0.0/8`), `host:port`, or `*`. This machine is never proxied.
    Raises UsageError for a proxy that cannot be used.
    """
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    named = _either_case(environ, f"{parts.scheme}_proxy") or _either_case(environ, "all_proxy")
    if named is None or is_loopback(host):
        return None
    port = parts.port or _DEFAULT_PORTS[parts.scheme]
    exceptions = re.split(r"[\s,]+", _either_case(environ, "no_proxy") or "")
    if any(_is_exception(entry.lower(), host, port) for entry in exceptions if entry):
        return None
    return parse_proxy(named)


def parse_proxy(text: str) -> str:
    """A proxy as given: `http://[user:password@]host:port`, the scheme may be left out.

    Raises UsageError, without the password.
    """
    form = "Write the proxy as http://host:port, or http://user:password@host:port."
    text = text.strip()
    parts = _split(text if "://" in text else f"http://{text}", "proxy", form)
    if parts.scheme not in _DEFAULT_PORTS:
        raise UsageError(f"A {parts.scheme} proxy cannot be used, only an HTTP proxy.", hint=form)
    login, at, _ = parts.netloc.rpartition("@")
    return f"{parts.scheme}://{login}{at}{_authority(parts)}"


def without_password(url: str) -> str:
    """The URL with its user name and password shown as `***`."""
    return re.sub(r"(?<=://)[^/]*@", "***@", url)


def _split(text: str, what: str, form: str) -> SplitResult:
    if not text:
        raise UsageError(f"The {what} is empty.", hint=form)
    if not text.isprintable() or " " in text or "\\" in text:
        raise UsageError(f"The {what} has a blank, a backslash or a control character in it.", hint=form)
    if "://" not in text:
        raise UsageError(f"The {what} has no https:// in front.", hint=form)
    try:
        parts = urlsplit(text)
        _ = parts.port  # is only looked at when asked for
        known = bool(parts.hostname) and _is_resolvable(text, parts.hostname or "")
    except ValueError:
        known = False
    if not known:
        raise UsageError(f"The {what} names no host that can exist, or its port is no number.", hint=form)
    return parts


def _is_resolvable(text: str, host: str) -> bool:
    """Whether client and resolver can encode the host name.

    A part of a name between two dots has 1 to 63 characters once it is encoded (RFC 1035, RFC 5890). Raises ValueError,
    of which UnicodeError is one, if the client cannot encode it.
    """
    if not host.isascii():
        from yarl import URL  # noqa: PLC0415 - what the client encodes it with; few names need it

        host = URL(text).raw_host or ""
    return bool(host.encode("idna"))


def _authority(parts: SplitResult) -> str:
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    own = parts.port is None or parts.port == _DEFAULT_PORTS[parts.scheme]
    return host if own else f"{host}:{parts.port}"


def _either_case(environ: Mapping[str, str], name: str) -> str | None:
    return environ.get(name) or environ.get(name.upper()) or None


def _is_exception(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    name, colon, digits = entry.rpartition(":")
    if colon and digits.isdigit() and (":" not in name or name.endswith("]")):
        if int(digits) != port:
            return False
        entry = name
    entry = entry.strip("[]")
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        suffix = entry.lstrip("*").strip(".")
        return host.rstrip(".") == suffix or host.rstrip(".").endswith(f".{suffix}")


_STORES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora, Red Hat
    "/etc/ssl/cert.pem",  # Alpine, Arch, BSD
    "/etc/ssl/ca-bundle.pem",  # SUSE
)


def tls_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """A context that believes the operating system's authorities and, in addition, those of a PEM file.

    Blocks for some 20 ms to read them: call it off the loop. Raises UsageError for a file that cannot be used.
    On Windows and macOS the system itself verifies (truststore). Elsewhere the same store is a file that truststore
    would read anew for every connection, on the loop's thread, so it is read here once instead.
    `VERIFY_X509_STRICT`, on by default from Python 3.13, is left off: internal authorities often miss its demands. TLS
    1.2 is the least that Python itself allows.
    """
    if sys.platform in ("win32", "darwin"):
        context: ssl.SSLContext = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _load_system_store(context)
    if ca_file is not None:
        _load(context, ca_file)
    return context


def _load_system_store(context: ssl.SSLContext) -> None:
    context.set_default_verify_paths()
    if not context.get_ca_certs():
        found = next((store for store in _STORES if Path(store).is_file()), None)
        if found is not None:
            context.load_verify_locations(cafile=found)


def _load(context: ssl.SSLContext, ca_file: Path) -> None:
    hint = "Give a PEM file with the certificate of the authority that signed the server's certificate."
    try:
        context.load_verify_locations(cafile=ca_file)
    except ssl.SSLError as error:
        raise UsageError(f"{ca_file} holds no certificates in PEM form.", hint=hint) from error
    except OSError as error:
        raise UsageError(f"{ca_file} cannot be read: {error.strerror}.", hint=hint) from error
