"""The evidence table of the contract, once more: what an attempt proves, and what becomes of its message."""

import pytest

from bulksms.model.attempt import ApiError, Attempt, Failure, OperationResult, ResultType
from bulksms.model.message import Message, State
from bulksms.model.run_settings import DeliveryMode, StopReason
from bulksms.policy.retry import IN_DOUBT, VERDICTS, Evidence, RetryPolicy, Verdict, classify, decide

REFUSAL = ApiError("The operation was refused.", "invalidArgument")
SUCCEEDED = OperationResult(ResultType.SUCCEEDED)
WARNED = OperationResult(ResultType.SUCCEEDED, warnings=("no gateway answered",))
FAILED = OperationResult(ResultType.FAILED, "No telephone number.")
SUSPENDED = OperationResult(ResultType.SUSPENDED)


def never_left(failure: Failure) -> Attempt:
    return Attempt(headers_sent=False, failure=failure)


def lost(failure: Failure, status: int | None = None) -> Attempt:
    return Attempt(headers_sent=True, failure=failure, status=status)


def answer(status: int, **body: object) -> Attempt:
    return Attempt(headers_sent=True, status=status, **body)  # type: ignore[arg-type]  # fields of Attempt


AGAIN = ("queued", None, True)
"""State, reason, and whether another attempt follows."""
NO_ANSWER = ("unknown", "no_answer", False)
AMBIGUOUS_ANSWER = ("unknown", "ambiguous_answer", False)
REFUSED = ("failed", "rejected", False)
REJECTED_BEFORE_API = ("failed", "rejected_before_api", False)
BACK = ("queued", None, False)
CRASH = ("unknown", "crash", False)
ACCEPTED = ("accepted", None, False)
AWAITING = ("awaiting_approval", None, False)
PROCESSING = ("processing", None, False)

Outcome = tuple[str, str | None, bool]

# attempt, evidence, then state, reason and again: at-most-once, balanced, at-least-once
TABLE: dict[str, tuple[Attempt, Evidence, Outcome, Outcome, Outcome]] = {
    "no such host": (never_left(Failure.UNRESOLVED), Evidence.NEVER_LEFT, AGAIN, AGAIN, AGAIN),
    "refused": (never_left(Failure.REFUSED), Evidence.NEVER_LEFT, AGAIN, AGAIN, AGAIN),
    "connect time-out": (never_left(Failure.CONNECT_TIMEOUT), Evidence.NEVER_LEFT, AGAIN, AGAIN, AGAIN),
    "TLS handshake": (never_left(Failure.TLS_HANDSHAKE), Evidence.NEVER_LEFT, AGAIN, AGAIN, AGAIN),
    "stale connection": (never_left(Failure.DISCONNECTED), Evidence.NEVER_LEFT, AGAIN, AGAIN, AGAIN),
    "408": (answer(408), Evidence.NOT_PROCESSED, AGAIN, AGAIN, AGAIN),
    "425": (answer(425), Evidence.NOT_PROCESSED, AGAIN, AGAIN, AGAIN),
    "429": (answer(429), Evidence.NOT_PROCESSED, AGAIN, AGAIN, AGAIN),
    "503": (answer(503), Evidence.NOT_PROCESSED, AGAIN, AGAIN, AGAIN),
    "500": (answer(500, api_error=REFUSAL), Evidence.SERVER_FAILED, AMBIGUOUS_ANSWER, AGAIN, AGAIN),
    "502": (answer(502), Evidence.SERVER_FAILED, AMBIGUOUS_ANSWER, AGAIN, AGAIN),
    "504": (answer(504), Evidence.LOST, AMBIGUOUS_ANSWER, AMBIGUOUS_ANSWER, AGAIN),
    "read time-out": (lost(Failure.READ_TIMEOUT), Evidence.LOST, NO_ANSWER, NO_ANSWER, AGAIN),
    "reset or disconnect": (lost(Failure.DISCONNECTED), Evidence.LOST, NO_ANSWER, NO_ANSWER, AGAIN),
    "garbage": (lost(Failure.MALFORMED), Evidence.LOST, NO_ANSWER, NO_ANSWER, AGAIN),
    "truncated 200": (lost(Failure.DISCONNECTED, 200), Evidence.LOST, NO_ANSWER, NO_ANSWER, AGAIN),
    "200 cut short by us": (lost(Failure.CANCELLED, 200), Evidence.LOST, NO_ANSWER, NO_ANSWER, AGAIN),
    "unreadable 200": (answer(200, snippet="<html>"), Evidence.LOST, NO_ANSWER, NO_ANSWER, AGAIN),
    "200 with an error": (answer(200, api_error=REFUSAL), Evidence.LOST, NO_ANSWER, NO_ANSWER, AGAIN),
    "201": (answer(201, result=SUCCEEDED), Evidence.LOST, NO_ANSWER, NO_ANSWER, AGAIN),
    "204": (answer(204), Evidence.LOST, NO_ANSWER, NO_ANSWER, AGAIN),
    "202 without an id": (answer(202), Evidence.LOST, NO_ANSWER, NO_ANSWER, AGAIN),
    "truncated 202": (
        Attempt(headers_sent=True, status=202, operation_id="7", failure=Failure.DISCONNECTED),
        Evidence.LOST,
        NO_ANSWER,
        NO_ANSWER,
        AGAIN,
    ),
    "crash": (lost(Failure.CRASHED), Evidence.CRASHED, CRASH, CRASH, AGAIN),
    "401": (answer(401), Evidence.UNAUTHENTICATED, AGAIN, AGAIN, AGAIN),
    "403, unauthenticated": (
        answer(403, api_error=ApiError("Token expired.", "unauthenticated")),
        Evidence.UNAUTHENTICATED,
        AGAIN,
        AGAIN,
        AGAIN,
    ),
    **{
        f"{status} of {who}": (answer(status, **body), Evidence.REJECTED, expected, expected, expected)
        for status in (400, 402, 403, 404, 406, 409, 410, 411, 413, 414, 415, 421, 422, 423, 424, 426, 428, 431, 451)
        for who, body, expected in (("Adaxes", {"api_error": REFUSAL}, REFUSED), ("a page", {}, REJECTED_BEFORE_API))
    },
    "resultType 1": (answer(200, result=FAILED), Evidence.REJECTED, REFUSED, REFUSED, REFUSED),
    **{
        f"{status}": (answer(status), Evidence.MISDIRECTED, BACK, BACK, BACK)
        for status in (300, 301, 302, 303, 304, 307, 308, 405, 407, 501)
    },
    "bad certificate": (never_left(Failure.BAD_CERTIFICATE), Evidence.MISDIRECTED, BACK, BACK, BACK),
    "bad URL": (never_left(Failure.BAD_URL), Evidence.MISDIRECTED, BACK, BACK, BACK),
    "resultType 0": (answer(200, result=SUCCEEDED), Evidence.SUCCEEDED, ACCEPTED, ACCEPTED, ACCEPTED),
    "with warnings": (answer(200, result=WARNED), Evidence.SUCCEEDED, ACCEPTED, ACCEPTED, ACCEPTED),
    "resultType 2": (answer(200, result=SUSPENDED), Evidence.SUSPENDED, AWAITING, AWAITING, AWAITING),
    "202": (answer(202, operation_id="7"), Evidence.STARTED, PROCESSING, PROCESSING, PROCESSING),
}
MODES = (DeliveryMode.AT_MOST_ONCE, DeliveryMode.BALANCED, DeliveryMode.AT_LEAST_ONCE)


