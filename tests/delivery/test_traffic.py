"""Traffic: all brakes together, on a clock that only the test moves."""

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulksms.attempt import Attempt, Failure, OperationResult, ResultType
from bulksms.delivery.brake import Away
from bulksms.delivery.outcome import Delivery, classify
from bulksms.delivery.pace import Concurrency, Rate, RetryBudget
from bulksms.delivery.retry import Decision, RetryPolicy, Stop, decide
from bulksms.delivery.traffic import Notice, Traffic, Turn
from bulksms.message import Message, State

GOOD = Attempt(headers_sent=True, status=200, result=OperationResult(ResultType.SUCCEEDED))
LOST = Attempt(headers_sent=True, failure=Failure.DISCONNECTED)
TIMED_OUT = Attempt(headers_sent=True, failure=Failure.READ_TIMEOUT)
NEVER_LEFT = Attempt(headers_sent=False, failure=Failure.REFUSED)


def answer(status: int, retry_after: float | None = None) -> Attempt:
    return Attempt(headers_sent=True, status=status, retry_after=retry_after)


ABSENT = [NEVER_LEFT, answer(502), answer(503), answer(504)]


class Road:
    """Traffic and its clock: who goes, what they meet, and what is heard of it."""

    def __init__(self, workers: int = 64, *, max_pause: float = 600.0, rate: float | None = None) -> None:
        self.now = 1_000.0
        self.policy = RetryPolicy()
        self.traffic = Traffic(Concurrency(workers, adapt=False), Rate(rate), away=Away(max_pause))
        self.turns: dict[int, Turn] = {}
        self.decisions: dict[int, Decision] = {}

    def asks(self, *, again: bool = False) -> Turn:
        return self.traffic.ask(self.now, again=again)

    def goes(self, number: int, *, again: bool = False) -> Turn:
        turn = self.asks(again=again)
        assert turn.go, turn
        self.turns[number] = turn
        return turn

    def meets(self, number: int, attempt: Attempt, *, tries: int = 1, chance: float = 0.5) -> list[Notice]:
        """The request for this message ends so."""
        message = Message(number, number + 1, f"CN={number},DC=x", "text", attempts=tries, tries=tries)
        turn = self.turns.pop(number)
        decision = decide(classify(attempt), attempt, message, self.policy, chance, free=turn.free)
        self.decisions[number] = decision
        if turn.alone and decision.again:
            decision = decision.back_to_the_end()
        return self.traffic.answered(self.now, number, attempt, decision, turn)

    def sends(self, number: int, attempt: Attempt, **more: float) -> list[Notice]:
        self.goes(number)
        return self.meets(number, attempt, **more)  # type: ignore[arg-type]  # tries is whole

    def lose_the_server(self) -> float:
        """Ten different recipients meet nobody there; when that was."""
        for number in range(10):
            self.goes(number)
        for number in range(10):
            self.meets(number, NEVER_LEFT)
        return self.now


# The gate


def test_retry_after_holds_everybody_and_then_one_goes_alone() -> None:
    road = Road()
    for number in range(64):
        road.goes(number)
    road.meets(0, answer(429, 5.0))
    for number in range(1, 60):
        road.meets(number, GOOD)
    for later in (0.0, 1.0, 4.75):
        assert road.traffic.ask(road.now + later, again=False) == Turn(go=False, wait=5.0 - later)
        assert not road.traffic.ask(road.now + later, again=True).go
    road.now += 5.0
    assert road.goes(100).alone
    assert [road.asks() for _ in range(70)] == [Turn(go=False, wait=None)] * 70
    road.now += 0.3
    assert [notice.what for notice in road.meets(100, GOOD)] == ["all workers go on"]
    others = [road.asks() for _ in range(70)]
    assert [turn.go for turn in others] == [True] * 60 + [False] * 10, "with the four still under way"
    assert not any(turn.alone or turn.free for turn in others)


@pytest.mark.parametrize("attempt", [answer(429), answer(408), answer(503), LOST, TIMED_OUT, NEVER_LEFT, answer(504)])
def test_after_a_bad_answer_the_next_one_goes_alone_as_well_and_not_at_once(attempt: Attempt) -> None:
    road = Road()
    road.sends(1, answer(429, 5.0))
    road.now += 5.0
    for number in range(2, 8):
        assert road.goes(number).alone
        road.meets(number, attempt, chance=0.0)
        turn = road.asks()
        assert not turn.go
        assert turn.wait is not None
        assert turn.wait >= 0.5
        road.now += turn.wait


