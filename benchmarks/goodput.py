"""Goodput: the share of what a server can give that a run gets out of it, while the server throttles, queues or fails.

The program with its default options, on a real ledger and real sockets, against model servers in a process of their
own, beside thirty lines of aiohttp with a fixed pool and a backoff per message, and the best possible time. Printed are
medians. The time is that from the first request to the last acceptance, as the server saw it.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import aiohttp

from benchmarks.measuring import conditions
from benchmarks.messages import HEADERS, PATH, body, recipient
from benchmarks.model_server import SLIDING, Answer, Model, model_server

SETTLED_AFTER = 5.0
"""Seconds after which a run should have found the server's rate."""
BACK_AFTER = 2.0
"""Seconds after an outage in which a run should be at full speed again."""


class Case(NamedTuple):
    """A server, how many rows and workers (None: the default), and the best possible time in seconds."""

    model: Model
    rows: int
    workers: int | None
    best: float
    least: float
    """The share that is asked for."""


CASES = {
    "1 % random 503": Case(Model(error_share=0.01), 2_400, 16, 30.3, 0.95),
    "5 % random 503": Case(Model(error_share=0.05), 2_400, 16, 31.5, 0.95),
    "20 % random 503": Case(Model(error_share=0.2), 2_400, 16, 37.5, 0.9),
    "429 above 50 a second": Case(Model(rate=50.0), 1_500, 32, 29.0, 0.95),
    "429 above 50 a second, Retry-After: 1": Case(Model(rate=50.0, retry_after=1.0), 1_500, 32, 29.0, 0.95),
    "8 slots, queue of 8, then 503": Case(Model(slots=8, queue=8), 1_200, 64, 30.0, 0.9),
    "8 slots, unbounded queue": Case(Model(slots=8), 1_600, 64, 40.0, 0.95),
    "32 slots": Case(Model(slots=32), 2_400, None, 15.0, 0.9),
    "away for 10 s": Case(Model(outages=((5.0, 15.0),)), 2_400, 16, 40.0, 0.95),
}
"""The servers of the table."""
MORE = {
    "429 above 50 in any second": Case(Model(rate=50.0, counting=SLIDING), 1_500, 32, 29.0, 0.9),
    "429 above 50 in any second, Retry-After: 1": Case(
        Model(rate=50.0, counting=SLIDING, retry_after=1.0), 1_500, 32, 29.0, 0.85
    ),
}
"""The same rate from a server that saves nothing up; nothing is promised for it, but it is looked at."""


@dataclass
class Result:
    """One run, as the server saw it."""

    journal: list[Answer]
    failed: int = 0
    unknown: int = 0
    left: int = 0

    @property
    def seconds(self) -> float:
        """From the first request to the last acceptance."""
        return max(answer.left for answer in self.journal if answer.status == 200)

    @property
    def throttled(self) -> float:
        """429s after the first seconds, for each message."""
        late = sum(answer.status == 429 and answer.came > SETTLED_AFTER for answer in self.journal)
        return late / sum(answer.status == 200 for answer in self.journal)

    @property
    def in_flight(self) -> float:
        """Requests at the server, on average over the time."""
        return sum(answer.left - answer.came for answer in self.journal) / self.seconds

    def recovered(self, end: float, speed: float) -> float:
        """The share of full speed in the four seconds that begin two seconds after an outage."""
        start = end + BACK_AFTER
        return sum(answer.status == 200 and start <= answer.left < start + 4.0 for answer in self.journal) / 4.0 / speed


