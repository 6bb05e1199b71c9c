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
from bulksms import OpenRun, Outcome, RunSettings, State, Wish
from bulksms.engine.run import OPERATIONS
from bulksms.ledger import control, file
from bulksms.library.outcomes import ROOM
from bulksms.sandbox import Fault, FaultPlan, Sandbox

if TYPE_CHECKING:
    from tests.library.conftest import Agree, Planned

Where = Callable[[Sandbox], bulksms.Endpoint]
FAULTS = (Fault.RESULT_FAILED, Fault.STATUS_500, Fault.DROP_AFTER, Fault.STATUS_429, Fault.ACCEPTED_202)
EAGER = RunSettings(workers=8, adapt=False)


# The outcomes


async def test_each_message_is_told_once_as_the_ledger_has_it(
    planned: "Planned", endpoint: Where, agree: "Agree"
) -> None:
    ledger = planned(40, mark="[500]")
    async with Sandbox() as server, bulksms.open_run(ledger, endpoint(server), EAGER) as run:
        told = [outcome async for outcome in run.outcomes()]
    with bulksms.LedgerReader(ledger) as reader:
        lines = {line.row: line for line in reader.lines()}
    assert sorted(outcome.row for outcome in told) == sorted(lines)
    for outcome in told:
        line = lines[outcome.row]
        assert (outcome.recipient, outcome.text, outcome.state) == (line.recipient, line.text, line.state)
        assert (outcome.reason, outcome.attempts, outcome.may_have_sent_twice) == (None, 2, True)
        assert outcome.http_status == line.http_status == 200
        assert outcome.latency_ms == pytest.approx(line.latency_ms)
    assert run.summary.counts[State.ACCEPTED] == 40
    assert run.summary.stopped is None
    agree(ledger, server.journal)


async def test_a_slow_send_is_told_when_it_is_settled_and_not_before(planned: "Planned", endpoint: Where) -> None:
    ledger = planned(3, mark="[202]")
    async with Sandbox() as server, bulksms.open_run(ledger, endpoint(server), EAGER) as run:
        told = [outcome.state async for outcome in run.outcomes()]
    assert told == [State.ACCEPTED] * 3


async def test_what_failed_is_told_with_its_reason_and_the_server_s_words(planned: "Planned", endpoint: Where) -> None:
    ledger = planned(1, mark="[result_failed]")
    async with Sandbox() as server, bulksms.open_run(ledger, endpoint(server)) as run:
        (told,) = [outcome async for outcome in run.outcomes()]
    assert (told.state, told.reason) == (State.FAILED, bulksms.Reason.REFUSED)
    assert told.error


async def test_a_loop_that_does_not_keep_up_holds_the_run_back(
    planned: "Planned", endpoint: Where, agree: "Agree"
) -> None:
    ledger = planned(ROOM * 4)
    async with Sandbox() as server, bulksms.open_run(ledger, endpoint(server), EAGER) as run:
        outcomes = run.outcomes()
        seen = [await anext(outcomes)]
        total = -1
        while total != server.journal.total:  # until nothing moves any more
            total = server.journal.total
            await asyncio.sleep(0.2)
        assert ROOM <= total <= ROOM + 1 + EAGER.workers
        assert run.progress.done == total
        seen += [outcome async for outcome in outcomes]
    assert len({outcome.row for outcome in seen}) == len(seen) == ROOM * 4
    agree(ledger, server.journal)


