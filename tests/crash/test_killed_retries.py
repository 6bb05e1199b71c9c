"""Retries killed with SIGKILL at random instants, with the server's journal as judge."""

import random
import sys
import time
from typing import TYPE_CHECKING

import pytest

from bulksms.ledger.reader import LedgerReader
from bulksms.ledger.verification import verify
from bulksms.message import State

if TYPE_CHECKING:
    from tests.crash.conftest import Stage

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
PEOPLE = 120
WORKERS = 4
KILLS = 4


def test_a_killed_retry_tells_nobody_twice_unsaid_and_loses_nobody(stage: "Stage") -> None:
    chance = random.Random(3)  # noqa: S311 - which instants
    stage.write_people(PEOPLE)
    (stage.folder / "faults.toml").write_text('[[rules]]\nshare = 0.7\nfaults = ["result_failed*2"]\n')
    server = stage.serve("--latency", "0.002-0.02", "--faults", "faults.toml")
    options = ("--workers", str(WORKERS), "--keep-going", "--yes")
    code, _, talk = stage.run(server, "send", "people.csv", *options)
    assert code == 1, talk
    accepted = accepted_in(stage)
    assert PEOPLE * 0.15 < len(accepted) < PEOPLE * 0.5
    for _ in range(KILLS):
        process = stage.start(server, "retry", stage.ledger.name, "--only", "failed", *options)
        enough = server.written + chance.randrange(1, 5_000)
        while server.written < enough and process.poll() is None:
            time.sleep(0.0005)
        process.kill()
        process.communicate()
        assert stage.standing().total == PEOPLE
        assert accepted <= accepted_in(stage)
        assert [(law, broken) for law, broken in verify(stage.ledger) if broken] == []
        accepted = accepted_in(stage)
    stage.run(server, "resume", stage.ledger.name, "--keep-going")
    for _ in range(2):
        stage.run(server, "retry", stage.ledger.name, "--only", "failed", *options)

    with LedgerReader(stage.ledger) as reader:
        lines = list(reader.lines())
        assert reader.decisions()
        assert reader.standing().counts[State.ACCEPTED] + reader.standing().counts[State.UNKNOWN] == PEOPLE
    for line in lines:
        delivered = server.journal.delivered(line.recipient)
        assert delivered == 1 or (line.state is State.UNKNOWN and delivered == 0), line
        assert line.state is State.ACCEPTED or line.reason == "crash", line
    assert sum(line.state is State.UNKNOWN for line in lines) <= WORKERS * KILLS
    assert server.holds(stage.ledger).agrees


def accepted_in(stage: "Stage") -> set[str]:
    with LedgerReader(stage.ledger) as reader:
        return {line.recipient for line in reader.lines() if line.state is State.ACCEPTED}
