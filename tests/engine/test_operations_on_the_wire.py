"""Slow sends: a 202 is followed to its end, also by another run, and never sent again."""

import asyncio
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest

from bulksms.errors import LedgerError
from bulksms.ledger import open_ledger
from bulksms.model.message import State
from bulksms.model.run_settings import DeliveryMode, RunSettings, StopReason
from bulksms.sandbox import Fault, FaultPlan, IdShape, Sandbox, SlowSends
from tests.engine.harness import SHORT

if TYPE_CHECKING:
    from pathlib import Path

    from bulksms.model.attempt import Attempt
    from bulksms.model.message import Message
    from bulksms.policy.retry import Decision
    from tests.engine.harness import EngineHarness

SETTINGS = RunSettings(workers=4, timeout=5.0, poll_timeout=30.0)
POLL = "GET /api/runningOperations/"


async def leave_processing(
    harness: "EngineHarness", ledger: "Path", url: str, settings: RunSettings, count: int
) -> None:
    """A run that is stopped with so many operations under way, none of which it has asked about."""
    never = replace(SHORT, first_poll=100.0, longest_poll_pause=100.0)
    async with harness.pool(ledger, url, settings, timings=never) as run:
        working = asyncio.create_task(run.work())
        await harness.until(lambda: run.counters.settled[State.PROCESSING] >= count)
        run.stop()
        await working


@pytest.mark.parametrize("shape", IdShape)
async def test_an_operation_is_polled_to_its_end_whatever_the_shape_of_its_id(
    shape: IdShape, harness: "EngineHarness"
) -> None:
    ends = {
        "CN=a,DC=x": "202",
        "CN=b,DC=x": "202_failed",
        "CN=c,DC=x": "202_suspended",
        "CN=d,DC=x": "202_poll_trouble",
    }
    record = await harness.run_scripted(
        {who: [fault] for who, fault in ends.items()}, SETTINGS, between=0, slow_sends=SlowSends(polls=3, shape=shape)
    )
    assert record.of("CN=a,DC=x") == ("accepted", None, 1, False)
    assert record.of("CN=b,DC=x") == ("failed", "rejected", 1, False)
    assert record.of("CN=c,DC=x") == ("awaiting_approval", None, 1, False)
    assert record.of("CN=d,DC=x") == ("accepted", None, 1, False)
    polls = [call for call in record.journal.called if call.status == 200]
    assert len(polls) == 4 * 3, "each was asked about until it was complete, and not once more"


async def test_a_server_that_takes_its_time_is_asked_as_the_header_says(harness: "EngineHarness") -> None:
    """`Adm-Wait`: after that the server answers 202 instead of letting the time-out run out."""
    settings = RunSettings(workers=4, timeout=30.0, server_wait=2, poll_timeout=30.0)
    ledger = harness.plan_people(2)
    async with Sandbox(latency=2.1) as server:
        run = await harness.work(ledger, server.url, settings)
    record = harness.record(ledger, run, server.journal)
    assert record.count(State.ACCEPTED) == 2
    assert server.journal.total == 2
    assert server.journal.calls[POLL] >= 2
    assert all(line.operation_id for line in record.lines.values())


async def test_a_slow_operation_does_not_occupy_a_worker(harness: "EngineHarness") -> None:
    settled: list[str] = []

    def note(message: "Message", _: "Attempt", decision: "Decision") -> None:
        if decision.state is not State.PROCESSING:
            settled.append(message.recipient)

    people = ["CN=slow,DC=x", *(f"CN={number},DC=x" for number in range(30))]
    ledger = harness.plan([(who, "Outage.") for who in people])
    settings = RunSettings(workers=1, timeout=5.0, poll_timeout=1.0)
    async with Sandbox(faults=FaultPlan.of({people[0]: [Fault.ACCEPTED_202_STUCK]})) as server:
        run = await harness.work(ledger, server.url, settings, on_settled=note)
    assert settled == [*people[1:], people[0]]
    record = harness.record(ledger, run, server.journal)
    assert record.of(people[0]) == ("unknown", "operation_lost", 1, False)


@pytest.mark.parametrize("mode", DeliveryMode)
async def test_a_resumed_run_asks_about_what_was_processing_and_sends_none_of_it_again(
    mode: DeliveryMode, harness: "EngineHarness"
) -> None:
    people = 25
    settings = RunSettings(workers=4, timeout=5.0, delivery=mode, poll_timeout=30.0)
    ledger = harness.plan_people(people)
    async with Sandbox(slow_sends=SlowSends(polls=2)) as server:
        server.everybody = Fault.ACCEPTED_202
        await leave_processing(harness, ledger, server.url, settings, people)
        assert server.journal.calls[POLL] == 0
        with open_ledger(ledger) as reader:
            assert reader.counts().counts[State.PROCESSING] == people
            assert all(line.operation_id for line in reader.messages())

        run = await harness.work(ledger, server.url, settings)

    record = harness.record(ledger, run, server.journal)
    assert server.journal.total == people
    assert record.count(State.ACCEPTED) == people
    assert server.journal.calls[POLL] == 2 * people


