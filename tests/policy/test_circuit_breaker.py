"""The circuit breaker: what many recipients meet is everybody's, and what one of them meets is its own."""

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulksms.model.attempt import Attempt
from bulksms.model.message import Message, State
from bulksms.model.run_settings import StopReason
from bulksms.policy.admission import GRANTED, AdmissionController, Permit
from bulksms.policy.circuit_breaker import HALF_OPEN_PROBES, BreakerState, ServerHealth
from bulksms.policy.concurrency_limit import ConcurrencyLimit
from bulksms.policy.rate_limiter import RateLimiter
from bulksms.policy.retry import RetryPolicy
from tests.policy.harness import (
    ACCEPTED,
    LOST,
    NEVER_LEFT,
    TIMED_OUT,
    UNREACHABLE,
    AdmissionHarness,
    answer,
    rejected,
)

# What one message meets


@pytest.mark.parametrize(
    "attempt",
    [answer(429), answer(408), answer(425), answer(503), answer(500), answer(502), LOST, TIMED_OUT, NEVER_LEFT],
)
def test_one_message_s_trouble_holds_nobody_else(attempt: Attempt) -> None:
    run = AdmissionHarness()
    run.send(1, attempt)
    assert run.ask() == Permit(granted=True)


def test_one_recipient_again_and_again_is_not_the_server() -> None:
    run = AdmissionHarness()
    for _ in range(30):
        run.send(1, NEVER_LEFT)
    assert run.admission.breaker.is_closed


@pytest.mark.parametrize("attempt", UNREACHABLE[:3])
def test_it_opens_when_ten_different_recipients_found_no_server(attempt: Attempt) -> None:
    run = AdmissionHarness()
    for number in range(10):
        run.begin(number)
    for number in range(9):
        run.end(number, attempt)
    assert run.admission.breaker.is_closed
    decision = run.end(9, attempt)
    assert "all workers held" in [event.what for event in decision.events]
    assert run.admission.breaker.outage_since == run.now
    assert run.ask() == Permit(granted=False, wait=0.5)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.2, 0.35, 0.5])
def test_a_share_of_failures_below_the_threshold_never_opens_it(share: float) -> None:
    run, chance = AdmissionHarness(), random.Random(1)  # noqa: S311 - reproducible on purpose
    for number in range(5_000):
        run.now += 0.02
        run.send(number, answer(503) if chance.random() < share else ACCEPTED)
        assert run.admission.breaker.is_closed


@pytest.mark.parametrize(("one_in", "opens"), [(5, False), (10, False), (20, True), (40, True)])
def test_it_opens_at_nineteen_failures_of_twenty(one_in: int, opens: bool) -> None:
    run, opened = AdmissionHarness(), 0
    for number in range(80):
        if not run.ask_without_taking():
            run.send(number, ACCEPTED if number % one_in == 0 else answer(503))
        opened += not run.admission.breaker.is_closed
    assert bool(opened) == opens


def test_a_missing_answer_does_not_show_that_the_server_is_there() -> None:
    run = AdmissionHarness()
    for number in range(9):
        run.send(number, NEVER_LEFT)
    run.send(50, TIMED_OUT)
    assert run.admission.breaker.is_closed
    run.send(51, NEVER_LEFT)
    assert not run.admission.breaker.is_closed


def test_recipients_that_fail_by_themselves_open_nothing_when_only_they_are_left() -> None:
    run = AdmissionHarness()
    run.accept_some(count=500)
    bad = range(25)
    for _ in range(3):  # among others that are accepted
        for number in bad:
            run.now += 1.0
            run.send(number, answer(503))
            run.accept_some(count=12)
    for _ in range(10):
        for number in bad:
            run.now += 1.0
            if run.messages[number].tries < 5:
                run.send(number, answer(503))
    assert run.admission.breaker.is_closed


# Open and half-open


