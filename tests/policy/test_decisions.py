"""Single decisions: refusals and used-up tries after doubt, holds, broken-off attempts, polls."""

from itertools import pairwise

import pytest

from bulksms.model.attempt import ApiError, Attempt, Failure, OperationResult, ResultType
from bulksms.model.message import Message, Reason, State
from bulksms.model.run_settings import TIMINGS, DeliveryMode
from bulksms.policy.judgement import PollLimiter, concurrent_polls, decide_poll
from bulksms.policy.retry import Decision, RetryPolicy, classify, decide, decide_interrupted


def message_after(tries: int, doubt: Reason | None = None) -> Message:
    return Message(1, 2, "CN=A,DC=x", "text", attempts=tries, tries=tries, in_doubt=doubt)


def decided(attempt: Attempt, message: Message, policy: RetryPolicy | None = None, *, is_own: bool = True) -> Decision:
    return decide(classify(attempt), attempt, message, policy or RetryPolicy(), 0.5, is_own=is_own)


def answer(status: int, retry_after: float | None = None) -> Attempt:
    return Attempt(headers_sent=True, status=status, retry_after=retry_after)


@pytest.mark.parametrize("doubt", [Reason.AMBIGUOUS_ANSWER, Reason.NO_ANSWER, Reason.CRASH])
@pytest.mark.parametrize("status", [400, 403, 404, 409, 413, 422])
def test_a_refusal_after_doubt_is_unknown_for_the_doubts_reason(status: int, doubt: Reason) -> None:
    decision = decided(answer(status), message_after(2, doubt))
    assert (decision.state, decision.reason, decision.in_doubt) == (State.UNKNOWN, doubt, doubt)


@pytest.mark.parametrize("doubt", [Reason.AMBIGUOUS_ANSWER, Reason.NO_ANSWER, Reason.CRASH])
def test_tries_used_up_after_doubt_are_unknown(doubt: Reason) -> None:
    decision = decided(answer(503), message_after(5, doubt))
    assert (decision.state, decision.reason, decision.again) == (State.UNKNOWN, doubt, False)


@pytest.mark.parametrize("status", [408, 425, 429, 503])
def test_tries_used_up_without_doubt_are_failed(status: int) -> None:
    assert decided(answer(status), message_after(4)).again
    decision = decided(answer(status), message_after(5))
    assert (decision.state, decision.reason, decision.again) == (State.FAILED, Reason.ATTEMPTS_EXHAUSTED, False)


@pytest.mark.parametrize("mode", [DeliveryMode.BALANCED, DeliveryMode.AT_LEAST_ONCE])
def test_tries_used_up_by_an_ambiguous_answer_are_unknown(mode: DeliveryMode) -> None:
    decision = decided(answer(500), message_after(5), RetryPolicy(mode))
    assert (decision.state, decision.reason) == (State.UNKNOWN, Reason.AMBIGUOUS_ANSWER)


@pytest.mark.parametrize("status", [500, 502])
@pytest.mark.parametrize("second", [500, 502, 504])
def test_balanced_tries_once_more_after_a_500_or_502_and_then_says_unknown(status: int, second: int) -> None:
    first = decided(answer(status), message_after(1))
    assert (first.state, first.again, first.in_doubt) == (State.QUEUED, True, Reason.AMBIGUOUS_ANSWER)
    then = decided(answer(second), message_after(2, first.in_doubt))
    assert (then.state, then.reason, then.again) == (State.UNKNOWN, Reason.AMBIGUOUS_ANSWER, False)


def test_what_certainly_was_not_processed_does_not_use_up_the_one_more_of_balanced() -> None:
    decision = decided(answer(503), message_after(2, Reason.AMBIGUOUS_ANSWER))
    assert decision.again
    assert decision.in_doubt is Reason.AMBIGUOUS_ANSWER


def test_at_least_once_goes_on_after_every_doubt_until_the_tries_are_used_up() -> None:
    policy = RetryPolicy(DeliveryMode.AT_LEAST_ONCE, max_attempts=3)
    lost = Attempt(headers_sent=True, failure=Failure.READ_TIMEOUT)
    assert decided(lost, message_after(1), policy).again
    assert decided(lost, message_after(2, Reason.NO_ANSWER), policy).again
    assert decided(lost, message_after(3, Reason.NO_ANSWER), policy).state is State.UNKNOWN


def test_a_failure_that_is_the_server_s_uses_up_no_try() -> None:
    decision = decided(answer(503), message_after(6), is_own=False)
    assert decision.again
    assert not decision.uses_try


def test_what_may_have_been_processed_uses_up_a_try_whosever_trouble_it_is() -> None:
    decision = decided(answer(500), message_after(5), is_own=False)
    assert (decision.state, decision.uses_try) == (State.UNKNOWN, True)


@pytest.mark.parametrize("doubt", [None, Reason.AMBIGUOUS_ANSWER])
@pytest.mark.parametrize(
    ("attempt", "state"),
    [
        (Attempt(headers_sent=False, failure=Failure.CANCELLED), State.QUEUED),
        (Attempt(headers_sent=False), State.QUEUED),
        (Attempt(headers_sent=True, failure=Failure.CANCELLED), State.UNKNOWN),
        (Attempt(headers_sent=True, status=200, failure=Failure.CANCELLED), State.UNKNOWN),
        (Attempt(headers_sent=True, status=202, failure=Failure.CANCELLED), State.UNKNOWN),
        (Attempt(headers_sent=True, status=500, failure=Failure.CANCELLED), State.UNKNOWN),
        (Attempt(headers_sent=True, status=503, failure=Failure.CANCELLED), State.QUEUED),
        (Attempt(headers_sent=True, status=400, failure=Failure.CANCELLED), State.QUEUED),
        (Attempt(headers_sent=True, status=401, failure=Failure.CANCELLED), State.QUEUED),
    ],
)
def test_a_broken_off_attempt_goes_back_to_the_queue_only_if_it_was_not_processed(
    attempt: Attempt, state: State, doubt: Reason | None
) -> None:
    decision = decide_interrupted(classify(attempt), message_after(1, doubt))
    assert decision.state is state
    assert not decision.again
    if state is State.UNKNOWN:
        assert (decision.reason, decision.in_doubt) == (Reason.INTERRUPTED, Reason.INTERRUPTED)
    else:
        assert (decision.reason, decision.in_doubt, decision.uses_try) == (None, doubt, False)


