"""The line in front of the traffic: whoever may go goes, in order, and waiting costs the same for any number."""

import asyncio

import pytest

from bulksms.attempt import Attempt, OperationResult, ResultType
from bulksms.delivery.brake import Gate
from bulksms.delivery.outcome import Evidence
from bulksms.delivery.pace import Concurrency, Rate, RetryBudget
from bulksms.delivery.retry import Decision
from bulksms.delivery.traffic import Traffic, Turn
from bulksms.engine.line import Drained, Line
from bulksms.engine.progress import Progress
from bulksms.message import Message, State

GOOD = Attempt(headers_sent=True, status=200, result=OperationResult(ResultType.SUCCEEDED))
ACCEPTED = Decision(Evidence.SUCCEEDED, State.ACCEPTED)


class Waiting:
    """A line, and those who stand in it by number."""

    def __init__(self, traffic: Traffic) -> None:
        self.traffic = traffic
        self.line = Line(traffic, Progress())
        self.gone: list[int] = []
        self.tasks: list[asyncio.Task[Turn]] = []

    def stand(self, number: int, *, again: bool = False) -> asyncio.Task[Turn]:
        """Somebody comes to the line."""

        async def wait() -> Turn:
            turn = await self.line.turn(again=again)
            self.gone.append(number)
            return turn

        self.tasks.append(asyncio.create_task(wait()))
        return self.tasks[-1]

    def answered(self, number: int = 0, turn: Turn | None = None) -> None:
        """A request has ended well."""
        self.line.answered(Message(number, 2, "CN=A,DC=x", "text"), GOOD, ACCEPTED, turn or Turn(go=True))

    async def settle(self) -> None:
        """Let everybody who can go on do so."""
        for _ in range(4 * len(self.tasks) + 4):
            await asyncio.sleep(0)

    async def go_home(self) -> None:
        """Close the line."""
        self.line.close()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def test_first_come_first_served() -> None:
    waiting = Waiting(Traffic(Concurrency(1)))
    for number in range(20):
        waiting.stand(number)
        await asyncio.sleep(0)
    for _ in range(19):
        await waiting.settle()
        waiting.answered()
    await waiting.settle()
    assert waiting.gone == list(range(20))


async def test_a_retry_that_waits_for_its_budget_keeps_no_free_place_from_the_others() -> None:
    waiting = Waiting(Traffic(Concurrency(2), budget=RetryBudget(tokens=-1000.0)))
    waiting.stand(1)
    waiting.stand(2)
    for number in range(3, 7):
        waiting.stand(number, again=True)
    for number in range(7, 10):
        waiting.stand(number)
    for _ in range(3):
        await waiting.settle()
        waiting.answered()
    await waiting.settle()
    assert waiting.gone == [1, 2, 7, 8, 9]
    await waiting.go_home()


async def test_retries_get_their_turn_beside_a_long_line_of_others() -> None:
    waiting = Waiting(Traffic(Concurrency(1)))
    for number in range(10):
        waiting.stand(number)
        waiting.stand(100 + number, again=True)
    for _ in range(10):
        await waiting.settle()
        waiting.answered()
    await waiting.settle()
    assert 3 <= sum(number >= 100 for number in waiting.gone) <= 8
    await waiting.go_home()


@pytest.mark.parametrize("rate", [None, 0.001])
async def test_only_those_who_stand_first_ask(rate: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0
    ask = Traffic.ask

    def counted(self: Traffic, now: float, *, again: bool) -> Turn:
        nonlocal asked
        asked += 1
        return ask(self, now, again=again)

    monkeypatch.setattr(Traffic, "ask", counted)
    waiting = Waiting(Traffic(Concurrency(1 if rate is None else 900, adapt=False), Rate(rate)))
    for number in range(500):
        waiting.stand(number)
    await waiting.settle()
    assert waiting.gone == [0]
    for _ in range(20):
        waiting.answered()
        await waiting.settle()
    assert asked <= 2 + 20 * 2
    await waiting.go_home()


async def test_a_wait_that_is_over_lets_go_without_any_answer() -> None:
    waiting = Waiting(Traffic(Concurrency(4), gate=Gate(closed=True, opens_at=0.0)))
    assert (await waiting.stand(1)).alone
    waiting.traffic.gate.closed = False
    waiting.traffic.rate = Rate(100.0)
    waiting.traffic.rate.take(asyncio.get_running_loop().time())
    await asyncio.gather(waiting.stand(2), waiting.stand(3))
    assert waiting.gone == [1, 2, 3]


async def test_when_it_is_closed_everybody_goes_home() -> None:
    waiting = Waiting(Traffic(Concurrency(1)))
    for number in range(50):
        waiting.stand(number, again=number % 2 == 1)
    await waiting.settle()
    waiting.line.close()
    homes = await asyncio.gather(*waiting.tasks, return_exceptions=True)
    assert sum(isinstance(home, Drained) for home in homes) == 49
    with pytest.raises(Drained):
        await waiting.line.turn(again=False)
    with pytest.raises(Drained):
        await waiting.line.pause(60.0)


async def test_whoever_gives_up_keeps_nobody_back() -> None:
    waiting = Waiting(Traffic(Concurrency(1)))
    for number in range(5):
        waiting.stand(number)
    await waiting.settle()
    for place in (1, 3):
        waiting.tasks[place].cancel()
    for _ in range(3):
        await waiting.settle()
        waiting.answered()
    await waiting.settle()
    assert waiting.gone == [0, 2, 4]


async def test_what_has_not_left_when_the_gate_closes_waits_for_it() -> None:
    waiting = Waiting(Traffic(Concurrency(2)))
    turn = await waiting.stand(1)
    waiting.traffic.gate.hold(asyncio.get_running_loop().time(), 60.0)
    held = asyncio.create_task(waiting.line.proceed(turn))
    await waiting.settle()
    assert not held.done()
    waiting.traffic.gate.opens_at = 0.0
    waiting.answered()
    assert (await held).alone
    held = asyncio.create_task(waiting.line.proceed(turn))
    await waiting.settle()
    assert not held.done(), "one goes alone, the others after its answer"
    waiting.line.close()
    with pytest.raises(Drained):
        await held
