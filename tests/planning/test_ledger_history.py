"""Which ledger is an older copy, by the notes of its runs; and which was only read before another machine began."""

import asyncio
from pathlib import Path

import pytest

from bulksms.errors import PlanError
from bulksms.ledger import Counts, RunRecord, open_ledger
from bulksms.model.message import State
from bulksms.planning.ledger_history import Histories, LedgerHistory, RunNote
from tests.ledger.machines import START, cluster

IDENTITY = "0f" * 16


def note(number: int, before: int, attempts: int) -> RunNote:
    return RunNote(
        IDENTITY, number, f"2026-11-0{number}T08:00:00Z", "anna", "host", number, "people.db", before, attempts
    )


def record(number: int) -> RunRecord:
    noted = note(number, 0, 0)
    return RunRecord(
        number, noted.started_at, None, "http://127.0.0.1/", "1", "anna", "host", number, {}, "--yes", None, None, None
    )


def counts(attempts: int) -> Counts:
    return Counts(dict.fromkeys(State, 0), 0, is_living=False, attempts=attempts)


@pytest.fixture
def history(tmp_path: Path) -> LedgerHistory:
    """Run 1 made 10 attempts, run 2 another 5."""
    history = LedgerHistory(tmp_path)
    history.begin(note(1, 0, 10))
    history.begin(note(2, 10, 15))
    return history


@pytest.mark.parametrize(
    ("runs", "attempts", "lacks"),
    [
        ((1, 2), 15, None),
        ((1, 2, 3), 20, None),
        ((1,), 10, "it is from before run 2, since which 5 attempts were made"),
        ((1,), 7, "it is from before run 2, since which 5 attempts were made"),
        ((), 0, "it is from before run 1, since which 15 attempts were made"),
        ((1, 2), 14, "it ends in the middle of run 2, which made 1 attempt more"),
    ],
)
def test_a_ledger_that_does_not_know_its_own_history_is_an_older_copy(
    runs: tuple[int, ...], attempts: int, lacks: str | None, history: LedgerHistory
) -> None:
    older = history.missing_in(IDENTITY, [record(number) for number in runs], counts(attempts))
    assert (None if older is None else str(older)) == lacks


def test_a_ledger_of_which_nothing_was_noted_is_no_copy(tmp_path: Path) -> None:
    assert LedgerHistory(tmp_path).missing_in(IDENTITY, [record(1)], counts(3)) is None


def test_a_run_that_began_since_the_ledger_was_read_is_looked_for_again(history: LedgerHistory) -> None:
    now = [record(1), record(2)], counts(15)
    assert history.missing_in(IDENTITY, [record(1)], counts(10), lambda: now) is None


def test_a_run_that_begins_while_the_ledger_is_read_again_is_not_missed(history: LedgerHistory) -> None:
    def look_again() -> tuple[list[RunRecord], Counts]:
        history.begin(note(3, 15, 15))
        return [record(1), record(2)], counts(15)

    assert history.missing_in(IDENTITY, [record(1)], counts(10), look_again) is None


def test_what_is_still_missing_when_it_is_read_again_makes_it_a_copy(history: LedgerHistory) -> None:
    older = history.missing_in(IDENTITY, [record(1)], counts(10), lambda: ([record(1)], counts(12)))
    assert older is not None
    assert older.run == 2


def test_of_a_file_what_was_noted_since_it_was_read_is_another_copys(history: LedgerHistory, tmp_path: Path) -> None:
    """A file has one run at a time."""
    with pytest.raises(PlanError, match="is an older copy of its ledger: it is from before run 2"):
        Histories([history]).require_latest(tmp_path / "people.ledger.db", IDENTITY, [record(1)], counts(10))


async def test_a_machine_that_has_joined_since_the_ledger_was_read_makes_it_no_older_copy(
    database: str, tmp_path: Path
) -> None:
    kept_in = LedgerHistory(tmp_path)
    async with cluster(database, tmp_path, 3) as them:
        with open_ledger(them.url) as reader:
            identity, runs, before = reader.plan().identity, reader.runs(), reader.counts()
        other = await them.open()
        Histories([kept_in]).begin(other, them.url, START)
        assert kept_in.missing_in(identity, runs, before) is not None
        await asyncio.to_thread(Histories([kept_in]).require_latest, them.url, identity, runs, before)
