"""A run in a program: however its block is left, the ledger is true, and nothing of the process is touched."""

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import bulksms
from bulksms import ControlCommand, OpenRun, Outcome, RunSettings, State
from bulksms.api.outcomes import QUEUE_SIZE
from bulksms.engine.pool import OPERATIONS_PER_WORKER
from bulksms.ledger import Author
from bulksms.ledger.sqlite import database, remote_control
from bulksms.report.history import describe_runs
from bulksms.sandbox import Fault, FaultPlan, Sandbox
from tests.api.harness import open_run

if TYPE_CHECKING:
    from tests.api.harness import Agree, Planned

Where = Callable[[Sandbox], bulksms.Endpoint]
FAULTS = (Fault.RESULT_FAILED, Fault.STATUS_500, Fault.DROP_AFTER, Fault.STATUS_429, Fault.ACCEPTED_202)
EAGER = RunSettings(workers=8, adapt=False)
ANNA = Author("anna", "server-1", "bulksms stop")


# The outcomes


async def test_each_outcome_comes_once_as_the_ledger_has_it(
    planned: "Planned", endpoint: Where, agree: "Agree"
) -> None:
    ledger = planned(40, mark="[500]")
    async with Sandbox() as server, open_run(ledger, endpoint(server), EAGER) as run:
        seen = [outcome async for outcome in run.outcomes()]
    with bulksms.open_ledger(ledger) as reader:
        lines = {line.row: line for line in reader.messages()}
    assert sorted(outcome.row for outcome in seen) == sorted(lines)
    for outcome in seen:
        line = lines[outcome.row]
        assert (outcome.recipient, outcome.text, outcome.state) == (line.recipient, line.text, line.state)
        assert (outcome.reason, outcome.attempts, outcome.possible_duplicate) == (None, 2, True)
        assert outcome.http_status == line.http_status == 200
        assert outcome.latency_ms == pytest.approx(line.latency_ms)
    assert run.summary.counts[State.ACCEPTED] == 40
    assert run.summary.stopped is None
    agree(ledger, server.journal)


async def test_the_outcome_of_a_slow_send_comes_when_it_is_settled_and_not_before(
    planned: "Planned", endpoint: Where
) -> None:
    ledger = planned(3, mark="[202]")
    async with Sandbox() as server, open_run(ledger, endpoint(server), EAGER) as run:
        seen = [outcome.state async for outcome in run.outcomes()]
    assert seen == [State.ACCEPTED] * 3


async def test_a_failure_comes_with_its_reason_and_the_server_s_words(planned: "Planned", endpoint: Where) -> None:
    ledger = planned(1, mark="[result_failed]")
    async with Sandbox() as server, open_run(ledger, endpoint(server)) as run:
        (seen,) = [outcome async for outcome in run.outcomes()]
    assert (seen.state, seen.reason) == (State.FAILED, bulksms.Reason.REJECTED)
    assert seen.error


async def test_a_loop_that_does_not_keep_up_holds_the_run_back(
    planned: "Planned", endpoint: Where, agree: "Agree"
) -> None:
    ledger = planned(QUEUE_SIZE * 4)
    async with Sandbox() as server, open_run(ledger, endpoint(server), EAGER) as run:
        outcomes = run.outcomes()
        seen = [await anext(outcomes)]
        total = -1
        while total != server.journal.total:  # until nothing moves any more
            total = server.journal.total
            await asyncio.sleep(0.2)
        assert QUEUE_SIZE <= total <= QUEUE_SIZE + 1 + EAGER.workers
        assert run.pool.counters.done == total
        seen += [outcome async for outcome in outcomes]
    assert len({outcome.row for outcome in seen}) == len(seen) == QUEUE_SIZE * 4
    agree(ledger, server.journal)


