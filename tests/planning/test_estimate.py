"""How long a run takes, and what a deadline asks of it: by earlier runs where there are any, and in which words."""

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksms.ledger import RunStatus
from bulksms.planning import estimate
from bulksms.planning.estimate import KEPT_RUNS, RunSpeed, SpeedMeter, SpeedStore, estimate_seconds, learnt_from
from bulksms.planning.plan import Preview
from tests.platforms import with_posix_files

URL = "https://a.example/restApi"
SPEED = RunSpeed(20.0, 10.0, 64)


@pytest.mark.parametrize(
    ("seconds", "messages", "workers", "rate", "result"),
    [
        (60, 100, 1, None, (30, 100)),
        (60, 1_000, 16, None, (480, 1_000)),
        (60, 1_000, 16, 5.0, (300, 300)),
        (0, 10, 16, None, (0, 0)),
    ],
)
def test_as_many_are_sent_as_the_workers_and_the_rate_allow(
    seconds: float, messages: int, workers: int, rate: float | None, result: tuple[int, int]
) -> None:
    assert estimate.sent_within(seconds, messages, workers, rate) == result


def test_the_words_name_the_rate_that_is_needed_and_the_workers_that_would_fit() -> None:
    words = estimate.before_run(60, 1_000, 16, None)
    assert "needs 16.7 a second" in words
    assert "16 workers send 480 to 1,000 of 1,000 in time" in words
    assert words.endswith("--workers 34 would fit")


def test_a_rate_below_what_is_needed_is_what_has_to_be_raised() -> None:
    assert estimate.before_run(60, 1_000, 16, 5.0).endswith("--rate 5 is too low for it")


def test_a_deadline_that_is_kept_at_worst_asks_for_nothing() -> None:
    assert "would fit" not in estimate.before_run(600, 100, 16, None)


@given(st.floats(1, 1e5), st.integers(1, 10**6))
def test_the_workers_that_would_fit_do_fit(seconds: float, messages: int) -> None:
    words = estimate.before_run(seconds, messages, 1, None)
    if "would fit" in words:
        workers = int(words.rpartition("--workers ")[2].partition(" ")[0])
        assert estimate.sent_within(seconds, messages, workers, None)[0] >= messages - 1


def test_the_first_answers_correct_the_forecast_loudly() -> None:
    words = estimate.during_run(50, 25.0, 1_000, 60.0, 16)
    assert words is not None
    assert words.startswith(
        "WARNING: at the speed of the first 50 answers (2.0 a second) 880 of 1,000 will not be sent"
    )
    assert estimate.during_run(50, 1.0, 1_000, 60.0, 16) is None


@pytest.mark.parametrize(
    ("rows", "workers", "rate", "best", "worst"),
    [
        (100, 10, None, 5.0, 20.0),
        (100, 1, None, 50.0, 200.0),
        (100, 100, 1.0, 99.5, 101.0),
        (0, 16, 5.0, 0.0, 0.0),
        (1, 16, None, 0.5, 2.0),
    ],
)
def test_what_is_not_known_yet_is_calls_of_half_a_second_to_two(
    rows: int, workers: int, rate: float | None, best: float, worst: float
) -> None:
    assert estimate_seconds(rows, workers, rate) == (best, worst)
    assert Preview("people.csv", rows=rows).seconds(workers, rate) == (best, worst)


@pytest.mark.parametrize(
    ("runs", "workers", "rate", "slowest", "fastest"),
    [
        ([SPEED], 64, None, 20.0, 20.0),
        ([SPEED, RunSpeed(30.0, 10.0, 64)], 64, None, 20.0, 30.0),
        ([SPEED], 5, None, 10.0, 10.0),
        ([SPEED], 64, 8.0, 8.0, 8.0),
        ([RunSpeed(20.0, 16.0, 16)], 64, None, 20.0, 80.0),
    ],
    ids=["as then", "a range of runs", "fewer workers", "the rate of now", "its workers kept it back"],
)
def test_a_run_is_as_fast_as_earlier_ones_were(
    runs: list[RunSpeed], workers: int, rate: float | None, slowest: float, fastest: float
) -> None:
    learnt = learnt_from(runs, workers, rate)
    assert learnt is not None
    assert (learnt.slowest, learnt.fastest, learnt.runs) == (slowest, fastest, len(runs))
    assert estimate_seconds(1_000, workers, rate, learnt) == (1_000 / fastest, 1_000 / slowest)
    assert estimate.sent_within(10.0, 1_000, workers, rate, learnt) == (10 * slowest, 10 * fastest)


