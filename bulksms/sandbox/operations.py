"""Operations: slow sends that were answered with 202, and the polls about them.

Law: what an operation will end with is settled when it is accepted; polls only reveal it.
"""

import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import msgspec
from aiohttp import web

from bulksms.sandbox.answers import completed, error, json_answer
from bulksms.sandbox.broken import Broken, Ending
from bulksms.sandbox.fault import Fault


class Wait(StrEnum):
    """What the server makes of the `Adm-Wait` header."""

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
    """How the server treats slow sends. `polls` is how many polls an operation of the fault `202` needs."""

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
