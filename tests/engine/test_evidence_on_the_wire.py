"""The contract's evidence table on the wire: every fault, alone and in sequences, in every delivery mode.

One run tells many people, each with a script of faults of its own. What is held: final state and reason, exactly the
promised number of requests, deliveries, `possible_duplicate`.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from bulksms.model.message import State
from bulksms.model.run_settings import DeliveryMode, RunSettings
from bulksms.policy.rate_limiter import LearntRate
from bulksms.sandbox import Fault, SlowSends
from bulksms.sandbox.faults import PROCESSED

if TYPE_CHECKING:
    from tests.engine.harness import EngineHarness

MODES = (DeliveryMode.AT_MOST_ONCE, DeliveryMode.BALANCED, DeliveryMode.AT_LEAST_ONCE)
SETTINGS = RunSettings(workers=16, timeout=20.0, poll_timeout=60.0)

Expected = tuple[str, str | None, int, bool]
"""State, reason, requests on the wire, may have been sent twice."""

ACCEPTED: Expected = ("accepted", None, 1, False)
ACCEPTED_LATER: Expected = ("accepted", None, 2, False)
ACCEPTED_PERHAPS_TWICE: Expected = ("accepted", None, 2, True)
SUSPENDED: Expected = ("awaiting_approval", None, 1, False)
REFUSED: Expected = ("failed", "rejected", 1, False)
REJECTED_BEFORE_API: Expected = ("failed", "rejected_before_api", 1, False)
DOUBTFUL: Expected = ("unknown", "ambiguous_answer", 1, False)
LOST: Expected = ("unknown", "no_answer", 1, False)
OPERATION_LOST: Expected = ("unknown", "operation_lost", 1, False)


@pytest.fixture(autouse=True)
def _every_failure_is_the_recipient_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose failure it is has tests of its own: here many fail, and each of them for its own sake."""
    monkeypatch.setattr("bulksms.policy.circuit_breaker.HIGH_SHARE", 2.0)
    monkeypatch.setattr(LearntRate, "on_throttled", lambda *_: False)


F = Fault
TABLE: dict[tuple[Fault, ...], tuple[Expected, Expected, Expected]] = {
    (F.OK, F.RESULT_WARNING, F.RESULT_ERROR, F.RESULT_NAMED, F.DRIP, F.ANSWER_THEN_CLOSE, F.SLOW): (ACCEPTED,) * 3,
    (F.ACCEPTED_202, F.ACCEPTED_202_POLL_TROUBLE): (ACCEPTED,) * 3,
    (F.RESULT_SUSPENDED, F.ACCEPTED_202_SUSPENDED): (SUSPENDED,) * 3,
    (F.RESULT_FAILED, F.ACCEPTED_202_FAILED): (REFUSED,) * 3,
    (F.STATUS_400, F.STATUS_403, F.STATUS_404, F.STATUS_409, F.STATUS_413, F.STATUS_422): (REFUSED,) * 3,
    (F.HTML_403, F.HTML_404): (REJECTED_BEFORE_API,) * 3,
    (F.STATUS_408, F.STATUS_425, F.STATUS_429, F.STATUS_429_RETRY_AFTER, F.STATUS_429_RETRY_DATE): (
        (ACCEPTED_LATER,) * 3
    ),
    (F.STATUS_503, F.STATUS_503_RETRY_AFTER, F.HTML_503): (ACCEPTED_LATER,) * 3,
    (F.STATUS_500, F.STATUS_500_PROCESSED, F.HTML_500, F.STATUS_502, F.HTML_502, F.HTML_502_PROCESSED): (
        DOUBTFUL,
        ACCEPTED_PERHAPS_TWICE,
        ACCEPTED_PERHAPS_TWICE,
    ),
    (F.STATUS_504, F.HTML_504, F.HTML_504_PROCESSED): (DOUBTFUL, DOUBTFUL, ACCEPTED_PERHAPS_TWICE),
    (F.DROP_BEFORE, F.RESET_BEFORE, F.STALL_BEFORE): (LOST, LOST, ACCEPTED_PERHAPS_TWICE),
    (F.DROP_AFTER, F.RESET_AFTER, F.STALL, F.STALL_BODY, F.TRUNCATED): (LOST, LOST, ACCEPTED_PERHAPS_TWICE),
    (F.GARBAGE, F.EMPTY_200, F.HTML_200, F.UNREADABLE_JSON, F.WRONG_JSON_200): (LOST, LOST, ACCEPTED_PERHAPS_TWICE),
    (F.HUGE_200, F.STATUS_201, F.STATUS_204, F.ACCEPTED_202_NO_ID): (LOST, LOST, ACCEPTED_PERHAPS_TWICE),
    (F.ACCEPTED_202_LOST, F.ACCEPTED_202_STUCK): (OPERATION_LOST,) * 3,
}
"""What becomes of a message whose first request meets the fault and whose later ones go well, by mode."""

