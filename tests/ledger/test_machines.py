"""Several machines on one ledger in the database: who owns what, who is fenced, what is repaired."""

import asyncio
import time
from collections import Counter
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path

import pytest

from bulksms.errors import LedgerError, LedgerLockedError, PlanError
from bulksms.ledger import (
    HELD_UNTIL_RELEASED,
    RELEASED,
    Author,
    ControlCommand,
    Recovery,
    Retry,
    RunStatus,
    Selection,
    SettledElsewhere,
    SharedHold,
)
from bulksms.ledger.postgresql.session import Connection
from bulksms.model.message import Reason, State
from bulksms.model.run_settings import StopReason
from bulksms.system import SYSTEM
from tests.ledger.machines import (
    ACCEPTED,
    DOUBTFUL,
    LEASE,
    LOST,
    NEVER_LEFT,
    PROCESSING,
    REJECTED,
    START,
    STARTED,
    SUCCEEDED,
    begin,
    claim_all,
    cluster,
    deliver,
    die,
    lose_one_answer,
    silent,
)

ANNA = Author("anna", "server-1", "--yes")


async def test_machines_share_a_ledger_and_send_nothing_twice(database: str, tmp_path: Path) -> None:
    async with cluster(database, tmp_path, 200) as them:
        first, second = await them.open(), await them.open()
        shares = await asyncio.gather(claim_all(first), claim_all(second))
        numbers = [sorted(message.number for message in share) for share in shares]
        assert all(numbers)
        assert sorted([*numbers[0], *numbers[1]]) == list(range(1, 201))
        assert (await first.counts()).counts[State.ACCEPTED] == 200
        assert not await them.ask("SELECT FROM block")
        assert not them.violated()


async def test_blocks_get_smaller_towards_the_end_and_with_every_machine(database: str, tmp_path: Path) -> None:
    async with cluster(database, tmp_path, 400) as them:
        first = await them.open()
        alone = await first.claim(State.QUEUED, 0, 1000)
        second = await them.open()
        shared = await second.claim(State.QUEUED, 0, 1000)
        assert (len(alone), len(shared)) == (100, 37)


async def test_a_silent_machine_is_fenced_and_its_block_goes_on(database: str, tmp_path: Path) -> None:
    async with cluster(database, tmp_path, 3) as them:
        dead = await them.open()
        one, *_ = await dead.claim(State.QUEUED, 0, 9)
        assert await begin(dead, one)
        await die(dead)
        heir = await them.open()
        assert [message.number for message in await claim_all(heir)] == [2, 3]
        assert await them.states() == ["unknown", "accepted", "accepted"]
        ((reason, doubt, evidence),) = await them.ask(
            "SELECT reason, doubt, evidence FROM message_state JOIN attempt ON message = number WHERE number = 1"
        )
        assert (reason, doubt, evidence) == ("crash", "crash", "crashed")
        assert not them.violated()


async def test_what_a_dead_machine_had_under_way_is_sent_again_if_the_delivery_mode_says_so(
    database: str, tmp_path: Path
) -> None:
    async with cluster(database, tmp_path, 1) as them:
        dead = await them.open()
        (one,) = await dead.claim(State.QUEUED, 0, 9)
        assert await begin(dead, one)
        await die(dead)
        heir = await them.open(Recovery(State.QUEUED, 2))
        assert [(message.attempts, message.in_doubt) for message in await claim_all(heir)] == [(2, Reason.CRASH)]
        assert (await heir.counts()).possible_duplicate == 1
        assert not them.violated()


async def test_a_machine_that_was_taken_for_dead_begins_nothing_and_repairs_what_is_unknown(
    database: str, tmp_path: Path
) -> None:
    async with cluster(database, tmp_path, 3) as them:
        asleep, awake = await them.open(), await them.open()
        one, two, three = await asleep.claim(State.QUEUED, 0, 9)
        assert await begin(asleep, one)
        assert await begin(asleep, two)
        async with silent(asleep):
            await them.until("SELECT fenced FROM machine WHERE run = 1")
            assert not asleep.still_mine()
            asleep.record_outcome(one, SUCCEEDED, ACCEPTED)
            asleep.record_outcome(two, LOST, NEVER_LEFT)
            begun = asyncio.ensure_future(begin(asleep, three))
        assert not await begun
        await asleep.flush()
        assert asleep.run == 3
        assert await them.states() == ["accepted", "queued", "queued"]
        assert not await begin(asleep, two), "it is another machine's now, or of a later membership"
        found = await asyncio.gather(claim_all(asleep), claim_all(awake))
        assert sorted(message.number for each in found for message in each) == [2, 3]
        assert not them.violated()


