"""Outcomes: what became of each message, between the run that learns it and the loop that asks for it.

Law: memory is bounded. A loop that does not keep up holds the run back; one that was left holds nobody.
"""

import asyncio
from collections import deque
from dataclasses import dataclass

from bulksms.attempt import Attempt
from bulksms.delivery.retry import Decision
from bulksms.message import Message, Reason, State

ROOM = 256
"""Outcomes that may wait to be asked for before workers wait too; what is under way then comes on top."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One message that was settled, as it is told at that moment; it is on disk with the commit that follows.

    `row` is the row of the input as a spreadsheet shows it, `attempts` counts the requests of all runs. `http_status`
    and `error` are those of the last answer, `latency_ms` is its time in milliseconds.
    """

    row: int
    recipient: str
    text: str
    state: State
    reason: Reason | None
    attempts: int
    may_have_sent_twice: bool
    http_status: int | None
    error: str | None
    latency_ms: float

    @classmethod
    def of(cls, message: Message, attempt: Attempt, decision: Decision) -> "Outcome":
        """What the run knows when it settles a message."""
        return cls(
            message.row,
            message.recipient,
            message.text,
            decision.state,
            decision.reason,
            message.attempts,
            message.may_have_sent_twice,
            attempt.status,
            attempt.error,
            attempt.elapsed * 1000.0,
        )


class Outcomes:
    """Keeps outcomes for one loop, from `listen` to `forget`; otherwise keeps nothing."""

    def __init__(self) -> None:
        self.is_heard = False
        self._waiting: deque[Outcome] = deque()
        self._ended = False
        self._changed = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()

    def listen(self) -> None:
        """Keep what comes from now on."""
        self.is_heard = True

    def forget(self) -> None:
        """Nobody asks any more: whoever waits for room has it."""
        self.is_heard = False
        self._waiting.clear()
        self._has_room.set()

    def add(self, outcome: Outcome) -> None:
        """One more, if anybody listens. Never waits: it is the workers who do, before their next message."""
        if not self.is_heard:
            return
        self._waiting.append(outcome)
        self._changed.set()
        if len(self._waiting) >= ROOM:
            self._has_room.clear()

    def end(self) -> None:
        """No more will come."""
        self._ended = True
        self._changed.set()

    async def room(self) -> None:
        """Wait while too many wait to be asked for."""
        await self._has_room.wait()

    async def next(self) -> Outcome | None:
        """The next one; None when there is none left and none to come."""
        while not self._waiting:
            if self._ended:
                return None
            self._changed.clear()
            await self._changed.wait()
        outcome = self._waiting.popleft()
        if len(self._waiting) < ROOM:
            self._has_room.set()
        return outcome
