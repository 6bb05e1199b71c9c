"""Sandbox: the simulator of an Adaxes server on loopback, and its two-step log-in.

Invariants: it starts with `async with` and leaves nothing behind at the end: no task, no socket, no half-answered
request. After three failed log-ins every further answer is delayed; after five the account is locked, whatever the
password. A token is valid until it expires, is deleted, or `revoke` is called.

It is a low-level aiohttp server: measured against `web.Application`, a request costs it a fifth less.
"""

import asyncio
import contextlib
import random
import ssl
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Self

import msgspec
from aiohttp import web

from bulksms.sandbox.answers import BROKEN, Broken, answer, error, invalid, json_answer, page, play
from bulksms.sandbox.directory import Directory
from bulksms.sandbox.faults import Fault, FaultPlan
from bulksms.sandbox.journal import Called, Journal
from bulksms.sandbox.look_ups import LookUps, Shapes
from bulksms.sandbox.send_sms import Operations, SendSms, SlowSends, Timing
from bulksms.system import SYSTEM, System

_BASE = "/restApi"
_SEND = f"{_BASE}/api/directoryObjects/sendSms"
_POLL = f"{_BASE}/api/runningOperations/"
_REDIRECTED = f"{_BASE}/signIn"
_LONGEST_END = 2.0

_Routes = Mapping[str, Callable[[web.BaseRequest], Awaitable[web.Response | Broken]]]


_ATTEMPTS = 5
_ATTEMPTS_BEFORE_DELAY = 3
_REASONS = {
    "invalidCredentials": "The user name or password is incorrect.",
    "accessDenied": "The user is not allowed to log in.",
    "accountIsDisabled": "The account is disabled.",
    "accountLockedOut": "The account is locked out.",
    "accountExpired": "The account has expired.",
    "logonTimeIncorrect": "The user is not allowed to log in at this time.",
}


@dataclass(frozen=True, slots=True)
class Account:
    """The account that may log in; the lifetimes of its session and token and the delay of wrong guesses in seconds."""

    username: str = "operator@example.com"
    password: str = "sandbox"  # noqa: S105 - no secret: it opens nothing
    session_lifetime: float = 600.0
    token_lifetime: float = 1800.0
    delay: float = 0.5


class _Credentials(msgspec.Struct, forbid_unknown_fields=True):
    username: str
    password: str


class _Session(msgspec.Struct, forbid_unknown_fields=True):
    sessionId: str  # noqa: N815 - the API's own name


class LogIns:
    """The log-ins of one server, by the clocks of its `system`.

    `refusal` is an `innerError.code` with which every log-in is refused (None: none); `issued` counts the tokens.
    """

    def __init__(self, account: Account, system: System) -> None:
        self.refusal: str | None = None
        self.issued = 0
        self._account = account
        self._system = system
        self._failures = 0
        self._sessions: dict[str, float] = {}
        self._tokens: dict[str, float] = {}

    def good(self, token: str | None) -> bool:
        """Whether a token is valid."""
        return token is not None and self._tokens.get(token, 0.0) > self._system.monotonic()

    def revoke(self) -> None:
        """Invalidate every token and session."""
        self._tokens.clear()
        self._sessions.clear()

    @property
    def open_sessions(self) -> int:
        """Sessions that were not ended."""
        return len(self._sessions)

    @property
    def open_tokens(self) -> int:
        """Tokens that were not deleted."""
        return len(self._tokens)

    async def create_session(self, request: web.BaseRequest) -> web.Response:
        """`POST /api/authSessions/create`, step one."""
        try:
            given = msgspec.json.decode(await request.read(), type=_Credentials)
        except msgspec.MsgspecError as problem:
            return invalid("body", str(problem))
        if refusal := self._refused(given):
            if self._failures >= _ATTEMPTS_BEFORE_DELAY:
                await asyncio.sleep(self._account.delay * (self._failures - _ATTEMPTS_BEFORE_DELAY + 1))
            return self._refuse(refusal)
        self._failures = 0
        session, expires = self._issue(self._sessions, self._account.session_lifetime)
        return json_answer(200, msgspec.json.encode({"sessionId": session, "expiresAtUtc": expires, "type": 0}))

    async def create_token(self, request: web.BaseRequest) -> web.Response:
        """`POST /api/auth`, step two."""
        try:
            given = msgspec.json.decode(await request.read(), type=_Session)
        except msgspec.MsgspecError as problem:
            return invalid("body", str(problem))
        if self._sessions.get(given.sessionId, 0.0) <= self._system.monotonic():
            return error(401, "unauthenticated", "The authentication session is invalid or has expired.")
        self.issued += 1
        token, expires = self._issue(self._tokens, self._account.token_lifetime)
        return json_answer(200, msgspec.json.encode({"token": token, "expiresAtUtc": expires}))

    async def end_token(self, request: web.BaseRequest) -> web.Response:
        """`DELETE /api/auth?token=…`, with the token in the header too."""
        return self._end(self._tokens, request.query.get("token"))

    async def end_session(self, request: web.BaseRequest) -> web.Response:
        """`DELETE /api/authSessions?id=…`."""
        return self._end(self._sessions, request.query.get("id"))

    def _refused(self, given: _Credentials) -> str | None:
        """The code with which these credentials are refused, or None; counts the failures."""
        if self.refusal is not None:
            return self.refusal
        if self._failures >= _ATTEMPTS:
            return "accountLockedOut"
        if (given.username, given.password) == (self._account.username, self._account.password):
            return None
        self._failures += 1
        return "invalidCredentials" if self._failures < _ATTEMPTS else "accountLockedOut"

    def _refuse(self, code: str) -> web.Response:
        reason = _REASONS.get(code, "The log-in was refused.")
        left = max(0, _ATTEMPTS - self._failures)
        inner = {"message": reason, "code": code, "attemptsLeft": left}
        return error(403, "logInFailed", "The log-in failed.", innerError=inner)

    def _issue(self, issued: dict[str, float], lifetime: float) -> tuple[str, str]:
        """A new session or token, and when it expires in the API's format (seven fractional digits)."""
        name = uuid.uuid4().hex
        issued[name] = self._system.monotonic() + lifetime
        expires = datetime.fromtimestamp(self._system.now() + lifetime, UTC)
        return name, f"{expires:%Y-%m-%dT%H:%M:%S}.{expires.microsecond:06}0Z"

    def _end(self, issued: dict[str, float], name: str | None) -> web.Response:
        if name is None:
            return invalid("query", "It does not say what to end.")
        if issued.pop(name, None) is None:
            return error(404, "notFound", "There is none with this identifier.")
        return web.Response(status=204)


