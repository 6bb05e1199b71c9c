"""Weather: what the server at the other end does in a night, as a seed chooses it."""

import random
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from tests.simulation.choices import Choices


class Fate(StrEnum):
    """What the server does with a request."""

    OK = "200"
    WARNING = "200 with a warning"
    LATE = "200 after the time-out"
    REJECTED = "resultType 1"
    SUSPENDED = "resultType 2"
    S400 = "400"
    S403 = "403"
    S404 = "404"
    S409 = "409"
    S413 = "413"
    S418 = "418"
    S422 = "422"
    PAGE_403 = "403 with a page"
    S401 = "401"
    S405 = "405"
    S302 = "302"
    S407 = "407"
    S501 = "501"
    S408 = "408"
    S425 = "425"
    S429 = "429"
    S429_AFTER = "429 Retry-After"
    S503 = "503"
    S503_AFTER = "503 Retry-After"
    S500 = "500"
    S502 = "502"
    S504 = "504"
    DROP_BEFORE = "closed before it was processed"
    DROP_AFTER = "closed after it was processed"
    RESET = "reset at any byte of the answer"
    CUT = "cut off in the body"
    GARBAGE = "garbage"
    EMPTY = "200 without a body"
    OTHER_JSON = "200 with other JSON"
    S201 = "201"
    S204 = "204"
    NO_ID = "202 without an id"
    PAGE = "200 with a page"
    HANG = "never answered"
    TWICE = "answered twice"
    UNASKED = "200, then a 408 that nobody asked for"
    CONTINUES = "1xx, then 200"
    OPERATION = "202, succeeds"
    OPERATION_FAILED = "202, fails"
    OPERATION_SUSPENDED = "202, is suspended"
    OPERATION_LOST = "202, forgotten"
    OPERATION_STUCK = "202, never completes"
    OPERATION_TROUBLE = "202, polls fail for a while"


class Outage(StrEnum):
    """How nobody is there."""

    DOWN = "goes down"
    """Connections are reset, and new ones refused."""
    POWER = "loses its power"
    """Connections stay open on the other side, and nothing comes any more."""
    NAMELESS = "has no name"
    """Its name cannot be resolved."""


F = Fate
NEVER_PROCESSED = frozenset(
    {
        *(F.REJECTED, F.SUSPENDED, F.S400, F.S403, F.S404, F.S409, F.S413, F.S418, F.S422, F.PAGE_403),
        *(F.S401, F.S405, F.S302, F.S407, F.S501, F.S408, F.S425, F.S429, F.S429_AFTER, F.S503, F.S503_AFTER),
        *(F.DROP_BEFORE, F.OPERATION_FAILED, F.OPERATION_SUSPENDED),
    }
)
PERHAPS_PROCESSED = frozenset(
    {F.S500, F.S502, F.S504, F.RESET, F.GARBAGE, F.PAGE, F.EMPTY, F.OTHER_JSON, F.HANG}
    | {F.OPERATION_LOST, F.OPERATION_STUCK}
)
OPERATIONS = frozenset(
    {
        *(F.OPERATION, F.OPERATION_FAILED, F.OPERATION_SUSPENDED),
        *(F.OPERATION_LOST, F.OPERATION_STUCK, F.OPERATION_TROUBLE),
    }
)
FOR_EVERYBODY = frozenset({F.S405, F.S302, F.S401, F.S407, F.S501})
"""They stop a run; rare, or there is nothing else to see."""
PERSONAL: tuple[Fate, ...] = tuple(fate for fate in Fate if fate not in FOR_EVERYBODY and fate is not Fate.OK)
EVERYBODYS = (F.S503, F.S429, F.S502, F.S500, F.S504, F.HANG, F.DROP_AFTER, F.PAGE, F.PAGE_403, F.S503_AFTER)
FOREVER = 20
"""As many requests as anybody makes for one recipient."""


class Storm(NamedTuple):
    """Trouble for everybody for a while, in seconds of the night."""

    begin: float
    end: float
    what: Fate | Outage


