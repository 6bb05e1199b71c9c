"""Concurrency limit: it finds what a server takes, by throughput alone, and never exceeds the ceiling."""

import heapq
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksms.policy.concurrency_limit import FIRST_LIMIT, ConcurrencyLimit, Measurement

Service = Callable[[], float]


class Server:
    """So many slots, each busy for the service time of a request, and a queue in front of them that has no end."""

    def __init__(self, slots: int, service: Service, good: Callable[[], bool] = lambda: True) -> None:
        self.now = 0.0
        self.in_flight: list[int] = []
        self._free = [0.0] * slots
        self._due: list[tuple[float, float]] = []
        self.service, self._good = service, good

    def serve(self, limit: ConcurrencyLimit, answers: int) -> None:
        """As many requests as the limit allows, until so many were answered."""
        due = self._due
        for _ in range(answers):
            while limit.in_flight < limit.limit:
                limit.begin()
                starts = max(self.now, heapq.heappop(self._free))
                ends = starts + self.service()
                heapq.heappush(self._free, ends)
                heapq.heappush(due, (ends, self.now))
            self.in_flight.append(limit.in_flight)
            self.now, left = heapq.heappop(due)
            limit.end(self.now, self.now - left, good=self._good())

    def usual(self, last: int) -> float:
        """The mean of how many were in flight at the last answers."""
        return sum(self.in_flight[-last:]) / last


def varied(mean: float, seed: int) -> Service:
    chance = random.Random(seed)  # noqa: S311 - a test's
    return lambda: chance.uniform(0.5, 1.5) * mean


def test_it_begins_with_few_and_without_adapting_with_all() -> None:
    assert ConcurrencyLimit(64).limit == FIRST_LIMIT
    assert ConcurrencyLimit(2).limit == 2
    assert ConcurrencyLimit(64, adapt=False).limit == 64


def test_without_adapting_no_answer_changes_it() -> None:
    limit = ConcurrencyLimit(16, adapt=False)
    Server(2, varied(0.2, 1)).serve(limit, 2_000)
    assert limit.limit == 16


@pytest.mark.parametrize("slots", [8, 16, 32])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_it_keeps_the_slots_busy_with_no_more_than_twice_as_many(slots: int, seed: int) -> None:
    limit, server = ConcurrencyLimit(64), Server(slots, varied(0.2, seed))
    answers = 6_000
    server.serve(limit, answers)
    assert server.usual(answers) <= 2 * slots
    assert answers * 0.2 / slots >= server.now * 0.95, "the share of what the server can give"


def test_a_server_that_takes_all_gets_the_ceiling() -> None:
    limit, server = ConcurrencyLimit(64), Server(1_000, varied(0.2, 1))
    server.serve(limit, 4_000)
    assert server.usual(1_000) >= 56


def test_a_longer_answer_time_alone_is_no_reason_for_fewer() -> None:
    limit, server = ConcurrencyLimit(32), Server(1_000, varied(0.2, 1))
    server.serve(limit, 3_000)
    server.service = varied(2.0, 2)
    server.serve(limit, 3_000)
    assert server.usual(1_000) >= 24


def test_answers_that_show_no_throughput_change_nothing() -> None:
    limit = ConcurrencyLimit(64)
    Server(1_000, varied(0.2, 1), good=lambda: False).serve(limit, 500)
    assert limit.limit == FIRST_LIMIT


def test_a_limit_that_is_never_reached_is_not_raised() -> None:
    limit = ConcurrencyLimit(64)
    for moment in range(500):
        limit.begin()
        limit.end(moment + 0.2, 0.2, good=True)
    assert limit.limit == FIRST_LIMIT


def test_an_answer_to_a_request_from_before_a_change_is_not_measured() -> None:
    limit = ConcurrencyLimit(64)
    limit.now_measured = Measurement(limit.limit, began=10.0)
    limit.begin()
    assert not limit.end(10.5, 1.0, good=True)
    assert limit.now_measured.count == 0


@given(
    st.integers(1, 64),
    st.lists(st.tuples(st.floats(0.001, 5.0), st.booleans()), min_size=1, max_size=400),
)
def test_it_is_never_above_the_ceiling_nor_below_one(ceiling: int, answers: list[tuple[float, bool]]) -> None:
    limit, now = ConcurrencyLimit(ceiling), 0.0
    for elapsed, good in answers:
        now += elapsed
        while limit.in_flight < limit.limit:
            limit.begin()
        limit.end(now, elapsed, good=good)
        assert 1 <= limit.limit <= ceiling
