"""Throughput: the engine with its durable ledger against a bare aiohttp loop, in turn, against the same server.

`python -m benchmarks.throughput --messages 20000 --workers 64 --rounds 5` prints messages a second of both (median,
lowest and highest of the rounds), their ratio round by round, on the clock and by processor time, and what a commit of
the ledger's disk takes. Start and planning are not counted.
"""

import argparse
import tempfile
from pathlib import Path

from benchmarks.contenders import Job, bare_loop, engine
from benchmarks.figure import Sample
from benchmarks.machine import commit_milliseconds
from benchmarks.processes import Apart, Usage
from benchmarks.server import server


def main() -> None:
    """Run the rounds and print the figures."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.throughput",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds that the server takes")
    parser.add_argument("--uvloop", action="store_true")
    options = parser.parse_args()
    contenders = {"bare aiohttp loop": bare_loop, "engine": engine}
    usages: dict[str, list[Usage]] = {name: [] for name in contenders}
    with (
        server(latency=options.latency) as running,
        tempfile.TemporaryDirectory() as folder,
        Apart() as ceiling,
        Apart() as ours,
    ):
        job = Job(running.url, options.messages, options.workers, Path(folder))
        print(f"{running.kind}; a commit takes {commit_milliseconds(job.folder):.2f} ms", flush=True)
        for _ in range(options.rounds):
            for (name, send), apart in zip(contenders.items(), (ceiling, ours), strict=True):
                usages[name].append(apart.run(send, job, fast=options.uvloop))
    speeds = {name: Sample(tuple(job.messages / usage.seconds for usage in of)) for name, of in usages.items()}
    busy = {name: Sample(tuple(usage.busy / job.messages * 1e6 for usage in of)) for name, of in usages.items()}
    for name in contenders:
        print(f"{name}: {speeds[name]} messages a second, {busy[name]} µs of processor time a message")
    by_processor = busy["bare aiohttp loop"].over(busy["engine"])
    print(f"ratio: {speeds['engine'].over(speeds['bare aiohttp loop'])}; by processor time {by_processor}")


if __name__ == "__main__":
    main()
