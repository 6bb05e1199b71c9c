"""A server that is away, and answers that leave everybody in doubt: few requests, nobody burnt, and on it goes."""

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from bulksms.config import RunSettings
from bulksms.delivery.outcome import Delivery
from bulksms.delivery.retry import Stop
from bulksms.message import State
from bulksms.sandbox import Away, Fault, FaultPlan, Sandbox

if TYPE_CHECKING:
    from tests.engine.conftest import Crowd

WORKERS = 16
PEOPLE = 60


@pytest.mark.parametrize("how", Away)
async def test_a_server_that_stays_away_stops_the_run_and_costs_nobody_more_than_a_try(
    how: Away, crowd: "Crowd"
) -> None:
    ledger = crowd.plan_people(PEOPLE)
    settings = RunSettings(workers=WORKERS, max_pause=0.4, max_attempts=3)
    async with Sandbox() as server:
        await server.go_away(how)
        progress = await crowd.work(ledger, server.url, settings)
        books = crowd.books(ledger, progress, server.journal)
        assert progress.stopped is Stop.AWAY
        assert books.count(State.QUEUED) == PEOPLE
        assert sum(line.attempts for line in books.lines.values()) <= 4 * WORKERS
        await server.come_back()
        before = server.journal.total

        progress = await crowd.work(ledger, server.url, settings)

    assert progress.stopped is None
    assert crowd.books(ledger, progress, server.journal).count(State.ACCEPTED) == PEOPLE
    assert server.journal.total - before == PEOPLE


@pytest.mark.parametrize("how", Away)
async def test_a_server_that_comes_back_is_told_everybody_once(how: Away, crowd: "Crowd") -> None:
    ledger = crowd.plan_people(PEOPLE)
    async with Sandbox(latency=0.005) as server, asyncio.TaskGroup() as tasks:

        async def restart() -> None:
            await crowd.until(lambda: server.journal.total >= 15)
            await server.go_away(how)
            await asyncio.sleep(0.4)
            await server.come_back()

        tasks.create_task(restart())
        settings = RunSettings(workers=WORKERS, delivery=Delivery.AT_MOST_ONCE, max_attempts=5)
        progress = await crowd.work(ledger, server.url, settings)
    books = crowd.books(ledger, progress, server.journal)
    assert progress.stopped is None
    # Connections that were open when it went are broken off in the middle of their answers.
    lost = books.count(State.UNKNOWN)
    assert lost <= (WORKERS if how is Away.REFUSED else 0)
    assert books.count(State.ACCEPTED) == PEOPLE - lost
    assert all(server.journal.delivered(who) <= 1 for who in books.lines)


async def test_many_lost_answers_in_a_row_stop_the_run(crowd: "Crowd") -> None:
    ledger = crowd.plan_people(PEOPLE)
    async with Sandbox() as server:
        server.everybody = Fault.DROP_AFTER
        progress = await crowd.work(ledger, server.url, RunSettings(workers=WORKERS))
    books = crowd.books(ledger, progress, server.journal)
    assert progress.stopped is Stop.DOUBT
    assert 20 <= books.count(State.UNKNOWN) == server.journal.total < 20 + WORKERS
    assert len(books.untouched) == PEOPLE - server.journal.total


async def test_a_few_lost_answers_pause_the_run_and_send_one_alone(
    crowd: "Crowd", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bulksms.delivery.traffic.DOUBT_PAUSE", 1.0)
    people = [f"CN={number},DC=x" for number in range(200)]
    ledger = crowd.plan([(who, "Outage.") for who in people])
    lost = {who: [Fault.RESET_AFTER] for who in people[40:140:20]}
    async with Sandbox(faults=FaultPlan.of(lost)) as server:
        progress = await crowd.work(ledger, server.url, RunSettings(workers=4))
    books = crowd.books(ledger, progress, server.journal)
    assert progress.stopped is None
    assert books.count(State.UNKNOWN) == 5
    assert books.count(State.ACCEPTED) == 195
    silences = sorted(later - earlier for earlier, later in pairwise(server.journal.times))
    assert silences[-1] >= 0.5, "what was on the wire already may still come in the meantime"


async def test_refusals_in_the_same_words_stop_the_run_and_stay_failed(crowd: "Crowd") -> None:
    ledger = crowd.plan_people(PEOPLE + 20)
    async with Sandbox() as server:
        server.everybody = Fault.STATUS_400
        progress = await crowd.work(ledger, server.url, RunSettings(workers=WORKERS))
        books = crowd.books(ledger, progress, server.journal)
        assert progress.stopped is Stop.FAILURES
        assert 50 <= books.count(State.FAILED) == server.journal.total < 50 + WORKERS
        server.everybody = None
        progress = await crowd.work(ledger, server.url, RunSettings(workers=WORKERS))
    books = crowd.books(ledger, progress, server.journal)
    assert server.journal.total == PEOPLE + 20, "`resume` moves on"
    assert {line.reason for line in books.lines.values() if line.state is State.FAILED} == {"refused"}


async def test_a_canary_that_is_slow_is_followed_to_its_end_first(crowd: "Crowd") -> None:
    people = [f"CN={number},DC=x" for number in range(20)]
    ledger = crowd.plan([(who, "Outage.") for who in people])
    async with Sandbox(faults=FaultPlan.of({people[0]: [Fault.ACCEPTED_202_FAILED]})) as server:
        progress = await crowd.work(ledger, server.url, RunSettings(workers=4, canary=2))
        assert progress.stopped is Stop.CANARY
        assert server.journal.total == 1
        books = crowd.books(ledger, progress, server.journal)
    assert books.of(people[0]) == ("failed", "refused", 1, False)
    assert len(books.untouched) == 19
