"""Pacing: thousands of runs against model servers on a virtual clock: what a change of a constant is judged by.

The decisions and the worker loop are the program's own; only the ledger is memory that takes a few milliseconds to
commit, and the server is a model. One run takes a fraction of a second. Printed for each kind of server: the share of
the best possible (median, and the worst of a hundred), 429s for each message, messages that failed, those of bad
recipients that did not, the mean number in flight, and after an outage the seconds until full speed.
"""

import argparse
import asyncio
import math
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import looptime

from benchmarks.model_server import EVEN, FIXED, SLIDING, AwayError, Model, ModelServer
from bulksms.engine.pool import WorkerPool
from bulksms.ledger import SettledElsewhere, SharedHold
from bulksms.model.attempt import Attempt, Failure, OperationResult, ResultType
from bulksms.model.message import Message, State
from bulksms.model.run_settings import RunSettings
from bulksms.policy.retry import Decision
from bulksms.system import System

if TYPE_CHECKING:
    from bulksms.adaxes import Client
    from bulksms.ledger import LedgerWriter

COMMIT = 0.004
"""Seconds of a commit."""
SUCCEEDED = OperationResult(ResultType.SUCCEEDED)


class MemoryLedger:
    """What the engine needs of a ledger; an intent is on disk after `COMMIT`."""

    run = 1
    still_mine = None
    settled_elsewhere = SettledElsewhere()
    least_ahead = 256
    now = staticmethod(time.time)

    def __init__(self, messages: int) -> None:
        self.states = [State.QUEUED] * messages
        self._loop = asyncio.get_running_loop()

    def record_intent(self, message: Message, _: float) -> asyncio.Future[bool]:
        """On disk a little later."""
        self.states[message.number] = State.SENDING
        on_disk = self._loop.create_future()
        self._loop.call_later(COMMIT, on_disk.set_result, True)
        return on_disk

    def record_outcome(self, message: Message, _: Attempt, outcome: Any) -> None:  # noqa: ANN401 - only its state
        """Keep the state."""
        self.states[message.number] = outcome.state

    def claim(self, state: State, after: int, limit: int, *, again: bool = False) -> asyncio.Future[list[Message]]:
        """Rows in the plan's order; the first number is 1."""
        rows = self._loop.create_future()
        last = len(self.states) if state is State.QUEUED and not again else 0
        rows.set_result([message(number) for number in range(after + 1, min(last, after + limit + 1))])
        return rows

    def share_hold(self, hold: SharedHold) -> None:
        """Nobody is there to share it with."""

    async def reserve(self, _: float) -> float:
        """The rate is this machine's own."""
        return 0.0

    async def flush(self) -> None:
        """Nothing waits."""


def message(number: int) -> Message:
    """A row of the plan."""
    return Message(number, number + 2, f"CN=User {number},DC=example", "Outage.")


class ModelClient:
    """What the engine needs of a client: it asks a model."""

    is_ready = True
    server_wait = None

    def __init__(self, server: ModelServer) -> None:
        self._server = server

    def exchange(self, recipient: str, _: str, __: None) -> "ModelExchange":
        """The request for a recipient."""
        return ModelExchange(self._server, int(recipient[8 : recipient.index(",")]))


class ModelExchange:
    """One request."""

    server_wait = None
    token = None
    was_withheld = False

    def __init__(self, server: ModelServer, number: int) -> None:
        self._server = server
        self._number = number

    async def run(self) -> Attempt:
        """Ask the model."""
        began = self._server.now()
        try:
            status = await self._server.answer(self._number)
        except AwayError:
            return Attempt(headers_sent=False, failure=Failure.REFUSED)
        elapsed = self._server.now() - began
        asked = self._server.model.retry_after if status == 429 else None
        result = SUCCEEDED if status == 200 else None
        return Attempt(headers_sent=True, status=status, result=result, retry_after=asked, elapsed=elapsed)


class Kind(NamedTuple):
    """A kind of server, and how many rows; `vary` draws the rest of it from chance."""

    vary: Callable[[random.Random], Model]
    rows: int
    workers: int = 64


def _slots(service: tuple[str, float, float]) -> Callable[[random.Random], Model]:
    return lambda chance: Model(slots=chance.randint(4, 64), service=service)


