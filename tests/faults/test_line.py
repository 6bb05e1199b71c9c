"""The admission queue: admitted messages go in order, and waiting costs the same for any number."""

import asyncio

import pytest

from bulksms.engine.stop_signal import Stopping, StopSignal
from bulksms.engine.worker import AdmissionQueue
from bulksms.model.attempt import Attempt, OperationResult, ResultType
from bulksms.model.message import Message, State
from bulksms.model.run_settings import StopReason
from bulksms.policy.admission import AdmissionController, Permit
from bulksms.policy.circuit_breaker import BreakerState, CircuitBreaker
from bulksms.policy.concurrency_limit import ConcurrencyLimit
from bulksms.policy.rate_limiter import RateLimiter, RetryBudget
from bulksms.policy.retry import Decision, Evidence

GOOD = Attempt(headers_sent=True, status=200, result=OperationResult(ResultType.SUCCEEDED))
ACCEPTED = Decision(Evidence.SUCCEEDED, State.ACCEPTED)


class Waiting:
    """A queue, and those who wait in it by number."""

    def __init__(self, traffic: AdmissionController) -> None:
        self.traffic = traffic
        self.stop = StopSignal()
        self.line = AdmissionQueue(traffic, self.stop, asyncio.get_running_loop().time)
        self.gone: list[int] = []
        self.tasks: list[asyncio.Task[Permit]] = []

    def queue(self, number: int, *, again: bool = False) -> asyncio.Task[Permit]:
        """Somebody comes to the line."""

        async def wait() -> Permit:
            turn = await self.line.acquire(retry=again)
            self.gone.append(number)
            return turn

        self.tasks.append(asyncio.create_task(wait()))
        return self.tasks[-1]

    def answered(self, number: int = 0, turn: Permit | None = None) -> None:
        """A request has ended well."""
        now = asyncio.get_running_loop().time()
        self.traffic.on_response(
            now, Message(number, number + 2, "CN=A,DC=x", "text"), GOOD, ACCEPTED, turn or Permit(granted=True)
        )
        self.line.wake()

    async def settle(self) -> None:
        """Let everybody who can go on do so."""
        for _ in range(4 * len(self.tasks) + 4):
            await asyncio.sleep(0)

    async def go_home(self) -> None:
        """Close the line."""
        self.stop.set(StopReason.INTERRUPTED)
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def test_first_come_first_served() -> None:
    waiting = Waiting(AdmissionController(ConcurrencyLimit(1)))
    for number in range(20):
        waiting.queue(number)
        await asyncio.sleep(0)
    for _ in range(19):
        await waiting.settle()
        waiting.answered()
    await waiting.settle()
    assert waiting.gone == list(range(20))


async def test_a_retry_that_waits_for_its_budget_keeps_no_free_place_from_the_others() -> None:
    waiting = Waiting(AdmissionController(ConcurrencyLimit(2), budget=RetryBudget(tokens=-1000.0)))
    waiting.queue(1)
    waiting.queue(2)
    for number in range(3, 7):
        waiting.queue(number, again=True)
    for number in range(7, 10):
        waiting.queue(number)
    for _ in range(3):
        await waiting.settle()
        waiting.answered()
    await waiting.settle()
    assert waiting.gone == [1, 2, 7, 8, 9]
    await waiting.go_home()


async def test_retries_get_their_turn_beside_a_long_line_of_others() -> None:
    waiting = Waiting(AdmissionController(ConcurrencyLimit(1)))
    for number in range(10):
        waiting.queue(number)
        waiting.queue(100 + number, again=True)
    for _ in range(10):
        await waiting.settle()
        waiting.answered()
    await waiting.settle()
    assert 3 <= sum(number >= 100 for number in waiting.gone) <= 8
    await waiting.go_home()


@pytest.mark.parametrize("rate", [None, 0.001])
async def test_only_those_who_are_first_ask(rate: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0
    ask = AdmissionController.try_admit

    def counted(self: AdmissionController, now: float, *, again: bool) -> Permit:
        nonlocal asked
        asked += 1
        return ask(self, now, again=again)

    monkeypatch.setattr(AdmissionController, "try_admit", counted)
    waiting = Waiting(AdmissionController(ConcurrencyLimit(1 if rate is None else 900, adapt=False), RateLimiter(rate)))
    for number in range(500):
        waiting.queue(number)
    await waiting.settle()
    assert waiting.gone == [0]
    for _ in range(20):
        waiting.answered()
        await waiting.settle()
    assert asked <= 2 + 20 * 2
    await waiting.go_home()


async def test_a_wait_that_is_over_lets_go_without_any_answer() -> None:
    waiting = Waiting(AdmissionController(ConcurrencyLimit(4), breaker=CircuitBreaker(BreakerState.OPEN)))
    assert (await waiting.queue(1)).probe
    waiting.traffic.breaker.state = BreakerState.CLOSED
    waiting.traffic.rate = RateLimiter(100.0)
    waiting.traffic.rate.take(asyncio.get_running_loop().time())
    await asyncio.gather(waiting.queue(2), waiting.queue(3))
    assert waiting.gone == [1, 2, 3]


async def test_when_it_is_closed_everybody_goes_home() -> None:
    waiting = Waiting(AdmissionController(ConcurrencyLimit(1)))
    for number in range(50):
        waiting.queue(number, again=number % 2 == 1)
    await waiting.settle()
    waiting.stop.set(StopReason.INTERRUPTED)
    homes = await asyncio.gather(*waiting.tasks, return_exceptions=True)
    assert sum(isinstance(home, Stopping) for home in homes) == 49
    with pytest.raises(Stopping):
        await waiting.line.acquire(retry=False)
    with pytest.raises(Stopping):
        await waiting.stop.sleep(60.0)


async def test_who_gives_up_keeps_nobody_back() -> None:
    waiting = Waiting(AdmissionController(ConcurrencyLimit(1)))
    for number in range(5):
        waiting.queue(number)
    await waiting.settle()
    for place in (1, 3):
        waiting.tasks[place].cancel()
    for _ in range(3):
        await waiting.settle()
        waiting.answered()
    await waiting.settle()
    assert waiting.gone == [0, 2, 4]


async def test_what_has_not_left_when_the_breaker_opens_waits_for_it() -> None:
    waiting = Waiting(AdmissionController(ConcurrencyLimit(2)))
    turn = await waiting.queue(1)
    waiting.traffic.breaker.open(asyncio.get_running_loop().time(), 60.0)
    held = asyncio.create_task(waiting.line.recheck(turn))
    await waiting.settle()
    assert not held.done()
    waiting.traffic.breaker.held_until = 0.0
    waiting.answered()
    assert (await held).probe
    held = asyncio.create_task(waiting.line.recheck(turn))
    await waiting.settle()
    assert not held.done(), "one probe first, the others after its answer"
    waiting.stop.set(StopReason.INTERRUPTED)
    with pytest.raises(Stopping):
        await held
