"""Single decisions of the concurrency limit: when it doubles, when it tries more or less, and what it keeps."""

import pytest

from bulksms.policy.concurrency_limit import (
    FEW,
    FIRST_LIMIT,
    HEADROOM,
    LONGEST_REST,
    MOST_TRIAL_ROUNDS,
    PAYS_WITH_FEW,
    REST,
    STEP_DOWN,
    STEP_UP,
    TRIAL_ROUNDS,
    ConcurrencyLimit,
)


class Answers:
    """Answers that take exactly so long, to requests that keep the limit full."""

    def __init__(self, ceiling: int = 64) -> None:
        self.limit = ConcurrencyLimit(ceiling)
        self.now = 1_000.0

    def one(self, elapsed: float, *, good: bool | None = True) -> bool:
        """One answer; whether it changed the limit."""
        limit = self.limit
        while limit.in_flight < limit.limit:
            limit.begin()
        self.now += elapsed
        return limit.end(self.now, elapsed, good=good)

    def until_changed(self, elapsed: float, most: int = 10_000) -> int:
        """Answers until the limit changes: how many it took."""
        return next(count for count in range(1, most + 1) if self.one(elapsed))

    def settle_at(self, limit: int, elapsed: float) -> None:
        """Doubling is over, and this is the limit at which answers take so long."""
        self.limit.is_doubling = False
        self.limit._settle(self.now, limit)
        self.one(elapsed)


def test_it_doubles_while_that_brings_more_and_settles_a_little_above_where_it_stopped() -> None:
    run = Answers()
    assert run.until_changed(0.2) == FIRST_LIMIT
    assert run.limit.limit == 2 * FIRST_LIMIT
    assert run.until_changed(0.2) == 2 * FIRST_LIMIT
    assert run.limit.limit == 4 * FIRST_LIMIT
    run.until_changed(0.4)  # twice as many, twice as slow
    assert not run.limit.is_doubling
    assert run.limit.limit == run.limit.settled == round(2 * FIRST_LIMIT * HEADROOM + 0.5)


def test_doubling_ends_at_the_ceiling() -> None:
    run = Answers(ceiling=16)
    run.until_changed(0.2)
    run.until_changed(0.2)
    for _ in range(16):
        assert run.limit.is_doubling
        assert not run.one(0.2)
    assert not run.limit.is_doubling
    assert run.limit.limit == 16


def test_a_first_round_of_uneven_answers_is_not_measured() -> None:
    run = Answers()
    for elapsed in (0.1, 0.2, 0.3, 0.4):
        assert not run.one(elapsed)
    assert run.limit.now_measured.count == 0
    assert run.until_changed(0.2) == FIRST_LIMIT


def test_an_answer_that_says_nothing_frees_its_place_and_is_not_measured() -> None:
    run = Answers()
    run.one(0.2, good=None)
    assert run.limit.in_flight == FIRST_LIMIT - 1
    assert run.limit.now_measured.count == 0


def test_answers_without_success_are_forgotten() -> None:
    run = Answers()
    for _ in range(FIRST_LIMIT):
        assert not run.one(0.2, good=False)
    assert run.limit.now_measured.count == 0


@pytest.mark.parametrize("settled", [20, 40])
def test_more_is_tried_after_a_rest_and_kept_if_it_brings_what_it_adds(settled: int) -> None:
    run = Answers()
    run.settle_at(settled, 0.2)
    assert 1 + run.until_changed(0.2) == settled * REST
    more = round(settled * STEP_UP)
    assert run.limit.limit == more
    for _ in range(more * TRIAL_ROUNDS):
        run.one(0.2)
    assert run.limit.settled == more
    assert run.limit.rest_up == 0.0, "the next trial comes at once"


def test_more_that_brings_nothing_is_given_up_and_tried_half_as_often() -> None:
    run = Answers()
    run.settle_at(20, 0.2)
    run.until_changed(0.2)
    assert run.until_changed(0.2 * STEP_UP) <= 28 * MOST_TRIAL_ROUNDS
    assert run.limit.limit == 20
    assert run.limit.rest_up == 2 * REST


def test_less_is_tried_in_between_and_kept_if_it_costs_nothing() -> None:
    run = Answers()
    run.settle_at(20, 0.2)
    run.until_changed(0.2)
    run.until_changed(0.2 * STEP_UP)
    run.until_changed(0.2)
    assert run.limit.limit == round(20 * STEP_DOWN)
    while run.limit.settled == 20:
        run.one(0.2 * STEP_DOWN)
    assert run.limit.settled == round(20 * STEP_DOWN)
    assert run.limit.rest_down == 0.0


def test_less_that_costs_what_it_takes_away_is_given_up_at_once() -> None:
    run = Answers()
    run.settle_at(20, 0.2)
    run.until_changed(0.2)
    run.until_changed(0.2 * STEP_UP)
    run.until_changed(0.2)
    assert run.until_changed(0.2) == round(20 * STEP_DOWN) * TRIAL_ROUNDS
    assert run.limit.limit == 20
    assert run.limit.rest_down == 2 * REST


def test_of_two_in_flight_one_is_tried() -> None:
    run = Answers()
    run.settle_at(2, 0.2)
    run.until_changed(0.2)
    assert run.limit.limit == 3
    run.until_changed(0.2 * 3 / 2)
    assert run.limit.limit == 2
    run.until_changed(0.2)
    assert run.limit.limit == 1


def test_rests_grow_to_a_longest_one() -> None:
    run = Answers()
    run.settle_at(20, 0.2)
    for _ in range(12):
        while run.limit.limit <= 20:
            run.one(0.2 if run.limit.limit == 20 else 0.19)
        run.until_changed(0.2 * STEP_UP)
    assert run.limit.rest_up == LONGEST_REST


@pytest.mark.parametrize(("settled", "is_kept"), [(FEW, False), (FEW + 1, True)])
def test_with_few_in_flight_more_has_to_bring_half_of_what_it_adds(settled: int, is_kept: bool) -> None:
    run = Answers()
    run.settle_at(settled, 0.2)
    run.until_changed(0.2)
    more = run.limit.limit
    share = PAYS_WITH_FEW - 0.1
    elapsed = 0.2 * (more / settled) ** (1.0 - share)
    for _ in range(more * MOST_TRIAL_ROUNDS):
        if run.limit.limit != more or run.limit.settled == more:
            break
        run.one(elapsed)
    assert (run.limit.settled == more) is is_kept


def test_one_at_a_time_is_the_least_and_the_ceiling_the_most() -> None:
    run = Answers(ceiling=2)
    run.settle_at(1, 0.2)
    run.until_changed(0.2)
    assert run.limit.limit == 2
    run = Answers(ceiling=1)
    for _ in range(100):
        assert not run.one(0.2)
    assert run.limit.limit == 1
