"""Machines: several on one run in PostgreSQL: durable lifecycles a second, bytes a message, publish, export.

Starts a throw-away server, publishes a plan, and lets that many processes work on it: each message is claimed, its
intent is on disk, its request costs nothing, and its outcome is on disk. What each process has sent is written down by
the process itself, and judges the ledger: everybody once, and `verify` finds nothing.
"""

import argparse
import array
import asyncio
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from benchmarks.measuring import Sample, Usage, conditions, measuring, number, run_alone
from benchmarks.messages import plan_ledger
from bulksms.ledger import LedgerUrl, LedgerWriter, OutcomeRecord, Recovery, RunStart, ledger_at
from bulksms.ledger.postgresql.catalogue import blocking, connected_to
from bulksms.ledger.postgresql.export import export
from bulksms.ledger.postgresql.publishing import publish
from bulksms.model.attempt import Attempt, OperationResult, ResultType
from bulksms.model.message import Message, State
from bulksms.sandbox.postgresql import PostgresqlServer

Answer = TypeVar("Answer")

ROOT = Path(__file__).parents[1]
RECOVERY = Recovery(State.UNKNOWN, 5)
ACCEPTED = OutcomeRecord(State.ACCEPTED, evidence="succeeded")
NEVER_LEFT = OutcomeRecord(State.QUEUED, evidence="never_left")
CLAIMED = 1_000
"""Messages that are asked for at once."""
_WAL = "SELECT pg_current_wal_insert_lsn()::text"
_WRITTEN = "SELECT (pg_current_wal_insert_lsn() - $1::text::pg_lsn)::bigint"
_SIZE = """
SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class
WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'
"""
_COMMITS = "SELECT sum(serial)::bigint FROM machine"


@dataclass(frozen=True, slots=True)
class Round:
    """What one round measured; times in seconds, `wal` and `disk` in bytes a message."""

    published: Usage
    worked: float
    commits: int
    wal: float
    disk: float
    exported: Usage