async def test_slow_operations_of_a_loop_that_does_not_keep_up_wait_as_well(
    planned: "Planned", endpoint: Where, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bulksms.api.outcomes.QUEUE_SIZE", 4)
    ledger = planned(80, mark="[202]")
    async with Sandbox() as server, open_run(ledger, endpoint(server), replace(EAGER, workers=2)) as run:
        outcomes = run.outcomes()
        seen = [(await anext(outcomes)).row]
        await asyncio.sleep(1.0)
        assert run.pool.counters.done <= 1 + 4 + 2 + OPERATIONS_PER_WORKER * 2
        seen += [outcome.row async for outcome in outcomes]
    assert len(set(seen)) == 80


# How the block is left


async def test_a_break_drains_the_run(planned: "Planned", endpoint: Where, agree: "Agree") -> None:
    ledger = planned(200)
    async with Sandbox(latency=0.02) as server:
        async with open_run(ledger, endpoint(server), EAGER) as run:
            async for _ in run.outcomes():
                break
        assert server.journal.total <= 1 + 3 * EAGER.workers
        assert run.summary.stopped == bulksms.StopReason.INTERRUPTED
        assert run.summary.counts[State.ACCEPTED] == server.journal.total
        assert run.summary.counts[State.QUEUED] == 200 - server.journal.total
        agree(ledger, server.journal)
        async with open_run(ledger, endpoint(server), EAGER) as again:
            await again.work()
    assert again.summary.counts[State.ACCEPTED] == server.journal.total == 200
    agree(ledger, server.journal)


async def test_a_loop_that_was_left_without_asking_for_the_rest_holds_nobody(
    planned: "Planned", endpoint: Where, agree: "Agree"
) -> None:
    ledger = planned(QUEUE_SIZE * 3)
    async with Sandbox() as server, asyncio.timeout(60), open_run(ledger, endpoint(server), EAGER) as run:
        outcomes = run.outcomes()
        await anext(outcomes)
        while run.pool.counters.done <= QUEUE_SIZE:  # noqa: ASYNC110 - every worker now waits for room
            await asyncio.sleep(0.01)
    agree(ledger, server.journal)
    assert run.summary.stopped == "interrupted"


async def test_an_exception_in_the_block_comes_out_after_the_run_was_drained(
    planned: "Planned", endpoint: Where, agree: "Agree"
) -> None:
    ledger = planned(200)
    async with Sandbox(latency=0.02) as server:
        with pytest.raises(ZeroDivisionError):
            await send(ledger, endpoint(server), lambda outcome: outcome.row / 0)
        agree(ledger, server.journal)
    counts = bulksms.status(ledger).counts
    assert counts[State.ACCEPTED] == server.journal.total < 200
    assert counts[State.UNKNOWN] == 0


async def send(ledger: Path, where: bulksms.Endpoint, look: Callable[[Outcome], object] = id) -> None:
    """Send, and look at each outcome in the loop."""
    async with open_run(ledger, where, EAGER) as run:
        async for outcome in run.outcomes():
            look(outcome)


async def work(run: OpenRun) -> None:
    await run.work()


async def iterate(run: OpenRun) -> None:
    async for _ in run.outcomes():
        pass


async def sleep_in_the_loop(run: OpenRun) -> None:
    async for _ in run.outcomes():
        await asyncio.sleep(3_600)


WAYS = pytest.mark.parametrize("way", [work, iterate, sleep_in_the_loop])


@WAYS
async def test_cancelling_the_awaiting_task_drains(
    way: Callable[[OpenRun], Awaitable[None]], planned: "Planned", endpoint: Where, agree: "Agree"
) -> None:
    ledger = planned(200)

    async def go(where: bulksms.Endpoint) -> None:
        async with open_run(ledger, where, EAGER) as run:
            await way(run)

    async with Sandbox(latency=0.1) as server:
        task = asyncio.create_task(go(endpoint(server)))
        while server.journal.total < 20:  # noqa: ASYNC110 - no event tells of what a server has received
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        agree(ledger, server.journal)
    summary = bulksms.status(ledger)
    assert summary.stopped == "interrupted"
    assert summary.counts[State.UNKNOWN] == 0
    assert summary.counts[State.ACCEPTED] == server.journal.total < 200


async def test_a_second_cancellation_breaks_off_what_is_in_flight(
    planned: "Planned", endpoint: Where, agree: "Agree"
) -> None:
    ledger = planned(20)
    async with Sandbox(latency=3_600.0) as server:
        task = asyncio.create_task(send(ledger, endpoint(server)))
        while server.journal.total < 8:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.005)
        task.cancel()
        await asyncio.sleep(0.1)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        agree(ledger, server.journal)
    summary = bulksms.status(ledger)
    assert summary.counts[State.UNKNOWN] == 8
    assert summary.counts[State.QUEUED] == 12
    assert summary.stopped == "interrupted"


