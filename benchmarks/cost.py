"""Cost: what a message costs, planned and sent, as the plan grows: it should be the same.

Law: each plan is made, and each run is worked, by a process of its own, so that its memory is its own; starting it is
not counted.
"""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.contenders import on_loop
from benchmarks.engine import on_ledger
from benchmarks.figure import Figure, Sample
from benchmarks.form import Form
from benchmarks.ledgers import plan_ledger
from benchmarks.planning import Measured, plan_rows
from benchmarks.processes import peak_megabytes, run_alone
from benchmarks.server import server

SECTION = "cost"
PLANNING, RUNNING = "planning", "running"
COST, SPEED, PEAK, MEMORY = "µs CPU/message", "messages/s", "MB at most", "bytes of memory/row"
WORKERS = 64


def measure(form: Form, folder: Path) -> Iterator[Figure]:
    """Planning and running by size; sizes take turns, so that they share the weather."""
    with server() as running:
        planned: dict[int, list[Measured]] = {size: [] for size in form.sizes}
        worked: dict[int, list[Measured]] = {size: [] for size in form.sizes}
        for turn in range(form.rounds):
            for size in form.sizes:
                if turn < form.rounds_of(size):
                    planned[size].append(plan_rows(size, folder))
                    worked[size].append(_run(size, running.url, folder))
        yield from _figures(PLANNING, planned, {})
        yield from _figures(RUNNING, worked, {"workers": WORKERS})


def run_ledger(path: Path, url: str) -> Measured:
    """Send everything that is queued there, in this process."""
    usage = on_loop(on_ledger(path, url, WORKERS), fast=False)
    return Measured(usage.seconds, usage.busy, peak_megabytes())


def _run(size: int, url: str, folder: Path) -> Measured:
    path = folder / f"{size}.ledger.db"
    run_alone(plan_ledger, path, size)
    try:
        return run_alone(run_ledger, path, url)
    finally:
        path.unlink()


def _figures(name: str, taken: dict[int, list[Measured]], conditions: dict[str, int]) -> Iterator[Figure]:
    smallest = min(taken)
    least = Sample(tuple(it.megabytes for it in taken[smallest])).median
    for size, rounds in taken.items():
        told = conditions | {"messages": size}
        yield Figure(SECTION, name, COST, Sample(tuple(it.busy / size * 1e6 for it in rounds)), told)
        yield Figure(SECTION, name, SPEED, Sample(tuple(size / it.seconds for it in rounds)), told)
        yield Figure(SECTION, name, PEAK, Sample(tuple(it.megabytes for it in rounds)), told)
        if size > smallest:
            more = tuple((it.megabytes - least) * (1 << 20) / (size - smallest) for it in rounds)
            yield Figure(SECTION, name, MEMORY, Sample(more), told)
