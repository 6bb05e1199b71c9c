"""URLs: the base URL of the REST API as people write it, and the proxy on the way to it.

Pure: the environment is an argument. Law: no password that stands in a URL is ever in a text made here.
"""

import ipaddress
import re
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

from bulksms.errors import UsageError

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
        known = bool(parts.hostname)
    except ValueError:
        known = False
    if not known:
        raise UsageError(f"The {what} names no host, or its port is no number.", hint=form)
    return parts


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