@pytest.mark.parametrize("again", [False, True])
async def test_a_cancellation_while_the_ledger_is_opened_leaves_it_closed(
    again: bool, planned: "Planned", endpoint: Where, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = planned(3)
    opened, opening = asyncio.Event(), asyncio.get_running_loop()
    really = database.open_for_run

    def slowly(*arguments: Any, **named: Any) -> Any:
        opening.call_soon_threadsafe(opened.set)
        time.sleep(0.2)
        return really(*arguments, **named)

    monkeypatch.setattr("bulksms.ledger.sqlite.database.open_for_run", slowly)
    async with Sandbox() as server:
        task = asyncio.create_task(send(ledger, endpoint(server)))
        await opened.wait()
        task.cancel()
        if again:
            await asyncio.sleep(0.05)
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert server.journal.total == 0
    with bulksms.open_ledger(ledger) as reader:
        assert not reader.counts().is_living
        assert [run.stopped for run in reader.runs()] == ["interrupted"]


async def test_a_scope_of_anyio_drains_too(planned: "Planned", endpoint: Where, agree: "Agree") -> None:
    ledger = planned(200)
    async with Sandbox(latency=0.1) as server:
        with anyio.move_on_after(0.25) as scope:
            async with open_run(ledger, endpoint(server), EAGER) as run:
                await run.work()
        assert scope.cancelled_caught
        agree(ledger, server.journal)
    assert bulksms.status(ledger).counts[State.UNKNOWN] == 0
    assert bulksms.status(ledger).counts[State.QUEUED] > 0


async def test_a_time_limit_inside_the_block_drains_at_once(
    planned: "Planned", endpoint: Where, agree: "Agree"
) -> None:
    ledger = planned(200)
    async with Sandbox(latency=0.05) as server:
        async with open_run(ledger, endpoint(server), EAGER) as run:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await run.work()
            drained = server.journal.total
            await asyncio.sleep(0.2)
            assert server.journal.total == drained < 200
        agree(ledger, server.journal)


async def test_stop_lets_the_loop_come_to_its_end(planned: "Planned", endpoint: Where, agree: "Agree") -> None:
    ledger = planned(200)
    seen = 0
    async with Sandbox(latency=0.02) as server, open_run(ledger, endpoint(server), EAGER) as run:
        async for _ in run.outcomes():
            seen += 1
            run.stop()
    assert seen == run.summary.counts[State.ACCEPTED] == server.journal.total
    agree(ledger, server.journal)


async def test_stop_now_breaks_off_what_is_in_flight(planned: "Planned", endpoint: Where) -> None:
    ledger = planned(20)
    async with Sandbox(latency=3_600.0) as server, open_run(ledger, endpoint(server), EAGER) as run:
        asyncio.get_running_loop().call_later(0.3, lambda: run.stop(now=True))
        seen = [outcome.state async for outcome in run.outcomes()]
    assert seen == [State.UNKNOWN] * 8


async def test_cancel_withdraws_what_is_queued(planned: "Planned", endpoint: Where, agree: "Agree") -> None:
    ledger = planned(200)
    async with Sandbox(latency=0.02) as server, open_run(ledger, endpoint(server), EAGER) as run:
        async for _ in run.outcomes():
            run.cancel()
    assert run.summary.counts[State.CANCELLED] == 200 - server.journal.total
    assert run.summary.counts[State.QUEUED] == 0
    agree(ledger, server.journal)


# What another shell wants


@pytest.mark.parametrize(
    ("commands", "unknown", "cancelled"),
    [
        ([ControlCommand.STOP], 0, 0),
        ([ControlCommand.CANCEL], 0, 12),
        ([ControlCommand.STOP_NOW], 8, 0),
        ([ControlCommand.STOP, ControlCommand.STOP], 8, 0),
        ([ControlCommand.STOP, ControlCommand.CANCEL], 8, 12),
    ],
)
async def test_the_run_of_a_program_follows_commands_of_another_shell(  # noqa: PLR0917 - the row, and what it needs
    commands: list[ControlCommand],
    unknown: int,
    cancelled: int,
    planned: "Planned",
    endpoint: Where,
    agree: "Agree",
) -> None:
    ledger = planned(20)
    heard: list[ControlCommand] = []

    def note(command: ControlCommand) -> None:
        heard.append(command)
        raise ValueError(command)

    async def send_commands(server: Sandbox) -> None:
        while server.journal.total < 8:  # noqa: ASYNC110 - no event tells of what a server has received
            await asyncio.sleep(0.005)
        for number, command in enumerate(commands, 1):
            remote_control.write_command(ledger, command, ANNA)
            while len(heard) < number:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.005)

    async with Sandbox(latency=1.0 if not unknown else 3_600.0) as server:
        async with open_run(ledger, endpoint(server), EAGER, bulksms.Hooks(on_command=note)) as run:
            await asyncio.gather(run.work(), send_commands(server))
        agree(ledger, server.journal)
    counts = run.summary.counts
    assert heard == commands
    assert (counts[State.UNKNOWN], counts[State.CANCELLED]) == (unknown, cancelled)
    assert counts[State.QUEUED] == 20 - 8 - cancelled
    assert not remote_control.control_path(ledger).exists()


