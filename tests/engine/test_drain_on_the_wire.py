"""Whatever ends a run, each message stands in the ledger as what is known of it."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from functools import partial
from typing import TYPE_CHECKING

import pytest

from bulksms.config import RunSettings
from bulksms.delivery.retry import Stop
from bulksms.engine.run import Run
from bulksms.ledger.reader import LedgerReader
from bulksms.message import State
from bulksms.sandbox import Fault, Journal, Sandbox

if TYPE_CHECKING:
    from bulksms.attempt import Attempt
    from bulksms.message import Message
    from tests.engine.conftest import Crowd

WORKERS = 4
PEOPLE = 60
SETTINGS = RunSettings(workers=WORKERS, timeout=10.0)


def has_come(journal: Journal, requests: int) -> bool:
    """Whether so many requests have come."""
    return journal.total >= requests


async def test_stop_awaits_the_answers_in_flight_and_leaves_the_rest_queued(crowd: "Crowd") -> None:
    ledger = crowd.plan_people(PEOPLE)
    async with Sandbox(latency=0.15) as server, crowd.engine(ledger, server.url, SETTINGS) as run:
        working = asyncio.create_task(run.work())
        await crowd.until(lambda: server.journal.total >= WORKERS + 1)
        run.stop()
        progress = await working
    books = crowd.books(ledger, progress, server.journal)
    assert progress.stopped is Stop.INTERRUPTED
    assert books.count(State.ACCEPTED) == server.journal.total <= 3 * WORKERS
    assert len(books.untouched) == PEOPLE - server.journal.total


async def test_the_next_run_tells_exactly_the_others(crowd: "Crowd") -> None:
    ledger = crowd.plan_people(PEOPLE)
    async with Sandbox(latency=0.02) as server:
        for enough in (8, 20, 32):
            async with crowd.engine(ledger, server.url, SETTINGS) as run:
                working = asyncio.create_task(run.work())
                await crowd.until(partial(has_come, server.journal, enough))
                run.stop()
                await working
        progress = await crowd.work(ledger, server.url, SETTINGS)
    books = crowd.books(ledger, progress, server.journal)
    assert books.count(State.ACCEPTED) == PEOPLE == server.journal.total


async def test_stop_ends_a_run_whose_workers_all_wait_for_slow_sends(crowd: "Crowd") -> None:
    """As many operations are under way as may be, and none of them ends: nobody waits for room any more."""
    ledger = crowd.plan_people(40)
    async with Sandbox() as server:
        server.everybody = Fault.ACCEPTED_202_STUCK
        async with crowd.engine(ledger, server.url, RunSettings(workers=2, adapt=False, timeout=5.0)) as run:
            working = asyncio.create_task(run.work())
            await crowd.until(lambda: run.progress.settled[State.PROCESSING] >= 18)
            await asyncio.sleep(0.1)
            run.stop()
            async with asyncio.timeout(60.0):
                progress = await working
    assert progress.stopped is Stop.INTERRUPTED
    books = crowd.books(ledger, progress, server.journal)
    assert 18 <= books.count(State.PROCESSING) < 20
    assert len(books.untouched) == 40 - server.journal.total


async def test_stop_at_once_says_unknown_of_those_in_flight(crowd: "Crowd") -> None:
    ledger = crowd.plan_people(PEOPLE)
    async with Sandbox() as server, crowd.engine(ledger, server.url, SETTINGS) as run:
        server.everybody = Fault.STALL
        working = asyncio.create_task(run.work())
        await crowd.until(lambda: server.journal.total >= WORKERS)
        run.stop()
        await asyncio.sleep(0.02)
        assert not working.done(), "the first word only drains"
        run.stop(now=True)
        progress = await working
    books = crowd.books(ledger, progress, server.journal)
    assert [(line.reason, line.attempts) for line in books.lines.values() if line.state is State.UNKNOWN] == [
        ("interrupted", 1)
    ] * WORKERS
    assert len(books.untouched) == PEOPLE - WORKERS


async def test_stop_at_once_leaves_those_queued_whose_headers_had_not_left(crowd: "Crowd") -> None:
    """A listener that never says a word of TLS: nothing of the request can have left."""
    ledger = crowd.plan_people(PEOPLE)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/restApi"
        async with crowd.engine(ledger, url, SETTINGS) as run:
            working = asyncio.create_task(run.work())
            await crowd.until(lambda: run.progress.attempts >= WORKERS)
            run.stop(now=True)
            progress = await working
    books = crowd.books(ledger, progress, Journal())
    assert books.count(State.QUEUED) == PEOPLE
    assert sum(line.attempts for line in books.lines.values()) == WORKERS
    async with Sandbox() as server:
        progress = await crowd.work(ledger, server.url, RunSettings(workers=4, max_attempts=1))
    assert crowd.books(ledger, progress, server.journal).count(State.ACCEPTED) == PEOPLE


async def test_cancelling_the_awaiting_task_drains_the_run(crowd: "Crowd") -> None:
    ledger = crowd.plan_people(PEOPLE)
    async with Sandbox(latency=0.15) as server, crowd.engine(ledger, server.url, SETTINGS) as run:
        working = asyncio.create_task(run.work())
        await crowd.until(lambda: server.journal.total >= WORKERS)
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
    books = crowd.books(ledger, run.progress, server.journal)
    assert run.progress.stopped is Stop.INTERRUPTED
    assert books.count(State.ACCEPTED) == server.journal.total
    assert len(books.untouched) == PEOPLE - server.journal.total


async def test_cancelling_it_twice_loses_no_evidence(crowd: "Crowd") -> None:
    ledger = crowd.plan_people(PEOPLE)
    async with Sandbox() as server, crowd.engine(ledger, server.url, SETTINGS) as run:
        server.everybody = Fault.STALL
        working = asyncio.create_task(run.work())
        await crowd.until(lambda: server.journal.total >= WORKERS)
        working.cancel()
        await asyncio.sleep(0.02)
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
    books = crowd.books(ledger, run.progress, server.journal)
    assert books.count(State.UNKNOWN) == WORKERS
    assert {line.reason for line in books.lines.values() if line.state is State.UNKNOWN} == {"interrupted"}
    assert len(books.untouched) == PEOPLE - WORKERS


@pytest.mark.parametrize("fault", [Fault.STATUS_429_RETRY_AFTER, Fault.STATUS_503_RETRY_AFTER])
async def test_stop_does_not_wait_for_a_retry(fault: Fault, crowd: "Crowd") -> None:
    """The message between two attempts is queued with what its first attempt showed."""
    ledger = crowd.plan_people(PEOPLE)
    async with Sandbox(retry_after=3600.0) as server, crowd.engine(ledger, server.url, SETTINGS) as run:
        server.everybody = fault
        working = asyncio.create_task(run.work())
        await crowd.until(lambda: server.journal.total >= 1)
        await asyncio.sleep(0.05)
        run.stop()
        progress = await asyncio.wait_for(working, 60.0)
    books = crowd.books(ledger, progress, server.journal)
    assert books.count(State.QUEUED) == PEOPLE
    assert len(books.untouched) == PEOPLE - server.journal.total
    waiting = [line for line in books.lines.values() if line.attempts]
    assert {line.http_status for line in waiting} == {int(fault.value[:3])}


async def test_a_run_that_is_stopped_before_it_began_sends_nothing(crowd: "Crowd") -> None:
    ledger = crowd.plan_people(PEOPLE)
    async with Sandbox() as server, crowd.engine(ledger, server.url, SETTINGS) as run:
        run.stop()
        progress = await run.work()
    assert server.journal.total == 0
    assert len(crowd.books(ledger, progress, server.journal).untouched) == PEOPLE


async def test_a_hook_that_raises_loses_nothing(crowd: "Crowd") -> None:
    called = 0

    def hook(_: "Message", __: "Attempt", ___: State) -> None:
        nonlocal called
        called += 1
        raise RuntimeError("the hook is broken")

    ledger = crowd.plan_people(PEOPLE)
    async with Sandbox() as server:
        progress = await crowd.work(ledger, server.url, SETTINGS, on_settled=hook)
    books = crowd.books(ledger, progress, server.journal)
    assert called == PEOPLE == books.count(State.ACCEPTED)


async def test_a_run_begun_again_from_a_finished_ledger_makes_no_request(crowd: "Crowd") -> None:
    ledger = crowd.plan_people(5)
    async with Sandbox() as server:
        await crowd.work(ledger, server.url, SETTINGS)
        progress = await crowd.work(ledger, server.url, SETTINGS)
    assert server.journal.total == 5
    assert progress.done == 0


@contextlib.asynccontextmanager
async def living(crowd: "Crowd", url: str) -> AsyncIterator[Run]:
    """A run in the middle of its work."""
    ledger = crowd.plan_people(PEOPLE)
    async with crowd.engine(ledger, url, SETTINGS) as run:
        working = asyncio.create_task(run.work())
        yield run
        run.stop(now=True)
        await working


async def test_a_reader_beside_a_living_run_sees_the_equation_hold(crowd: "Crowd") -> None:
    async with Sandbox(latency=0.05) as server, living(crowd, server.url) as run:
        await crowd.until(lambda: server.journal.total >= 2 * WORKERS)
        with LedgerReader(run._ledger.path) as reader:
            standing = reader.standing()
            assert standing.is_living
            assert standing.total == PEOPLE
            assert standing.counts[State.SENDING] <= WORKERS
            assert standing.counts[State.ACCEPTED] >= WORKERS
