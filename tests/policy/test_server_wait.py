"""A 400 about the header `Adm-Wait` is the server's word about the header, not about the message."""

import pytest

from bulksms.model.attempt import ApiError, Attempt
from bulksms.model.message import Message, Reason, State
from bulksms.policy.retry import decide_without_wait_header


def answered(status: int, words: str | None, *, page: bool = False) -> Attempt:
    error = ApiError(words, "badRequest") if words is not None and not page else None
    return Attempt(headers_sent=True, status=status, api_error=error, snippet=words if page else None)


@pytest.mark.parametrize(
    "attempt",
    [
        answered(400, "The request is invalid. | Adm-Wait: The header is not supported."),
        answered(400, "admWait must be between 0 and 10"),
        answered(400, "Bad header adm_wait", page=True),
    ],
)
@pytest.mark.parametrize("doubt", [None, Reason.NO_ANSWER])
def test_a_400_that_names_the_header_sends_the_message_again_uncounted(attempt: Attempt, doubt: Reason | None) -> None:
    decision = decide_without_wait_header(
        attempt, Message(1, 2, "CN=A,DC=x", "Hi", attempts=1, tries=1, in_doubt=doubt)
    )
    assert decision is not None
    assert decision.again
    assert (decision.state, decision.retry_in, decision.uses_try) == (State.QUEUED, 0.0, False)
    assert decision.in_doubt is doubt


@pytest.mark.parametrize(
    "attempt",
    [
        answered(400, "The request is invalid. | text: The text is required."),
        answered(400, None),
        answered(403, "Adm-Wait: not for you"),
        answered(500, "Adm-Wait"),
        answered(200, "Adm-Wait", page=True),
        Attempt(headers_sent=False, detail="Adm-Wait"),
    ],
)
def test_any_other_answer_is_about_the_message(attempt: Attempt) -> None:
    assert decide_without_wait_header(attempt, Message(1, 2, "CN=A,DC=x", "Hi", attempts=1, tries=1)) is None
