"""What is suggested after a run, row by row, and that nothing suggested sends to somebody who may have the message."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksms.model.message import REASONS, RETRYABLE, Reason, State
from bulksms.report.summary import Summary, next_steps

LEDGER = Path("folder/people.ledger.db")
NAME = str(LEDGER)
UNKNOWN = str(Path("folder/people.unknown.csv"))
PAGE = str(LEDGER.with_name("people.html"))
FOLLOW_UP = str(LEDGER.with_name("people.follow-up.ledger.db"))
AFTER_SUCCESS = [
    ("report", NAME, "--format", "html", "-o", PAGE),
    ("send", "--sent-in", NAME, "--text-file", "follow-up.txt", "--ledger", FOLLOW_UP),
]
COUNTS = st.dictionaries(
    st.sampled_from([(state, reason) for state, reasons in REASONS.items() for reason in (reasons or (None,))]),
    st.integers(1, 9),
)


def suggested(counts: dict[tuple[State, Reason | None], int], *, is_rehearsal: bool = False) -> list[tuple[str, ...]]:
    of_state = {state: sum(count for (of, _), count in counts.items() if of is state) for state in State}
    summary = Summary(LEDGER, 1, "people.csv", None, "", of_state, 0, 0, None, None)
    reasons = [(state, reason, count) for (state, reason), count in counts.items()]
    return [step.arguments for step in next_steps(summary, reasons, is_rehearsal=is_rehearsal)]


@pytest.mark.parametrize(
    ("counts", "commands"),
    [
        ({(State.ACCEPTED, None): 5}, AFTER_SUCCESS),
        (
            {(State.ACCEPTED, None): 5, (State.FAILED, Reason.RESOLVED_BY_HAND): 1},
            [("report", NAME, "--only", "failed"), ("retry", NAME, "--only", "failed:resolved_by_hand")],
        ),
        ({(State.QUEUED, None): 5}, [("resume", NAME)]),
        (
            {(State.QUEUED, None): 5, (State.FAILED, Reason.REJECTED): 1, (State.UNKNOWN, Reason.CRASH): 1},
            [("resume", NAME), ("report", NAME, "--only", "unknown,failed")],
        ),
        ({(State.FAILED, Reason.ATTEMPTS_EXHAUSTED): 1}, [("retry", NAME), ("report", NAME, "--only", "failed")]),
        ({(State.EXPIRED, Reason.DEADLINE): 1}, [("retry", NAME)]),
        (
            {(State.FAILED, Reason.REJECTED): 1},
            [("report", NAME, "--only", "failed"), ("retry", NAME, "--only", "failed:rejected")],
        ),
        (
            {(State.FAILED, Reason.REJECTED): 1, (State.FAILED, Reason.REJECTED_BEFORE_API): 2},
            [
                ("report", NAME, "--only", "failed"),
                ("retry", NAME, "--only", "failed:rejected,failed:rejected_before_api"),
            ],
        ),
        (
            {(State.UNKNOWN, Reason.CRASH): 1},
            [
                ("report", NAME, "--only", "unknown"),
                ("report", NAME, "--only", "unknown", "--format", "csv", "-o", UNKNOWN),
                ("resolve", NAME, "--from", UNKNOWN),
            ],
        ),
        ({(State.AWAITING_APPROVAL, None): 1}, [("report", NAME, "--only", "awaiting_approval")]),
        (
            {(State.PROCESSING, None): 1},
            [("resume", NAME), ("report", NAME, "--only", "processing")],
        ),
        ({(State.CANCELLED, Reason.CANCELLED): 1, (State.SKIPPED, Reason.DUPLICATE): 1}, []),
    ],
)
def test_how_a_ledger_is_suggests_what_to_do(
    counts: dict[tuple[State, Reason | None], int], commands: list[tuple[str, ...]]
) -> None:
    assert suggested(counts) == commands


@given(counts=COUNTS)
def test_nothing_is_suggested_that_could_tell_somebody_twice(counts: dict[tuple[State, Reason | None], int]) -> None:
    for command, _, *options in suggested(counts):
        if command == "retry":
            assert not options or options[1].split(",")[0] in {
                *("failed:rejected", "failed:rejected_before_api", "failed:resolved_by_hand")
            }
            assert {state for state, _ in counts} & (RETRYABLE - {State.UNKNOWN})


@given(counts=COUNTS)
def test_a_rehearsal_can_only_be_looked_at(counts: dict[tuple[State, Reason | None], int]) -> None:
    assert {command for command, *_ in suggested(counts, is_rehearsal=True)} <= {"report"}


def steps_of(ledger: Path, counts: dict[State, int], *, is_rehearsal: bool = False) -> list[str]:
    of_state = {state: counts.get(state, 0) for state in State}
    summary = Summary(ledger, 1, "people.csv", None, "", of_state, 0, 0, None, None, is_rehearsal=is_rehearsal)
    reasons = [(State.FAILED, Reason.RESOLVED_BY_HAND, of_state[State.FAILED])]
    return [" ".join(step.arguments).replace(f"{ledger.parent}/", "") for step in next_steps(summary, reasons)]


def test_a_file_that_is_there_already_is_not_named_again(tmp_path: Path) -> None:
    ledger = tmp_path / "people.ledger.db"
    for name in ("people.html", "people.unknown.csv", "people.unknown-2.csv", "people.follow-up.ledger.db"):
        (tmp_path / name).touch()
    assert [command.rpartition(" ")[2] for command in steps_of(ledger, {State.UNKNOWN: 1})] == [
        "unknown",
        "people.unknown-3.csv",
        "people.unknown-3.csv",
    ]
    page, follow_up = steps_of(ledger, {State.ACCEPTED: 1})
    assert page.endswith("-o people-2.html")
    assert follow_up.endswith("--text-file follow-up-2.txt --ledger people.follow-up-2.ledger.db")
    _, third = steps_of(tmp_path / "people.follow-up.ledger.db", {State.ACCEPTED: 1})
    assert third == (
        "send --sent-in people.follow-up.ledger.db --text-file follow-up-2.txt --ledger people.follow-up-2.ledger.db"
    )


def test_what_a_rehearsal_sent_is_not_sent_again(tmp_path: Path) -> None:
    shown = steps_of(tmp_path / "people.sandbox.db", {State.FAILED: 1}, is_rehearsal=True)
    assert shown == ["report people.sandbox.db --only failed"]