@pytest.mark.parametrize("attempt", [GOOD, answer(400), answer(404), answer(500), answer(401)])
def test_any_answer_of_a_server_that_takes_requests_opens_the_gate(attempt: Attempt) -> None:
    road = Road()
    road.sends(1, answer(503, 2.0))
    road.now += 2.0
    road.goes(2)
    road.meets(2, attempt)
    assert road.asks() == Turn(go=True)


def test_a_good_answer_does_not_shorten_what_somebody_else_was_told_meanwhile() -> None:
    road = Road()
    road.goes(0)
    road.sends(1, answer(503, 1.0))
    road.now += 1.0
    road.goes(2)
    road.meets(0, answer(503, 7.0))
    road.meets(2, GOOD)
    assert road.asks() == Turn(go=False, wait=7.0)
    road.now += 7.0
    assert road.asks().alone


def test_a_shorter_hold_never_opens_the_gate_earlier() -> None:
    road = Road()
    for number in range(3):
        road.goes(number)
    road.meets(0, answer(429, 9.0))
    road.meets(1, answer(503, 2.0))
    road.meets(2, answer(503), chance=0.0)
    assert road.asks().wait == 9.0


@pytest.mark.parametrize(("tries", "chance"), [(1, 0.5), (1, 0.0), (3, 0.9), (4, 0.25)])
def test_a_503_without_retry_after_holds_everybody_for_that_attempts_backoff(tries: int, chance: float) -> None:
    road = Road()
    road.goes(0)
    road.meets(0, answer(503), tries=tries, chance=chance)
    backoff = road.policy.backoff(tries, chance)
    turn = road.asks()
    assert turn.go is (backoff == 0.0)
    assert (turn.wait or 0.0) == pytest.approx(backoff)


@pytest.mark.parametrize("attempt", [answer(429), answer(408), answer(425), answer(500), LOST, TIMED_OUT])
def test_what_is_one_messages_own_trouble_holds_nobody(attempt: Attempt) -> None:
    road = Road()
    road.sends(1, attempt)
    assert road.asks() == Turn(go=True)


def test_a_last_attempt_that_is_told_to_wait_holds_the_others_too() -> None:
    road = Road()
    road.goes(0)
    road.meets(0, answer(503, 4.0), tries=5)
    assert road.decisions[0].state is State.FAILED
    assert road.asks().wait == 4.0


@pytest.mark.parametrize("status", [429, 503, 408])
def test_a_server_that_asks_for_more_patience_than_there_is_stops_the_run(status: int) -> None:
    road = Road(max_pause=60.0)
    assert [notice.stop for notice in road.sends(1, answer(status, 61.0)) if notice.stop] == [Stop.AWAY]


def test_what_a_poll_is_told_holds_everybody_and_may_be_too_long() -> None:
    traffic = Traffic(Concurrency(4), away=Away(600.0))
    assert traffic.asked_to_wait(0.0, Attempt(headers_sent=True, status=200, retry_after=5.0)) == []
    assert traffic.asked_to_wait(0.0, Attempt(headers_sent=True, status=503)) == []
    assert traffic.ask(0.0, again=False).go
    (notice,) = traffic.asked_to_wait(0.0, Attempt(headers_sent=True, status=503, retry_after=5.0))
    assert (notice.value, notice.stop) == (5.0, None)
    assert traffic.ask(1.0, again=False).wait == 4.0
    assert traffic.gate.held(1.0) == 4.0
    assert traffic.gate.held(6.0) == 0.0
    *_, notice = traffic.asked_to_wait(6.0, Attempt(headers_sent=True, status=429, retry_after=601.0))
    assert notice.stop is Stop.AWAY


def test_operations_that_are_lost_are_doubt_and_those_under_way_say_nothing() -> None:
    traffic = Traffic(Concurrency(4))
    notices = []
    for _ in range(20):
        assert traffic.settled(0.0, State.PROCESSING) == []
        notices += traffic.settled(0.0, State.UNKNOWN)
    assert notices[-1].stop is Stop.DOUBT
    assert [notice.stop for notice in notices[:-1]] == [None] * 3


def test_a_backoff_of_our_own_stops_no_run_however_little_patience_there_is() -> None:
    road = Road(max_pause=0.0)
    assert not any(notice.stop for notice in road.sends(1, answer(503)))


