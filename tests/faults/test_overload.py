"""Overload and lost answers, with the program as a process of its own and its real waits."""

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from bulksms.model.message import State
from bulksms.sandbox import Away, FaultPlan, Sandbox

if TYPE_CHECKING:
    from tests.faults.harness import FaultHarness

LATENCY = 0.2
ON_THE_WIRE = 1.0
"""Seconds after which a request that had left by then has been received, however busy the machine is."""
BUSY = 0.5
"""Seconds that a busy machine may receive a request later than it left, and the next one at once."""


async def test_one_429_with_retry_after_silences_64_workers_that_then_leave_by_the_rate(
    harness: "FaultHarness",
) -> None:
    harness.write_people(400)
    unlucky, pause = "CN=Person 150,OU=Staff,DC=example,DC=com", 5.0
    plan = FaultPlan.of({unlucky: ["429_retry_after"]})
    async with Sandbox(faults=plan, latency=LATENCY, retry_after=pause) as server:
        ended = await harness.send(server.url, "--workers", "64", "--no-adapt")
    assert ended.code == 0, ended.talk
    assert {line.state for line in harness.agree(server.journal).values()} == {State.ACCEPTED}
    journal = server.journal
    throttled = next(entry.clock for entry in journal.received if entry.recipient == unlucky)
    closed = throttled + LATENCY
    assert journal.between(throttled, closed) >= 1
    assert journal.between(closed + ON_THE_WIRE, closed + pause) == 0
    assert journal.between(closed, closed + ON_THE_WIRE) < 64
    after = [moment for moment in journal.times if moment >= closed + pause]
    assert after[63] - after[0] >= LATENCY / 2, "by the rate that the server took, and not all that were held at once"


@pytest.mark.parametrize("workers", [1, 16])
@pytest.mark.parametrize("how", Away)
async def test_a_server_that_is_away_for_seconds_is_ridden_out(
    how: Away, workers: int, harness: "FaultHarness"
) -> None:
    harness.write_people(40 * workers)
    async with Sandbox(latency=0.02) as server, asyncio.TaskGroup() as tasks:

        async def restart() -> int:
            await harness.until(lambda: server.journal.total >= 15)
            await server.go_away(how)
            before = server.journal.total
            await asyncio.sleep(2.0)
            asked = server.journal.total - before
            await server.come_back()
            return asked

        restarted = tasks.create_task(restart())
        ended = await harness.send(server.url, "--workers", str(workers), "--delivery", "at-most-once")
    lines = harness.agree(server.journal)
    unknown = [line for line in lines.values() if line.state is State.UNKNOWN]
    # Those whose connection it closed in the middle of their exchange.
    assert len(unknown) <= (workers if how is Away.REFUSED else 0)
    assert ended.code == (4 if unknown else 0), ended.talk
    assert sum(line.state is State.ACCEPTED for line in lines.values()) == len(lines) - len(unknown)
    assert restarted.result() <= workers + 40


async def test_the_rate_is_not_exceeded_however_many_workers_wait(harness: "FaultHarness") -> None:
    harness.write_people(60)
    async with Sandbox(latency=0.02) as server:
        ended = await harness.send(server.url, "--workers", "64", "--no-adapt", "--rate", "2400/min")
    assert ended.code == 0, ended.talk
    times = server.journal.times
    for reach in (40, 59):
        assert all(times[place + reach] - times[place] >= reach / 40 - BUSY for place in range(60 - reach))
    assert any(later - earlier >= 0.5 / 40 for earlier, later in pairwise(times))


@pytest.mark.parametrize("delivery", ["balanced", "at-least-once"])
async def test_missing_answers_make_no_uncounted_duplicate(delivery: str, harness: "FaultHarness") -> None:
    harness.write_people(800)
    shares = {"drop_after": 0.01, "reset_after": 0.005, "truncated": 0.005}
    async with Sandbox(faults=FaultPlan.by_share(shares)) as server:
        ended = await harness.send(server.url, "--delivery", delivery)
        journal = server.journal
    lines = harness.agree(journal)
    lost = sum(entry.fault is not None for entry in journal.received)
    assert lost >= 8
    twice = {recipient for recipient in journal.recipients() if journal.delivered(recipient) > 1}
    if delivery == "balanced":
        assert ended.code == 4, ended.talk
        assert not twice
        assert sum(line.state is State.UNKNOWN for line in lines.values()) == lost
    else:
        assert ended.code == 0, ended.talk
        assert twice == {line.recipient for line in lines.values() if line.possible_duplicate}
        assert len(twice) == lost
        assert f"{lost} may have been sent twice" in ended.output
