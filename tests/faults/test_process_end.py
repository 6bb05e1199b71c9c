"""The end of a process is quiet: a result that is known is not taken away by a signal, and one before it is true."""

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE

import pytest

from bulksms.errors import LedgerError
from bulksms.ledger import open_ledger
from bulksms.model.message import State
from bulksms.sandbox import Sandbox
from tests.faults.harness import FaultHarness
from tests.platforms import with_posix_signals

PEOPLE = 60
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")

pytestmark = with_posix_signals


def accepted(harness: FaultHarness) -> int:
    try:
        with open_ledger(harness.ledger) as reader:
            return reader.counts().counts[State.ACCEPTED]
    except LedgerError:  # it is being made, or left
        return 0


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("after", [0.0, 0.04])
async def test_signals_after_the_last_answer_change_nothing(name: str, after: float, harness: FaultHarness) -> None:
    harness.write_people(PEOPLE)
    async with Sandbox(latency=0.01) as server:
        process = await harness.start(server.url, "send", "people.csv", "--yes", "--workers", "8")
        await harness.until(lambda: server.journal.total >= PEOPLE and accepted(harness) == PEOPLE)
        await asyncio.sleep(after)
        ended = asyncio.create_task(harness.end_of(process))
        while not ended.done():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.Signals[name])  # asyncio's own way would reap the process
            await asyncio.sleep(0.005)
    result = await ended
    assert result.code == 0, result.talk
    assert f"{PEOPLE} = {PEOPLE} accepted" in result.output
    assert "before anything was sent" not in result.talk
    with open_ledger(harness.ledger) as reader:
        assert reader.runs()[-1].stopped is None


async def test_an_interrupt_that_leaves_something_is_one(harness: FaultHarness) -> None:
    harness.write_people(PEOPLE)
    async with Sandbox(latency=0.2) as server:
        process = await harness.start(server.url, "send", "people.csv", "--yes", "--workers", "4", "--no-adapt")
        await harness.until(lambda: server.journal.total >= 1)
        process.send_signal(signal.SIGINT)
        result = await harness.end_of(process)
        assert result.code == 130, result.talk
        lines = harness.agree(server.journal)
    left = [line for line in lines.values() if line.state is State.QUEUED]
    assert 0 < len(left) < PEOPLE


@pytest.mark.parametrize("name", SIGNALS)
async def test_a_signal_while_the_input_is_read_sends_nothing_and_leaves_no_file(
    name: str, harness: FaultHarness
) -> None:
    arguments = ("send", "-", "--format", "csv", "--ledger", "people.ledger.db", "--yes", "--url", "http://127.0.0.1:9")
    kept = {key: value for key, value in os.environ.items() if not key.startswith("BULKSMS_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "bulksms", *arguments),
        cwd=harness.folder,
        env=kept | {"BULKSMS_TOKEN": "sandbox"},
        stdin=PIPE,
        stdout=DEVNULL,
        stderr=PIPE,
    )
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.write(b"directoryObject,text\n" + b"".join(b'"CN=%d,DC=x",Hi\n' % n for n in range(10_000)))
    await harness.until(lambda: any(harness.folder.iterdir()))
    reading = asyncio.create_task(process.stderr.read())
    while not reading.done():  # a signal in the moment before a read blocks is not noticed: a person presses again
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.Signals[name])
        await asyncio.wait([reading], timeout=1.0)
    talk = (await reading).decode()
    assert await process.wait() == (130 if name == "SIGINT" else 143), talk
    assert "Stopped before anything was sent." in talk
    assert list(harness.folder.iterdir()) == []
