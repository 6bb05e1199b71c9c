"""Whole runs of the decisions alone: the engine's pool and a scripted server, simulated on a clock of events.

A million steps with faults, the long form with more of them (and another seed) is

    BULKSMS_STEPS=20000000 BULKSMS_SEED=7 pytest -n 0 tests/delivery/test_traffic_simulated.py -k million
"""

import heapq
import os
import random
from collections import Counter, deque
from collections.abc import Callable
from itertools import pairwise

import pytest

from bulksms.attempt import ApiError, Attempt, Failure, OperationResult, ResultType
from bulksms.delivery.brake import Away
from bulksms.delivery.breaker import Breakers
from bulksms.delivery.outcome import DOUBTFUL, Delivery, Evidence, classify
from bulksms.delivery.pace import Concurrency, Rate
from bulksms.delivery.retry import RetryPolicy, Stop, decide
from bulksms.delivery.traffic import Traffic, Turn
from bulksms.message import MOVES, Message, State

STEPS = int(os.environ.get("BULKSMS_STEPS", "1000000"))
SEED = int(os.environ.get("BULKSMS_SEED", "1"))

Server = Callable[[float, int], tuple[float, Attempt]]
"""Told the moment and the message's number: after how many seconds it answers, and what."""

GOOD = Attempt(headers_sent=True, status=200, result=OperationResult(ResultType.SUCCEEDED))
UNAVAILABLE = Attempt(headers_sent=True, status=503)
THROTTLED = Attempt(headers_sent=True, status=429, retry_after=5.0)
NOBODY_THERE = Attempt(headers_sent=False, failure=Failure.REFUSED)


class Simulation:
    """A run: the engine's moves around the decisions, each event at its moment. Every law is looked at on the way."""

    def __init__(self, traffic: Traffic, server: Server, people: int, policy: RetryPolicy, seed: int) -> None:
        self.traffic = traffic
        self.server = server
        self.policy = policy
        self.breakers = Breakers(keep_going=True)
        self.chance = random.Random(seed)  # noqa: S311 - reproducible on purpose
        self.now = 0.0
        self.requests: list[float] = []
        self.states = [State.QUEUED] * people
        self.perhaps = [0] * people
        self.stops: list[Stop] = []
        self.steps = 0
        self.alone = 0
        self._queue = deque(Message(number, number + 2, f"CN={number},DC=x", "text") for number in range(people))
        self._lines: tuple[deque[Message], deque[Message]] = (deque(), deque())
        self._held: list[tuple[Message, Attempt]] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._alarm = float("inf")

    def run(self, workers: int) -> "Simulation":
        """To the end, or to the first stop."""
        for _ in range(workers):
            self._claim()
        self._let_go()
        while self._events:
            self.now, _, happens = heapq.heappop(self._events)
            happens()
            if not self.stops:
                self._let_go()
        if not self.stops:
            self.breakers.clear()
            self._release()
        return self

    def count(self, state: State) -> int:
        return self.states.count(state)

    def _at(self, moment: float, happens: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._events, (moment, self._order, happens))

    def _claim(self) -> None:
        if self._queue:
            self._stand_in_line(self._queue.popleft())

    def _stand_in_line(self, message: Message) -> None:
        self._lines[message.attempts > 0].append(message)

    def _let_go(self) -> None:
        """Whoever stands first in a line goes as long as the traffic lets anybody go."""
        for again, line in enumerate(self._lines):
            while line:
                turn = self.traffic.ask(self.now, again=bool(again))
                if not turn.go:
                    if turn.wait is not None:
                        self._wake(turn.wait)
                    break
                self._send(line.popleft(), turn)

    def _wake(self, seconds: float) -> None:
        # A clock of numbers stands still for very short times; one of the world never does.
        moment = self.now + max(seconds, 1e-6)
        if not self.now < self._alarm <= moment:
            self._alarm = moment
            self._at(moment, lambda: None)

    def _send(self, message: Message, turn: Turn) -> None:
        traffic, number = self.traffic, message.number
        self.alone += turn.alone
        assert turn.alone is traffic.gate.closed
        assert not turn.alone or (self.alone == 1 and self.now >= traffic.gate.opens_at)
        assert traffic.concurrency.in_flight <= traffic.concurrency.limit <= traffic.concurrency.ceiling
        self._move(number, State.SENDING)
        message.attempts += 1
        message.tries += 1
        if message.doubt is not None:
            message.may_have_sent_twice = True
        self.requests.append(self.now)
        seconds, attempt = self.server(self.now, number)
        self._at(self.now + seconds, lambda: self._answer(message, attempt, turn))

    def _answer(self, message: Message, attempt: Attempt, turn: Turn) -> None:
        self.steps += 1
        self.alone -= turn.alone
        evidence = classify(attempt)
        decision = decide(evidence, attempt, message, self.policy, self.chance.random(), free=turn.free)
        if turn.alone and decision.again:
            decision = decision.back_to_the_end()
        decision = self.breakers.review(message, attempt, decision)
        message.tries -= not decision.uses_try
        message.doubt = decision.doubt
        self._settle(message, evidence, decision.state)
        if decision.held:
            self._held.append((message, attempt))
        notices = self.traffic.answered(self.now, message.number, attempt, decision, turn)
        self.stops += [stop for stop in (decision.stop, *(notice.stop for notice in notices)) if stop is not None]
        self._release()
        if self.stops:
            return
        if decision.wait is not None:
            self._at(self.now + decision.wait, lambda: self._go_again(message, at_the_end=decision.given_back))
            return
        if decision.given_back or decision.log_in:
            self._queue.append(message)
        self._claim()

    def _go_again(self, message: Message, *, at_the_end: bool) -> None:
        if not at_the_end:
            self._stand_in_line(message)
            return
        self._queue.append(message)
        self._claim()

    def _release(self) -> None:
        if self.breakers.cleared:
            for message, attempt in self._held:
                decision = decide(Evidence.REFUSED, attempt, message, self.policy, 0.5)
                self._settle(message, None, self.breakers.review(message, attempt, decision).state)
            self._held.clear()

    def _settle(self, message: Message, evidence: Evidence | None, state: State) -> None:
        number = message.number
        doubtful = evidence in DOUBTFUL or evidence is Evidence.SUCCEEDED
        if doubtful and self.perhaps[number]:
            assert message.may_have_sent_twice, "nobody is told twice without its being counted"
            assert self.policy.delivery is not Delivery.AT_MOST_ONCE
        self.perhaps[number] += doubtful
        if self.policy.delivery is Delivery.BALANCED:
            assert self.perhaps[number] <= 2
        assert message.tries <= self.policy.max_attempts
        if state is State.FAILED:
            assert not self.perhaps[number]
        if state is State.UNKNOWN:
            assert self.perhaps[number]
        self._move(number, state)

    def _move(self, number: int, state: State) -> None:
        assert state in MOVES[self.states[number]]
        self.states[number] = state


