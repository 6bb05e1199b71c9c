"""Runs killed with SIGKILL at random instants and resumed: nobody twice, nobody lost.

The simulator's journal is the judge. Ten kills by default; the long form is

    BULKSMS_KILLS=500 BULKSMS_KILL_SEED=7 pytest -n 0 tests/crash/test_killed_runs.py
"""

import os
import random
import time
from typing import TYPE_CHECKING

from bulksms.ledger import open_ledger
from bulksms.model.message import State
from tests.platforms import with_posix_signals

if TYPE_CHECKING:
    from tests.crash.harness import CrashHarness, Server
    from tests.forks import Process

KILLS = int(os.environ.get("BULKSMS_KILLS", "10"))
SEED = int(os.environ.get("BULKSMS_KILL_SEED", "1"))
WORKERS = 8
BETWEEN_KILLS = 30
"""About so many requests are made between two kills."""
LINE = 250
"""About so many bytes of the journal are one request."""

pytestmark = with_posix_signals


def faults(harness: "CrashHarness") -> str:
    """A server as it can be: slow sends that are polled, throttling, and a few whose outcome is unknown."""
    file = harness.folder / "faults.toml"
    rules = {"202": 0.1, "429": 0.02, "result_failed": 0.01}
    file.write_text("".join(f'[[rules]]\nshare = {share}\nfaults = "{name}"\n' for name, share in rules.items()))
    return str(file)


def kill_at_some_instant(process: "Process", server: "Server", chance: random.Random) -> bool:
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


def next_run(harness: "CrashHarness", *options: str) -> tuple[str, ...]:
    """The command line that goes on: `resume`, or `send` again if the plan was not yet kept."""
    if harness.ledger.exists():
        return ("resume", harness.ledger.name)
    return ("send", "people.csv", "--yes", "--max-recipients", "100000", "--workers", str(WORKERS), *options)


def test_nobody_is_reported_twice_and_nobody_is_lost_however_often_it_is_killed(harness: "CrashHarness") -> None:
    chance = random.Random(SEED)  # noqa: S311 - which instants
    people = 100 + KILLS * BETWEEN_KILLS
    harness.write_people(people)
    server = harness.serve("--latency", "0.002-0.02", "--faults", faults(harness))
    kills = unknown = 0
    for _ in range(KILLS):
        kills += kill_at_some_instant(harness.start(server, *next_run(harness)), server, chance)
        if harness.ledger.exists():
            counts = harness.counts()
            assert counts.total == people
            assert not counts.is_living
            assert counts.counts[State.UNKNOWN] - unknown <= WORKERS, "no more than were in flight"
            unknown = counts.counts[State.UNKNOWN]
    assert kills >= KILLS / 2

    code, _, talk = harness.run(server, *next_run(harness))

    assert code in (1, 4), talk
    with open_ledger(harness.ledger) as reader:
        lines = list(reader.messages())
        assert reader.counts().total == len({line.recipient for line in lines}) == people
    journal = server.journal
    for line in lines:
        delivered = journal.delivered(line.recipient)
        assert delivered <= 1, line
        if line.state is not State.UNKNOWN:
            assert (line.state is State.ACCEPTED) == (delivered == 1), line
        assert (line.state in {State.ACCEPTED, State.FAILED}) or line.reason == "crash", line
        assert not line.possible_duplicate
    assert sum(line.state is State.UNKNOWN for line in lines) <= WORKERS * kills
    assert server.holds(harness.ledger).agrees


def test_at_least_once_admits_everybody_it_reported_twice(harness: "CrashHarness") -> None:
    chance = random.Random(SEED)  # noqa: S311 - which instants
    kills = min(KILLS, 3)
    harness.write_people(100 + kills * BETWEEN_KILLS)
    server = harness.serve("--latency", "0.002-0.02")
    for _ in range(kills):
        kill_at_some_instant(harness.start(server, *next_run(harness, "--delivery", "at-least-once")), server, chance)
    code, _, talk = harness.run(server, *next_run(harness, "--delivery", "at-least-once"))
    assert code == 0, talk
    journal = server.journal
    with open_ledger(harness.ledger) as reader:
        for line in reader.messages():
            assert line.state is State.ACCEPTED
            assert journal.delivered(line.recipient) >= 1
            assert journal.delivered(line.recipient) == 1 or line.possible_duplicate
    assert server.holds(harness.ledger).agrees


def test_what_was_processing_when_it_was_killed_is_polled_and_not_sent_again(harness: "CrashHarness") -> None:
    harness.write_people(40)
    (harness.folder / "slow.toml").write_text('[[rules]]\nshare = 1\nfaults = "202"\n')
    server = harness.serve("--faults", "slow.toml")
    process = harness.start(server, "send", "people.csv", "--yes", "--no-adapt", "--workers", str(WORKERS))
    harness.wait_until(lambda: harness.ledger.exists() and harness.counts().counts[State.PROCESSING] >= 20)
    process.kill()
    process.communicate()
    with open_ledger(harness.ledger) as reader:
        processing = {line.recipient for line in reader.messages() if line.operation_id is not None}
    code, _, _ = harness.run(server, "resume", harness.ledger.name)
    assert code in (0, 4)
    journal = server.journal
    with open_ledger(harness.ledger) as reader:
        lines = {line.recipient: line for line in reader.messages()}
    assert len(processing) >= 20
    assert {lines[who].state for who in processing} == {State.ACCEPTED}
    assert all(journal.requests(who) == 1 for who in processing)
    assert all(journal.requests(who) <= 1 for who in lines)
    assert sum(line.state is State.UNKNOWN for line in lines.values()) <= WORKERS
    assert server.holds(harness.ledger).agrees