def test_a_run_that_its_own_rate_kept_back_shows_nothing_of_a_higher_one() -> None:
    kept_back = RunSpeed(4.9, 2.0, 64, rate=5.0)
    assert learnt_from([kept_back], 64, None) is None
    assert learnt_from([kept_back], 64, 6.0) is None
    assert learnt_from([kept_back], 64, 5.0) is not None
    assert learnt_from([replace(kept_back, rate=50.0)], 64, None) is not None


def test_a_deadline_is_held_against_what_was_learnt() -> None:
    learnt = learnt_from([SPEED, replace(SPEED, per_second=10.0)], 64, None)
    words = estimate.before_run(60, 1_000, 64, None, learnt)
    assert words == (
        "needs 16.7 a second; at the speed of the last 2 runs to this server 600 to 1,000 of 1,000 are sent in time"
    )
    assert "of the last run to" in str(learnt_from([SPEED], 64, None))


def status(elapsed: float, done: int, **more: object) -> RunStatus:
    return replace(RunStatus(1, elapsed, None, None, 8, 64, adapts=True, in_flight=8, done=done), **more)  # type: ignore[arg-type]  # any of its fields


def test_the_speed_is_that_of_the_time_in_which_everybody_could_send() -> None:
    meter = SpeedMeter(1_000)
    for second in range(11):
        meter.add(status(second, 20 * second))
    meter.add(status(11.0, 205, unavailable_for=1.0))
    meter.add(status(70.0, 210, unavailable_for=60.0))
    for second in range(71, 76):
        meter.add(status(second, 220 + 20 * (second - 71)))
    meter.add(status(80.0, 310), is_asking=True)
    meter.add(status(100.0, 995))
    meter.add(status(160.0, 1_000))
    assert meter.speed(64, None) == RunSpeed(20.0, 8.0, 64)


def test_a_run_of_too_few_shows_no_speed() -> None:
    meter = SpeedMeter(100)
    for second in range(5):
        meter.add(status(second, 12 * second))
    assert meter.speed(64, None) is None
    meter.add(status(5.0, 60, stopping="interrupted"))
    assert meter.speed(64, None) is None


def test_the_last_runs_to_each_server_are_kept(tmp_path: Path) -> None:
    store = SpeedStore(tmp_path / "user" / "speeds")
    assert store.runs(URL) == []
    for number in range(1, KEPT_RUNS + 3):
        store.add(URL, replace(SPEED, per_second=float(number)))
    assert [run.per_second for run in store.runs(URL)] == [3.0, 4.0, 5.0, 6.0, 7.0]
    assert store.runs("https://b.example/restApi") == []
    assert len(list((tmp_path / "user" / "speeds").iterdir())) == 1, "nothing is left beside it"


@with_posix_files
def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    store = SpeedStore(tmp_path / "speeds")
    store.add(URL, SPEED)
    (path,) = (tmp_path / "speeds").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\x00",
        b"[1]",
        b'{"url": "https://a.example/restApi"}',
        b'{"url": "https://a.example/restApi", "runs": [{"per_second": 0, "in_flight": 1, "workers": 1}]}',
        b'{"url": "https://b.example/restApi", "runs": [{"per_second": 1, "in_flight": 1, "workers": 1}]}',
    ],
    ids=["empty", "no text", "another shape", "cut", "no speed", "another server"],
)
def test_a_damaged_file_counts_as_none_and_is_replaced(content: bytes, tmp_path: Path) -> None:
    store = SpeedStore(tmp_path)
    store.add(URL, SPEED)
    (path,) = tmp_path.iterdir()
    path.write_bytes(content)
    assert store.runs(URL) == []
    store.add(URL, SPEED)
    assert store.runs(URL) == [SPEED]


def test_a_write_that_fails_keeps_the_old_file_and_costs_the_run_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SpeedStore(tmp_path)
    store.add(URL, SPEED)

    def full(_: int, __: bytes) -> int:
        raise OSError("no space")

    monkeypatch.setattr(os, "write", full)
    store.add(URL, SPEED)
    assert store.runs(URL) == [SPEED]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_cannot_be_made_costs_the_run_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    store = SpeedStore(tmp_path / "file" / "speeds")
    store.add(URL, SPEED)
    assert store.runs(URL) == []
