"""Exchange: one request and its answer, reported as an `Attempt`, over a connection on which nothing waits to be read.

Invariants:
1. What the network does is never an exception. Cancellation is passed on, and the exchange still tells what left.
2. An answer counts only for a request that has left: one that was there before is nobody's. HTTP/1.1 gives an answer no
   name, so whatever comes first on a connection is taken for the answer to whatever left last on it: bytes that arrive
   while nothing is asked would settle the next message, and shift every answer after that by one. aiohttp 3.14 takes a
   connection out of its pool without a look at what has arrived there meanwhile.
3. `headers_sent` is False only if not a single byte of the request can have left this process. aiohttp keeps the
   headers back until the body is written, so a body that was never asked to write itself proves it.
4. From the first byte of the request to the last byte of the answer it takes `timeout` seconds at most, however slowly
   the bytes drip: one timer takes the connection away. (aiohttp's `sock_read` starts anew with every byte.)
"""

import asyncio
import errno
import select
import weakref
from ssl import SSLContext
from typing import TYPE_CHECKING

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from msgspec.structs import replace
from multidict import CIMultiDict
from yarl import URL

from bulksms.adaxes import wire
from bulksms.adaxes.endpoint import Token
from bulksms.adaxes.errors import NETWORK_ERRORS, describe_error, describe_proxy_error, failure_of
from bulksms.model.attempt import Attempt, Failure
from bulksms.system import System

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiohttp.client_proto import ResponseHandler
    from aiohttp.client_reqrep import ClientRequest
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace


AUTHORIZATION = "Adm-Authorization"
WAIT = "Adm-Wait"


class Exchange:
    """One request, made once by `run`. After a cancellation `cancelled` tells what is known of it.

    Only a request with a body can prove that it never left. `secrets` (recipient, text, password) are kept out of
    snippets and details, as is the token. `answer` is the body that was read, at most `limit` bytes of it, in UTF-8;
    `headers` are those of the answer.
    """

    __slots__ = (
        "_began",
        "_body",
        "_limit",
        "_method",
        "_secrets",
        "_session",
        "_status",
        "_system",
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
        system: System,
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
        self._system = system
        self.token = token
        self._body = body
        self.server_wait = server_wait
        """The seconds of its `Adm-Wait` header, None if it has none."""
        self._secrets = secrets
        self._limit = limit
        self._status: int | None = None
        self._began: float | None = None
        self.began_at = 0.0
        self.answer = b""
        self.headers: Mapping[str, str] = {}

    @property
    def was_withheld(self) -> bool:
        """Whether it was not allowed to leave at the last moment, and has not."""
        return self._body is not None and self._body.was_withheld

    @property
    def headers_sent(self) -> bool:
        """Whether a byte of the request may have left this process by now."""
        if self._status is not None:
            return True
        return self._began is not None if self._body is None else self._body.sent

    async def run(self) -> Attempt:
        """Make the request, whatever comes of it. Raises nothing but cancellation."""
        self.began_at = self._system.now()
        self._began = self._system.monotonic()
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
            if self._body is not None and self._body.was_preceded:
                response.close()
                return self._attempt(Failure.DISCONNECTED, "an answer came before the request had left")
            self._status = response.status
            self.headers = response.headers
            if response.ok and self._body is not None and self._body.is_leaving:
                response.close()
                return self._attempt(Failure.MALFORMED, "the answer came before the whole request had left")
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
        if (
            self._body is not None and self._body.overdue
        ):  # the timer's end of the connection may look like the end of the body
            return self._attempt(Failure.READ_TIMEOUT)
        return self._answered(response)

    def cancelled(self) -> Attempt:
        """What is known of an exchange that was cancelled."""
        return self._attempt(failure=Failure.CANCELLED)

    @property
    def _elapsed(self) -> float:
        return 0.0 if self._began is None else self._system.monotonic() - self._began

    @property
    def _token_value(self) -> str:
        return "" if self.token is None else self.token.value

    def _answered(self, response: aiohttp.ClientResponse) -> Attempt:
        status, headers, token = response.status, response.headers, self.token
        content_type, asked = headers.get("Content-Type"), headers.get("Retry-After")
        is_cut = len(self.answer) >= self._limit
        self.answer = wire.to_utf8(self.answer, content_type)
        reading = wire.read_answer(status, self.answer, self._token_value, self._secrets, content_type)
        attempt = Attempt(
            headers_sent=True,
            status=status,
            result=reading.result,
            api_error=reading.api_error,
            operation_id=reading.operation_id,
            snippet=reading.snippet,
            is_page=reading.is_page,
            retry_after=None if asked is None else wire.retry_after(asked, self._system.now()),
            detail=self._detail(response, reading, is_cut=is_cut) if is_cut or status >= 300 else None,
            began_at=self.began_at,
            elapsed=self._elapsed,
        )
        if token is not None and not token.was_accepted:
            token.was_accepted = attempt.is_from_api and not is_unauthenticated(attempt)
        return attempt

    def _detail(self, response: aiohttp.ClientResponse, reading: wire.ParsedBody, *, is_cut: bool) -> str | None:
        """What the status line and the body do not say."""
        if response.status >= 300:
            return describe_transport_error(response, self._token_value)
        if not is_cut or reading.result is not None or reading.is_page:
            return None
        return f"the answer is longer than {self._limit // 1024} kB and is not read to its end"

    def _broken(self, error: BaseException) -> Attempt:
        if self._body is not None and self._body.overdue:
            return self._attempt(Failure.READ_TIMEOUT)
        failure = failure_of(error, headers_sent=self.headers_sent)
        detail = wire.redact(describe_error(error), (self._token_value, *self._secrets))
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
            elapsed=self._elapsed,
        )