def simulate(
    server: Server, workers: int, people: int, *, adapt: bool = True, rate: float | None = None, seed: int = SEED
) -> Simulation:
    traffic = Traffic(Concurrency(workers, adapt), Rate(rate))
    return Simulation(traffic, server, people, RetryPolicy(), seed).run(workers)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("began", [0.0, 20.0])
@pytest.mark.parametrize("away", [UNAVAILABLE, NOBODY_THERE], ids=["503", "refused"])
@pytest.mark.parametrize("adapt", [True, False])
@pytest.mark.parametrize("workers", [1, 4, 16, 64])
def test_a_server_that_is_away_for_a_minute_is_hardly_asked_and_everybody_is_told_in_the_end(
    workers: int, adapt: bool, away: Attempt, began: float, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - how long answers take

    def server(now: float, _: int) -> tuple[float, Attempt]:
        is_away = began <= now < began + 60.0
        return chance.uniform(0.001, 0.02) if is_away else chance.uniform(0.2, 2.0), away if is_away else GOOD

    run = simulate(server, workers, 60 * workers, adapt=adapt, seed=seed)
    assert not run.stops
    assert run.count(State.ACCEPTED) == 60 * workers
    # What is refused does not reach it; answers to what left before still come for a while, and speak for it.
    most = workers + 40 if away is UNAVAILABLE else 2 * workers + 40
    assert sum(began <= moment < began + 60.0 for moment in run.requests) <= most
    back = [moment for moment in run.requests if moment >= began + 60.0]
    assert back[0] <= began + 60.0 + 30.0, "the longest distance of two probes"


@pytest.mark.parametrize("adapt", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_one_429_with_retry_after_leaves_a_silence_of_that_length(adapt: bool, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - how long answers take
    answered: list[float] = []

    def server(now: float, number: int) -> tuple[float, Attempt]:
        seconds = chance.uniform(0.2, 2.0)
        if number == 500 and not answered:
            answered.append(now + seconds)
            return seconds, THROTTLED
        return seconds, GOOD

    run = simulate(server, 64, 1500, adapt=adapt, seed=seed)
    (closed,) = answered
    after = [moment for moment in run.requests if moment > closed]
    assert run.count(State.ACCEPTED) == 1500
    assert after[0] >= closed + 5.0
    assert after[1] - after[0] >= 0.2, "the first one goes alone, and has its answer before the next"


@pytest.mark.parametrize("workers", [1, 3, 16, 64])
def test_the_rate_is_exact_over_every_minute_of_a_run_with_any_number_of_workers(workers: int) -> None:
    chance = random.Random(SEED)  # noqa: S311 - how long answers take

    def server(_: float, number: int) -> tuple[float, Attempt]:
        trouble = Attempt(headers_sent=True, status=429) if chance.random() < 0.1 and number % 3 == 0 else GOOD
        return chance.uniform(0.05, 0.15), trouble

    run = simulate(server, workers, 1_500, rate=5.0)
    assert run.count(State.ACCEPTED) == 1_500
    assert all(later - earlier >= 0.1 - 1e-9 for earlier, later in pairwise(run.requests))
    for start in range(0, 240, 20):
        in_minute = sum(start <= moment < start + 60.0 for moment in run.requests)
        assert in_minute in ((299, 300, 301) if workers > 1 else range(200, 302))


ANSWERS: tuple[Attempt, ...] = (
    UNAVAILABLE,
    NOBODY_THERE,
    THROTTLED,
    Attempt(headers_sent=True, status=429),
    Attempt(headers_sent=True, status=503, retry_after=2.0),
    Attempt(headers_sent=True, status=500),
    Attempt(headers_sent=True, status=502),
    Attempt(headers_sent=True, status=504),
    Attempt(headers_sent=True, status=408, failure=None),
    Attempt(headers_sent=True, status=404, api_error=ApiError("There is no such object.", "notFound")),
    Attempt(headers_sent=True, status=401, api_error=ApiError("Expired.", "unauthenticated")),
    Attempt(headers_sent=True, status=200, result=OperationResult(ResultType.FAILED, "No number.")),
    Attempt(headers_sent=True, status=200, result=OperationResult(ResultType.SUSPENDED)),
    Attempt(headers_sent=True, status=200),
    Attempt(headers_sent=True, failure=Failure.READ_TIMEOUT),
    Attempt(headers_sent=True, failure=Failure.DISCONNECTED),
    Attempt(headers_sent=False, failure=Failure.CONNECT_TIMEOUT),
)


def bad_day(chance: random.Random) -> Server:
    """A server with phases: mostly well, sometimes with one kind of trouble for nearly everybody."""
    ends, fault, share = 0.0, GOOD, 0.0

    def server(now: float, _: int) -> tuple[float, Attempt]:
        nonlocal ends, fault, share
        if now >= ends:
            ends = now + chance.expovariate(1 / 20.0)
            fault = chance.choice(ANSWERS)
            share = chance.choice((0.02, 0.2, 0.9))
        drawn = chance.random()
        if drawn < share:
            return 0.05, fault
        return 0.2 + drawn, ANSWERS[int(drawn * 1e6) % len(ANSWERS)] if drawn > 0.97 else GOOD

    return server


@pytest.mark.parametrize("part", range(4))
def test_a_million_steps_with_faults_keep_every_law(part: int) -> None:
    chance = random.Random(f"{SEED}, {part}")  # noqa: S311 - reproducible on purpose
    steps, states, stops = 0, Counter[State](), Counter[Stop]()
    while steps < STEPS / 4:
        workers, mode = chance.choice((1, 2, 8, 64)), chance.choice(list(Delivery))
        rate = chance.choice((None, None, 30.0))
        traffic = Traffic(
            Concurrency(workers, chance.random() < 0.8), Rate(rate), away=Away(chance.choice((5.0, 600.0)))
        )
        policy = RetryPolicy(mode, max_attempts=chance.randint(1, 6))
        run = Simulation(traffic, bad_day(chance), 5_000, policy, chance.getrandbits(32)).run(workers)
        steps += run.steps
        assert len(run.requests) == run.steps, "every request has come to its end"
        assert State.SENDING not in run.states
        assert run.stops or State.QUEUED not in run.states, "a run ends when its work is done, or says why"
        states.update(run.states)
        stops.update(run.stops[:1])
    assert set(states) >= {State.ACCEPTED, State.FAILED, State.UNKNOWN, State.AWAITING_APPROVAL}
    assert set(stops) >= {Stop.AWAY, Stop.DOUBT}
