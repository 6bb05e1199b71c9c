"""Runs killed with SIGKILL at random instants and resumed: nobody twice, nobody lost.

The stand-in server's journal is the judge. Ten kills by default; the long form is

    BULKSMS_KILLS=500 BULKSMS_KILL_SEED=7 pytest -n 0 tests/crash/test_killed_runs.py
"""

import os
import random
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from bulksms.ledger.reader import LedgerReader
from bulksms.message import State

if TYPE_CHECKING:
    from tests.crash.conftest import Server, Stage

KILLS = int(os.environ.get("BULKSMS_KILLS", "10"))
SEED = int(os.environ.get("BULKSMS_KILL_SEED", "1"))
WORKERS = 8
BETWEEN_KILLS = 30
"""About so many requests are made between two kills."""
LINE = 250
"""About so many bytes of the journal are one request."""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")


def faults(stage: "Stage") -> str:
    """A server as it can be: slow sends that are polled, throttling, and a few of whom nothing is known."""
    file = stage.folder / "faults.toml"
    rules = {"202": 0.1, "429": 0.02, "result_failed": 0.01}
    file.write_text("".join(f'[[rules]]\nshare = {share}\nfaults = "{name}"\n' for name, share in rules.items()))
    return str(file)


def kill_at_some_instant(process: subprocess.Popen[str], server: "Server", chance: random.Random) -> bool:
    """Kill it in the middle of its requests, or at any time of its life; whether it was still alive."""
    if chance.random() < 0.8:
        enough = server.written + chance.randrange(1, 2 * BETWEEN_KILLS * LINE)
        while server.written < enough and process.poll() is None:
            time.sleep(0.0005)
        time.sleep(chance.uniform(0.0, 0.01))
    else:
        time.sleep(chance.uniform(0.0, 0.8))
    was_alive = process.poll() is None
    process.kill()
    process.communicate()
    return was_alive


def next_run(stage: "Stage", *options: str) -> tuple[str, ...]:
    """The command line that goes on: `resume`, or `send` again if the plan was not yet kept."""
    if stage.ledger.exists():
        return ("resume", stage.ledger.name)
    return ("send", "people.csv", "--yes", "--max-recipients", "100000", "--workers", str(WORKERS), *options)


def test_nobody_is_told_twice_and_nobody_is_lost_however_often_it_is_killed(stage: "Stage") -> None:
    chance = random.Random(SEED)  # noqa: S311 - which instants
    people = 100 + KILLS * BETWEEN_KILLS
    stage.write_people(people)
    server = stage.serve("--latency", "0.002-0.02", "--faults", faults(stage))
    kills = unknown = 0
    for _ in range(KILLS):
        kills += kill_at_some_instant(stage.start(server, *next_run(stage)), server, chance)
        if stage.ledger.exists():
            standing = stage.standing()
            assert standing.total == people
            assert not standing.is_living
            assert standing.counts[State.UNKNOWN] - unknown <= WORKERS, "no more than were in flight"
            unknown = standing.counts[State.UNKNOWN]
    assert kills >= KILLS / 2

    code, _, talk = stage.run(server, *next_run(stage))

    assert code in (1, 4), talk
    with LedgerReader(stage.ledger) as reader:
        lines = list(reader.lines())
        assert reader.standing().total == len({line.recipient for line in lines}) == people
    journal = server.journal
    for line in lines:
        delivered = journal.delivered(line.recipient)
        assert delivered <= 1, line
        if line.state is not State.UNKNOWN:
            assert (line.state is State.ACCEPTED) == (delivered == 1), line
        assert (line.state in {State.ACCEPTED, State.FAILED}) or line.reason == "crash", line
        assert not line.may_have_sent_twice
    assert sum(line.state is State.UNKNOWN for line in lines) <= WORKERS * kills
    assert server.holds(stage.ledger).agrees


def test_at_least_once_admits_everybody_it_told_twice(stage: "Stage") -> None:
    chance = random.Random(SEED)  # noqa: S311 - which instants
    kills = min(KILLS, 3)
    stage.write_people(100 + kills * BETWEEN_KILLS)
    server = stage.serve("--latency", "0.002-0.02")
    for _ in range(kills):
        kill_at_some_instant(stage.start(server, *next_run(stage, "--delivery", "at-least-once")), server, chance)
    code, _, talk = stage.run(server, *next_run(stage, "--delivery", "at-least-once"))
    assert code == 0, talk
    journal = server.journal
    with LedgerReader(stage.ledger) as reader:
        for line in reader.lines():
            assert line.state is State.ACCEPTED
            assert journal.delivered(line.recipient) >= 1
            assert journal.delivered(line.recipient) == 1 or line.may_have_sent_twice
    assert server.holds(stage.ledger).agrees


def test_what_was_processing_when_it_was_killed_is_polled_and_not_sent_again(stage: "Stage") -> None:
    stage.write_people(40)
    (stage.folder / "slow.toml").write_text('[[rules]]\nshare = 1\nfaults = "202"\n')
    server = stage.serve("--faults", "slow.toml")
    process = stage.start(server, "send", "people.csv", "--yes", "--no-adapt", "--workers", str(WORKERS))
    stage.wait_until(lambda: stage.ledger.exists() and stage.standing().counts[State.PROCESSING] >= 20)
    process.kill()
    process.communicate()
    with LedgerReader(stage.ledger) as reader:
        processing = {line.recipient for line in reader.lines() if line.operation_id is not None}
    code, _, _ = stage.run(server, "resume", stage.ledger.name)
    assert code in (0, 4)
    journal = server.journal
    with LedgerReader(stage.ledger) as reader:
        lines = {line.recipient: line for line in reader.lines()}
    assert len(processing) >= 20
    assert {lines[who].state for who in processing} == {State.ACCEPTED}
    assert all(journal.requests(who) == 1 for who in processing)
    assert all(journal.requests(who) <= 1 for who in lines)
    assert sum(line.state is State.UNKNOWN for line in lines.values()) <= WORKERS
    assert server.holds(stage.ledger).agrees