class Body(aiohttp.Payload):
    """The request's body, which knows whether it was asked to leave, and ends the exchange when its time is over.

    From its first byte on the exchange has so many `seconds`. `headers` are shared by many bodies: aiohttp only reads
    them. (Its own payloads make theirs anew each time.) `may_leave` is asked last of all; without it, it may.
    """

    def __init__(
        self,
        value: bytes,
        headers: CIMultiDict[str],
        seconds: float,
        may_leave: "Callable[[], bool] | None" = None,
    ) -> None:
        self.sent = False
        self.was_withheld = False
        """It was not allowed to leave, and has not."""
        self.was_preceded = False
        """An answer was there before the request could leave: it is nobody's, and the request has not left."""
        self.response: aiohttp.ClientResponse | None = None
        self._content = value
        self._shared = headers
        self._seconds = seconds
        self._may_leave = may_leave
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.WriteTransport | None = None
        self.overdue = False
        """Whether the time for the exchange is over."""

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
        if transport is not None and has_unasked_bytes(transport, is_new=True):
            self.was_preceded = True
            transport.abort()
        if self._may_leave is not None and not self._may_leave():
            self.was_withheld = True
            if transport is not None:
                transport.abort()
        if transport is not None and not transport.is_closing():  # aiohttp writes nothing to a closing one
            self.sent = True
            self._transport = transport
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self.end)
        await writer.write(self._content)

    def end(self) -> None:
        """Take the connection away; a body whose chunks are broken would else be awaited for ever by aiohttp."""
        self.overdue = True
        if self._transport is not None:
            self._transport.abort()
        if self.response is not None:
            self.response.close()

    @property
    def is_leaving(self) -> bool:
        """Whether a part of it still waits in this process, so that nobody can have acted on it."""
        transport = self._transport  # a lost TLS transport knows no buffer any more
        return transport is not None and not transport.is_closing() and transport.get_write_buffer_size() > 0

    def stop_timer(self) -> None:
        """The exchange has ended. What has not left by now would keep the connection from ever being closed."""
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None and self.is_leaving:
            self._transport.abort()


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


def describe_transport_error(response: aiohttp.ClientResponse, token: str) -> str | None:
    """What the headers of a refusal add to its status: where a redirect leads, what a proxy wants."""
    if response.status == 407:
        return describe_proxy_error(407, response.headers)
    if response.status < 400 and (location := response.headers.get("Location")):
        return wire.redact(wire.sentence(f"redirected to {location.partition('?')[0]}"), (token,))
    return None


class QuietConnector(aiohttp.TCPConnector):
    """A pool that closes a connection on which something arrived unasked, and gives out another one."""

    def __init__(self, *, limit: int, keepalive_timeout: float, ssl: SSLContext | bool) -> None:
        super().__init__(limit=limit, keepalive_timeout=keepalive_timeout, ssl=ssl)
        self._used: weakref.WeakSet[ResponseHandler] = weakref.WeakSet()

    async def connect(
        self,
        req: "ClientRequest",
        traces: list["Trace"],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - the signature is aiohttp's
    ) -> "Connection":
        """As aiohttp does it, but quiet.

        Raises ClientConnectionResetError if even a new connection brings bytes before anything was asked.
        """
        while True:
            connection = await super().connect(req, traces, timeout)
            protocol = connection.protocol
            if protocol is None:  # it was closed in the same moment
                continue
            is_new = protocol not in self._used
            if not has_unasked_bytes(connection.transport, is_new=is_new):
                self._used.add(protocol)
                return connection
            connection.close()
            if is_new:
                raise aiohttp.ClientConnectionResetError(
                    errno.EPROTO, "the server sent something before it was asked anything"
                )


def has_unasked_bytes(transport: asyncio.BaseTransport | None, *, is_new: bool) -> bool:
    """Whether a connection on which nothing is asked has brought bytes or its end: parsed, or still in the kernel.

    A new TLS connection may have the handshake's session tickets in the kernel, which are no answer.
    """
    if transport is None or transport.is_closing():
        return True
    protocol = transport.get_protocol() if isinstance(transport, asyncio.Transport) else None
    if getattr(protocol, "should_close", False):
        return True
    if is_new and transport.get_extra_info("ssl_object") is not None:
        return False
    connected = transport.get_extra_info("socket")
    return connected is not None and _is_readable(connected.fileno())


if hasattr(select, "poll"):

    def _is_readable(descriptor: int) -> bool:
        """Whether a read would not wait; `select` would know no descriptor above 1,023."""
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(0))

else:

    def _is_readable(descriptor: int) -> bool:
        """Whether a read would not wait (Windows)."""
        return bool(select.select([descriptor], [], [], 0)[0])