async def test_a_command_that_is_older_than_the_run_is_not_followed(planned: "Planned", endpoint: Where) -> None:
    ledger = planned(3)
    remote_control.write_command(ledger, ControlCommand.STOP, ANNA)
    async with Sandbox() as server, open_run(ledger, endpoint(server)) as run:
        await run.work()
    assert run.summary.counts[State.ACCEPTED] == 3


# Whatever the program does


class Clumsy(Exception):
    """A mistake of the program."""


async def misuse(run: OpenRun, chance: random.Random) -> None:
    """Do something at some outcome that a program might do."""
    what = chance.choice(["break", "raise", "stop", "stop now", "cancel", "dawdle"])
    at = chance.randrange(1, 60)
    seen = 0
    async for _ in run.outcomes():
        seen += 1
        if what == "dawdle" and seen % 10 == 0:
            await asyncio.sleep(0.01)
        if seen != at:
            continue
        if what == "break":
            break
        if what == "raise":
            raise Clumsy
        if what != "dawdle":
            run.cancel() if what == "cancel" else run.stop(now=what == "stop now")


@pytest.mark.parametrize("case", range(8))
async def test_whatever_the_program_does_the_ledger_is_true_and_nobody_is_lost(
    case: int, planned: "Planned", endpoint: Where, agree: "Agree"
) -> None:
    chance = random.Random(random.getrandbits(32) + case)  # noqa: S311 - reported by pytest-randomly
    ledger = planned(120)
    faults = {f"CN=Person {number} ,DC=x": [chance.choice(FAULTS)] for number in chance.sample(range(120), 40)}
    settings = replace(EAGER, workers=chance.randrange(1, 24), keep_going=True)

    async def go(where: bulksms.Endpoint) -> None:
        async with open_run(ledger, where, settings) as run:
            await misuse(run, chance)

    async with Sandbox(faults=FaultPlan.of(faults), latency=(0.0, 0.02), retry_after=0.0) as server:
        task = asyncio.create_task(go(endpoint(server)))
        if case % 3 == 0:
            asyncio.get_running_loop().call_later(chance.uniform(0.0, 0.5), task.cancel)
        with suppress(Clumsy, asyncio.CancelledError):
            await task
        agree(ledger, server.journal)
        async with open_run(ledger, endpoint(server), settings) as run:
            await run.work()
        agree(ledger, server.journal)
    assert run.summary.counts[State.QUEUED] == run.summary.counts[State.PROCESSING] == 0
    assert all(server.journal.delivered(who) <= 2 for who in server.journal.recipients())


# What a run is about


async def test_a_block_that_does_nothing_sends_nothing(planned: "Planned", endpoint: Where) -> None:
    ledger = planned(3)
    async with Sandbox() as server, open_run(ledger, endpoint(server)) as run:
        assert run.counts_before.left == 3
        with pytest.raises(RuntimeError, match="when its block has ended"):
            _ = run.summary
    assert server.journal.total == 0
    assert run.summary.counts[State.QUEUED] == 3


async def test_a_run_works_once(planned: "Planned", endpoint: Where) -> None:
    ledger = planned(3)
    async with Sandbox() as server, open_run(ledger, endpoint(server)) as run:
        await run.work()
        for again in (work, iterate):
            with pytest.raises(RuntimeError, match="a run works once"):
                await again(run)
    assert server.journal.total == 3


