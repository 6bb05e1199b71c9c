"""Retries killed with SIGKILL at random instants, with the server's journal as judge."""

import random
import time
from typing import TYPE_CHECKING

from bulksms.ledger import open_ledger
from bulksms.ledger.sqlite.invariants import verify
from bulksms.model.message import State
from tests.platforms import with_posix_signals

if TYPE_CHECKING:
    from tests.crash.harness import CrashHarness

pytestmark = with_posix_signals
PEOPLE = 120
WORKERS = 4
KILLS = 4


def test_a_killed_retry_tells_nobody_twice_unsaid_and_loses_nobody(harness: "CrashHarness") -> None:
    chance = random.Random(3)  # noqa: S311 - which instants
    harness.write_people(PEOPLE)
    (harness.folder / "faults.toml").write_text('[[rules]]\nshare = 0.7\nfaults = ["result_failed*2"]\n')
    server = harness.serve("--latency", "0.002-0.02", "--faults", "faults.toml")
    options = ("--workers", str(WORKERS), "--keep-going", "--yes")
    code, _, talk = harness.run(server, "send", "people.csv", *options)
    assert code == 1, talk
    accepted = accepted_in(harness)
    assert PEOPLE * 0.15 < len(accepted) < PEOPLE * 0.5
    for _ in range(KILLS):
        process = harness.start(server, "retry", harness.ledger.name, "--only", "failed", *options)
        enough = server.written + chance.randrange(1, 5_000)
        while server.written < enough and process.poll() is None:
            time.sleep(0.0005)
        process.kill()
        process.communicate()
        assert harness.counts().total == PEOPLE
        assert accepted <= accepted_in(harness)
        assert [(invariant, violation) for invariant, violation in verify(harness.ledger) if violation] == []
        accepted = accepted_in(harness)
    harness.run(server, "resume", harness.ledger.name, "--keep-going")
    for _ in range(2):
        harness.run(server, "retry", harness.ledger.name, "--only", "failed", *options)

    with open_ledger(harness.ledger) as reader:
        lines = list(reader.messages())
        assert reader.operator_actions()
        assert reader.counts().counts[State.ACCEPTED] + reader.counts().counts[State.UNKNOWN] == PEOPLE
    for line in lines:
        delivered = server.journal.delivered(line.recipient)
        assert delivered == 1 or (line.state is State.UNKNOWN and delivered == 0), line
        assert line.state is State.ACCEPTED or line.reason == "crash", line
    assert sum(line.state is State.UNKNOWN for line in lines) <= WORKERS * KILLS
    assert server.holds(harness.ledger).agrees


def accepted_in(harness: "CrashHarness") -> set[str]:
    with open_ledger(harness.ledger) as reader:
        return {line.recipient for line in reader.messages() if line.state is State.ACCEPTED}