def test_a_turn_is_over_when_the_gate_closes_before_its_request_has_left() -> None:
    road = Road(workers=3)
    turns = [road.goes(number) for number in range(3)]
    road.meets(0, answer(429, 5.0))
    for turn in turns[1:]:
        assert road.traffic.proceed(road.now + 1.0, turn) == Turn(go=False, wait=4.0)
    assert road.traffic.concurrency.in_flight == 2
    road.now += 5.0
    road.turns[1] = road.traffic.proceed(road.now, turns[1])
    assert road.turns[1] == Turn(go=True, alone=True)
    assert road.traffic.proceed(road.now, turns[2]) == road.asks() == Turn(go=False, wait=None)
    assert road.traffic.proceed(road.now, road.turns[1]) == road.turns[1], "whoever goes alone is not held back"
    road.meets(1, GOOD)
    assert road.traffic.proceed(road.now, turns[2]) == Turn(go=True)


# Away


@pytest.mark.parametrize("attempt", ABSENT)
def test_the_server_is_away_when_ten_different_recipients_found_nobody(attempt: Attempt) -> None:
    road = Road()
    road.policy = RetryPolicy(base=0.0)
    for number in range(10):
        road.goes(number)
    for number in range(9):
        road.meets(number, attempt)
    assert road.traffic.away.since is None
    road.meets(9, attempt)
    assert road.traffic.away.since == road.now
    # Ten times 504 are ten unknown as well, and that is a reason for a longer pause.
    assert road.asks() == Turn(go=False, wait=1.0 if attempt.status == 504 else 0.5)


def test_one_recipient_ten_times_is_not_the_server() -> None:
    road = Road()
    for _ in range(30):
        road.sends(1, NEVER_LEFT)
    assert road.traffic.away.since is None


@pytest.mark.parametrize("between", [GOOD, answer(404), answer(429), answer(500)])
def test_any_answer_between_shows_that_it_is_there(between: Attempt) -> None:
    road = Road()
    for number in range(9):
        road.sends(number, NEVER_LEFT)
    road.sends(9, between)
    for number in range(10, 19):
        road.sends(number, NEVER_LEFT)
    assert road.traffic.away.since is None


def test_probes_are_half_a_second_apart_doubling_to_thirty() -> None:
    road = Road()
    pauses = []
    road.lose_the_server()
    for number in range(10, 22):
        turn = road.asks()
        assert turn.wait is not None
        pauses.append(turn.wait)
        road.now += turn.wait
        assert road.goes(number) == Turn(go=True, alone=True, free=True)
        road.meets(number, NEVER_LEFT)
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30, 30, 30]


def test_a_probe_that_certainly_failed_uses_up_no_try_and_the_first_good_one_lets_all_go() -> None:
    road = Road()
    road.lose_the_server()
    for number in range(10, 30):
        road.now += 30.0
        road.goes(number)
        road.meets(number, answer(503), tries=6)
        assert not road.decisions[number].uses_try
        assert road.decisions[number].state is State.QUEUED
    road.now += 30.0
    road.sends(50, GOOD)
    assert road.traffic.away.since is None
    assert [road.asks().go for _ in range(64)] == [True] * 64


def test_those_still_on_the_wire_when_it_went_away_do_not_double_the_pause() -> None:
    road = Road()
    for number in range(64):
        road.goes(number)
    for number in range(64):
        road.meets(number, NEVER_LEFT)
    assert road.asks() == Turn(go=False, wait=0.5)


def test_away_for_longer_than_max_pause_stops_the_run() -> None:
    road = Road(max_pause=20.0)
    since = road.lose_the_server()
    number, stops = 10, list[Stop]()
    while not stops:
        wait = road.asks().wait
        assert wait is not None
        road.now += wait
        stops = [notice.stop for notice in road.sends(number, NEVER_LEFT) if notice.stop]
        number += 1
        assert bool(stops) == (road.now - since > 20.0)
    assert stops == [Stop.AWAY]


# Doubt


def test_five_unknown_of_a_hundred_pause_a_second_and_send_one_alone_then_it_goes_on() -> None:
    road = Road(workers=1)
    for number in range(400):
        heard = road.sends(number, LOST if number % 20 == 0 else GOOD)
        if number % 100 == 80:  # the fifth in the last hundred, and five after that
            assert [notice.what for notice in heard] == ["all workers held"]
            assert road.asks() == Turn(go=False, wait=1.0)
            road.now += 1.0
            assert road.goes(1_000).alone
            road.meets(1_000, GOOD)
        else:
            assert not heard, number


