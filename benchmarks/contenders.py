"""Contenders: whoever sends messages, ours and what people would use instead.

Law: each sends the same bodies to the same server, makes sure that everybody was taken, and counts no preparation; only
`bulksms send` is measured as its user sees it, from the start of the program to its end.
"""

import asyncio
import csv
import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from benchmarks.engine import on_ledger
from benchmarks.ledgers import plan_ledger
from benchmarks.machine import has_package
from benchmarks.processes import Usage, measuring
from benchmarks.program import BULKSMS, run
from benchmarks.wire import ANSWER, HEADERS, PATH, TOKEN, body, recipient, require_taken, text
from bulksms.cli.doing.loop import fastest, run_on

FAST = 8_000.0
"""Messages a second of an asynchronous client, about."""
OVERHEAD = 0.0005
"""Seconds that a worker needs for a message at least, whatever the server does."""


class Job(NamedTuple):
    """What a contender is to do: so many messages to this base URL, so many at once; its files go into `folder`."""

    url: str
    messages: int
    workers: int
    folder: Path


@dataclass(frozen=True, slots=True)
class Contender:
    """Somebody who sends messages.

    `pace` is about how many a second it sends on one core at best, from which its number of messages follows.
    """

    name: str
    send: Callable[[Job], Usage]
    pace: float = FAST
    one_by_one: bool = False
    """It knows no workers: one message after the other."""
    packages: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()

    @property
    def missing(self) -> str | None:
        """What it needs that is not installed, and how to get it; None if all is there."""
        if any(not has_package(name) for name in self.packages):
            return "pip install -e '.[bench]'"
        absent = [name for name in self.programs if shutil.which(name) is None]
        return f"install {' and '.join(absent)}" if absent else None

    def messages(self, seconds: float, latency: float, workers: int) -> int:
        """How many it sends in about so many seconds; more than one a worker, or connecting is all that is seen."""
        return max(2 * workers, round(seconds * min(self.pace, workers / (latency + OVERHEAD))))


def on_loop(coroutine: Coroutine[Any, Any, Usage], *, fast: bool) -> Usage:
    """Run it on asyncio's event loop, or on uvloop's; the collector is as the commands have it, for everybody."""
    return run_on(fastest() if fast else None, coroutine)


def send_command(job: Job) -> Usage:
    """The whole program: reading, planning, sending, and the books."""
    with TemporaryDirectory(dir=job.folder) as name:
        folder = Path(name)
        with (folder / "people.csv").open("w", encoding="utf-8", newline="") as file:
            write = csv.writer(file).writerow
            write(["directoryObject", "text"])
            for number in range(job.messages):
                write([recipient(number), f"{text(number)} at {folder.name}"])  # each time another plan
        options = ["--workers", str(job.workers), "--no-adapt", "--max-recipients", str(job.messages)]
        return run(folder, (*BULKSMS, "send", "people.csv", "--yes", "--quiet", "--url", job.url, *options))


def engine(job: Job, *, fast: bool) -> Usage:
    """A run in this process, on a ledger that is there already."""
    with TemporaryDirectory(dir=job.folder) as folder:
        path = Path(folder) / "people.ledger.db"
        plan_ledger(path, job.messages)
        return on_loop(on_ledger(path, job.url, job.workers), fast=fast)


def bare_loop(job: Job, *, fast: bool) -> Usage:
    """The least code that sends with aiohttp: the ceiling."""
    return on_loop(_bare_loop(job), fast=fast)


async def _bare_loop(job: Job) -> Usage:
    import aiohttp  # noqa: PLC0415 - each contender loads what it needs itself

    numbers = iter(range(job.messages))
    taken = 0

    async def work(session: aiohttp.ClientSession) -> None:
        nonlocal taken
        for number in numbers:
            async with session.post(f"{job.url}{PATH}", json=body(number)) as response:
                result = await response.json()
            taken += result["resultType"] == 0

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=job.workers), headers=HEADERS) as session:
        with measuring() as usage:
            await asyncio.gather(*(work(session) for _ in range(job.workers)))
    require_taken(taken, job.messages)
    return usage


def documentation(job: Job) -> Usage:
    """The sample of the API's documentation, in a loop."""
    import requests  # noqa: PLC0415 - each contender loads what it needs itself

    request_url = job.url + PATH
    request_headers = {"Adm-Authorization": TOKEN}
    taken = 0
    with measuring() as usage:
        for number in range(job.messages):
            request_body = {"directoryObject": recipient(number), "text": text(number)}
            request = requests.post(request_url, headers=request_headers, json=request_body)  # noqa: S113 - as it stands there
            response = json.loads(request.content)
            taken += response["resultType"] == 0
    require_taken(taken, job.messages)
    return usage


