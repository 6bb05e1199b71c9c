"""Exchange: one request and its answer, told as an `Attempt`.

Laws:
1. What the network does is never an exception. Cancellation is passed on, and the exchange still tells what left.
2. `headers_sent` is False only if not a single byte of the request can have left this process. aiohttp keeps the
   headers back until the body is written, so a body that was never asked to write itself proves it.
3. From the first byte of the request to the last byte of the answer it takes `timeout` seconds at most, however slowly
   the bytes drip: one timer takes the connection away. (aiohttp's `sock_read` starts anew with every byte.)
"""

import asyncio
import math
import time
from typing import TYPE_CHECKING

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from msgspec.structs import replace
from multidict import CIMultiDict
from yarl import URL

from bulksms.adaxes import wire
from bulksms.adaxes.credentials import Token
from bulksms.adaxes.failures import NETWORK_ERRORS, failure_of, proxy_words, words_of
from bulksms.adaxes.patience import Patience
from bulksms.attempt import Attempt, Failure

if TYPE_CHECKING:
    from collections.abc import Mapping

AUTHORIZATION = "Adm-Authorization"
WAIT = "Adm-Wait"


class Exchange:
    """One request, made once by `run`. After a cancellation `cancelled` tells what is known of it.

    Only a request with a body can prove that it never left. `secrets` (recipient, text, password) are kept out of
    snippets and details, as is the token. `answer` is the body that was read, at most `limit` bytes of it, `headers`
    are those of the answer.
    """

    __slots__ = (
        "_began",
        "_body",
        "_limit",
        "_method",
        "_secrets",
        "_session",
        "_status",
        "_timeout",
        "_url",
        "answer",
        "began_at",
        "headers",
        "server_wait",
        "token",
    )

    def __init__(  # noqa: PLR0913 - the parts of a request, put together in one place
        self,
        session: aiohttp.ClientSession,
        method: str,
        url: URL,
        *,
        timeout: aiohttp.ClientTimeout,
        token: Token | None,
        body: "Body | None" = None,
        server_wait: int | None = None,
        secrets: tuple[str, ...] = (),
        limit: int = wire.BODY_LIMIT,
    ) -> None:
        self._session = session
        self._method = method
        self._url = url
        self._timeout = timeout
        self.token = token
        self._body = body
        self.server_wait = server_wait
        """The seconds of its `Adm-Wait` header, None if it has none."""
        self._secrets = secrets
        self._limit = limit
        self._status: int | None = None
        self._began = 0.0
        self.began_at = 0.0
        self.answer = b""
        self.headers: Mapping[str, str] = {}

    @property
    def headers_sent(self) -> bool:
        """Whether a byte of the request may have left this process by now."""
        if self._status is not None:
            return True
        return self._began > 0 if self._body is None else self._body.sent

    async def run(self) -> Attempt:
        """Make the request, whatever comes of it. Raises nothing but cancellation."""
        self.began_at = time.time()
        self._began = time.perf_counter()
        headers = {AUTHORIZATION: self.token.value} if self._body is None and self.token is not None else None
        try:
            response = await self._session.request(
                self._method,
                self._url,
                data=self._body,
                headers=headers,
                allow_redirects=False,
                timeout=self._timeout,
            )
            self._status = response.status
            self.headers = response.headers
            if self._body is not None:
                self._body.response = response
            try:
                self.answer = await read_body(response, self._limit)
            except BaseException:
                response.release()  # one that was read to its end has let go of its connection already
                raise
        except NETWORK_ERRORS as error:
            return self._broken(error)
        finally:
            if self._body is not None:
                self._body.stop_timer()
        if self._overdue:  # the timer's end of the connection may look like the end of the body
            return self._attempt(Failure.READ_TIMEOUT)
        return self._answered(response)

    def cancelled(self) -> Attempt:
        """What is known of an exchange that was cancelled."""
        return self._attempt(failure=Failure.CANCELLED)

    @property
    def _overdue(self) -> bool:
        return self._body is not None and self._body.overdue

    @property
    def _token_value(self) -> str:
        return "" if self.token is None else self.token.value

    def _answered(self, response: aiohttp.ClientResponse) -> Attempt:
        reading = wire.read_answer(response.status, self.answer, self._token_value, self._secrets)
        attempt = Attempt(
            headers_sent=True,
            status=response.status,
            result=reading.result,
            api_error=reading.api_error,
            operation_id=reading.operation_id,
            snippet=reading.snippet,
            retry_after=wire.retry_after(response.headers.get("Retry-After"), time.time()),
            detail=None if response.status < 300 else words_about(response, self._token_value),
            began_at=self.began_at,
            elapsed=time.perf_counter() - self._began,
        )
        if self.token is not None and not self.token.proven:
            self.token.proven = is_the_apis(attempt) and not is_unauthenticated(attempt)
        return attempt

    def _broken(self, error: BaseException) -> Attempt:
        if self._overdue:
            return self._attempt(Failure.READ_TIMEOUT)
        failure = failure_of(error, headers_sent=self.headers_sent)
        detail = wire.without(words_of(error), (self._token_value, *self._secrets))
        if isinstance(error, aiohttp.ClientHttpProxyError):
            return replace(self._attempt(failure, detail), headers_sent=False, status=error.status)
        return self._attempt(failure, detail)

    def _attempt(self, failure: Failure, detail: str | None = None) -> Attempt:
        return Attempt(
            headers_sent=self.headers_sent,
            status=self._status,
            failure=failure,
            detail=detail,
            began_at=self.began_at,
            elapsed=time.perf_counter() - self._began if self._began else 0.0,
        )


