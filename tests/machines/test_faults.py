"""Every fault that several machines on one run can meet, judged by what the server received."""

import asyncio
import signal

import pytest

from bulksms.ledger import Author, ControlCommand, LedgerUrl
from bulksms.model.message import State
from bulksms.sandbox.postgresql import PostgresqlServer
from tests.machines.harness import LEASE, MESSAGES, Machines, Proxy, now, received_after

ANNA = Author("anna", "server-1", "--yes")

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no SIGSTOP and SIGKILL here")


async def test_three_machines_send_everything_once(machines: Machines) -> None:
    await machines.start(3)
    results = await machines.ended()
    assert {result["exit_code"] for result in results} == {0}
    assert sum(result["done"] for result in results) == MESSAGES
    facts = await machines.hold()
    assert facts.summary.counts[State.ACCEPTED] == MESSAGES


@pytest.mark.soak
async def test_a_machine_that_joins_late_takes_its_part(machines: Machines) -> None:
    await machines.start(1, "hesitate=0.5")
    await machines.until_received(20)
    await machines.start(1)
    results = await machines.ended()
    assert all(result["done"] for result in results)
    await machines.hold()


@pytest.mark.parametrize("killed", [1, 2])
async def test_the_others_go_on_when_machines_are_killed(machines: Machines, killed: int) -> None:
    started = await machines.start(3)
    await machines.until_received(60)
    for machine in started[:killed]:
        machine.signal(signal.SIGKILL)
    results = await machines.ended(*started[:killed])
    facts = await machines.hold(killed=killed)
    unknown = facts.summary.counts[State.UNKNOWN]
    assert {result["exit_code"] for result in results} == {4 if unknown else 0}
    assert facts.summary.counts[State.ACCEPTED] + unknown == MESSAGES


async def test_others_go_on_when_all_machines_are_killed(machines: Machines) -> None:
    started = await machines.start(2)
    await machines.until_received(60)
    for machine in started:
        machine.signal(signal.SIGKILL)
        machine.process.wait()
    await machines.start(1)
    await machines.ended(*started)
    facts = await machines.hold(killed=2)
    assert facts.summary.counts[State.QUEUED] == 0


async def test_a_machine_that_was_stopped_between_intent_and_request_sends_nothing_late(machines: Machines) -> None:
    asleep, _ = await machines.start(2, "hesitate=0.02")
    await machines.until_received(60)
    asleep.signal(signal.SIGSTOP)
    await asyncio.sleep(LEASE * 2.5)
    assert [tuple(row) for row in await machines.ask("SELECT fenced FROM machine WHERE run = 1")] == [(True,)]
    asleep.signal(signal.SIGCONT)
    await machines.ended()
    facts = await machines.hold()
    assert facts.summary.counts[State.ACCEPTED] == MESSAGES, "what was unknown is repaired"
    assert asleep.result["exit_code"] == 0


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_a_restart_of_the_database_costs_nothing(
    alone: Machines, own_server: PostgresqlServer, mode: str
) -> None:
    await alone.start(2)
    await alone.until_received(60)
    await asyncio.to_thread(own_server.stop, mode)
    await asyncio.sleep(0.3)
    await asyncio.to_thread(own_server.start)
    await alone.ended()
    facts = await alone.hold()
    assert facts.summary.counts[State.ACCEPTED] == MESSAGES


async def test_nothing_begins_while_the_database_is_away_and_nobody_is_fenced_for_it(
    alone: Machines, own_server: PostgresqlServer
) -> None:
    await alone.start(2)
    await alone.until_received(60)
    await asyncio.to_thread(own_server.stop)
    stopped = now()
    await asyncio.sleep(LEASE * 3)
    assert not [after for after in received_after(alone.server, stopped) if after > 1.0]
    await asyncio.to_thread(own_server.start)
    await alone.ended()
    facts = await alone.hold()
    assert facts.summary.counts[State.ACCEPTED] == MESSAGES
    assert [tuple(row) for row in await alone.ask("SELECT count(*) FROM machine WHERE run > 0")] == [(2,)]


@pytest.mark.parametrize("mode", ["hole", "half"])
async def test_a_machine_that_is_cut_off_is_fenced_and_repairs_when_it_is_back(
    machines: Machines, postgresql: PostgresqlServer, mode: str
) -> None:
    async with Proxy(postgresql.port) as proxy:
        through = LedgerUrl.parse(str(machines.url).replace(str(postgresql.port), str(proxy.port)))
        await machines.start(1, url=through)
        await machines.start(1)
        await machines.until_received(60)
        proxy.swallow(mode)
        await asyncio.sleep(LEASE * 3)
        proxy.cut()
        await machines.ended()
        facts = await machines.hold()
    assert facts.summary.counts[State.ACCEPTED] == MESSAGES


async def test_connections_that_are_reset_during_commits_cost_nothing(
    machines: Machines, postgresql: PostgresqlServer
) -> None:
    async with Proxy(postgresql.port) as proxy:
        through = LedgerUrl.parse(str(machines.url).replace(str(postgresql.port), str(proxy.port)))
        await machines.start(1, url=through)
        for count in range(20, 220, 20):
            await machines.until_received(count)
            proxy.swallow("half")
            await asyncio.sleep(0.05)
            proxy.cut()
        await machines.ended()
        facts = await machines.hold()
    assert facts.summary.counts[State.ACCEPTED] == MESSAGES


@pytest.mark.parametrize("command", [ControlCommand.STOP, ControlCommand.CANCEL])
async def test_a_command_from_anywhere_stops_every_machine_at_once(machines: Machines, command: ControlCommand) -> None:
    await machines.start(3)
    await machines.until_received(60)
    await asyncio.to_thread(machines.ledger.send_command, command, ANNA)
    commanded = now()
    results = await machines.ended()
    assert {result["exit_code"] for result in results} == {130}
    assert not [after for after in received_after(machines.server, commanded) if after > 1.0]
    facts = await machines.hold()
    assert facts.summary.counts[State.SENDING] == facts.summary.counts[State.UNKNOWN] == 0
    withdrawn = facts.summary.counts[State.CANCELLED]
    assert bool(withdrawn) == (command is ControlCommand.CANCEL)
    assert facts.summary.counts[State.ACCEPTED] + facts.summary.counts[State.QUEUED] + withdrawn == MESSAGES


@pytest.mark.soak
async def test_the_rate_holds_for_all_machines_together(machines: Machines) -> None:
    await machines.start(3, "rate=50.0")
    await machines.ended()
    times = machines.server.journal.times
    assert (len(times) - 1) / (times[-1] - times[0]) < 52
    for index in range(len(times) - 50):
        assert times[index + 50] - times[index] > 0.7, "fifty take a second"
    await machines.hold()
