"""Outcomes: what became of each message, on its way from the run to the loop that iterates over them.

Invariant: memory is bounded. A loop that does not keep up slows the run down; a loop that was left does not.
"""

import asyncio
from collections import deque
from dataclasses import dataclass

from bulksms.model.attempt import Attempt
from bulksms.model.message import Message, Reason, State
from bulksms.policy.retry import Decision

QUEUE_SIZE = 256
"""Outcomes that may wait for the loop before the workers wait too; those under way at that moment come on top."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One message that was settled, as it is known at that moment; it is on disk with the commit that follows.

    `row` is the row of the input as a spreadsheet shows it, `attempts` counts the requests of all runs. `http_status`
    and `error` are those of the last answer, `latency_ms` is its time in milliseconds.
    """

    row: int
    recipient: str
    text: str
    state: State
    reason: Reason | None
    attempts: int
    possible_duplicate: bool
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
            message.possible_duplicate,
            attempt.status,
            attempt.error,
            attempt.elapsed * 1000.0,
        )


class Outcomes:
    """Keeps outcomes for one loop, from `listen` to `stop_listening`; otherwise keeps nothing."""

    def __init__(self) -> None:
        self.has_listener = False
        self._waiting: deque[Outcome] = deque()
        self._ended = False
        self._changed = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()

    def listen(self) -> None:
        """Keep what comes from now on."""
        self.has_listener = True

    def stop_listening(self) -> None:
        """The loop has ended: nothing is kept any more, and the workers go on."""
        self.has_listener = False
        self._waiting.clear()
        self._has_room.set()

    def add(self, outcome: Outcome) -> None:
        """Keep one more if a loop listens. Never waits: the workers do, before their next message."""
        if not self.has_listener:
            return
        self._waiting.append(outcome)
        self._changed.set()
        if len(self._waiting) >= QUEUE_SIZE:
            self._has_room.clear()

    def end(self) -> None:
        """No more will come."""
        self._ended = True
        self._changed.set()

    async def wait_for_capacity(self) -> None:
        """Wait while the queue is full."""
        await self._has_room.wait()

    async def next(self) -> Outcome | None:
        """The next one; None when there is none left and none to come."""
        while not self._waiting:
            if self._ended:
                return None
            self._changed.clear()
            await self._changed.wait()
        outcome = self._waiting.popleft()
        if len(self._waiting) < QUEUE_SIZE:
            self._has_room.set()
        return outcome
