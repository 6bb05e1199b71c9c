"""Slow sends: a 202 is followed to its end, also by another run, and never sent again."""

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest

from bulksms.config import RunSettings
from bulksms.delivery.outcome import Delivery
from bulksms.delivery.retry import Stop
from bulksms.errors import LedgerTrouble
from bulksms.ledger.reader import LedgerReader
from bulksms.message import State
from bulksms.sandbox import Fault, FaultPlan, IdShape, Sandbox, SlowSends

if TYPE_CHECKING:
    from pathlib import Path

    from bulksms.attempt import Attempt
    from bulksms.delivery.retry import Decision
    from bulksms.message import Message
    from tests.engine.conftest import Crowd

SETTINGS = RunSettings(workers=4, timeout=5.0, poll_timeout=30.0)
POLL = "GET /api/runningOperations/"


async def leave_processing(crowd: "Crowd", ledger: "Path", url: str, settings: RunSettings, count: int) -> None:
    """A run that is stopped with so many operations under way, none of which it has asked about."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("bulksms.delivery.operation.FIRST_POLL", 100.0)
        patched.setattr("bulksms.delivery.operation.LONGEST_PAUSE", 100.0)
        async with crowd.engine(ledger, url, settings) as run:
            working = asyncio.create_task(run.work())
            await crowd.until(lambda: run.progress.settled[State.PROCESSING] >= count)
            run.stop()
            await working


@pytest.mark.parametrize("shape", IdShape)
async def test_an_operation_is_polled_to_its_end_whatever_the_shape_of_its_id(shape: IdShape, crowd: "Crowd") -> None:
    ends = {
        "CN=a,DC=x": "202",
        "CN=b,DC=x": "202_failed",
        "CN=c,DC=x": "202_suspended",
        "CN=d,DC=x": "202_poll_trouble",
    }
    books = await crowd.told(
        {who: [fault] for who, fault in ends.items()}, SETTINGS, between=0, slow_sends=SlowSends(polls=3, shape=shape)
    )
    assert books.of("CN=a,DC=x") == ("accepted", None, 1, False)
    assert books.of("CN=b,DC=x") == ("failed", "refused", 1, False)
    assert books.of("CN=c,DC=x") == ("awaiting_approval", None, 1, False)
    assert books.of("CN=d,DC=x") == ("accepted", None, 1, False)
    polls = [call for call in books.journal.called if call.status == 200]
    assert len(polls) == 4 * 3, "each was asked about until it was complete, and not once more"


async def test_a_server_that_takes_its_time_is_asked_as_the_header_says(crowd: "Crowd") -> None:
    """`Adm-Wait`: after that the server answers 202 instead of letting the time-out run out."""
    settings = RunSettings(workers=4, timeout=30.0, server_wait=2, poll_timeout=30.0)
    ledger = crowd.plan_people(2)
    async with Sandbox(latency=2.1) as server:
        progress = await crowd.work(ledger, server.url, settings)
    books = crowd.books(ledger, progress, server.journal)
    assert books.count(State.ACCEPTED) == 2
    assert server.journal.total == 2
    assert server.journal.calls[POLL] >= 2
    assert all(line.operation_id for line in books.lines.values())


async def test_a_slow_operation_does_not_occupy_a_worker(crowd: "Crowd") -> None:
    settled: list[str] = []

    def note(message: "Message", _: "Attempt", decision: "Decision") -> None:
        if decision.state is not State.PROCESSING:
            settled.append(message.recipient)

    people = ["CN=slow,DC=x", *(f"CN={number},DC=x" for number in range(30))]
    ledger = crowd.plan([(who, "Outage.") for who in people])
    settings = RunSettings(workers=1, timeout=5.0, poll_timeout=1.0)
    async with Sandbox(faults=FaultPlan.of({people[0]: [Fault.ACCEPTED_202_STUCK]})) as server:
        progress = await crowd.work(ledger, server.url, settings, on_settled=note)
    assert settled == [*people[1:], people[0]]
    books = crowd.books(ledger, progress, server.journal)
    assert books.of(people[0]) == ("unknown", "operation_lost", 1, False)


@pytest.mark.parametrize("mode", Delivery)
async def test_a_resumed_run_asks_about_what_was_processing_and_sends_none_of_it_again(
    mode: Delivery, crowd: "Crowd"
) -> None:
    people = 25
    settings = RunSettings(workers=4, timeout=5.0, delivery=mode, poll_timeout=30.0)
    ledger = crowd.plan_people(people)
    async with Sandbox(slow_sends=SlowSends(polls=2)) as server:
        server.everybody = Fault.ACCEPTED_202
        await leave_processing(crowd, ledger, server.url, settings, people)
        assert server.journal.calls[POLL] == 0
        with LedgerReader(ledger) as reader:
            assert reader.standing().counts[State.PROCESSING] == people
            assert all(line.operation_id for line in reader.lines())

        progress = await crowd.work(ledger, server.url, settings)

    books = crowd.books(ledger, progress, server.journal)
    assert server.journal.total == people
    assert books.count(State.ACCEPTED) == people
    assert server.journal.calls[POLL] == 2 * people


async def test_earlier_operations_are_asked_about_before_anything_new_is_sent(crowd: "Crowd") -> None:
    ledger = crowd.plan_people(12)
    settings = RunSettings(workers=2, timeout=5.0)
    async with Sandbox(latency=0.05) as server:
        server.everybody = Fault.ACCEPTED_202
        await leave_processing(crowd, ledger, server.url, settings, 4)
        server.everybody = None
        before = len(server.journal.received)

        progress = await crowd.work(ledger, server.url, settings)

    books = crowd.books(ledger, progress, server.journal)
    assert books.count(State.ACCEPTED) == 12
    sends_to_the_second = server.journal.received[before:]
    assert server.journal.called[0].clock < sends_to_the_second[2].clock


async def test_earlier_operations_and_those_of_this_run_are_told_apart(
    crowd: "Crowd", monkeypatch: pytest.MonkeyPatch
) -> None:
    """More are left than are taken from the ledger at a time, and this run leaves its own between them."""
    monkeypatch.setattr("bulksms.engine.run.SMALLEST_WINDOW", 2)
    ledger = crowd.plan_people(40)
    settings = RunSettings(workers=1, adapt=False, timeout=5.0)
    async with Sandbox(slow_sends=SlowSends(polls=3)) as server:
        server.everybody = Fault.ACCEPTED_202
        await leave_processing(crowd, ledger, server.url, settings, 8)
        progress = await crowd.work(ledger, server.url, RunSettings(workers=8, adapt=False, timeout=5.0))
    assert crowd.books(ledger, progress, server.journal).count(State.ACCEPTED) == 40
    assert server.journal.total == 40
    assert server.journal.calls[POLL] == 3 * 40


@pytest.mark.parametrize("mode", Delivery)
async def test_an_operation_that_the_server_lost_is_unknown_in_every_mode(mode: Delivery, crowd: "Crowd") -> None:
    settings = RunSettings(workers=4, timeout=5.0, delivery=mode, poll_timeout=0.3)
    scripts = {"CN=lost,DC=x": ["202_lost"], "CN=stuck,DC=x": ["202_stuck"], "CN=ok,DC=x": ["ok"]}
    books = await crowd.told(scripts, settings, between=2)
    assert books.of("CN=lost,DC=x") == ("unknown", "operation_lost", 1, False)
    assert books.of("CN=stuck,DC=x") == ("unknown", "operation_lost", 1, False)
    assert books.of("CN=ok,DC=x") == ("accepted", None, 1, False)


async def test_polls_that_meet_trouble_are_repeated(crowd: "Crowd") -> None:
    """A page, a broken connection, nonsense and a 500 say nothing about the message."""
    ledger = crowd.plan_people(1)
    async with Sandbox(slow_sends=SlowSends(polls=1)) as server:
        server.everybody = Fault.ACCEPTED_202
        trouble = [Fault.HTML_502, Fault.STATUS_500, Fault.GARBAGE, Fault.UNREADABLE_JSON, Fault.HTML_200]
        server.trouble[POLL] = [*trouble, Fault.STATUS_429]
        progress = await crowd.work(ledger, server.url, SETTINGS)
    books = crowd.books(ledger, progress, server.journal)
    assert books.count(State.ACCEPTED) == 1
    assert server.journal.total == 1


async def test_a_poll_that_hangs_keeps_no_other_back(crowd: "Crowd") -> None:
    settled: list[int] = []

    def note(message: "Message", _: "Attempt", decision: "Decision") -> None:
        if decision.state is not State.PROCESSING:
            settled.append(message.number)

    ledger = crowd.plan_people(30)
    async with Sandbox(slow_sends=SlowSends(polls=2)) as server:
        server.everybody = Fault.ACCEPTED_202
        server.trouble[POLL] = [Fault.STALL]
        settings = RunSettings(workers=16, adapt=False, timeout=3.0)
        async with crowd.engine(ledger, server.url, settings, on_settled=note) as run:
            working = asyncio.create_task(run.work())
            await crowd.until(lambda: len(settled) == 29)
            assert not working.done()
            progress = await working
    assert crowd.books(ledger, progress, server.journal).count(State.ACCEPTED) == 30


async def test_what_a_send_is_told_holds_the_polls(crowd: "Crowd") -> None:
    people = [f"CN={number},DC=x" for number in range(40)]
    scripts = {people[0]: [Fault.ACCEPTED_202_STUCK], people[20]: [Fault.STATUS_429_RETRY_AFTER]}
    ledger = crowd.plan([(who, "Outage.") for who in people])
    async with Sandbox(faults=FaultPlan.of(scripts), retry_after=2.0, latency=0.02) as server:
        await crowd.work(ledger, server.url, RunSettings(workers=2, timeout=5.0, poll_timeout=3.0))
    told = next(entry.clock for entry in server.journal.received if entry.recipient == people[20])
    polls = [call.clock - told for call in server.journal.called]
    assert any(after < 0 for after in polls)
    assert any(after > 2.0 for after in polls)
    assert [after for after in polls if 1.0 < after < 2.0] == [], "before that, what was on the wire already"


async def test_what_a_poll_is_told_holds_the_sends(crowd: "Crowd") -> None:
    people = [f"CN={number},DC=x" for number in range(300)]
    ledger = crowd.plan([(who, "Outage.") for who in people])
    async with Sandbox(faults=FaultPlan.of({people[0]: [Fault.ACCEPTED_202]}), latency=0.01) as server:
        server.trouble[POLL] = [Fault.STATUS_429_RETRY_AFTER]
        progress = await crowd.work(ledger, server.url, RunSettings(workers=4, timeout=5.0))
    assert crowd.books(ledger, progress, server.journal).count(State.ACCEPTED) == 300
    assert max(later - earlier for earlier, later in pairwise(server.journal.times)) >= 0.5


async def test_many_operations_that_are_lost_in_a_row_stop_the_run(crowd: "Crowd") -> None:
    """A server that knows nothing of what it took leaves everybody in doubt, one after another."""
    ledger = crowd.plan_people(300)
    async with Sandbox() as server:
        server.everybody = Fault.ACCEPTED_202_LOST
        progress = await crowd.work(ledger, server.url, RunSettings(workers=4, timeout=5.0))
    books = crowd.books(ledger, progress, server.journal)
    assert progress.stopped is Stop.DOUBT
    assert books.count(State.UNKNOWN) >= 20
    assert server.journal.total <= 20 + 10 * 4


async def test_a_server_that_stays_away_from_the_polls_stops_the_run_and_keeps_the_operations(crowd: "Crowd") -> None:
    ledger = crowd.plan_people(20)
    settings = RunSettings(workers=4, timeout=5.0, max_pause=0.3, poll_timeout=0.1)
    async with Sandbox() as server:
        server.everybody = Fault.ACCEPTED_202
        server.trouble[POLL] = [Fault.HTML_503] * 1000
        progress = await crowd.work(ledger, server.url, settings)
        books = crowd.books(ledger, progress, server.journal)
        assert progress.stopped is Stop.AWAY
        assert books.count(State.UNKNOWN) == 0
        assert books.count(State.PROCESSING) == server.journal.total
        assert server.journal.calls[POLL] < 10
        server.trouble[POLL] = []
        progress = await crowd.work(ledger, server.url, RunSettings(workers=4, timeout=5.0))
    assert crowd.books(ledger, progress, server.journal).count(State.ACCEPTED) == 20
    assert server.journal.total == 20


async def test_trouble_with_the_ledger_at_the_poller_is_told_as_such(
    crowd: "Crowd", monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = crowd.plan_people(3)
    async with Sandbox() as server, crowd.engine(ledger, server.url, SETTINGS) as run:
        trouble = LedgerTrouble("The disk is full.", hint="Make room.")
        monkeypatch.setattr(run._poller._earlier, "next", Mock(side_effect=trouble))
        with pytest.raises(LedgerTrouble, match="The disk is full"):
            await run.work()
    assert run.progress.stopped is Stop.LEDGER


async def test_a_poll_without_a_right_to_ask_stops_the_run_and_keeps_the_operation(crowd: "Crowd") -> None:
    ledger = crowd.plan_people(1)
    async with Sandbox() as server:
        server.everybody = Fault.ACCEPTED_202
        server.trouble[POLL] = [Fault.STATUS_401]
        progress = await crowd.work(ledger, server.url, SETTINGS)
        assert progress.stopped is Stop.UNAUTHORIZED
        assert crowd.books(ledger, progress, server.journal).count(State.PROCESSING) == 1
        progress = await crowd.work(ledger, server.url, SETTINGS)
    books = crowd.books(ledger, progress, server.journal)
    assert books.count(State.ACCEPTED) == 1
    assert server.journal.total == 1


async def test_operations_under_way_are_bounded(crowd: "Crowd", monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests in flight plus `processing` stay below ten for each worker, however many are slow."""
    most = 0

    def note(_: "Message", __: "Attempt", ___: "Decision") -> None:
        nonlocal most
        most = max(most, run.progress.settled[State.PROCESSING] - run.progress.settled[State.ACCEPTED])

    monkeypatch.setattr("bulksms.delivery.operation.FIRST_POLL", 0.1)
    ledger = crowd.plan_people(60)
    async with Sandbox(slow_sends=SlowSends(polls=1)) as server:
        server.everybody = Fault.ACCEPTED_202
        settings = RunSettings(workers=2, timeout=5.0)
        async with crowd.engine(ledger, server.url, settings, on_settled=note) as run:
            progress = await run.work()
    assert crowd.books(ledger, progress, server.journal).count(State.ACCEPTED) == 60
    assert 2 < most <= 20
