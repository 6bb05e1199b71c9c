"""Whose trouble a failure is: being throttled fails nobody; only what is the recipient's own uses up attempts."""

import pytest

from bulksms.model.attempt import Attempt
from bulksms.model.message import Reason, State
from bulksms.model.run_settings import RunSettings, StopReason
from bulksms.policy.concurrency_limit import ConcurrencyLimit
from bulksms.policy.retry import Decision, RetryPolicy
from tests.policy.harness import AdmissionHarness, answer, stops_of


def fail(run: AdmissionHarness, number: int, attempt: Attempt) -> Decision:
    """The message meets this as soon as it may go again."""
    while (wait := seconds_left(run)) > 0.0:
        run.now += wait
    run.begin(number, again=True)
    return run.end(number, attempt)


def seconds_left(run: AdmissionHarness) -> float:
    """Until the next retry may leave."""
    admission, now = run.admission, run.now
    return max(admission.breaker.delay(now) or 0.0, admission.rate.delay(now), admission.budget.delay(now))


def test_any_number_of_429s_use_up_nothing_while_others_are_accepted() -> None:
    run = AdmissionHarness()
    for round_trip in range(50):
        run.now += 10.0
        run.accept_some(9_000 + 20 * round_trip, 20)
        decision = fail(run, 1, answer(429))
        assert (decision.state, decision.uses_try) == (State.QUEUED, False)


def test_a_503_uses_up_nothing_while_the_server_fails_many() -> None:
    run = AdmissionHarness()
    run.accept_some()
    for number in range(2, 8):  # what fails and is accepted later was the server's
        run.send(number, answer(503))
        run.now += 0.1
        run.accept_some(number)
    assert run.admission.health.is_failing(run.now)
    for _ in range(20):
        decision = fail(run, 1, answer(503))
        run.accept_some()
        assert (decision.state, decision.uses_try) == (State.QUEUED, False)


def test_a_503_again_and_again_while_others_are_accepted_is_the_recipients_own() -> None:
    run = AdmissionHarness()
    waits = []
    for tries in range(1, 6):
        run.now += 60.0
        run.accept_some(9_000 + 50 * tries, 50)
        decision = fail(run, 1, answer(503))
        assert decision.uses_try
        waits.append(decision.retry_in)
    assert (decision.state, decision.reason) == (State.FAILED, Reason.ATTEMPTS_EXHAUSTED)
    assert waits[:4] == [0.25, 1.0, 4.0, 15.0], "half the longest wait, which grows fourfold up to thirty seconds"


def test_while_nobody_else_is_taken_two_failures_within_seconds_count_once() -> None:
    run = AdmissionHarness()
    run.accept_some(count=50)
    assert fail(run, 1, answer(503)).uses_try
    run.now += 4.0
    assert not fail(run, 1, answer(503)).uses_try
    run.now += 1.1
    assert fail(run, 1, answer(503)).uses_try


def test_a_server_that_throttles_everybody_for_ever_stops_the_run_and_fails_nobody() -> None:
    run = AdmissionHarness(max_outage=60.0)
    run.accept_some()
    stopped: StopReason | None = None
    while stopped is None:
        run.now += 5.0
        decision = fail(run, 1, answer(429))
        assert decision.state is State.QUEUED
        stopped = stops_of(decision)
    assert stopped is StopReason.SERVER_UNAVAILABLE


@pytest.mark.parametrize(("adapt", "first"), [(True, 4), (False, 64)])
def test_by_default_a_run_begins_with_a_few_of_at_most_64(*, adapt: bool, first: int) -> None:
    settings = RunSettings()
    assert (settings.workers, settings.adapt) == (64, True)
    assert ConcurrencyLimit(settings.workers, adapt).limit == first


def test_by_default_a_message_has_five_attempts() -> None:
    assert RetryPolicy().max_attempts == RunSettings().max_attempts == 5
