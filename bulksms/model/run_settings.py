"""The settings of a run: one frozen object, each default with its reason; and the words for how a run sends and stops.

A deadline is a moment of the wall clock, absolute as soon as it is known; a duration counts from the first request.
Sending hours are local time by the rules of its zone.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from enum import StrEnum
from typing import Any, Self

Localize = Callable[[datetime], datetime]
"""Gives a time without a zone the local zone, with the offset that the zone's rules have for it then."""
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?:in)?)?(?:(\d+)s)?")
_HOURS = re.compile(r"(\d{1,2}):(\d{2})\s*[-\u2013]\s*(\d{1,2}):(\d{2})", re.ASCII)
_TIME_OF_DAY = re.compile(r"(\d{1,2}):(\d{2})")


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment (POSIX seconds), a duration (seconds) that the first request turns into a moment, or neither."""

    at: float | None = None
    after: float | None = None

    @classmethod
    def parse(cls, text: str, now: datetime, localize: Localize | None = None) -> "Deadline":
        """`30m`, `1h30m`, `90s`, or a moment as `parse_moment` reads it. Raises ValueError as that does."""
        words = text.strip()
        duration = _DURATION.fullmatch(words)
        if words and duration is not None:
            return cls(after=_seconds(text, *(int(part or 0) for part in duration.groups())))
        return cls(at=parse_moment(words, now, localize).timestamp())

    def begun(self, now: float) -> "Deadline":
        """The same deadline once the first request leaves: a duration becomes a moment."""
        return self if self.at is not None or self.after is None else Deadline(at=now + self.after)

    def remaining(self, now: float) -> float | None:
        """Seconds until it passes, 0 if it has passed; None if there is no moment yet."""
        return None if self.at is None else max(0.0, self.at - now)


def parse_moment(text: str, now: datetime, localize: Localize | None = None) -> datetime:
    """The next `14:30`, or `2026-11-22T14:30+01:00`; without an offset it is local.

    `localize` knows the offset on both sides of a switch of summer time; without it that of `now` holds. Raises
    ValueError for any other text, and for a date that has passed.
    """
    local = localize or (lambda naive: naive.replace(tzinfo=now.tzinfo))
    words = text.strip()
    if (clock := _TIME_OF_DAY.fullmatch(words)) is not None:
        today = now.replace(tzinfo=None, hour=int(clock[1]), minute=int(clock[2]), second=0, microsecond=0)
        moment = local(today)
        return moment if moment > now else local(today + timedelta(days=1))
    moment = datetime.fromisoformat(words)
    moment = moment if moment.tzinfo is not None else local(moment)
    if moment <= now:
        raise ValueError(f"{text!r} has passed already")
    return moment


def _seconds(text: str, hours: int, minutes: int, seconds: int) -> float:
    """Raises ValueError for a duration of zero, or of more than a calendar holds."""
    try:
        duration = timedelta(hours=hours, minutes=minutes, seconds=seconds).total_seconds()
    except OverflowError as error:
        raise ValueError(f"{text!r} is too long") from error
    if not duration:
        raise ValueError(f"{text!r} leaves no time")
    return duration


@dataclass(frozen=True, slots=True)
class SendingHours:
    """From `opens` until `closes`, which is on the next day if it is no later: `22:00-06:00`."""

    opens: time
    closes: time

    @classmethod
    def parse(cls, text: str) -> Self:
        """`08:00-20:00`. Raises ValueError for any other text, and for hours that never close."""
        found = _HOURS.fullmatch(text.strip())
        if found is None:
            raise ValueError(f"{text!r} is no range of hours such as 08:00-20:00")
        opens, closes = time(int(found[1]), int(found[2])), time(int(found[3]) % 24, int(found[4]))
        if int(found[3]) > 24 or (int(found[3]) == 24 and int(found[4])):
            raise ValueError(f"{text!r} has an hour after 24:00")
        if opens == closes:
            raise ValueError(f"{text!r} leaves no time")
        return cls(opens, closes)

    def __str__(self) -> str:
        """`08:00-20:00`."""
        return f"{self.opens:%H:%M}-{self.closes:%H:%M}"

    def closing(self, now: datetime, localize: Localize) -> datetime | None:
        """When the hours that hold now end; None outside of them."""
        for day in (-1, 0):
            opens, closes = self._of(now, day, localize)
            if opens <= now < closes:
                return closes
        return None

    def opening(self, now: datetime, localize: Localize) -> datetime:
        """When the next hours begin after now."""
        return next(opens for day in (0, 1, 2) if (opens := self._of(now, day, localize)[0]) > now)

    def _of(self, now: datetime, day: int, localize: Localize) -> tuple[datetime, datetime]:
        """The hours that begin so many days after today."""
        date = now.date() + timedelta(days=day)
        ends = date if self.closes > self.opens else date + timedelta(days=1)
        return localize(datetime.combine(date, self.opens)), localize(datetime.combine(ends, self.closes))


class DeliveryMode(StrEnum):
    """What may be sent again (`--delivery`). The values are part of the public contract."""

    AT_MOST_ONCE = "at-most-once"
    BALANCED = "balanced"
    AT_LEAST_ONCE = "at-least-once"


class StopReason(StrEnum):
    """Why a run ended before its work was done. The values are part of the public contract."""

    INTERRUPTED = "interrupted"
    UNAUTHORIZED = "unauthorized"
    WRONG_ENDPOINT = "wrong_endpoint"
    SERVER_UNAVAILABLE = "server_unavailable"
    TOO_MANY_FAILURES = "too_many_failures"
    TOO_MANY_UNKNOWN = "too_many_unknown"
    CANARY_FAILED = "canary_failed"
    DEADLINE = "deadline"
    OUTSIDE_HOURS = "outside_hours"
    LEDGER_ERROR = "ledger_error"
    INTERNAL_ERROR = "internal_error"


@dataclass(frozen=True, slots=True)
class Timings:
    """Waits in seconds, each with its reason."""

    backoff_base: float = 0.5
    """The longest wait after a first attempt; it doubles with every further one."""
    backoff_cap: float = 30.0
    """The longest wait between two attempts: with five attempts half a minute of trying at most."""
    attempt_spacing: float = 5.0
    """Between two failures that count against a recipient while nobody else is taken: five of them take twenty seconds
    at least, and an outage that the breaker has not seen yet costs nobody more than one try."""
    first_probe_pause: float = 0.5
    """Before the first probe of a server that is away."""
    unknown_pause: float = 1.0
    """After several unknown messages, before a probe."""
    first_poll: float = 0.5
    """From the 202 to the first poll: most operations take a second or two."""
    poll_growth: float = 1.5
    """Each pause between two polls is so many times the one before."""
    watch_interval: float = 0.3
    """Between two looks at the ledger, and for a command of another shell; the writer looks every half second."""
    longest_poll_pause: float = 10.0
    """The longest pause between two polls of one operation."""

    def poll_pause(self, polls: int) -> float:
        """Seconds until the next poll of an operation that was polled so many times."""
        return min(self.longest_poll_pause, self.first_poll * self.poll_growth ** min(polls, 32))


TIMINGS = Timings()
"""Those of every run but a test's."""


