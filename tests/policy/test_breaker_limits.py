"""The limits of failures: by number, by part, and in the same words; and which words are the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksms.model.attempt import ApiError, Attempt, Failure, OperationResult, ResultType
from bulksms.model.message import Message
from bulksms.model.run_settings import StopReason
from bulksms.policy.circuit_breaker import UnknownRate, UnknownReaction
from bulksms.policy.judgement import FailureLimit, FailureLimits
from bulksms.policy.retry import RetryPolicy, classify, decide
from tests.policy.harness import AdmissionHarness

GOOD = Attempt(headers_sent=True, status=200, result=OperationResult(ResultType.SUCCEEDED))
LOST = Attempt(headers_sent=True, failure=Failure.DISCONNECTED)
NEVER_LEFT = Attempt(headers_sent=False, failure=Failure.REFUSED)


def refused(words: str, status: int = 200) -> Attempt:
    if status == 200:
        return Attempt(headers_sent=True, status=200, result=OperationResult(ResultType.FAILED, words))
    return Attempt(headers_sent=True, status=status, api_error=ApiError(words, "code"))


class Reviewed:
    """Breakers, and messages one after another."""

    def __init__(self, breakers: FailureLimits) -> None:
        self.breakers = breakers
        self.number = 0
        self.meets(GOOD)

    @property
    def recipient(self) -> str:
        return f"CN=User {self.number},OU=Staff,DC=example"

    def meets(self, attempt: Attempt, *, tries: int = 1) -> StopReason | None:
        message = Message(self.number, self.number + 2, self.recipient, "text", attempts=tries, tries=tries)
        decision = decide(classify(attempt), attempt, message, RetryPolicy(), 0.5)
        self.number += 1
        return self.breakers.apply(message, attempt, decision).stop


PARTICULAR = [
    "The user '{name}' has no telephone number.",
    'Cannot send to "{name}".',
    "{dn} was not found.",
    "Object {number} of the request was not found.",
    "No number for 5f6e{number}-aa.",
]


@pytest.mark.parametrize("words", ["The quota is used up.", *PARTICULAR])
def test_the_fiftieth_refusal_in_the_same_words_stops_the_run(words: str) -> None:
    run, stops = Reviewed(FailureLimits()), []
    for number in range(50):
        shown = words.format(name=f"User {number}", dn=run.recipient, number=number)
        stops.append(run.meets(refused(shown)))
    assert stops == [None] * 49 + [StopReason.TOO_MANY_FAILURES]


@pytest.mark.parametrize("between", [LOST, Attempt(headers_sent=True, status=429), NEVER_LEFT])
def test_what_is_no_acceptance_does_not_break_the_row(between: Attempt) -> None:
    run = Reviewed(FailureLimits())
    stops = []
    for _ in range(50):
        stops.append(run.meets(refused("The quota is used up.")))
        run.meets(between)
    assert stops == [None] * 49 + [StopReason.TOO_MANY_FAILURES]


def test_one_who_is_accepted_begins_the_row_anew() -> None:
    run = Reviewed(FailureLimits())
    for number in range(490):
        assert run.meets(GOOD if number % 49 == 48 else refused("No number.")) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (refused("No number."), refused("No rights.")),
        (refused("No."), refused("No.", 400)),
        (refused("No.", 400), refused("No.", 409)),
    ],
)
def test_other_words_or_another_status_are_not_alike(one: Attempt, other: Attempt) -> None:
    run = Reviewed(FailureLimits())
    assert not any(run.meets((one, other)[number % 2]) for number in range(200))


def test_used_up_retries_are_the_servers_trouble_and_not_counted_as_alike() -> None:
    run = Reviewed(FailureLimits())
    assert not any(run.meets(NEVER_LEFT, tries=5) for _ in range(200))


def test_keep_going_turns_only_the_row_of_refusals_alike_off() -> None:
    run = Reviewed(FailureLimits(FailureLimit(count=150), keep_going=True))
    stops = [run.meets(refused("The quota is used up.")) for _ in range(150)]
    assert stops == [None] * 149 + [StopReason.TOO_MANY_FAILURES]


@given(st.lists(st.booleans(), max_size=250), st.integers(1, 100))
def test_a_part_of_the_last_fifty_stops_the_run_and_nothing_before_there_are_fifty(
    failed: list[bool], percent: int
) -> None:
    run = Reviewed(FailureLimits(FailureLimit(percent=percent), keep_going=True))
    last = [False]
    for number, fails in enumerate(failed):
        stop = run.meets(refused(f"Word {'abcdefg'[number % 7]}.") if fails else GOOD)
        last = [*last, fails][-50:]
        too_many = fails and len(last) == 50 and sum(last) / 50 >= percent / 100
        assert stop is (StopReason.TOO_MANY_FAILURES if too_many else None)


@pytest.mark.parametrize(("percent", "enough"), [(8.0, 4), (8.05, 5), (10.0, 5)])
def test_the_part_is_that_of_the_settled_and_not_of_what_goes_again(percent: float, enough: int) -> None:
    run = Reviewed(FailureLimits(FailureLimit(percent=percent), keep_going=True))
    for _ in range(60):
        assert run.meets(GOOD) is None
        assert run.meets(NEVER_LEFT) is None
    stops = []
    for _ in range(enough):
        run.meets(NEVER_LEFT)
        stops.append(run.meets(refused("No number.")))
    assert stops == [None] * (enough - 1) + [StopReason.TOO_MANY_FAILURES]


@pytest.mark.parametrize(
    ("elsewhere", "stops"),
    [
        pytest.param([(20, 29)], True, id="enough of the last fifty of all"),
        pytest.param([(20, 30)], True, id="the oldest of which have gone"),
        pytest.param([(19, 29)], False, id="not fifty yet"),
        pytest.param([(15, 34)], False, id="too small a part"),
        pytest.param([(20, 29), (0, 60)], False, id="long past"),
        pytest.param([(4_000, 6_000)], True, id="more than fifty at once"),
    ],
)
def test_the_part_is_also_that_of_all_machines(elsewhere: list[tuple[int, int]], *, stops: bool) -> None:
    limits = FailureLimits(FailureLimit(percent=40.0), keep_going=True)
    run = Reviewed(limits)
    limits.last_anywhere.clear()
    for failed, others in elsewhere:
        limits.settled_elsewhere(failed, others)
    assert run.meets(refused("No number.")) is (StopReason.TOO_MANY_FAILURES if stops else None)


def test_what_other_machines_had_settled_before_the_first_answer_is_no_part_of_the_latest() -> None:
    policy = AdmissionHarness().policy
    policy.note_elsewhere((7, 30, 50))
    assert policy.failures.failures_elsewhere == 7
    assert not policy.failures.last_anywhere
    assert policy.admission.unknown_rate.in_a_row_anywhere == 0
    policy.note_elsewhere((9, 31, 50))
    policy.note_elsewhere((9, 34, 50))
    assert policy.failures.failures_elsewhere == 9
    assert list(policy.failures.last_anywhere) == [False, True, True, False, False, False]
    assert policy.admission.unknown_rate.in_a_row_anywhere == 3


def test_unknown_ones_of_all_machines_one_after_another_stop_the_run() -> None:
    rate = UnknownRate()
    rate.settled_elsewhere(unknown=18, others=0)
    assert rate.settled(unknown=True) is UnknownReaction.NONE
    assert rate.settled(unknown=True) is UnknownReaction.STOP
    rate.settled_elsewhere(unknown=18, others=1)
    assert rate.settled(unknown=True) is UnknownReaction.NONE
    assert [rate.settled(unknown=True) for _ in range(17)][-1] is UnknownReaction.STOP, "its own are twenty"


def test_failures_that_are_long_past_are_no_part_any_more() -> None:
    run = Reviewed(FailureLimits(FailureLimit(percent=10.0), keep_going=True))
    for number in range(300):  # four in any fifty
        assert run.meets(refused("No number.") if number % 13 == 0 else GOOD) is None


def test_beside_a_part_the_row_of_refusals_alike_still_counts() -> None:
    run = Reviewed(FailureLimits(FailureLimit(percent=90)))
    stops = []
    for _ in range(50):  # half of the last are unknown: below ninety of a hundred
        stops.append(run.meets(refused("The quota is used up.")))
        run.meets(LOST)
    assert stops == [None] * 49 + [StopReason.TOO_MANY_FAILURES]


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("25", FailureLimit(count=25)),
        ("1", FailureLimit(count=1)),
        ("10%", FailureLimit(percent=10)),
        (" 2.5% ", FailureLimit(percent=2.5)),
        ("100%", FailureLimit(percent=100)),
    ],
)
def test_a_limit_is_read(text: str, limit: FailureLimit) -> None:
    assert FailureLimit.parse(text) == limit


@pytest.mark.parametrize("text", ["", "0", "-1", "0%", "101%", "-5%", "many", "2.5", "nan%", "inf%", "%", "5 of 10"])
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the words are the parser's or Python's own
        FailureLimit.parse(text)