class Away(StrEnum):
    """How the server can be unavailable."""

    UNAVAILABLE = "unavailable"
    """Every request is answered with a 503 page."""
    REFUSED = "refused"
    """Nothing listens; connections that were open are closed."""


class Sandbox:
    """The simulator; an async context manager.

    `latency` is in seconds, a number or a (low, high) pair; `token` the access token that is always valid (None: only
    those of a log-in are); `port` 0 takes a free one; `tls` serves https; `system` has its clocks. `url` is the base,
    such as `http://127.0.0.1:40123/restApi`, known once it is entered.
    """

    url: str

    def __init__(  # noqa: PLR0913 - every parameter has a default and is given by name
        self,
        *,
        faults: FaultPlan | None = None,
        latency: float | tuple[float, float] = 0.0,
        token: str | None = "sandbox",  # noqa: S107 - no secret: it opens nothing
        seed: int = 1,
        port: int = 0,
        journal_file: Path | None = None,
        keep_entries: bool = True,
        retry_after: float = 1.0,
        slow: float = 3.0,
        slow_sends: SlowSends | None = None,
        account: Account | None = None,
        directory: Directory | None = None,
        shapes: Shapes | None = None,
        tls: ssl.SSLContext | None = None,
        system: System = SYSTEM,
    ) -> None:
        self.journal = Journal(journal_file, keep_entries=keep_entries)
        self.token = token
        self.trouble: dict[str, list[Fault]] = {}
        """Faults of the next requests other than sends, by kind, as in `{"POST /api/auth": [Fault.HTML_503]}`."""
        self._port = port
        self._tls = tls
        self._system = system
        self._web: web.Server | None = None
        self._listening: asyncio.Server | None = None
        chance = random.Random(seed)  # noqa: S311 - reproducible on purpose
        slow_sends = slow_sends or SlowSends()
        self._operations = Operations(slow_sends, system.monotonic, chance)
        self.log_ins = LogIns(account or Account(), system)
        self.directory = directory or Directory.synthetic(seed=seed)
        look_ups = LookUps(self.directory, shapes or Shapes())
        self._public: _Routes = {
            "POST /api/authSessions/create": self.log_ins.create_session,
            "POST /api/auth": self.log_ins.create_token,
            "DELETE /api/authSessions": self.log_ins.end_session,
        }
        self._private: _Routes = {
            "DELETE /api/auth": self.log_ins.end_token,
            "GET /api/runningOperations/": self._poll,
            "GET /api/directoryObjects": look_ups.one,
            "GET /api/directoryObjects/groupMembers": look_ups.group_members,
            "POST /api/directoryObjects/search": look_ups.search,
            "GET /api/directoryObjects/search": look_ups.search,
        }
        self._send_sms = SendSms(
            faults=faults or FaultPlan.none(),
            timing=Timing(latency, slow, retry_after),
            journal=self.journal,
            operations=self._operations,
            wait=slow_sends.wait,
            authorized=self._authorized,
            system=system,
            chance=chance,
            redirected=_REDIRECTED,
        )

    @property
    def everybody(self) -> Fault | None:
        """The fault of every send; None: those of the plan."""
        return self._send_sms.everybody

    @everybody.setter
    def everybody(self, fault: Fault | None) -> None:
        self._send_sms.everybody = fault

    async def __aenter__(self) -> Self:
        self._web = web.Server(self._handle, handler_cancellation=True, access_log=None)
        self.journal.open()
        try:
            await self._listen()
        except OSError:
            self.journal.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._hang_up()
        self.journal.close()

    async def go_away(self, how: Away = Away.UNAVAILABLE) -> None:
        """Make the server unavailable."""
        if how is Away.REFUSED:
            await self._hang_up()
        self._send_sms.away = True

    async def come_back(self) -> None:
        """Make the server available again, at the same address."""
        if self._listening is None:
            await self._listen()
        self._send_sms.away = False

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(self._server, "127.0.0.1", self._port, ssl=self._tls, backlog=1024)
        self._port = self._listening.sockets[0].getsockname()[1]
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}{_BASE}"

    @property
    def _server(self) -> web.Server:
        if self._web is None:
            raise RuntimeError("The sandbox is not running.")
        return self._web

    async def _hang_up(self) -> None:
        """Stop listening and abort every connection."""
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        for connection in self._server.connections:
            if connection.transport is not None:
                connection.transport.abort()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LONGEST_END):
                while self._server.connections:  # noqa: ASYNC110 - aiohttp has no event: each leaves with its handler
                    await asyncio.sleep(0)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if path == _SEND and request.method == "POST":
            return await self._send_sms(request)
        polled = path.removeprefix(_POLL) if path.startswith(_POLL) else None
        kind = path.removesuffix(polled or "").removeprefix(_BASE)
        reply = await self._call(request, f"{request.method} {kind}")
        status = reply.status
        now, clock = self._system.now(), self._system.monotonic()
        self.journal.add_call(Called(now, clock, request.method, kind, status, polled))
        return await play(reply, request) if isinstance(reply, Broken) else reply

    async def _call(self, request: web.BaseRequest, kind: str) -> web.Response | Broken:
        """The answer to any request but a send."""
        if self._send_sms.away:
            return page(503, "Service Unavailable")
        if waiting := self.trouble.get(kind):
            fault = waiting.pop(0)
            return BROKEN.get(fault) or answer(fault, "", 1.0, _REDIRECTED, self._system.now())
        if request.path == _REDIRECTED:
            return page(200, "Sign in to continue")
        if not request.path.startswith(f"{_BASE}/api/"):
            return page(302, "Object moved", headers={"Location": _REDIRECTED})
        return await self._api(request, kind)

    async def _api(self, request: web.BaseRequest, kind: str) -> web.Response | Broken:
        """The answer of the API itself."""
        if kind in self._public:
            return await self._public[kind](request)
        if not self._authorized(request):
            return error(401, "unauthenticated", "The security token is invalid or has expired.")
        if kind in self._private:
            return await self._private[kind](request)
        if request.path == _SEND:
            return error(405, "methodNotAllowed", "Use POST.", headers={"Allow": "POST"})
        return error(404, "notFound", "There is no such operation in the API.")

    async def _poll(self, request: web.BaseRequest) -> web.Response | Broken:
        return self._operations.poll(request.path.removeprefix(_POLL))

    def _authorized(self, request: web.BaseRequest) -> bool:
        token = request.headers.get("Adm-Authorization")
        return (token is not None and token == self.token) or self.log_ins.good(token)


async def serve(  # noqa: PLR0913 - the options of the command, by name
    *,
    ready: Callable[[str], None],
    faults: FaultPlan | None = None,
    latency: float | tuple[float, float] = 0.0,
    token: str = "sandbox",  # noqa: S107 - no secret: it opens nothing
    seed: int | None = None,
    port: int = 0,
    journal_file: Path | None = None,
) -> None:
    """Run a sandbox until it is cancelled; `ready` is called with its URL once it listens.

    A `seed` also replaces that of the fault plan. No entries are kept in memory, only in the journal file.
    Raises `OSError` if the port is taken.
    """
    faults = faults or FaultPlan.none()
    sandbox = Sandbox(
        faults=faults if seed is None else replace(faults, seed=seed),
        latency=latency,
        token=token,
        seed=1 if seed is None else seed,
        port=port,
        journal_file=journal_file,
        keep_entries=False,
    )
    async with sandbox:
        ready(sandbox.url)
        await asyncio.get_running_loop().create_future()
