"""Client: the sends, polls and questions of one run to one server.

Laws: what the network does is never an exception, but an `Attempt`. Nothing is sent twice: no redirect is followed,
and aiohttp repeats no POST by itself. Every exchange ends: connecting takes `timeout` seconds at most, and so does
everything after it.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp
import anyio
import msgspec
from msgspec.structs import replace
from multidict import CIMultiDict
from yarl import URL

from bulksms.adaxes import wire
from bulksms.adaxes.credentials import Credentials, Token
from bulksms.adaxes.exchange import Body, Exchange, body_headers, is_unauthenticated
from bulksms.adaxes.log_in import LogInProblem, Tokens
from bulksms.adaxes.patience import Patience
from bulksms.adaxes.tls import tls_context
from bulksms.attempt import Attempt

_SPARE_CONNECTIONS = 2
"""For a poll and a log-in, so that they never wait behind the sends."""
_WORKERS_A_POLL = 8
"""One more connection for so many workers, because as many more polls may be under way at once."""
_LOG_OUT = 3.0
"""Seconds that the log-out at the end may take."""
_KEEPALIVE = 4.0
"""Seconds an idle connection is kept: below the shortest idle time-out that servers and proxies commonly have (5 s)."""


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
class Poll:
    """What the server says about an operation that it took.

    `completed` is None if the answer does not say; the operation result, if there is one, is in the attempt.
    A 404 in the attempt means that the server does not know the operation (any more).
    """

    attempt: Attempt
    completed: bool | None = None


class Client:
    """One session with one server for one run: `async with Client(settings, credentials) as client`.

    Raises UsageError when it is entered if the CA file cannot be used.
    """

    def __init__(self, settings: ClientSettings, credentials: Credentials) -> None:
        self.settings = settings
        self.server_wait = settings.server_wait
        """Seconds for the `Adm-Wait` header of the sends to come; None leaves it out."""
        self._tokens = Tokens(credentials, self.request)
        self._session: aiohttp.ClientSession | None = None
        seconds = settings.timeout
        self._patience = Patience(seconds)
        self._connecting = aiohttp.ClientTimeout(total=None, connect=seconds, sock_connect=seconds)
        """For a request with a body, which sees to the time after connecting itself."""
        self._whole = aiohttp.ClientTimeout(total=seconds, connect=seconds, sock_connect=seconds)
        self._headers_for: tuple[Token | None, int | None] | None = None
        self._headers = CIMultiDict[str]()
        """The headers of the sends, made for this token and this wait."""
        self._send_url = URL(f"{settings.base_url}/api/directoryObjects/sendSms")

    def __repr__(self) -> str:
        return f"Client({self.settings.base_url!r})"

    async def __aenter__(self) -> Self:
        settings = self.settings
        secure = settings.base_url.startswith("https:") or (settings.proxy or "").startswith("https:")
        context = await asyncio.to_thread(tls_context, settings.ca_file) if secure else True
        connector = aiohttp.TCPConnector(
            limit=settings.workers + settings.workers // _WORKERS_A_POLL + _SPARE_CONNECTIONS,
            keepalive_timeout=_KEEPALIVE,
            ssl=context,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "adaxes-bulksms"},
            proxy=settings.proxy,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is None:
            return
        with anyio.move_on_after(min(_LOG_OUT, self.settings.timeout), shield=True):
            await self._tokens.give_back()
        self._patience.close()
        with anyio.CancelScope(shield=True):
            await self._session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("the client is used outside its `async with`")
        return self._session

    def exchange(self, recipient: str, text: str) -> Exchange:
        """One send that is still to be made, with the token of this moment."""
        token, server_wait = self._tokens.current, self.server_wait
        if self._headers_for != (token, server_wait):
            self._headers_for, self._headers = (token, server_wait), body_headers(token, server_wait)
        return Exchange(
            self.session,
            "POST",
            self._send_url,
            timeout=self._connecting,
            token=token,
            body=Body(wire.sms_body(recipient, text), self._headers, self._patience),
            server_wait=server_wait,
            secrets=(recipient, text),
        )

    async def send(self, recipient: str, text: str) -> Attempt:
        """Send one SMS: one request, whatever comes of it. Raises nothing but cancellation."""
        return await self.exchange(recipient, text).run()

    @property
    def is_ready(self) -> bool:
        """Whether there is a usable token now, so that `ready` has nothing to do."""
        return self._tokens.is_ready

    async def ready(self) -> LogInProblem | None:
        """Have a usable token: log in if there is none yet, or one that is about to expire.

        To be awaited before each send, unless `is_ready` says that it is not needed. None if all is well.
        """
        return await self._tokens.ready()

    async def renew(self, token: Token | None) -> LogInProblem | None:
        """Log in again after the answer 401 to an exchange with this token (`exchange.token`), once for all workers.

        None if there is a better token now: the affected message may go again.
        """
        return await self._tokens.renew(token)

    @property
    def token(self) -> Token | None:
        """The token in use, with the time of its end if that is known."""
        return self._tokens.current

    async def poll(self, operation_id: str) -> Poll:
        """Ask what became of an operation (`GET …/runningOperations/<id>`). Raises nothing but cancellation."""
        attempt, value = await self.ask("GET", f"/api/runningOperations/{quote(operation_id, safe='')}")
        if attempt.status != 200 or not isinstance(value, dict):
            return Poll(attempt)
        completed = value.get("completed")
        if not isinstance(completed, bool):
            return Poll(attempt, completed=None if attempt.result is None else True)
        token = "" if self.token is None else self.token.value
        result = wire.operation_result(value.get("operationResult"), token)
        return Poll(replace(attempt, result=result, snippet=None), completed)

    async def ask(
        self,
        method: str,
        path: str,
        *,
        value: object = None,
        secrets: tuple[str, ...] = (),
        limit: int = wire.BODY_LIMIT,
    ) -> tuple[Attempt, Any]:
        """A question that may be asked twice: its attempt, and the JSON of its answer (None if it is not readable).

        Logs in before and, after a 401, again, if that is possible. Of the answer, `limit` bytes are read.
        """
        await self.ready()
        while True:
            exchange = self.request(method, path, value=value, secrets=secrets, token=self.token, limit=limit)
            attempt = await exchange.run()
            if is_unauthenticated(attempt) and await self.renew(exchange.token) is None:
                continue
            told = wire.read_json(exchange.answer) if attempt.failure is None else None
            if attempt.status == 200 and isinstance(told, dict | list) and exchange.token is not None:
                exchange.token.proven = True  # no web server has JSON to show for it
            return attempt, told

    def request(  # noqa: PLR0913 - what a request can differ in, all by name
        self,
        method: str,
        path: str,
        *,
        value: object = None,
        secrets: tuple[str, ...] = (),
        token: Token | None = None,
        limit: int = wire.BODY_LIMIT,
    ) -> Exchange:
        """A request to a path below the base URL, still to be made; the path comes encoded, `value` becomes JSON."""
        body, patience = None, self._whole
        if value is not None:
            body = Body(msgspec.json.encode(value), body_headers(token), self._patience)
            patience = self._connecting
        url = URL(f"{self.settings.base_url}{path}", encoded=True)
        return Exchange(
            self.session, method, url, timeout=patience, token=token, body=body, secrets=secrets, limit=limit
        )