async def test_an_outcome_that_comes_late_is_of_the_membership_that_began_it(database: str, tmp_path: Path) -> None:
    async with cluster(database, tmp_path, 1) as them:
        asleep, _ = await them.open(), await them.open()
        (one,) = await asleep.claim(State.QUEUED, 0, 9)
        assert await begin(asleep, one)
        async with silent(asleep):
            await them.until("SELECT fenced FROM machine WHERE run = 1")
        await asleep.flush()
        await them.until("SELECT count(*) = 3 FROM machine WHERE run > 0")
        assert await them.states() == ["unknown"]
        asleep.record_outcome(one, LOST, DOUBTFUL)
        await asleep.flush()
        assert await them.ask("SELECT state, reason FROM message_state") == [("unknown", "no_answer")]
        assert not them.violated()


async def test_what_a_person_has_resolved_meanwhile_stays(database: str, tmp_path: Path) -> None:
    async with cluster(database, tmp_path, 1) as them:
        asleep = await them.open()
        (one,) = await asleep.claim(State.QUEUED, 0, 9)
        assert await begin(asleep, one)
        async with silent(asleep):
            await asyncio.sleep(1.5)
            await asyncio.to_thread(them.ledger.resolve, {1: State.FAILED}, ANNA)
            asleep.record_outcome(one, SUCCEEDED, ACCEPTED)
        await asleep.flush()
        assert await them.states() == ["failed"]
        assert await them.ask("SELECT evidence FROM attempt") == [("succeeded",)]


async def test_a_command_of_anybody_stops_every_machine(database: str, tmp_path: Path) -> None:
    async with cluster(database, tmp_path, 40) as them:
        first, second = await them.open(), await them.open()
        one, *_ = await first.claim(State.QUEUED, 0, 9)
        await second.claim(State.QUEUED, 0, 9)
        await asyncio.to_thread(them.ledger.send_command, ControlCommand.STOP_NOW, ANNA)
        assert not await begin(first, one)
        for machine in (first, second):
            assert await machine.next_news() == (ControlCommand.STOP_NOW, ANNA)
            assert await machine.claim(State.QUEUED, 0, 9) == []
        third = await them.open()
        assert await third.claim(State.QUEUED, 0, 9), "starting the run again takes the command back"


async def test_a_machine_without_work_waits_while_another_holds_some(database: str, tmp_path: Path) -> None:
    async with cluster(database, tmp_path, 4) as them:
        first, second = await them.open(), await them.open()
        messages = await first.claim(State.QUEUED, 0, 9)
        assert await second.claim(State.QUEUED, 0, 9) == []
        waiting = second.claim(State.QUEUED, 0, 9, again=True)
        await deliver(first, messages[:3])
        await asyncio.sleep(0.3)
        assert not waiting.done()
        await first.close()
        assert [message.number for message in await waiting] == [4]


async def test_the_operations_of_a_machine_go_over_to_the_owner_of_its_block(database: str, tmp_path: Path) -> None:
    async with cluster(database, tmp_path, 2) as them:
        first = await them.open()
        one, _ = await first.claim(State.QUEUED, 0, 9)
        assert await begin(first, one)
        first.record_outcome(one, STARTED, PROCESSING)
        await first.flush()
        await die(first)
        second = await them.open()
        waiting = second.claim(State.PROCESSING, 0, 9, again=True)
        (two,) = await second.claim(State.QUEUED, 0, 9, again=True)
        (operation,) = await waiting
        assert (operation.number, operation.operation_id, two.number) == (1, "42", 2)
        second.record_outcome(operation, SUCCEEDED, ACCEPTED._replace(previous_state=State.PROCESSING, evidence=None))
        await deliver(second, [two])
        assert await second.claim(State.QUEUED, 0, 9, again=True) == []
        assert await second.claim(State.PROCESSING, 0, 9, again=True) == []
        assert await them.states() == ["accepted", "accepted"]
        assert not them.violated()


@pytest.mark.parametrize("is_written", [False, True])
async def test_a_commit_whose_answer_was_lost_is_made_once(database: str, tmp_path: Path, *, is_written: bool) -> None:
    async with cluster(database, tmp_path, 2) as them:
        machine = await them.open()
        one, two = await machine.claim(State.QUEUED, 0, 9)
        assert await begin(machine, one)
        losing = lose_one_answer(machine, is_written=is_written)
        machine.record_outcome(one, SUCCEEDED, ACCEPTED)
        assert await begin(machine, two)
        assert losing.lost
        assert await them.states() == ["accepted", "sending"]
        machine.record_outcome(two, SUCCEEDED, ACCEPTED)
        await machine.flush()
        assert not them.violated()