STOPS = {F.STATUS_401, F.STATUS_405, F.STATUS_407, F.STATUS_501, F.REDIRECT, F.REDIRECT_307}
"""These end the run, so they have tests of their own."""

ROWS = {fault: expected for faults, expected in TABLE.items() for fault in faults}
THROTTLED = {F.STATUS_429, F.STATUS_429_RETRY_AFTER, F.STATUS_429_RETRY_DATE}
"""These use up no attempt."""
SILENT = {F.STALL, F.STALL_BEFORE, F.STALL_BODY, F.ACCEPTED_202_STUCK}
"""These cost a whole time-out each, so they have a run with short ones."""
SLOW = SILENT | {F.STATUS_429_RETRY_DATE}
"""These are not repeated at will; the last one holds everybody for up to a second."""


def deliveries(script: Sequence[Fault], requests: int) -> int:
    """How often the phone rings for so many requests of a script."""
    met = [*script, *[F.OK] * requests][:requests]
    return sum(fault in PROCESSED for fault in met)


def test_every_fault_has_its_row() -> None:
    assert set(ROWS) | STOPS == set(Fault)
    assert not set(ROWS) & STOPS


@pytest.mark.parametrize("mode", MODES)
async def test_each_evidence_ends_in_the_promised_state_with_the_promised_requests(
    mode: DeliveryMode, harness: "EngineHarness"
) -> None:
    rows = {fault: expected[MODES.index(mode)] for fault, expected in ROWS.items() if fault not in SILENT}
    scripts = {f"CN={fault},DC=example": [fault] for fault in rows}

    record = await harness.run_scripted(scripts, SETTINGS.changed({"delivery": mode}), slow_sends=SlowSends(polls=2))

    assert {fault: record.of(f"CN={fault},DC=example") for fault in rows} == rows
    rung = {fault: record.journal.delivered(f"CN={fault},DC=example") for fault in rows}
    assert rung == {fault: deliveries([fault], expected[2]) for fault, expected in rows.items()}
    assert record.run.stopped is None


@pytest.mark.parametrize("mode", MODES)
async def test_silence_is_no_answer_when_the_time_is_over(mode: DeliveryMode, harness: "EngineHarness") -> None:
    rows = {fault: expected[MODES.index(mode)] for fault, expected in ROWS.items() if fault in SILENT}
    settings = RunSettings(timeout=1.0, poll_timeout=3.0, delivery=mode)
    record = await harness.run_scripted({f"CN={fault},DC=example": [fault] for fault in rows}, settings, between=4)
    assert {fault: record.of(f"CN={fault},DC=example") for fault in rows} == rows


@pytest.mark.parametrize("mode", MODES)
async def test_evidence_that_stays_uses_up_the_attempts(mode: DeliveryMode, harness: "EngineHarness") -> None:
    """Used up: `failed` if every attempt is known not to have been processed, else `unknown`."""
    place = MODES.index(mode)
    most = 3
    lasting = [fault for fault in ROWS if fault not in SLOW]
    scripts = {f"CN={fault},DC=example": [fault] * 10 for fault in lasting}
    settings = SETTINGS.changed({"delivery": mode, "max_attempts": most})

    record = await harness.run_scripted(scripts, settings)

    def expected(fault: Fault) -> Expected:
        expected = ROWS[fault][place]
        if expected[2] == 1:
            return expected
        if fault in THROTTLED:
            return ("accepted", None, 11, False)
        if expected is ACCEPTED_LATER:
            return ("failed", "attempts_exhausted", most, False)
        if mode is DeliveryMode.BALANCED:
            return ("unknown", "ambiguous_answer", 2, True)
        return ("unknown", str(ROWS[fault][0][1]), most, True)

    found = {fault: record.of(f"CN={fault},DC=example") for fault in lasting}
    assert found == {fault: expected(fault) for fault in lasting}


