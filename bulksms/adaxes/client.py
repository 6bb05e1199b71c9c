"""Client: the sends, polls and questions of one run to one server; Caller: those that may be made again.

Invariants: a network failure is never an exception but an `Attempt`. Nothing is sent twice: no redirect is followed,
and aiohttp repeats no POST by itself. Every exchange ends: connecting takes `timeout` seconds at most, and so does
everything after it. `Retry-After` and the rate hold for all calls of a caller together; no call leaves without a token
that is believed to be good, and none goes twice with a token that was rejected. A send is no such call: whether a
message goes again is decided by the policy of its run.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, Self, TypeVar
from urllib.parse import quote

import aiohttp
import anyio
import msgspec
from msgspec.structs import replace
from multidict import CIMultiDict
from tenacity import AsyncRetrying, RetryCallState, retry_if_result, stop_after_attempt, wait_exponential
from yarl import URL

from bulksms.adaxes import wire
from bulksms.adaxes.auth import LoginFailure, TokenProvider
from bulksms.adaxes.endpoint import ClientSettings, Credentials, Token, tls_context
from bulksms.adaxes.errors import HEADER_LIMIT
from bulksms.adaxes.exchange import Body, Exchange, QuietConnector, body_headers, is_unauthenticated
from bulksms.model.attempt import Attempt
from bulksms.policy.rate_limiter import RateLimiter
from bulksms.policy.retry import RetryPolicy
from bulksms.system import SYSTEM, System

_SPARE_CONNECTIONS = 2
"""For a poll and a log-in, so that they never wait behind the sends."""
_WORKERS_A_POLL = 8
"""One more connection for so many workers, because as many more polls may be under way at once."""
_LOG_OUT = 3.0
"""Seconds that the log-out at the end may take."""
_MOST_HEADERS = 500
"""Headers of an answer. aiohttp's own limits, 128 headers of 8 kB, are below what security proxies add."""
_KEEPALIVE = 4.0
"""Seconds an idle connection is kept: below the shortest idle time-out that servers and proxies commonly have (5 s)."""


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

    def __init__(self, settings: ClientSettings, credentials: Credentials, system: System = SYSTEM) -> None:
        self.settings = settings
        self.system = system
        self.server_wait = settings.server_wait
        """Seconds for the `Adm-Wait` header of the sends to come; None leaves it out."""
        self._tokens = TokenProvider(credentials, self.request, system)
        self._session: aiohttp.ClientSession | None = None
        seconds = settings.timeout
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
        connector = QuietConnector(
            limit=settings.workers + settings.workers // _WORKERS_A_POLL + _SPARE_CONNECTIONS,
            keepalive_timeout=_KEEPALIVE,
            ssl=context,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "adaxes-bulksms"},
            proxy=settings.proxy,
            max_line_size=HEADER_LIMIT,
            max_field_size=HEADER_LIMIT,
            max_headers=_MOST_HEADERS,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is None:
            return
        with anyio.move_on_after(min(_LOG_OUT, self.settings.timeout), shield=True):
            await self._tokens.log_out()
        with anyio.CancelScope(shield=True):
            await self._session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("the client is used outside its `async with`")
        return self._session

    def exchange(self, recipient: str, text: str, may_leave: Callable[[], bool] | None = None) -> Exchange:
        """One send that is still to be made, with the token of this moment; `may_leave` is asked last of all."""
        token, server_wait = self._tokens.current, self.server_wait
        if self._headers_for != (token, server_wait):
            self._headers_for, self._headers = (token, server_wait), body_headers(token, server_wait)
        return Exchange(
            self._session or self.session,
            "POST",
            self._send_url,
            timeout=self._connecting,
            token=token,
            body=Body(wire.sms_body(recipient, text), self._headers, self.settings.timeout, may_leave),
            server_wait=server_wait,
            secrets=(recipient, text),
            system=self.system,
        )

    async def send(self, recipient: str, text: str) -> Attempt:
        """Send one SMS: one request, whatever comes of it. Raises nothing but cancellation."""
        return await self.exchange(recipient, text).run()

    @property
    def is_ready(self) -> bool:
        """Whether there is a usable token now, so that `ready` has nothing to do."""
        # Read here and not there: it is asked before every send.
        token = self._tokens.current
        return token is not None and self._tokens.refused is None and self.system.monotonic() < token.renew_at

    async def ready(self) -> LoginFailure | None:
        """Have a usable token: log in if there is none yet, or one that is about to expire.

        To be awaited before each send, unless `is_ready` says that it is not needed. None if all is well.
        """
        return await self._tokens.ready()

    async def renew(self, token: Token | None) -> LoginFailure | None:
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
        return Poll(replace(attempt, result=result, snippet=None, is_page=False), completed)

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
            answer = wire.read_json(exchange.answer) if attempt.failure is None else None
            if attempt.status == 200 and isinstance(answer, dict | list) and exchange.token is not None:
                exchange.token.was_accepted = True  # no web server has JSON to show for it
            return attempt, answer

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
            body = Body(msgspec.json.encode(value), body_headers(token), self.settings.timeout)
            patience = self._connecting
        url = URL(f"{self.settings.base_url}{path}", encoded=True)
        return Exchange(
            self.session,
            method,
            url,
            timeout=patience,
            token=token,
            body=body,
            secrets=secrets,
            limit=limit,
            system=self.system,
        )