async def test_messages_that_are_sent_again_are_in_blocks(database: str, tmp_path: Path) -> None:
    async with cluster(database, tmp_path, 60) as them:
        first = await them.open()
        while messages := await first.claim(State.QUEUED, 0, 99):
            for message in messages:
                assert await begin(first, message)
                first.record_outcome(message, LOST, DOUBTFUL)
            await first.flush()
        await first.close()
        second = await them.open(retry=Retry(ANNA, Selection.of(State.UNKNOWN), [7, 50], 2, None))
        assert [message.number for message in await claim_all(second)] == [7, 50]
        assert not them.violated()


async def test_messages_in_no_block_are_found(database: str, tmp_path: Path) -> None:
    async with cluster(database, tmp_path, 20) as them:
        machine = await them.open()
        await deliver(machine, (await machine.claim(State.QUEUED, 0, 99))[:12])
        await machine.close()
        await them.ask("DELETE FROM block")
        assert len(await claim_all(await them.open())) == 8


async def test_a_person_fences_silent_machines_and_waits_for_living_ones(database: str, tmp_path: Path) -> None:
    async with cluster(database, tmp_path, 2) as them:
        machine = await them.open()
        one, *_ = await machine.claim(State.QUEUED, 0, 9)
        assert await begin(machine, one)
        with pytest.raises(LedgerLockedError, match="run 1 on server-1, process 4711"):
            them.ledger.cancel(ANNA)
        await die(machine)
        await asyncio.sleep(1.3)
        assert not them.ledger.is_living()
        them.ledger.cancel(ANNA)
        assert await them.states() == ["unknown", "cancelled"]
        assert not them.violated()


async def test_what_a_lost_machine_may_still_send_is_not_sent_again_at_once(database: str, tmp_path: Path) -> None:
    async with cluster(database, tmp_path, 1) as them:
        machine = await them.open()
        (one,) = await machine.claim(State.QUEUED, 0, 9)
        assert await begin(machine, one)
        await die(machine)
        await asyncio.sleep(1.3)
        with pytest.raises(PlanError, match="may still be under way"):
            await them.open(retry=Retry(ANNA, Selection.of(State.UNKNOWN), None, 1, None))
        await them.ask("UPDATE machine SET beaten_at = beaten_at - interval '1 minute'")
        machine = await them.open(retry=Retry(ANNA, Selection.of(State.UNKNOWN), None, 1, None))
        assert [message.possible_duplicate for message in await claim_all(machine)] == [False]
        assert (await machine.counts()).possible_duplicate == 1
        assert not them.violated()


async def test_nothing_begins_after_the_deadline_by_the_clock_of_the_database(database: str, tmp_path: Path) -> None:
    async with cluster(database, tmp_path, 2) as them:
        machine = await them.open()
        one, two = await machine.claim(State.QUEUED, 0, 9)
        assert await begin(machine, one)
        machine.record_outcome(one, SUCCEEDED, ACCEPTED)
        await machine.withdraw(State.EXPIRED, Reason.DEADLINE)
        assert await them.states() == ["accepted", "queued"], "there is no deadline"
        assert await machine.keep_deadline(machine.now() - 1) == await machine.keep_deadline(7.0)
        assert not await begin(machine, two)
        await machine.withdraw(State.EXPIRED, Reason.DEADLINE)
        assert await them.states() == ["accepted", "expired"]
        assert not them.violated()


async def test_what_a_database_has_forgotten_is_written_down_again_and_nothing_more_begins(
    database: str, tmp_path: Path
) -> None:
    async with cluster(database, tmp_path, 4) as them:
        machine = await them.open()
        one, two, three, four = await machine.claim(State.QUEUED, 0, 9)
        await deliver(machine, [one])
        before = await them.ask("SELECT serial FROM machine WHERE run = 1")
        await deliver(machine, [two])
        assert await begin(machine, three)
        for forgotten in (
            "DELETE FROM attempt WHERE message > 1",
            "UPDATE message_state SET state = 'queued', attempts = 0, tries = 0, finished_at = NULL WHERE number > 1",
            "UPDATE machine SET queued = -1, sending = 0, accepted = 1, attempts = 1 WHERE run = 1",
        ):
            await them.ask(forgotten)
        await them.ask("UPDATE machine SET serial = $1 WHERE run = 1", before[0][0])
        with pytest.raises(LedgerError, match="gone back to an earlier state: 2 "):
            await begin(machine, four)
        assert machine.trouble is not None
        assert await them.states() == ["accepted", "accepted", "unknown", "queued"]
        assert await them.ask("SELECT message, evidence FROM attempt ORDER BY message") == [
            (1, "succeeded"),
            (2, "succeeded"),
            (3, "crashed"),
        ]
        assert not them.violated()


