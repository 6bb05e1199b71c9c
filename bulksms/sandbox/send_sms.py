"""SendSms: what the stand-in server does with `POST /api/directoryObjects/sendSms`.

Law: a request is read whole, judged, put into the journal, and only then answered. The token comes first, then the
wire format (exactly `{"directoryObject", "text"}`, two strings, as `application/json`), then the recipient's faults;
a request that fails the first two uses up none of them.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from aiohttp import web

from bulksms.sandbox.answers import answer, error, invalid, operation_result, page
from bulksms.sandbox.broken import BROKEN, Broken, play
from bulksms.sandbox.fault import PROCESSED, Fault
from bulksms.sandbox.journal import Journal, Received
from bulksms.sandbox.operations import OPERATIONS, Operations, Wait
from bulksms.sandbox.plan import FaultPlan


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    directoryObject: str  # noqa: N815 - the API's own name
    text: str


_BODY = msgspec.json.Decoder(_Body)
_NO_BODY = _Body("", "")


@dataclass(frozen=True, slots=True)
class Timing:
    """Times in seconds.

    `latency` is that of every send (a number, or a low and a high one drawn between), `slow` that of the fault of
    this name, `retry_after` is in the answers that have one.
    """

    latency: float | tuple[float, float] = 0.0
    slow: float = 3.0
    retry_after: float = 1.0


@dataclass(frozen=True, slots=True)
class _Played:
    """What a request gets, and after how many seconds."""

    reply: web.Response | Broken
    seconds: float = 0.0


class SendSms:
    """The sends of one server.

    `everybody` is a fault that meets every request instead of the plan's; while it is `away`, a page of the web
    server answers, whatever the request.
    """

    def __init__(  # noqa: PLR0913 - the rooms of the server that a send passes through
        self,
        *,
        faults: FaultPlan,
        timing: Timing,
        journal: Journal,
        operations: Operations,
        wait: Wait,
        authorized: Callable[[web.BaseRequest], bool],
        chance: random.Random,
        redirected: str,
    ) -> None:
        self.everybody: Fault | None = None
        self.away = False
        self._faults = faults
        self._timing = timing
        self._journal = journal
        self._operations = operations
        self._wait = wait
        self._authorized = authorized
        self._chance = chance
        self._redirected = redirected
        self._turns: Counter[str] = Counter()

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers one request."""
        journal = self._journal
        journal.in_flight += 1
        journal.max_in_flight = max(journal.max_in_flight, journal.in_flight)
        try:
            played = self._take(request, await request.read())
            if played.seconds:
                await asyncio.sleep(played.seconds)
            return await play(played.reply, request) if isinstance(played.reply, Broken) else played.reply
        finally:
            journal.in_flight -= 1

    def _take(self, request: web.BaseRequest, raw: bytes) -> _Played:
        """Judges a request and books it."""
        body, refusal = _parse(request, raw)
        authorized = self._authorized(request)
        if self.away:
            refusal = page(503, "Service Unavailable")
        elif not authorized:
            refusal = error(401, "unauthenticated", "The security token is invalid or has expired.")
        elif "Adm-Wait" in request.headers and self._wait is Wait.REFUSED:
            refusal = invalid("Adm-Wait", "The header is not supported.")
        fault = None if refusal else self._next(body.directoryObject)
        played = _Played(refusal) if refusal else self._reply(fault or Fault.OK, body.directoryObject, request)
        entry = Received(
            number=self._journal.total + 1,
            at=time.time(),
            clock=time.monotonic(),
            recipient=body.directoryObject,
            text=body.text,
            authorized=authorized,
            fault=fault,
            delivered=not refusal and (fault or Fault.OK) in PROCESSED,
            status=played.reply.status,
        )
        self._journal.add(entry)
        return played

    def _next(self, recipient: str) -> Fault | None:
        """The fault that this request of the recipient meets."""
        if self.everybody is not None:
            return self.everybody
        script = self._faults.script(recipient)
        if not script:
            return None
        turn = self._turns[recipient]
        self._turns[recipient] = turn + 1
        return script[turn] if turn < len(script) else None

    def _reply(self, fault: Fault, recipient: str, request: web.BaseRequest) -> _Played:
        """How a good request is answered, and after how many seconds."""
        seconds = self._duration(fault)
        if fault in BROKEN:
            return _Played(BROKEN[fault], seconds)
        if fault in OPERATIONS:
            return _Played(self._operations.start(fault, recipient), seconds)
        if fault is Fault.REDIRECT_307:
            return _Played(page(307, "Object moved", headers={"Location": str(request.url)}), seconds)
        wait = self._patience(request)
        if wait is not None and seconds > wait and (fault is Fault.SLOW or operation_result(fault, recipient)):
            return _Played(self._operations.start(fault, recipient, ready_in=seconds), wait)
        return _Played(answer(fault, recipient, self._timing.retry_after, self._redirected), seconds)

    def _duration(self, fault: Fault) -> float:
        """How many seconds the server works on a send."""
        latency = self._timing.latency
        drawn = latency if isinstance(latency, int | float) else self._chance.uniform(*latency)
        return max(drawn, self._timing.slow) if fault is Fault.SLOW else drawn

    def _patience(self, request: web.BaseRequest) -> float | None:
        """After how many seconds the client would rather have an operation's id than wait on."""
        asked = request.headers.get("Adm-Wait")
        return float(asked) if asked is not None and asked.isdecimal() and self._wait is Wait.HONOURED else None


def _parse(request: web.BaseRequest, raw: bytes) -> tuple[_Body, web.Response | None]:
    """The body, or what is wrong with it."""
    if request.content_type != "application/json":
        return _NO_BODY, error(415, "unsupportedMediaType", "Use application/json as the content type.")
    try:
        body = _BODY.decode(raw)
    except msgspec.MsgspecError as problem:
        return _NO_BODY, invalid("body", str(problem))
    if not body.directoryObject:
        return _NO_BODY, invalid("directoryObject", "The identifier is required.")
    if not body.text:
        return _NO_BODY, invalid("text", "The text is required.")
    return body, None
