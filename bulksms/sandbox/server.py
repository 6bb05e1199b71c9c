"""Sandbox: the simulator of an Adaxes server on loopback.

Invariant: it starts with `async with` and leaves nothing behind at the end: no task, no socket, no half-answered
request. It is a low-level aiohttp server: measured against `web.Application`, a request costs it a fifth less.
"""

import asyncio
import contextlib
import random
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web

from bulksms.sandbox.answers import BROKEN, Broken, answer, error, page, play
from bulksms.sandbox.directory import Directory
from bulksms.sandbox.journal import Called, Journal
from bulksms.sandbox.log_in import Account, LogIns
from bulksms.sandbox.look_ups import LookUps, Shapes
from bulksms.sandbox.plan import Fault, FaultPlan
from bulksms.sandbox.send_sms import Operations, SendSms, SlowSends, Timing
from bulksms.system import SYSTEM, System

_BASE = "/restApi"
_SEND = f"{_BASE}/api/directoryObjects/sendSms"
_POLL = f"{_BASE}/api/runningOperations/"
_REDIRECTED = f"{_BASE}/signIn"
_LONGEST_END = 2.0

_Routes = Mapping[str, Callable[[web.BaseRequest], Awaitable[web.Response | Broken]]]


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

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