def session(job: Job) -> Usage:
    """The same with the connection kept."""
    import requests  # noqa: PLC0415 - each contender loads what it needs itself

    taken = 0
    with requests.Session() as kept, measuring() as usage:
        kept.headers.update(HEADERS)
        for number in range(job.messages):
            taken += kept.post(job.url + PATH, json=body(number), timeout=30).json()["resultType"] == 0
    require_taken(taken, job.messages)
    return usage


def thread_pool(job: Job) -> Usage:
    """Threads, each with a session of its own."""
    import requests  # noqa: PLC0415 - each contender loads what it needs itself

    of_thread = threading.local()
    sessions: list[requests.Session] = []

    def begin() -> None:
        of_thread.session = requests.Session()
        of_thread.session.headers.update(HEADERS)
        sessions.append(of_thread.session)

    def send(number: int) -> bool:
        answer = of_thread.session.post(job.url + PATH, json=body(number), timeout=30).json()
        return bool(answer["resultType"] == 0)

    with measuring() as usage, ThreadPoolExecutor(job.workers, initializer=begin) as pool:
        taken = sum(pool.map(send, range(job.messages)))
    for kept in sessions:
        kept.close()
    require_taken(taken, job.messages)
    return usage


def httpx_loop(job: Job) -> Usage:
    """The other asynchronous client, with as many workers."""
    return on_loop(_httpx_loop(job), fast=False)


async def _httpx_loop(job: Job) -> Usage:
    import httpx  # noqa: PLC0415 - each contender loads what it needs itself

    numbers = iter(range(job.messages))
    taken = 0

    async def work(client: httpx.AsyncClient) -> None:
        nonlocal taken
        for number in numbers:
            response = await client.post(job.url + PATH, json=body(number))
            taken += response.json()["resultType"] == 0

    limits = httpx.Limits(max_connections=job.workers, max_keepalive_connections=job.workers)
    async with httpx.AsyncClient(limits=limits, headers=HEADERS, timeout=30) as client:
        with measuring() as usage:
            await asyncio.gather(*(work(client) for _ in range(job.workers)))
    require_taken(taken, job.messages)
    return usage


def curl(job: Job) -> Usage:
    """What is at hand in a shell: a curl for each message, so many at once."""
    bodies = "\0".join(json.dumps(body(number)) for number in range(job.messages))
    headers = ["-H", f"Adm-Authorization: {TOKEN}", "-H", "Content-Type: application/json"]
    command = ["curl", "--silent", "--show-error", "--fail", *headers, "--data-raw", "{}", job.url + PATH]
    with measuring() as usage:
        ended = subprocess.run(
            ["xargs", "-0", "-P", str(job.workers), "-I", "{}", *command],
            input=bodies,
            capture_output=True,
            text=True,
            check=True,
        )
    require_taken(ended.stdout.count(ANSWER), job.messages)
    return usage


def engine_on_asyncio(job: Job) -> Usage:
    """`engine` on the event loop that everybody has."""
    return engine(job, fast=False)


def engine_on_uvloop(job: Job) -> Usage:
    """`engine` on the faster event loop."""
    return engine(job, fast=True)


def bare_loop_on_asyncio(job: Job) -> Usage:
    """`bare_loop` on the event loop that everybody has."""
    return bare_loop(job, fast=False)


def bare_loop_on_uvloop(job: Job) -> Usage:
    """`bare_loop` on the faster event loop."""
    return bare_loop(job, fast=True)


ENGINE, ENGINE_UVLOOP = "engine, asyncio", "engine, uvloop"
BARE, BARE_UVLOOP = "bare aiohttp loop, asyncio", "bare aiohttp loop, uvloop"
SEND = "bulksms send, whole command"
DOCUMENTATION, SESSION, POOL = "documentation's sample", "requests.Session", "threads with requests.Session"
HTTPX, CURL = "httpx.AsyncClient", "xargs -P curl"

CONTENDERS = (
    Contender(BARE, bare_loop_on_asyncio),
    Contender(ENGINE, engine_on_asyncio),
    Contender(BARE_UVLOOP, bare_loop_on_uvloop, packages=("uvloop",)),
    Contender(ENGINE_UVLOOP, engine_on_uvloop, packages=("uvloop",)),
    Contender(SEND, send_command),
    Contender(DOCUMENTATION, documentation, pace=600, one_by_one=True, packages=("requests",)),
    Contender(SESSION, session, pace=1_000, one_by_one=True, packages=("requests",)),
    Contender(POOL, thread_pool, pace=800, packages=("requests",)),
    Contender(HTTPX, httpx_loop, pace=150, packages=("httpx",)),
    Contender(CURL, curl, pace=100, programs=("xargs", "curl")),
)
"""In the order in which they take their turns: those that are compared most closely side by side."""