def first_attempt() -> Message:
    return Message(1, 2, "CN=A,DC=x", "text", attempts=1, tries=1)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
def test_a_row_of_the_evidence_table_holds_in_every_mode(
    row: tuple[Attempt, Evidence, Outcome, Outcome, Outcome], mode: DeliveryMode
) -> None:
    attempt, evidence, *outcomes = row
    assert classify(attempt) is evidence
    decision = decide(evidence, attempt, first_attempt(), RetryPolicy(mode), 0.5)
    reason = None if decision.reason is None else decision.reason.value
    assert (decision.state.value, reason, decision.again) == outcomes[MODES.index(mode)]


@pytest.mark.parametrize("mode", MODES)
def test_a_401_asks_for_a_log_in_and_a_misdirected_request_stops_the_run(mode: DeliveryMode) -> None:
    for attempt, evidence, *_ in TABLE.values():
        decision = decide(evidence, attempt, first_attempt(), RetryPolicy(mode), 0.5)
        assert decision.reauthenticate is (evidence is Evidence.UNAUTHENTICATED)
        assert decision.stop is (StopReason.WRONG_ENDPOINT if evidence is Evidence.MISDIRECTED else None)
        assert decision.uses_try is not (evidence in (Evidence.UNAUTHENTICATED, Evidence.MISDIRECTED))


