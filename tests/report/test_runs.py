"""The runs: who, where, how and why, the same for people and machines, in lines that a narrow terminal shows whole."""

from typing import TYPE_CHECKING, Any

import pytest

from bulksms.config import RunSettings
from bulksms.delivery.retry import Stop
from bulksms.ledger.lock import RunLock
from bulksms.ledger.reader import LedgerReader
from bulksms.report.runs import DIED, STOPS, RunTold, as_blocks, runs_told

if TYPE_CHECKING:
    from tests.report.conftest import Bookkeeper


def told(bookkeeper: "Bookkeeper", settings: dict[str, Any], **course: Any) -> RunTold:
    path = bookkeeper.people(2)
    bookkeeper.run(path, bookkeeper.course([[bookkeeper.ACCEPTED]], settings=settings, **course))
    with LedgerReader(path) as reader:
        (run,) = runs_told(reader)
    return run


def test_the_json_tells_all_of_a_run(bookkeeper: "Bookkeeper") -> None:
    settings = {**RunSettings(workers=32).as_dict(), "account": "bulk@example.com"}
    run = told(bookkeeper, settings, stopped="away").as_json()
    assert run["started_at"] <= run["ended_at"]
    assert {name: run[name] for name in run if name not in {"started_at", "ended_at"}} == {
        "run": 1,
        "is_living": False,
        "stopped": "away",
        "user": "anna",
        "host": "ops-1",
        "process": 4711,
        "account": "bulk@example.com",
        "url": "https://adaxes.example/restApi",
        "version": "1.0",
        "options": {"workers": 32},
        "confirmed_by": "at the terminal",
        "elapsed_seconds": 4.0,
        "settled": 1,
        "messages_per_second": 0.25,
    }


def test_every_stop_has_its_words() -> None:
    assert set(STOPS) == {stop.value for stop in Stop}


@pytest.mark.parametrize(
    ("settings", "flags"),
    [
        (RunSettings().as_dict(), []),
        ({}, []),
        ({"adapt": False}, ["--no-adapt"]),
        ({"keep_going": True}, ["--keep-going"]),
        ({"rate": 5.0}, ["--rate 5"]),
        ({"max_failures": "10%"}, ["--max-failures 10%"]),
        ({"delivery": "at-least-once"}, ["--delivery at-least-once"]),
        ({"deadline": {"at": None, "after": 1_800.0}}, ["--deadline 1800s"]),
        ({"deadline": {"at": 1_763_951_700.0, "after": None}}, ["--deadline 2025-11-24T02:35:00+00:00"]),
        ({"sandbox": True}, ["--sandbox"]),
        ({"account": "bulk@example.com"}, []),
    ],
)
def test_options_are_told_as_one_would_write_them_if_they_are_not_the_default(
    bookkeeper: "Bookkeeper", settings: dict[str, Any], flags: list[str]
) -> None:
    assert told(bookkeeper, settings).flags() == flags


def test_a_run_that_was_killed_is_told_as_one(bookkeeper: "Bookkeeper") -> None:
    run = told(bookkeeper, {}, dies_with=1)
    assert run.ending == DIED
    assert run.as_json()["ended_at"] is None
    assert "has not ended by itself" in run.facts()["settled"]


def test_only_the_last_run_can_be_the_living_one(bookkeeper: "Bookkeeper") -> None:
    path = bookkeeper.people(3)
    bookkeeper.run(path, bookkeeper.course(dies_with=1), bookkeeper.course(dies_with=1))
    lock = RunLock(path)
    lock.acquire("a test")
    try:
        with LedgerReader(path) as reader:
            assert [run.is_living for run in runs_told(reader)] == [False, True]
            assert "it is working now" in "".join(as_blocks(runs_told(reader)))
    finally:
        lock.release()


def test_a_block_fits_a_terminal_of_80_columns(bookkeeper: "Bookkeeper") -> None:
    settings = {"max_attempts": 9, "workers": 64, "delivery": "at-least-once", "timeout": 12.5, "max_pause": 1200.0}
    path = bookkeeper.people(2)
    courses = [bookkeeper.course([[bookkeeper.ACCEPTED]], stopped, settings) for stopped in ("endpoint", None)]
    bookkeeper.run(path, *courses)
    with LedgerReader(path) as reader:
        text = "".join(as_blocks(runs_told(reader)))
    assert max(map(len, text.splitlines())) <= 80
    first, second = text.split("\n\n")
    assert first.startswith("Run 1\n  started       2")
    assert "--delivery at-least-once" in " ".join(first.split())
    assert "stopped (endpoint): the server answered, but not as Adaxes would there" in " ".join(first.split())
    assert "settled       1 in 4.0 s, 0.25 a second\n" in first
    assert ", finished\n" in second


def test_what_people_decided_follows_the_runs(bookkeeper: "Bookkeeper") -> None:
    decisions = ["2026-11-22T14:30:00Z resolve by anna on server-1: 2 unknown:lost_answer to accepted", "word " * 40]
    _, _, text = "".join(as_blocks([told(bookkeeper, {})], decisions)).partition("\n\n")
    lines = text.splitlines()
    assert lines[0] == "Decided by people"
    assert max(map(len, lines)) <= 80
    assert " ".join(" ".join(lines[1:]).split()) == " ".join(" ".join(decisions).split())


def test_what_a_terminal_would_obey_is_shown_as_its_code(bookkeeper: "Bookkeeper") -> None:
    block = "".join(as_blocks([told(bookkeeper, {"account": "\x1b[31mred"}, user="\u202eanna")]))
    assert block.replace("\n", "").isprintable()
    assert "\\u001b[31mred" in block


def test_a_plan_that_nobody_started_has_no_runs(bookkeeper: "Bookkeeper") -> None:
    with LedgerReader(bookkeeper.people(1)) as reader:
        assert not runs_told(reader)
        assert list(as_blocks(runs_told(reader))) == ["No run has worked on it yet.\n"]
