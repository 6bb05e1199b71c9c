"""Display: what showing a run costs it, on a terminal of 80 columns against `--quiet`, in turn, on the same server.

`python -m benchmarks.display --messages 20000 --rounds 7` prints the processor time that a message takes with each, in
microseconds, what the display adds round by round, and how long one drawing takes. Start and planning are not counted,
nor is the terminal itself, which is another process.
"""

import argparse
import asyncio
import contextlib
import fcntl
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.engine import open_ledger
from benchmarks.figure import Sample
from benchmarks.ledgers import plan_ledger
from benchmarks.machine import part_cores, stay_on
from benchmarks.server import server
from benchmarks.wire import TOKEN
from bulksms.adaxes import AccessToken, Client, ClientSettings
from bulksms.cli.screen.drawing import REDRAW_EVERY, Drawing
from bulksms.cli.screen.look import lines
from bulksms.cli.screen.progress import Living, shown
from bulksms.config import RunSettings
from bulksms.engine.progress import Progress
from bulksms.engine.run import Run
from bulksms.ledger.reader import Standing
from bulksms.message import State


@contextlib.contextmanager
def terminal() -> Iterator[None]:
    """Stderr is a terminal whose other end is read by another process."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    reader = subprocess.Popen(["cat"], stdin=master, stdout=subprocess.DEVNULL)
    os.close(master)
    earlier, sys.stderr = sys.stderr, os.fdopen(slave, "w", encoding="utf-8")
    try:
        yield
    finally:
        sys.stderr.close()
        sys.stderr = earlier
        reader.terminate()
        reader.wait()


async def run(url: str, messages: int, workers: int, folder: Path, *, quiet: bool) -> float:
    """Processor time of a run, in microseconds a message."""
    path = folder / f"{time.monotonic_ns()}.ledger.db"
    plan_ledger(path, messages)
    ledger = await open_ledger(path, url)
    settings = RunSettings(workers=workers, adapt=False)
    try:
        async with Client(ClientSettings(url, workers), AccessToken(TOKEN)) as client:
            work = Run(ledger, client, settings)
            living = Living(path, ledger.run, await ledger.standing(), work.progress)
            began = time.process_time()
            async with shown(living, settings, quiet=quiet):
                await work.work()
            return (time.process_time() - began) / messages * 1e6
    finally:
        await ledger.close()


def drawing_milliseconds(folder: Path) -> float:
    """The median processor time of one drawing."""
    counts = {**dict.fromkeys(State, 0), State.ACCEPTED: 123_456, State.FAILED: 78, State.QUEUED: 500_000}
    living = Living(folder / "x.db", 1, Standing(counts, 0, is_living=True), Progress())
    times = []
    with Drawing(stderr=True) as drawing:
        for _ in range(200):
            began = time.process_time()
            drawing.draw(lines(living.look(), drawing.width, plain=drawing.is_plain))
            times.append((time.process_time() - began) * 1000)
    return statistics.median(times)


def main() -> None:
    """Run the rounds and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    quiet: list[float] = []
    drawn: list[float] = []
    with server() as running, tempfile.TemporaryDirectory() as name, terminal():
        if (cores := part_cores()) is not None:
            stay_on(cores[0])
        folder = Path(name)
        for _ in range(options.rounds + 1):  # the first one warms up
            quiet.append(asyncio.run(run(running.url, options.messages, options.workers, folder, quiet=True)))
            drawn.append(asyncio.run(run(running.url, options.messages, options.workers, folder, quiet=False)))
        one = drawing_milliseconds(folder)
    added = [(shown / silent - 1) * 100 for silent, shown in zip(quiet[1:], drawn[1:], strict=True)]
    print(f"--quiet: {Sample(tuple(quiet[1:]))} microseconds a message")
    print(f"drawn: {Sample(tuple(drawn[1:]))} microseconds a message")
    print(f"the display adds {Sample(tuple(added))} %")
    print(f"one drawing takes {one:.2f} ms of processor time, {1 / REDRAW_EVERY:.0f} a second")


if __name__ == "__main__":
    main()