async def test_nothing_begins_once_another_server_has_taken_over(database: str, tmp_path: Path) -> None:
    async with cluster(database, tmp_path, 1) as them:
        machine = await them.open()
        (one,) = await machine.claim(State.QUEUED, 0, 9)
        await them.ask("UPDATE control SET timeline = '0000FFFF'")
        with pytest.raises(LedgerError, match="Another database server has taken over"):
            await begin(machine, one)
        assert await them.states() == ["queued"]


async def test_one_machine_leads_while_the_others_wait(database: str, tmp_path: Path) -> None:
    async with cluster(database, tmp_path, 1) as them:
        first, second = await them.open(), await them.open()
        assert await first.lead()
        assert await second.lead() is None
        await first.led()
        assert await second.lead() is False


async def test_the_lead_of_a_dead_machine_is_free(database: str, tmp_path: Path) -> None:
    async with cluster(database, tmp_path, 1) as them:
        first, second = await them.open(), await them.open()
        assert await first.lead()
        await die(first)
        await them.until("SELECT fenced FROM machine WHERE run = 1")
        assert await second.lead()


async def test_the_test_message_is_sent_by_the_first_and_kept(database: str, tmp_path: Path) -> None:
    async with cluster(database, tmp_path, 1) as them:
        machine = await them.open()
        assert await machine.begin_test("CN=Anna", 100.0) == "Text 1"
        await machine.end_test(SUCCEEDED, "succeeded")
        assert await them.ask("SELECT recipient, evidence FROM test_message") == [("CN=Anna", "succeeded")]
        await claim_all(machine)
        assert await machine.begin_test("CN=Anna", 100.0) is None


async def test_a_reason_that_concerns_everybody_stops_every_machine(database: str, tmp_path: Path) -> None:
    async with cluster(database, tmp_path, 1) as them:
        first, second = await them.open(), await them.open()
        first.share_stop(StopReason.UNAUTHORIZED)
        first.share_stop(StopReason.TOO_MANY_UNKNOWN)
        async with asyncio.timeout(20):
            assert await second.next_news() is StopReason.TOO_MANY_UNKNOWN


async def test_a_rate_is_shared_by_reserving_places(database: str, tmp_path: Path) -> None:
    async with cluster(database, tmp_path, 1, lease=15.0) as them:
        machines = [await them.open(), await them.open()]
        began = time.monotonic()
        places = []
        for machine in machines * 20:
            wait = await machine.reserve(20.0)
            places.append(time.monotonic() + wait)
        assert 1.9 < max(places) - began < 3.0, "forty of them at twenty a second"


async def test_a_machine_joins_a_run_that_somebody_has_started_and_that_agrees(database: str, tmp_path: Path) -> None:
    async with cluster(database, tmp_path, 4) as them:
        with pytest.raises(PlanError, match="Nobody has started"):
            await them.join()
        first = await them.open()
        second = await them.join()
        assert (first.run, second.run) == (1, 2)
        with pytest.raises(PlanError, match="works with account None, this is anna@example"):
            await them.join(START._replace(settings='{"account": "anna@example"}'))
        with pytest.raises(LedgerError, match=r"works with bulksms 1\.0, this is 2\.0"):
            await them.join(START._replace(version="2.0"))
        with pytest.raises(PlanError, match="is bound to"):
            await them.join(START._replace(url="https://other.example/restApi"))
        await asyncio.to_thread(them.ledger.send_command, ControlCommand.STOP, ANNA)
        with pytest.raises(PlanError, match=r"was stopped \(stop\)"):
            await them.join()


async def test_a_machine_reads_the_clock_of_the_database(database: str, tmp_path: Path) -> None:
    async with cluster(database, tmp_path, 1) as them:
        machine = await them.open()
        await machine.flush()
        machine._shared.clock_offset = 3600.0
        machine.announce()
        async with asyncio.timeout(20):
            while machine._shared.clock_offset == 3600.0:  # noqa: ASYNC110 - the commit tells nobody
                await asyncio.sleep(0.01)
        assert abs(machine.now() - time.time()) < 60


