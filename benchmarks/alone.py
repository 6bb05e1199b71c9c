"""Alone: the parts by themselves: the ledger without a network, the intake without a ledger."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.engine import open_ledger
from benchmarks.figure import Figure, Sample
from benchmarks.form import Form
from benchmarks.ledgers import plan_ledger
from benchmarks.machine import has_package
from benchmarks.people import FORMATS, TEXT, write_people
from benchmarks.processes import Apart, Usage, measuring
from bulksms.attempt import Attempt, OperationResult, ResultType
from bulksms.intake import InputOptions, Row, open_input
from bulksms.ledger.settlement import Settlement
from bulksms.ledger.writer import LedgerWriter
from bulksms.message import Message, State

LEDGER, INTAKE = "ledger", "intake"
STEPS, SIZE, ROWS = "durable steps/s", "bytes on disk/row", "rows/s"
BATCH = 1_000
RESULT = OperationResult(ResultType.SUCCEEDED, object_dn="CN=John Smith,CN=Users,DC=example,DC=com")


def measure_ledger(form: Form, folder: Path) -> Iterator[Figure]:
    """Begin and settle every message, so many at a time; what a row takes on disk, before and after."""
    sizes: dict[str, list[float]] = {"planned": [], "sent": []}
    steps: dict[int, list[float]] = {workers: [] for workers in form.workers}
    path = folder / "alone.ledger.db"
    with Apart() as apart:
        for _ in range(form.rounds):
            for workers in form.workers:
                messages = max(1, form.alone // (10 if workers == 1 else 1))
                apart.run(plan_ledger, path, messages)
                planned = path.stat().st_size / messages
                steps[workers].append(2 * messages / apart.run(work_off, path, workers).seconds)
                if messages == form.alone:
                    sizes["planned"].append(planned)
                    sizes["sent"].append(path.stat().st_size / messages)
                path.unlink()
    for workers, taken in steps.items():
        yield Figure(LEDGER, "begin and settle", STEPS, Sample(tuple(taken)), {"at once": workers})
    for name, taken in sizes.items():
        yield Figure(LEDGER, name, SIZE, Sample(tuple(taken)), {"messages": form.alone})


def work_off(path: Path, workers: int) -> Usage:
    """Every message of the ledger, with an answer that is there at once."""
    return asyncio.run(_work_off(path, workers))


async def _work_off(path: Path, workers: int) -> Usage:
    ledger = await open_ledger(path, "http://127.0.0.1/restApi")
    try:
        with measuring() as usage:
            after = 0
            while messages := await ledger.claim(State.QUEUED, after, BATCH):
                after = messages[-1].number
                ready = iter(messages)
                await asyncio.gather(*(_work(ledger, ready) for _ in range(workers)))
            await ledger.flush()
    finally:
        await ledger.close()
    return usage


async def _work(ledger: LedgerWriter, messages: Iterator[Message]) -> None:
    for message in messages:
        now = time.time()
        message.attempts += 1
        message.tries += 1
        await ledger.begin(message, now)  # together with what was settled before: one wait for both
        attempt = Attempt(headers_sent=True, status=200, result=RESULT, began_at=now)
        ledger.settle(message, attempt, Settlement(State.ACCEPTED, evidence="succeeded"))


def measure_intake(form: Form, folder: Path) -> Iterator[Figure]:
    """Read, check and render, format by format."""
    files = [folder / f"people.{kind}" for kind in FORMATS if kind != "xlsx" or has_package("python_calamine")]
    speeds: dict[Path, list[float]] = {path: [] for path in files}
    with Apart() as apart:
        for path in files:
            apart.run(write_people, path, form.alone)
        for _ in range(form.rounds):
            for path in files:
                speeds[path].append(form.alone / apart.run(read_file, path, form.alone).seconds)
    for path, taken in speeds.items():
        path.unlink()
        yield Figure(INTAKE, path.suffix[1:], ROWS, Sample(tuple(taken)), {"rows": form.alone})


def read_file(path: Path, rows: int) -> Usage:
    """Read all of it. Raises RuntimeError if not every row is good."""
    with measuring() as usage, open_input(path, InputOptions(text=TEXT)) as source:
        good = sum(isinstance(row, Row) for row in source)
    if good != rows:
        raise RuntimeError(f"only {good} of {rows} rows were read")
    return usage