async def test_slow_operations_of_a_loop_that_does_not_keep_up_wait_as_well(
    planned: "Planned", endpoint: Where, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bulksms.library.outcomes.ROOM", 4)
    ledger = planned(80, mark="[202]")
    async with Sandbox() as server, bulksms.open_run(ledger, endpoint(server), replace(EAGER, workers=2)) as run:
        outcomes = run.outcomes()
        told = [(await anext(outcomes)).row]
        await asyncio.sleep(1.0)
        assert run.progress.done <= 1 + 4 + 2 + OPERATIONS * 2
        told += [outcome.row async for outcome in outcomes]
    assert len(set(told)) == 80


# How the block is left


async def test_a_break_drains_the_run(planned: "Planned", endpoint: Where, agree: "Agree") -> None:
    ledger = planned(200)
    async with Sandbox(latency=0.02) as server:
        async with bulksms.open_run(ledger, endpoint(server), EAGER) as run:
            async for _ in run.outcomes():
                break
        assert server.journal.total <= 1 + 3 * EAGER.workers
        assert run.summary.stopped == bulksms.Stop.INTERRUPTED
        assert run.summary.counts[State.ACCEPTED] == server.journal.total
        assert run.summary.counts[State.QUEUED] == 200 - server.journal.total
        agree(ledger, server.journal)
        async with bulksms.open_run(ledger, endpoint(server), EAGER) as again:
            await again.work()
    assert again.summary.counts[State.ACCEPTED] == server.journal.total == 200
    agree(ledger, server.journal)


async def test_a_loop_that_was_left_without_asking_for_the_rest_holds_nobody(
    planned: "Planned", endpoint: Where, agree: "Agree"
) -> None:
    ledger = planned(ROOM * 3)
    async with Sandbox() as server, asyncio.timeout(60), bulksms.open_run(ledger, endpoint(server), EAGER) as run:
        outcomes = run.outcomes()
        await anext(outcomes)
        while run.progress.done <= ROOM:  # noqa: ASYNC110 - every worker now waits for room
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
    async with bulksms.open_run(ledger, where, EAGER) as run:
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
        async with bulksms.open_run(ledger, where, EAGER) as run:
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
    really = file.open_for_run

    def slowly(*arguments: Any) -> Any:
        opening.call_soon_threadsafe(opened.set)
        time.sleep(0.2)
        return really(*arguments)

    monkeypatch.setattr("bulksms.ledger.file.open_for_run", slowly)
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
    with bulksms.LedgerReader(ledger) as reader:
        assert not reader.standing().is_living
        assert [run.stopped for run in reader.runs()] == ["interrupted"]


async def test_a_scope_of_anyio_drains_too(planned: "Planned", endpoint: Where, agree: "Agree") -> None:
    ledger = planned(200)
    async with Sandbox(latency=0.1) as server:
        with anyio.move_on_after(0.25) as scope:
            async with bulksms.open_run(ledger, endpoint(server), EAGER) as run:
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
        async with bulksms.open_run(ledger, endpoint(server), EAGER) as run:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await run.work()
            drained = server.journal.total
            await asyncio.sleep(0.2)
            assert server.journal.total == drained < 200
        agree(ledger, server.journal)


async def test_stop_lets_the_loop_come_to_its_end(planned: "Planned", endpoint: Where, agree: "Agree") -> None:
    ledger = planned(200)
    told = 0
    async with Sandbox(latency=0.02) as server, bulksms.open_run(ledger, endpoint(server), EAGER) as run:
        async for _ in run.outcomes():
            told += 1
            run.stop()
    assert told == run.summary.counts[State.ACCEPTED] == server.journal.total
    agree(ledger, server.journal)


async def test_stop_now_breaks_off_what_is_in_flight(planned: "Planned", endpoint: Where) -> None:
    ledger = planned(20)
    async with Sandbox(latency=3_600.0) as server, bulksms.open_run(ledger, endpoint(server), EAGER) as run:
        asyncio.get_running_loop().call_later(0.3, lambda: run.stop(now=True))
        told = [outcome.state async for outcome in run.outcomes()]
    assert told == [State.UNKNOWN] * 8


async def test_cancel_withdraws_what_is_queued(planned: "Planned", endpoint: Where, agree: "Agree") -> None:
    ledger = planned(200)
    async with Sandbox(latency=0.02) as server, bulksms.open_run(ledger, endpoint(server), EAGER) as run:
        async for _ in run.outcomes():
            run.cancel()
    assert run.summary.counts[State.CANCELLED] == 200 - server.journal.total
    assert run.summary.counts[State.QUEUED] == 0
    agree(ledger, server.journal)


# What another shell wants


@pytest.mark.parametrize(
    ("wishes", "unknown", "cancelled"),
    [
        ([Wish.STOP], 0, 0),
        ([Wish.CANCEL], 0, 12),
        ([Wish.STOP_NOW], 8, 0),
        ([Wish.STOP, Wish.STOP], 8, 0),
        ([Wish.STOP, Wish.CANCEL], 8, 12),
    ],
)
async def test_the_run_of_a_program_heeds_another_shell(  # noqa: PLR0917 - the row, and what it needs
    wishes: list[Wish],
    unknown: int,
    cancelled: int,
    planned: "Planned",
    endpoint: Where,
    agree: "Agree",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bulksms.library.wishes.LOOK_EVERY", 0.01)
    ledger = planned(20)
    heard: list[Wish] = []

    def note(wish: Wish) -> None:
        heard.append(wish)
        raise ValueError(wish)

    async def wish_them(server: Sandbox) -> None:
        while server.journal.total < 8:  # noqa: ASYNC110 - no event tells of what a server has received
            await asyncio.sleep(0.005)
        for number, wish in enumerate(wishes, 1):
            control.ask(ledger, wish)
            while len(heard) < number:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.005)

    async with Sandbox(latency=1.0 if not unknown else 3_600.0) as server:
        async with bulksms.open_run(ledger, endpoint(server), EAGER, bulksms.Hooks(on_wish=note)) as run:
            await asyncio.gather(run.work(), wish_them(server))
        agree(ledger, server.journal)
    counts = run.summary.counts
    assert heard == wishes
    assert (counts[State.UNKNOWN], counts[State.CANCELLED]) == (unknown, cancelled)
    assert counts[State.QUEUED] == 20 - 8 - cancelled
    assert not control.control_path(ledger).exists()


async def test_a_wish_that_is_older_than_the_run_is_not_heeded(planned: "Planned", endpoint: Where) -> None:
    ledger = planned(3)
    control.ask(ledger, Wish.STOP)
    async with Sandbox() as server, bulksms.open_run(ledger, endpoint(server)) as run:
        await run.work()
    assert run.summary.counts[State.ACCEPTED] == 3


# Whatever the program does


class Clumsy(Exception):
    """A mistake of the program."""


async def misuse(run: OpenRun, chance: random.Random) -> None:
    """Do something at some outcome that a program might do."""
    what = chance.choice(["break", "raise", "stop", "stop now", "cancel", "dawdle"])
    at = chance.randrange(1, 60)
    told = 0
    async for _ in run.outcomes():
        told += 1
        if what == "dawdle" and told % 10 == 0:
            await asyncio.sleep(0.01)
        if told != at:
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
        async with bulksms.open_run(ledger, where, settings) as run:
            await misuse(run, chance)

    async with Sandbox(faults=FaultPlan.of(faults), latency=(0.0, 0.02), retry_after=0.0) as server:
        task = asyncio.create_task(go(endpoint(server)))
        if case % 3 == 0:
            asyncio.get_running_loop().call_later(chance.uniform(0.0, 0.5), task.cancel)
        with suppress(Clumsy, asyncio.CancelledError):
            await task
        agree(ledger, server.journal)
        async with bulksms.open_run(ledger, endpoint(server), settings) as run:
            await run.work()
        agree(ledger, server.journal)
    assert run.summary.counts[State.QUEUED] == run.summary.counts[State.PROCESSING] == 0
    assert all(server.journal.delivered(who) <= 2 for who in server.journal.recipients())


# What a run is about


async def test_a_block_that_does_nothing_sends_nothing(planned: "Planned", endpoint: Where) -> None:
    ledger = planned(3)
    async with Sandbox() as server, bulksms.open_run(ledger, endpoint(server)) as run:
        assert run.standing.left == 3
        with pytest.raises(RuntimeError, match="when its block has ended"):
            _ = run.summary
    assert server.journal.total == 0
    assert run.summary.counts[State.QUEUED] == 3


async def test_a_run_works_once(planned: "Planned", endpoint: Where) -> None:
    ledger = planned(3)
    async with Sandbox() as server, bulksms.open_run(ledger, endpoint(server)) as run:
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
        bulksms.open_run(ledger, endpoint(server), EAGER, bulksms.Hooks(on_settled=hook)) as run,
    ):
        told = [outcome.row async for outcome in run.outcomes()]
    assert sorted(hooked) == sorted(told) == list(range(1, 51))
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
    async with Sandbox() as server, bulksms.open_run(ledger, endpoint(server), settings, hooks) as run:
        await run.work()
    assert asked == ["test", "canary"]
    assert run.progress.stopped is bulksms.Stop.CANARY
    assert server.journal.total == 3