def main() -> int:
    """Print the figures; 1 if a message was lost or sent twice."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks machines", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--machines", type=int, default=2)
    parser.add_argument("--workers", type=int, default=64, help="of each machine")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--sent", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.url is not None:
        sent = _run(_machine(LedgerUrl.parse(options.url), options.workers))
        options.sent.write_bytes(sent.tobytes())
        return 0
    with tempfile.TemporaryDirectory() as name, PostgresqlServer() as server:
        folder = Path(name)
        print(
            f"{options.messages:,} messages, {options.machines} x {options.workers}; {conditions(server.folder)}",
            flush=True,
        )
        os.environ["PGPASSFILE"] = str(server.password_file)
        run_alone(plan_ledger, folder / "people.ledger.db", options.messages)
        rounds = [_round(folder, server, turn, options) for turn in range(options.rounds)]
    _print(rounds, options.messages)
    return 0


def _print(rounds: Sequence[Round], messages: int) -> None:
    samples = {
        "publish: {} s": [it.published.seconds for it in rounds],
        "peak of memory while publishing: {} MB": [it.published.megabytes for it in rounds],
        "durable lifecycles a second: {}": [messages / it.worked for it in rounds],
        "messages in a commit: {}": [2 * messages / it.commits for it in rounds],
        "write-ahead log: {} bytes a message": [it.wal for it in rounds],
        "disk: {} bytes a message": [it.disk for it in rounds],
        "export: {} s": [it.exported.seconds for it in rounds],
        "peak of memory while exporting: {} MB": [it.exported.megabytes for it in rounds],
    }
    for words, values in samples.items():
        print(words.format(Sample(tuple(values))))


def _round(folder: Path, server: PostgresqlServer, turn: int, options: argparse.Namespace) -> Round:
    url = LedgerUrl.parse(f"{server.create_database(f'round_{turn}')}?ledger=people")
    published = run_alone(_publish, folder / "people.ledger.db", url)
    before = blocking(_ask(url, _WAL))
    files = [folder / f"{turn}.{machine}.sent" for machine in range(options.machines)]
    worked = _work(url, options.workers, files)
    wal = int(str(blocking(_ask(url, _WRITTEN, before))))
    disk = int(str(blocking(_ask(url, _SIZE))))
    commits = int(str(blocking(_ask(url, _COMMITS))))
    copy = folder / f"{turn}.ledger.db"
    exported = run_alone(_export, url, copy)
    _judge(files, copy, options.messages)
    server.drop_database(f"round_{turn}")
    copy.unlink()
    return Round(published, worked, commits, wal / options.messages, disk / options.messages, exported)


def _publish(file: Path, url: LedgerUrl) -> Usage:
    with measuring() as usage:
        publish(file, url)
    return usage


def _export(url: LedgerUrl, file: Path) -> Usage:
    with measuring() as usage:
        export(url, file)
    return usage


async def _ask(url: LedgerUrl, question: str, *values: object) -> object:
    async with connected_to(url) as connection:
        answer: object = await connection.fetchval(question, *values)
        return answer


def _work(url: LedgerUrl, workers: int, files: Sequence[Path]) -> float:
    """Let a machine a file work to the end; the seconds of the longest, its start not counted."""
    command = (sys.executable, "-m", "benchmarks", "machines", "--url", str(url), "--workers", str(workers), "--sent")
    machines = [subprocess.Popen([*command, str(file)], cwd=ROOT, stdout=subprocess.PIPE) for file in files]
    outputs = [machine.communicate()[0] for machine in machines]
    if any(machine.returncode for machine in machines):
        raise RuntimeError("a machine has failed")
    began, ended = zip(*map(json.loads, outputs), strict=True)
    return float(max(ended) - min(began))


def _judge(files: Sequence[Path], copy: Path, messages: int) -> None:
    """Raises RuntimeError if a message was lost or sent twice, or the ledger is not true."""
    sent: Counter[int] = Counter()
    for file in files:
        numbers = array.array("Q")
        numbers.frombytes(file.read_bytes())
        sent.update(numbers)
    twice = sum(count > 1 for count in sent.values())
    if twice or len(sent) != messages:
        raise RuntimeError(f"{number(messages - len(sent))} messages were lost, {number(twice)} sent twice")
    if violated := [problem for _, problem in ledger_at(copy).verify() if problem]:
        raise RuntimeError(f"the ledger is not true: {violated}")


async def _machine(url: LedgerUrl, workers: int) -> "array.array[int]":
    """Work to the end; the numbers of the messages that were sent."""
    start = RunStart("https://adaxes.example/restApi", "0", "benchmark", "here", os.getpid(), "{}", "benchmark")
    writer = await ledger_at(url).open_for_run(start, RECOVERY)
    sent = array.array("Q")
    began = time.time()
    for again in (False, True):
        source = _Source(writer, again=again)
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(_send_all(writer, source, sent))
    await writer.flush()
    ended = time.time()
    await writer.end_run(None, ended - began, len(sent))
    await writer.close()
    print(json.dumps([began, ended]))
    return sent


class _Source:
    """The next message of a machine."""

    def __init__(self, writer: LedgerWriter, *, again: bool) -> None:
        self._writer = writer
        self._again = again
        self._messages: Iterator[Message] = iter(())
        self._after = 0
        self._claiming = asyncio.Lock()

    async def next(self) -> Message | None:
        """None when there will never be one."""
        while (message := next(self._messages, None)) is None:
            async with self._claiming:
                if (message := next(self._messages, None)) is not None:
                    break
                found = await self._writer.claim(State.QUEUED, self._after, CLAIMED, again=self._again)
                if not found:
                    return None
                self._after = found[-1].number
                self._messages = iter(found)
        return message


async def _send_all(writer: LedgerWriter, source: _Source, sent: "array.array[int]") -> None:
    while (message := await source.next()) is not None:
        message.attempts += 1
        message.tries += 1
        began = time.time()
        if not await writer.record_intent(message, began):
            continue
        if writer.still_mine is not None and not writer.still_mine():
            writer.record_outcome(message, Attempt(False, began_at=began, elapsed=0.0), NEVER_LEFT)
            continue
        sent.append(message.number)
        await asyncio.sleep(0)  # the request
        result = OperationResult(ResultType.SUCCEEDED)
        writer.record_outcome(message, Attempt(True, 200, result=result, began_at=began, elapsed=0.0), ACCEPTED)


def _run(work: Coroutine[object, object, Answer]) -> Answer:
    """On uvloop where it is installed."""
    factory = None
    if importlib.util.find_spec("uvloop") is not None:
        import uvloop  # noqa: PLC0415 - only where it is installed

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(work)


if __name__ == "__main__":
    sys.exit(main())