def _rate(**more: Any) -> Callable[[random.Random], Model]:  # noqa: ANN401 - fields of Model
    return lambda chance: Model(rate=chance.choice((10.0, 25.0, 50.0, 90.0)), **more)


def _mixture(chance: random.Random) -> Model:
    return Model(
        slots=chance.randint(8, 64),
        queue=chance.choice((8, 1_000)),
        service=("lognormal", 0.4, 0.5),
        error_share=chance.choice((0.0, 0.01, 0.05)),
        bad_share=0.01,
        rate=chance.choice((None, 40.0)),
        outages=((20.0, 20.0 + chance.uniform(2.0, 30.0)),),
    )


KINDS: Mapping[str, Kind] = {
    "slots, 200 ms each": Kind(_slots(("fixed", 0.2, 0.0)), 2_000),
    "slots, 0.2 to 2 s": Kind(_slots(("uniform", 0.2, 2.0)), 1_500),
    "slots, exponential": Kind(_slots(("exponential", 0.1, 0.8)), 1_500),
    "slots, lognormal": Kind(_slots(("lognormal", 0.5, 0.8)), 1_500),
    "2 to 4 slots, 0.2 to 2 s": Kind(
        lambda chance: Model(slots=chance.randint(2, 4), service=("uniform", 0.2, 2.0)), 1_500
    ),
    "8 slots, short queue": Kind(lambda _: Model(slots=8, queue=8), 1_200),
    "random 503": Kind(lambda chance: Model(error_share=chance.choice((0.01, 0.05, 0.2))), 2_400, 16),
    "20 % random 503": Kind(lambda _: Model(error_share=0.2), 2_400, 16),
    "60 % random 503": Kind(lambda _: Model(error_share=0.6), 1_200, 16),
    "429, tokens saved up": Kind(_rate(), 1_500, 32),
    "429, in any second": Kind(_rate(counting=SLIDING), 1_500, 32),
    "429, second of the clock": Kind(_rate(counting=FIXED), 1_500, 32),
    "429, every distance": Kind(_rate(counting=EVEN), 1_500, 32),
    "429, Retry-After": Kind(_rate(retry_after=1.0), 1_500, 32),
    "outage": Kind(lambda chance: Model(outages=((5.0, 5.0 + chance.uniform(1.0, 60.0)),)), 2_400, 16),
    "outage of nine minutes": Kind(
        lambda chance: Model(outages=((5.0, 540.0 + chance.uniform(0.0, 20.0)),)), 2_400, 16
    ),
    "503 for everybody": Kind(lambda chance: Model(unavailable=((5.0, 5.0 + chance.uniform(1.0, 60.0)),)), 2_400, 16),
    "slow start": Kind(lambda _: Model(slots=16, slow=((0.0, 20.0, 8.0),)), 1_500),
    "slow for ten minutes": Kind(lambda _: Model(slots=32, slow=((10.0, 610.0, 8.0),)), 4_000),
    "one bad recipient in a hundred": Kind(lambda _: Model(slots=16, bad_share=0.01), 2_000),
    "mixture": Kind(_mixture, 1_500),
}


@dataclass
class Outcome:
    """What came of one run."""

    share: float
    throttled: float
    failed: int
    bad_left: int
    """Bad recipients that were not settled as failed."""
    in_flight: float
    recovery: float | None
    tail: float
    """Seconds from the last acceptance to the end of the run."""
    stopped: str | None
    states: Counter[State] = field(default_factory=Counter)


def simulate(name: str, seed: int) -> Outcome:
    """One run against a server of this kind."""
    kind, chance = KINDS[name], random.Random(f"{name} {seed}")
    model = kind.vary(chance)
    with asyncio.Runner(loop_factory=lambda: looptime.new_event_loop(start=1_000.0, noop_cycles=0)) as runner:
        return runner.run(_simulate(kind, model, chance))


