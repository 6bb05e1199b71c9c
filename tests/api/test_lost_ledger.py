"""A run notices within a second, in its loop's time, that its file is no longer the one under its name."""

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import looptime
import pytest

from bulksms.api.runs import watch_ledger
from bulksms.errors import LedgerError
from bulksms.ledger import Recovery, RunStart
from bulksms.ledger.sqlite.driver import LoopSteps
from bulksms.ledger.sqlite.lock import log_path
from bulksms.ledger.sqlite.writer import open_for_run
from bulksms.model.message import State
from bulksms.model.run_settings import TIMINGS
from bulksms.planning.ledger_history import NO_HISTORIES
from tests.ledger.harness import plan
from tests.platforms import with_posix_files

pytestmark = with_posix_files

START = RunStart("https://adaxes.example/restApi", "1.0", "anna", "server-1", 4711, "{}", "--yes")


def replace(ledger: Path) -> None:
    """As sync clients and editors do."""
    shutil.copyfile(ledger, ledger.with_suffix(".new"))
    ledger.with_suffix(".new").replace(ledger)


LOSSES: dict[str, Callable[[Path], object]] = {
    "deleted": Path.unlink,
    "renamed": lambda ledger: ledger.rename(ledger.with_suffix(".old")),
    "replaced": replace,
    "linked": lambda ledger: os.link(ledger, ledger.with_suffix(".link")),
    "without its log": lambda ledger: log_path(ledger).unlink(),
}


async def seconds_until_noticed(ledger: Path, lose: Callable[[Path], object], lost_after: float) -> float:
    """How long a run takes to notice a loss, by the time of its loop."""
    loop = asyncio.get_running_loop()
    writer = await open_for_run(ledger, Recovery(State.UNKNOWN, 5), START, driver=LoopSteps())
    noticed: asyncio.Future[float] = loop.create_future()
    interval = TIMINGS.watch_interval
    async with watch_ledger(writer, NO_HISTORIES, lambda _: noticed.set_result(loop.time()), interval):
        await asyncio.sleep(lost_after)
        lost_at = loop.time()
        lose(ledger)
        noticed_at = await noticed
        with pytest.raises(LedgerError):
            await writer.record_intent((await writer.claim(State.QUEUED, 0, 1))[0], 0.0)
    await writer.close()
    return noticed_at - lost_at


@pytest.mark.parametrize("lost_after", [0.0, 0.1, 0.29, 0.31, 0.49, 0.51, 0.77, 2.03])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_loss_is_noticed_within_a_second(
    loss: str, lost_after: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def in_place(work: Callable[..., Any], *arguments: Any) -> Any:
        return work(*arguments)

    monkeypatch.setattr(asyncio, "to_thread", in_place)  # a thread has no part in the loop's time
    ledger = plan(tmp_path / "people.ledger.db", 3)
    loop = looptime.new_event_loop(start=0.0)
    try:
        assert loop.run_until_complete(seconds_until_noticed(ledger, LOSSES[loss], lost_after)) <= 1.0
    finally:
        loop.close()
