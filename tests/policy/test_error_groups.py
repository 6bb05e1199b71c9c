"""Errors: grouped by what they have in common, in a memory that does not grow."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksms.model.attempt import ApiError, Attempt, Failure, OperationResult, ResultType
from bulksms.policy.judgement import MAX_GROUPS, ErrorGroups

ANN = "CN=Ann,OU=Staff,DC=example,DC=com"
SUCCEEDED = OperationResult(ResultType.SUCCEEDED)


def refused(words: str, status: int = 404) -> Attempt:
    return Attempt(headers_sent=True, status=status, api_error=ApiError(words))


HEARD = [
    (refused("The service is not available.", 503), "503 The service is not available."),
    (refused(f"The object {ANN} was not found."), "404 The object ... was not found."),
    (Attempt(headers_sent=True, status=404), "404"),
    (
        Attempt(headers_sent=True, status=200, result=OperationResult(ResultType.FAILED, error="No number.")),
        "No number.",
    ),
    (
        Attempt(headers_sent=False, failure=Failure.REFUSED, detail="Connect call failed"),
        "refused: Connect call failed",
    ),
    (Attempt(headers_sent=True, failure=Failure.READ_TIMEOUT), "read_timeout"),
    (Attempt(headers_sent=True, status=200, failure=Failure.MALFORMED, detail="no JSON"), "garbled: no JSON"),
]


@pytest.mark.parametrize(("attempt", "words"), HEARD)
def test_a_error_is_sent_in_the_words_of_who_reported_it(attempt: Attempt, words: str) -> None:
    errors = ErrorGroups()
    errors.add(attempt, ANN)
    errors.add(attempt, ANN)
    assert errors.latest(5) == ((words, 2),)


@pytest.mark.parametrize(
    "attempt",
    [
        Attempt(headers_sent=True, status=200, result=SUCCEEDED),
        Attempt(headers_sent=True, status=202, operation_id="4711"),
        Attempt(headers_sent=True, failure=Failure.CANCELLED),
    ],
)
def test_what_went_well_or_was_broken_off_here_is_no_error(attempt: Attempt) -> None:
    errors = ErrorGroups()
    errors.add(attempt, ANN)
    assert not errors.groups


def test_the_same_words_about_other_people_are_one_kind() -> None:
    errors = ErrorGroups()
    for number in range(100):
        errors.add(refused(f"User {number} ('ann{number}') is gone."), f"CN=User {number},DC=x")
    assert errors.latest(5) == (("404 User 99 ('ann99') is gone.", 100),)


def test_the_most_frequent_of_the_last_kinds_come_first() -> None:
    errors = ErrorGroups()
    for words in ("one", "two", "two", "three", "two", "one"):
        errors.add(refused(words), ANN)
    assert errors.latest(2) == (("404 two", 3), ("404 one", 2))


def test_the_kind_that_was_not_heard_for_the_longest_time_makes_room() -> None:
    errors = ErrorGroups()
    kinds = [f"{first}{second}" for first in "abcdefgh" for second in "abcdefgh"]
    for words in kinds:
        errors.add(refused("often"), ANN)
        errors.add(refused(words), ANN)
    assert len(errors.groups) == MAX_GROUPS
    heard = dict(errors.latest(MAX_GROUPS))
    assert heard["404 often"] == len(kinds)
    assert "404 aa" not in heard
    assert "404 hh" in heard


@given(st.lists(st.tuples(st.integers(400, 599), st.text(max_size=20)), max_size=300))
def test_memory_does_not_grow_with_the_number_of_answers(answers: list[tuple[int, str]]) -> None:
    errors = ErrorGroups()
    for status, words in answers:
        errors.add(refused(words, status), ANN)
        assert len(errors.groups) <= MAX_GROUPS
    assert sum(count for _, count in errors.groups.values()) <= len(answers)
    latest = errors.latest(5)
    assert all(earlier[1] >= later[1] for earlier, later in pairwise(latest))