def result(kind: ResultType) -> Attempt:
    return Attempt(headers_sent=True, status=200, result=OperationResult(kind))


WORKING = None
LOST = ("unknown", "operation_lost")
POLLS: dict[str, tuple[Attempt, bool | None, float, tuple[str, str | None] | None]] = {
    "succeeded": (result(ResultType.SUCCEEDED), True, 1.0, ("accepted", None)),
    "suspended": (result(ResultType.SUSPENDED), True, 1.0, ("awaiting_approval", None)),
    "failed": (result(ResultType.FAILED), True, 1.0, ("failed", "rejected")),
    "succeeded, at last": (result(ResultType.SUCCEEDED), True, 999.0, ("accepted", None)),
    "completed, nobody knows how": (answer(200), True, 1.0, LOST),
    "still working": (answer(200), False, 1.0, WORKING),
    "still working, for too long": (answer(200), False, 600.0, LOST),
    "unknown operation": (answer(404), None, 1.0, LOST),
    "no rights": (answer(403), None, 1.0, WORKING),
    "busy": (answer(503, 7.0), None, 1.0, WORKING),
    "server failed": (answer(500), None, 1.0, WORKING),
    "server failed, for too long": (answer(500), None, 600.0, LOST),
    "never left": (Attempt(headers_sent=False, failure=Failure.REFUSED), None, 1.0, WORKING),
    "lost answer": (Attempt(headers_sent=True, failure=Failure.READ_TIMEOUT), None, 1.0, WORKING),
    "nobody there, for too long": (Attempt(headers_sent=False, failure=Failure.REFUSED), None, 601.0, WORKING),
    "away, for too long": (answer(503), None, 601.0, WORKING),
}


@pytest.mark.parametrize(("attempt", "completed", "waited", "outcome"), POLLS.values(), ids=POLLS)
def test_a_slow_send_is_what_the_server_says_it_became(
    attempt: Attempt, completed: bool | None, waited: float, outcome: tuple[str, str | None] | None
) -> None:
    decision = decide_poll(attempt, completed, message_after(1), waited=waited, timeout=600.0)
    if outcome is None:
        assert decision is None
        return
    assert decision is not None
    assert (decision.state.value, decision.reason) == outcome
    assert not decision.again


def test_an_operation_that_failed_after_doubt_leaves_its_message_unknown() -> None:
    message = message_after(2, Reason.AMBIGUOUS_ANSWER)
    decision = decide_poll(result(ResultType.FAILED), completed=True, message=message, waited=1.0, timeout=600.0)
    assert decision is not None
    assert (decision.state, decision.reason) == (State.UNKNOWN, Reason.AMBIGUOUS_ANSWER)


@pytest.mark.parametrize("attempt", [answer(401), Attempt(True, 403, api_error=ApiError("no", "unauthenticated"))])
def test_a_poll_with_a_token_that_is_not_good_says_nothing_about_the_message(attempt: Attempt) -> None:
    assert decide_poll(attempt, None, message_after(1, Reason.NO_ANSWER), waited=999.0, timeout=600.0) is None


def test_pauses_between_polls_grow_from_half_a_second_to_ten() -> None:
    pauses = [TIMINGS.poll_pause(polls) for polls in range(40)]
    assert pauses[:4] == [0.5, 0.75, 1.125, 1.6875]
    assert pauses == sorted(pauses)
    assert pauses[-1] == TIMINGS.poll_pause(1_000_000) == 10.0


GOOD = answer(200)
AWAY = answer(503)


def test_so_many_polls_are_under_way_at_once_and_one_alone_while_the_server_is_away() -> None:
    questions = PollLimiter(concurrent_polls(16), max_outage=600.0)
    for _ in range(3):
        assert questions.delay(0.0) == 0.0
        questions.started()
    assert questions.delay(0.0) is None
    questions.finished(0.0, GOOD)
    assert questions.delay(0.0) == 0.0
    questions.finished(1.0, AWAY)
    assert questions.delay(1.0) is None, "one is still under way"
    questions.finished(1.0, AWAY)
    assert questions.delay(1.0) == 1.0
    questions.started()
    questions.finished(3.0, GOOD)
    assert questions.delay(3.0) == 0.0


def test_a_server_that_is_away_is_polled_less_and_less_and_not_for_ever() -> None:
    questions, now, asked = PollLimiter(8, max_outage=600.0), 0.0, []
    while not questions.has_given_up(now):
        delay = questions.delay(now)
        assert delay is not None
        now += delay
        questions.started()
        asked.append(now)
        questions.finished(now, AWAY)
    assert sum(moment <= 60.0 for moment in asked) <= 8
    assert max(later - earlier for earlier, later in pairwise(asked)) == 30.0
    assert 600.0 < now <= 630.0


def test_a_poll_is_not_repeated_before_the_server_allows_it() -> None:
    questions = PollLimiter(8, max_outage=600.0)
    questions.started()
    questions.finished(10.0, answer(503, 7.0))
    assert questions.delay(12.0) == 5.0