@dataclass
class Weather:
    """What the server does in a night."""

    chance: random.Random
    latency: tuple[float, float] = (0.001, 0.01)
    palette: list[Fate] = field(default_factory=list)
    share: float = 0.1
    """Of the requests that get a fate of the palette."""
    scripts: dict[str, list[Fate]] = field(default_factory=dict)
    """The fates of some recipients, one request after another."""
    storms: list[Storm] = field(default_factory=list)
    retry_after: float = 1.0
    polls: int = 1
    token_seconds: float | None = None
    """How long a token is good; None: one that never expires was given to the run."""
    log_in_trouble: float = 0.0
    """The share of log-ins that meet a 503."""
    at_once: int | None = None
    """Requests that are worked on at once: the others wait in a queue."""
    per_second: int | None = None
    """Requests a second that are taken: the others get a 429."""
    slow_start: float = 0.0
    """Seconds for which it is ten times slower after it came up."""
    is_calm: bool = False

    def fate(self, now: float, recipient: str) -> Fate:
        """What happens to this request."""
        if self.is_calm:
            return Fate.OK
        for storm in self.storms:
            if storm.begin <= now < storm.end and isinstance(storm.what, Fate) and self.chance.random() < 0.95:
                return storm.what
        if script := self.scripts.get(recipient):
            return script.pop(0)
        if self.palette and self.chance.random() < self.share:
            return self.chance.choice(self.palette)
        return Fate.OK

    def until_calm(self) -> None:
        """From now on everything works at once."""
        self.is_calm = True
        self.latency = min(self.latency, (0.05, 0.5))
        if self.token_seconds is not None:
            self.token_seconds = 1_800.0
        self.log_in_trouble, self.at_once, self.per_second, self.slow_start = 0.0, None, None, 0.0


def weather_of(choices: Choices, recipients: list[str]) -> Weather:
    """What the seed chooses."""
    palette: list[Fate] = choices.some("palette", PERSONAL, [0, 1, 3, 6, len(PERSONAL)])
    if choices.happens("a fate that stops a run", 0.05):
        palette.append(choices.of("which fate", tuple(sorted(FOR_EVERYBODY))))
    storms = [storm for number in range(2) if (storm := _storm(choices, number)) is not None]
    if choices.happens("a long storm of 500", 0.03):
        storms.append(Storm(0.0, 600.0, Fate.S500))
    return Weather(
        chance=choices.chance("server"),
        latency=choices.of("latency of the server", ((0.001, 0.01), (0.05, 0.5), (0.2, 3.0))),
        palette=palette,
        share=choices.of("share of the palette", (0.02, 0.1, 0.3)),
        scripts=_scripts(choices, recipients),
        storms=storms,
        retry_after=choices.of("Retry-After", (0.0, 1.0, 30.0)),
        polls=choices.of("polls", (1, 2, 5)),
        token_seconds=choices.of("life of a token", (0.0, 0.0, 3.0, 20.0)) or None,
        log_in_trouble=choices.of("trouble with log-ins", (0.0, 0.0, 0.3)),
        at_once=choices.of("requests at once", (0, 0, 0, 2, 6)) or None,
        per_second=choices.of("requests a second", (0, 0, 0, 4, 15)) or None,
        slow_start=choices.of("slow start", (0.0, 0.0, 5.0)),
    )


def _scripts(choices: Choices, recipients: list[str]) -> dict[str, list[Fate]]:
    """Fates of some recipients: one after another, or the same for ever."""
    scripts: dict[str, list[Fate]] = {}
    kinds = ("good",) * 14 + ("a few", "a few", "the same")
    for recipient in recipients:
        name = f"fates of {recipient}"
        kind = choices.of(name, kinds)
        if kind == "a few":
            chance = choices.chance(f"{name}, which")
            scripts[recipient] = chance.choices(PERSONAL, k=chance.randint(1, 4))
        elif kind == "the same":
            scripts[recipient] = [choices.chance(f"{name}, which").choice(PERSONAL)] * FOREVER
    return scripts


def _storm(choices: Choices, number: int) -> Storm | None:
    name = f"storm {number}"
    if not choices.happens(name, 0.4):
        return None
    chance = choices.chance(f"{name}, when")
    begin = chance.uniform(0.0, 20.0)
    what = choices.of(f"{name}, what", (Fate.S503, *Outage, *Outage, *EVERYBODYS))
    return Storm(begin, begin + chance.expovariate(1 / 15.0), what)
