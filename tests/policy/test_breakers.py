"""Breakers: trouble that is everybody's stops the run and is never written down as a recipient's."""

import pytest
from msgspec.structs import replace

from bulksms.model.attempt import ApiError, Attempt, Failure, OperationResult, ResultType
from bulksms.model.message import Message, Reason, State
from bulksms.model.run_settings import DeliveryMode, StopReason
from bulksms.policy.judgement import FailureLimit, FailureLimits
from bulksms.policy.retry import Decision, RetryPolicy, classify, decide

SUCCEEDED = Attempt(headers_sent=True, status=200, result=OperationResult(ResultType.SUCCEEDED))
NO_NUMBER = Attempt(headers_sent=True, status=200, result=OperationResult(ResultType.FAILED, "No telephone number."))


def answer(status: int, words: str | None = None) -> Attempt:
    return Attempt(headers_sent=True, status=status, api_error=None if words is None else ApiError(words, "code"))


class Reviewed:
    """Breakers, and the messages whose decisions they look at."""

    def __init__(self, breakers: FailureLimits) -> None:
        self.breakers = breakers
        self.policy = RetryPolicy()
        self.number = 0

    def meets(self, attempt: Attempt, doubt: Reason | None = None) -> Decision:
        self.number += 1
        recipient = f"CN=User {self.number},DC=example"
        message = Message(self.number, self.number + 1, recipient, "text", attempts=1, tries=1, in_doubt=doubt)
        decision = decide(classify(attempt), attempt, message, self.policy, 0.5)
        return self.breakers.apply(message, attempt, decision)


@pytest.mark.parametrize("status", [403, 404])
def test_a_403_or_404_is_held_back_until_another_answer_has_come(status: int) -> None:
    run = Reviewed(FailureLimits())
    held = run.meets(answer(status, "no"))
    assert (held.state, held.reason, held.withheld, held.again) == (State.QUEUED, None, True, False)
    assert not held.uses_try
    assert held.stop is None
    run.meets(SUCCEEDED)
    later = run.meets(answer(status, "no"))
    assert (later.state, later.reason, later.withheld) == (State.FAILED, Reason.REJECTED, False)


@pytest.mark.parametrize("other", [SUCCEEDED, NO_NUMBER, answer(400, "no"), answer(429), answer(500), answer(503)])
def test_any_other_answer_clears_the_path_and_the_account(other: Attempt) -> None:
    run = Reviewed(FailureLimits())
    run.meets(answer(404))
    assert not run.breakers.released
    run.meets(other)
    assert run.breakers.released
    assert run.meets(answer(404)).state is State.FAILED


@pytest.mark.parametrize(
    "failure", [Failure.REFUSED, Failure.UNRESOLVED, Failure.READ_TIMEOUT, Failure.DISCONNECTED, Failure.MALFORMED]
)
def test_what_is_no_answer_clears_nothing(failure: Failure) -> None:
    run = Reviewed(FailureLimits())
    run.meets(Attempt(headers_sent=failure is Failure.READ_TIMEOUT, failure=failure))
    assert run.meets(answer(404)).withheld


PAGE = Attempt(headers_sent=True, status=200, snippet="Sign in", is_page=True)


@pytest.mark.parametrize(
    "attempt", [answer(400), replace(answer(409), is_page=True), replace(answer(403), is_page=True)]
)
def test_a_400_and_a_page_that_are_not_the_api_s_are_held_back_as_well(attempt: Attempt) -> None:
    run = Reviewed(FailureLimits())
    held = run.meets(attempt)
    assert (held.state, held.withheld, held.uses_try) == (State.QUEUED, True, False)
    run.meets(SUCCEEDED)
    assert run.meets(attempt).state is State.FAILED


def test_an_api_s_own_400_is_the_recipient_s_from_the_first_on() -> None:
    assert Reviewed(FailureLimits()).meets(answer(400, "no")).state is State.FAILED


@pytest.mark.parametrize("mode", DeliveryMode)
def test_a_page_after_the_request_left_is_unknown_and_the_third_stops_the_run(mode: DeliveryMode) -> None:
    run = Reviewed(FailureLimits())
    run.policy = RetryPolicy(mode)
    decisions = [run.meets(PAGE) for _ in range(3)]
    assert {(it.state, it.reason, it.again) for it in decisions} == {(State.UNKNOWN, Reason.NO_ANSWER, False)}
    assert [it.stop for it in decisions] == [None, None, StopReason.WRONG_ENDPOINT]