def test_probes_are_sent_alone_and_half_a_second_apart_at_first() -> None:
    run = AdmissionHarness()
    run.open_breaker()
    run.wait()
    assert run.begin(100).probe
    assert [run.ask() for _ in range(70)] == [Permit(granted=False, wait=None)] * 70
    run.end(100, NEVER_LEFT)
    assert run.ask() == Permit(granted=False, wait=0.5)


def test_the_distance_of_probes_doubles_with_the_outage_from_half_a_second_to_thirty() -> None:
    run = AdmissionHarness()
    run.open_breaker()
    began, pauses = run.now, []
    for number in range(10, 110):
        pauses.append(run.wait().wait or 0.0)
        run.send(number, NEVER_LEFT)
    assert sorted(set(pauses)) == [0.5, 1, 2, 4, 8, 16, 30]
    assert pauses == sorted(pauses)
    assert pauses.count(0.5) >= 10
    moments = [sum(pauses[: place + 1]) for place in range(len(pauses))]
    for moment, pause in zip(moments, pauses, strict=True):
        assert pause <= max(0.5, 0.1 * moment), "a server that is back is noticed within a tenth of its outage"
    assert run.now - began == pytest.approx(moments[-1])


def test_requests_under_way_when_it_opens_do_not_lengthen_the_pause() -> None:
    run = AdmissionHarness()
    for number in range(64):
        run.begin(number)
    for number in range(64):
        run.end(number, NEVER_LEFT)
    assert run.ask() == Permit(granted=False, wait=0.5)
    run.now += 0.5
    run.send(100, NEVER_LEFT)
    assert run.ask() == Permit(granted=False, wait=0.5)


def test_one_good_answer_lets_a_few_go_and_those_let_all_go() -> None:
    run = AdmissionHarness()
    run.open_breaker()
    run.wait()
    run.send(100, ACCEPTED)
    assert run.admission.breaker.state is BreakerState.HALF_OPEN
    for number in range(101, 100 + HALF_OPEN_PROBES):
        assert run.begin(number).probe
    assert run.ask() == Permit(granted=False, wait=None)
    for number in range(101, 100 + HALF_OPEN_PROBES):
        decision = run.end(number, ACCEPTED)
    assert [event.what for event in decision.events] == ["all workers go on"]
    assert run.admission.breaker.is_closed


def test_a_bad_answer_among_the_few_opens_it_again() -> None:
    run = AdmissionHarness()
    run.open_breaker()
    run.wait()
    run.send(100, ACCEPTED)
    run.send(101, answer(503))
    assert run.admission.breaker.state is BreakerState.OPEN
    assert run.ask() == Permit(granted=False, wait=0.5)


def test_after_it_has_closed_the_requests_in_flight_ramp_up() -> None:
    run = AdmissionHarness(workers=64)
    run.open_breaker()
    run.probe_until_closed()
    number, most = 6_000, []
    for _ in range(8):  # round trips
        flying: list[int] = []
        while run.admission.breaker.has_room(run.admission.concurrency.in_flight, 64) and len(flying) < 64:
            run.begin(number)
            flying.append(number)
            number += 1
        most.append(len(flying))
        for each in flying:
            run.end(each, ACCEPTED)
    assert most == [7, 14, 28, 56, 64, 64, 64, 64]


def test_requests_that_were_held_ready_to_leave_take_their_turns_in_the_ramp() -> None:
    run = AdmissionHarness(workers=64)
    run.open_breaker()
    run.probe_until_closed()
    admission = run.admission
    admission.concurrency.in_flight = admission.held = 20
    left = 0
    for _ in range(20):
        admission.held -= 1
        if not admission.recheck(run.now, GRANTED, was_held=True).granted:
            break
        left += 1
    assert left == 7, "as many as the ramp lets go, and not all of them at once"


@pytest.mark.parametrize("attempt", [answer(429), answer(408), answer(503), LOST, TIMED_OUT, NEVER_LEFT, answer(504)])
def test_after_a_bad_probe_the_next_one_is_sent_alone_and_not_at_once(attempt: Attempt) -> None:
    run = AdmissionHarness()
    run.open_breaker()
    for number in range(20, 26):
        assert (run.wait().wait or 0.0) >= 0.5
        assert run.begin(number).probe
        assert not run.ask().granted
        run.end(number, attempt)
        assert not run.admission.breaker.is_closed