@pytest.mark.parametrize("hours", [-5.0, 5.0])
async def test_a_machine_whose_clock_is_wrong_by_hours_works_as_the_others(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: float
) -> None:
    ahead = ContextVar("ahead", default=0.0)  # a machine's tasks keep the value that was set when it was opened
    system = replace(SYSTEM, now=lambda: time.time() + ahead.get())
    for module in ("membership", "writer", "shared_run"):
        monkeypatch.setattr(f"bulksms.ledger.postgresql.{module}.SYSTEM", system)
    async with cluster(database, tmp_path, 40) as them:
        right = await them.open()
        token = ahead.set(hours * 3600)
        wrong = await them.open()
        assert abs(wrong.now() - time.time()) < 60
        assert await wrong.keep_deadline(wrong.now() + 600) < time.time() + 660
        ahead.reset(token)
        one, two, three = await wrong.claim(State.QUEUED, 0, 3)
        assert await begin(wrong, one)
        await asyncio.sleep(LEASE * 2)
        assert [tuple(row) for row in await them.ask("SELECT count(*) FROM machine WHERE run > 0 AND fenced")] == [(0,)]
        wrong.record_outcome(one, SUCCEEDED, ACCEPTED)
        await deliver(wrong, [two])
        await deliver(right, await right.claim(State.QUEUED, 0, 3))
        await them.ask("UPDATE plan SET deadline = extract(epoch FROM clock_timestamp())")
        assert not await begin(wrong, three), "the deadline has passed"
        assert (await right.counts()).counts[State.ACCEPTED] == 5
        assert not them.violated()


async def test_a_machine_that_stays_cut_off_gives_up_and_the_others_go_on(database: str, tmp_path: Path) -> None:
    async with cluster(database, tmp_path, 20) as them:
        other, cut_off = await them.open(), await them.join(START._replace(settings='{"max_outage": 0.3}'))
        one, two, *_ = await cut_off.claim(State.QUEUED, 0, 9)
        assert await begin(cut_off, one)

        async def connect() -> Connection:
            raise ConnectionRefusedError("no route to the database")

        cut_off._session._connect = connect
        cut_off._session._drop()
        with pytest.raises(LedgerError, match="no route to the database"):
            await begin(cut_off, two)
        assert not cut_off.still_mine()
        assert cut_off.trouble is not None
        cut_off.record_outcome(one, SUCCEEDED, ACCEPTED)
        async with asyncio.timeout(20):
            await cut_off.close()
        await them.until("SELECT fenced FROM machine WHERE run = 2")
        await claim_all(other)
        assert Counter(await them.states()) == {State.ACCEPTED: 19, State.UNKNOWN: 1}
        assert not them.violated()


async def test_what_holds_one_machine_holds_all_until_it_is_well_again(database: str, tmp_path: Path) -> None:
    async with cluster(database, tmp_path, 4, lease=15.0) as them:
        first, second = await them.open(), await them.open()
        await first.claim(State.QUEUED, 0, 9)
        async with asyncio.timeout(20):
            first.share_hold(HELD_UNTIL_RELEASED)
            assert await second.next_news() == HELD_UNTIL_RELEASED
            second.share_hold(HELD_UNTIL_RELEASED)
            first.share_hold(RELEASED)
            assert await second.next_news() == RELEASED
            first.share_hold(SharedHold(30.0))
            hold = await second.next_news()
        assert isinstance(hold, SharedHold)
        assert 25 < (hold.seconds or 0) <= 30
        assert await them.ask("SELECT held_by FROM control") == [(None,)]


async def test_a_machine_without_messages_does_not_keep_the_others_waiting(database: str, tmp_path: Path) -> None:
    async with cluster(database, tmp_path, 1) as them:
        busy, idle = await them.open(), await them.open()
        await busy.claim(State.QUEUED, 0, 9)
        idle.share_hold(HELD_UNTIL_RELEASED)
        async with asyncio.timeout(20):
            assert await busy.next_news() == HELD_UNTIL_RELEASED
            waiting = idle.claim(State.QUEUED, 0, 9, again=True)
            assert await busy.next_news() == RELEASED
        assert not waiting.done()


