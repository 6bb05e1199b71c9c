"""Model server: how an API behaves under load: slots, a queue, a rate, errors, outages.

`ModelServer` needs no socket, so that a simulation can ask it on a virtual clock; `python -m benchmarks.model_server
MODEL` serves it on a loopback port, prints the port as the first line, and its journal as JSON lines at the end.
"""

import asyncio
import json
import random
import re
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

from benchmarks.messages import ANSWER

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_NUMBER = re.compile(rb"User (\d+)")
BURST, SLIDING, FIXED, EVEN = "burst", "sliding", "fixed", "even"
"""How servers count a rate: a token bucket that holds a second's worth, the last second, the second of the clock, or
every single distance."""


@dataclass(frozen=True, slots=True)
class Model:
    """A server. Times are in seconds, and those of phases count from the first request."""

    slots: int = 1_000_000
    """Requests that are worked on at once."""
    queue: int = 1_000_000
    """Requests that may wait for a slot; others get 503 at once."""
    service: tuple[str, float, float] = ("fixed", 0.2, 0.0)
    """Distribution and its parameters: `fixed`, `uniform` (from, to), `exponential` (least, mean of the rest),
    `lognormal` (median, sigma)."""
    error_share: float = 0.0
    """Which part of the requests is answered with 503 at random, after a service time."""
    bad_share: float = 0.0
    """Which part of the recipients is always answered with 503."""
    rate: float | None = None
    """Requests a second; above it the answer is 429 at once."""
    counting: str = BURST
    retry_after: float | None = None
    """`Retry-After` of a 429."""
    outages: tuple[tuple[float, float], ...] = ()
    """Connections are refused from, to."""
    unavailable: tuple[tuple[float, float], ...] = ()
    """503 for everybody from, to."""
    slow: tuple[tuple[float, float, float], ...] = ()
    """From, to, how many times the service time."""
    hiccup: float = 0.01
    """Seconds until an answer that needs no service."""


@dataclass(slots=True)
class Answer:
    """One request: when it came, when it was answered and how, and how many others were there when it came."""

    came: float
    left: float
    status: int
    present: int
    number: int


class AwayError(Exception):
    """Nobody is there: the connection is refused."""


@dataclass(slots=True)
class ModelServer:
    """A model at work. `now` is a clock in seconds."""

    model: Model
    chance: random.Random
    now: Callable[[], float]
    journal: list[Answer] = field(default_factory=list)
    began: float | None = None
    present: int = 0
    _busy: int = 0
    _waiting: deque[asyncio.Future[None]] = field(default_factory=deque)
    _tokens: float = 0.0
    _counted_at: float = 0.0
    _recent: deque[float] = field(default_factory=deque)

    @property
    def time(self) -> float:
        """Seconds since the first request."""
        return 0.0 if self.began is None else self.now() - self.began

    @property
    def is_away(self) -> bool:
        """Whether connections are refused now."""
        return self.began is not None and any(start <= self.time < end for start, end in self.model.outages)

    async def answer(self, number: int) -> int:
        """Answer the request for this recipient; the status. Raises AwayError."""
        if self.began is None:
            self.began, self._tokens = self.now(), self.model.rate or 0.0
        came, self.present = self.time, self.present + 1
        present = self.present
        try:
            if self.is_away:
                raise AwayError
            status = await self._status(came, number)
        finally:
            self.present -= 1
        self.journal.append(Answer(came, self.time, status, present, number))
        return status

    async def _status(self, came: float, number: int) -> int:
        model = self.model
        status = 0
        if any(start <= came < end for start, end in model.unavailable):
            status = 503
        elif model.rate is not None and not self._is_within(came, model.rate):
            status = 429
        elif self._busy >= model.slots and len(self._waiting) >= model.queue:
            status = 503
        if status:
            await asyncio.sleep(model.hiccup)
            return status
        if self._busy >= model.slots:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn
        else:
            self._busy += 1
        try:
            await asyncio.sleep(self._service(came))
        finally:
            if self._waiting:
                self._waiting.popleft().set_result(None)
            else:
                self._busy -= 1
        is_bad = random.Random(number).random() < model.bad_share
        return 503 if is_bad or self.chance.random() < model.error_share else 200

    def _service(self, came: float) -> float:
        kind, one, other = self.model.service
        seconds = {
            "fixed": lambda: one,
            "uniform": lambda: self.chance.uniform(one, other),
            "exponential": lambda: one + self.chance.expovariate(1 / other),
            "lognormal": lambda: one * self.chance.lognormvariate(0.0, other),
        }[kind]()
        return seconds * next((times for start, end, times in self.model.slow if start <= came < end), 1.0)

    def _is_within(self, came: float, rate: float) -> bool:
        match self.model.counting:
            case "burst":
                self._tokens = min(rate, self._tokens + (came - self._counted_at) * rate)
                self._counted_at = came
                if self._tokens < 1.0:
                    return False
                self._tokens -= 1.0
            case "even":
                if came < self._counted_at:
                    return False
                self._counted_at = came + 1.0 / rate
            case counting:
                start = float(int(came)) if counting == FIXED else came - 1.0
                while self._recent and self._recent[0] <= start - (counting == FIXED) * 1e-9:
                    self._recent.popleft()
                if len(self._recent) >= rate:
                    return False
                self._recent.append(came)
        return True


