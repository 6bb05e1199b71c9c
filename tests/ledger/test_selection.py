"""The language of `--only` and `--rows`: what it takes, and what it says of words that it does not know."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksms.ledger import EVERYTHING, Rows, Selection
from bulksms.model.message import REASONS, RETRYABLE, TRANSITIONS, Reason, State

WORDS = [(state, reason) for state, reasons in REASONS.items() for reason in (None, *reasons)]
GIVEN_BY = {(state, reason) for state, reasons in REASONS.items() for reason in (reasons or (None,))}


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("failed", {(State.FAILED, None)}),
        ("failed:attempts_exhausted,expired", {(State.FAILED, Reason.ATTEMPTS_EXHAUSTED), (State.EXPIRED, None)}),
        (" unknown : crash , failed ", {(State.UNKNOWN, Reason.CRASH), (State.FAILED, None)}),
        ("failed,failed,", {(State.FAILED, None)}),
    ],
)
def test_states_and_reasons_are_read(text: str, chosen: set[tuple[State, Reason | None]]) -> None:
    assert Selection.parse(text).chosen == chosen


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("faild", "no state 'faild'; did you mean 'failed'"),
        ("Failed", "no state 'Failed'; did you mean 'failed'"),
        ("delivered", "states are queued, sending, processing, accepted"),
        ("failed:attempts_exhuasted", "failed has no reason 'attempts_exhuasted'; did you mean 'attempts_exhausted'"),
        (
            "failed:crash",
            "there are failed:rejected, failed:rejected_before_api, failed:attempts_exhausted, failed:resolved_by_hand",
        ),
        ("failed:", "failed has no reason ''"),
        ("queued:crash", "queued has no reasons; write 'queued' alone"),
        ("", "no state is named"),
        (" , ", "no state is named"),
    ],
)
def test_a_word_that_selects_nothing_is_a_mistake_that_names_the_good_ones(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Selection.parse(text)


@given(chosen=st.frozensets(st.sampled_from(WORDS), min_size=1), message=st.sampled_from(sorted(GIVEN_BY, key=str)))
def test_a_selection_takes_what_it_names_and_is_written_as_it_is_read(
    chosen: frozenset[tuple[State, Reason | None]], message: tuple[State, Reason | None]
) -> None:
    selection = Selection(chosen)
    state, reason = message
    assert selection.takes(state, reason) == ((state, None) in chosen or (state, reason) in chosen)
    assert Selection.parse(str(selection)) == selection
    assert EVERYTHING.takes(state, reason)


def test_every_state_has_its_reasons_and_a_person_retries_what_the_state_table_lets_go() -> None:
    assert set(REASONS) == set(State)
    assert {reason for reasons in REASONS.values() for reason in reasons} == set(Reason)
    assert {state for state, followers in TRANSITIONS.items() if State.QUEUED in followers} == RETRYABLE | {
        State.SENDING
    }


@pytest.mark.parametrize(
    ("text", "rows"), [("12", {12}), ("12,40-42", {12, 40, 41, 42}), (" 3 , 1 - 2 ", {1, 2, 3}), ("5-5", {5})]
)
def test_rows_are_read(text: str, rows: set[int]) -> None:
    assert {row for row in range(60) if row in Rows.parse(text)} == rows


@pytest.mark.parametrize("text", ["", "0", "-3", "3-", "a", "1,,2", "1.5", "٣", "4-2", "1-2-3", "9" * 30])
def test_what_is_no_row_is_reported(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no row; write rows as the report shows them|runs backwards; write 2-4"):
        Rows.parse(text)


def test_the_parts_in_which_there_is_nothing_are_named() -> None:
    assert Rows.parse("2,9,40-60,3-8").without({2, 8}) == ["9", "40-60"]
