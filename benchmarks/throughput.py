"""Throughput: the engine with its durable ledger against a bare aiohttp loop, in turn, against the same server.

Prints messages a second and processor time a message of both, their ratio round by round, and the engine's peak of
memory. Starting the processes and planning the ledger are not counted. On a machine that has other work, compare the
processor time: it moves by a tenth where the clock doubles.
"""

import argparse
import asyncio
import os
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from benchmarks.http_server import http_server
from benchmarks.measuring import Apart, Sample, Usage, conditions, measuring, run_alone
from benchmarks.messages import HEADERS, PATH, TOKEN, body, plan_ledger, require_accepted
from bulksms.adaxes import AccessToken, Client, ClientSettings
from bulksms.cli.flows.run import fastest, run_on
from bulksms.engine.pool import WorkerPool
from bulksms.ledger import Recovery, RunStart, ledger_at
from bulksms.model.message import State
from bulksms.model.run_settings import RunSettings

BARE, ENGINE = "bare aiohttp loop", "engine"


class Job(NamedTuple):
    """That many messages to this base URL, that many at once; files go into `folder`."""

    url: str
    messages: int
    workers: int
    folder: Path
    uvloop: bool = False


def bare_loop(job: Job) -> Usage:
    """The least code that sends with aiohttp: the ceiling."""
    return _on_loop(job, _bare_loop(job))


async def _bare_loop(job: Job) -> Usage:
    numbers = iter(range(job.messages))
    accepted = 0

    async def work(session: aiohttp.ClientSession) -> None:
        nonlocal accepted
        for number in numbers:
            async with session.post(f"{job.url}{PATH}", json=body(number)) as response:
                result = await response.json()
            accepted += result["resultType"] == 0

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=job.workers), headers=HEADERS) as session:
        with measuring() as usage:
            await asyncio.gather(*(work(session) for _ in range(job.workers)))
    require_accepted(accepted, job.messages)
    return usage


def engine(job: Job) -> Usage:
    """A run in this process, as the program makes one."""
    with tempfile.TemporaryDirectory(dir=job.folder) as folder:
        path = Path(folder) / "people.ledger.db"
        run_alone(plan_ledger, path, job.messages)
        return _on_loop(job, _engine(job, path))


async def _engine(job: Job, path: Path) -> Usage:
    record = RunStart(job.url, "0", "user", "host", os.getpid(), "{}", "benchmark")
    ledger = await ledger_at(path).open_for_run(record, Recovery(State.UNKNOWN, 5))
    try:
        async with Client(ClientSettings(job.url, job.workers), AccessToken(TOKEN)) as client:
            run = WorkerPool(ledger, client, RunSettings(workers=job.workers, adapt=False))
            with measuring() as usage:
                await run.work()
        counts = await ledger.counts()
    finally:
        await ledger.close()
    require_accepted(counts.counts[State.ACCEPTED], counts.total)
    return usage


def _on_loop(job: Job, coroutine: Coroutine[Any, Any, Usage]) -> Usage:
    """Both contenders run on the event loop, and with the garbage collector, that the commands use."""
    return run_on(fastest() if job.uvloop else None, coroutine)


def main() -> None:
    """Run the rounds and print the figures."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks throughput",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--latency", type=float, default=0.0, help="of the server, in seconds")
    parser.add_argument("--uvloop", action="store_true", help="both on uvloop instead of asyncio's own loop")
    options = parser.parse_args()
    contenders = {BARE: bare_loop, ENGINE: engine}
    usages: dict[str, list[Usage]] = {name: [] for name in contenders}
    with (
        http_server(latency=options.latency) as url,
        tempfile.TemporaryDirectory() as folder,
        Apart() as ceiling,
        Apart() as ours,
    ):
        job = Job(url, options.messages, options.workers, Path(folder), options.uvloop)
        print(conditions(job.folder), flush=True)
        for _ in range(options.rounds):
            for (name, send), apart in zip(contenders.items(), (ceiling, ours), strict=True):
                usages[name].append(apart.run(send, job))
    speeds = {name: Sample(tuple(job.messages / one.seconds for one in all_)) for name, all_ in usages.items()}
    busy = {name: Sample(tuple(one.busy / job.messages * 1e6 for one in all_)) for name, all_ in usages.items()}
    for name in contenders:
        print(f"{name}: {speeds[name]} messages a second, {busy[name]} µs of processor time a message")
    print(f"ratio: {speeds[ENGINE].over(speeds[BARE])}; by processor time {busy[BARE].over(busy[ENGINE])}")
    print(f"peak of memory: {max(usage.megabytes for usage in usages[ENGINE]):.0f} MB")


if __name__ == "__main__":
    main()