def test_every_verdict_is_in_the_contract() -> None:
    again, unknown, log_in = Verdict.AGAIN, Verdict.UNKNOWN, Verdict.LOG_IN
    once, counted = Verdict.AGAIN_ONCE_COUNTED, Verdict.AGAIN_COUNTED
    table = {
        Evidence.NEVER_LEFT: (again, again, again),
        Evidence.NOT_PROCESSED: (again, again, again),
        Evidence.SERVER_FAILED: (unknown, once, counted),
        Evidence.LOST: (unknown, unknown, counted),
        Evidence.CRASHED: (unknown, unknown, counted),
        Evidence.UNAUTHENTICATED: (log_in, log_in, log_in),
        Evidence.REJECTED: (Verdict.FAILED, Verdict.FAILED, Verdict.FAILED),
        Evidence.MISDIRECTED: (Verdict.STOP, Verdict.STOP, Verdict.STOP),
        Evidence.SUCCEEDED: (Verdict.ACCEPTED, Verdict.ACCEPTED, Verdict.ACCEPTED),
        Evidence.SUSPENDED: (Verdict.AWAITING_APPROVAL, Verdict.AWAITING_APPROVAL, Verdict.AWAITING_APPROVAL),
        Evidence.STARTED: (Verdict.PROCESSING, Verdict.PROCESSING, Verdict.PROCESSING),
    }
    assert set(table) == set(Evidence)
    assert {
        (evidence, mode): row[place] for evidence, row in table.items() for place, mode in enumerate(MODES)
    } == dict(VERDICTS)


def expected_of(status: int) -> Evidence:
    """The contract's sentence on each status whose body says nothing that can be read."""
    if status in (408, 425, 429, 503):
        return Evidence.NOT_PROCESSED
    if status in (500, 502):
        return Evidence.SERVER_FAILED
    if status == 401:
        return Evidence.UNAUTHENTICATED
    if 300 <= status < 400 or status in (405, 407, 501):
        return Evidence.MISDIRECTED
    return Evidence.REJECTED if 400 <= status < 500 else Evidence.LOST


@pytest.mark.parametrize("status", range(100, 600))
def test_every_status_proves_what_the_contract_says(status: int) -> None:
    assert classify(answer(status)) is expected_of(status)
    # The status line alone decides, however the body ended; of a 2xx only a body that was read whole proves anything.
    assert classify(lost(Failure.DISCONNECTED, status)) is expected_of(status)


@pytest.mark.parametrize("status", [*range(100, 200), 504, 505, 507, 511, 520, 530, 599])
def test_a_status_that_is_unlisted_never_proves_that_nothing_was_sent(status: int) -> None:
    assert classify(answer(status)) in IN_DOUBT


@pytest.mark.parametrize(
    ("status", "evidence"),
    [
        (400, Evidence.MISDIRECTED),
        (403, Evidence.MISDIRECTED),
        (407, Evidence.MISDIRECTED),
        (500, Evidence.NEVER_LEFT),
        (502, Evidence.NEVER_LEFT),
        (503, Evidence.NEVER_LEFT),
        (504, Evidence.NEVER_LEFT),
    ],
)
def test_a_proxy_that_opens_no_tunnel_proves_that_nothing_reached_the_server(status: int, evidence: Evidence) -> None:
    attempt = Attempt(headers_sent=False, status=status, failure=Failure.PROXY_REFUSED)
    assert classify(attempt) is evidence
    assert evidence not in IN_DOUBT


@pytest.mark.parametrize("failure", [failure for failure in Failure if failure is not Failure.CRASHED])
def test_only_a_request_that_never_left_is_certainly_not_processed(failure: Failure) -> None:
    assert classify(Attempt(headers_sent=True, failure=failure)) is Evidence.LOST
    assert classify(Attempt(headers_sent=False, failure=failure)) not in IN_DOUBT


@pytest.mark.parametrize(
    ("attempt", "code", "words"),
    [
        (Attempt(headers_sent=True, status=200, result=FAILED), None, "No telephone number."),
        (Attempt(headers_sent=True, status=200, result=SUCCEEDED), None, None),
        (Attempt(headers_sent=True, status=400, api_error=REFUSAL), "invalidArgument", "The operation was refused."),
        (Attempt(headers_sent=True, status=502, snippet="Bad gateway"), None, "Bad gateway"),
        (Attempt(headers_sent=True, failure=Failure.READ_TIMEOUT, detail="late"), "read_timeout", "late"),
        (
            Attempt(headers_sent=True, status=400, api_error=ApiError("no"), failure=Failure.DISCONNECTED),
            "disconnected",
            "no",
        ),
        (Attempt(headers_sent=True, failure=Failure.MALFORMED), "garbled", None),
    ],
)
def test_what_went_wrong_is_sent_in_the_words_of_who_reported_it(
    attempt: Attempt, code: str | None, words: str | None
) -> None:
    assert (attempt.error_code, attempt.error) == (code, words)


def test_the_first_attempt_of_an_accepted_message_leaves_it_accepted() -> None:
    decision = decide(Evidence.SUCCEEDED, answer(200, result=SUCCEEDED), first_attempt(), RetryPolicy(), 0.0)
    assert decision.state is State.ACCEPTED
    assert decision.in_doubt is None