class Body(aiohttp.Payload):
    """The request's body, which knows whether it was asked to leave, and ends the exchange when its time is over.

    `headers` are shared by many bodies: aiohttp only reads them. (Its own payloads make theirs anew each time.)
    """

    def __init__(self, value: bytes, headers: CIMultiDict[str], patience: Patience) -> None:
        self.sent = False
        self.response: aiohttp.ClientResponse | None = None
        self._content = value
        self._shared = headers
        self._patience = patience
        self._ends_at = math.inf
        self._transport: asyncio.WriteTransport | None = None

    @property
    def headers(self) -> CIMultiDict[str]:
        """What the body brings along; aiohttp adds it to the request's own."""
        return self._shared

    @property
    def size(self) -> int:
        """Bytes, for the header `Content-Length`."""
        return len(self._content)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The body as text, as aiohttp wants it of every payload."""
        return self._content.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Called by aiohttp to have the body written; the headers leave with its first bytes."""
        transport = writer.transport
        if transport is not None and not transport.is_closing():  # aiohttp writes nothing to a closing one
            self.sent = True
            self._transport = transport
            self._ends_at = self._patience.begin(self)
        await writer.write(self._content)

    def end(self) -> None:
        """Take the connection away; a body whose chunks are broken would else be awaited for ever by aiohttp."""
        if self._transport is not None:
            self._transport.abort()
        if self.response is not None:
            self.response.close()

    @property
    def overdue(self) -> bool:
        """Whether the time for the exchange is over."""
        return self._ends_at <= asyncio.get_running_loop().time()

    def stop_timer(self) -> None:
        """The exchange has ended."""
        self._patience.done(self)


def body_headers(token: Token | None, server_wait: int | None = None) -> CIMultiDict[str]:
    """The headers that go with a body.

    The token goes with the body's headers, not the session's: those aiohttp shows in clear text to a proxy as well.
    """
    headers = CIMultiDict({"Content-Type": "application/json"})
    if token is not None:
        headers[AUTHORIZATION] = token.value
    if server_wait is not None:
        headers[WAIT] = str(server_wait)
    return headers


def is_unauthenticated(attempt: Attempt) -> bool:
    """Whether the answer says that the token is not good (any more): then the request was not processed."""
    code = None if attempt.api_error is None else attempt.api_error.code
    return attempt.status == 401 or code == "unauthenticated"


def is_the_apis(attempt: Attempt) -> bool:
    """Whether Adaxes itself gave the answer, not a proxy or web server before it."""
    return attempt.result is not None or attempt.api_error is not None or attempt.operation_id is not None


async def read_body(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body, or as much of it as is worth reading; the connection of a longer one is not used again."""
    content = response.content
    first = await content.readany()
    if content.at_eof() and len(first) <= limit:
        return first
    body = bytearray(first)
    while not content.at_eof():
        if len(body) > limit:
            response.close()
            break
        body += await content.readany()
    return bytes(body[:limit])


def words_about(response: aiohttp.ClientResponse, token: str) -> str | None:
    """What the headers of a refusal add to its status: where a redirect leads, what a proxy wants."""
    if response.status == 407:
        return proxy_words(407, response.headers)
    if response.status < 400 and (location := response.headers.get("Location")):
        return wire.without(wire.sentence(f"redirected to {location.partition('?')[0]}"), (token,))
    return None
