"""The summary: members of the contract, the equation, and the exit code that describes the whole ledger."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from msgspec import to_builtins

from bulksms.ledger import DraftRow, OutcomeRecord, Recovery, RunStart, new_draft, open_ledger
from bulksms.ledger.sqlite.writer import open_for_run
from bulksms.model.attempt import Attempt, OperationResult, ResultType
from bulksms.model.message import State
from bulksms.model.run_settings import StopReason
from bulksms.report.summary import MEANINGS, ExitCode, Summary, summarise

MEMBERS = """ledger, run, input, url, fingerprint, total, counts, possible_duplicate, stopped, elapsed_seconds,
messages_per_second, machines"""


def summary(counts: dict[State, int] | None = None, **values: Any) -> Summary:
    known: dict[str, Any] = {
        "ledger": Path("people.ledger.db"),
        "run": 1,
        "input": "people.csv",
        "url": "https://adaxes.example/restApi",
        "fingerprint": "ab" * 32,
        "counts": {**dict.fromkeys(State, 0), **(counts or {})},
        "bad_rows": 0,
        "possible_duplicate": 0,
        "stopped": None,
        "elapsed_seconds": 2.0,
        "settled": 100,
    }
    return Summary(**{**known, **values})


EVERYTHING = {
    State.ACCEPTED: 5,
    State.FAILED: 1,
    State.UNKNOWN: 1,
    State.EXPIRED: 1,
    State.AWAITING_APPROVAL: 1,
    State.QUEUED: 1,
}
"""So that whatever comes first decides."""
CODES = [
    ({State.ACCEPTED: 5}, 0, None, 0),
    ({State.ACCEPTED: 5, State.SKIPPED: 2}, 0, None, 0),
    ({}, 0, None, 0),
    ({State.ACCEPTED: 5, State.FAILED: 1}, 0, None, 1),
    ({State.ACCEPTED: 5, State.EXPIRED: 1}, 0, None, 1),
    ({State.ACCEPTED: 5, State.AWAITING_APPROVAL: 1}, 0, None, 1),
    ({State.ACCEPTED: 5, State.SKIPPED: 2}, 1, None, 1),
    ({State.ACCEPTED: 5, State.UNKNOWN: 1}, 0, None, 4),
    ({State.FAILED: 5, State.UNKNOWN: 1}, 1, None, 4),
    *(
        (counts, bad_rows, stopped, 5)
        for stopped in (
            "unauthorized",
            "wrong_endpoint",
            "server_unavailable",
            "too_many_failures",
            "too_many_unknown",
            "canary_failed",
            "deadline",
            "outside_hours",
        )
        for counts, bad_rows in (({State.ACCEPTED: 5}, 0), (EVERYTHING, 1))
    ),
    ({State.ACCEPTED: 5}, 0, "interrupted", 130),
    (EVERYTHING, 1, "interrupted", 130),
    ({State.ACCEPTED: 5}, 0, "ledger_error", 6),
    (EVERYTHING, 1, "ledger_error", 6),
    (EVERYTHING, 1, "internal_error", 70),
]


@pytest.mark.parametrize(("counts", "bad_rows", "stopped", "code"), CODES)
def test_the_first_of_6_130_5_4_1_0_describes_the_ledger(
    counts: dict[State, int], bad_rows: int, stopped: str | None, code: int
) -> None:
    assert summary(counts, bad_rows=bad_rows, stopped=stopped).exit_code == code


def test_every_stop_of_the_contract_has_a_code() -> None:
    assert {stop for _, _, stop, _ in CODES if stop is not None} == {stop.value for stop in StopReason}


def test_the_codes_are_those_of_the_contract_and_each_has_words() -> None:
    assert sorted(ExitCode) == [0, 1, 2, 3, 4, 5, 6, 70, 130, 143]
    assert set(MEANINGS) == set(ExitCode)


def test_the_members_of_the_json_are_those_of_the_contract() -> None:
    parsed = to_builtins(summary({State.ACCEPTED: 98, State.UNKNOWN: 2}, possible_duplicate=1).result())
    assert list(parsed) == ["format", *MEMBERS.replace("\n", " ").split(", ")]
    assert list(parsed["counts"]) == [state.value for state in State]
    assert sum(parsed["counts"].values()) == parsed["total"] == 100
    assert (parsed["messages_per_second"], parsed["elapsed_seconds"], parsed["stopped"]) == (50.0, 2.0, None)


@pytest.mark.parametrize("elapsed", [None, 0.0])
def test_without_a_time_there_is_no_speed(elapsed: float | None) -> None:
    assert summary(elapsed_seconds=elapsed).messages_per_second is None
    assert summary(settled=None).messages_per_second is None


def test_the_equation_names_what_there_is() -> None:
    counts = {State.ACCEPTED: 3_998, State.FAILED: 2, State.QUEUED: 0}
    assert summary(counts).equation() == "4,000 = 3,998 accepted + 2 failed"
    assert summary().equation() == "0 = 0"


def test_a_summary_is_what_the_ledger_says(tmp_path: Path) -> None:
    path = tmp_path / "people.ledger.db"
    with new_draft(path) as draft:
        draft.add(DraftRow(number, f"CN={number}", f"dn:cn={number}", "Hi", "{}", "GSM-7", 1) for number in (2, 3))
        draft.add([DraftRow(4, "?", "", "Hi", "{}", None, None, State.SKIPPED)])
        draft.index()
        fingerprint = draft.fingerprint()
        draft.keep(source="people.csv", columns=[], fingerprint=fingerprint, summary='{"bad_rows": 1}', version="1")
    with open_ledger(path) as reader:
        planned = summarise(reader)
    assert (planned.run, planned.url, planned.stopped, planned.elapsed_seconds) == (None, None, None, None)
    assert (planned.total, planned.counts[State.QUEUED], planned.is_living) == (3, 2, False)

    async def run() -> None:
        record = RunStart("https://adaxes.example", "1.0", "anna", "server-1", 4711, "{}", "--yes")
        ledger = await open_for_run(path, Recovery(State.UNKNOWN, 5), record)
        first, *_ = await ledger.claim(State.QUEUED, 0, 1)
        first.attempts = first.tries = 1
        await ledger.record_intent(first, 1.0)
        attempt = Attempt(True, 200, result=OperationResult(ResultType.SUCCEEDED), began_at=1.0)
        ledger.record_outcome(first, attempt, OutcomeRecord(State.ACCEPTED, evidence="succeeded"))
        with open_ledger(path) as reader:
            assert summarise(reader).is_living
        await ledger.end_run("server_unavailable", 4.0, 1)
        await ledger.close()

    asyncio.run(run())
    with open_ledger(path) as reader:
        after = summarise(reader)
    assert (after.run, after.url, after.stopped, after.exit_code) == (
        1,
        "https://adaxes.example",
        "server_unavailable",
        5,
    )
    assert (after.messages_per_second, after.bad_rows, after.fingerprint) == (0.25, 1, fingerprint)
    assert after.equation() == "3 = 1 queued + 1 accepted + 1 skipped"
    assert not after.is_living
