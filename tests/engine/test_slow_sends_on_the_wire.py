"""Slow sends at their limits: how many at once, what is on disk before what, and what cannot be known."""

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bulksms.config import RunSettings
from bulksms.engine.poller import Poller
from bulksms.ledger.reader import LedgerReader
from bulksms.message import State
from bulksms.sandbox import Fault, Sandbox, SlowSends
from bulksms.sandbox.answers import json_answer

if TYPE_CHECKING:
    from aiohttp import web

    from bulksms.attempt import Attempt
    from bulksms.delivery.retry import Decision
    from bulksms.message import Message
    from bulksms.sandbox.broken import Broken
    from tests.engine.conftest import Crowd

POLL = "GET /api/runningOperations/"


@pytest.mark.parametrize("workers", [1, 2, 5])
async def test_what_is_in_flight_and_what_is_processing_stays_below_ten_a_worker(
    workers: int, crowd: "Crowd", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while a poll is under way, which is when a place is free.

    The server finishes nothing until the bound was reached and every operation was asked about again after that.
    """
    monkeypatch.setattr("bulksms.delivery.operation.FIRST_POLL", 0.0)
    people, places = 25 * workers, 9 * workers
    under_way: list[int] = []
    polls_when_full = 0

    def note(_: "Message", __: "Attempt", ___: "Decision") -> None:
        progress = run.progress
        under_way.append(progress.attempts - sum(progress.settled.values()) + progress.settled[State.PROCESSING])

    def poll(name: str) -> "web.Response | Broken":
        nonlocal polls_when_full
        polls_when_full += len(server.journal.received) >= places
        return answer(name) if polls_when_full > 2 * places else json_answer(200, b'{"completed":false}')

    ledger = crowd.plan_people(people)
    async with Sandbox(slow_sends=SlowSends(polls=1)) as server:
        server.everybody = Fault.ACCEPTED_202
        answer = server._operations.poll
        monkeypatch.setattr(server._operations, "poll", poll)
        settings = RunSettings(workers=workers, adapt=False, timeout=5.0, poll_timeout=60.0)
        async with crowd.engine(ledger, server.url, settings, on_settled=note) as run:
            progress = await run.work()
    assert crowd.books(ledger, progress, server.journal).count(State.ACCEPTED) == people
    assert places - 1 <= max(under_way) < 10 * workers


async def test_the_operation_is_on_disk_before_anybody_asks_about_it(
    crowd: "Crowd", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process, which sees only what is on disk, finds the id when the poller is told of it."""
    ledger = crowd.plan_people(20)
    seen: list[bool] = []
    watch = Poller.watch

    def watched(poller: Poller, message: "Message", *, polls: int = 0) -> None:
        with LedgerReader(Path(ledger)) as reader:
            line = next(line for line in reader.lines() if line.row == message.row)
        seen.append(line.state is State.PROCESSING and line.operation_id == message.operation_id is not None)
        watch(poller, message, polls=polls)

    monkeypatch.setattr(Poller, "watch", watched)
    async with Sandbox() as server:
        server.everybody = Fault.ACCEPTED_202
        progress = await crowd.work(ledger, server.url, RunSettings(workers=4, timeout=5.0))
    assert crowd.books(ledger, progress, server.journal).count(State.ACCEPTED) == 20
    assert seen == [True] * 20


async def test_a_202_without_an_id_is_unknown_and_never_sent_again(crowd: "Crowd") -> None:
    books = await crowd.told({"CN=a,DC=x": ["202_no_id"]}, RunSettings(workers=2, timeout=5.0), between=3)
    assert books.of("CN=a,DC=x") == ("unknown", "lost_answer", 1, False)


async def test_polls_keep_longer_and_longer_intervals(crowd: "Crowd", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulksms.delivery.operation.FIRST_POLL", 0.05)
    monkeypatch.setattr("bulksms.delivery.operation.LONGEST_PAUSE", 0.2)
    ledger = crowd.plan_people(1)
    async with Sandbox(slow_sends=SlowSends(polls=6)) as server:
        server.everybody = Fault.ACCEPTED_202
        progress = await crowd.work(ledger, server.url, RunSettings(workers=1, timeout=5.0))
    assert crowd.books(ledger, progress, server.journal).count(State.ACCEPTED) == 1
    times = [server.journal.received[0].clock, *(call.clock for call in server.journal.called)]
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert len(pauses) == 6
    for pause, least in zip(pauses, (0.05, 0.075, 0.1125, 0.16875, 0.2, 0.2), strict=True):
        assert pause >= least - 0.002
