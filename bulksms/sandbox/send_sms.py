"""SendSms: what the simulator does with `POST /api/directoryObjects/sendSms`, and with polls of slow ones.

Invariants: a request is read completely, judged, recorded in the journal, and only then answered. The token comes
first, then the wire format (exactly `{"directoryObject", "text"}`, two strings, as `application/json`), then the
recipient's faults; a request that fails the first two uses up none of them. The result of an operation is fixed when it
is accepted; polls only reveal it.
"""

import asyncio
import random
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import msgspec
from aiohttp import web

from bulksms.sandbox.answers import (
    BROKEN,
    Broken,
    Ending,
    answer,
    completed,
    error,
    invalid,
    json_answer,
    operation_result,
    page,
    play,
)
from bulksms.sandbox.faults import PROCESSED, Fault, FaultPlan
from bulksms.sandbox.journal import Journal, Received
from bulksms.system import System


class Wait(StrEnum):
    """How the server treats the `Adm-Wait` header."""

    HONOURED = "honoured"
    """A send that takes longer is answered with 202 after the wait."""
    IGNORED = "ignored"
    REFUSED = "refused"
    """Every send with the header is a 400."""


class IdShape(StrEnum):
    """How a 202 names the operation; the documentation does not say."""

    STRING = "string"
    OPERATION_ID = "operationId"
    ID = "id"


@dataclass(frozen=True, slots=True)
class SlowSends:
    """How the server treats slow sends. `polls`: how many polls an operation of the fault `202` needs to complete."""

    wait: Wait = Wait.HONOURED
    shape: IdShape = IdShape.STRING
    polls: int = 2


@dataclass(slots=True)
class _Operation:
    result: bytes
    ready_at: float
    polls_left: int
    trouble: list[web.Response | Broken]
    stuck: bool = False


OPERATIONS = frozenset(
    {
        Fault.ACCEPTED_202,
        Fault.ACCEPTED_202_FAILED,
        Fault.ACCEPTED_202_SUSPENDED,
        Fault.ACCEPTED_202_LOST,
        Fault.ACCEPTED_202_STUCK,
        Fault.ACCEPTED_202_POLL_TROUBLE,
    }
)
"""The faults that are answered with the id of an operation."""

_PENDING = b'{"completed":false,"operationResult":null}'


class Operations:
    """The operations of one server; `clock` is its monotonic clock in seconds."""

    def __init__(self, settings: SlowSends, clock: Callable[[], float], chance: random.Random) -> None:
        self._settings = settings
        self._clock = clock
        self._chance = chance
        self._running: dict[str, _Operation] = {}

    def start(self, fault: Fault, recipient: str, *, ready_in: float | None = None) -> web.Response:
        """The 202 for a send; it completes by itself after `ready_in` seconds, or after the set number of polls."""
        name = str(uuid.UUID(int=self._chance.getrandbits(128), version=4))
        if fault is not Fault.ACCEPTED_202_LOST:
            self._running[name] = _Operation(
                result=completed(fault, recipient),
                ready_at=self._clock() + (ready_in or 0.0),
                polls_left=0 if ready_in is not None else self._settings.polls,
                trouble=_trouble() if fault is Fault.ACCEPTED_202_POLL_TROUBLE else [],
                stuck=fault is Fault.ACCEPTED_202_STUCK,
            )
        shape = self._settings.shape
        return json_answer(202, msgspec.json.encode(name if shape is IdShape.STRING else {str(shape): name}))

    def poll(self, name: str) -> web.Response | Broken:
        """The answer to a poll."""
        operation = self._running.get(name)
        if operation is None:
            return error(404, "notFound", "The operation was not found.")
        if operation.trouble:
            return operation.trouble.pop(0)
        operation.polls_left -= 1
        if operation.stuck or operation.polls_left > 0 or self._clock() < operation.ready_at:
            return json_answer(200, _PENDING)
        return json_answer(200, b'{"completed":true,"operationResult":' + operation.result + b"}")


def _trouble() -> list[web.Response | Broken]:
    unavailable = error(503, "serviceUnavailable", "The Adaxes service is not available.")
    return [unavailable, Broken(Ending.FINISH), Broken(Ending.FINISH)]


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
    """The reply to a request, and its delay in seconds."""

    reply: web.Response | Broken
    seconds: float = 0.0


class SendSms:
    """The sends of one server.

    `everybody` is a fault of every request, which replaces the plan's; while the server is `away`, it answers every
    request with a page.
    """

    def __init__(  # noqa: PLR0913 - the parts of the server that a send passes through
        self,
        *,
        faults: FaultPlan,
        timing: Timing,
        journal: Journal,
        operations: Operations,
        wait: Wait,
        authorized: Callable[[web.BaseRequest], bool],
        system: System,
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
        self._system = system
        self._turns: Counter[str] = Counter()

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
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
        """Judge a request and record it."""
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
            at=self._system.now(),
            clock=self._system.monotonic(),
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
        """The fault of this request of the recipient."""
        if self.everybody is not None:
            return self.everybody
        script = self._faults.script(recipient)
        if not script:
            return None
        turn = self._turns[recipient]
        self._turns[recipient] = turn + 1
        return script[turn] if turn < len(script) else None

    def _reply(self, fault: Fault, recipient: str, request: web.BaseRequest) -> _Played:
        """The reply to a valid request, and its delay in seconds."""
        seconds = self._duration(fault)
        if fault in BROKEN:
            return _Played(BROKEN[fault], seconds)
        if fault in OPERATIONS:
            return _Played(self._operations.start(fault, recipient), seconds)
        if fault is Fault.REDIRECT_307:
            return _Played(page(307, "Object moved", headers={"Location": str(request.url)}), seconds)
        wait = self._wait_asked_for(request)
        if wait is not None and seconds > wait and (fault is Fault.SLOW or operation_result(fault, recipient)):
            return _Played(self._operations.start(fault, recipient, ready_in=seconds), wait)
        return _Played(
            answer(fault, recipient, self._timing.retry_after, self._redirected, self._system.now()), seconds
        )

    def _duration(self, fault: Fault) -> float:
        """How many seconds the server works on a send."""
        latency = self._timing.latency
        drawn = latency if isinstance(latency, int | float) else self._chance.uniform(*latency)
        return max(drawn, self._timing.slow) if fault is Fault.SLOW else drawn

    def _wait_asked_for(self, request: web.BaseRequest) -> float | None:
        """The seconds after which the client asked for an operation id instead of waiting."""
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