async def test_silence_that_stays_uses_up_the_attempts(harness: "EngineHarness") -> None:
    stalls = SILENT - {F.ACCEPTED_202_STUCK}
    settings = RunSettings(timeout=0.5, max_attempts=2, delivery=DeliveryMode.AT_LEAST_ONCE)
    record = await harness.run_scripted({f"CN={fault},DC=example": [fault] * 10 for fault in stalls}, settings)
    for fault in stalls:
        assert record.of(f"CN={fault},DC=example") == ("unknown", "no_answer", 2, True)


SEQUENCES: dict[DeliveryMode, dict[str, Expected]] = {
    DeliveryMode.AT_MOST_ONCE: {
        "503*4": ("accepted", None, 5, False),
        "503*2,500": ("unknown", "ambiguous_answer", 3, False),
        "429,drop_after": ("unknown", "no_answer", 2, False),
        "408,425,429,503,result_failed": ("failed", "rejected", 5, False),
        "429_retry_after,202": ("accepted", None, 2, False),
    },
    DeliveryMode.BALANCED: {
        "503*4": ("accepted", None, 5, False),
        "503*5": ("failed", "attempts_exhausted", 5, False),
        "503*2,429*3": ("accepted", None, 6, False),
        "503*2,429*3,503*3": ("failed", "attempts_exhausted", 8, False),
        "500,502": ("unknown", "ambiguous_answer", 2, True),
        "502_processed,500_processed": ("unknown", "ambiguous_answer", 2, True),
        "503,500,503": ("accepted", None, 4, True),
        "500,503*4": ("unknown", "ambiguous_answer", 5, True),
        "500,400": ("unknown", "ambiguous_answer", 2, True),
        "500,404_html": ("unknown", "ambiguous_answer", 2, True),
        "500,result_failed": ("unknown", "ambiguous_answer", 2, True),
        "500,202_failed": ("unknown", "ambiguous_answer", 2, True),
        "500,202": ("accepted", None, 2, True),
        "500,202_lost": ("unknown", "operation_lost", 2, True),
        "500,result_suspended": ("awaiting_approval", None, 2, True),
        "500,drop_before": ("unknown", "no_answer", 2, True),
        "500,504": ("unknown", "ambiguous_answer", 2, True),
        "503,drop_before": ("unknown", "no_answer", 2, False),
        "503*3,404": ("failed", "rejected", 4, False),
        "429*4,result_suspended": ("awaiting_approval", None, 5, False),
        "503*4,500": ("unknown", "ambiguous_answer", 5, False),
    },
    DeliveryMode.AT_LEAST_ONCE: {
        "drop_after*4": ("accepted", None, 5, True),
        "drop_after*5": ("unknown", "no_answer", 5, True),
        "drop_after,503*4": ("unknown", "no_answer", 5, True),
        "503,drop_after,500": ("accepted", None, 4, True),
        "503*4,drop_after": ("unknown", "no_answer", 5, False),
        "empty_200,404": ("unknown", "no_answer", 2, True),
        "503*5": ("failed", "attempts_exhausted", 5, False),
        "504,504,result_failed": ("unknown", "ambiguous_answer", 3, True),
        "garbage,202_failed": ("unknown", "no_answer", 2, True),
    },
}


@pytest.mark.parametrize("mode", MODES)
async def test_a_sequence_is_judged_by_all_its_attempts(mode: DeliveryMode, harness: "EngineHarness") -> None:
    listed = SEQUENCES[mode]
    names = {script: f"CN=Person {number},DC=example" for number, script in enumerate(listed)}
    scripts = {names[script]: _faults(script) for script in listed}

    record = await harness.run_scripted(scripts, SETTINGS.changed({"delivery": mode}))

    assert {script: record.of(names[script]) for script in listed} == listed
    for script, (_, _, requests, _) in listed.items():
        assert record.journal.delivered(names[script]) == deliveries(scripts[names[script]], requests), script


def _faults(script: str) -> list[Fault]:
    parts = (part.partition("*") for part in script.split(","))
    return [Fault(name) for name, _, times in parts for _ in range(int(times or 1))]