async def _simulate(kind: Kind, model: Model, chance: random.Random) -> Outcome:
    loop = asyncio.get_running_loop()
    server = ModelServer(model, chance, loop.time)
    ledger = MemoryLedger(kind.rows + 1)
    ledger.states[0] = State.SKIPPED
    settled_at = [0.0]

    def on_settled(_: Message, __: Attempt, decision: Decision) -> None:
        if decision.state is State.ACCEPTED:
            settled_at.append(server.time)

    pool = WorkerPool(
        cast("LedgerWriter", ledger),
        cast("Client", ModelClient(server)),
        RunSettings(workers=kind.workers),
        on_settled=on_settled,
        system=System(now=loop.time, monotonic=loop.time, random=chance.random),
    )
    await pool.work()
    states = Counter(ledger.states[1:])
    bad = {number for number in range(1, kind.rows + 1) if random.Random(number).random() < model.bad_share}
    requests = [it for it in server.journal if it.status != 429]
    return Outcome(
        share=best(model, kind, len(bad)) / settled_at[-1],
        throttled=sum(it.status == 429 and it.came > 5.0 for it in server.journal) / kind.rows,
        failed=sum(ledger.states[number] is State.FAILED for number in range(1, kind.rows + 1) if number not in bad),
        bad_left=sum(ledger.states[number] is not State.FAILED for number in bad),
        in_flight=sum(it.left - it.came for it in requests) / settled_at[-1],
        recovery=_recovery(model, settled_at),
        tail=server.time - settled_at[-1],
        stopped=pool.stopped,
        states=states,
    )


def best(model: Model, kind: Kind, bad: int) -> float:
    """The best possible time in seconds, for a sender that knows the server."""
    kind_of, one, other = model.service
    mean = {"fixed": one, "uniform": (one + other) / 2, "exponential": one + other}.get(
        kind_of, one * math.exp(other * other / 2)
    )
    speed = min(model.slots, kind.workers) / mean * (1.0 - model.error_share)
    left, now, saved = float(kind.rows - bad), 0.0, 0.0
    if model.rate is not None:
        speed, saved = min(speed, model.rate), model.rate if model.counting != EVEN else 0.0
    left -= saved
    while left > 0:
        now += 0.05
        if any(start <= now < end for start, end in (*model.outages, *model.unavailable)):
            continue
        left -= 0.05 * speed / next((times for start, end, times in model.slow if start <= now < end), 1.0)
    return now


def _recovery(model: Model, settled_at: list[float]) -> float | None:
    """Seconds from the end of an outage until half a second at nine tenths of the speed before it."""
    if len(phases := (*model.outages, *model.unavailable)) != 1:
        return None
    start, end = phases[0]
    speed = sum(start - 3.0 <= at < start for at in settled_at) / 3.0
    for step in range(240):
        at = end + step / 4
        if sum(at <= moment < at + 1.0 for moment in settled_at) >= 0.9 * speed:
            return step / 4
    return 60.0


def row(name: str, outcomes: list[Outcome]) -> str:
    """A row of the table."""
    shares = sorted(it.share for it in outcomes)
    recoveries = [it.recovery for it in outcomes if it.recovery is not None]
    cells = [
        name,
        f"{statistics.median(shares):.2f}",
        f"{shares[len(shares) // 100]:.2f}",
        f"{statistics.median(it.throttled for it in outcomes):.1%}",
        f"{sum(it.failed for it in outcomes)}",
        f"{sum(it.bad_left for it in outcomes)}",
        f"{statistics.median(it.in_flight for it in outcomes):.0f}",
        f"{statistics.median(recoveries):.1f} s" if recoveries else "",
        f"{max(it.tail for it in outcomes):.0f} s",
        ", ".join(sorted({str(it.stopped) for it in outcomes if it.stopped})) or "none",
    ]
    return f"| {' | '.join(cells)} |"


COLUMNS = (
    "server",
    "share",
    "worst of a hundred",
    "429s",
    "failed",
    "bad, not failed",
    "in flight",
    "back at speed after",
    "longest tail",
    "stopped",
)


def main() -> int:
    """Simulate and print the table; 1 if somebody failed who was not bad."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks pacing", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=100, help="for each kind of server; 1,000 is the long form")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="kinds whose name has this in it")
    options = parser.parse_args()
    print(f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}", flush=True)
    failed = 0
    with ProcessPoolExecutor() as processes:
        for name in (it for it in KINDS if options.only in it):
            seeds = range(options.seed, options.seed + options.runs)
            outcomes = list(processes.map(simulate, [name] * options.runs, seeds))
            print(row(name, outcomes), flush=True)
            failed += sum(it.failed for it in outcomes)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