async def test_a_dead_machine_holds_nobody(database: str, tmp_path: Path) -> None:
    async with cluster(database, tmp_path, 1) as them:
        first, second = await them.open(), await them.open()
        first.share_hold(HELD_UNTIL_RELEASED)
        async with asyncio.timeout(20):
            assert await second.next_news() == HELD_UNTIL_RELEASED
            await die(first)
            assert await second.next_news() == RELEASED


async def test_a_paused_run_begins_nothing_until_it_is_started_again(database: str, tmp_path: Path) -> None:
    async with cluster(database, tmp_path, 4) as them:
        machine = await them.open()
        one, two, *_ = await machine.claim(State.QUEUED, 0, 9)
        await asyncio.to_thread(them.ledger.send_command, ControlCommand.PAUSE, ANNA)
        waiting = asyncio.ensure_future(begin(machine, one))
        await asyncio.sleep(0.5)
        assert not waiting.done()
        await them.open()
        assert await waiting, "starting the run again is for all machines"
        await asyncio.to_thread(them.ledger.send_command, ControlCommand.PAUSE, ANNA)
        waiting = asyncio.ensure_future(begin(machine, two))
        await asyncio.sleep(0.5)
        machine.share_stop(StopReason.INTERRUPTED)
        assert not await waiting, "a machine that is stopped waits for nothing"


async def test_each_machine_learns_what_the_others_have_settled(database: str, tmp_path: Path) -> None:
    async with cluster(database, tmp_path, 40) as them:
        first, second = await them.open(), await them.open()

        async def second_sees(settled: SettledElsewhere) -> None:
            second.announce()
            async with asyncio.timeout(20):
                while second.settled_elsewhere != settled:  # noqa: ASYNC110 - the commit tells nobody
                    await asyncio.sleep(0.01)

        outcomes = ((LOST, REJECTED), (LOST, REJECTED), (LOST, DOUBTFUL), (SUCCEEDED, ACCEPTED), (STARTED, PROCESSING))
        for message, (attempt, outcome) in zip(await first.claim(State.QUEUED, 0, 5), outcomes, strict=True):
            assert await begin(first, message)
            first.record_outcome(message, attempt, outcome)
        await first.flush()
        await second_sees(SettledElsewhere(failed=2, unknown=1, others=1))
        third = await them.open()
        (message, *_) = await third.claim(State.QUEUED, 0, 1)
        await deliver(third, [message])
        await second_sees(SettledElsewhere(2, 1, 2))
        await third.close()
        second.announce()
        await second.flush()
        assert second.settled_elsewhere == SettledElsewhere(2, 1, 2), "it counts after its machine has left"
        first.announce()
        assert first.settled_elsewhere.failed == 0


async def test_what_dead_machines_left_unknown_is_no_sign_of_the_server(database: str, tmp_path: Path) -> None:
    async with cluster(database, tmp_path, 40) as them:
        dead, heir = await them.open(), await them.open()
        one, *_ = await dead.claim(State.QUEUED, 0, 9)
        assert await begin(dead, one)
        await die(dead)
        await them.until("SELECT fenced FROM machine WHERE run = 1")
        await claim_all(heir)
        assert (await heir.counts()).counts[State.UNKNOWN] == 1
        assert heir.settled_elsewhere == SettledElsewhere()


async def test_a_person_accepts_a_failover(database: str, tmp_path: Path) -> None:
    async with cluster(database, tmp_path, 1) as them:
        await them.ask("UPDATE control SET timeline = '0000FFFF'")
        await asyncio.to_thread(them.ledger.accept_failover)
        assert len(await claim_all(await them.open())) == 1


async def test_machines_are_listed_with_what_they_do(database: str, tmp_path: Path) -> None:
    async with cluster(database, tmp_path, 4) as them:
        machine = await them.open()
        one, *_ = await machine.claim(State.QUEUED, 0, 9)
        assert await begin(machine, one)
        status = RunStatus(1, 1.0, 2.0, 3.0, 4, 5, adapts=True, in_flight=6)
        await asyncio.to_thread(them.ledger.write_status, status)
        with them.ledger.open_reader() as reader:
            (found,) = reader.machines()
        assert (found.run, found.host, found.process, found.sending) == (1, "server-1", 4711, 1)
        assert (found.is_lost, found.status) == (False, status)
        assert found.silent_for < 60
        await die(machine)
        await them.open()
        await them.until("SELECT fenced FROM machine WHERE run = 1")
        with them.ledger.open_reader() as reader:
            assert [(each.run, each.is_lost) for each in reader.machines()] == [(1, True), (2, False)]
