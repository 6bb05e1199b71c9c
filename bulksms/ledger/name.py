"""Name: what a ledger is called, a path or `postgresql://host/database?ledger=people`.

Invariant: a URL has no password in it, so it can be printed, kept and copied: a password in a command is in the list of
processes and in the shell's history. The driver finds it in `~/.pgpass`, in PGPASSFILE, or in a service file.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import count
from os import environ
from pathlib import Path
from typing import Self
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from bulksms.errors import UsageError

SCHEMES = ("postgresql", "postgres")
EXAMPLE = "postgresql://HOST/DATABASE?ledger=NAME"
PARAMETERS = frozenset(
    """host port user service passfile sslmode sslrootcert sslcert sslkey sslcrl sslnegotiation
    ssl_min_protocol_version ssl_max_protocol_version target_session_attrs krbsrvname gsslib""".split()  # noqa: SIM905 - words
)
"""What a URL may say beside `ledger`: the driver's parameters, without those that hold a secret."""
_SECRET = ("password", "sslpassword")
_LEDGER = re.compile(r"\w[\w.-]{0,99}")
_DEFAULT_SSLMODE = "verify-full"
"""For a host that is not this machine."""


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """A PostgreSQL database, as `asyncpg.connect` takes it; `str` is what was written."""

    text: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises UsageError for what is no such URL, and for one with a password in it."""
        database, ledger = _taken_apart(text)
        if ledger is not None:
            raise UsageError(
                f"{text} names a ledger, and here a database is wanted.", hint=f"Write {database} without `ledger=`."
            )
        return cls(database)

    def __str__(self) -> str:
        return self.text

    def connection(self, environment: Mapping[str, str] = environ) -> dict[str, str]:
        """The arguments of `asyncpg.connect`.

        The server's certificate is verified unless it is on this machine, or the URL, PGSSLMODE or the service says
        how: what asyncpg does by itself can be read by anybody between the two.
        """
        url, parameters = urlsplit(self.text), dict(parse_qsl(urlsplit(self.text).query))
        service = _service(parameters, environment)
        if "sslmode" in parameters or environment.get("PGSSLMODE") or "sslmode" in service:
            return {"dsn": self.text}
        hosts = url.netloc.rpartition("@")[2] or parameters.get("host") or service.get("host")
        if all(map(_is_here, (hosts or environment.get("PGHOST") or "localhost").split(","))):
            return {"dsn": self.text}
        return {"dsn": self.text, "ssl": _DEFAULT_SSLMODE}


@dataclass(frozen=True, slots=True)
class LedgerUrl:
    """A ledger in a PostgreSQL database."""

    database: DatabaseUrl
    name: str
    """The ledger's name in the database."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises UsageError for what names no ledger, and for a URL with a password in it."""
        database, ledger = _taken_apart(text)
        if ledger is None:
            raise UsageError(
                f"{text} names no ledger in the database.",
                hint=f"Write {database}{_separator(database)}ledger=NAME; `bulksms history {text}` lists those there.",
            )
        return cls(DatabaseUrl(database), ledger)

    def with_name(self, name: str) -> "LedgerUrl":
        """Another ledger in the same database, as a path has it."""
        return LedgerUrl(self.database, name)

    def absolute(self) -> "LedgerUrl":
        """The same: a URL means one thing everywhere."""
        return self

    def __str__(self) -> str:
        return f"{self.database}{_separator(self.database.text)}ledger={quote(self.name)}"


LedgerName = Path | LedgerUrl
"""What a ledger is opened by; both have a `name` for messages, and `str` is what a person writes."""


def is_url(text: str) -> bool:
    """Whether this is meant as the URL of a database, rather than as a path."""
    return text.partition("://")[0].lower() in SCHEMES and "://" in text


def file_beside(ledger: LedgerName, ending: str) -> Path:
    """A file that is called like the ledger: beside it, or in the working directory if that is in a database."""
    file = Path(ledger.name) if isinstance(ledger, LedgerUrl) else ledger
    return file.with_name(ledger.name.removesuffix(".ledger.db") + ending)


def free_beside(ledger: LedgerName, name: str, ending: str) -> Path:
    """A file beside it that is not there yet: `.NAME` and the ending, with a number before the ending if need be."""
    names = (name if number == 1 else f"{name}-{number}" for number in count(1))
    return next(file for each in names if not (file := file_beside(ledger, each + ending)).exists())


def ledger_name(text: str) -> LedgerName:
    """The name that a person has written. Raises UsageError for a URL that is none of a ledger."""
    return LedgerUrl.parse(text) if is_url(text) else Path(text)


def _taken_apart(text: str) -> tuple[str, str | None]:
    """The URL of the database, and the name of the ledger."""
    try:
        url = urlsplit(text)
        given = parse_qsl(url.query, keep_blank_values=True, strict_parsing=bool(url.query))
        _ = url.port if "," not in url.netloc else None
    except ValueError as error:
        raise UsageError(f"This is no URL of a ledger: {error}.", hint=f"It looks like {EXAMPLE}.") from error
    parameters = dict(given)
    if url.password is not None or any(name in parameters for name in _SECRET):
        raise UsageError(
            "A password in the URL of a database can be read by everybody on this machine, so none is taken.",
            hint="Write it into ~/.pgpass as host:port:database:user:password (Windows: %APPDATA%\\postgresql\\"
            "pgpass.conf), readable by you alone, and leave it out of the URL.",
        )
    if unknown := sorted(parameters.keys() - PARAMETERS - {"ledger"}):
        raise UsageError(
            f"A URL of a ledger has no parameter {', '.join(unknown)}.",
            hint=f"It takes {', '.join(sorted(PARAMETERS))}.",
        )
    if url.scheme not in SCHEMES or url.fragment or not (unquote(url.path).strip("/") or "service" in parameters):
        raise UsageError(f"{text} names no database.", hint=f"A ledger in PostgreSQL is called {EXAMPLE}.")
    ledger = parameters.pop("ledger", None)
    if ledger is not None and _LEDGER.fullmatch(ledger) is None:
        raise UsageError(
            f"{ledger!r} cannot be the name of a ledger in a database.",
            hint="Letters, digits, `.`, `-` and `_` can, up to 100 of them, such as `ledger=people-2026-07`.",
        )
    query = urlencode(parameters, safe="/,:")
    return f"{url.scheme}://{url.netloc}{url.path}{query and f'?{query}'}", ledger


def _separator(database: str) -> str:
    return "&" if "?" in database else "?"


def _service(parameters: Mapping[str, str], environment: Mapping[str, str]) -> Mapping[str, str]:
    """The section of the service file that the driver will read, too."""
    if "service" not in parameters:
        return {}
    from configparser import ConfigParser, Error  # noqa: PLC0415 - for a service only

    services = ConfigParser(interpolation=None)
    try:
        services.read(environment.get("PGSERVICEFILE") or Path.home() / ".pg_service.conf", encoding="utf-8")
        return dict(services[parameters["service"]])
    except KeyError:
        raise UsageError(
            f"The service {parameters['service']} of the URL is in no service file.",
            hint="Write it into ~/.pg_service.conf, or name the file with PGSERVICEFILE.",
        ) from None
    except (Error, OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The service file cannot be read: {error}.") from error


def _is_here(host: str) -> bool:
    """Whether a host, perhaps with its port, is this machine."""
    name = unquote(host)
    if name.startswith("/"):  # a socket
        return True
    name = name.partition("]")[0][1:] if name.startswith("[") else name.partition(":")[0]
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name.lower() == "localhost"
