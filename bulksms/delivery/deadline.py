"""Deadline: the moment after which nothing new begins.

Law: it is a wall clock's moment, kept absolute as soon as it is known; a duration counts from the first request.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?:in)?)?(?:(\d+)s)?")
_TIME_OF_DAY = re.compile(r"(\d{1,2}):(\d{2})")


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment (POSIX seconds), or a duration (seconds) until the first request has made one of it, or none."""

    at: float | None = None
    after: float | None = None

    @classmethod
    def parse(cls, text: str, now: datetime) -> "Deadline":
        """`14:30` today, `2026-11-22T14:30+01:00` (without an offset: `now`'s), `30m`, `1h30m`, `90s`.

        Raises ValueError for what is none of these, and for a moment that has passed.
        """
        words = text.strip()
        duration = _DURATION.fullmatch(words)
        if words and duration is not None:
            return cls(after=_seconds(text, *(int(part or 0) for part in duration.groups())))
        if (clock := _TIME_OF_DAY.fullmatch(words)) is not None:
            moment = now.replace(hour=int(clock[1]), minute=int(clock[2]), second=0, microsecond=0)
        else:
            moment = datetime.fromisoformat(words)
            moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=now.tzinfo)
        if moment <= now:
            raise ValueError(f"{text!r} has passed already")
        return cls(at=moment.timestamp())

    def begun(self, now: float) -> "Deadline":
        """The first request leaves now: what was a duration is a moment from here on."""
        return self if self.at is not None or self.after is None else Deadline(at=now + self.after)

    def remaining(self, now: float) -> float | None:
        """Seconds until it passes, 0 when it has; None if there is none yet."""
        return None if self.at is None else max(0.0, self.at - now)


def _seconds(text: str, hours: int, minutes: int, seconds: int) -> float:
    """Raises ValueError for a duration of nothing, or of more than a calendar holds."""
    try:
        duration = timedelta(hours=hours, minutes=minutes, seconds=seconds).total_seconds()
    except OverflowError as error:
        raise ValueError(f"{text!r} is too long") from error
    if not duration:
        raise ValueError(f"{text!r} leaves no time")
    return duration
