"""Breakers: trouble that is everybody's stops the run and is never written down as a recipient's."""

import pytest

from bulksms.attempt import ApiError, Attempt, Failure, OperationResult, ResultType
from bulksms.delivery.breaker import Breakers, FailureLimit
from bulksms.delivery.outcome import classify
from bulksms.delivery.retry import Decision, RetryPolicy, Stop, decide
from bulksms.message import Message, Reason, State

SUCCEEDED = Attempt(headers_sent=True, status=200, result=OperationResult(ResultType.SUCCEEDED))
NO_NUMBER = Attempt(headers_sent=True, status=200, result=OperationResult(ResultType.FAILED, "No telephone number."))


def answer(status: int, words: str | None = None) -> Attempt:
    return Attempt(headers_sent=True, status=status, api_error=None if words is None else ApiError(words, "code"))


class Reviewed:
    """Breakers, and the messages whose decisions they look at."""

    def __init__(self, breakers: Breakers) -> None:
        self.breakers = breakers
        self.number = 0

    def meets(self, attempt: Attempt, doubt: Reason | None = None) -> Decision:
        self.number += 1
        recipient = f"CN=User {self.number},DC=example"
        message = Message(self.number, self.number + 1, recipient, "text", attempts=1, tries=1, doubt=doubt)
        decision = decide(classify(attempt), attempt, message, RetryPolicy(), 0.5)
        return self.breakers.review(message, attempt, decision)


@pytest.mark.parametrize("status", [403, 404])
def test_a_403_or_404_is_held_back_until_another_answer_has_come(status: int) -> None:
    run = Reviewed(Breakers())
    held = run.meets(answer(status, "no"))
    assert (held.state, held.reason, held.held, held.again) == (State.QUEUED, None, True, False)
    assert not held.uses_try
    assert held.stop is None
    run.meets(SUCCEEDED)
    later = run.meets(answer(status, "no"))
    assert (later.state, later.reason, later.held) == (State.FAILED, Reason.REFUSED, False)


@pytest.mark.parametrize("other", [SUCCEEDED, NO_NUMBER, answer(400), answer(429), answer(500), answer(503)])
def test_any_other_answer_clears_the_path_and_the_account(other: Attempt) -> None:
    run = Reviewed(Breakers())
    run.meets(answer(404))
    assert not run.breakers.cleared
    run.meets(other)
    assert run.breakers.cleared
    assert run.meets(answer(404)).state is State.FAILED


@pytest.mark.parametrize(
    "failure", [Failure.REFUSED, Failure.UNRESOLVED, Failure.READ_TIMEOUT, Failure.DISCONNECTED, Failure.GARBLED]
)
def test_what_is_no_answer_clears_nothing(failure: Failure) -> None:
    run = Reviewed(Breakers())
    run.meets(Attempt(headers_sent=failure is Failure.READ_TIMEOUT, failure=failure))
    assert run.meets(answer(404)).held


def test_the_twentieth_403_or_404_in_a_row_stops_the_run() -> None:
    run = Reviewed(Breakers())
    stops = [run.meets(answer((403, 404)[number % 2])).stop for number in range(20)]
    assert stops == [None] * 19 + [Stop.ENDPOINT]


def test_after_another_answer_any_number_of_different_refusals_is_the_recipients_own() -> None:
    run = Reviewed(Breakers())
    run.meets(SUCCEEDED)
    words = ["not found", "no rights"]
    decisions = [run.meets(answer(404, words[number % 2])) for number in range(60)]
    assert {(decision.state, decision.stop) for decision in decisions} == {(State.FAILED, None)}


def test_at_the_end_of_the_run_what_was_held_is_settled_failed() -> None:
    run = Reviewed(Breakers())
    assert run.meets(answer(404)).held
    run.breakers.clear()
    released = run.meets(answer(404))
    assert (released.state, released.reason, released.held) == (State.FAILED, Reason.REFUSED_ELSEWHERE, False)


def test_what_was_held_after_doubt_is_settled_unknown() -> None:
    run = Reviewed(Breakers())
    held = run.meets(answer(404), Reason.DOUBTFUL_ANSWER)
    assert (held.state, held.doubt) == (State.QUEUED, Reason.DOUBTFUL_ANSWER)
    run.breakers.clear()
    released = run.meets(answer(404), Reason.DOUBTFUL_ANSWER)
    assert (released.state, released.reason) == (State.UNKNOWN, Reason.DOUBTFUL_ANSWER)


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
    assert not Reviewed(Breakers()).meets(attempt).held


def test_a_proxys_own_status_clears_nothing() -> None:
    run = Reviewed(Breakers())
    run.meets(Attempt(headers_sent=False, status=502, failure=Failure.PROXY_REFUSED))
    assert not run.breakers.cleared


def test_so_many_failed_messages_stop_the_run() -> None:
    run = Reviewed(Breakers(FailureLimit(count=3)))
    attempts = [NO_NUMBER, SUCCEEDED, answer(400, "no"), answer(503), SUCCEEDED, answer(422, "no"), answer(422, "no")]
    decisions = [run.meets(attempt) for attempt in attempts]
    assert [decision.stop for decision in decisions] == [None] * 5 + [Stop.FAILURES] * 2
    assert decisions[5].state is State.FAILED


def test_without_a_limit_failures_of_different_kinds_stop_nothing() -> None:
    run = Reviewed(Breakers())
    decisions = [run.meets((NO_NUMBER, answer(400, "no"))[number % 2]) for number in range(200)]
    assert all(decision.stop is None for decision in decisions)


def test_what_was_held_counts_as_failed_only_when_it_is_released() -> None:
    run = Reviewed(Breakers(FailureLimit(count=1)))
    assert run.meets(answer(403)).stop is None
    run.breakers.clear()
    assert run.meets(answer(403)).stop is Stop.FAILURES