# Hooks


async def test_a_hook_that_raises_loses_nothing(planned: "Planned", endpoint: Where, agree: "Agree") -> None:
    ledger = planned(50)
    hooked: list[int] = []

    def hook(outcome: Outcome) -> None:
        hooked.append(outcome.row)
        raise ValueError(outcome.recipient)

    async with (
        Sandbox() as server,
        open_run(ledger, endpoint(server), EAGER, bulksms.Hooks(on_settled=hook)) as run,
    ):
        seen = [outcome.row async for outcome in run.outcomes()]
    assert sorted(hooked) == sorted(seen) == list(range(1, 51))
    assert run.summary.counts[State.ACCEPTED] == 50
    agree(ledger, server.journal)


async def test_the_program_is_asked_after_canary_and_test(planned: "Planned", endpoint: Where) -> None:
    ledger = planned(10)
    asked: list[str] = []

    async def yes() -> bool:
        asked.append("test")
        return True

    async def no() -> bool:
        asked.append("canary")
        return False

    settings = RunSettings(canary=2, test_to="CN=Myself,DC=x")
    hooks = bulksms.Hooks(after_test=yes, after_canary=no)
    async with Sandbox() as server, open_run(ledger, endpoint(server), settings, hooks) as run:
        await run.work()
    assert asked == ["test", "canary"]
    assert run.stopped is bulksms.StopReason.CANARY_FAILED
    assert server.journal.total == 3


# Two in one loop, and what a run is about


async def test_two_runs_fit_in_one_loop(planned: "Planned", endpoint: Where, agree: "Agree") -> None:
    ledgers = [planned(150, "north.db"), planned(100, "south.db", mark="[result_failed]")]
    journals = []

    async def send_one(ledger: Path) -> OpenRun:
        async with Sandbox(latency=0.01) as server:
            journals.append(server.journal)
            async with open_run(ledger, endpoint(server), replace(EAGER, keep_going=True)) as run:
                seen = [outcome.state async for outcome in run.outcomes()]
            assert len(seen) == run.summary.total
            agree(ledger, server.journal)
            return run

    north, south = await asyncio.gather(*map(send_one, ledgers))
    assert north.summary.counts[State.ACCEPTED] == 150
    assert south.summary.counts[State.FAILED] == 100
    assert min(journal.times[-1] for journal in journals) > max(journal.times[0] for journal in journals)


async def test_a_second_run_on_the_same_ledger_is_refused(planned: "Planned", endpoint: Where) -> None:
    ledger = planned(3)
    async with Sandbox() as server, open_run(ledger, endpoint(server)) as run:
        with pytest.raises(bulksms.LedgerLockedError):
            async with open_run(ledger, endpoint(server)):
                pytest.fail("two runs on one ledger")
        await run.work()
    assert run.summary.counts[State.ACCEPTED] == 3


async def test_a_ledger_is_bound_to_its_first_server(planned: "Planned", endpoint: Where) -> None:
    ledger = planned(3)
    async with Sandbox() as server, Sandbox() as other:
        async with open_run(ledger, endpoint(server)) as run:
            run.stop()
        with pytest.raises(bulksms.PlanError, match="is bound to"):
            async with open_run(ledger, endpoint(other)):
                pytest.fail("another server")
        assert other.journal.total == 0


async def test_without_settings_those_of_the_last_run_hold(planned: "Planned", endpoint: Where) -> None:
    ledger = planned(3)
    deadline = bulksms.Deadline(at=time.time() + 3_600.0)
    first = RunSettings(workers=3, delivery=bulksms.DeliveryMode.AT_LEAST_ONCE, deadline=deadline)
    async with Sandbox() as server:
        async with open_run(ledger, endpoint(server), first, confirmed_by="cron", notes={"job": 7}):
            pass
        async with open_run(ledger, endpoint(server)) as run:
            await run.work()
    assert run.settings == first
    with bulksms.open_ledger(ledger) as reader:
        one, two = reader.runs()
    assert (one.confirmed_by, two.confirmed_by) == ("cron", "a program")
    assert one.settings["job"] == 7
    assert one.user == two.user != ""


