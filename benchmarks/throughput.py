"""Throughput: the engine with its durable ledger against a bare aiohttp loop, in turn, against the same server.

`python -m benchmarks.throughput --messages 10000 --workers 64 --rounds 5` prints messages a second of both (median,
lowest and highest of the rounds), their ratio round by round, and what a commit of the ledger's disk takes.
Start and planning are not counted.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp

from benchmarks.server import part_cores, server
from bulksms.adaxes import AccessToken, Client, ClientSettings
from bulksms.config import RunSettings
from bulksms.engine.run import Run
from bulksms.ledger.draft import Draft, DraftRow
from bulksms.ledger.file import Recovery
from bulksms.ledger.writer import RunRecord, open_for_run
from bulksms.message import State

TOKEN = "sandbox"  # noqa: S105 - it opens nothing


def recipient(number: int) -> str:
    """The DN of one of the people that are sent to."""
    return f"CN=User {number},OU=Staff,DC=example,DC=com"


async def bare(url: str, messages: int, workers: int) -> float:
    """Messages a second of the least code that sends them: the ceiling."""
    numbers = iter(range(messages))
    path = f"{url}/api/directoryObjects/sendSms"

    async def work(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            body = {"directoryObject": recipient(number), "text": f"Hello {number}"}
            async with session.post(path, json=body) as response:
                await response.json()

    connector = aiohttp.TCPConnector(limit=workers)
    async with aiohttp.ClientSession(connector=connector, headers={"Adm-Authorization": TOKEN}) as session:
        began = time.perf_counter()
        await asyncio.gather(*(work(session) for _ in range(workers)))
        return messages / (time.perf_counter() - began)


async def engine(url: str, messages: int, workers: int, folder: Path) -> float:
    """Messages a second of a run on a ledger that is there already."""
    path = folder / f"{time.monotonic_ns()}.ledger.db"
    plan_ledger(path, messages)
    ledger = await open_for_run(
        path, Recovery(State.UNKNOWN, 5), RunRecord(url, "0", "user", "host", os.getpid(), "{}", "benchmark")
    )
    try:
        async with Client(ClientSettings(url, workers), AccessToken(TOKEN)) as client:
            run = Run(ledger, client, RunSettings(workers=workers, adapt=False))
            began = time.perf_counter()
            await run.work()
            seconds = time.perf_counter() - began
        counts = (await ledger.standing()).counts
    finally:
        await ledger.close()
    if counts[State.ACCEPTED] != messages:
        raise RuntimeError(f"only {counts[State.ACCEPTED]} of {messages} were accepted")
    return messages / seconds


def plan_ledger(path: Path, messages: int) -> None:
    """A ledger with so many queued messages."""
    with Draft(path) as draft:
        draft.add(
            DraftRow(number + 2, recipient(number), f"dn:{number}", f"Hello {number}", "{}", "GSM-7", 1)
            for number in range(messages)
        )
        draft.index()
        draft.keep(source="benchmark", columns=[], fingerprint=draft.fingerprint(), summary="{}", version="0")


def commit_milliseconds(folder: Path) -> float:
    """The median time of an fsync there."""
    times = []
    with (folder / "fsync").open("wb") as file:
        for _ in range(50):
            began = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def describe(values: list[float]) -> str:
    """Median, and in brackets the lowest and the highest."""
    return f"{statistics.median(values):,.2f} ({min(values):,.2f} to {max(values):,.2f})"


def loop_factory(*, fast: bool) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Uvloop's loop, if it is asked for; None is asyncio's."""
    if not fast:
        return None
    import uvloop  # noqa: PLC0415 - only where it is installed

    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def main() -> None:
    """Run the rounds and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds that the server takes")
    parser.add_argument("--uvloop", action="store_true")
    options = parser.parse_args()
    ratios: list[float] = []
    speeds: dict[str, list[float]] = {"bare aiohttp loop": [], "engine": []}
    with server(latency=options.latency) as url, tempfile.TemporaryDirectory() as folder:
        if (cores := part_cores()) is not None:
            os.sched_setaffinity(0, {cores[0]})
        print(f"a commit takes {commit_milliseconds(Path(folder)):.2f} ms")
        for _ in range(options.rounds):
            with asyncio.Runner(loop_factory=loop_factory(fast=options.uvloop)) as runner:
                ceiling = runner.run(bare(url, options.messages, options.workers))
                ours = runner.run(engine(url, options.messages, options.workers, Path(folder)))
            speeds["bare aiohttp loop"].append(ceiling)
            speeds["engine"].append(ours)
            ratios.append(ours / ceiling)
    for name, values in speeds.items():
        print(f"{name}: {describe(values)} messages a second")
    print(f"ratio: {describe(ratios)}")


if __name__ == "__main__":
    main()
