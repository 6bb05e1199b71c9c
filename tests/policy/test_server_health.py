"""Server health: what the last half a minute of a run shows, and what policy makes of the answers beside it."""

import pytest

from bulksms.model.attempt import ApiError, Attempt, Failure
from bulksms.model.message import Message, Reason, State
from bulksms.model.run_settings import StopReason
from bulksms.policy.admission import GRANTED, AdmissionController
from bulksms.policy.circuit_breaker import CircuitBreaker, ServerHealth
from bulksms.policy.concurrency_limit import FIRST_LIMIT, ConcurrencyLimit
from bulksms.policy.judgement import FailureLimit, FailureLimits, RunPolicy, decide_poll
from bulksms.policy.rate_limiter import RateLimiter
from bulksms.policy.retry import Evidence, RetryPolicy, classify, decide
from tests.policy.harness import ACCEPTED, LOST, AdmissionHarness, answer


def take(health: ServerHealth, now: float, *numbers: int, after_failures: int) -> None:
    """The server takes these messages at last, each after so many failures."""
    for number in numbers:
        for _ in range(after_failures):
            health.on_failure(now, number, counts=False)
        health.on_taken(now, number, 0.0, accepted=True)


def test_the_share_of_failures_is_that_of_the_last_thirty_seconds() -> None:
    health = ServerHealth()
    take(health, 1_000.5, 1, 2, 3, after_failures=1)
    assert health.failure_share(1_000.5) == health.failure_share(1_029.9) == pytest.approx(1 / 2)
    assert health.failure_share(1_030.0) == 0.0
    take(health, 1_031.0, 4, 5, 6, after_failures=2)
    assert health.failure_share(1_031.0) == pytest.approx(2 / 3)
    assert len(health.seconds) == 1, "one entry a second, and none that is older"


@pytest.mark.parametrize(
    ("since", "now", "is_beyond"), [(10.0, 700.0, True), (10.0, 610.0, False), (500.0, 1_000.0, False)]
)
def test_patience_is_counted_from_the_first_failure(since: float, now: float, *, is_beyond: bool) -> None:
    health = ServerHealth(max_outage=600.0)
    health.on_failure(since, 1, counts=True)
    assert health.is_beyond_patience(now) is is_beyond


def test_a_server_is_silent_thirty_seconds_after_its_last_answer_of_any_kind() -> None:
    health = ServerHealth(answered_at=10.0)
    assert [health.is_silent(now) for now in (10.0, 40.0, 40.5, 50.0)] == [False, False, True, True]


def test_the_ramp_is_over_when_the_limit_has_sunk_below_it() -> None:
    breaker = CircuitBreaker(ramp=10)
    assert breaker.has_room(9, 8)
    assert breaker.ramp is None


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_proxy_that_reached_nobody_sent_nothing_and_is_no_wrong_address(status: int) -> None:
    refused = Attempt(headers_sent=False, status=status, failure=Failure.PROXY_REFUSED)
    assert classify(refused) is Evidence.NEVER_LEFT


def test_a_change_of_the_concurrency_is_reported_as_what_it_is() -> None:
    run = AdmissionHarness()
    run.admission.concurrency = ConcurrencyLimit(64)
    for number in range(FIRST_LIMIT):
        run.begin(number)
    run.now += 0.2
    decisions = [run.end(number, answer(400, elapsed=0.2)) for number in range(FIRST_LIMIT)]
    assert [(event.what, event.why) for event in decisions[-1].events] == [("concurrency", "more may be faster")]


def test_a_message_that_goes_again_breaks_no_row_of_unknown_ones() -> None:
    run, stops = AdmissionHarness(), []
    for number in range(20):
        run.now += run.ask_without_taking()
        stops.append(run.send(number, LOST).stop)
        if number < 19:
            run.now += run.ask_without_taking()
            run.send(1_000 + number, answer(408))
    assert stops == [None] * 19 + [StopReason.TOO_MANY_UNKNOWN]


def test_what_other_machines_settled_as_unknown_is_no_failure_and_is_settled_all_the_same() -> None:
    policy = RunPolicy(RetryPolicy(), AdmissionController(ConcurrencyLimit(4), RateLimiter()), FailureLimits())
    policy.note_elsewhere((0, 0, 0))
    policy.note_elsewhere((2, 3, 5))
    assert list(policy.failures.last_anywhere) == [False] * 8 + [True] * 2
    assert policy.admission.unknown_rate.in_a_row_anywhere == 0
    policy.note_elsewhere((2, 6, 5))
    assert policy.admission.unknown_rate.in_a_row_anywhere == 3


@pytest.mark.parametrize("attempt", [LOST, ACCEPTED])
def test_only_a_400_is_about_the_header_that_asks_the_server_to_wait(attempt: Attempt) -> None:
    admission = AdmissionController(ConcurrencyLimit(4), RateLimiter())
    policy, message = RunPolicy(RetryPolicy(), admission, FailureLimits()), Message(1, 2, "CN=1,DC=x", "text")
    message.attempts = message.tries = 1
    decision = policy.judge(message, attempt, GRANTED, 1_000.0, 0.5, asked_to_wait=True)
    assert not decision.drop_wait_header


def test_failures_on_other_machines_count_in_the_limit_of_failures() -> None:
    limits, message = (
        FailureLimits(FailureLimit(count=3), released=True, failures_elsewhere=2),
        Message(1, 2, "CN=1,DC=x", "text"),
    )
    refused = decide(Evidence.REJECTED, answer(400), message, RetryPolicy(), 0.5)
    assert limits.apply(message, answer(400), refused).stop is StopReason.TOO_MANY_FAILURES


def test_more_attempts_than_the_limit_allows_are_as_final_as_the_last_one_allowed() -> None:
    message = Message(1, 2, "CN=1,DC=x", "text", attempts=4, tries=4)
    decision = decide(Evidence.NOT_PROCESSED, answer(408), message, RetryPolicy(max_attempts=2), 0.5)
    assert (decision.state, decision.reason) == (State.FAILED, Reason.ATTEMPTS_EXHAUSTED)


@pytest.mark.parametrize("status", [400, 401, 404])
def test_a_poll_whose_token_is_refused_settles_nothing_whatever_its_status_is(status: int) -> None:
    refused = Attempt(headers_sent=True, status=status, api_error=ApiError("no", "unauthenticated"))
    message = Message(1, 2, "CN=1,DC=x", "text", attempts=1, tries=1)
    assert decide_poll(refused, None, message, waited=999.0, timeout=600.0) is None
