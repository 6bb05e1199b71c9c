"""What a run tells of itself while it lives: how fast, why, what keeps it back, and what servers complain of."""

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from bulksms.attempt import Attempt
from bulksms.config import RunSettings
from bulksms.delivery.complaints import Complaints
from bulksms.delivery.deadline import Deadline
from bulksms.delivery.traffic import Notice
from bulksms.engine.progress import Progress
from bulksms.sandbox import Fault, FaultPlan, Sandbox

if TYPE_CHECKING:
    from tests.engine.conftest import Crowd


async def test_a_run_tells_what_keeps_it_back_while_it_does(crowd: "Crowd") -> None:
    people = [f"CN={number},DC=x" for number in range(200)]
    ledger = crowd.plan([(who, "Outage.") for who in people])
    scripts = FaultPlan.of({people[40]: [Fault.STATUS_503_RETRY_AFTER]})
    async with (
        Sandbox(faults=scripts, latency=0.002, retry_after=2.0) as server,
        crowd.engine(ledger, server.url, RunSettings(workers=4)) as run,
    ):
        working = asyncio.create_task(run.work())
        await crowd.until(lambda: run.progress.pace(1, None).held is not None)
        pace = run.progress.pace(1, 7.0)
        assert 0.0 < (pace.held or 0.0) <= 2.0
        assert (pace.why_held, pace.alone) == ("the server asked for it with status 503", True)
        assert (pace.run, pace.recent, pace.away, pace.ceiling) == (1, 7.0, None, 4)
        assert pace.why in ("status 503", "good answers"), "those in flight may still have got good ones"
        assert pace.errors == (("503 The Adaxes service is not available.", 1),)
        await working
        after = run.progress.pace(1, None)
    assert (after.held, after.alone, after.in_flight) == (None, False, 0)
    assert after.overall is not None
    assert after.overall > 0.0


async def test_a_run_tells_how_long_the_server_has_been_away(crowd: "Crowd") -> None:
    ledger = crowd.plan_people(40)
    async with Sandbox() as server:
        url = server.url
    async with crowd.engine(ledger, url, RunSettings(workers=4)) as run:
        working = asyncio.create_task(run.work())
        await crowd.until(lambda: run.progress.pace(1, None).away is not None)
        assert run.progress.pace(1, None).errors[0][0].startswith("refused: ")
        run.stop()
        await working
        assert run.progress.pace(1, None).stopping == "interrupted"


async def test_only_what_went_wrong_is_looked_at(crowd: "Crowd", monkeypatch: pytest.MonkeyPatch) -> None:
    """Showing costs a message that is accepted nothing."""
    heard: list[int | None] = []

    def hear(_: Complaints, attempt: Attempt, __: str) -> None:
        heard.append(attempt.status)

    monkeypatch.setattr(Complaints, "hear", hear)
    await crowd.told({"CN=A,DC=x": [Fault.STATUS_429], "CN=B,DC=x": [Fault.STATUS_404]}, RunSettings(workers=4))
    assert sorted(status or 0 for status in heard) == [404, 429]


async def test_a_deadline_is_known_from_the_first_request_on(crowd: "Crowd") -> None:
    ledger = crowd.plan_people(20)
    settings = RunSettings(workers=2, deadline=Deadline(after=3_600.0))
    async with Sandbox() as server, crowd.engine(ledger, server.url, settings) as run:
        assert run.progress.pace(1, None).deadline is None
        before = time.time()
        await run.work()
        assert before <= (run.progress.deadline or 0.0) - 3_600.0 <= time.time()
    at = RunSettings(deadline=Deadline(at=before + 7_200.0))
    async with Sandbox() as server, crowd.engine(crowd.plan_people(1, "other.db"), server.url, at) as run:
        assert run.progress.deadline == before + 7_200.0


NOTICES = [
    (Notice("concurrency", "good answers", 8.0), "good answers", None),
    (Notice("all workers held", "several unknown", 1.0), None, "several unknown"),
    (Notice("all workers go on", "a good answer", 0.0), None, None),
]


@pytest.mark.parametrize(("notice", "concurrency", "held"), NOTICES)
def test_the_reason_of_the_last_change_is_kept(notice: Notice, concurrency: str | None, held: str | None) -> None:
    progress = Progress()
    progress.notice([notice])
    assert (progress.why_concurrency, progress.why_held) == (concurrency, held)
