"""`Retry-After` is a minimum for its message and holds every worker; no more than N requests are ever in flight."""

import asyncio
import math
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from bulksms.adaxes import Caller, Client
from bulksms.model.message import State
from bulksms.model.run_settings import RunSettings
from bulksms.sandbox import Fault, FaultPlan, Journal, Sandbox
from bulksms.system import SYSTEM
from tests.engine.harness import SHORT

if TYPE_CHECKING:
    from bulksms.model.attempt import Attempt
    from bulksms.model.message import Message
    from bulksms.policy.retry import Decision
    from tests.engine.harness import EngineHarness

PEOPLE = 400


def silence(journal: Journal) -> float:
    """The longest time in which no request came, in seconds."""
    return max(later - earlier for earlier, later in pairwise(journal.times))


@pytest.mark.parametrize(
    "fault", [Fault.STATUS_429_RETRY_AFTER, Fault.STATUS_503_RETRY_AFTER, Fault.STATUS_429_RETRY_DATE]
)
async def test_retry_after_is_honoured_and_holds_everybody(fault: Fault, harness: "EngineHarness") -> None:
    people = [f"CN={number},DC=x" for number in range(PEOPLE)]
    ledger = harness.plan([(who, "Outage.") for who in people])
    scripts = FaultPlan.of({people[40]: [fault]})
    async with Sandbox(faults=scripts, latency=0.002, retry_after=2.0) as server:
        run = await harness.work(ledger, server.url, RunSettings(workers=4))
    record = harness.record(ledger, run, server.journal)
    assert record.count(State.ACCEPTED) == PEOPLE
    first, second = (entry for entry in server.journal.received if entry.recipient == people[40])
    if fault is Fault.STATUS_429_RETRY_DATE:
        assert second.at >= math.ceil(first.at + 2.0) - 0.001
    else:
        assert second.clock - first.clock >= 2.0
    # What was in flight when the answer came may still arrive; after that there is silence.
    assert silence(server.journal) > 1.0


async def test_a_429_without_retry_after_is_its_own_message_s_trouble(harness: "EngineHarness") -> None:
    longest = replace(SYSTEM, random=lambda: 0.999)
    timings = replace(SHORT, backoff_base=2.0, backoff_cap=2.0)
    people = [f"CN={number},DC=x" for number in range(PEOPLE)]
    ledger = harness.plan([(who, "Outage.") for who in people])
    async with Sandbox(faults=FaultPlan.of({people[0]: [Fault.STATUS_429]})) as server:
        run = await harness.work(ledger, server.url, RunSettings(workers=4), system=longest, timings=timings)
    harness.record(ledger, run, server.journal)
    first, second = (entry for entry in server.journal.received if entry.recipient == people[0])
    assert server.journal.between(first.clock, second.clock) > 20


@pytest.mark.parametrize("workers", [1, 3, 16])
async def test_no_more_than_the_workers_are_in_flight(workers: int, harness: "EngineHarness") -> None:
    people = 20 + 8 * workers
    ledger = harness.plan_people(people)
    async with Sandbox(latency=0.01) as server:
        run = await harness.work(ledger, server.url, RunSettings(workers=workers))
    assert harness.record(ledger, run, server.journal).count(State.ACCEPTED) == people
    assert 1 <= server.journal.max_in_flight <= workers


async def test_requests_that_wait_for_a_token_leave_by_the_rate(
    harness: "EngineHarness", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each had its turn while another one logged in; found by a simulated night."""
    has_token = asyncio.Event()
    monkeypatch.setattr(Client, "is_ready", property(lambda _: has_token.is_set()))
    monkeypatch.setattr(Caller, "ensure_token", lambda _: has_token.wait())
    ledger, workers, rate = harness.plan_people(16), 8, 20.0
    async with Sandbox() as server:
        asyncio.get_running_loop().call_later(2 * workers / rate, has_token.set)
        run = await harness.work(ledger, server.url, RunSettings(workers=workers, rate=rate))
    assert harness.record(ledger, run, server.journal).count(State.ACCEPTED) == 16
    assert server.journal.times[workers - 1] - server.journal.times[0] >= (workers - 2) / rate


async def test_there_is_no_task_for_each_row(harness: "EngineHarness") -> None:
    most = 0

    def note(_: "Message", __: "Attempt", ___: "Decision") -> None:
        nonlocal most
        most = max(most, len(asyncio.all_tasks()))

    workers = 8
    ledger = harness.plan_people(3_000)
    async with Sandbox(keep_entries=False) as server:
        run = await harness.work(ledger, server.url, RunSettings(workers=workers), on_settled=note)
    assert harness.record(ledger, run, server.journal).count(State.ACCEPTED) == 3_000
    connections = workers + 2
    assert most <= workers + connections + 12


async def test_two_runs_fit_into_one_loop(harness: "EngineHarness") -> None:
    async with Sandbox(latency=0.002) as one, Sandbox(latency=0.002) as other:
        ledgers = [harness.plan_people(200, f"{name}.ledger.db") for name in ("one", "other")]
        async with asyncio.TaskGroup() as tasks:
            runs = [
                tasks.create_task(harness.work(ledger, server.url, RunSettings(workers=8)))
                for ledger, server in zip(ledgers, (one, other), strict=True)
            ]
    for run, ledger, server in zip(runs, ledgers, (one, other), strict=True):
        assert harness.record(ledger, run.result(), server.journal).count(State.ACCEPTED) == 200
        assert server.journal.total == 200