def test_four_unknown_of_a_hundred_are_bad_luck() -> None:
    road = Road()
    for number in range(2_000):
        assert not road.sends(number, LOST if number % 25 == 0 else GOOD)


def test_twenty_unknown_in_a_row_stop_the_run() -> None:
    road, stops = Road(), list[list[Stop]]()
    for number in range(20):
        turn = road.asks()
        if not turn.go:
            assert turn.wait is not None
            road.now += turn.wait
            turn = road.asks()
        road.turns[number] = turn
        stops.append([notice.stop for notice in road.meets(number, LOST) if notice.stop])
    assert stops == [[]] * 19 + [[Stop.DOUBT]]


def test_what_waits_for_another_attempt_is_in_no_doubt_yet() -> None:
    road = Road()
    road.policy = RetryPolicy(Delivery.AT_LEAST_ONCE)
    for number in range(30):
        assert not road.sends(number, LOST)
        assert road.decisions[number].again


# Rate and budget together with the gate


def test_retries_wait_for_the_budget_and_others_do_not() -> None:
    road = Road(workers=300)
    assert all(road.asks(again=True).go for _ in range(100))
    assert road.asks(again=True) == Turn(go=False, wait=0.5)
    assert road.asks().go
    road.now += 0.5
    assert road.asks(again=True).go
    road.sends(1, GOOD)
    assert road.asks(again=True).wait == pytest.approx(0.4)


def test_the_rate_holds_for_probes_and_retries_as_well() -> None:
    road = Road(rate=0.1)
    road.sends(1, answer(503), chance=0.0)
    assert road.asks() == Turn(go=False, wait=10.0)
    assert road.asks(again=True) == Turn(go=False, wait=10.0)
    road.now += 10.0
    assert road.asks(again=True).alone


def test_whoever_is_told_to_wait_has_taken_nothing() -> None:
    road = Road(workers=2, rate=1.0)
    budget = road.traffic.budget
    road.goes(1)
    for _ in range(50):
        assert not road.asks(again=True).go
    assert (road.traffic.concurrency.in_flight, budget.tokens, road.traffic.rate.next_at) == (1, 100.0, road.now + 1)


FAULTS = (GOOD, *ABSENT, answer(429), answer(429, 3.0), answer(503, 0.0), answer(404), answer(500), LOST, TIMED_OUT)


@given(
    st.lists(st.tuples(st.sampled_from(("ask", "again", "meet", "wait")), st.integers(0, 2**32)), max_size=150),
    st.integers(1, 12),
    st.sampled_from((None, 2.0, 50.0)),
)
@settings(max_examples=300)
def test_whatever_happens_nobody_passes_a_closed_gate_the_limit_or_the_rate(
    steps: list[tuple[str, int]], workers: int, rate: float | None
) -> None:
    road = Road(workers, rate=rate)
    gate, left, number, alone = road.traffic.gate, list[float](), 0, 0
    for what, drawn in steps:
        if what == "wait":
            road.now += drawn / 2**32 * 2.0
        elif what == "meet" and road.turns:
            turned = list(road.turns)[drawn % len(road.turns)]
            alone -= road.turns[turned].alone
            road.meets(turned, FAULTS[drawn % len(FAULTS)], chance=random.Random(drawn).random())  # noqa: S311 - drawn by hypothesis
        elif what in ("ask", "again"):
            closed, opens_at = gate.closed, gate.opens_at
            turn = road.asks(again=what == "again")
            if turn.go:
                road.turns[number] = turn
                number += 1
                left.append(road.now)
                alone += turn.alone
                assert turn.alone is closed
                assert not closed or road.now >= opens_at
            else:
                assert turn.wait is None or turn.wait > 0
        assert alone <= 1
        assert road.traffic.concurrency.in_flight == len(road.turns) <= workers
    if rate is not None:
        assert all(later - earlier >= (0.5 - 1e-9) / rate for earlier, later in pairwise(left))


def test_every_brake_is_off_at_first() -> None:
    traffic = Traffic(Concurrency(3))
    assert [traffic.ask(0.0, again=False) for _ in range(3)] == [Turn(go=True)] * 3
    assert traffic.ask(0.0, again=False) == Turn(go=False)
    assert RetryBudget().delay(0.0) == 0.0
