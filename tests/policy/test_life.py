"""A message's whole life: whatever attempts it meets, in whatever mode, until it is settled."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from bulksms.model.attempt import ApiError, Attempt, Failure, OperationResult, ResultType
from bulksms.model.message import TRANSITIONS, Message, Reason, State
from bulksms.model.run_settings import DeliveryMode
from bulksms.policy.judgement import decide_poll
from bulksms.policy.retry import Decision, Evidence, RetryPolicy, classify, decide, decide_interrupted

LEFT = (Failure.READ_TIMEOUT, Failure.DISCONNECTED, Failure.MALFORMED, Failure.CRASHED)
NOT_LEFT = (
    Failure.UNRESOLVED,
    Failure.REFUSED,
    Failure.CONNECT_TIMEOUT,
    Failure.TLS_HANDSHAKE,
    Failure.BAD_CERTIFICATE,
)
STATUSES = (100, 201, 204, 302, 400, 401, 403, 404, 405, 408, 409, 422, 425, 429, 500, 501, 502, 503, 504, 505)
RESULTS = tuple(OperationResult(kind) for kind in ResultType)

attempts = st.one_of(
    st.builds(Attempt, headers_sent=st.just(True), failure=st.sampled_from(LEFT)),
    st.builds(Attempt, headers_sent=st.just(False), failure=st.sampled_from(NOT_LEFT)),
    st.builds(
        Attempt,
        headers_sent=st.just(True),
        status=st.sampled_from(STATUSES),
        api_error=st.sampled_from((None, ApiError("no", "code"), ApiError("no", "unauthenticated"))),
        retry_after=st.none() | st.floats(0, 90_000),
    ),
    st.builds(Attempt, headers_sent=st.just(True), status=st.just(200), result=st.sampled_from((*RESULTS, None))),
    st.builds(Attempt, headers_sent=st.just(True), status=st.just(202), operation_id=st.sampled_from((None, "7"))),
)
broken_off = st.builds(Attempt, headers_sent=st.booleans(), failure=st.just(Failure.CANCELLED))
polls = st.tuples(
    st.one_of(
        st.builds(Attempt, headers_sent=st.just(True), status=st.just(200), result=st.sampled_from((*RESULTS, None))),
        st.builds(Attempt, headers_sent=st.just(True), status=st.sampled_from((401, 403, 404, 429, 500, 503))),
        st.builds(Attempt, headers_sent=st.booleans(), failure=st.sampled_from((*LEFT[:3], *NOT_LEFT))),
    ),
    st.sampled_from((None, False, True)),
)
policies = st.builds(
    RetryPolicy,
    delivery=st.sampled_from(DeliveryMode),
    max_attempts=st.integers(1, 7),
    base=st.floats(0.001, 5),
    cap=st.floats(0.01, 60),
)
chances = st.floats(0, 1, exclude_max=True)

CERTAINLY_NOT = frozenset(
    {
        Evidence.NEVER_LEFT,
        Evidence.NOT_PROCESSED,
        Evidence.REJECTED,
        Evidence.UNAUTHENTICATED,
        Evidence.MISDIRECTED,
    }
)
"""What certainly was not processed; anything else may have been."""
WITHOUT_ANSWER = frozenset({Evidence.LOST, Evidence.CRASHED})


@dataclass
class Life:
    """What the engine and the ledger do with a message's decisions, without either of them."""

    policy: RetryPolicy
    message: Message = field(default_factory=lambda: Message(1, 2, "CN=A,DC=x", "text"))
    state: State = State.QUEUED
    reason: Reason | None = None
    evidence: list[Evidence] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)

    def begin(self) -> None:
        self.move(State.SENDING)
        self.message.attempts += 1
        self.message.tries += 1
        if self.message.in_doubt is not None:
            self.message.possible_duplicate = True

    def settle(self, decision: Decision) -> None:
        self.evidence.append(decision.evidence)
        self.decisions.append(decision)
        self.message.in_doubt = decision.in_doubt
        self.message.tries -= not decision.uses_try
        self.reason = decision.reason
        self.move(decision.state)

    def move(self, state: State) -> None:
        assert state in TRANSITIONS[self.state]
        self.state = state

    def poll(self, attempt: Attempt, *, completed: bool | None) -> None:
        decision = decide_poll(attempt, completed, self.message, waited=1.0, timeout=600.0)
        if decision is None or decision.reauthenticate:
            return
        self.message.in_doubt, self.reason = decision.in_doubt, decision.reason
        self.move(decision.state)

    @property
    def perhaps_processed(self) -> int:
        return sum(evidence not in CERTAINLY_NOT for evidence in self.evidence)