async def test_earlier_operations_are_asked_about_before_anything_new_is_sent(harness: "EngineHarness") -> None:
    ledger = harness.plan_people(12)
    settings = RunSettings(workers=2, timeout=5.0)
    async with Sandbox(latency=0.05) as server:
        server.everybody = Fault.ACCEPTED_202
        await leave_processing(harness, ledger, server.url, settings, 4)
        server.everybody = None
        before = len(server.journal.received)

        run = await harness.work(ledger, server.url, settings)

    record = harness.record(ledger, run, server.journal)
    assert record.count(State.ACCEPTED) == 12
    sends_to_the_second = server.journal.received[before:]
    assert server.journal.called[0].clock < sends_to_the_second[2].clock


async def test_earlier_operations_and_those_of_this_run_are_kept_apart(
    harness: "EngineHarness", monkeypatch: pytest.MonkeyPatch
) -> None:
    """More are left than are taken from the ledger at a time, and this run leaves its own between them."""
    monkeypatch.setattr("bulksms.engine.pool.OPERATIONS_AT_ONCE", 2)
    monkeypatch.setattr("bulksms.ledger.sqlite.writer.LEAST_AHEAD", 2)
    ledger = harness.plan_people(40)
    settings = RunSettings(workers=1, adapt=False, timeout=5.0)
    async with Sandbox(slow_sends=SlowSends(polls=3)) as server:
        server.everybody = Fault.ACCEPTED_202
        await leave_processing(harness, ledger, server.url, settings, 8)
        run = await harness.work(ledger, server.url, RunSettings(workers=8, adapt=False, timeout=5.0))
    assert harness.record(ledger, run, server.journal).count(State.ACCEPTED) == 40
    assert server.journal.total == 40
    assert server.journal.calls[POLL] == 3 * 40


@pytest.mark.parametrize("mode", DeliveryMode)
async def test_an_operation_that_the_server_lost_is_unknown_in_every_mode(
    mode: DeliveryMode, harness: "EngineHarness"
) -> None:
    settings = RunSettings(workers=4, timeout=5.0, delivery=mode, poll_timeout=0.3)
    scripts = {"CN=lost,DC=x": ["202_lost"], "CN=stuck,DC=x": ["202_stuck"], "CN=ok,DC=x": ["ok"]}
    record = await harness.run_scripted(scripts, settings, between=2)
    assert record.of("CN=lost,DC=x") == ("unknown", "operation_lost", 1, False)
    assert record.of("CN=stuck,DC=x") == ("unknown", "operation_lost", 1, False)
    assert record.of("CN=ok,DC=x") == ("accepted", None, 1, False)


async def test_polls_that_meet_trouble_are_repeated(harness: "EngineHarness") -> None:
    """A page, a broken connection, nonsense and a 500 say nothing about the message."""
    ledger = harness.plan_people(1)
    async with Sandbox(slow_sends=SlowSends(polls=1)) as server:
        server.everybody = Fault.ACCEPTED_202
        trouble = [Fault.HTML_502, Fault.STATUS_500, Fault.GARBAGE, Fault.UNREADABLE_JSON, Fault.HTML_200]
        server.trouble[POLL] = [*trouble, Fault.STATUS_429]
        run = await harness.work(ledger, server.url, SETTINGS)
    record = harness.record(ledger, run, server.journal)
    assert record.count(State.ACCEPTED) == 1
    assert server.journal.total == 1


async def test_a_poll_that_hangs_keeps_no_other_back(harness: "EngineHarness") -> None:
    settled: list[int] = []

    def note(message: "Message", _: "Attempt", decision: "Decision") -> None:
        if decision.state is not State.PROCESSING:
            settled.append(message.number)

    ledger = harness.plan_people(30)
    async with Sandbox(slow_sends=SlowSends(polls=2)) as server:
        server.everybody = Fault.ACCEPTED_202
        server.trouble[POLL] = [Fault.STALL]
        settings = RunSettings(workers=16, adapt=False, timeout=3.0)
        async with harness.pool(ledger, server.url, settings, on_settled=note) as run:
            working = asyncio.create_task(run.work())
            await harness.until(lambda: len(settled) == 29)
            assert not working.done()
            await working
    assert harness.record(ledger, run, server.journal).count(State.ACCEPTED) == 30


async def test_a_pause_that_a_send_was_asked_for_holds_the_polls(harness: "EngineHarness") -> None:
    people = [f"CN={number},DC=x" for number in range(40)]
    scripts = {people[0]: [Fault.ACCEPTED_202_STUCK], people[20]: [Fault.STATUS_429_RETRY_AFTER]}
    ledger = harness.plan([(who, "Outage.") for who in people])
    async with Sandbox(faults=FaultPlan.of(scripts), retry_after=2.0, latency=0.02) as server:
        await harness.work(ledger, server.url, RunSettings(workers=2, timeout=5.0, poll_timeout=3.0))
    asked_at = next(entry.clock for entry in server.journal.received if entry.recipient == people[20])
    polls = [call.clock - asked_at for call in server.journal.called]
    assert any(after < 0 for after in polls)
    assert any(after > 2.0 for after in polls)
    assert [after for after in polls if 1.0 < after < 2.0] == [], "before that, what was on the wire already"


