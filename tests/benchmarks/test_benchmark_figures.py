"""What is told of measurements: medians, spreads, ratios, verdicts."""

import dataclasses
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.contenders import CONTENDERS, ENGINE, HTTPX
from benchmarks.cost import PLANNING
from benchmarks.figure import Figure, Figures, Sample, number
from benchmarks.rivals import SPEED
from benchmarks.targets import NOT_MEASURED, TARGETS, Target, judged

measurements = st.lists(st.floats(0.001, 1e9), min_size=1, max_size=9)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (0, "0"),
        (0.0123, "0.012"),
        (0.1, "0.10"),
        (1.666, "1.67"),
        (12.34, "12.3"),
        (123.4, "123"),
        (1_234_567.8, "1,234,568"),
    ],
)
def test_a_number_has_the_digits_that_can_be_believed(value: float, told: str) -> None:
    assert number(value) == told


def test_a_sample_is_told_as_its_median_with_the_lowest_and_the_highest_round() -> None:
    assert str(Sample((300.0, 100.0, 200.0))) == "200 (100 to 300)"
    assert str(Sample((5.0,))) == "5.00"


@given(measurements)
def test_the_median_lies_between_the_lowest_and_the_highest(rounds: list[float]) -> None:
    median = Sample(tuple(rounds)).median
    assert min(rounds) <= median <= max(rounds)
    assert median == statistics.median(rounds)


@given(measurements, st.floats(0.01, 100))
def test_a_ratio_is_taken_round_by_round_so_that_common_weather_does_not_show(rounds: list[float], by: float) -> None:
    once, again = Sample(tuple(rounds)), Sample(tuple(value * by for value in rounds))
    assert again.over(once).rounds == pytest.approx([by] * len(rounds))


def test_a_figure_is_found_by_some_of_its_conditions_and_the_last_one_counts() -> None:
    figures = Figures(
        Figure("rivals", "engine", "messages/s", Sample((value,)), {"workers": workers, "latency_ms": 0.0})
        for value, workers in ((1.0, 1), (2.0, 64), (3.0, 64))
    )
    assert figures.find("engine", "messages/s", workers=64) == Sample((3.0,))
    assert figures.find("engine", "messages/s", workers=16) is None
    assert figures.find("engine", "s") is None


def measured(target: Target, value: float) -> Figures:
    """Figures out of which the target finds this value, whichever they are."""
    asked: list[Figure] = []

    class Asked(Figures):
        def find(self, name: str, unit: str, **conditions: object) -> Sample | None:
            asked.append(Figure("", name, unit, Sample((1.0,)), conditions))
            return Sample((1.0,))

    target.find(Asked())
    first, *others = asked
    # A ratio asks for two: what stands above comes first.
    return Figures([*others, dataclasses.replace(first, sample=Sample((value,)))])


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.what)
def test_a_target_is_reached_at_its_bound_and_missed_beyond_it(target: Target) -> None:
    place = TARGETS.index(target)
    beyond = target.bound * (1.01 if target.at_most else 0.99)
    assert judged(measured(target, target.bound))[place][-1] == "reached"
    assert judged(measured(target, beyond))[place][-1] == "NOT REACHED"


def test_what_was_not_measured_is_neither_reached_nor_missed() -> None:
    assert {line[-1] for line in judged(Figures())} == {NOT_MEASURED}


def test_the_disk_s_commit_stands_beside_what_depends_on_it() -> None:
    speeds = [
        Figure("rivals", one.name, "messages/s", Sample((1.0,)), {"latency_ms": latency, "workers": 64})
        for one in CONTENDERS
        for latency in (0.0, 20.0)
    ]
    commit = Figure("rivals", "commit of the disk", "ms", Sample((0.25,)), {"latency_ms": 20.0, "workers": 64})
    told = [line[2] for line in judged(Figures([*speeds, commit]))]
    assert [("0.25 ms" in line) for line in told[:4]] == [False, False, True, True]


def test_every_contender_that_a_target_names_is_there() -> None:
    asked: set[str] = set()

    class Asked(Figures):
        def find(self, name: str, unit: str, **_: object) -> Sample | None:
            if unit == SPEED:
                asked.add(name)
            return None

    for target in TARGETS:
        target.find(Asked())
    assert {ENGINE, HTTPX} <= asked
    assert asked <= {PLANNING, *(one.name for one in CONTENDERS)}
