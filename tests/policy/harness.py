"""The policy of one run and its clock, which only the test moves."""

from bulksms.model.attempt import ApiError, Attempt, Failure, OperationResult, ResultType
from bulksms.model.message import Message, State
from bulksms.model.run_settings import StopReason
from bulksms.policy.admission import AdmissionController, Permit
from bulksms.policy.circuit_breaker import WINDOW, ServerHealth
from bulksms.policy.concurrency_limit import ConcurrencyLimit
from bulksms.policy.judgement import FailureLimits, RunPolicy
from bulksms.policy.rate_limiter import RateLimiter
from bulksms.policy.retry import Decision, RetryPolicy

ACCEPTED = Attempt(headers_sent=True, status=200, result=OperationResult(ResultType.SUCCEEDED))
NO_NUMBER = Attempt(headers_sent=True, status=200, result=OperationResult(ResultType.FAILED, "No number."))
LOST = Attempt(headers_sent=True, failure=Failure.DISCONNECTED)
TIMED_OUT = Attempt(headers_sent=True, failure=Failure.READ_TIMEOUT)
NEVER_LEFT = Attempt(headers_sent=False, failure=Failure.REFUSED)


def answer(status: int, retry_after: float | None = None, *, elapsed: float = 0.0) -> Attempt:
    """An answer without a body that says anything."""
    return Attempt(headers_sent=True, status=status, retry_after=retry_after, elapsed=elapsed)


def rejected(status: int, words: str = "no") -> Attempt:
    """The API's own refusal."""
    return Attempt(headers_sent=True, status=status, api_error=ApiError(words, "code"))


UNREACHABLE = [NEVER_LEFT, answer(502), answer(503), answer(504)]


class AdmissionHarness:
    """Messages that are let go, and what they meet; `keep_going`, because 50 alike are tested elsewhere."""

    def __init__(
        self,
        workers: int = 64,
        *,
        max_outage: float = 600.0,
        rate: float | None = None,
        retry: RetryPolicy | None = None,
    ) -> None:
        self.now = 1_000.0
        self.admission = AdmissionController(
            ConcurrencyLimit(workers, adapt=False), RateLimiter(rate), health=ServerHealth(max_outage)
        )
        self.policy = RunPolicy(retry or RetryPolicy(), self.admission, FailureLimits(keep_going=True))
        self.messages: dict[int, Message] = {}
        self.permits: dict[int, Permit] = {}

    def ask(self, *, again: bool = False) -> Permit:
        """Ask for a permit without caring who gets it."""
        return self.admission.try_admit(self.now, again=again)

    def begin(self, number: int, *, again: bool = False) -> Permit:
        """The request for this message leaves."""
        permit = self.ask(again=again)
        assert permit.granted, permit
        self.permits[number] = permit
        message = self.messages.setdefault(number, Message(number, number + 2, f"CN={number},DC=x", "text"))
        message.attempts += 1
        message.tries += 1
        return permit

    def end(self, number: int, attempt: Attempt, *, chance: float = 0.5) -> Decision:
        """It ends so."""
        message = self.messages[number]
        decision = self.policy.judge(message, attempt, self.permits.pop(number), self.now, chance)
        message.tries -= not decision.uses_try
        message.in_doubt = decision.in_doubt
        return decision

    def send(self, number: int, attempt: Attempt, *, chance: float = 0.5) -> Decision:
        """Begin and end at once."""
        self.begin(number)
        return self.end(number, attempt, chance=chance)

    def accept_some(self, number: int = 9_000, count: int = 1) -> None:
        """The server takes others."""
        for each in range(number, number + count):
            assert self.send(each, ACCEPTED).state is State.ACCEPTED

    def wait(self) -> Permit:
        """Wait until somebody may go, and say what the last refusal was."""
        permit = self.ask()
        assert permit.wait is not None, permit
        self.now += permit.wait
        return permit

    def open_breaker(self) -> None:
        """So many different recipients as the breaker looks at meet nobody there."""
        for number in range(WINDOW):
            self.begin(number)
        for number in range(WINDOW):
            self.end(number, NEVER_LEFT)
        assert not self.admission.breaker.is_closed

    def probe_until_closed(self, number: int = 5_000) -> None:
        """Good answers to probes, until all may go on."""
        while not self.admission.breaker.is_closed:
            if (wait := self.ask_without_taking()) > 0:
                self.now += wait
            self.send(number, ACCEPTED)
            number += 1

    def ask_without_taking(self) -> float:
        """Seconds until a request may leave."""
        return self.admission.breaker.delay(self.now) or 0.0


def stops_of(decision: Decision) -> StopReason | None:
    """What stops the run."""
    return decision.stop