@pytest.mark.parametrize("attempt", [ACCEPTED, rejected(400), rejected(404), answer(500), answer(401)])
def test_any_answer_of_a_server_that_takes_requests_is_a_good_one(attempt: Attempt) -> None:
    run = AdmissionHarness()
    run.accept_some()
    run.open_breaker()
    run.now += 30.0
    for number in range(100, 100 + HALF_OPEN_PROBES):
        run.send(number, attempt)
    assert run.admission.breaker.is_closed


def test_a_probe_that_failed_for_certain_uses_up_no_try() -> None:
    run = AdmissionHarness()
    run.accept_some()
    run.open_breaker()
    for _ in range(20):
        run.now += 30.0
        decision = run.send(100, answer(503))
        assert (decision.state, decision.uses_try) == (State.QUEUED, False)
        assert decision.retry_in is not None


def test_a_permit_is_checked_again_before_its_request_leaves() -> None:
    run = AdmissionHarness(workers=3)
    permits = [run.begin(number) for number in range(3)]
    run.end(0, answer(503, 5.0))
    for permit in permits[1:]:
        assert run.admission.recheck(run.now + 1.0, permit) == Permit(granted=False, wait=4.0)
    assert run.admission.concurrency.in_flight == 2
    run.now += 5.0
    run.permits[1] = run.admission.recheck(run.now, permits[1])
    assert run.permits[1] == Permit(granted=True, probe=True)
    assert run.admission.recheck(run.now, run.permits[1]) == run.permits[1], "a probe is not held back"


@pytest.mark.parametrize("per_second", [2.0, 0.5])
def test_requests_that_were_held_leave_by_the_rate(per_second: float) -> None:
    run = AdmissionHarness(workers=4)
    run.admission.rate = RateLimiter(per_second)
    permits = []
    for number in range(4):
        run.now += 1.0 / per_second
        permits.append(run.begin(number))
    run.end(0, answer(429, 5.0))
    held = [run.admission.recheck(run.now, permit, was_held=True) for permit in permits[1:]]
    assert held == [Permit(granted=False, wait=5.0)] * 3
    run.now += 5.0
    first, second = [run.admission.recheck(run.now, permit, was_held=True) for permit in permits[1:3]]
    assert first.granted
    assert not second.granted
    assert second.wait is not None
    assert second.wait >= 0.9 / per_second, "the server's word about the rate only makes it slower"
    run.now += second.wait
    assert run.admission.recheck(run.now, permits[2], was_held=True).granted
    assert not run.admission.recheck(run.now, permits[3], was_held=True).granted


# Retry-After


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_holds_everybody(status: int) -> None:
    run = AdmissionHarness()
    for number in range(64):
        run.begin(number)
    run.end(0, answer(status, 5.0))
    for number in range(1, 60):
        run.end(number, ACCEPTED)
    for later in (0.0, 1.0, 4.75):
        for again in (True, False):
            permit = run.admission.try_admit(run.now + later, again=again)
            assert permit == Permit(granted=False, wait=5.0 - later)
    run.now += 5.0
    assert run.ask().granted


def test_after_a_503_with_retry_after_a_few_go_first() -> None:
    run = AdmissionHarness()
    run.send(0, answer(503, 5.0))
    run.now += 5.0
    assert [run.ask().granted for _ in range(10)] == [True] * HALF_OPEN_PROBES + [False] * (10 - HALF_OPEN_PROBES)


def test_a_shorter_hold_never_ends_a_longer_one() -> None:
    run = AdmissionHarness()
    for number in range(3):
        run.begin(number)
    run.end(0, answer(429, 9.0))
    run.end(1, answer(503, 2.0))
    run.end(2, answer(503))
    assert run.ask().wait == 9.0


