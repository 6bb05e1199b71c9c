"""What an operator reads while a run lives: facts in, lines out."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksms.cli.ui.status_view import (
    HELD,
    RECENT,
    WARNING,
    Speed,
    StatusView,
    line,
    lines,
    machine_lines,
    of_all_machines,
)
from bulksms.ledger import MachineRecord, RunStatus
from bulksms.model.message import State
from bulksms.report.text import local_minute

AT = datetime(2026, 11, 22, 14, 0, tzinfo=UTC)
"""The moment of every look here."""
KNOWN: dict[str, Any] = {
    "run": 1,
    "elapsed": 60.0,
    "overall": 8.0,
    "recent": 10.0,
    "concurrency": 12,
    "ceiling": 16,
    "adapts": True,
    "in_flight": 3,
    "concurrency_reason": "more may be faster",
    "done": 400,
}


def look(counts: dict[State, int] | None = None, *, ended: bool = False, **pace: Any) -> StatusView:
    """A look at 1,000 messages, 600 of them still queued."""
    known = {State.ACCEPTED: 390, State.FAILED: 10, State.QUEUED: 600} if counts is None else counts
    return StatusView({**dict.fromkeys(State, 0), **known}, AT, RunStatus(**{**KNOWN, **pace}), ended)


def words(found: StatusView, width: int = 79) -> list[str]:
    """The lines without their styles."""
    return ["".join(part for part, _ in spans) for spans in lines(found, width)]


def styles(found: StatusView) -> dict[str, str]:
    """Each part and how it is shown."""
    return dict(span for spans in lines(found, 79) for span in spans)


def test_a_look_at_eighty_columns() -> None:
    errors = (("503 The service is not available.", 41), ("404 The object was not found.", 3))
    assert words(look(errors=errors, deadline=AT.timestamp() + 1800)) == [
        "████████████████░░░░░░░░░░░░░░░░░░░░░░░░  400 of 1,000  40 %",
        "390 accepted  10 failed  0 unknown  600 queued",
        "10.0 a second, 8.0 overall; 12 of 16 at once: more may be faster",
        "deadline 14:30, in 30 min 00 s; done in 57 s to 1 min 19 s, by 14:01",
        "",
        "last errors:",
        "  41 x 503 The service is not available.",
        "  3 x 404 The object was not found.",
    ]


def machine(run: int, *, is_lost: bool = False, **pace: Any) -> MachineRecord:
    """One of several on server-1, heard of two seconds ago."""
    status = RunStatus(**{**KNOWN, "run": run, **pace}) if pace else None
    return MachineRecord(run, "server-1", 4711, "2026-11-22T13:59:00Z", 2.04, is_lost, 3, status)


def test_each_machine_has_a_line_and_the_lost_ones_come_last() -> None:
    machines = (machine(1, is_lost=True), machine(2, recent=10.0), machine(3))
    since = f"since {local_minute('2026-11-22T13:59:00Z')}, process 4711."
    assert list(machine_lines(machines)) == [
        f"Run 2 on server-1: 3 in flight, 10.0 a second, heard of 2 s ago; {since}",
        f"Run 3 on server-1: 3 in flight, heard of 2 s ago; {since}",
        f"Run 1 on server-1: lost, 2 s ago; what it had under way is unknown; {since}",
    ]
    *_, last = words(StatusView(look().counts, AT, None, machines=machines))
    assert last == "Run 1 on server-1: lost, 2 s ago; what it had under way is unknown; since 20..."


def test_of_very_many_machines_some_are_shown() -> None:
    *shown, more = machine_lines([*(machine(run, is_lost=True) for run in (1, 2)), *map(machine, range(3, 21))])
    assert [line.split()[1] for line in shown] == [str(run) for run in range(3, 15)]
    assert more == "And 8 more, 2 of them lost."


def test_the_pace_is_that_of_all_machines_together() -> None:
    quick = machine(1, recent=10.0, done=400, errors=(("503 Away.", 2),))
    held = machine(2, recent=None, done=100, paused_for=12.0, errors=(("503 Away.", 3), ("404 Nobody.", 4)))
    lost = machine(3, is_lost=True, done=1000)
    found = of_all_machines((quick, held, lost, machine(4)))
    assert found is not None
    assert (found.run, found.overall, found.recent, found.done) == (2, 16.0, 10.0, 500)
    assert (found.concurrency, found.ceiling, found.in_flight, found.paused_for) == (24, 32, 6, 12.0)
    assert found.errors == (("503 Away.", 5), ("404 Nobody.", 4))
    assert of_all_machines((lost, machine(4))) is None


def test_the_display_in_the_readme_is_the_one_that_is_shown() -> None:
    counts = {State.ACCEPTED: 1_588, State.FAILED: 11, State.UNKNOWN: 1, State.SENDING: 11, State.QUEUED: 2_389}
    found = look(
        counts,
        overall=17.8,
        recent=14.2,
        concurrency=11,
        concurrency_reason="fewer are as fast",
        paused_for=12.0,
        pause_reason="the server asked for it with status 503",
        deadline=AT.timestamp() + 1800,
        errors=(("503 The service is not available.", 41), ("404 The directory object was not found.", 11)),
    )
    readme = Path(__file__).parents[2].joinpath("README.md").read_text(encoding="utf-8")
    block = readme.partition("<!-- display -->\n```\n")[2].partition("\n```\n<!-- /display -->")[0]
    assert block.splitlines() == words(found)


def test_a_look_at_sixty_columns_has_the_same_facts_in_more_lines() -> None:
    narrow = words(look(deadline=AT.timestamp() + 1800), 59)
    assert max(map(len, narrow)) <= 59
    assert narrow[2:5] == [
        "10.0 a second, 8.0 overall",
        "12 of 16 at once: more may be faster",
        "deadline 14:30, in 30 min 00 s",
    ]


def test_the_same_in_one_line() -> None:
    errors = (("503 Away.", 41),)
    assert line(
        look(errors=errors, paused_for=12.0, pause_reason="the server asked for it with status 503", probing=True)
    ) == (
        "400 of 1,000 (40 %) after 1 min 00 s: 390 accepted, 10 failed, 0 unknown, 600 queued; "
        "10.0 a second, 8.0 overall; 12 of 16 at once: more may be faster; "
        "held for 12 s: the server asked for it with status 503; done in 1 min 09 s to 1 min 31 s, by 14:01; "
        "last errors: 41 x 503 Away."
    )


CONCURRENCY = [
    ({"concurrency_reason": None, "concurrency": 4}, "4 of 16 at once: a run begins with few"),
    ({"concurrency_reason": "more may be faster", "concurrency": 8}, "8 of 16 at once: more may be faster"),
    ({"concurrency_reason": "fewer are as fast", "concurrency": 11}, "11 of 16 at once: fewer are as fast"),
    ({"concurrency_reason": "more may be faster", "concurrency": 16}, "16 at once: the ceiling"),
    ({"concurrency_reason": None, "concurrency": 16, "adapts": False}, "16 at once: fixed"),
]


@pytest.mark.parametrize(("pace", "result"), CONCURRENCY)
def test_how_many_at_once_and_why(pace: dict[str, Any], result: str) -> None:
    assert result in line(look(**pace))
    assert any(result in shown for shown in words(look(**pace)))


@pytest.mark.parametrize(
    ("pace", "result"),
    [
        ({}, "10.0 a second, 8.0 overall"),
        ({"recent": None}, "8.0 a second"),
        ({"rate": 12.0}, "10.0 a second, 8.0 overall, 12 at most"),
        ({"rate": 1000 / 3600}, "10.0 a second, 8.0 overall, 0.278 at most"),
    ],
)
def test_how_fast_of_late_overall_and_at_most(pace: dict[str, Any], result: str) -> None:
    assert f"; {result}; 12 of 16 at once" in line(look(**pace))


HOLDS = [
    ({"paused_for": 12.0, "pause_reason": "status 503", "probing": True}, "held for 12 s: status 503", HELD),
    ({"paused_for": 1.0, "pause_reason": "several unknown", "probing": True}, "held for 1 s: several unknown", HELD),
    ({"paused_for": None, "probing": True}, "one probe is sent first; the others follow a good answer", HELD),
    (
        {"unavailable_for": 45.0, "paused_for": 3.0},
        "server away for 45 s, one probe at a time: the next in 3 s",
        WARNING,
    ),
    (
        {"unavailable_for": 45.0, "paused_for": None},
        "server away for 45 s, one probe at a time: one is on its way",
        WARNING,
    ),
    ({"stopping": "interrupted"}, "stopping (interrupted): 3 in flight, their answers are awaited", WARNING),
]


@pytest.mark.parametrize(("pace", "result", "style"), HOLDS)
def test_what_keeps_a_run_back_is_reported_plainly(pace: dict[str, Any], result: str, style: str) -> None:
    assert styles(look(**pace))[result] == style
    assert result in line(look(**pace))


def test_nothing_jumps_up_and_down_when_a_hold_comes_and_goes() -> None:
    assert len(words(look())) == len(words(look(paused_for=2.0, pause_reason="status 503")))


SURE = {"recent": 10.0, "overall": 10.0, "done": 10**18}
"""So many answers at one speed that no range is left."""
ENDS = [
    (SURE, ["done in 1 min 00 s, by 14:01"]),
    ({}, ["done in 57 s to 1 min 19 s, by 14:01"]),
    ({"recent": None}, ["done in 1 min 11 s to 1 min 19 s, by 14:01"]),
    ({"recent": 0.0}, ["done in 1 min 11 s to 1 min 19 s, by 14:01"]),
    ({"recent": 0.01}, ["done in 1 min 11 s to 17 h 32 min, by 23 Nov 07:32"]),
    (SURE | {"paused_for": 60.0}, ["done in 2 min 00 s, by 14:02"]),
    ({"recent": None, "overall": None}, ["done: not known yet"]),
    ({"unavailable_for": 3.0}, ["done: not known yet"]),
    (SURE | {"deadline": 1800.0}, ["deadline 14:30, in 30 min 00 s", "done in 1 min 00 s, by 14:01"]),
    (SURE | {"deadline": 45.0}, ["WARNING: about 150 will miss the deadline 14:00", "done in 1 min 00 s, by 14:01"]),
    (SURE | {"deadline": -5.0}, ["WARNING: about 600 will miss the deadline 13:59", "done in 1 min 00 s, by 14:01"]),
    ({"deadline": 45.0, "unavailable_for": 3.0}, ["deadline 14:00, in 45 s", "done: not known yet"]),
    ({"stopping": "deadline"}, []),
]


@pytest.mark.parametrize(("pace", "result"), ENDS)
def test_when_it_will_be_done_is_held_against_the_deadline(pace: dict[str, Any], result: list[str]) -> None:
    if "deadline" in pace:
        pace = pace | {"deadline": AT.timestamp() + pace["deadline"]}
    found = [part for part in line(look(**pace)).split("; ") if part.startswith(("done", "deadline", "WARNING"))]
    assert found == result
    for part in result:
        assert (styles(look(**pace))[part] == WARNING) is part.startswith("WARNING")


@pytest.mark.parametrize("few", [{"elapsed": 9.9}, {"done": 19}])
def test_the_first_seconds_and_answers_say_nothing_about_the_end(few: dict[str, Any]) -> None:
    assert "done: not known yet" in line(look(**few))
    assert "done: not known yet" not in line(look(elapsed=10.0, done=20))


def test_the_range_narrows_with_the_answers() -> None:
    widths = []
    for done in (20, 100, 1_000, 100_000):
        left = look(recent=10.0, overall=10.0, done=done).time_to_go
        assert left is not None
        assert left.most is not None
        assert left.least < 60.0 < left.most
        widths.append(left.most - left.least)
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 1.0


def test_a_run_with_a_rate_knows_how_long_it_takes_at_least() -> None:
    assert "done in 5 min 00 s at the earliest, 14:05" in line(look(rate=2.0, elapsed=1.0, done=1))
    assert "done in 5 min 00 s to 5 min 16 s, by 14:05" in line(look(rate=2.0, recent=2.0, overall=2.0)), (
        "never faster than that"
    )


def test_an_outage_says_until_when_it_is_waited_for() -> None:
    outage: dict[str, Any] = {"unavailable_for": 108.0, "paused_for": 3.0, "gives_up_in": 492.0}
    assert words(look(**outage))[4:6] == [
        "server away for 1 min 48 s, one probe at a time: the next in 3 s",
        "it is waited for until 14:08, 8 min 12 s more",
    ]
    assert "the next in 3 s; it is waited for until 14:08, 8 min 12 s more; done: not known yet" in line(look(**outage))


def test_every_state_that_occurs_is_reported_with_its_count() -> None:
    counts = {state: number for number, state in enumerate(State, 1)}
    shown = " ".join(words(look(counts), 200))
    for state, count in counts.items():
        assert f"{count} {state}" in shown


def test_what_was_never_meant_to_be_sent_is_no_part_of_the_whole() -> None:
    assert "300 of 400" in words(look({State.ACCEPTED: 300, State.QUEUED: 100, State.SKIPPED: 600}))[0]


@pytest.mark.parametrize(("done", "percent"), [(0, 0), (1, 0), (9_999, 99), (10_000, 100)])
def test_only_what_is_done_altogether_is_a_hundred_of_a_hundred(done: int, percent: int) -> None:
    assert words(look({State.ACCEPTED: done, State.QUEUED: 10_000 - done}))[0].endswith(f"  {percent} %")


def test_nothing_to_send_is_done() -> None:
    assert words(look({State.SKIPPED: 3}))[0].endswith("0 of 0  100 %")


def test_the_last_look_leaves_the_counts_to_the_result() -> None:
    assert words(look(ended=True, errors=(("404 Gone.", 2),))) == [
        "████████████████░░░░░░░░░░░░░░░░░░░░░░░░  400 of 1,000  40 %",
        "last errors:",
        "  2 x 404 Gone.",
    ]


def test_without_a_word_from_the_run_the_counts_are_reported_alone() -> None:
    found = StatusView({**dict.fromkeys(State, 0), State.QUEUED: 3}, AT)
    assert words(found)[1:] == ["0 accepted  0 failed  0 unknown  3 queued"]
    assert line(found) == "0 of 3 (0 %): 0 accepted, 0 failed, 0 unknown, 3 queued"


def test_a_server_s_words_cannot_move_the_cursor() -> None:
    shown = words(look(errors=(("503 \x1b[2J\r\nall is \u202ewell", 1),)))[-1]
    assert shown.isprintable()
    assert "\\x1b[2J" in shown


@pytest.mark.parametrize("encoding", ["cp437", "cp1252", "ascii"])
def test_plain_lines_have_only_characters_that_old_consoles_have(encoding: str) -> None:
    found = look(
        paused_for=3.0, pause_reason="status 503", deadline=AT.timestamp() + 9, errors=(("503 " + "long " * 50, 2),)
    )
    for width in (39, 59, 79):
        for spans in lines(found, width, plain=True):
            "".join(part for part, _ in spans).encode(encoding)


@given(
    width=st.integers(20, 200),
    counts=st.fixed_dictionaries({state: st.integers(0, 10**6) for state in State}),
    error=st.text(max_size=120),
    seconds=st.none() | st.floats(-1e6, 1e6),
    hold=st.sampled_from([pace for pace, _, _ in HOLDS]),
    plain=st.booleans(),
)
def test_no_line_is_wider_than_asked(  # noqa: PLR0917 - what hypothesis gives
    width: int, counts: dict[State, int], error: str, seconds: float | None, hold: dict[str, Any], plain: bool
) -> None:
    deadline = None if seconds is None else AT.timestamp() + seconds
    found = look(counts, errors=((error, 3),), deadline=deadline, **hold)
    for spans in lines(found, width, plain=plain):
        assert sum(len(part) for part, _ in spans) <= width
    assert "\n" not in line(found)


def test_the_speed_of_late_forgets_what_was_long_ago() -> None:
    speed = Speed()
    assert speed.at(0.0, 0) is None, "nobody can say yet"
    assert speed.at(0.5, 50) is None
    assert speed.at(1.0, 100) == 100.0
    for second in range(2, 31):
        speed.at(float(second), 100)
    assert speed.at(31.0, 100) == 0.0


@given(st.lists(st.floats(0.001, 2.0), min_size=1, max_size=2000))
def test_the_speed_of_late_needs_no_more_memory_the_longer_a_run_is(pauses: list[float]) -> None:
    speed, now = Speed(), 0.0
    for number, pause in enumerate(pauses):
        now += pause
        speed.at(now, number)
        assert speed.looks[-1][0] - speed.looks[0][0] <= RECENT + 2 * 2.0
    assert len(speed.looks) <= 110 + 2


def test_the_clock_of_another_day_says_which() -> None:
    found = look({State.QUEUED: 10**6}, recent=1.0, overall=1.0, done=10**12)
    there = AT + timedelta(seconds=10**6)
    assert f", by {there.day} Dec {there:%H:%M}" in line(found)
