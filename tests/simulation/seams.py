"""What the simulated world puts in the place of the real one: the loop with its network, the clock, chance, and the
steps of a ledger's writer.
"""

import socket
from asyncio import Handle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from email.utils import formatdate
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp.connector
import aiohttp.web_response
import simloop
from anyio._backends._asyncio import CancelScope
from simloop._loop import _host_of  # the host that a callback belongs to; simloop has no public name for it
from simloop._net import _current_host
from simloop._trace import TraceRecorder

from bulksms.ledger.sqlite.driver import LoopSteps
from bulksms.model.run_settings import TIMINGS as REAL_TIMINGS
from bulksms.system import System

BEGIN = 1_806_193_800.0
"""The wall clock at the begin of a night: 2027-03-28 00:10 UTC, fifty minutes before Europe changes to summer time."""
INTERVAL = 5.0
"""Seconds after which a writer and the watchers of a run look again; thousands of looks would take most of a night."""
TIMINGS = replace(REAL_TIMINGS, watch_interval=INTERVAL)
ZONE = ZoneInfo("Europe/Berlin")


class _NoTrace(TraceRecorder):
    """Keeps nothing."""

    def record(self, *_: object) -> None:  # whatever it is
        """Nothing."""


class NightLoop(simloop.SimLoop):
    """A simulated loop whose hosts can die as a killed process does: none of their code runs any more, no `finally`."""

    def __init__(self, seed: int, *, trace: bool = False) -> None:
        """With `trace` every step is recorded, for `trace_hash`; that takes a tenth of a night."""
        super().__init__(seed)
        if not trace:
            self._recorder = _NoTrace()
        self.dead: set[str] = set()
        self.asleep: set[str] = set()
        """Hosts that are suspended: what they would do waits until they wake."""
        self.nameless: set[str] = set()
        """Hosts whose name cannot be resolved."""
        self.clock_offset = 0.0
        """Seconds that the wall clock is ahead of the one that only goes forward."""
        self.jumped_at = -1_000.0
        """When the wall clock was last set, a machine that was suspended woke, or a network was whole again."""
        self.slept = 0.0
        """Seconds for which machines were suspended: a monotonic clock does not count them."""
        self._dreams: list[Any] = []

    def _step(self) -> None:
        if not self._ready:
            self._advance_clock()
        index = self._policy.choose(self._ready_views)
        self._choice_log.append(index)
        entry = self._ready.pop(index)
        sequence, label, handle, _ = entry
        host = _host_of(handle)
        if handle.cancelled() or host in self.dead:
            self._recorder.record("cancel", self._now, sequence, label, host)
            return
        if host in self.asleep:
            self._dreams.append(entry)
            return
        self._recorder.record("run", self._now, sequence, label, host)
        Handle._run(handle)

    def kill(self, host: str, *, silently: bool) -> None:
        """End a host at once. The peers see its connections reset, or, `silently`, nothing at all (a power cut)."""
        if host in self.dead:
            return
        self.dead.add(host)
        self.wake(host)
        for task in self.net._tasks[host]:
            task._log_destroy_pending = False  # it never ends, as it never does when its process is killed
        transports = [transport for key, transport in list(self.net._streams.items()) if key[1] == host]
        for transport in transports:
            if silently:
                transport._finish(None)
            else:
                transport.abort()

    def suspend(self, host: str) -> None:
        """From now on nothing runs there, until it wakes."""
        self.asleep.add(host)

    def wake(self, host: str) -> None:
        """What would have run there runs now."""
        if host in self.asleep:
            self.jumped_at = float(self._now)
        self.asleep.discard(host)
        self._ready.extend(self._dreams)
        self._dreams.clear()

    def wall(self) -> float:
        """The wall clock, in POSIX seconds."""
        return BEGIN + float(self._now) + self.clock_offset

    def steady(self) -> float:
        """The clock that only goes forward, but not while a machine is suspended."""
        return 1_000.0 + float(self._now) - self.slept

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> list[Any]:
        """As a resolver that does not know some names."""
        if host in self.nameless:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        found: list[Any] = await super().getaddrinfo(host, port, **options)
        return found

    def system(self, begins: float = 0.0) -> System:
        """The clocks and chance of this world, and a zone that is about to change to summer time.

        The monotonic clock of a machine that was started anew `begins` elsewhere.
        """
        return System(
            now=self.wall,
            monotonic=lambda: begins + self.steady(),
            sleep=lambda _: None,
            random=simloop.sim.random.random,
            local=_local,
        )


def _local(moment: datetime) -> datetime:
    return moment.replace(tzinfo=ZONE) if moment.tzinfo is None else moment.astimezone(ZONE)


class _InOrder(dict[Any, None]):
    """A set that is gone through in the order in which it was filled, wherever its members lie in memory."""

    def add(self, member: Any) -> None:
        """As a set's."""
        self[member] = None

    def discard(self, member: Any) -> None:
        """As a set's."""
        self.pop(member, None)

    def remove(self, member: Any) -> None:
        """As a set's."""
        del self[member]


def _scope_in_order(scope: CancelScope, *arguments: Any, **options: Any) -> None:
    _make_scope(scope, *arguments, **options)
    scope._child_scopes, scope._tasks = _InOrder(), _InOrder()  # type: ignore[assignment]


def _connector_in_order(connector: aiohttp.connector.BaseConnector, *arguments: Any, **options: Any) -> None:
    _make_connector(connector, *arguments, **options)
    connector._acquired = _InOrder()  # type: ignore[assignment]


_make_scope, _make_connector = CancelScope.__init__, aiohttp.connector.BaseConnector.__init__


@contextmanager
def libraries_of(loop: NightLoop) -> Iterator[None]:
    """What of the libraries would be another in each night, and is the same here.

    aiohttp takes the age of a connection and the date of an answer from a clock of its own: in the block it is the
    loop's. What anyio cancels and aiohttp closes they keep in sets, whose order depends on addresses.
    """
    replaced: tuple[tuple[Any, str, Any], ...] = (
        (aiohttp.connector, "monotonic", loop.steady),
        (aiohttp.web_response, "rfc822_formatted_time", lambda: formatdate(loop.wall(), usegmt=True)),
        (aiohttp.connector.BaseConnector, "__init__", _connector_in_order),
        (CancelScope, "__init__", _scope_in_order),
    )
    real = [getattr(owner, name) for owner, name, _ in replaced]
    for owner, name, ours in replaced:
        setattr(owner, name, ours)
    try:
        yield
    finally:
        for (owner, name, _), its in zip(replaced, real, strict=True):
            setattr(owner, name, its)


class WriterSteps(LoopSteps):
    """Drives a ledger's writer by steps of the loop. A commit takes time; death may come on either side.

    `before` and `after` are called around each step: they may raise, as a full disk does, or kill the host.
    """

    def __init__(
        self,
        pause: Callable[[], float],
        before: Callable[["WriterSteps"], None],
        after: Callable[["WriterSteps"], None],
        alive: list["WriterSteps"],
    ) -> None:
        super().__init__(pause, INTERVAL)
        self._before = before
        self._after = after
        self._alive = alive
        self.writer: Any = None
        self.changes = -1
        """Rows that its connection had changed after the last step."""
        self.host = _current_host.get()

    def start(self, step: Callable[[], bool]) -> None:
        """Start the task."""
        self.writer = getattr(step, "__self__", None)
        self.writer.command_interval = INTERVAL
        self._alive.append(self)

        def watched() -> bool:
            self._before(self)
            goes_on = step()
            self._after(self)
            if not goes_on:
                self._alive.remove(self)
            return goes_on

        super().start(watched)