def test_a_good_answer_does_not_shorten_what_the_server_asked_for_meanwhile() -> None:
    run = AdmissionHarness()
    run.begin(0)
    run.send(1, answer(503, 1.0))
    run.now += 1.0
    run.begin(2)
    run.end(0, answer(503, 7.0))
    run.end(2, ACCEPTED)
    assert run.ask() == Permit(granted=False, wait=7.0)


@pytest.mark.parametrize("status", [429, 503, 408])
def test_a_server_that_asks_for_more_patience_than_there_is_stops_the_run(status: int) -> None:
    run = AdmissionHarness(max_outage=60.0)
    assert run.send(1, answer(status, 61.0)).stop is StopReason.SERVER_UNAVAILABLE
    assert AdmissionHarness(max_outage=60.0).send(1, answer(status, 60.0)).stop is None


def test_what_a_poll_is_asked_for_holds_everybody_and_may_be_too_long() -> None:
    admission = AdmissionController(ConcurrencyLimit(4))
    assert admission.on_poll(0.0, answer(200, 5.0), State.PROCESSING) == []
    assert admission.on_poll(0.0, answer(503), State.PROCESSING) == []
    assert admission.try_admit(0.0, again=False).granted
    (event,) = admission.on_poll(0.0, answer(429, 5.0), State.PROCESSING)
    assert (event.value, event.stop) == (5.0, None)
    assert admission.try_admit(1.0, again=False).wait == 4.0
    assert admission.breaker.seconds_held(1.0) == 4.0
    assert admission.breaker.seconds_held(6.0) == 0.0
    *_, event = admission.on_poll(6.0, answer(429, 601.0), State.PROCESSING)
    assert event.stop is StopReason.SERVER_UNAVAILABLE


# Patience


def test_nothing_taken_for_longer_than_max_outage_stops_the_run() -> None:
    run = AdmissionHarness(max_outage=20.0)
    since, number, stop = run.now, 10, None
    run.open_breaker()
    while stop is None:
        run.wait()
        stop = run.send(number, NEVER_LEFT).stop
        number += 1
        assert (stop is not None) == (run.now - since > 20.0)
    assert stop is StopReason.SERVER_UNAVAILABLE


@pytest.mark.parametrize("attempt", [answer(429), answer(503), NEVER_LEFT])
def test_patience_ends_also_where_there_are_too_few_recipients_for_the_breaker(attempt: Attempt) -> None:
    run, stop = AdmissionHarness(max_outage=60.0), None
    for _ in range(70):
        decision = run.send(1, attempt)
        assert decision.state is State.QUEUED
        stop = stop or decision.stop
        run.now += 1.0
    assert stop is StopReason.SERVER_UNAVAILABLE


def test_patience_begins_anew_with_every_answer_of_a_server_that_takes_requests() -> None:
    run = AdmissionHarness(max_outage=60.0)
    for _ in range(10):
        run.now += 50.0
        assert run.send(1, answer(429)).stop is None
        run.now += 5.0
        run.accept_some()


# Unknown


def test_five_unknown_of_a_hundred_pause_a_second_and_send_one_alone() -> None:
    run = AdmissionHarness(workers=1)
    for number in range(300):
        decision = run.send(number, LOST if number % 20 == 0 else ACCEPTED)
        if number % 100 == 80:  # the fifth in the last hundred, and five after that
            assert [event.what for event in decision.events] == ["all workers held"]
            assert run.ask() == Permit(granted=False, wait=1.0)
            run.now += 1.0
            assert run.begin(1_000 + number).probe
            run.end(1_000 + number, ACCEPTED)
            run.probe_until_closed(2_000 + number)
        else:
            assert not decision.events, number


def test_four_unknown_of_a_hundred_are_bad_luck() -> None:
    run = AdmissionHarness()
    for number in range(2_000):
        assert not run.send(number, LOST if number % 25 == 0 else ACCEPTED).events