def test_while_pages_come_one_request_at_a_time_leaves() -> None:
    run = Reviewed(FailureLimits())
    assert not run.breakers.is_one_at_a_time
    run.meets(PAGE)
    assert run.breakers.is_one_at_a_time
    run.meets(SUCCEEDED)
    assert not run.breakers.is_one_at_a_time
    assert run.meets(PAGE).stop is None


def test_a_page_instead_of_an_answer_clears_nothing() -> None:
    run = Reviewed(FailureLimits())
    run.meets(answer(404))
    run.meets(PAGE)
    assert not run.breakers.released


def test_the_twentieth_that_may_be_everybody_s_in_a_row_stops_the_run() -> None:
    run = Reviewed(FailureLimits())
    stops = [run.meets(answer((403, 404, 400)[number % 3])).stop for number in range(20)]
    assert stops == [None] * 19 + [StopReason.WRONG_ENDPOINT]


def test_after_another_answer_any_number_of_different_refusals_is_the_recipients_own() -> None:
    run = Reviewed(FailureLimits())
    run.meets(SUCCEEDED)
    words = ["not found", "no rights"]
    decisions = [run.meets(answer(404, words[number % 2])) for number in range(60)]
    assert {(decision.state, decision.stop) for decision in decisions} == {(State.FAILED, None)}


def test_at_the_end_of_the_run_what_was_held_is_settled_failed() -> None:
    run = Reviewed(FailureLimits())
    assert run.meets(answer(404)).withheld
    run.breakers.release()
    released = run.meets(answer(404))
    assert (released.state, released.reason, released.withheld) == (State.FAILED, Reason.REJECTED_BEFORE_API, False)


def test_what_was_held_after_doubt_is_settled_unknown() -> None:
    run = Reviewed(FailureLimits())
    held = run.meets(answer(404), Reason.AMBIGUOUS_ANSWER)
    assert (held.state, held.in_doubt) == (State.QUEUED, Reason.AMBIGUOUS_ANSWER)
    run.breakers.release()
    released = run.meets(answer(404), Reason.AMBIGUOUS_ANSWER)
    assert (released.state, released.reason) == (State.UNKNOWN, Reason.AMBIGUOUS_ANSWER)


@pytest.mark.parametrize(
    "attempt",
    [
        Attempt(headers_sent=False, status=403, failure=Failure.PROXY_REFUSED),
        Attempt(headers_sent=False, status=404, failure=Failure.PROXY_REFUSED),
        Attempt(headers_sent=True, status=403, api_error=ApiError("Token expired.", "unauthenticated")),
    ],
)
def test_only_a_refusal_is_held_back(attempt: Attempt) -> None:
    # What is held is settled later out of `queued`, which nothing but a refusal can be.
    assert not Reviewed(FailureLimits()).meets(attempt).withheld


def test_a_proxys_own_status_clears_nothing() -> None:
    run = Reviewed(FailureLimits())
    run.meets(Attempt(headers_sent=False, status=502, failure=Failure.PROXY_REFUSED))
    assert not run.breakers.released


def test_so_many_failed_messages_stop_the_run() -> None:
    run = Reviewed(FailureLimits(FailureLimit(count=3)))
    attempts = [NO_NUMBER, SUCCEEDED, answer(400, "no"), answer(503), SUCCEEDED, answer(422, "no"), answer(422, "no")]
    decisions = [run.meets(attempt) for attempt in attempts]
    assert [decision.stop for decision in decisions] == [None] * 5 + [StopReason.TOO_MANY_FAILURES] * 2
    assert decisions[5].state is State.FAILED


def test_without_a_limit_failures_of_different_kinds_stop_nothing() -> None:
    run = Reviewed(FailureLimits())
    decisions = [run.meets((NO_NUMBER, answer(400, "no"))[number % 2]) for number in range(200)]
    assert all(decision.stop is None for decision in decisions)


def test_what_was_held_counts_as_failed_only_when_it_is_released() -> None:
    run = Reviewed(FailureLimits(FailureLimit(count=1)))
    assert run.meets(answer(403)).stop is None
    run.breakers.release()
    assert run.meets(answer(403)).stop is StopReason.TOO_MANY_FAILURES
