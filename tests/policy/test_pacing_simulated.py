"""Whole runs of the real worker loop on a virtual clock, against model servers.

The long form, with thousands of runs and a table, is `python -m benchmarks pacing --runs 1000`.
"""

from typing import Any

import pytest

from benchmarks import pacing
from benchmarks.model_server import ModelServer
from benchmarks.pacing import KINDS, simulate
from bulksms.model.message import State
from bulksms.policy.circuit_breaker import HALF_OPEN_PROBES, RAMP_START

LEAST_SHARE = {
    "slots, 200 ms each": 0.85,
    "slots, 0.2 to 2 s": 0.75,
    "8 slots, short queue": 0.95,
    "random 503": 0.88,
    "429, in any second": 0.85,
    "429, Retry-After": 0.85,
    "outage": 0.85,
    "one bad recipient in a hundred": 0.9,
}
"""A little below the worst of a hundred runs."""


@pytest.mark.parametrize("name", LEAST_SHARE)
def test_a_run_gets_its_share_out_of_the_server_and_fails_nobody(name: str) -> None:
    outcome = simulate(name, 1)
    assert outcome.stopped is None
    assert outcome.failed == 0, "nobody whom the server takes at another time"
    assert outcome.share >= LEAST_SHARE[name]
    assert outcome.throttled <= 0.05
    assert outcome.states[State.ACCEPTED] + outcome.states[State.FAILED] == KINDS[name].rows


def test_recipients_that_always_fail_are_failed_within_two_minutes_of_the_others() -> None:
    outcome = simulate("one bad recipient in a hundred", 2)
    assert outcome.states[State.FAILED] > 5
    assert outcome.bad_left == 0
    assert outcome.tail <= 120.0


def test_a_run_is_at_full_speed_within_two_seconds_of_an_outage() -> None:
    recoveries = [simulate("outage", seed).recovery or 0.0 for seed in range(1, 4)]
    assert sorted(recoveries)[1] <= 2.0 + 1.0, "and the probes may be up to a tenth of the outage apart"


def test_after_an_outage_a_few_go_first_and_not_all_that_were_held(monkeypatch: pytest.MonkeyPatch) -> None:
    servers: list[ModelServer] = []

    class Watched(ModelServer):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            servers.append(self)

    monkeypatch.setattr(pacing, "ModelServer", Watched)
    simulate("outage", 1)
    (server,) = servers
    ((_, end),) = server.model.outages
    answers = sorted((it for it in server.journal if it.came >= end), key=lambda it: it.came)
    closed = answers[HALF_OPEN_PROBES - 1].left
    first = sum(closed <= it.came < closed + 0.19 for it in answers)
    assert 1 <= first <= RAMP_START + 1, "before the first of them has its answer"


def test_the_same_seed_is_the_same_run() -> None:
    assert simulate("429, in any second", 7) == simulate("429, in any second", 7)
