"""What `bulksms.ledger.contract` promises, on every store: nothing here knows how a store keeps it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bulksms.errors import LedgerError, LedgerLockedError, PlanError
from bulksms.ledger import (
    Action,
    Author,
    ControlCommand,
    Invariant,
    Ledger,
    LedgerReader,
    LedgerWriter,
    OutcomeRecord,
    Recovery,
    Retry,
    RunStart,
    RunStatus,
    Selection,
    SharedHold,
)
from bulksms.model.attempt import Attempt, OperationResult, ResultType
from bulksms.model.message import Message, Reason, State
from bulksms.model.run_settings import StopReason
from tests.ledger.stores import STORES

MESSAGES = 4
START = RunStart("https://adaxes.example/restApi", "1.0", "anna", "server-1", 4711, "{}", "--yes")
UNKNOWN = Recovery(State.UNKNOWN, 5)
ANNA = Author("anna", "server-1", "--yes")
SUCCEEDED = Attempt(True, 200, result=OperationResult(ResultType.SUCCEEDED), began_at=100.0, elapsed=0.25)
LOST = Attempt(True, detail="no answer", began_at=100.0, elapsed=30.0)
ACCEPTED = OutcomeRecord(State.ACCEPTED, evidence="succeeded")
DOUBTFUL = OutcomeRecord(State.UNKNOWN, Reason.NO_ANSWER, Reason.NO_ANSWER, evidence="lost")


@pytest.fixture(params=STORES)
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Ledger:
    """A planned ledger in each store."""
    return STORES[request.param](request, tmp_path, MESSAGES)


@asynccontextmanager
async def run_on(ledger: Ledger, retry: Retry | None = None) -> AsyncIterator[LedgerWriter]:
    writer = await ledger.open_for_run(START, UNKNOWN, retry)
    try:
        yield writer
    finally:
        await writer.close()


async def begin(writer: LedgerWriter, message: Message) -> None:
    message.attempts += 1
    message.tries += 1
    await writer.record_intent(message, 100.0)


def states(ledger: Ledger) -> list[State]:
    with ledger.open_reader() as reader:
        return [record.state for record in reader.messages()]


def violated(ledger: Ledger) -> list[str]:
    return [name for name, problem in ledger.verify() if problem]


async def test_an_intent_is_in_the_ledger_before_its_request_may_leave(ledger: Ledger) -> None:
    async with run_on(ledger) as writer:
        first, *_ = await writer.claim(State.QUEUED, 0, 9)
        await begin(writer, first)
        assert states(ledger) == [State.SENDING, *[State.QUEUED] * 3]
        assert writer.attempts == 1


async def test_an_outcome_is_in_the_ledger_no_later_than_what_is_handed_over_after_it(ledger: Ledger) -> None:
    async with run_on(ledger) as writer:
        first, second, *_ = await writer.claim(State.QUEUED, 0, 9)
        await begin(writer, first)
        writer.record_outcome(first, SUCCEEDED, ACCEPTED)
        await begin(writer, second)
        assert states(ledger)[:2] == [State.ACCEPTED, State.SENDING]
        counts = await writer.counts()
        assert (counts.counts[State.ACCEPTED], counts.counts[State.SENDING], counts.attempts) == (1, 1, 2)


async def test_a_move_that_the_states_do_not_allow_is_refused_and_changes_nothing(ledger: Ledger) -> None:
    async with run_on(ledger) as writer:
        first, *_ = await writer.claim(State.QUEUED, 0, 9)
        with pytest.raises(ValueError, match="no message goes from"):
            writer.record_outcome(first, SUCCEEDED, ACCEPTED._replace(previous_state=State.QUEUED))
    assert states(ledger) == [State.QUEUED] * MESSAGES


async def test_nobody_decides_about_a_ledger_on_which_a_run_works(ledger: Ledger) -> None:
    async with run_on(ledger):
        assert ledger.is_living()
        with pytest.raises(LedgerLockedError):
            await ledger.open_for_run(START, UNKNOWN, Retry(ANNA, Selection.of(State.UNKNOWN), None, 0, None))
        with pytest.raises(LedgerLockedError):
            ledger.cancel(ANNA)
        with pytest.raises(LedgerLockedError):
            ledger.resolve({}, ANNA)
        with pytest.raises(LedgerLockedError):
            ledger.purge(ANNA)
    assert not ledger.is_living()


async def test_what_a_run_left_under_way_is_unknown_to_readers_and_to_the_next_run(ledger: Ledger) -> None:
    async with run_on(ledger) as writer:
        first, *_ = await writer.claim(State.QUEUED, 0, 9)
        await begin(writer, first)
    assert states(ledger)[0] is State.UNKNOWN
    async with run_on(ledger) as writer:
        assert writer.run == 2
        assert (await writer.counts()).counts[State.UNKNOWN] == 1
    assert not violated(ledger)


async def test_what_a_person_decides_is_in_the_history(ledger: Ledger) -> None:
    async with run_on(ledger) as writer:
        for message in (await writer.claim(State.QUEUED, 0, 9))[:2]:
            await begin(writer, message)
            writer.record_outcome(message, LOST, DOUBTFUL)
    with pytest.raises(PlanError):
        ledger.resolve({1: State.ACCEPTED, 3: State.FAILED}, ANNA)
    ledger.resolve({1: State.ACCEPTED}, ANNA)
    async with run_on(ledger, Retry(ANNA, Selection.of(State.UNKNOWN), None, 1, None)) as writer:
        assert [message.number for message in await writer.claim(State.QUEUED, 0, 9)] == [3, 4]
        (again,) = await writer.claim(State.QUEUED, 0, 9, again=True)
        assert (again.number, again.in_doubt) == (2, Reason.NO_ANSWER)
        await begin(writer, again)
        writer.record_outcome(again, SUCCEEDED, ACCEPTED._replace(in_doubt=Reason.NO_ANSWER))
    with ledger.open_reader() as reader:
        assert [entry.action for entry in reader.operator_actions()] == ["resolve", "retry"]
        assert [record.possible_duplicate for record in reader.messages()] == [False, True, False, False]
    assert not violated(ledger)


async def test_a_withdrawn_ledger_is_purged_for_good(ledger: Ledger) -> None:
    with pytest.raises(PlanError):
        ledger.purge(ANNA)
    ledger.cancel(ANNA)
    ledger.purge(ANNA)
    with ledger.open_reader() as reader:
        assert {record.recipient + record.text for record in reader.messages()} == {""}
        assert reader.counts().counts[State.CANCELLED] == MESSAGES
    assert not violated(ledger)


async def test_who_stopped_a_run_and_who_cancelled_the_rest_is_in_the_history(ledger: Ledger) -> None:
    async with run_on(ledger) as writer:
        await writer.note_stop(Action.STOP, ANNA)
        await writer.end_run("interrupted", 1.0, 0)
    ledger.cancel(Author("ben", "server-2", "bulksms cancel"))
    with ledger.open_reader() as reader:
        found = [(entry.action, entry.user, entry.host, entry.confirmed_by) for entry in reader.operator_actions()]
    assert found == [("stop", "anna", "server-1", "--yes"), ("cancel", "ben", "server-2", "bulksms cancel")]
    assert not violated(ledger)


def test_verification_checks_every_invariant(ledger: Ledger) -> None:
    assert [name for name, _ in ledger.verify()] == [invariant.value for invariant in Invariant]
    assert not violated(ledger)


async def test_a_command_of_another_shell_comes_to_the_run(ledger: Ledger) -> None:
    async with run_on(ledger) as writer:
        await asyncio.to_thread(ledger.send_command, ControlCommand.STOP, ANNA)
        async with asyncio.timeout(20):
            assert await writer.next_news() == (ControlCommand.STOP, ANNA)
    async with run_on(ledger) as writer:
        await asyncio.to_thread(ledger.clear_command)
        await asyncio.to_thread(ledger.send_command, ControlCommand.CANCEL, ANNA)
        async with asyncio.timeout(20):
            assert await writer.next_news() == (ControlCommand.CANCEL, ANNA)


async def test_what_a_run_publishes_is_seen_until_it_ends(ledger: Ledger) -> None:
    status = RunStatus(1, 1.0, 2.0, 3.0, 4, 5, adapts=True, in_flight=6)
    async with run_on(ledger):
        ledger.write_status(status)
        assert ledger.read_status(1) == status
        assert ledger.read_status(2) is None
        ledger.remove_status()
    assert ledger.read_status(1) is None


async def test_one_run_may_send_at_any_time_without_others(ledger: Ledger) -> None:
    async with run_on(ledger) as writer:
        assert await writer.lead()
        await writer.led()
        assert await writer.reserve(1000.0) < 1.0
        assert writer.still_mine is None or writer.still_mine()
        assert abs(writer.now() - time.time()) < 3600
        first = await writer.keep_deadline(writer.now() + 60)
        assert first > writer.now()
        writer.share_stop(StopReason.UNAUTHORIZED)
        writer.share_hold(SharedHold(1.0))
        assert writer.least_ahead > 0


def test_a_name_is_free_only_until_there_is_a_ledger(ledger: Ledger) -> None:
    assert ledger.is_ledger()
    with pytest.raises(PlanError):
        ledger.require_free()
    ledger.remove()
    assert not ledger.is_ledger()
    ledger.require_free()
    with pytest.raises(LedgerError):
        ledger.open_reader()


async def test_what_a_check_finds_ends_an_opening_before_the_run_is_noted(ledger: Ledger) -> None:
    def refuse(reader: LedgerReader) -> None:
        assert (reader.runs(), reader.counts().counts[State.QUEUED], reader.plan().url) == ([], MESSAGES, None)
        raise PlanError("It is the wrong one.", hint="Take another one.")

    with pytest.raises(PlanError, match="wrong one"):
        await ledger.open_for_run(START, UNKNOWN, None, refuse)
    assert not ledger.is_living()
    with ledger.open_reader() as reader:
        assert (reader.runs(), reader.plan().url) == ([], None)
    async with run_on(ledger) as writer:
        assert writer.run == 1
        with ledger.open_reader() as reader:
            assert writer.identity == reader.plan().identity


async def test_a_check_sees_what_a_dead_run_left_as_its_run_will(ledger: Ledger) -> None:
    async with run_on(ledger) as writer:
        first, *_ = await writer.claim(State.QUEUED, 0, 9)
        await begin(writer, first)
    seen: list[int] = []

    def look(reader: LedgerReader) -> None:
        seen.extend((len(reader.runs()), reader.counts().counts[State.UNKNOWN], reader.counts().crashed))

    await (await ledger.open_for_run(START, UNKNOWN, None, look)).close()
    assert seen == [1, 1, 0]