@dataclass
class Oracle:
    """The evidence table written again, as plainly as can be, for random scripts."""

    mode: DeliveryMode
    most: int

    def expected(self, script: Sequence[Fault]) -> Expected:
        """What the contract promises for a message that meets these faults one after another."""
        doubt: str | None = None
        twice = False
        tries = 0
        for requests, fault in enumerate([*script, F.OK], 1):
            twice = twice or doubt is not None
            tries += fault not in THROTTLED
            first, balanced, again = (expected[0] for expected in ROWS[fault])
            state, reason, _, _ = ROWS[fault][0]
            if ROWS[fault][0] in (ACCEPTED, SUSPENDED, OPERATION_LOST):
                return (state, reason, requests, twice)
            if state == "failed":
                return (state, reason, requests, False) if doubt is None else ("unknown", doubt, requests, twice)
            if ROWS[fault][0] is not ACCEPTED_LATER:
                before, doubt = doubt, reason
                once_used_up = self.mode is DeliveryMode.BALANCED and before is not None
                state = {DeliveryMode.AT_MOST_ONCE: first, DeliveryMode.BALANCED: balanced}.get(self.mode, again)
                if state == "unknown" or once_used_up:
                    return ("unknown", doubt, requests, twice)
            if tries == self.most and fault not in THROTTLED:
                return (
                    ("failed", "attempts_exhausted", requests, False)
                    if doubt is None
                    else ("unknown", doubt, requests, twice)
                )
        raise AssertionError("the last request goes well")


@pytest.mark.parametrize("mode", MODES)
async def test_any_script_ends_as_the_table_says(
    mode: DeliveryMode, harness: "EngineHarness", chance: random.Random
) -> None:
    kinds = [fault for fault in ROWS if fault not in SLOW]
    likely = [fault for fault in kinds if ROWS[fault][2][2] > 1]
    scripts = {
        f"CN=Person {number},DC=example": [chance.choice(likely if chance.random() < 0.8 else kinds) for _ in range(6)]
        for number in range(60)
    }

    record = await harness.run_scripted(scripts, SETTINGS.changed({"delivery": mode, "max_attempts": 4}))

    oracle = Oracle(mode, 4)
    for name, script in scripts.items():
        assert record.of(name) == oracle.expected(script), script
        assert record.journal.delivered(name) == deliveries(script, record.of(name)[2]), script
        assert record.lines[name].attempts == record.of(name)[2], script


async def test_one_attempt_allowed_is_one_attempt_made(harness: "EngineHarness") -> None:
    scripts = {"CN=a,DC=example": ["503"], "CN=b,DC=example": ["500"], "CN=c,DC=example": ["ok"]}
    record = await harness.run_scripted(scripts, SETTINGS.changed({"max_attempts": 1}))
    assert record.of("CN=a,DC=example") == ("failed", "attempts_exhausted", 1, False)
    assert record.of("CN=b,DC=example") == ("unknown", "ambiguous_answer", 1, False)
    assert record.of("CN=c,DC=example") == ACCEPTED


async def test_the_words_of_the_server_are_kept(harness: "EngineHarness") -> None:
    asked = ("result_warning", "result_error", "result_failed", "400", "503_html", "202_failed", "ok", "202")
    names = {fault: f"CN={fault},DC=example" for fault in asked}
    record = await harness.run_scripted(
        {names[fault]: [fault] for fault in asked}, SETTINGS.changed({"max_attempts": 1}), between=2
    )
    lines = {fault: record.lines[name] for fault, name in names.items()}
    assert lines["result_warning"].warnings == ("The number has no country code.",)
    assert lines["result_error"].warnings == ("The audit log could not be written.",)
    assert (lines["result_error"].error, lines["result_error"].result_type) == (None, 0)
    assert lines["result_failed"].error == "The recipient has no mobile phone number."
    assert (lines["result_failed"].http_status, lines["result_failed"].result_type) == (200, 1)
    assert (lines["400"].http_status, lines["400"].error_code) == (400, "badRequest")
    assert lines["400"].error == "The request is invalid."
    assert lines["503_html"].http_status == 503
    assert "Service Unavailable" in str(lines["503_html"].error)
    assert "<" not in str(lines["503_html"].error)
    assert lines["202_failed"].error == "The SMS gateway refused the number."
    assert lines["202_failed"].operation_id
    assert lines["202"].operation_id
    assert lines["ok"].object_dn == names["ok"]
    assert all(line.latency_ms is not None for line in lines.values())
    assert all(line.first_attempt_at is not None and line.finished_at is not None for line in lines.values())
    assert all(line.finished_at >= line.first_attempt_at for line in lines.values())  # type: ignore[operator]  # as above


async def test_warnings_never_make_a_message_go_again(harness: "EngineHarness") -> None:
    record = await harness.run_scripted(
        {"CN=a,DC=example": ["result_warning"], "CN=b,DC=example": ["result_error"]}, SETTINGS
    )
    assert record.count(State.ACCEPTED) == record.journal.total == len(record.lines)
