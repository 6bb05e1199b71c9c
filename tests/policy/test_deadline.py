"""Deadline: what is read as one, and what remains of it."""

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksms.model.run_settings import Deadline

NOW = datetime(2026, 11, 22, 13, 10, 30, tzinfo=timezone(timedelta(hours=1)))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("14:30", "2026-11-22T14:30+01:00"),
        (" 14:30 ", "2026-11-22T14:30+01:00"),
        ("13:11", "2026-11-22T13:11+01:00"),
        ("2026-11-22T14:30+01:00", "2026-11-22T14:30+01:00"),
        ("2026-11-22T14:30+03:00", None),
        ("2026-11-22T12:30Z", "2026-11-22T13:30+01:00"),
        ("2026-11-22T14:30", "2026-11-22T14:30+01:00"),
        ("2026-11-23", "2026-11-23T00:00+01:00"),
        ("2026-11-22 14:30:15", "2026-11-22T14:30:15+01:00"),
        ("13:10", "2026-11-23T13:10+01:00"),
        ("9:00", "2026-11-23T09:00+01:00"),
        ("2026-11-22T13:10:30+01:00", None),
        ("2025-11-22T14:30+01:00", None),
    ],
)
def test_a_moment_is_read_with_its_own_offset_or_that_of_here(text: str, moment: str | None) -> None:
    if moment is None:
        with pytest.raises(ValueError, match="has passed already"):
            Deadline.parse(text, NOW)
    else:
        assert Deadline.parse(text, NOW) == Deadline(at=datetime.fromisoformat(moment).timestamp())


BERLIN = ZoneInfo("Europe/Berlin")
SWITCHES = [
    ("2027-03-28T01:30+01:00", "06:00", "2027-03-28T06:00+02:00"),
    ("2026-11-22T13:00+01:00", "2027-05-01T08:00", "2027-05-01T08:00+02:00"),
    ("2026-10-25T01:30+02:00", "06:00", "2026-10-25T06:00+01:00"),
    ("2026-10-24T23:00+02:00", "06:00", "2026-10-25T06:00+01:00"),
    ("2027-03-27T23:00+01:00", "22:30", "2027-03-28T22:30+02:00"),
]


@pytest.mark.parametrize(("now", "text", "moment"), SWITCHES)
def test_a_local_time_has_the_offset_of_its_own_day(now: str, text: str, moment: str) -> None:
    here = datetime.fromisoformat(now)
    deadline = Deadline.parse(text, here, lambda naive: naive.replace(tzinfo=BERLIN))
    assert deadline == Deadline(at=datetime.fromisoformat(moment).timestamp())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30m", 1800), ("30min", 1800), ("90s", 90), ("2h", 7200), ("1h30m", 5400), ("1h30m15s", 5415), ("1h5s", 3605)],
)
def test_a_duration_counts_from_the_first_request(text: str, seconds: float) -> None:
    deadline = Deadline.parse(text, NOW)
    assert deadline == Deadline(after=seconds)
    assert deadline.remaining(1e12) is None
    assert deadline.begun(1_000.0) == Deadline(at=1_000.0 + seconds)
    assert deadline.begun(1_000.0).begun(5_000.0) == Deadline(at=1_000.0 + seconds), "once and for all"


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "soon", "25:00", "14:60", "90", "30 m", "m30", "-5m", "0m", "0h0s", "1.5h", "14:30:00+99:00"),
        "9" * 40 + "h",
    ],
)
def test_what_is_no_deadline_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the words are the parser's or the calendar's
        Deadline.parse(text, NOW)


def test_without_a_deadline_nothing_remains_to_be_watched() -> None:
    assert Deadline().remaining(0.0) is None
    assert Deadline().begun(5.0) == Deadline()


@given(st.floats(0, 1e10), st.floats(0, 1e10))
def test_what_remains_is_never_less_than_nothing(at: float, now: float) -> None:
    assert Deadline(at=at).remaining(now) == max(0.0, at - now)


@given(st.integers(0, 400), st.integers(0, 59), st.integers(0, 59))
def test_every_duration_is_read_back(hours: int, minutes: int, seconds: int) -> None:
    length = hours * 3600 + minutes * 60 + seconds
    if length:
        assert Deadline.parse(f"{hours}h{minutes}m{seconds}s", NOW) == Deadline(after=length)