async def test_a_pause_that_a_poll_was_asked_for_holds_the_sends(harness: "EngineHarness") -> None:
    people = [f"CN={number},DC=x" for number in range(300)]
    ledger = harness.plan([(who, "Outage.") for who in people])
    async with Sandbox(faults=FaultPlan.of({people[0]: [Fault.ACCEPTED_202]}), latency=0.01) as server:
        server.trouble[POLL] = [Fault.STATUS_429_RETRY_AFTER]
        run = await harness.work(ledger, server.url, RunSettings(workers=4, timeout=5.0))
    assert harness.record(ledger, run, server.journal).count(State.ACCEPTED) == 300
    assert max(later - earlier for earlier, later in pairwise(server.journal.times)) >= 0.5


async def test_many_operations_that_are_lost_in_a_row_stop_the_run(harness: "EngineHarness") -> None:
    """A server that knows nothing of what it took leaves everybody in doubt, one after another."""
    ledger = harness.plan_people(300)
    async with Sandbox() as server:
        server.everybody = Fault.ACCEPTED_202_LOST
        run = await harness.work(ledger, server.url, RunSettings(workers=4, timeout=5.0))
    record = harness.record(ledger, run, server.journal)
    assert run.stopped is StopReason.TOO_MANY_UNKNOWN
    assert record.count(State.UNKNOWN) >= 20
    assert server.journal.total <= 20 + 10 * 4


async def test_a_server_that_stays_away_from_the_polls_stops_the_run_and_keeps_the_operations(
    harness: "EngineHarness",
) -> None:
    ledger = harness.plan_people(20)
    settings = RunSettings(workers=4, timeout=5.0, max_outage=0.3, poll_timeout=0.1)
    async with Sandbox() as server:
        server.everybody = Fault.ACCEPTED_202
        server.trouble[POLL] = [Fault.HTML_503] * 1000
        run = await harness.work(ledger, server.url, settings)
        record = harness.record(ledger, run, server.journal)
        assert run.stopped is StopReason.SERVER_UNAVAILABLE
        assert record.count(State.UNKNOWN) == 0
        assert record.count(State.PROCESSING) == server.journal.total
        assert server.journal.calls[POLL] < 10
        server.trouble[POLL] = []
        run = await harness.work(ledger, server.url, RunSettings(workers=4, timeout=5.0))
    assert harness.record(ledger, run, server.journal).count(State.ACCEPTED) == 20
    assert server.journal.total == 20


async def test_trouble_with_the_ledger_at_the_poller_is_a_ledger_error(
    harness: "EngineHarness", monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = harness.plan_people(3)
    async with Sandbox() as server, harness.pool(ledger, server.url, SETTINGS) as run:
        trouble = LedgerError("The disk is full.", hint="Make room.")
        monkeypatch.setattr(run._poller, "_next_earlier", Mock(side_effect=trouble))
        with pytest.raises(LedgerError, match="The disk is full"):
            await run.work()
    assert run.stopped is StopReason.LEDGER_ERROR


async def test_a_poll_without_a_right_to_ask_stops_the_run_and_keeps_the_operation(harness: "EngineHarness") -> None:
    ledger = harness.plan_people(1)
    async with Sandbox() as server:
        server.everybody = Fault.ACCEPTED_202
        server.trouble[POLL] = [Fault.STATUS_401]
        run = await harness.work(ledger, server.url, SETTINGS)
        assert run.stopped is StopReason.UNAUTHORIZED
        assert harness.record(ledger, run, server.journal).count(State.PROCESSING) == 1
        run = await harness.work(ledger, server.url, SETTINGS)
    record = harness.record(ledger, run, server.journal)
    assert record.count(State.ACCEPTED) == 1
    assert server.journal.total == 1


async def test_operations_under_way_are_bounded(harness: "EngineHarness") -> None:
    """Requests in flight plus `processing` stay below ten for each worker, however many are slow."""
    most = 0

    def note(_: "Message", __: "Attempt", ___: "Decision") -> None:
        nonlocal most
        most = max(most, run.counters.settled[State.PROCESSING] - run.counters.settled[State.ACCEPTED])

    ledger = harness.plan_people(60)
    async with Sandbox(slow_sends=SlowSends(polls=1)) as server:
        server.everybody = Fault.ACCEPTED_202
        settings = RunSettings(workers=2, timeout=5.0)
        timings = replace(SHORT, first_poll=0.1)
        async with harness.pool(ledger, server.url, settings, on_settled=note, timings=timings) as run:
            await run.work()
    assert harness.record(ledger, run, server.journal).count(State.ACCEPTED) == 60
    assert 2 < most <= 20
