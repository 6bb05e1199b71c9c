r"""FaultPlan: which recipient meets which faults.

Law: the plan is a function of the seed and the recipient alone, so neither the order of requests nor how many run
at once changes it. The first of these that speaks of a recipient decides:

1. its own entry in the plan (`recipient` in a file),
2. a marker in its name: square brackets around a comma list of fault names, as in `CN=Anna [429\,503],OU=Staff`
   (in a DN the comma is escaped), `503*3` for the same three times; brackets that hold anything else are a name,
3. the shares: each takes its part of all recipients, chosen by the seed.

The listed faults meet the recipient's first, second, … request; every later one is treated well.

A file is TOML or JSON:

    seed = 7
    [[rules]]
    share = 0.05                     # of all recipients
    faults = ["429_retry_after", "503*2"]
    [[rules]]
    recipient = "CN=Anna Berg,OU=Staff,DC=example,DC=com"
    faults = "drop_after"
"""

import difflib
import hashlib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Self

import msgspec

from bulksms.errors import UsageError
from bulksms.sandbox.fault import Fault

_MARKER = re.compile(r"\[([^\[\]]+)\]")
_COMMA = re.compile(r"\\?,")
_NAMES = frozenset(Fault)
_MOST_REPEATS = 1000


@dataclass(frozen=True, slots=True)
class Share:
    """A part of all recipients (0 to 1) and what their first requests meet."""

    share: float
    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """Which recipient meets which faults; raises `UsageError` for shares that cannot be."""

    shares: tuple[Share, ...] = ()
    named: Mapping[str, tuple[Fault, ...]] = field(default_factory=lambda: MappingProxyType({}))
    seed: int = 1

    def __post_init__(self) -> None:
        if any(not 0 <= share.share <= 1 for share in self.shares):
            raise UsageError("A share of the recipients lies between 0 and 1.", hint="0.05 is one in twenty.")
        if sum(share.share for share in self.shares) > 1 + 1e-9:
            raise UsageError(
                "The shares of the faults add up to more than 1.", hint="Make them smaller; 0.05 is one in twenty."
            )

    @classmethod
    def none(cls) -> Self:
        """No faults but those that a recipient's name asks for."""
        return cls()

    @classmethod
    def of(cls, faults: Mapping[str, Iterable[Fault | str]]) -> Self:
        """The faults of some recipients by name; the others have none."""
        return cls(named={recipient: tuple(map(Fault, listed)) for recipient, listed in faults.items()})

    @classmethod
    def by_share(cls, shares: Mapping[str, float], *, seed: int = 1) -> Self:
        """As `{"drop_after": 0.02, "429,503*2": 0.05}`: lists of faults and their part of all recipients."""
        return cls(tuple(Share(share, parse_faults(listed)) for listed, share in shares.items()), seed=seed)

    @classmethod
    def preset(cls) -> Self:
        """The fixed mixture of a rehearsal: two thirds go well at once, each kind of trouble is met by some."""
        return cls.by_share(
            {
                "429_retry_after": 0.04,
                "503": 0.05,
                "503_html,429_retry_after": 0.02,
                "500": 0.02,
                "404": 0.03,
                "result_failed": 0.03,
                "result_suspended": 0.03,
                "result_warning": 0.04,
                "202": 0.06,
                "drop_after": 0.02,
                "504_processed": 0.01,
            }
        )

    @classmethod
    def from_option(cls, chosen: str | None) -> Self:
        """The plan of an option `--faults preset|FILE`; None for the option left out. Raises `UsageError`."""
        if chosen is None:
            return cls.none()
        return cls.preset() if chosen == "preset" else cls.load(Path(chosen))

    @classmethod
    def load(cls, path: Path) -> Self:
        """The plan in a TOML or JSON file; raises `UsageError` for one that cannot be read or understood."""
        rules = _read(path)
        shares, named = [], {}
        for rule in rules.rules:
            faults = _parse_listed(rule.faults)
            if (rule.share is None) == (rule.recipient is None):
                raise UsageError(
                    f"A rule of {path.name} needs either a share or a recipient.", hint="Give it one of the two."
                )
            if rule.recipient is not None:
                named[rule.recipient] = faults
            elif rule.share is not None:
                shares.append(Share(rule.share, faults))
        return cls(tuple(shares), named, rules.seed)

    def script(self, recipient: str) -> tuple[Fault, ...]:
        """What the recipient's first, second, … request meets; empty if all is well."""
        if self.named and recipient in self.named:
            return self.named[recipient]
        if "[" in recipient and (marked := _marked(recipient)):
            return marked
        if not self.shares:
            return ()
        drawn = self._draw(recipient)
        for share in self.shares:
            if drawn < share.share:
                return share.faults
            drawn -= share.share
        return ()

    def _draw(self, recipient: str) -> float:
        """A number in [0, 1) that depends on the seed and the recipient alone."""
        drawn = hashlib.blake2b(f"{self.seed}:{recipient}".encode("utf-8", "surrogatepass"), digest_size=8)
        return (int.from_bytes(drawn.digest()) >> 11) / (1 << 53)


class _Rule(msgspec.Struct, forbid_unknown_fields=True):
    faults: str | list[str]
    share: float | None = None
    recipient: str | None = None


class _Rules(msgspec.Struct, forbid_unknown_fields=True):
    rules: list[_Rule]
    seed: int = 1


def parse_faults(listed: str) -> tuple[Fault, ...]:
    """The faults of a comma list such as `429,503*2`; raises `UsageError` naming the nearest fault."""
    return tuple(fault for part in _COMMA.split(listed) for fault in _repeated(part))


def _parse_listed(listed: str | list[str]) -> tuple[Fault, ...]:
    return parse_faults(listed if isinstance(listed, str) else ",".join(listed)) if listed else ()


def _repeated(part: str) -> tuple[Fault, ...]:
    name, star, times = part.strip().partition("*")
    if name not in _NAMES:
        near = difflib.get_close_matches(name, _NAMES, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"The faults are: {', '.join(Fault)}."
        raise UsageError(f"There is no fault named {name!r}.", hint=hint)
    if not star:
        return (Fault(name),)
    if not (times.isdecimal() and 1 <= int(times) <= _MOST_REPEATS):
        raise UsageError(
            f"{part.strip()!r} does not say how often.", hint=f"A number from 1 to {_MOST_REPEATS}, as in {name}*3."
        )
    return (Fault(name),) * int(times)


def _marked(recipient: str) -> tuple[Fault, ...]:
    """The faults that a recipient's name asks for."""
    for marker in _MARKER.findall(recipient):
        try:
            return parse_faults(marker)
        except UsageError:
            continue  # brackets may also belong to a name
    return ()


def _read(path: Path) -> _Rules:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"The faults file {path} cannot be read: {error.strerror or error}.",
            hint="Give the name of a TOML or JSON file, or `preset`.",
        ) from error
    try:
        loaded = msgspec.json.decode(raw) if path.suffix.lower() == ".json" else tomllib.loads(raw.decode())
        return msgspec.convert(loaded, _Rules)
    except (msgspec.MsgspecError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(
            f"The faults file {path} is not understood: {error}",
            hint="It holds `rules`, each with `faults` (names) and either a `share` (0 to 1) or a `recipient`.",
        ) from error