NO_DEADLINE = Deadline()
AUTO_WORKERS = 64
"""`--workers auto`: a run finds how many concurrent requests the server takes, and goes no higher than this. A send
takes 0.2 to 2 s, so this is 32 to 320 messages a second; and fewer in flight are fewer unknown after a crash."""
FIXED_WORKERS = 16
"""`--no-adapt` without a number."""


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How a run sends. The ledger keeps the settings that a run was started with, and `resume` uses them again."""

    workers: int = AUTO_WORKERS
    """Concurrent requests, at most."""
    timeout: float = 30.0
    """Seconds for connecting, and again for the whole answer: the server works through business rules before it."""
    server_wait: int | None = None
    """Seconds of the `Adm-Wait` header; None is 0.8 of the time-out, less than 2 turns it off."""
    max_attempts: int = 5
    """Attempts for each message: with full jitter that is up to half a minute."""
    delivery: DeliveryMode = DeliveryMode.BALANCED
    """What may be sent again."""
    adapt: bool = True
    """Find how many concurrent requests bring the most throughput; without it there are always `workers`."""
    rate: float | None = None
    """Messages a second; None is no limit but the workers."""
    max_failures: str | None = None
    """`N` or `N%`: failed messages, or the share of the last 50, that stop the run; None is no limit."""
    keep_going: bool = False
    """Continue although many messages in a row are rejected in the same words."""
    max_outage: float = 600.0
    """Seconds that a server may be unavailable before the run stops: an IIS restart takes one or two minutes."""
    canary: int | None = None
    """Send that many messages one at a time first, and continue only if all were accepted."""
    test_to: str | None = None
    """The operator's own object, which gets the first text before anybody else."""
    deadline: Deadline = NO_DEADLINE
    """After it no message is begun."""
    hours: str | None = None
    """The hours of the day in which messages are begun, such as `08:00-20:00`; None is any time."""
    poll_timeout: float = 600.0
    """Seconds after which an operation that is still incomplete counts as lost."""

    @property
    def adm_wait(self) -> int | None:
        """The `Adm-Wait` header in whole seconds: a little less than the time-out, so that the 202 still arrives."""
        wait = int(self.timeout * 0.8) if self.server_wait is None else self.server_wait
        return wait if wait >= 2 else None

    def as_dict(self) -> dict[str, Any]:
        """The settings as plain values, for the ledger."""
        return dataclasses.asdict(self)

    def changed(self, values: Mapping[str, Any]) -> Self:
        """The same settings with these values changed; other names are ignored."""
        known = {field.name for field in dataclasses.fields(self)}
        changes = {name: value for name, value in values.items() if name in known and value is not None}
        if "delivery" in changes:
            changes["delivery"] = DeliveryMode(changes["delivery"])
        if isinstance(deadline := changes.get("deadline"), Mapping):
            changes["deadline"] = Deadline(**deadline)
        return dataclasses.replace(self, **changes)