async def test_a_user_without_a_name_is_kept_by_number(
    planned: "Planned", endpoint: Where, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(number: int) -> None:
        raise KeyError(number)

    monkeypatch.setattr("bulksms.system.pwd.getpwuid", nobody)
    monkeypatch.setenv("LOGNAME", "somebody-else")
    ledger = planned(1)
    async with Sandbox() as server, open_run(ledger, endpoint(server)):
        pass
    with bulksms.open_ledger(ledger) as reader:
        assert reader.runs()[0].user == f"user {os.getuid()}"


async def test_trouble_with_the_ledger_is_raised_and_nothing_more_is_sent(
    planned: "Planned", endpoint: Where, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = planned(200)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    def fill_the_disk(outcome: Outcome) -> None:
        if outcome.row == 20:
            monkeypatch.setattr("bulksms.ledger.sqlite.batch.write", full)

    async with Sandbox(latency=0.01) as server:
        with pytest.raises(bulksms.LedgerError, match="is full"):
            await send(ledger, endpoint(server), fill_the_disk)
        assert 20 <= server.journal.total < 60
        monkeypatch.undo()
        assert bulksms.status(ledger).counts[State.ACCEPTED] <= server.journal.total


async def test_a_run_that_an_internal_error_ends_is_recorded_as_such(
    planned: "Planned", endpoint: Where, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = planned(3)

    async def broken(*_: object) -> None:
        raise ZeroDivisionError

    async with Sandbox() as server:
        monkeypatch.setattr("bulksms.engine.worker.Worker.deliver", broken)
        with pytest.raises(ExceptionGroup):
            await send(ledger, endpoint(server))
    with bulksms.open_ledger(ledger) as reader:
        (described,) = describe_runs(reader)
    assert described.run.stopped == "internal_error"
    assert described.ending == "stopped (internal_error): an internal error of bulksms ended it"
    assert bulksms.status(ledger).exit_code == 70


async def test_an_exception_of_the_calling_program_interrupts_the_run(planned: "Planned", endpoint: Where) -> None:
    ledger = planned(3)
    async with Sandbox() as server:
        with pytest.raises(ZeroDivisionError):
            async with open_run(ledger, endpoint(server)):
                raise ZeroDivisionError
    with bulksms.open_ledger(ledger) as reader:
        assert reader.runs()[0].stopped == "interrupted"


async def test_a_run_that_cannot_watch_for_commands_is_recorded_as_ended(
    planned: "Planned", endpoint: Where, tmp_path: Path
) -> None:
    ledger = planned(3)
    (tmp_path / f"{ledger.name}.control").mkdir()
    async with Sandbox() as server:
        with pytest.raises(bulksms.LedgerError):
            async with open_run(ledger, endpoint(server)):
                pytest.fail("the control file cannot be removed")
    with bulksms.open_ledger(ledger) as reader:
        (run,) = reader.runs()
    assert run.ended_at is not None
    assert run.stopped == "ledger_error"


async def test_what_the_client_refuses_leaves_the_ledger_as_it_was(planned: "Planned", tmp_path: Path) -> None:
    ledger = planned(3)
    before = ledger.read_bytes()
    endpoint = bulksms.Endpoint.at(
        "https://adaxes.example/restApi", bulksms.AccessToken("sandbox"), ca_file=tmp_path / "missing.pem"
    )
    with pytest.raises(bulksms.UsageError):
        async with open_run(ledger, endpoint):
            pytest.fail("there is no such CA file")
    assert ledger.read_bytes() == before


@pytest.mark.parametrize("url", ["adaxes.example/restApi", "http://adaxes.example/restApi", "ftp://adaxes.example"])
def test_a_url_that_cannot_be_used_is_refused(url: str) -> None:
    with pytest.raises(bulksms.UsageError) as refused:
        bulksms.Endpoint.at(url, bulksms.AccessToken("sandbox"))
    assert refused.value.hint


def test_an_endpoint_is_what_people_write_and_shows_no_secret() -> None:
    endpoint = bulksms.Endpoint.at(
        "https://Adaxes.example/restApi/api/", bulksms.Account("me@x", "hidden"), proxy="proxy.example:8080"
    )
    assert endpoint.base_url == "https://adaxes.example/restApi"
    assert endpoint.proxy == "http://proxy.example:8080"
    assert endpoint.account == "me@x"
    assert "hidden" not in repr(endpoint)
