"""The rate limiter and the retry budget, on a clock that only the test moves."""

import heapq
import random
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bulksms.policy.rate_limiter import A_LITTLE_LATE, RateLimiter, RetryBudget, parse_rate

# The rate


@pytest.mark.parametrize(
    ("text", "a_minute"),
    [("5", 300), ("5/s", 300), ("0.5", 30), ("300/min", 300), ("90/min", 90), ("1000/h", 1000 / 60), ("7.5/s", 450)],
)
def test_a_rate_is_read_and_kept_exactly_over_a_minute(text: str, a_minute: float) -> None:
    rate = RateLimiter(parse_rate(text))
    now, left = 50.0, []
    while now < 110.0 - 1e-6:
        assert rate.delay(now) == 0.0
        rate.take(now)
        left.append(now)
        now += rate.delay(now)
    assert len(left) in (int(a_minute), int(a_minute) + 1)


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "0/s", "five", "5/day", "5/m", "1e3", "5 /s", "nan", "inf", "5/", "/s"]
)
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no rate"):
        parse_rate(text)


def minute(rate: RateLimiter, workers: int, chance: random.Random) -> list[float]:
    """When requests left in the first minute: each worker asks as soon as it may and then is busy for a while."""
    left: list[float] = []
    due = [(0.0, worker) for worker in range(workers)]
    while due[0][0] < 60.0:
        now, worker = heapq.heappop(due)
        delay = rate.delay(now)
        if delay:
            heapq.heappush(due, (now + delay, worker))
            continue
        rate.take(now)
        left.append(now)
        heapq.heappush(due, (now + chance.uniform(0.05, 0.3), worker))
    return left


@given(st.integers(1, 80), st.floats(0.2, 20.0), st.integers(0, 2**32))
@settings(max_examples=50)
def test_however_many_workers_there_are_the_rate_is_the_same(workers: int, per_second: float, seed: int) -> None:
    left = minute(RateLimiter(per_second), workers, random.Random(seed))  # noqa: S311 - how long answers take
    assert len(left) <= 60.0 * per_second + 1 + 1e-6
    if workers >= 10:  # fewer could be kept from it by slow answers
        assert len(left) >= 60.0 * per_second - 1 - 1e-6
    assert all(later - earlier >= 0.5 / per_second - 1e-9 for earlier, later in pairwise(left))


@given(st.floats(0.1, 100.0), st.lists(st.floats(0.0, 0.5), min_size=2, max_size=200))
def test_who_leaves_a_little_late_does_not_make_the_next_one_late(per_second: float, late: list[float]) -> None:
    rate, now, left = RateLimiter(per_second), 100.0, list[float]()
    for part in late:
        rate.take(now)
        left.append(now)
        now += rate.delay(now) + part * 0.999 / per_second
    # Never ahead of the even row that began with the first, and never further behind it than one of them was late.
    for place, moment in enumerate(left):
        assert -1e-6 <= moment - (left[0] + place / per_second) <= 0.5 / per_second + 1e-6


@given(st.floats(1.0, 100.0), st.lists(st.floats(0.0, 0.2), min_size=2, max_size=300), st.floats(0.05, 2.0))
@example(13.0, [0.09375, 0.0, 0.0], 0.0625)
def test_no_time_has_more_than_its_share_and_one_that_may_have_been_late(
    per_second: float, busy: list[float], seconds: float
) -> None:
    rate, now, left = RateLimiter(per_second), 100.0, list[float]()
    for pause in busy:
        now += rate.delay(now)
        rate.take(now)
        left.append(now)
        now += pause
    for start in left:
        in_time = sum(start <= moment < start + seconds for moment in left)
        assert in_time <= seconds * per_second + 1 + A_LITTLE_LATE + 1e-6


@given(st.floats(0.1, 1000.0), st.floats(0.51, 1e5))
def test_nothing_is_saved_up_in_idle_times(per_second: float, idle: float) -> None:
    rate = RateLimiter(per_second)
    rate.take(10.0)
    now = 10.0 + (1.0 + idle) / per_second
    rate.take(now)
    assert rate.delay(now) == pytest.approx(1.0 / per_second)


def test_without_a_rate_nobody_waits() -> None:
    rate = RateLimiter()
    for _ in range(1000):
        rate.take(1.0)
    assert rate.delay(1.0) == 0.0


# The budget for retries


def test_a_hundred_retries_go_at_once_then_two_a_second() -> None:
    budget = RetryBudget()
    for _ in range(100):
        assert budget.delay(5.0) == 0.0
        budget.take(5.0)
    assert budget.delay(5.0) == 0.5
    assert budget.delay(5.25) == 0.25
    assert budget.delay(5.5) == 0.0
    budget.take(5.5)
    assert budget.delay(5.5) == 0.5


def test_an_acceptance_pays_for_a_retry() -> None:
    budget = RetryBudget()
    for _ in range(100):
        budget.take(5.0)
    assert budget.delay(5.0) == 0.5
    budget.on_accepted()
    assert budget.delay(5.0) == 0.0


@given(st.lists(st.tuples(st.sampled_from(("take", "accepted", "wait")), st.floats(0, 100)), max_size=200))
def test_the_budget_is_never_above_a_hundred_nor_below_nothing(steps: list[tuple[str, float]]) -> None:
    budget, now = RetryBudget(), 0.0
    for what, seconds in steps:
        if what == "wait":
            now += seconds
        elif what == "accepted":
            budget.on_accepted()
        elif budget.delay(now) == 0.0:
            budget.take(now)
        assert 0.0 <= budget.tokens <= 100.0
