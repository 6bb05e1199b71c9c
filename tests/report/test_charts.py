"""The charts: nothing is drawn beside the drawing, nothing is left out, and the percentiles are what sorting gives."""

import math
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulksms.ledger import AttemptHistogram, Period
from bulksms.model.message import State
from bulksms.policy.retry import Evidence
from bulksms.report.charts import (
    BORDERS,
    HEIGHT,
    KINDS,
    PROVED,
    SLOTS,
    WIDTH,
    Bar,
    distribution,
    duration,
    percentiles,
    shares,
    slot_of,
    timeline,
)

MOMENT = 1_763_951_700.0
milliseconds = st.lists(st.integers(0, 2_000_000), min_size=1, max_size=200)


def inside(bar: Bar) -> bool:
    slack = 1e-6
    return (
        -slack <= bar.x <= bar.x + bar.width <= WIDTH + slack
        and -slack <= bar.y <= bar.y + bar.height <= HEIGHT + slack
    )


def test_every_evidence_has_its_place() -> None:
    assert set(PROVED) == {evidence.value for evidence in Evidence}
    assert set(PROVED.values()) == set(KINDS)


@given(st.dictionaries(st.sampled_from(State), st.integers(0, 1_000_000)))
def test_whatever_has_a_message_can_be_seen_in_the_bar(counts: dict[State, int]) -> None:
    bars = shares(counts)
    assert [bar.kind for bar in bars] == [state.value for state, count in counts.items() if count]
    assert all(inside(bar) and bar.width >= WIDTH / 400 for bar in bars)
    assert not bars or math.isclose(sum(bar.width for bar in bars), WIDTH)


@given(st.floats(0, 4e7), st.floats(0, 1))
def test_a_slot_is_one_that_a_person_counts_in_and_there_are_not_too_many(length: float, offset: float) -> None:
    period = Period(1, MOMENT + offset, MOMENT + offset + length, 1)
    since, seconds = slot_of(period)
    assert since - 1e-6 <= period.began_at < since + seconds * 1.001
    assert math.isclose(since / seconds, round(since / seconds))
    assert (period.ended_at - since) / seconds <= SLOTS + 1
    assert seconds in {0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400,
                       43_200} or seconds % 86_400 == 0  # fmt: skip


moments = st.lists(st.tuples(st.floats(0, 500), st.floats(0, 40), st.sampled_from(list(Evidence))), min_size=1)


@given(moments)
@example([(0.05, 0.0, Evidence.SUCCEEDED)])
def test_a_timeline_counts_every_attempt_once(attempts: list[tuple[float, float, Evidence]]) -> None:
    first = min(at for at, _, _ in attempts)
    period = Period(3, MOMENT + first, max(MOMENT + at + took for at, took, _ in attempts), len(attempts))
    since, seconds = slot_of(period)
    begun = Counter(int((MOMENT + at - since) / seconds) for at, _, _ in attempts)
    ended = Counter((int((MOMENT + at + took - since) / seconds), kind.value) for at, took, kind in attempts)
    drawn = timeline(period, AttemptHistogram(begun, ended))
    assert sum(drawn.totals.values()) == len(attempts) == drawn.attempts
    assert Counter(PROVED[kind.value] for _, _, kind in attempts) == Counter(drawn.totals)
    bars = [bar for slot in drawn.slots for bar in (*slot.bars, slot.begun, slot.area)]
    assert all(map(inside, bars))
    one = HEIGHT / drawn.highest
    heights: Counter[str] = Counter()
    for bar in (bar for slot in drawn.slots for bar in slot.bars):
        heights[bar.kind] += round(bar.height / one)
    assert heights == Counter(drawn.totals)
    assert sum(round((HEIGHT - slot.begun.y) / one) for slot in drawn.slots) == len(attempts)
    assert all(math.isclose(left.area.x + left.area.width, right.area.x) for left, right in pairwise(drawn.slots))


def test_a_slot_says_in_words_what_is_drawn() -> None:
    drawn = timeline(
        Period(1, MOMENT, MOMENT + 3, 4),
        AttemptHistogram({0: 1_200, 30: 1}, {(0, "succeeded"): 1_000, (0, "lost"): 200}),
    )
    assert drawn.slots[0].words == "02:35:00.00: 1,200 begun; 1,000 accepted; 200 unknown what became of it"
    assert drawn.slots[1].words == "02:35:00.05: 0 begun"
    assert drawn.ticks[0] == "02:35:00.00"
    assert (drawn.seconds, drawn.highest) == (0.05, 1_200)


@pytest.mark.parametrize(
    ("length", "ticks"),
    [
        (60, ("02:35:00", "02:35:31", "02:36:02")),
        (3 * 3_600, ("02:35", "04:07", "05:39")),
        (4 * 86_400, ("2025-11-24 02:00", "2025-11-26 02:00", "2025-11-28 02:00")),
    ],
)
def test_times_are_as_fine_as_the_slots(length: float, ticks: tuple[str, str, str]) -> None:
    left, _, right = timeline(Period(1, MOMENT, MOMENT + length, 1), AttemptHistogram({}, {})).ticks
    assert left == ticks[0]
    assert len(right) == len(ticks[2])


@given(milliseconds)
def test_percentiles_are_what_sorting_gives(times: list[int]) -> None:
    in_order = sorted(times)
    expected = {
        name: in_order[max(0, math.ceil(part * len(times) - 1e-9) - 1)]
        for name, part in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    }
    assert percentiles(sorted(Counter(times).items())) == expected


@given(milliseconds)
def test_a_distribution_counts_every_answer_once(times: list[int]) -> None:
    drawn = distribution(sorted(Counter(times).items()))
    assert drawn is not None
    assert (drawn.answers, drawn.slowest) == (len(times), max(times))
    assert all(inside(bar) for bar, _ in drawn.bars)
    assert len(drawn.bars) % 2 == 0
    assert len(drawn.bars) >= 12
    assert sum(round(bar.height * drawn.highest / HEIGHT) for bar, _ in drawn.bars) == len(times)
    assert [mark.x for mark in drawn.marks] == sorted(mark.x for mark in drawn.marks)
    assert all(0 <= mark.x <= WIDTH for mark in drawn.marks)


def test_a_distribution_says_in_words_what_is_drawn() -> None:
    drawn = distribution([(0, 1), (12, 3), (480, 5), (1_600, 1)])
    assert drawn is not None
    words = [words for _, words in drawn.bars]
    assert words[0] == "0 ms to 1 ms: 1"
    assert "10 ms to 15 ms: 3" in words
    assert "300 ms to 500 ms: 5" in words
    assert "1.5 s to 2 s: 1" in words
    assert (drawn.ticks[0], drawn.highest) == ("0 ms", 5)
    assert distribution([]) is None


def test_the_borders_grow() -> None:
    assert list(BORDERS) == sorted(set(BORDERS))


@pytest.mark.parametrize(
    ("value", "words"),
    [(0, "0 ms"), (50.0, "50 ms"), (999, "999 ms"), (1_500, "1.5 s"), (119_000, "119 s"), (90 * 60_000, "90 min")],
)
def test_durations_are_in_the_unit_that_a_person_would_choose(value: float, words: str) -> None:
    assert duration(value) == words
