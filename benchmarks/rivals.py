"""Rivals: everybody against everybody, by the server's latency and the number of workers.

Law: in a round every contender has its turn once, and each is a process of its own that waits for it.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contenders import CONTENDERS, Contender, Job
from benchmarks.figure import Figure, Sample
from benchmarks.form import Form
from benchmarks.headroom import requests_a_second
from benchmarks.machine import commit_milliseconds
from benchmarks.processes import Apart, Usage, run_alone
from benchmarks.server import Server, server

SECTION = "rivals"
SPEED, COST = "messages/s", "µs CPU/message"
HEADROOM, SERVER_BUSY, COMMIT = "server's headroom", "server's core at most busy", "commit of the disk"


@dataclass(frozen=True, slots=True)
class Cell:
    """One latency, in seconds, with one number of workers."""

    server: Server
    latency: float
    workers: int

    @property
    def conditions(self) -> dict[str, object]:
        """As figures tell them."""
        return {"server": self.server.kind, "latency_ms": self.latency * 1000, "workers": self.workers}

    def job(self, contender: Contender, form: Form, folder: Path) -> Job:
        """What a contender is to do in its turns."""
        messages = contender.messages(form.seconds, self.latency, self.workers)
        return Job(self.server.url, messages, self.workers, folder)


def measure(form: Form, folder: Path) -> Iterator[Figure]:
    """Every cell of latency and workers, and how much the server could do."""
    with ExitStack() as stack:
        here = {one: stack.enter_context(Apart()) for one in CONTENDERS if one.missing is None}
        for latency in form.latencies:
            with server(latency=latency) as running:
                if not latency:
                    yield _headroom(running)
                for workers in form.workers:
                    contenders = {one: apart for one, apart in here.items() if workers == 1 or not one.one_by_one}
                    yield from _measure_cell(Cell(running, latency, workers), contenders, form, folder)


def _headroom(running: Server) -> Figure:
    sample = Sample((run_alone(requests_a_second, running.port),))
    return Figure(SECTION, HEADROOM, "requests/s", sample, {"server": running.kind, "latency_ms": 0.0})


def _measure_cell(cell: Cell, contenders: Mapping[Contender, Apart], form: Form, folder: Path) -> Iterator[Figure]:
    jobs = {one: cell.job(one, form, folder) for one in contenders}
    usages: dict[Contender, list[Usage]] = {one: [] for one in contenders}
    shares: list[float] = []
    commits: list[float] = []
    for _ in range(form.rounds):
        commits.append(commit_milliseconds(folder))
        for one, apart in contenders.items():
            before = cell.server.busy_seconds()
            usage = apart.run(one.send, jobs[one])
            after = cell.server.busy_seconds()
            usages[one].append(usage)
            if before is not None and after is not None:
                shares.append((after - before) / usage.seconds)
    for one, taken in usages.items():
        messages = jobs[one].messages
        told = cell.conditions | {"messages": messages}
        yield Figure(SECTION, one.name, SPEED, Sample(tuple(messages / usage.seconds for usage in taken)), told)
        yield Figure(SECTION, one.name, COST, Sample(tuple(usage.busy / messages * 1e6 for usage in taken)), told)
    yield Figure(SECTION, COMMIT, "ms", Sample(tuple(commits)), cell.conditions)
    if shares:
        yield Figure(SECTION, SERVER_BUSY, "of a core", Sample((max(shares),)), cell.conditions)
