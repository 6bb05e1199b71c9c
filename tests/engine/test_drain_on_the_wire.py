"""However a run ends, the ledger says of each message what is known of it."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

from bulksms.adaxes import Caller, Client
from bulksms.engine.pool import WorkerPool
from bulksms.ledger import open_ledger
from bulksms.model.message import State
from bulksms.model.run_settings import RunSettings, StopReason
from bulksms.sandbox import Fault, Journal, Sandbox

if TYPE_CHECKING:
    from bulksms.model.attempt import Attempt
    from bulksms.model.message import Message
    from tests.engine.harness import EngineHarness

WORKERS = 4
PEOPLE = 60
SETTINGS = RunSettings(workers=WORKERS, timeout=10.0)


def has_come(journal: Journal, requests: int) -> bool:
    """Whether so many requests have come."""
    return journal.total >= requests


async def test_stop_awaits_the_answers_in_flight_and_leaves_the_rest_queued(harness: "EngineHarness") -> None:
    ledger = harness.plan_people(PEOPLE)
    async with Sandbox(latency=0.15) as server, harness.pool(ledger, server.url, SETTINGS) as run:
        working = asyncio.create_task(run.work())
        await harness.until(lambda: server.journal.total >= WORKERS + 1)
        run.stop()
        await working
    record = harness.record(ledger, run, server.journal)
    assert run.stopped is StopReason.INTERRUPTED
    assert record.count(State.ACCEPTED) == server.journal.total <= 3 * WORKERS
    assert len(record.untouched) == PEOPLE - server.journal.total


async def test_the_next_run_tells_exactly_the_others(harness: "EngineHarness") -> None:
    ledger = harness.plan_people(PEOPLE)
    async with Sandbox(latency=0.02) as server:
        for enough in (8, 20, 32):
            async with harness.pool(ledger, server.url, SETTINGS) as run:
                working = asyncio.create_task(run.work())
                await harness.until(partial(has_come, server.journal, enough))
                run.stop()
                await working
        run = await harness.work(ledger, server.url, SETTINGS)
    record = harness.record(ledger, run, server.journal)
    assert record.count(State.ACCEPTED) == PEOPLE == server.journal.total


async def test_stop_ends_a_run_whose_workers_all_wait_for_slow_sends(harness: "EngineHarness") -> None:
    """As many operations are under way as may be, and none of them ends: nobody waits for room any more."""
    ledger = harness.plan_people(40)
    async with Sandbox() as server:
        server.everybody = Fault.ACCEPTED_202_STUCK
        async with harness.pool(ledger, server.url, RunSettings(workers=2, adapt=False, timeout=5.0)) as run:
            working = asyncio.create_task(run.work())
            await harness.until(lambda: run.counters.settled[State.PROCESSING] >= 18)
            await asyncio.sleep(0.1)
            run.stop()
            async with asyncio.timeout(60.0):
                await working
    assert run.stopped is StopReason.INTERRUPTED
    record = harness.record(ledger, run, server.journal)
    assert 18 <= record.count(State.PROCESSING) < 20
    assert len(record.untouched) == 40 - server.journal.total


async def test_stop_ends_the_wait_for_a_canary_that_is_polled(harness: "EngineHarness") -> None:
    """Its operation never ends: the canary waits for the polls, and the polls end with the run."""
    ledger = harness.plan_people(5)
    async with Sandbox() as server:
        server.everybody = Fault.ACCEPTED_202_STUCK
        async with harness.pool(ledger, server.url, RunSettings(workers=2, canary=1)) as run:
            working = asyncio.create_task(run.work())
            await harness.until(lambda: run.counters.settled[State.PROCESSING] >= 1)
            run.stop()
            async with asyncio.timeout(60.0):
                await working
    assert run.stopped is StopReason.INTERRUPTED
    record = harness.record(ledger, run, server.journal)
    assert record.count(State.PROCESSING) == server.journal.total == 1
    assert len(record.untouched) == 4


async def test_stop_at_once_says_unknown_of_those_in_flight(harness: "EngineHarness") -> None:
    ledger = harness.plan_people(PEOPLE)
    async with Sandbox() as server, harness.pool(ledger, server.url, SETTINGS) as run:
        server.everybody = Fault.STALL
        working = asyncio.create_task(run.work())
        await harness.until(lambda: server.journal.total >= WORKERS)
        run.stop()
        await asyncio.sleep(0.02)
        assert not working.done(), "the first word only drains"
        run.stop(now=True)
        await working
    record = harness.record(ledger, run, server.journal)
    assert [(line.reason, line.attempts) for line in record.lines.values() if line.state is State.UNKNOWN] == [
        ("interrupted", 1)
    ] * WORKERS
    assert len(record.untouched) == PEOPLE - WORKERS


async def test_stop_at_once_leaves_those_queued_whose_headers_had_not_left(harness: "EngineHarness") -> None:
    """A listener that never says a word of TLS: nothing of the request can have left."""
    ledger = harness.plan_people(PEOPLE)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/restApi"
        async with harness.pool(ledger, url, SETTINGS) as run:
            working = asyncio.create_task(run.work())
            await harness.until(lambda: run.counters.attempts >= WORKERS)
            run.stop(now=True)
            await working
    record = harness.record(ledger, run, Journal())
    assert record.count(State.QUEUED) == PEOPLE
    assert sum(line.attempts for line in record.lines.values()) == WORKERS
    async with Sandbox() as server:
        run = await harness.work(ledger, server.url, RunSettings(workers=4, max_attempts=1))
    assert harness.record(ledger, run, server.journal).count(State.ACCEPTED) == PEOPLE


async def test_cancelling_the_awaiting_task_drains_the_run(harness: "EngineHarness") -> None:
    ledger = harness.plan_people(PEOPLE)
    async with Sandbox(latency=0.15) as server, harness.pool(ledger, server.url, SETTINGS) as run:
        working = asyncio.create_task(run.work())
        await harness.until(lambda: server.journal.total >= WORKERS)
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
    record = harness.record(ledger, run, server.journal)
    assert run.stopped is StopReason.INTERRUPTED
    assert record.count(State.ACCEPTED) == server.journal.total
    assert len(record.untouched) == PEOPLE - server.journal.total


async def test_cancelling_it_twice_loses_no_evidence(harness: "EngineHarness") -> None:
    ledger = harness.plan_people(PEOPLE)
    async with Sandbox() as server, harness.pool(ledger, server.url, SETTINGS) as run:
        server.everybody = Fault.STALL
        working = asyncio.create_task(run.work())
        await harness.until(lambda: server.journal.total >= WORKERS)
        working.cancel()
        await asyncio.sleep(0.02)
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
    record = harness.record(ledger, run, server.journal)
    assert record.count(State.UNKNOWN) == WORKERS
    assert {line.reason for line in record.lines.values() if line.state is State.UNKNOWN} == {"interrupted"}
    assert len(record.untouched) == PEOPLE - WORKERS


@pytest.mark.parametrize("fault", [Fault.STATUS_429_RETRY_AFTER, Fault.STATUS_503_RETRY_AFTER])
async def test_stop_does_not_wait_for_a_retry(fault: Fault, harness: "EngineHarness") -> None:
    """The message between two attempts is queued with what its first attempt showed."""
    ledger = harness.plan_people(PEOPLE)
    async with Sandbox(retry_after=3600.0) as server, harness.pool(ledger, server.url, SETTINGS) as run:
        server.everybody = fault
        working = asyncio.create_task(run.work())
        await harness.until(lambda: server.journal.total >= 1)
        await asyncio.sleep(0.05)
        run.stop()
        await asyncio.wait_for(working, 60.0)
    record = harness.record(ledger, run, server.journal)
    assert record.count(State.QUEUED) == PEOPLE
    assert len(record.untouched) == PEOPLE - server.journal.total
    waiting = [line for line in record.lines.values() if line.attempts]
    assert {line.http_status for line in waiting} == {int(fault.value[:3])}


@pytest.mark.parametrize("settings", [SETTINGS, replace(SETTINGS, test_to="CN=Tester,DC=x")], ids=["messages", "test"])
async def test_a_stop_while_the_run_logs_in_sends_nothing(
    settings: RunSettings, harness: "EngineHarness", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers that have a permit and wait for a token send nothing once they have it; nor does the test message go."""
    ledger = harness.plan_people(PEOPLE)
    logging_in, go_on = asyncio.Event(), asyncio.Event()

    async def log_in(_caller: Caller) -> None:
        logging_in.set()
        await go_on.wait()

    monkeypatch.setattr(Caller, "ensure_token", log_in)
    monkeypatch.setattr(Client, "is_ready", property(lambda _: False))
    async with Sandbox() as server, harness.pool(ledger, server.url, settings) as run:
        working = asyncio.create_task(run.work())
        await logging_in.wait()
        run.stop()
        go_on.set()
        await working
    assert server.journal.total == 0
    with open_ledger(ledger) as reader:
        assert reader.counts().counts[State.QUEUED] == PEOPLE


