"""Machines as processes on a ledger in a database, with a simulator and a proxy that can break in between."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from bulksms.ledger import LedgerUrl
from bulksms.ledger.postgresql.catalogue import connected_to
from bulksms.ledger.postgresql.store import PostgresqlLedger
from bulksms.model.run_settings import DeliveryMode
from bulksms.sandbox import Sandbox
from tests.invariants import Facts, hold
from tests.ledger.stores import published

PATIENCE = 120.0
"""Seconds after which what must happen is given up."""
LEASE = 2.0
WORKERS = 8
MESSAGES = 500
PROGRAM = Path(__file__).with_name("machine.py")


@dataclass
class Machine:
    """A process that works on the ledger."""

    process: subprocess.Popen[str]
    result: dict[str, Any] = field(default_factory=dict)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    async def end(self) -> dict[str, Any]:
        """Wait for its end; what it has printed, which is nothing if it was killed."""
        output, _ = await asyncio.wait_for(asyncio.to_thread(self.process.communicate), PATIENCE)
        lines = [line for line in output.splitlines() if line.startswith("{")]
        self.result = json.loads(lines[-1]) if lines else {}
        return self.result


class Machines:
    """A ledger, a simulator, and the machines that were started; they are killed at the end of the block."""

    def __init__(self, url: LedgerUrl, server: Sandbox, messages: int) -> None:
        self.url = url
        self.server = server
        self.ledger = PostgresqlLedger(url)
        self.messages = messages
        self.all: list[Machine] = []

    async def start(self, count: int, *settings: str, url: LedgerUrl | None = None) -> list[Machine]:
        """Start so many machines; each works when this returns."""
        started: list[Machine] = []
        if not self.all:
            started.append(await self._begin("start", settings, url))
        started += await asyncio.gather(*(self._begin("join", settings, url) for _ in range(count - len(started))))
        return started

    async def _begin(self, how: str, settings: tuple[str, ...], url: LedgerUrl | None) -> Machine:
        words = [sys.executable, str(PROGRAM), str(url or self.url), self.server.url, how, *settings]
        machine = Machine(await asyncio.to_thread(self._process, words))
        self.all.append(machine)
        return machine

    @staticmethod
    def _process(words: list[str]) -> subprocess.Popen[str]:
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "works\n"
        return process

    async def until_received(self, count: int) -> None:
        """Wait until the simulator has received so many requests."""
        await self.until(lambda: self.server.journal.total >= count)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for it."""
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 - no event tells of another process
                await asyncio.sleep(0.01)

    async def ask(self, query: str) -> list[Any]:
        """What the tables say."""
        async with connected_to(self.url) as connection:
            rows: list[Any] = await connection.fetch(query)
            return rows

    async def ended(self, *killed: Machine) -> list[dict[str, Any]]:
        """What all machines but the killed ones have printed at their end."""
        for machine in killed:
            await machine.end()
        return [await machine.end() for machine in self.all if machine not in killed]

    async def hold(self, *, killed: int = 0) -> Facts:
        """Assert every invariant, by what the server has received; `killed` machines have left `sending` behind."""
        facts = await asyncio.to_thread(
            hold,
            self.server.journal,
            self.url,
            total=self.messages,
            delivery=DeliveryMode.AT_MOST_ONCE,
            in_flight_at_deaths=killed * WORKERS,
        )
        requests = Counter(received.recipient for received in self.server.journal.received)
        assert max(requests.values()) == 1
        return facts

    def kill_all(self) -> None:
        """Leave no process behind."""
        for machine in self.all:
            with suppress(ProcessLookupError):
                machine.process.kill()
            machine.process.wait()
            if machine.process.stdout is not None:
                machine.process.stdout.close()


async def planned(database: str, folder: Path, messages: int = MESSAGES) -> LedgerUrl:
    """A ledger of so many messages, with a short lease."""
    url = await asyncio.to_thread(published, database, folder, messages)
    async with connected_to(url) as connection:
        await connection.execute("UPDATE control SET lease = $1", LEASE)
    return url


class Proxy:
    """Between a machine and the database: passes bytes, swallows them (`hole`), or the answers alone (`half`)."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._mode = "open"
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut()
        assert self._server is not None
        self._server.close()

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def swallow(self, mode: str) -> None:
        """Pass nothing any more, or no answers."""
        self._mode = mode

    def cut(self) -> None:
        """Reset every connection, and pass everything of new ones."""
        for writer in list(self._writers):
            writer.transport.abort()
        self._mode = "open"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        self._writers |= {writer, back}
        await asyncio.gather(self._pump(reader, back, is_answer=False), self._pump(there, writer, is_answer=True))
        self._writers -= {writer, back}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_answer: bool) -> None:
        with suppress(OSError, asyncio.CancelledError):
            while data := await reader.read(65536):
                while self._mode == "hole" or (self._mode == "half" and is_answer):  # noqa: ASYNC110 - as bytes do
                    await asyncio.sleep(0.02)
                writer.write(data)
                await writer.drain()
        writer.close()


def received_after(server: Sandbox, moment: float) -> list[float]:
    """How many seconds after this moment of the monotonic clock each later request came."""
    return [at - moment for at in server.journal.times if at > moment]


now = time.monotonic