def test_twenty_unknown_in_a_row_stop_the_run() -> None:
    run, stops = AdmissionHarness(), []
    for number in range(20):
        run.now += run.ask_without_taking()
        stops.append(run.send(number, LOST).stop)
    assert stops == [None] * 19 + [StopReason.TOO_MANY_UNKNOWN]


def test_operations_that_are_lost_are_unknown_and_those_under_way_say_nothing() -> None:
    admission, events = AdmissionController(ConcurrencyLimit(4)), []
    for _ in range(20):
        assert admission.on_poll(0.0, answer(200), State.PROCESSING) == []
        events += admission.on_poll(0.0, answer(200), State.UNKNOWN)
    assert events[-1].stop is StopReason.TOO_MANY_UNKNOWN
    assert [event.stop for event in events[:-1]] == [None] * 3


# All together

FAULTS = (ACCEPTED, *UNREACHABLE, answer(429), answer(429, 3.0), answer(503, 0.0), rejected(404), answer(500), LOST)


@given(
    st.lists(st.tuples(st.sampled_from(("ask", "again", "meet", "wait")), st.integers(0, 2**32)), max_size=150),
    st.integers(1, 12),
    st.sampled_from((None, 2.0, 50.0)),
)
@settings(max_examples=300)
def test_nobody_passes_an_open_breaker_the_limit_or_the_rate(
    steps: list[tuple[str, int]], workers: int, rate: float | None
) -> None:
    run = AdmissionHarness(workers, rate=rate, retry=RetryPolicy(max_attempts=1000))
    breaker, left, number = run.admission.breaker, list[float](), 0
    for what, drawn in steps:
        if what == "wait":
            run.now += drawn / 2**32 * 2.0
        elif what == "meet" and run.permits:
            ended = list(run.permits)[drawn % len(run.permits)]
            run.end(ended, FAULTS[drawn % len(FAULTS)], chance=drawn % 1000 / 1000)
        elif what in ("ask", "again"):
            state, held_until = breaker.state, breaker.held_until
            permit = run.ask(again=what == "again")
            if permit.granted:
                run.permits[number] = permit
                run.messages[number] = Message(number, number + 2, f"CN={number},DC=x", "text", attempts=1, tries=1)
                number += 1
                left.append(run.now)
                assert permit.probe is (state is not BreakerState.CLOSED)
                assert run.now >= held_until
            else:
                assert permit.wait is None or permit.wait > 0
        probes = sum(permit.probe for permit in run.permits.values())
        assert probes <= HALF_OPEN_PROBES
        assert breaker.state is not BreakerState.OPEN or breaker.probes <= HALF_OPEN_PROBES
        assert run.admission.concurrency.in_flight == len(run.permits) <= workers
    if rate is not None:
        assert all(later - earlier >= (0.5 - 1e-9) / rate for earlier, later in pairwise(left))


def test_an_outage_that_begins_without_answers_is_an_outage() -> None:
    """The breaker is open already, after several unknown: it says why, and its probes move apart."""
    run = AdmissionHarness(workers=64)
    for number in range(8):
        run.begin(number)
    for number in range(8):
        run.end(number, LOST)
    assert run.admission.breaker.outage_since is None
    reasons: list[str] = []
    pauses = []
    for number in range(100, 200):
        pauses.append(run.wait().wait or 0.0)
        reasons += [event.why for event in run.send(number, NEVER_LEFT).events]
    assert run.admission.breaker.outage_since is not None
    assert "the server is away" in reasons
    assert max(pauses) >= 8.0, "as in any other outage"
    run.probe_until_closed(1_000)
    assert run.admission.breaker.outage_since is None


def test_patience_is_what_is_left_of_the_longest_outage() -> None:
    health = ServerHealth(max_outage=600.0)
    assert health.patience_left(1_000.0) is None
    health.on_failure(1_000.0, 1, counts=False)
    assert [health.patience_left(now) for now in (1_000.0, 1_010.0, 1_600.0, 2_000.0)] == [600.0, 590.0, 0.0, 0.0]
    health.on_taken(1_020.0, 1, 0.1, accepted=True)
    assert health.patience_left(1_030.0) is None
