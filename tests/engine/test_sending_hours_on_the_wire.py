"""Sending hours: outside of them nothing leaves; when they end, the run drains and what is left stays queued."""

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from bulksms.ledger import open_ledger
from bulksms.model.message import State
from bulksms.model.run_settings import RunSettings, StopReason
from bulksms.sandbox import Sandbox
from bulksms.system import SYSTEM, System

if TYPE_CHECKING:
    from tests.engine.harness import EngineHarness


def system_at(hour: int, minute: int, second: int = 0) -> System:
    """A clock that begins at this time of day, in a place whose local time is UTC."""
    begins = datetime(2026, 11, 29, hour, minute, second, tzinfo=UTC).timestamp()
    started = time.monotonic()
    return replace(
        SYSTEM,
        now=lambda: begins + time.monotonic() - started,
        local=lambda at: at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC),
    )


@pytest.mark.parametrize("hour", [7, 20])
async def test_outside_the_hours_nothing_leaves_and_all_stays_queued(harness: "EngineHarness", hour: int) -> None:
    ledger = harness.plan_people(5)
    async with Sandbox() as server:
        run = await harness.work(ledger, server.url, RunSettings(hours="08:00-20:00"), system=system_at(hour, 30))
        assert server.journal.total == 0
    assert run.stopped is StopReason.OUTSIDE_HOURS
    with open_ledger(ledger) as reader:
        assert reader.counts().counts[State.QUEUED] == 5


async def test_at_the_end_of_the_hours_answers_are_awaited_and_the_rest_stays_queued(harness: "EngineHarness") -> None:
    ledger = harness.plan_people(400)
    settings = RunSettings(workers=2, adapt=False, rate=20.0, hours="08:00-20:00")
    async with Sandbox(latency=0.05) as server:
        run = await harness.work(ledger, server.url, settings, system=system_at(19, 59, 59))
        received = server.journal.total
    assert run.stopped is StopReason.OUTSIDE_HOURS
    with open_ledger(ledger) as reader:
        counts = reader.counts().counts
    assert 0 < counts[State.ACCEPTED] == received < 400
    assert counts[State.ACCEPTED] + counts[State.QUEUED] == 400


async def test_within_the_hours_a_run_ends_as_any_other(harness: "EngineHarness") -> None:
    ledger = harness.plan_people(5)
    async with Sandbox() as server:
        run = await harness.work(ledger, server.url, RunSettings(hours="08:00-20:00"), system=system_at(12, 0))
        assert server.journal.total == 5
    assert run.stopped is None
