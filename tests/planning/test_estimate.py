"""What a deadline asks of a run: the figures, and the words for them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksms.planning import plan


@pytest.mark.parametrize(
    ("seconds", "messages", "workers", "rate", "result"),
    [
        (60, 100, 1, None, (30, 100)),
        (60, 1_000, 16, None, (480, 1_000)),
        (60, 1_000, 16, 5.0, (300, 300)),
        (0, 10, 16, None, (0, 0)),
    ],
)
def test_as_many_are_sent_as_the_workers_and_the_rate_allow(
    seconds: float, messages: int, workers: int, rate: float | None, result: tuple[int, int]
) -> None:
    assert plan.sent_within(seconds, messages, workers, rate) == result


def test_the_words_name_the_rate_that_is_needed_and_the_workers_that_would_fit() -> None:
    words = plan.before_run(60, 1_000, 16, None)
    assert "needs 16.7 a second" in words
    assert "16 workers send 480 to 1,000 of 1,000 in time" in words
    assert words.endswith("--workers 34 would fit")


def test_a_rate_below_what_is_needed_is_what_has_to_be_raised() -> None:
    assert plan.before_run(60, 1_000, 16, 5.0).endswith("--rate 5 is too low for it")


def test_a_deadline_that_is_kept_at_worst_asks_for_nothing() -> None:
    assert "would fit" not in plan.before_run(600, 100, 16, None)


@given(st.floats(1, 1e5), st.integers(1, 10**6))
def test_the_workers_that_would_fit_do_fit(seconds: float, messages: int) -> None:
    words = plan.before_run(seconds, messages, 1, None)
    if "would fit" in words:
        workers = int(words.rpartition("--workers ")[2].partition(" ")[0])
        assert plan.sent_within(seconds, messages, workers, None)[0] >= messages - 1


def test_the_first_answers_correct_the_forecast_loudly() -> None:
    words = plan.during_run(50, 25.0, 1_000, 60.0, 16)
    assert words is not None
    assert words.startswith(
        "WARNING: at the speed of the first 50 answers (2.0 a second) 880 of 1,000 will not be sent"
    )
    assert plan.during_run(50, 1.0, 1_000, 60.0, 16) is None
