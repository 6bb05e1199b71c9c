"""The runs: who, where, how and why, the same for people and machines, in lines that a narrow terminal shows whole."""

from typing import TYPE_CHECKING, Any

import pytest
from msgspec import to_builtins

from bulksms.ledger import open_ledger
from bulksms.ledger.sqlite.lock import RunLock
from bulksms.model.run_settings import RunSettings, StopReason
from bulksms.report.history import DIED, STOPS, RunDescription, as_blocks, describe_runs

if TYPE_CHECKING:
    from tests.report.harness import LedgerFactory


def described(ledgers: "LedgerFactory", settings: dict[str, Any], **course: Any) -> RunDescription:
    path = ledgers.people(2)
    ledgers.run(path, ledgers.course([[ledgers.ACCEPTED]], settings=settings, **course))
    with open_ledger(path) as reader:
        (run,) = describe_runs(reader)
    return run


def test_the_json_tells_all_of_a_run(ledgers: "LedgerFactory") -> None:
    settings = {**RunSettings(workers=32).as_dict(), "account": "bulk@example.com"}
    run = to_builtins(described(ledgers, settings, stopped="server_unavailable").entry())
    assert run["started_at"] <= run["ended_at"]
    assert {name: run[name] for name in run if name not in {"started_at", "ended_at"}} == {
        "run": 1,
        "is_living": False,
        "stopped": "server_unavailable",
        "user": "anna",
        "host": "ops-1",
        "process": 4711,
        "account": "bulk@example.com",
        "url": "https://adaxes.example/restApi",
        "version": "1.0",
        "options": {"workers": 32},
        "confirmed_by": "at the terminal",
        "stopped_by": None,
        "elapsed_seconds": 4.0,
        "settled": 1,
        "messages_per_second": 0.25,
    }


def test_every_stop_has_its_words() -> None:
    assert set(STOPS) == {stop.value for stop in StopReason}


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
def test_options_are_reported_as_one_would_write_them_if_they_are_not_the_default(
    ledgers: "LedgerFactory", settings: dict[str, Any], flags: list[str]
) -> None:
    assert described(ledgers, settings).flags() == flags


def test_a_run_that_was_killed_is_reported_as_one(ledgers: "LedgerFactory") -> None:
    run = described(ledgers, {}, dies_with=1)
    assert run.ending == DIED
    assert run.entry().ended_at is None
    assert "has not ended by itself" in run.facts()["settled"]


def test_only_the_last_run_can_be_the_living_one(ledgers: "LedgerFactory") -> None:
    path = ledgers.people(3)
    ledgers.run(path, ledgers.course(dies_with=1), ledgers.course(dies_with=1))
    lock = RunLock(path)
    lock.acquire("a test")
    try:
        with open_ledger(path) as reader:
            assert [run.is_living for run in describe_runs(reader)] == [False, True]
            assert "it is working now" in "".join(as_blocks(describe_runs(reader)))
    finally:
        lock.release()


def test_a_block_fits_a_terminal_of_80_columns(ledgers: "LedgerFactory") -> None:
    settings = {"max_attempts": 9, "workers": 64, "delivery": "at-least-once", "timeout": 12.5, "max_outage": 1200.0}
    path = ledgers.people(2)
    courses = [ledgers.course([[ledgers.ACCEPTED]], stopped, settings) for stopped in ("wrong_endpoint", None)]
    ledgers.run(path, *courses)
    with open_ledger(path) as reader:
        text = "".join(as_blocks(describe_runs(reader)))
    assert max(map(len, text.splitlines())) <= 80
    first, second = text.split("\n\n")
    assert first.startswith("Run 1\n  started       2")
    assert "--delivery at-least-once" in " ".join(first.split())
    assert "stopped (wrong_endpoint): the server answered, but not as Adaxes would there" in " ".join(first.split())
    assert "settled       1 in 4.0 s, 0.25 a second\n" in first
    assert ", finished\n" in second


def test_what_people_decided_follows_the_runs(ledgers: "LedgerFactory") -> None:
    decisions = ["2026-11-22T14:30:00Z resolve by anna on server-1: 2 unknown:no_answer to accepted", "word " * 40]
    _, _, text = "".join(as_blocks([described(ledgers, {})], decisions)).partition("\n\n")
    lines = text.splitlines()
    assert lines[0] == "Decided by people"
    assert max(map(len, lines)) <= 80
    assert " ".join(" ".join(lines[1:]).split()) == " ".join(" ".join(decisions).split())


def test_what_a_terminal_would_obey_is_shown_as_its_code(ledgers: "LedgerFactory") -> None:
    block = "".join(as_blocks([described(ledgers, {"account": "\x1b[31mred"}, user="\u202eanna")]))
    assert block.replace("\n", "").isprintable()
    assert "\\x1b[31mred" in block


def test_a_plan_that_nobody_started_has_no_runs(ledgers: "LedgerFactory") -> None:
    with open_ledger(ledgers.people(1)) as reader:
        assert not describe_runs(reader)
        assert list(as_blocks(describe_runs(reader))) == ["No run has worked on it yet.\n"]
