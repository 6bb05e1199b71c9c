"""Times that people read are local, with the offset that the zone has at that moment."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from bulksms.cli.options.values import deadline
from bulksms.report.text import local_minute

pytestmark = pytest.mark.skipif(not hasattr(time, "tzset"), reason="the zone of a process is set on POSIX only")


@pytest.fixture
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


MOMENTS = [
    ("Europe/Berlin", "2026-11-22T18:49:30Z", "2026-11-22 19:49 +01:00"),
    ("Europe/Berlin", "2027-03-28T00:59:00Z", "2027-03-28 01:59 +01:00"),
    ("Europe/Berlin", "2027-03-28T01:00:00Z", "2027-03-28 03:00 +02:00"),
    ("America/New_York", "2026-11-01T05:30:00Z", "2026-11-01 01:30 -04:00"),
    ("America/New_York", "2026-11-01T06:30:00Z", "2026-11-01 01:30 -05:00"),
    ("Asia/Kathmandu", "2026-11-22T18:49:30Z", "2026-11-23 00:34 +05:45"),
]


@pytest.mark.parametrize(("zone", "moment", "shown"), MOMENTS, indirect=["zone"])
def test_a_moment_is_shown_as_the_clock_on_the_wall_shows_it(zone: str, moment: str, shown: str) -> None:
    assert zone
    assert local_minute(moment) == shown
    assert local_minute(datetime.fromisoformat(moment).timestamp()) == shown
    assert local_minute(datetime.fromisoformat(moment).astimezone(UTC)) == shown


@pytest.mark.parametrize("zone", ["Europe/Berlin"], indirect=True)
def test_a_deadline_in_summer_has_the_offset_of_summer(zone: str) -> None:
    assert zone
    year = datetime.now(UTC).year + 1
    for written, meant in ((f"{year}-01-15T08:00", "+01:00"), (f"{year}-07-15T08:00", "+02:00")):
        assert deadline(written).at == datetime.fromisoformat(written + meant).timestamp()
