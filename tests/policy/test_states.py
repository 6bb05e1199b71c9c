"""The state table of the contract: which state may follow which, and that every decision keeps to it."""

import pytest

from bulksms.model.attempt import Attempt, Failure, OperationResult, ResultType
from bulksms.model.message import TRANSITIONS, UNFINISHED, Message, Reason, State
from bulksms.model.run_settings import DeliveryMode, StopReason
from bulksms.policy.judgement import decide_poll
from bulksms.policy.retry import Evidence, RetryPolicy, decide, decide_interrupted

LEFT_BY = {
    # A run begins an attempt, and settles what it held back; the deadline passes; the operator withdraws it.
    "queued": {"sending", "failed", "unknown", "expired", "cancelled", "skipped"},
    "sending": {"queued", "processing", "accepted", "awaiting_approval", "failed", "unknown", "expired"},
    "processing": {"accepted", "awaiting_approval", "failed", "unknown"},
    "accepted": set(),
    "awaiting_approval": set(),
    "failed": {"queued"},
    "unknown": {"queued", "accepted", "failed"},
    "expired": {"queued"},
    "cancelled": set(),
    "skipped": set(),
}
REASONS = (
    "rejected rejected_before_api attempts_exhausted no_answer ambiguous_answer crash interrupted operation_lost "
    "deadline cancelled resolved_by_hand duplicate suppressed bad_row"
)
STOPS = (
    "interrupted unauthorized wrong_endpoint server_unavailable too_many_failures too_many_unknown canary_failed "
    "deadline outside_hours ledger_error internal_error"
)


@pytest.mark.parametrize("state", LEFT_BY)
def test_a_state_is_left_by_what_the_contract_names(state: str) -> None:
    assert {follower.value for follower in TRANSITIONS[State(state)]} == LEFT_BY[state]


def test_the_words_are_those_of_the_contract() -> None:
    assert [state.value for state in State] == list(LEFT_BY)
    assert [reason.value for reason in Reason] == REASONS.split()
    assert [stop.value for stop in StopReason] == STOPS.split()
    assert {mode.value for mode in DeliveryMode} == {"at-most-once", "balanced", "at-least-once"}


def test_a_run_has_to_do_with_nothing_that_is_settled() -> None:
    assert {"queued", "sending", "processing"} == UNFINISHED


@pytest.mark.parametrize("mode", DeliveryMode)
@pytest.mark.parametrize("doubt", [None, Reason.NO_ANSWER])
@pytest.mark.parametrize("tries", [1, 5])
@pytest.mark.parametrize("evidence", Evidence)
def test_every_decision_about_an_attempt_is_a_legal_move(
    evidence: Evidence, tries: int, doubt: Reason | None, mode: DeliveryMode
) -> None:
    message = Message(1, 2, "CN=A,DC=x", "text", attempts=tries, tries=tries, in_doubt=doubt)
    attempt = Attempt(headers_sent=True, status=403)
    assert decide(evidence, attempt, message, RetryPolicy(mode), 0.5).state in TRANSITIONS[State.SENDING]
    assert decide_interrupted(evidence, message).state in TRANSITIONS[State.SENDING]


@pytest.mark.parametrize("doubt", [None, Reason.NO_ANSWER])
@pytest.mark.parametrize("completed", [None, False, True])
@pytest.mark.parametrize(
    "attempt",
    [
        *(Attempt(headers_sent=True, status=200, result=OperationResult(kind)) for kind in ResultType),
        *(Attempt(headers_sent=True, status=status) for status in (200, 401, 403, 404, 500, 503)),
        Attempt(headers_sent=False, failure=Failure.REFUSED),
    ],
)
def test_every_decision_about_a_poll_is_a_legal_move(
    attempt: Attempt, completed: bool | None, doubt: Reason | None
) -> None:
    message = Message(1, 2, "CN=A,DC=x", "text", attempts=1, tries=1, in_doubt=doubt, operation_id="7")
    for waited in (0.0, 600.0):
        decision = decide_poll(attempt, completed, message, waited=waited, timeout=600.0)
        if decision is not None and not decision.reauthenticate:
            assert decision.state in TRANSITIONS[State.PROCESSING]
