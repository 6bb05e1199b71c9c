"""What servers complain of: grouped by what it has in common, in a memory that does not grow."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksms.attempt import ApiError, Attempt, Failure, OperationResult, ResultType
from bulksms.delivery.complaints import MOST_KINDS, Complaints

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
    (Attempt(headers_sent=True, status=200, failure=Failure.GARBLED, detail="no JSON"), "garbled: no JSON"),
]


@pytest.mark.parametrize(("attempt", "words"), HEARD)
def test_a_complaint_is_told_in_the_words_of_whoever_said_it(attempt: Attempt, words: str) -> None:
    complaints = Complaints()
    complaints.hear(attempt, ANN)
    complaints.hear(attempt, ANN)
    assert complaints.latest(5) == ((words, 2),)


@pytest.mark.parametrize(
    "attempt",
    [
        Attempt(headers_sent=True, status=200, result=SUCCEEDED),
        Attempt(headers_sent=True, status=202, operation_id="4711"),
        Attempt(headers_sent=True, failure=Failure.CANCELLED),
    ],
)
def test_what_went_well_or_was_broken_off_here_is_no_complaint(attempt: Attempt) -> None:
    complaints = Complaints()
    complaints.hear(attempt, ANN)
    assert not complaints.kinds


def test_the_same_words_about_other_people_are_one_kind() -> None:
    complaints = Complaints()
    for number in range(100):
        complaints.hear(refused(f"User {number} ('ann{number}') is gone."), f"CN=User {number},DC=x")
    assert complaints.latest(5) == (("404 User 99 ('ann99') is gone.", 100),)


def test_the_most_frequent_of_the_last_kinds_come_first() -> None:
    complaints = Complaints()
    for words in ("one", "two", "two", "three", "two", "one"):
        complaints.hear(refused(words), ANN)
    assert complaints.latest(2) == (("404 two", 3), ("404 one", 2))


def test_the_kind_that_was_not_heard_for_the_longest_time_makes_room() -> None:
    complaints = Complaints()
    kinds = [f"{first}{second}" for first in "abcdefgh" for second in "abcdefgh"]
    for words in kinds:
        complaints.hear(refused("often"), ANN)
        complaints.hear(refused(words), ANN)
    assert len(complaints.kinds) == MOST_KINDS
    heard = dict(complaints.latest(MOST_KINDS))
    assert heard["404 often"] == len(kinds)
    assert "404 aa" not in heard
    assert "404 hh" in heard


@given(st.lists(st.tuples(st.integers(400, 599), st.text(max_size=20)), max_size=300))
def test_memory_does_not_grow_with_the_number_of_answers(answers: list[tuple[int, str]]) -> None:
    complaints = Complaints()
    for status, words in answers:
        complaints.hear(refused(words, status), ANN)
        assert len(complaints.kinds) <= MOST_KINDS
    assert sum(count for _, count in complaints.kinds.values()) <= len(answers)
    latest = complaints.latest(5)
    assert all(earlier[1] >= later[1] for earlier, later in pairwise(latest))
