"""Endpoint: where to send and as whom."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bulksms.adaxes.client import ClientSettings
from bulksms.adaxes.credentials import Account, Credentials
from bulksms.adaxes.url import parse_base_url, parse_proxy


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