# Two in one loop, and what a run is about


async def test_two_runs_fit_in_one_loop(planned: "Planned", endpoint: Where, agree: "Agree") -> None:
    ledgers = [planned(150, "north.db"), planned(100, "south.db", mark="[result_failed]")]
    journals = []

    async def send_one(ledger: Path) -> OpenRun:
        async with Sandbox(latency=0.01) as server:
            journals.append(server.journal)
            async with bulksms.open_run(ledger, endpoint(server), replace(EAGER, keep_going=True)) as run:
                told = [outcome.state async for outcome in run.outcomes()]
            assert len(told) == run.summary.total
            agree(ledger, server.journal)
            return run

    north, south = await asyncio.gather(*map(send_one, ledgers))
    assert north.summary.counts[State.ACCEPTED] == 150
    assert south.summary.counts[State.FAILED] == 100
    assert min(journal.times[-1] for journal in journals) > max(journal.times[0] for journal in journals)


async def test_a_second_run_on_the_same_ledger_is_refused(planned: "Planned", endpoint: Where) -> None:
    ledger = planned(3)
    async with Sandbox() as server, bulksms.open_run(ledger, endpoint(server)) as run:
        with pytest.raises(bulksms.LedgerLocked):
            async with bulksms.open_run(ledger, endpoint(server)):
                pytest.fail("two runs on one ledger")
        await run.work()
    assert run.summary.counts[State.ACCEPTED] == 3