async def test_a_run_that_is_stopped_before_it_began_sends_nothing(harness: "EngineHarness") -> None:
    ledger = harness.plan_people(PEOPLE)
    async with Sandbox() as server, harness.pool(ledger, server.url, SETTINGS) as run:
        run.stop()
        await run.work()
    assert server.journal.total == 0
    assert len(harness.record(ledger, run, server.journal).untouched) == PEOPLE


async def test_a_hook_that_raises_loses_nothing(harness: "EngineHarness") -> None:
    called = 0

    def hook(_: "Message", __: "Attempt", ___: State) -> None:
        nonlocal called
        called += 1
        raise RuntimeError("the hook is broken")

    ledger = harness.plan_people(PEOPLE)
    async with Sandbox() as server:
        run = await harness.work(ledger, server.url, SETTINGS, on_settled=hook)
    record = harness.record(ledger, run, server.journal)
    assert called == PEOPLE == record.count(State.ACCEPTED)


async def test_a_run_begun_again_from_a_finished_ledger_makes_no_request(harness: "EngineHarness") -> None:
    ledger = harness.plan_people(5)
    async with Sandbox() as server:
        await harness.work(ledger, server.url, SETTINGS)
        run = await harness.work(ledger, server.url, SETTINGS)
    assert server.journal.total == 5
    assert run.counters.done == 0


@contextlib.asynccontextmanager
async def living(harness: "EngineHarness", url: str) -> AsyncIterator[WorkerPool]:
    """A run in the middle of its work."""
    ledger = harness.plan_people(PEOPLE)
    async with harness.pool(ledger, url, SETTINGS) as run:
        working = asyncio.create_task(run.work())
        yield run
        run.stop(now=True)
        await working


async def test_a_reader_beside_a_living_run_sees_the_equation_hold(harness: "EngineHarness") -> None:
    async with Sandbox(latency=0.05) as server, living(harness, server.url) as run:
        await harness.until(lambda: server.journal.total >= 2 * WORKERS)
        with open_ledger(run._ledger.path) as reader:
            counts = reader.counts()
            assert counts.is_living
            assert counts.total == PEOPLE
            assert counts.counts[State.SENDING] <= WORKERS
            assert counts.counts[State.ACCEPTED] >= WORKERS
