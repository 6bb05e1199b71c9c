"""What a worker owes the whole run: nothing leaves while everybody is paused, and the counters add up."""

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bulksms.model.message import State
from bulksms.model.run_settings import Deadline, RunSettings, StopReason
from bulksms.sandbox import Fault, FaultPlan, Sandbox
from bulksms.system import SYSTEM
from tests.engine.harness import SHORT, person

if TYPE_CHECKING:
    from bulksms.model.attempt import Attempt
    from bulksms.model.message import Message
    from bulksms.policy.retry import Decision
    from tests.engine.harness import EngineHarness


async def test_a_request_does_not_leave_if_everybody_is_paused_while_its_intent_is_written(
    harness: "EngineHarness", monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = harness.plan_people(2)
    faults = FaultPlan.of({person(0): [Fault.STATUS_503_RETRY_AFTER]})
    async with Sandbox(faults=faults, retry_after=60.0) as server:
        async with harness.pool(ledger, server.url, RunSettings(workers=2)) as pool:
            writer = pool._ledger
            record_intent = writer.record_intent

            def record_slowly(message: "Message", now: float) -> "asyncio.Future[bool]":
                on_disk = record_intent(message, now)
                return on_disk if message.recipient == person(0) else asyncio.ensure_future(after_the_pause(on_disk))

            async def after_the_pause(on_disk: "asyncio.Future[bool]") -> bool:
                is_begun = await on_disk
                await harness.until(lambda: pool.status().paused_for is not None)
                return is_begun

            monkeypatch.setattr(writer, "record_intent", record_slowly)
            working = asyncio.create_task(pool.work())
            await harness.until(lambda: pool.status().paused_for is not None)
            await asyncio.sleep(0.1)
            pool.stop()
            await working
        record = harness.record(ledger, pool, server.journal)
    assert record.of(person(0)) == ("queued", None, 1, False)
    assert record.of(person(1)) == ("queued", None, 0, False)
    assert record.lines[person(1)].attempts == 1


async def test_while_the_server_is_unavailable_the_queued_rows_are_its_probes_in_turn(harness: "EngineHarness") -> None:
    ledger = harness.plan_people(40)
    async with Sandbox() as server:
        server.everybody = Fault.HTML_503
        async with harness.pool(ledger, server.url, RunSettings(workers=2)) as pool:
            working = asyncio.create_task(pool.work())
            await harness.until(lambda: server.journal.total >= 24)
            server.everybody = None
            await working
        record = harness.record(ledger, pool, server.journal)
        probes = [entry.recipient for entry in server.journal.received[12:24]]
    assert len(set(probes)) == len(probes), "no recipient is a probe twice before the others were"
    assert record.count(State.ACCEPTED) == 40


async def test_a_request_that_was_cancelled_while_its_intent_was_written_has_not_been_sent(
    harness: "EngineHarness",
) -> None:
    ledger = harness.plan_people(3)
    async with Sandbox() as server, harness.pool(ledger, server.url, RunSettings(workers=1)) as pool:
        message, *_ = await pool._ledger.claim(State.QUEUED, 0, 10)
        recording = asyncio.create_task(pool._recorder.record_intent(message))
        await asyncio.sleep(0)
        recording.cancel()
        with pytest.raises(asyncio.CancelledError):
            await recording
        await pool._ledger.flush()
        await pool.work()
    record = harness.record(ledger, pool, server.journal)
    assert record.count(State.ACCEPTED) == 3
    assert record.lines[message.recipient].attempts == 2
    assert server.journal.total == 3


async def test_what_is_processing_is_not_counted_once_it_is_settled(harness: "EngineHarness") -> None:
    ledger = harness.plan_people(6)
    async with Sandbox() as server:
        server.everybody = Fault.ACCEPTED_202
        pool = await harness.work(ledger, server.url, RunSettings(workers=2, timeout=5.0))
    assert pool.counters.settled[State.PROCESSING] == 0
    assert pool.counters.settled[State.ACCEPTED] == pool.counters.done == 6


async def test_what_was_not_sent_by_the_deadline_has_expired(harness: "EngineHarness") -> None:
    ledger = harness.plan_people(200)
    settings = RunSettings(workers=4, deadline=Deadline(after=1.0))
    async with Sandbox(latency=0.2) as server:
        pool = await harness.work(ledger, server.url, settings)
    record = harness.record(ledger, pool, server.journal)
    assert pool.stopped is StopReason.DEADLINE
    assert record.count(State.EXPIRED) == 200 - record.count(State.ACCEPTED) > 0
    assert record.count(State.ACCEPTED) == server.journal.total > 0


async def test_a_message_that_waits_for_its_next_attempt_occupies_no_worker(harness: "EngineHarness") -> None:
    ledger = harness.plan_people(60)
    longest, timings = replace(SYSTEM, random=lambda: 0.999), replace(SHORT, backoff_base=0.2, backoff_cap=0.2)
    async with Sandbox(faults=FaultPlan.of({person(0): [Fault.STATUS_408]})) as server:
        pool = await harness.work(ledger, server.url, RunSettings(workers=1), system=longest, timings=timings)
    record = harness.record(ledger, pool, server.journal)
    assert record.count(State.ACCEPTED) == 60
    first, second = (place for place, entry in enumerate(server.journal.received) if entry.recipient == person(0))
    assert second - first > 5, "others went in between, with the one worker there is"


async def test_an_attempt_after_a_doubtful_one_is_reported_as_a_possible_duplicate(harness: "EngineHarness") -> None:
    ledger, reported = harness.plan_people(40), {}

    def on_settled(message: "Message", _: "Attempt", __: "Decision") -> None:
        reported[message.recipient] = message.possible_duplicate

    async with Sandbox(faults=FaultPlan.of({person(20): [Fault.STATUS_500]})) as server:
        pool = await harness.work(ledger, server.url, RunSettings(workers=4), on_settled=on_settled)
    record = harness.record(ledger, pool, server.journal)
    assert record.of(person(20)) == ("accepted", None, 2, True)
    assert {recipient for recipient, possible in reported.items() if possible} == {person(20)}


async def test_the_attempts_of_a_message_are_numbered_from_one(harness: "EngineHarness") -> None:
    ledger = harness.plan_people(40)
    scripts = {person(3): [Fault.STATUS_408, Fault.STATUS_425], person(20): [Fault.STATUS_429, Fault.STATUS_429]}
    async with Sandbox(faults=FaultPlan.of(scripts), retry_after=0.0) as server:
        await harness.work(ledger, server.url, RunSettings(workers=1))
    with closing(sqlite3.connect(ledger)) as connection:
        rows = connection.execute(
            "SELECT recipient, attempt, attempts, tries FROM message JOIN attempt ON message = number ORDER BY attempt"
        ).fetchall()
    assert [row[1:3] for row in rows if row[0] == person(3)] == [(1, 3), (2, 3), (3, 3)]
    assert [row[1:] for row in rows if row[0] == person(20)] == [(1, 3, 1), (2, 3, 1), (3, 3, 1)], "being throttled"
    assert {row[1:] for row in rows if row[0] not in scripts} == {(1, 1, 1)}


async def test_a_refusal_that_was_held_back_is_one_error_once_it_is_settled(harness: "EngineHarness") -> None:
    ledger = harness.plan_people(10)
    scripts = {person(0): [Fault.STATUS_404], person(1): [Fault.STATUS_404]}
    async with Sandbox(faults=FaultPlan.of(scripts)) as server:
        pool = await harness.work(ledger, server.url, RunSettings(workers=1))
    assert harness.record(ledger, pool, server.journal).count(State.FAILED) == 2
    assert [count for _, count in pool.status().errors] == [2]
