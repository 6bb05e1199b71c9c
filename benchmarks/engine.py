"""Engine: a run in this process, as the program makes one, on a ledger that is planned already."""

import os
from pathlib import Path

from benchmarks.processes import Usage, measuring
from benchmarks.wire import TOKEN, require_taken
from bulksms.adaxes import AccessToken, Client, ClientSettings
from bulksms.config import RunSettings
from bulksms.engine.run import Run
from bulksms.ledger.file import Recovery
from bulksms.ledger.writer import LedgerWriter, RunRecord, open_for_run
from bulksms.message import State


async def open_ledger(path: Path, url: str) -> LedgerWriter:
    """The ledger, open for a run."""
    record = RunRecord(url, "0", "user", "host", os.getpid(), "{}", "benchmark")
    return await open_for_run(path, Recovery(State.UNKNOWN, 5), record)


async def on_ledger(path: Path, url: str, workers: int) -> Usage:
    """Send everything that is queued there; opening and closing are not counted."""
    ledger = await open_ledger(path, url)
    try:
        async with Client(ClientSettings(url, workers), AccessToken(TOKEN)) as client:
            run = Run(ledger, client, RunSettings(workers=workers, adapt=False))
            with measuring() as usage:
                await run.work()
        standing = await ledger.standing()
    finally:
        await ledger.close()
    require_taken(standing.counts[State.ACCEPTED], standing.total)
    return usage