@st.composite
def lives(draw: st.DrawFn) -> Life:
    """A message that is attempted, broken off and polled until it is settled or nobody goes on with it."""
    life = Life(draw(policies))
    for _ in range(draw(st.integers(1, 12))):
        if life.state is State.PROCESSING:
            attempt, completed = draw(polls)
            life.poll(attempt, completed=completed)
        elif life.state is State.QUEUED:
            life.begin()
            if draw(st.integers(0, 9)) == 0:
                attempt = draw(broken_off)
                life.settle(decide_interrupted(classify(attempt), life.message))
            else:
                attempt = draw(attempts)
                life.settle(decide(classify(attempt), attempt, life.message, life.policy, draw(chances)))
    return life


@given(lives())
@settings(max_examples=400)
def test_failed_is_only_reported_when_no_attempt_may_have_been_processed(life: Life) -> None:
    if life.state is State.FAILED:
        # A 202 is the exception: the server itself says later that the operation failed.
        assert set(life.evidence) <= CERTAINLY_NOT | {Evidence.STARTED}
        assert life.message.in_doubt is None
    if life.state is State.UNKNOWN:
        assert life.reason is not None
        assert life.perhaps_processed


@given(lives())
@settings(max_examples=400)
def test_nobody_is_sent_to_after_doubt_without_its_being_counted(life: Life) -> None:
    doubtful = [evidence not in CERTAINLY_NOT for evidence in life.evidence]
    assert life.message.possible_duplicate is (True in doubtful[:-1])
    if life.perhaps_processed > 1:
        assert life.message.possible_duplicate


@given(lives())
@settings(max_examples=400)
def test_a_mode_bounds_how_often_a_message_may_have_been_processed(life: Life) -> None:
    before_last = life.evidence[:-1]
    if life.policy.delivery is DeliveryMode.AT_MOST_ONCE:
        assert life.perhaps_processed <= 1
        assert set(before_last) <= CERTAINLY_NOT
    elif life.policy.delivery is DeliveryMode.BALANCED:
        assert life.perhaps_processed <= 2
        assert not WITHOUT_ANSWER & set(before_last)
        assert before_last.count(Evidence.SERVER_FAILED) <= 1
    assert not {Evidence.SUCCEEDED, Evidence.SUSPENDED, Evidence.STARTED} & set(before_last)


@given(lives())
@settings(max_examples=400)
def test_attempts_end(life: Life) -> None:
    used = sum(decision.uses_try for decision in life.decisions)
    assert life.message.tries == used <= life.policy.max_attempts
    assert life.message.attempts == len(life.decisions)
    if used == life.policy.max_attempts and not life.decisions[-1].reauthenticate:
        last = life.decisions[-1]
        assert not last.again or not last.uses_try


@given(attempts, policies, st.integers(1, 7), chances)
@settings(max_examples=400)
def test_a_wait_has_full_jitter_and_is_never_shorter_than_retry_after(
    attempt: Attempt, policy: RetryPolicy, tries: int, chance: float
) -> None:
    message = Message(1, 2, "CN=A,DC=x", "text", attempts=tries, tries=tries)
    decision = decide(classify(attempt), attempt, message, policy, chance)
    asked = attempt.retry_after or 0.0
    bound = min(policy.cap, policy.base * 4 ** (tries - 1))
    if decision.retry_in is None or decision.reauthenticate:
        return
    assert asked <= decision.retry_in <= max(asked, bound)
    assert decision.retry_in == max(asked, chance * bound)


@given(policies, st.integers(1, 10_000))
def test_the_backoff_doubles_up_to_its_cap(policy: RetryPolicy, tries: int) -> None:
    assert policy.backoff(tries, 0.0) == 0.0
    assert policy.backoff(1, 1.0) == min(policy.cap, policy.base)
    assert policy.backoff(tries, 1.0) <= policy.backoff(tries + 1, 1.0) <= policy.cap


def test_the_default_backoff_is_half_a_second_doubling_to_thirty() -> None:
    longest = [RetryPolicy().backoff(tries, 1.0) for tries in range(1, 10)]
    assert longest == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert RetryPolicy().max_attempts == 5
    assert RetryPolicy().delivery is DeliveryMode.BALANCED
