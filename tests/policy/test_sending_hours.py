"""Sending hours: by the rules of the zone, over midnight, and on the days when summer time begins or ends."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bulksms.model.run_settings import SendingHours

BERLIN = ZoneInfo("Europe/Berlin")


def in_berlin(at: datetime) -> datetime:
    return at.replace(tzinfo=BERLIN) if at.tzinfo is None else at.astimezone(BERLIN)


def at(text: str) -> datetime:
    return in_berlin(datetime.fromisoformat(text))


def utc(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M}"


@pytest.mark.parametrize(
    ("hours", "now", "closing", "opening"),
    [
        ("08:00-20:00", "2026-11-29T08:00", "2026-11-29T19:00", "2026-11-30T07:00"),
        ("08:00-20:00", "2026-11-29T19:59", "2026-11-29T19:00", "2026-11-30T07:00"),
        ("08:00-20:00", "2026-11-29T20:00", None, "2026-11-30T07:00"),
        ("8:00 - 20:00", "2026-11-29T07:59", None, "2026-11-29T07:00"),
        ("22:00-06:00", "2026-11-29T23:00", "2026-11-30T05:00", "2026-11-30T21:00"),
        ("22:00-06:00", "2026-11-30T05:59", "2026-11-30T05:00", "2026-11-30T21:00"),
        ("22:00-06:00", "2026-11-30T06:00", None, "2026-11-30T21:00"),
        ("08:00-24:00", "2026-11-29T23:59", "2026-11-29T23:00", "2026-11-30T07:00"),
        # Summer time begins on 2027-03-28 and ends on 2026-10-25.
        ("01:00-06:00", "2027-03-28T01:30", "2027-03-28T04:00", "2027-03-28T23:00"),
        ("01:00-06:00", "2026-10-25T01:30", "2026-10-25T05:00", "2026-10-26T00:00"),
        ("22:00-08:00", "2026-10-24T23:00", "2026-10-25T07:00", "2026-10-25T21:00"),
    ],
)
def test_hours_follow_the_zone(hours: str, now: str, closing: str | None, opening: str) -> None:
    known = SendingHours.parse(hours)
    assert utc(known.closing(at(now), in_berlin)) == closing
    assert utc(known.opening(at(now), in_berlin)) == opening


@pytest.mark.parametrize("text", ["", "8-20", "08:00", "08:00-08:00", "25:00-26:00", "08:60-09:00", "08:00-24:01", "x"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        SendingHours.parse(text)


times = st.times().map(lambda moment: moment.replace(second=0, microsecond=0, fold=0))


moments = st.integers(0, 4_000_000_000).map(lambda at: datetime.fromtimestamp(at, UTC))


@given(times, times, moments)
def test_hours_end_before_they_begin_again(opens: time, closes: time, now: datetime) -> None:
    assume(opens != closes)
    hours = SendingHours(opens, closes)
    assert SendingHours.parse(str(hours)) == hours
    closing = hours.closing(now, lambda at: at.replace(tzinfo=UTC))
    opening = hours.opening(now, lambda at: at.replace(tzinfo=UTC))
    assert now < opening <= now + timedelta(days=1)
    assert closing is None or now < closing <= opening
