"""Poller: asks what became of the messages that the server took and is still working on.

Invariants: one poller for all of them, so that slow operations never occupy a worker. A message stays `processing` in
the ledger, with its operation id, until the server has reported what became of it; a run that ends before that leaves
it to the next one. A pause that the server asks for holds for sends and polls alike.
"""

import asyncio
import heapq
from collections.abc import Awaitable, Callable
from functools import partial

import anyio

from bulksms.adaxes import Caller, LoginFailure
from bulksms.engine.stop_signal import StopSignal
from bulksms.model.attempt import Attempt
from bulksms.model.message import Message
from bulksms.model.run_settings import StopReason
from bulksms.policy.judgement import PollLimiter, RunPolicy
from bulksms.policy.retry import Decision

OnPoll = Callable[[Message, Attempt, Decision], None]
"""Called with every poll and with what follows from it."""


class _Watched:
    """One operation: when it was first seen here, and how often it was polled."""

    __slots__ = ("message", "polls", "since")

    def __init__(self, message: Message, since: float) -> None:
        self.message = message
        self.since = since
        self.polls = 0


class Poller:
    """Watches operations until each is settled: those of this run, and first those that an earlier one left.

    At most `capacity` of them are watched at a time; each is given up after `timeout` seconds.
    """

    def __init__(  # noqa: PLR0913 - what it polls, what it goes by, and its bounds
        self,
        caller: Caller,
        policy: RunPolicy,
        limiter: PollLimiter,
        *,
        next_earlier: Callable[[], Awaitable[Message | None]],
        on_poll: OnPoll,
        stop: StopSignal,
        timeout: float,
        capacity: int,
        now: Callable[[], float],
    ) -> None:
        self._caller = caller
        self._policy = policy
        self._limiter = limiter
        self._next_earlier = next_earlier
        self._on_poll = on_poll
        self._stop = stop
        self._timeout = timeout
        self._capacity = capacity
        self._now = now
        self._due: list[tuple[float, int, _Watched]] = []
        self._changed = asyncio.Event()
        self._below_capacity = asyncio.Event()
        self._below_capacity.set()
        self.has_capacity = True
        """Whether fewer operations are watched than may be, or the run stops."""
        self._no_more = False
        self._has_earlier = True
        stop.on_stop(lambda _: self._wake())

    def watch(self, message: Message, *, polls: int = 0) -> None:
        """Begin to poll the operation of this message; one of an earlier run is polled at once."""
        now = self._now()
        first = now + (self._policy.timings.poll_pause(0) if polls == 0 else 0.0)
        heapq.heappush(self._due, (first, message.number, _Watched(message, now)))
        self._wake()

    async def wait_for_capacity(self) -> None:
        """Wait while as many operations are watched as may be, unless the run stops."""
        await self._below_capacity.wait()

    def close(self) -> None:
        """No message will be added: `run` ends when the last operation is settled."""
        self._no_more = True
        self._wake()

    async def run(self) -> None:
        """Poll until all are settled and no more can come."""
        async with anyio.create_task_group() as polls:
            polls.start_soon(self._watch_earlier)
            while self._due or self._limiter.under_way or self._has_earlier or not self._no_more:
                self._changed.clear()
                pause = self._pause(self._now())
                if pause is None or pause > 0:
                    with anyio.move_on_after(pause):
                        await self._changed.wait()
                else:
                    _, _, watched = heapq.heappop(self._due)
                    self._limiter.started()
                    polls.start_soon(self._poll, watched)

    def _pause(self, now: float) -> float | None:
        """Seconds until the next poll, None until something changes."""
        delay = self._limiter.delay(now)
        if delay is None or not self._due:
            return None
        return max(delay, self._due[0][0] - now, self._policy.admission.breaker.seconds_held(now))

    async def _watch_earlier(self) -> None:
        """Those of an earlier run, as many at a time as may be watched; another machine may leave more of them."""
        while True:
            while not self._has_room:
                self._changed.clear()
                await self._changed.wait()
            message = await self._next_earlier()
            if message is None:
                break
            self.watch(message, polls=1)
        self._has_earlier = False
        self._wake()

    async def _poll(self, watched: _Watched) -> None:
        message = watched.message
        poll = await self._caller.call(partial(self._caller.client.poll, message.operation_id or ""))
        watched.polls += 1
        completed = None
        if not isinstance(poll, LoginFailure):
            completed = poll.completed
        elif poll.final:
            self._stop.set_for_login(poll)
        now = self._now()
        self._limiter.finished(now, poll.attempt)
        decision = self._policy.judge_poll(
            message,
            poll.attempt,
            now,
            completed=completed,
            waited=now - watched.since,
            timeout=self._timeout,
            polls=watched.polls,
        )
        self._on_poll(message, poll.attempt, decision)
        if decision.retry_in is not None:
            heapq.heappush(self._due, (now + decision.retry_in, message.number, watched))
        if self._limiter.has_given_up(now):
            self._stop.set(StopReason.SERVER_UNAVAILABLE, poll.attempt.error)
        self._wake()

    @property
    def _has_room(self) -> bool:
        """Whether one more may be watched; those that are being polled count as well."""
        return len(self._due) + self._limiter.under_way < self._capacity

    def _wake(self) -> None:
        self._changed.set()
        self.has_capacity = self._has_room or self._stop.is_set
        if self.has_capacity:
            self._below_capacity.set()
        else:
            self._below_capacity.clear()