LONGEST_WAIT = 120.0
"""Seconds: a question is not asked again if the server wants it later than that."""


class Answered(Protocol):
    """What has come of a call, with the attempt that brought it."""

    @property
    def attempt(self) -> Attempt: ...


Answer = TypeVar("Answer", bound=Answered)
Result = TypeVar("Result", bound=Answered | None)
Sleep = Callable[[float], Awaitable[None]]


class LoginError(Exception):
    """There is no usable token; `failure` says why."""

    def __init__(self, failure: LoginFailure) -> None:
        super().__init__(failure.sentence)
        self.failure = failure


class Caller:
    """Makes the calls of one client. `sleep` waits for so many seconds; what it raises ends the call."""

    def __init__(  # noqa: PLR0913 - its limits, all by name
        self,
        client: Client,
        policy: RetryPolicy,
        *,
        sleep: Sleep,
        max_outage: float = LONGEST_WAIT,
        rate: float | None = None,
        system: System = SYSTEM,
    ) -> None:
        self.client = client
        self._policy = policy
        self._sleep = sleep
        self._max_outage = max_outage
        self._rate = RateLimiter(rate)
        self._system = system
        self._paused_until = 0.0
        self._longest_backoff = wait_exponential(multiplier=policy.base, max=policy.cap)

    async def ensure_token(self) -> None:
        """Log in if that is needed; a server that is unavailable is waited for. Raises LoginError."""
        if not self.client.is_ready:
            await self._log_in(self.client.ready)

    async def replace_token(self, token: Token | None) -> None:
        """Log in again after a call with this token was rejected, once for all of them. Raises LoginError."""
        await self._log_in(partial(self.client.renew, token))

    async def call(self, question: Callable[[], Awaitable[Answer]]) -> Answer | LoginFailure:
        """Make one call; its answer, or why it could not be made."""
        while (wait := max(self._paused_until - (now := self._system.monotonic()), self._rate.delay(now))) > 0:
            await self._sleep(wait)
        self._rate.take(now)
        result: Answer | LoginFailure | None = await self.client.ready()
        if result is None:
            result = await question()
            if is_unauthenticated(result.attempt):
                result = await self.client.ready() or result
        if (asked := result.attempt.retry_after) is not None:
            self._paused_until = max(self._paused_until, self._system.monotonic() + asked)
        return result

    async def repeat(
        self, question: Callable[[], Awaitable[Answer]], is_temporary: Callable[[Attempt], bool]
    ) -> Answer | LoginFailure:
        """Make a call, again after a temporary failure, `max_attempts` times at most; the last answer."""

        def is_worth_another(result: Answer | LoginFailure) -> bool:
            if isinstance(result, LoginFailure):
                return not result.final
            return is_unauthenticated(result.attempt) or is_temporary(result.attempt)

        attempts = stop_after_attempt(self._policy.max_attempts)
        return await self._retry(
            partial(self.call, question),
            is_worth_another,
            lambda state: attempts(state) or state.upcoming_sleep > LONGEST_WAIT,
        )

    async def _log_in(self, log_in: Callable[[], Awaitable[LoginFailure | None]]) -> None:
        until = self._system.monotonic() + self._max_outage
        failure = await self._retry(
            log_in,
            lambda failure: failure is not None and not failure.final,
            # Not `stop_before_delay`: it goes by the machine's clock, and a simulation has a clock of its own.
            lambda state: self._system.monotonic() + state.upcoming_sleep > until,
        )
        if failure is not None:
            raise LoginError(failure)

    async def _retry(
        self,
        make: Callable[[], Awaitable[Result]],
        is_temporary: Callable[[Result], bool],
        stop: Callable[[RetryCallState], bool],
    ) -> Result:
        """Repeat it with tenacity: exponential backoff with full jitter, never sooner than `Retry-After`."""

        def wait(state: RetryCallState) -> float:
            # Not `wait_random_exponential`: chance is an argument here.
            return max(self._system.random() * self._longest_backoff(state), _last(state).attempt.retry_after or 0.0)

        retrying = AsyncRetrying(
            retry=retry_if_result(is_temporary), stop=stop, wait=wait, sleep=self._sleep, retry_error_callback=_last
        )
        return await retrying(make)


def _last(state: RetryCallState) -> "Answered":
    """The result of the last call."""
    if state.outcome is None:
        raise RuntimeError("nothing was called yet")
    result: Answered = state.outcome.result()
    return result