class Connection(asyncio.Protocol):
    """One HTTP/1.1 connection without pipelining."""

    def __init__(self, server: ModelServer, connections: "set[Connection]") -> None:
        self._server = server
        self._connections = connections
        self._data = b""
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)
        self._connections.add(self)

    def connection_lost(self, _: Exception | None) -> None:
        """Forget it."""
        self._connections.discard(self)

    @property
    def is_idle(self) -> bool:
        """Whether no request is under way on it."""
        return self._task is None

    def data_received(self, data: bytes) -> None:
        """Answer a request once it is complete."""
        self._data += data
        head = self._data.find(b"\r\n\r\n")
        length = _LENGTH.search(self._data, 0, head) if head >= 0 else None
        if head < 0 or len(self._data) < head + 4 + (0 if length is None else int(length[1])):
            return
        number = _NUMBER.search(self._data, head)
        self._data = b""
        self._task = asyncio.get_running_loop().create_task(self._answer(int(number[1]) if number else 0))

    async def _answer(self, number: int) -> None:
        try:
            status = await self._server.answer(number)
        except AwayError:
            self.transport.abort()
            return
        retry_after = self._server.model.retry_after
        body = ANSWER if status == HTTPStatus.OK else ""
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"Content-Length: {len(body)}"]
        if body:
            lines.append("Content-Type: application/json")
        if status == HTTPStatus.TOO_MANY_REQUESTS and retry_after is not None:
            lines.append(f"Retry-After: {retry_after:g}")
        self._task = None
        self.transport.write("\r\n".join([*lines, "", body]).encode())
        if self._server.is_away:
            self.transport.close()


async def serve(model: Model, seed: int) -> None:
    """Serve until standard input is closed, then print the journal."""
    loop = asyncio.get_running_loop()
    server = ModelServer(model, random.Random(seed), loop.time)
    connections: set[Connection] = set()
    listener = await loop.create_server(lambda: Connection(server, connections), "127.0.0.1", 0, backlog=1024)
    port = listener.sockets[0].getsockname()[1]
    print(port, flush=True)
    ended = loop.run_in_executor(None, sys.stdin.read)
    while not ended.done():
        await asyncio.sleep(0.005)
        if server.is_away == listener.is_serving():
            if server.is_away:
                listener.close()
                for connection in [it for it in connections if it.is_idle]:
                    connection.transport.abort()
            else:
                listener = await loop.create_server(
                    lambda: Connection(server, connections), "127.0.0.1", port, backlog=1024
                )
    for answer in server.journal:
        print(json.dumps(asdict(answer)))


@contextmanager
def model_server(model: Model, seed: int, journal: list[Answer]) -> Iterator[str]:
    """A server in a process of its own; its base URL. `journal` is filled at the end."""
    command = [sys.executable, "-m", "benchmarks.model_server", json.dumps(asdict(model)), str(seed)]
    process = subprocess.Popen(
        command,
        cwd=Path(__file__).parent.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline() if process.stdout else 0)}/restApi"
    finally:
        lines, _ = process.communicate("")
        journal.extend(Answer(**json.loads(line)) for line in lines.splitlines())


def _tuples(value: Any) -> Any:  # noqa: ANN401 - of JSON
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def main() -> None:
    """Serve the model that the arguments describe."""
    model = Model(**{name: _tuples(value) for name, value in json.loads(sys.argv[1]).items()})
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(model, int(sys.argv[2])))


if __name__ == "__main__":
    main()
