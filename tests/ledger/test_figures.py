"""The figures of a ledger: counted by the database, they are what counting the rows one by one gives."""

import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bulksms.errors import LedgerError
from bulksms.ledger import OutcomeRecord, open_ledger
from bulksms.ledger.sqlite.lock import RunLock
from bulksms.ledger.sqlite.writer import SqliteWriter
from bulksms.model.attempt import ApiError, Attempt
from bulksms.model.message import Message, Reason, State
from bulksms.report.page import Wanted, as_page

Running = Callable[..., AbstractAsyncContextManager[SqliteWriter]]
PlanAs = Callable[..., Path]

BEGAN = 1_000.0


async def attempt(ledger: SqliteWriter, message: Message, at: float, seconds: float, status: int = 200) -> None:
    """One attempt at a message, which is accepted with 200 and refused with anything else."""
    message.attempts += 1
    message.tries += 1
    await ledger.record_intent(message, at)
    error = None if status == 200 else ApiError(f"{message.recipient} is not there.", "notFound")
    result = Attempt(True, status, api_error=error, began_at=at, elapsed=seconds)
    if status == 200:
        settlement = OutcomeRecord(State.ACCEPTED, evidence="succeeded")
    else:
        settlement = OutcomeRecord(State.FAILED, Reason.REJECTED, evidence="rejected")
    ledger.record_outcome(message, result, settlement)
    await ledger.flush()


async def test_attempts_are_counted_where_they_began_and_where_they_ended(
    tmp_path: Path, plan_as: PlanAs, running: Running
) -> None:
    path = plan_as(tmp_path / "people.ledger.db", 6)
    async with running(path) as ledger:
        for number, message in enumerate(await ledger.claim(State.QUEUED, 0, 4)):
            await attempt(ledger, message, BEGAN + number, 1.5, 200 if number % 2 else 404)
        await ledger.end_run(None, 5.5, 4)
    async with running(path) as ledger:
        (message,) = await ledger.claim(State.QUEUED, 0, 1)
        await attempt(ledger, message, BEGAN + 60, 0.25)
        await ledger.end_run(None, 0.25, 1)
    with open_ledger(path) as reader:
        figures = reader.statistics()
        assert figures.periods() == [(1, BEGAN, BEGAN + 4.5, 4), (2, BEGAN + 60, BEGAN + 60.25, 1)]
        begun, ended = figures.attempt_histogram(1, BEGAN, 2.0)
        assert begun == {0: 2, 1: 2}
        assert ended == {(0, "rejected"): 1, (1, "succeeded"): 1, (1, "rejected"): 1, (2, "succeeded"): 1}
        assert figures.attempt_histogram(2, BEGAN + 60, 2.0) == ({0: 1}, {(0, "succeeded"): 1})
        assert figures.answer_times() == [(250, 1), (1_500, 4)]


async def test_what_is_under_way_has_begun_and_proves_nothing_until_the_run_dies(
    planned: Path, running: Running, as_it_lies: Callable[[Path, Path], Path]
) -> None:
    async with running(planned) as ledger:
        first, second, _ = await ledger.claim(State.QUEUED, 0, 3)
        await attempt(ledger, first, BEGAN, 1.0)
        second.attempts = second.tries = 1
        await ledger.record_intent(second, BEGAN + 3)
        copy = as_it_lies(planned, planned.with_name("copy.ledger.db"))
        with open_ledger(planned) as reader:
            assert reader.statistics().attempt_histogram(1, BEGAN, 1.0) == ({0: 1, 3: 1}, {(1, "succeeded"): 1})
            assert State.SENDING in {outcome.state for outcome in reader.statistics().outcomes()}
    with open_ledger(copy) as reader:
        died = {(1, "succeeded"): 1, (3, "crashed"): 1}
        assert reader.statistics().attempt_histogram(1, BEGAN, 1.0) == ({0: 1, 3: 1}, died)
        assert (State.UNKNOWN, Reason.CRASH) in {outcome[:2] for outcome in reader.statistics().outcomes()}


async def test_outcomes_count_every_message_and_leave_out_whose_name_it_was(
    tmp_path: Path, plan_as: PlanAs, running: Running
) -> None:
    path = plan_as(tmp_path / "people.ledger.db", 9)
    async with running(path) as ledger:
        for number, message in enumerate(await ledger.claim(State.QUEUED, 0, 8)):
            await attempt(ledger, message, BEGAN, 1.0, 200 if number < 3 else 404)
    with open_ledger(path) as reader:
        outcomes, lines = reader.statistics().outcomes(), list(reader.messages())
    assert Counter({outcome.state: outcome.messages for outcome in outcomes}) == Counter(line.state for line in lines)
    assert [(outcome.state, outcome.words, outcome.messages, outcome.first_row) for outcome in outcomes] == [
        (State.FAILED, "… is not there.", 5, 5),
        (State.ACCEPTED, None, 3, 2),
        (State.QUEUED, None, 1, 10),
    ]


