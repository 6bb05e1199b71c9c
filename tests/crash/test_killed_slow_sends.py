"""Runs with many slow sends, killed with SIGKILL: whose operation is in the ledger is known in the end.

Three kills by default; more, and others, with BULKSMS_KILLS and BULKSMS_KILL_SEED.
"""

import os
import random
import time
from typing import TYPE_CHECKING

import pytest

from bulksms.ledger import open_ledger
from bulksms.model.message import State
from tests.platforms import with_posix_signals

if TYPE_CHECKING:
    from tests.crash.harness import CrashHarness

KILLS = min(int(os.environ.get("BULKSMS_KILLS", "3")), 50)
SEED = int(os.environ.get("BULKSMS_KILL_SEED", "1"))
WORKERS = 8

pytestmark = with_posix_signals


@pytest.mark.parametrize("delivery", ["balanced", "at-least-once"])
def test_a_third_on_202_and_killed_in_the_middle_nobody_is_sent_to_twice(
    harness: "CrashHarness", delivery: str
) -> None:
    chance = random.Random(f"{SEED} {delivery}")  # noqa: S311 - which instants
    people = 90 + 60 * KILLS
    harness.write_people(people)
    (harness.folder / "third.toml").write_text('[[rules]]\nshare = 0.33\nfaults = "202"\n')
    server = harness.serve("--latency", "0.002-0.02", "--faults", "third.toml", "--seed", str(SEED))
    command: tuple[str, ...] = ("send", "people.csv", "--yes", "--workers", str(WORKERS), "--delivery", delivery)
    known: set[str] = set()
    left_processing = 0
    for _ in range(KILLS):
        process = harness.start(server, *command)
        enough = server.written + chance.randrange(5_000, 15_000)
        harness.wait_until(lambda: server.written >= enough or process.poll() is not None)  # noqa: B023 - awaited here
        time.sleep(chance.uniform(0.0, 0.02))
        process.kill()
        process.communicate()
        command = ("resume", harness.ledger.name)
        with open_ledger(harness.ledger) as reader:
            lines = list(reader.messages())
        known |= {line.recipient for line in lines if line.operation_id is not None}
        left_processing += sum(line.state is State.PROCESSING for line in lines)
    assert left_processing, "the kills came while operations were under way"

    code, _, talk = harness.run(server, *command)

    assert code in (0, 4), talk
    journal = server.journal
    with open_ledger(harness.ledger) as reader:
        lines = list(reader.messages())
    assert len(lines) == people
    for line in lines:
        if line.recipient in known:
            assert line.state is State.ACCEPTED, line
            assert journal.requests(line.recipient) == 1, line
        if delivery == "balanced":
            assert journal.requests(line.recipient) <= 1, line
            assert line.state is State.ACCEPTED or line.reason == "crash", line
        else:
            assert journal.delivered(line.recipient) == 1 or line.possible_duplicate, line
    operations = [line for line in lines if line.operation_id is not None]
    assert len(operations) >= people / 5
    assert server.holds(harness.ledger).agrees


def test_a_202_whose_id_never_reached_the_ledger_is_unknown(harness: "CrashHarness") -> None:
    """The server took every one of them; what was not written down cannot be asked about."""
    harness.write_people(30)
    (harness.folder / "slow.toml").write_text('[[rules]]\nshare = 1\nfaults = "202"\n')
    server = harness.serve("--faults", "slow.toml", "--latency", "0.3")
    process = harness.start(server, "send", "people.csv", "--yes", "--no-adapt", "--workers", str(WORKERS))
    harness.wait_until(lambda: server.written > 0 and harness.counts().counts[State.SENDING] > 0)
    process.kill()
    process.communicate()
    with open_ledger(harness.ledger) as reader:
        lost = {line.recipient for line in reader.messages() if line.state is State.UNKNOWN}
    assert lost
    code, _, talk = harness.run(server, "resume", harness.ledger.name)
    assert code == 4, talk
    with open_ledger(harness.ledger) as reader:
        lines = {line.recipient: line for line in reader.messages()}
    assert {who for who, line in lines.items() if line.state is State.UNKNOWN} == lost
    assert {lines[who].reason for who in lost} == {"crash"}
    assert all(server.journal.requests(who) <= 1 for who in lines)
    assert server.holds(harness.ledger).agrees
