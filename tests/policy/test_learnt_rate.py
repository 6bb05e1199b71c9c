"""Learnt rate: it is what the server accepted, a 429 cuts it a little, and it climbs back and then beyond."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksms.policy.rate_limiter import (
    CUT,
    FIRST_RATE,
    FIRST_RECOVERY_PER_HOLD,
    HALVE,
    LEAST_RATE,
    MANY,
    MEASURED_SECONDS,
    RECENT_ANSWERS,
    RateLimiter,
)

TOOK = 0.1
"""Seconds that every answer takes here."""


class Server:
    """What answers the requests of one run, as the run remembers it."""

    def __init__(self, ceiling: float | None = None) -> None:
        self.limiter = RateLimiter(ceiling)
        self.rate = self.limiter.learnt
        self.left_at: list[float] = []

    def accepts_one(self, now: float, took: float = TOOK) -> None:
        """One request was accepted."""
        self.left_at.append(now - took)
        if self.rate.peak is not None:
            self.rate.on_accepted(now - took, self.left_at)

    def accepts(self, per_second: float, since: float, until: float) -> None:
        """Requests that left evenly and were accepted."""
        for count in range(round((until - since) * per_second)):
            self.accepts_one(since + count / per_second + TOOK)

    def throttles(self, now: float, times: int = MANY, hold: float = 0.0) -> bool:
        """So many 429s at once; whether one of them cut the rate."""
        cuts = [self.throttles_one(now + TOOK, TOOK, hold) for _ in range(times)]
        return any(cuts)

    def throttles_one(self, now: float, took: float, hold: float) -> bool:
        """One 429; whether it cut the rate."""
        return self.limiter.on_throttled(now, took, hold, len(self.left_at), self.left_at)


def test_before_any_429_there_is_no_limit() -> None:
    server = Server()
    rate = server.rate
    server.accepts(100.0, 0.0, 3.0)
    assert rate.per_second(3.0) is None


@pytest.mark.parametrize("per_second", [2.0, 50.0, 400.0])
def test_many_429s_cut_the_rate_to_a_little_less_than_was_accepted(per_second: float) -> None:
    server = Server()
    rate = server.rate
    server.accepts(per_second, 0.0, 10.0)
    assert server.throttles(10.0)
    assert rate.peak == pytest.approx(per_second, rel=0.15)
    assert rate.per_second(10.0 + TOOK) == pytest.approx(CUT * (rate.peak or 0.0))


def test_few_429s_are_about_their_own_messages() -> None:
    server = Server()
    rate = server.rate
    server.accepts(50.0, 0.0, 10.0)
    assert not server.throttles(10.0, MANY - 1)
    assert rate.per_second(10.2) is None


def test_429s_among_many_answers_are_many_if_they_come_within_a_second() -> None:
    server, now = Server(), 10.0
    server.accepts(400.0, 0.0, now)
    cuts = []
    for _ in range(MANY):
        cuts.append(server.throttles_one(now, TOOK, 0.0))
        server.accepts(400.0, now, now + MEASURED_SECONDS / MANY)
        now += MEASURED_SECONDS / MANY
    assert cuts == [False] * (MANY - 1) + [True]


def test_429s_over_a_longer_time_are_many_if_they_are_among_few_answers() -> None:
    server = Server()
    server.accepts(5.0, 0.0, 10.0)
    cuts = []
    for now in (10.0, 11.5, 13.0):
        cuts.append(server.throttles_one(now, TOOK, 0.0))
        server.accepts(5.0, now, now + 1.5)
    assert cuts == [False, False, True], "two times eight answers are between the first and the third"


def test_429s_far_from_each_other_are_about_their_own_messages() -> None:
    server, now = Server(), 10.0
    server.accepts(50.0, 0.0, now)
    for _ in range(10 * MANY):
        assert not server.throttles_one(now, TOOK, 0.0)
        server.accepts(50.0, now, now + MEASURED_SECONDS)
        now += MEASURED_SECONDS


@pytest.mark.parametrize("between", [RECENT_ANSWERS - MANY, RECENT_ANSWERS - MANY + 1])
def test_the_429s_among_the_last_answers_are_counted_to_the_last_one(between: int) -> None:
    server = Server()
    server.throttles_one(10.0, TOOK, 0.0)
    server.throttles_one(12.0, TOOK, 0.0)
    for number in range(between):
        server.accepts_one(13.0 + number)
    assert server.throttles_one(100.0, TOOK, 0.0) is (between + MANY <= RECENT_ANSWERS)


def test_what_the_server_took_in_the_last_second_counts_and_not_what_it_took_before() -> None:
    server = Server()
    server.accepts(10.0, 0.0, 9.0)
    server.accepts(80.0, 9.0, 10.0)
    assert server.throttles(10.0)
    assert server.rate.peak == pytest.approx(80.0, rel=0.15)


def test_in_the_first_second_of_a_run_the_rate_is_what_was_accepted_in_it() -> None:
    server = Server()
    server.accepts(50.0, 0.0, 0.5)
    assert server.throttles(0.5)
    assert server.rate.peak == 25.0 / MEASURED_SECONDS


def test_of_a_slow_server_the_last_ten_acceptances_count() -> None:
    server = Server()
    server.accepts(4.0, 0.0, 20.0)
    server.accepts(2.0, 20.0, 40.0)
    assert server.throttles(40.0)
    assert server.rate.peak == pytest.approx(2.0, rel=0.15)


def test_one_429_with_retry_after_is_enough_and_the_climb_begins_after_it() -> None:
    server = Server()
    rate = server.rate
    server.accepts(50.0, 0.0, 10.0)
    assert server.throttles(10.0, 1, hold=5.0)
    assert rate.resumes_at == 15.0 + TOOK
    assert rate.recovery >= FIRST_RECOVERY_PER_HOLD * 5.0
    assert rate.per_second(12.0) == rate.per_second(15.0) == rate.floor


def test_it_climbs_back_to_what_was_accepted_and_then_beyond() -> None:
    server = Server()
    rate = server.rate
    server.accepts(50.0, 0.0, 10.0)
    server.throttles(10.0)
    peak, start = rate.peak or 0.0, rate.resumes_at
    climbing = [rate.per_second(start + part * rate.recovery) or 0.0 for part in (0.0, 0.5, 1.0, 1.5, 3.0)]
    assert climbing == sorted(climbing)
    assert climbing[2] == pytest.approx(peak)
    assert climbing[0] < peak < climbing[-1]


def test_answers_to_requests_from_before_a_cut_do_not_cut_again() -> None:
    server = Server()
    rate = server.rate
    server.accepts(50.0, 0.0, 10.0)
    assert server.throttles(10.0)
    before = rate.per_second(10.5)
    assert not server.throttles(10.05, 20)
    assert rate.per_second(10.5) == before


def test_a_cut_has_a_second_to_show_what_it_does() -> None:
    server = Server()
    server.accepts(50.0, 0.0, 10.0)
    assert server.throttles(10.0)
    resumes_at = server.rate.resumes_at
    assert not server.throttles(resumes_at + MEASURED_SECONDS - 0.01, 20)
    assert server.throttles(resumes_at + MEASURED_SECONDS + 0.01)


def test_with_nothing_accepted_since_the_last_cut_it_halves() -> None:
    server = Server()
    rate = server.rate
    server.accepts(50.0, 0.0, 10.0)
    server.throttles(10.0)
    allowed = rate.per_second(15.0 + TOOK) or 0.0
    assert server.throttles(15.0)
    assert rate.peak == pytest.approx(allowed)
    assert rate.floor == pytest.approx(HALVE * allowed)


def test_the_same_rate_found_twice_is_probed_less_often() -> None:
    server = Server()
    rate = server.rate
    server.accepts(50.0, 0.0, 10.0)
    server.throttles(10.0)
    first = rate.recovery
    server.accepts(48.0, 10.5, 15.0)
    server.throttles(15.0)
    assert rate.recovery == first * 2


def test_before_anything_was_accepted_the_first_rate_holds() -> None:
    server = Server()
    rate = server.rate
    assert server.throttles(0.2)
    assert rate.peak == FIRST_RATE


def test_the_users_rate_is_the_ceiling_of_the_learnt_one() -> None:
    server = Server(20.0)
    limiter = server.limiter
    server.accepts(50.0, 0.0, 10.0)
    assert limiter.per_second(10.0) == 20.0
    server.throttles(10.0)
    assert limiter.per_second(100.0) == 20.0
    limiter.learnt.peak = limiter.learnt.floor = 5.0
    assert limiter.per_second(limiter.learnt.resumes_at) == 5.0


@given(st.lists(st.tuples(st.floats(0.0, 3.0), st.floats(0.0, 2.0), st.booleans(), st.sampled_from([0.0, 2.0]))))
def test_whatever_is_answered_a_little_may_always_leave(answers: list[tuple[float, float, bool, float]]) -> None:
    server, now = Server(), 0.0
    for pause, took, is_good, hold in answers:
        now += pause
        if is_good:
            server.accepts_one(now, took)
        else:
            server.throttles_one(now, took, hold)
        allowed = server.rate.per_second(now)
        assert allowed is None or allowed >= LEAST_RATE
