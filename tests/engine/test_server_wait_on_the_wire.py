"""`--server-wait`: a server that honours it, one that ignores it, one that refuses it."""

from typing import TYPE_CHECKING

import pytest

from bulksms.model.message import State
from bulksms.model.run_settings import RunSettings
from bulksms.sandbox import Sandbox, SlowSends, Wait

if TYPE_CHECKING:
    from tests.engine.harness import EngineHarness

PEOPLE = 40


@pytest.mark.parametrize("workers", [1, 8])
async def test_a_server_that_refuses_the_header_fails_nobody_and_is_asked_without_it(
    workers: int, harness: "EngineHarness"
) -> None:
    """Only the requests that were in flight meet the 400, and none of them loses its one attempt."""
    ledger = harness.plan_people(PEOPLE)
    settings = RunSettings(workers=workers, adapt=False, timeout=5.0, max_attempts=1)
    assert settings.adm_wait is not None
    async with Sandbox(slow_sends=SlowSends(wait=Wait.REFUSED), latency=0.01) as server:
        run = await harness.work(ledger, server.url, settings)
    record = harness.record(ledger, run, server.journal)
    assert record.count(State.ACCEPTED) == PEOPLE
    assert run.stopped is None
    refused = [entry for entry in server.journal.received if entry.status == 400]
    assert 1 <= len(refused) <= workers
    assert server.journal.total == PEOPLE + len(refused)
    assert not any(line.possible_duplicate for line in record.lines.values())


async def test_a_server_that_ignores_the_header_costs_nothing(harness: "EngineHarness") -> None:
    ledger = harness.plan_people(PEOPLE)
    async with Sandbox(slow_sends=SlowSends(wait=Wait.IGNORED)) as server:
        run = await harness.work(ledger, server.url, RunSettings(workers=4, timeout=5.0))
    record = harness.record(ledger, run, server.journal)
    assert record.count(State.ACCEPTED) == PEOPLE == server.journal.total


async def test_a_400_about_the_message_is_its_own_with_and_without_the_header(harness: "EngineHarness") -> None:
    for wait in (None, 0):
        name = f"people-{wait}.ledger.db"
        ledger = harness.plan([("CN=bad [400],DC=x", "Hi"), ("CN=good,DC=x", "Hi")], name)
        async with Sandbox() as server:
            run = await harness.work(ledger, server.url, RunSettings(workers=1, timeout=5.0, server_wait=wait))
        record = harness.record(ledger, run, server.journal)
        assert record.of("CN=bad [400],DC=x") == ("failed", "rejected", 1, False)
        assert record.of("CN=good,DC=x") == ("accepted", None, 1, False)
