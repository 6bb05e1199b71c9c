"""Layers: what each layer costs a message, of the engine and of a bare loop: the profile of the hot path.

Law: the parts add up to what a message costs. Some hundred times in each second of processor time, as the system's
clock ticks, the event loop's thread is asked where it is, and what it has used since the last time is put down to that
layer; what the process used beside it is the ledger's writer.
"""

import signal
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Self

from benchmarks.contenders import Job, bare_loop_on_asyncio, on_loop
from benchmarks.engine import on_ledger
from benchmarks.figure import Figure, Sample
from benchmarks.form import Form
from benchmarks.ledgers import plan_ledger
from benchmarks.processes import Apart, run_alone
from benchmarks.server import server

SECTION = "layers"
COST = "µs CPU/message"
BARE, ENGINE = "bare aiohttp loop", "engine"
WORKERS = 64
ENOUGH = 20_000
"""Messages after which a profile changes no more."""
EVERY = 0.001
"""Seconds of processor time between two looks; the clock of most systems ticks less often, and then they are more."""

LAYERS = {
    "/aiohttp/": "aiohttp and what it needs",
    "/yarl/": "aiohttp and what it needs",
    "/multidict/": "aiohttp and what it needs",
    "/aiosignal/": "aiohttp and what it needs",
    "/asyncio/": "asyncio: event loop, sockets, timers",
    "/selectors.py": "asyncio: event loop, sockets, timers",
    "/bulksms/adaxes/": "client: bulksms/adaxes",
    "/bulksms/engine/": "workers: bulksms/engine",
    "/bulksms/delivery/": "decisions: bulksms/delivery",
    "/bulksms/ledger/": "ledger, on the event loop's thread",
    "/tenacity/": "retrying: tenacity",
    "/anyio/": "task groups and scopes: anyio",
    "/structlog/": "logging: structlog",
    "/bulksms/log.py": "logging: structlog",
    "/benchmarks/": "the loop around it",
}
"""A layer is known by a part of the path of its code; what is nobody's belongs to the layer that called it."""
WRITER = "ledger, on the writer's thread"
OTHERS = "the rest"
TOTAL = "all of it"


class Sampler:
    """Seconds of processor time by layer, while the block runs; only on a process's main thread."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def __enter__(self) -> Self:
        self._known: dict[str, str | None] = {}
        self._in_all = time.process_time()
        self._here = self._last = time.thread_time()
        signal.signal(signal.SIGPROF, self._look)
        signal.setitimer(signal.ITIMER_PROF, EVERY, EVERY)
        return self

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, signal.SIG_IGN)  # one may be on its way, and would end the process
        here, in_all = time.thread_time() - self._here, time.process_time() - self._in_all
        self.seconds[OTHERS] += here - sum(self.seconds.values())
        self.seconds[WRITER] = max(0.0, in_all - here)

    def _look(self, _: int, frame: FrameType | None) -> None:
        now = time.thread_time()
        self.seconds[self._layer(frame)] += now - self._last
        self._last = now

    def _layer(self, frame: FrameType | None) -> str:
        while frame is not None:
            path = frame.f_code.co_filename
            if path not in self._known:
                self._known[path] = next((name for part, name in LAYERS.items() if part in path), None)
            if (layer := self._known[path]) is not None:
                return layer
            frame = frame.f_back
        return OTHERS


def profile_engine(path: Path, url: str) -> dict[str, float]:
    """Seconds by layer of a run on this ledger."""
    with Sampler() as sampler:
        on_loop(on_ledger(path, url, WORKERS), fast=False)
    return sampler.seconds


def profile_bare_loop(job: Job) -> dict[str, float]:
    """Seconds by layer of a loop that only sends."""
    with Sampler() as sampler:
        bare_loop_on_asyncio(job)
    return sampler.seconds


def measure(form: Form, folder: Path) -> Iterator[Figure]:
    """Both in turn, each in a process of its own that has done it once already."""
    messages = min(form.alone, ENOUGH)
    rounds: dict[str, list[dict[str, float]]] = {BARE: [], ENGINE: []}
    path = folder / "layers.ledger.db"
    with server() as running, Apart() as ceiling, Apart() as ours:
        job = Job(running.url, messages, WORKERS, folder)
        for turn in range(form.rounds + 1):
            bare = ceiling.run(profile_bare_loop, job)
            run_alone(plan_ledger, path, messages)
            engine = ours.run(profile_engine, path, running.url)
            path.unlink()
            if turn:  # the first one loads the code
                rounds[BARE].append(bare)
                rounds[ENGINE].append(engine)
    for layer in (*dict.fromkeys(LAYERS.values()), WRITER, OTHERS, TOTAL):
        for name, of in rounds.items():
            costs = [(sum(it.values()) if layer == TOTAL else it[layer]) / messages * 1e6 for it in of]
            if max(costs) > 0:
                yield Figure(SECTION, layer, COST, Sample(tuple(costs)), {"of": name, "messages": messages})
