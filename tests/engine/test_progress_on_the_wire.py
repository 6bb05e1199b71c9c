"""What a living run shows: how fast it is, why, what holds it up, and the errors that servers report."""

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from bulksms.engine.worker import RunCounters
from bulksms.model.attempt import Attempt
from bulksms.model.run_settings import Deadline, RunSettings
from bulksms.policy.judgement import ErrorGroups
from bulksms.policy.retry import PolicyEvent
from bulksms.sandbox import Fault, FaultPlan, Sandbox

if TYPE_CHECKING:
    from tests.engine.harness import EngineHarness


async def test_a_run_shows_what_holds_it_up(harness: "EngineHarness") -> None:
    people = [f"CN={number},DC=x" for number in range(200)]
    ledger = harness.plan([(who, "Outage.") for who in people])
    scripts = FaultPlan.of({people[40]: [Fault.STATUS_503_RETRY_AFTER]})
    async with (
        Sandbox(faults=scripts, latency=0.002, retry_after=2.0) as server,
        harness.pool(ledger, server.url, RunSettings(workers=4)) as run,
    ):
        working = asyncio.create_task(run.work())
        await harness.until(lambda: run.status().paused_for is not None)
        pace = run.status(7.0)
        assert 0.0 < (pace.paused_for or 0.0) <= 2.0
        assert (pace.pause_reason, pace.probing) == ("the server asked for it with status 503", True)
        assert (pace.run, pace.recent, pace.unavailable_for, pace.ceiling) == (1, 7.0, None, 4)
        assert pace.errors == (("503 The Adaxes service is not available.", 1),)
        await working
        after = run.status()
    assert (after.paused_for, after.probing, after.in_flight) == (None, False, 0)
    assert after.overall is not None
    assert after.overall > 0.0


async def test_a_run_shows_how_long_the_server_has_been_unavailable(harness: "EngineHarness") -> None:
    ledger = harness.plan_people(40)
    async with Sandbox() as server:
        url = server.url
    async with harness.pool(ledger, url, RunSettings(workers=4)) as run:
        working = asyncio.create_task(run.work())
        await harness.until(lambda: run.status().unavailable_for is not None)
        assert run.status().errors[0][0].startswith("refused: ")
        run.stop()
        await working
        assert run.status().stopping == "interrupted"


async def test_only_what_went_wrong_is_looked_at(harness: "EngineHarness", monkeypatch: pytest.MonkeyPatch) -> None:
    """Showing costs a message that is accepted nothing."""
    heard: list[int | None] = []

    def hear(_: ErrorGroups, attempt: Attempt, __: str) -> None:
        heard.append(attempt.status)

    monkeypatch.setattr(ErrorGroups, "add", hear)
    await harness.run_scripted(
        {"CN=A,DC=x": [Fault.STATUS_429], "CN=B,DC=x": [Fault.STATUS_404]}, RunSettings(workers=4)
    )
    assert sorted(status or 0 for status in heard) == [404, 429]


async def test_a_deadline_is_known_from_the_first_request_on(harness: "EngineHarness") -> None:
    ledger = harness.plan_people(20)
    settings = RunSettings(workers=2, deadline=Deadline(after=3_600.0))
    async with Sandbox() as server, harness.pool(ledger, server.url, settings) as run:
        assert run.status().deadline is None
        before = time.time()
        await run.work()
        assert before <= (run.status().deadline or 0.0) - 3_600.0 <= time.time()
    at = RunSettings(deadline=Deadline(at=before + 7_200.0))
    async with Sandbox() as server, harness.pool(harness.plan_people(1, "other.db"), server.url, at) as run:
        assert run.status().deadline == before + 7_200.0


NOTICES = [
    (PolicyEvent("concurrency", "good answers", 8.0), "good answers", None),
    (PolicyEvent("all workers held", "several unknown", 1.0), None, "several unknown"),
    (PolicyEvent("all workers go on", "a good answer", 0.0), None, None),
]


@pytest.mark.parametrize(("notice", "concurrency", "held"), NOTICES)
def test_the_reason_of_the_last_change_is_kept(notice: PolicyEvent, concurrency: str | None, held: str | None) -> None:
    counters = RunCounters(0.0)
    counters.note([notice])
    assert (counters.concurrency_reason, counters.pause_reason) == (concurrency, held)