def test_one_text_is_reported_if_it_is_the_only_one(tmp_path: Path, plan_as: PlanAs) -> None:
    for count, text in ((1, "Text 1"), (2, None)):
        with open_ledger(plan_as(tmp_path / f"{count}.ledger.db", count)) as reader:
            assert reader.statistics().one_text() == text


async def test_in_one_moment_nothing_changes_beside_a_living_run(planned: Path, running: Running) -> None:
    with open_ledger(planned) as reader:
        async with running(planned) as ledger:
            first, second, _ = await ledger.claim(State.QUEUED, 0, 3)
            first.attempts = first.tries = 1
            await ledger.record_intent(first, BEGAN)
            with reader.one_moment():
                await attempt(ledger, second, BEGAN, 1.0)
                await ledger.flush()
                assert reader.counts().counts[State.ACCEPTED] == 0
                assert [line.state for line in reader.messages()] == [State.SENDING, State.QUEUED, State.QUEUED]
            assert reader.counts().counts[State.ACCEPTED] == 1


def test_a_run_that_ends_while_one_looks_has_not_crashed(planned: Path) -> None:
    lock = RunLock(planned)
    lock.acquire("a test")
    with open_ledger(planned) as reader:
        with reader.one_moment():
            assert reader.counts().is_living
            lock.release()
            with reader.one_moment():
                assert reader.counts().is_living
            assert reader.counts().is_living
        assert not reader.counts().is_living


def test_a_moment_ends_whatever_happens_in_it(planned: Path) -> None:
    with open_ledger(planned) as reader:
        for _ in range(2):
            with pytest.raises(RuntimeError, match="trouble"), reader.one_moment():
                raise RuntimeError("trouble")
        reader.check_counters()


IMPOSSIBLE = {
    "ended long before it began": "UPDATE attempt SET ended_at = 5.0",
    "ended before the first one began": "UPDATE attempt SET ended_at = 5.0 WHERE message = 1",
    "in no calendar": "UPDATE attempt SET ended_at = 1e300",
    "at no time": "UPDATE attempt SET began_at = -9e999",
    "without an answer's time": "UPDATE attempt SET elapsed_ms = NULL",
    "a message settled in no calendar": "UPDATE message SET finished_at = 1e300",
    "a message begun at a word": "UPDATE message SET first_attempt_at = 'noon'",
    "an answer that took for ever": "UPDATE message SET latency_ms = 9e999",
    "a deadline in no calendar": "UPDATE plan SET deadline = 1e300",
}


@pytest.mark.parametrize("damage", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
async def test_figures_of_a_damaged_ledger_say_so(
    damage: str, tmp_path: Path, plan_as: PlanAs, running: Running
) -> None:
    path = plan_as(tmp_path / "people.ledger.db", 3)
    async with running(path) as ledger:
        for message in await ledger.claim(State.QUEUED, 0, 3):
            await attempt(ledger, message, BEGAN, 1.0)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(damage)
    with open_ledger(path) as reader, pytest.raises(LedgerError, match="damaged"):
        "".join(as_page(reader, Wanted(reader.messages, False, datetime.now(UTC), str)))


async def test_an_answer_by_a_clock_that_went_back_is_no_damage(planned: Path, running: Running) -> None:
    async with running(planned) as ledger:
        for message in await ledger.claim(State.QUEUED, 0, 3):
            await attempt(ledger, message, BEGAN, 1.0)
    with closing(sqlite3.connect(planned)) as connection, connection:
        connection.execute("UPDATE message SET latency_ms = -1500.0")
    with open_ledger(planned) as reader:
        assert [message.latency_ms for message in reader.messages()] == [-1500.0] * 3


async def test_what_is_not_read_to_its_end_ends_without_a_word(planned: Path, running: Running) -> None:
    """Nor after the ledger was closed: Python tells of an error in a generator that it throws away."""
    async with running(planned) as ledger:
        for message in await ledger.claim(State.QUEUED, 0, 3):
            await attempt(ledger, message, BEGAN, 1.0)
    with open_ledger(planned) as reader:
        sent = reader.possibly_sent()
        assert next(sent)
    del sent
