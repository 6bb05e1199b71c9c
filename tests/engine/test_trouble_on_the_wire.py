"""A server that is away, and answers that leave everybody in doubt: few requests, nobody burnt, and on it goes."""

import asyncio
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from bulksms.model.message import State
from bulksms.model.run_settings import DeliveryMode, RunSettings, StopReason
from bulksms.sandbox import Away, Fault, FaultPlan, Sandbox
from tests.engine.harness import SHORT

if TYPE_CHECKING:
    from tests.engine.harness import EngineHarness

WORKERS = 16
PEOPLE = 60


@pytest.mark.parametrize("how", Away)
async def test_a_server_that_stays_away_stops_the_run_and_costs_nobody_more_than_a_try(
    how: Away, harness: "EngineHarness"
) -> None:
    ledger = harness.plan_people(PEOPLE)
    settings = RunSettings(workers=WORKERS, max_outage=0.4, max_attempts=3)
    async with Sandbox() as server:
        await server.go_away(how)
        run = await harness.work(ledger, server.url, settings)
        record = harness.record(ledger, run, server.journal)
        assert run.stopped is StopReason.SERVER_UNAVAILABLE
        assert record.count(State.QUEUED) == PEOPLE
        assert sum(line.attempts for line in record.lines.values()) <= 4 * WORKERS
        await server.come_back()
        before = server.journal.total

        run = await harness.work(ledger, server.url, settings)

    assert run.stopped is None
    assert harness.record(ledger, run, server.journal).count(State.ACCEPTED) == PEOPLE
    assert server.journal.total - before == PEOPLE


@pytest.mark.parametrize("how", Away)
async def test_a_server_that_comes_back_gets_every_message_once(how: Away, harness: "EngineHarness") -> None:
    ledger = harness.plan_people(PEOPLE)
    async with Sandbox(latency=0.005) as server, asyncio.TaskGroup() as tasks:

        async def restart() -> None:
            await harness.until(lambda: server.journal.total >= 15)
            await server.go_away(how)
            await asyncio.sleep(0.4)
            await server.come_back()

        tasks.create_task(restart())
        settings = RunSettings(workers=WORKERS, delivery=DeliveryMode.AT_MOST_ONCE, max_attempts=5)
        run = await harness.work(ledger, server.url, settings)
    record = harness.record(ledger, run, server.journal)
    assert run.stopped is None
    # Connections that were open when it went are broken off in the middle of their answers.
    lost = record.count(State.UNKNOWN)
    assert lost <= (WORKERS if how is Away.REFUSED else 0)
    assert record.count(State.ACCEPTED) == PEOPLE - lost
    assert all(server.journal.delivered(who) <= 1 for who in record.lines)


async def test_many_unanswered_sends_in_a_row_stop_the_run(harness: "EngineHarness") -> None:
    ledger = harness.plan_people(PEOPLE)
    async with Sandbox() as server:
        server.everybody = Fault.DROP_AFTER
        run = await harness.work(ledger, server.url, RunSettings(workers=WORKERS))
    record = harness.record(ledger, run, server.journal)
    assert run.stopped is StopReason.TOO_MANY_UNKNOWN
    assert 20 <= record.count(State.UNKNOWN) == server.journal.total < 20 + WORKERS
    assert len(record.untouched) == PEOPLE - server.journal.total


async def test_a_few_unanswered_sends_pause_the_run_and_send_one_alone(harness: "EngineHarness") -> None:
    people = [f"CN={number},DC=x" for number in range(200)]
    ledger = harness.plan([(who, "Outage.") for who in people])
    lost = {who: [Fault.RESET_AFTER] for who in people[40:140:20]}
    async with Sandbox(faults=FaultPlan.of(lost)) as server:
        timings = replace(SHORT, unknown_pause=1.0)
        run = await harness.work(ledger, server.url, RunSettings(workers=4), timings=timings)
    record = harness.record(ledger, run, server.journal)
    assert run.stopped is None
    assert record.count(State.UNKNOWN) == 5
    assert record.count(State.ACCEPTED) == 195
    silences = sorted(later - earlier for earlier, later in pairwise(server.journal.times))
    assert silences[-1] >= 0.5, "what was on the wire already may still come in the meantime"


async def test_refusals_in_the_same_words_stop_the_run_and_stay_failed(harness: "EngineHarness") -> None:
    ledger = harness.plan_people(PEOPLE + 20)
    async with Sandbox() as server:
        server.everybody = Fault.STATUS_400
        run = await harness.work(ledger, server.url, RunSettings(workers=WORKERS))
        record = harness.record(ledger, run, server.journal)
        assert run.stopped is StopReason.TOO_MANY_FAILURES
        assert 50 <= record.count(State.FAILED) == server.journal.total < 50 + WORKERS
        server.everybody = None
        run = await harness.work(ledger, server.url, RunSettings(workers=WORKERS))
    record = harness.record(ledger, run, server.journal)
    assert server.journal.total == PEOPLE + 20, "`resume` moves on"
    assert {line.reason for line in record.lines.values() if line.state is State.FAILED} == {"rejected"}


async def test_a_canary_that_is_slow_is_followed_to_its_end_first(harness: "EngineHarness") -> None:
    people = [f"CN={number},DC=x" for number in range(20)]
    ledger = harness.plan([(who, "Outage.") for who in people])
    async with Sandbox(faults=FaultPlan.of({people[0]: [Fault.ACCEPTED_202_FAILED]})) as server:
        run = await harness.work(ledger, server.url, RunSettings(workers=4, canary=2))
        assert run.stopped is StopReason.CANARY_FAILED
        assert server.journal.total == 1
        record = harness.record(ledger, run, server.journal)
    assert record.of(people[0]) == ("failed", "rejected", 1, False)
    assert len(record.untouched) == 19


async def test_while_pages_come_instead_of_answers_one_request_at_a_time_leaves(harness: "EngineHarness") -> None:
    ledger = harness.plan_people(PEOPLE)
    async with Sandbox(latency=0.05) as server:
        server.everybody = Fault.HTML_200
        run = await harness.work(ledger, server.url, RunSettings(workers=2))
    record = harness.record(ledger, run, server.journal)
    assert run.stopped is StopReason.WRONG_ENDPOINT
    assert record.count(State.UNKNOWN) == server.journal.total == 3, "two were under way, the third went alone"


async def test_the_first_answer_after_pages_lets_all_workers_go_on(harness: "EngineHarness") -> None:
    people, latency = [f"CN={number},DC=x" for number in range(20)], 0.1
    ledger = harness.plan([(who, "Outage.") for who in people])
    pages = {who: [Fault.HTML_200] for who in people[:2]}
    async with Sandbox(latency=latency, faults=FaultPlan.of(pages)) as server:
        run = await harness.work(ledger, server.url, RunSettings(workers=2))
    record, times = harness.record(ledger, run, server.journal), server.journal.times
    assert run.stopped is None
    assert record.count(State.ACCEPTED) == 18
    assert times[3] - times[2] >= latency, "nobody left while it was not known who answers there"
    assert min(later - earlier for earlier, later in pairwise(times[3:])) < latency, "then two go at once again"