def program(url: str, case: Case, folder: Path) -> Result:
    """The program, with its default options."""
    with (folder / "people.csv").open("w", encoding="utf-8") as file:
        file.write("directoryObject,text\n")
        file.writelines(f'"{recipient(number)}",Hello {number}\n' for number in range(case.rows))
    workers = [] if case.workers is None else ["--workers", str(case.workers)]
    command = [sys.executable, "-m", "bulksms", "send", "people.csv", "--yes", "--json", "--quiet", *workers]
    own = {
        "BULKSMS_URL": url,
        "BULKSMS_TOKEN": "sandbox",
        "XDG_STATE_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
    }
    run = subprocess.run(
        [*command, "--max-recipients", str(case.rows)],
        cwd=folder,
        env=os.environ | own,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    counts = json.loads(run.stdout)["counts"]
    return Result([], counts.get("failed", 0), counts.get("unknown", 0), counts.get("queued", 0))


def thirty_lines(url: str, case: Case, _: Path) -> Result:
    """What people write: a fixed pool, and a backoff with jitter for each message."""
    return asyncio.run(_thirty_lines(url, case))


async def _thirty_lines(url: str, case: Case) -> Result:
    result = Result([])
    numbers = iter(range(case.rows))

    async def send(session: aiohttp.ClientSession, number: int) -> None:
        for attempt in range(10):
            try:
                async with session.post(f"{url}{PATH}", json=body(number)) as response:
                    await response.read()
                    if response.status == 200:
                        return
                    wait = float(response.headers.get("Retry-After", 0))
            except aiohttp.ClientError:
                wait = 0.0
            await asyncio.sleep(wait + random.random() * min(30.0, 0.5 * 2.0**attempt))
        result.failed += 1

    async def work(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            await send(session, number)

    workers = case.workers or 16
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=workers), headers=HEADERS) as session:
        await asyncio.gather(*(work(session) for _ in range(workers)))
    return result


@dataclass
class Figures:
    """The runs of one contender against one server."""

    case: Case
    results: list[Result] = field(default_factory=list)

    def median(self, value: Callable[[Result], float]) -> float:
        """The median over the runs."""
        return statistics.median(map(value, self.results))

    @property
    def share(self) -> float:
        """The best possible time over the median time."""
        return self.case.best / self.median(lambda result: result.seconds)

    @property
    def lost(self) -> str:
        """Messages that were not accepted, in all runs."""
        counts = {name: sum(getattr(it, name) for it in self.results) for name in ("failed", "unknown", "left")}
        return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "none"


CONTENDERS = {"bulksms": program, "thirty lines": thirty_lines}


def measure(case: Case, rounds: int) -> dict[str, Figures]:
    """Run all contenders so many times, in turn."""
    figures = {name: Figures(case) for name in CONTENDERS}
    for seed in range(rounds):
        for name, send in CONTENDERS.items():
            journal: list[Answer] = []
            with tempfile.TemporaryDirectory() as folder:
                with model_server(case.model, seed, journal) as url:
                    result = send(url, case, Path(folder))
                result.journal = journal
                figures[name].results.append(result)
    return figures


def row(name: str, figures: dict[str, Figures]) -> str:
    """A row of the table."""
    ours, theirs = figures["bulksms"], figures["thirty lines"]
    case = ours.case
    speed = case.rows / (case.best - sum(end - start for start, end in case.model.outages))
    outage = case.model.outages
    back = f"{ours.median(lambda it: it.recovered(outage[0][1], speed)):.2f}" if outage else ""
    cells = [
        name,
        f"{case.rows:,}, {case.workers or 'default'}",
        f"{case.best:.1f} s",
        f"{ours.median(lambda it: it.seconds):.1f} s ({ours.share:.2f})",
        f"{theirs.median(lambda it: it.seconds):.1f} s ({theirs.share:.2f})",
        f"{ours.median(lambda it: it.throttled):.1%}" if case.model.rate else "",
        f"{ours.median(lambda it: it.in_flight):.1f}",
        back,
        f"{ours.lost}; {theirs.lost}",
    ]
    return f"| {' | '.join(cells)} |"


COLUMNS = (
    "server",
    "rows, workers",
    "best possible",
    "bulksms",
    "thirty lines",
    "429s after 5 s",
    "in flight",
    "back after 2 s",
    "not accepted: bulksms; thirty lines",
)
HEAD = f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}"


def main() -> int:
    """Run the rounds and print the table; 1 if a share is below what is asked for, or somebody failed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks goodput", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="servers whose name has this in it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(f"{time.strftime('%Y-%m-%d')}; {conditions(Path(folder))}\n\n{HEAD}", flush=True)
    below = []
    for name, case in (CASES | MORE).items():
        if options.only in name:
            figures = measure(case, options.rounds)
            print(row(name, figures), flush=True)
            if figures["bulksms"].share < case.least or any(it.failed for it in figures["bulksms"].results):
                below.append(name)
    print(f"\nbelow what is asked for: {', '.join(below) or 'none'}")
    return bool(below)


if __name__ == "__main__":
    sys.exit(main())