async def test_a_ledger_is_bound_to_its_first_server(planned: "Planned", endpoint: Where) -> None:
    ledger = planned(3)
    async with Sandbox() as server, Sandbox() as other:
        async with bulksms.open_run(ledger, endpoint(server)) as run:
            run.stop()
        with pytest.raises(bulksms.PlanRefused, match="is bound to"):
            async with bulksms.open_run(ledger, endpoint(other)):
                pytest.fail("another server")
        assert other.journal.total == 0


async def test_without_settings_those_of_the_last_run_hold(planned: "Planned", endpoint: Where) -> None:
    ledger = planned(3)
    deadline = bulksms.Deadline(at=time.time() + 3_600.0)
    first = RunSettings(workers=3, delivery=bulksms.Delivery.AT_LEAST_ONCE, deadline=deadline)
    async with Sandbox() as server:
        async with bulksms.open_run(ledger, endpoint(server), first, confirmed_by="cron", notes={"job": 7}):
            pass
        async with bulksms.open_run(ledger, endpoint(server)) as run:
            await run.work()
    assert run.settings == first
    with bulksms.LedgerReader(ledger) as reader:
        one, two = reader.runs()
    assert (one.confirmed_by, two.confirmed_by) == ("cron", "a program")
    assert one.settings["job"] == 7
    assert one.user == two.user != ""


async def test_whoever_has_no_name_is_kept_by_number(
    planned: "Planned", endpoint: Where, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(number: int) -> None:
        raise KeyError(number)

    monkeypatch.setattr("bulksms.library.operator.pwd.getpwuid", nobody)
    monkeypatch.setenv("LOGNAME", "somebody-else")
    ledger = planned(1)
    async with Sandbox() as server, bulksms.open_run(ledger, endpoint(server)):
        pass
    with bulksms.LedgerReader(ledger) as reader:
        assert reader.runs()[0].user == f"user {os.getuid()}"


async def test_trouble_with_the_ledger_is_raised_and_nothing_more_is_sent(
    planned: "Planned", endpoint: Where, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = planned(200)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    def fill_the_disk(outcome: Outcome) -> None:
        if outcome.row == 20:
            monkeypatch.setattr("bulksms.ledger.commit.begin", full)

    async with Sandbox(latency=0.01) as server:
        with pytest.raises(bulksms.LedgerTrouble, match="is full"):
            await send(ledger, endpoint(server), fill_the_disk)
        assert 20 <= server.journal.total < 60
        monkeypatch.undo()
        assert bulksms.status(ledger).counts[State.ACCEPTED] <= server.journal.total


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
