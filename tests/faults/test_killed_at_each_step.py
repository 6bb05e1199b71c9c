"""SIGKILL at every step of a message, as the wire and the ledger see it; then `resume` against an honest server."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import msgspec
import pytest

from bulksms.model.message import State
from bulksms.sandbox import Sandbox
from tests.platforms import with_posix_signals

if TYPE_CHECKING:
    from tests.faults.harness import FaultHarness

PEOPLE = 24
WORKERS = 3
FATAL = 8
"""The request that is the last one."""

RESULT = b'{"resultType":0,"innerMessages":[],"exception":null,"actualObjectDN":null,"extraInfo":{}}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(RESULT), RESULT)

pytestmark = with_posix_signals


class Receiver:
    """A server on a raw socket that knows how far each exchange has come, and kills its client at one step."""

    def __init__(self, step: str) -> None:
        self.step: str | None = step
        self.victim: asyncio.subprocess.Process | None = None
        self.connections = 0
        self.begun = 0
        self.received: Counter[str] = Counter()
        self.fatal: str | None = None
        """Whose exchange it was, if the server came to know."""
        self.url = ""

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator["Receiver"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/restApi"
            yield self

    def _kill_at(self, step: str, *, is_time: bool) -> None:
        if self.step == step and is_time and self.victim is not None and self.victim.returncode is None:
            self.step = None
            self.victim.kill()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._kill_at("accept", is_time=self.connections == 2)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                await self._exchange(reader, writer)
        writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.readexactly(5)
        self.begun += 1
        is_time = self.begun == FATAL
        self._kill_at("first bytes of the headers", is_time=is_time)
        head = first + await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        recipient = msgspec.json.decode(await reader.readexactly(length))["directoryObject"]
        self.received[recipient] += 1
        self.fatal = recipient if is_time else self.fatal
        self._kill_at("whole request", is_time=is_time)
        writer.write(ANSWER[:-20])
        await writer.drain()
        await asyncio.sleep(0.02 if is_time else 0.002)
        self._kill_at("half of the answer", is_time=is_time)
        writer.write(ANSWER[-20:])
        await writer.drain()
        self._kill_at("whole answer", is_time=is_time)


STEPS = ["accept", "first bytes of the headers", "whole request", "half of the answer", "whole answer"]


async def killed_and_resumed(harness: "FaultHarness", receiver: Receiver, *options: str) -> int:
    """Send, be killed, resume; how many were in flight when it was killed."""
    harness.write_people(PEOPLE)
    arguments = ("send", "people.csv", "--yes", "--workers", str(WORKERS), "--no-adapt", *options)
    receiver.victim = await harness.start(receiver.url, *arguments)
    ended = await harness.end_of(receiver.victim)
    assert ended.code == -9, ended.talk
    in_flight = sum(line.state is State.UNKNOWN for line in harness.lines().values())
    ended = await harness.resume(receiver.url)
    assert ended.code in ((0,) if options else (0, 4)), ended.talk
    return in_flight


@pytest.mark.parametrize("step", STEPS)
async def test_who_was_in_flight_is_unknown_and_the_others_are_reported_once(
    step: str, harness: "FaultHarness"
) -> None:
    async with Receiver(step).serving() as receiver:
        in_flight = await killed_and_resumed(harness, receiver)
    lines = harness.lines()
    unknown = {name for name, line in lines.items() if line.state is State.UNKNOWN}
    assert len(lines) == PEOPLE
    assert len(unknown) == in_flight <= WORKERS
    assert in_flight or step == "whole answer"
    assert {lines[name].reason for name in unknown} <= {"crash"}
    assert all(receiver.received[name] <= 1 for name in lines)
    result = {name for name, line in lines.items() if line.state is State.ACCEPTED}
    assert result | unknown == set(lines)
    assert all(receiver.received[name] == 1 for name in result)
    assert not any(line.possible_duplicate for line in lines.values())
    if step in ("whole request", "half of the answer"):
        assert receiver.fatal in unknown


async def test_at_least_once_tells_everybody_and_counts_who_was_perhaps_reported_twice(harness: "FaultHarness") -> None:
    async with Receiver("whole request").serving() as receiver:
        in_flight = await killed_and_resumed(harness, receiver, "--delivery", "at-least-once")
    lines = harness.lines()
    assert {line.state for line in lines.values()} == {State.ACCEPTED}
    twice = {name for name, line in lines.items() if line.possible_duplicate}
    assert len(twice) == in_flight
    assert {name for name, requests in receiver.received.items() if requests > 1} <= twice
    assert set(receiver.received) == set(lines)


@pytest.mark.parametrize(
    ("kind", "when"),
    [
        ("begin", "before_commit"),
        ("begin", "after_commit"),
        ("settle", "after_statement"),
        ("settle", "after_commit"),
    ],
)
async def test_a_commit_is_there_whole_or_not_at_all(kind: str, when: str, harness: "FaultHarness") -> None:
    harness.write_people(PEOPLE)
    options = ("--workers", str(WORKERS), "--no-adapt")
    async with Sandbox(latency=0.005) as server:
        ended = await harness.send(server.url, *options, kill=kind, nth=5, when=when)
        assert ended.code == -9, ended.talk
        received = server.journal.total
        lines = harness.agree(server.journal)
        begun = sum(line.attempts > 0 for line in lines.values())
        assert received <= begun, "no request whose intent is not on disk"
        ended = await harness.resume(server.url)
    assert ended.code == 4, ended.talk
    lines = harness.agree(server.journal)
    unknown = [line for line in lines.values() if line.state is State.UNKNOWN]
    assert 1 <= len(unknown) <= WORKERS
    assert {line.reason for line in unknown} == {"crash"}
    assert sum(line.state is State.ACCEPTED for line in lines.values()) == PEOPLE - len(unknown)
    assert all(server.journal.requests(name) <= 1 for name in lines)
