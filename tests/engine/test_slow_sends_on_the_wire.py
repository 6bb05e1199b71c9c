"""Slow sends at their limits: how many at once, what is on disk before what, and what cannot be known."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bulksms.engine.poller import Poller
from bulksms.ledger import open_ledger
from bulksms.model.message import State
from bulksms.model.run_settings import RunSettings
from bulksms.sandbox import Fault, Sandbox, SlowSends
from bulksms.sandbox.answers import json_answer
from tests.engine.harness import SHORT

if TYPE_CHECKING:
    from aiohttp import web

    from bulksms.model.attempt import Attempt
    from bulksms.model.message import Message
    from bulksms.policy.retry import Decision
    from bulksms.sandbox.answers import Broken
    from tests.engine.harness import EngineHarness

POLL = "GET /api/runningOperations/"


@pytest.mark.parametrize("workers", [1, 2, 5])
async def test_what_is_in_flight_and_what_is_processing_stays_below_ten_a_worker(
    workers: int, harness: "EngineHarness", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while a poll is under way, which is when a place is free.

    The server finishes nothing until the bound was reached and every operation was asked about again after that.
    """
    people, places = 25 * workers, 9 * workers
    under_way: list[int] = []
    polls_when_full = 0

    def note(_: "Message", __: "Attempt", ___: "Decision") -> None:
        settled = run.counters.settled
        under_way.append(run.counters.attempts - sum(settled.values()) + settled[State.PROCESSING])

    def poll(name: str) -> "web.Response | Broken":
        nonlocal polls_when_full
        polls_when_full += len(server.journal.received) >= places
        return answer(name) if polls_when_full > 2 * places else json_answer(200, b'{"completed":false}')

    ledger = harness.plan_people(people)
    async with Sandbox(slow_sends=SlowSends(polls=1)) as server:
        server.everybody = Fault.ACCEPTED_202
        answer = server._operations.poll
        monkeypatch.setattr(server._operations, "poll", poll)
        settings = RunSettings(workers=workers, adapt=False, timeout=5.0, poll_timeout=60.0)
        async with harness.pool(
            ledger, server.url, settings, on_settled=note, timings=replace(SHORT, first_poll=0.0)
        ) as run:
            await run.work()
    assert harness.record(ledger, run, server.journal).count(State.ACCEPTED) == people
    assert places - 1 <= max(under_way) < 10 * workers


async def test_the_operation_is_on_disk_before_anybody_asks_about_it(
    harness: "EngineHarness", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process, which sees only what is on disk, finds the id when the poller begins to watch it."""
    ledger = harness.plan_people(20)
    seen: list[bool] = []
    watch = Poller.watch

    def watched(poller: Poller, message: "Message", *, polls: int = 0) -> None:
        with open_ledger(Path(ledger)) as reader:
            line = next(line for line in reader.messages() if line.row == message.row)
        seen.append(line.state is State.PROCESSING and line.operation_id == message.operation_id is not None)
        watch(poller, message, polls=polls)

    monkeypatch.setattr(Poller, "watch", watched)
    async with Sandbox() as server:
        server.everybody = Fault.ACCEPTED_202
        run = await harness.work(ledger, server.url, RunSettings(workers=4, timeout=5.0))
    assert harness.record(ledger, run, server.journal).count(State.ACCEPTED) == 20
    assert seen == [True] * 20


async def test_a_202_without_an_id_is_unknown_and_never_sent_again(harness: "EngineHarness") -> None:
    record = await harness.run_scripted({"CN=a,DC=x": ["202_no_id"]}, RunSettings(workers=2, timeout=5.0), between=3)
    assert record.of("CN=a,DC=x") == ("unknown", "no_answer", 1, False)


async def test_polls_keep_longer_and_longer_intervals(harness: "EngineHarness") -> None:
    timings = replace(SHORT, first_poll=0.05, longest_poll_pause=0.2)
    ledger = harness.plan_people(1)
    async with Sandbox(slow_sends=SlowSends(polls=6)) as server:
        server.everybody = Fault.ACCEPTED_202
        run = await harness.work(ledger, server.url, RunSettings(workers=1, timeout=5.0), timings=timings)
    assert harness.record(ledger, run, server.journal).count(State.ACCEPTED) == 1
    times = [server.journal.received[0].clock, *(call.clock for call in server.journal.called)]
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert len(pauses) == 6
    for pause, least in zip(pauses, (0.05, 0.075, 0.1125, 0.16875, 0.2, 0.2), strict=True):
        assert pause >= least - 0.002
