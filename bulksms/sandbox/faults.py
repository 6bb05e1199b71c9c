r"""Faults: every way in which the simulator can treat a request, by a stable name, and which recipient meets which.

Invariants: a fault's name says whether the message went out; `PROCESSED` has those after which the phone would ring
once for each request. The plan is a function of the seed and the recipient alone, so neither the order of requests nor
concurrency changes it. The first of these that applies to a recipient decides:

1. its own entry in the plan (`recipient` in a file),
2. a marker in its name: square brackets around a comma list of fault names, as in `CN=Anna [429\,503],OU=Staff`
   (in a DN the comma is escaped), `503*3` for the same fault three times; other brackets are part of the name,
3. the shares: each takes a fraction of all recipients, chosen by the seed.

The listed faults meet the recipient's first, second, … request; every later one succeeds.

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
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Self

import msgspec

from bulksms.errors import UsageError


class Fault(StrEnum):
    """What happens to one `sendSms` request. The value is the name used in files, markers and the journal.

    Unless its description says that the message goes out, it does not.
    """

    OK = "ok"
    """No fault: the message goes out, resultType 0. A placeholder in lists."""

    # Operation results in a 200 answer.
    RESULT_FAILED = "result_failed"
    """resultType 1 with `exception.message` and no inner messages."""
    RESULT_SUSPENDED = "result_suspended"
    """resultType 2: waits for approval."""
    RESULT_WARNING = "result_warning"
    """resultType 0 with a warning two levels down; the message goes out."""
    RESULT_ERROR = "result_error"
    """resultType 0 with an inner error; the message goes out."""
    RESULT_NAMED = "result_named"
    """resultType and messageType by name instead of number, an unknown member more; the message goes out."""

    # The API's own errors: `{"message", "code"}`.
    STATUS_400 = "400"
    STATUS_401 = "401"
    STATUS_403 = "403"
    STATUS_404 = "404"
    STATUS_405 = "405"
    STATUS_408 = "408"
    STATUS_409 = "409"
    STATUS_413 = "413"
    STATUS_422 = "422"
    STATUS_425 = "425"
    STATUS_429 = "429"
    STATUS_429_RETRY_AFTER = "429_retry_after"
    """429 with `Retry-After` in seconds."""
    STATUS_429_RETRY_DATE = "429_retry_date"
    """429 with `Retry-After` as an HTTP date."""
    STATUS_500 = "500"
    STATUS_500_PROCESSED = "500_processed"
    """The message goes out, then 500."""
    STATUS_501 = "501"
    STATUS_502 = "502"
    STATUS_503 = "503"
    STATUS_503_RETRY_AFTER = "503_retry_after"
    STATUS_504 = "504"

    # Pages of a web server or proxy in front of the API.
    REDIRECT = "redirect"
    """302 to a page that answers 200."""
    REDIRECT_307 = "redirect_307"
    """307 to `sendSms` itself: a client that follows it sends again, with its token."""
    HTML_403 = "403_html"
    HTML_404 = "404_html"
    STATUS_407 = "407"
    HTML_500 = "500_html"
    HTML_502 = "502_html"
    HTML_502_PROCESSED = "502_processed"
    """The message goes out, then a proxy answers 502."""
    HTML_503 = "503_html"
    HTML_504 = "504_html"
    HTML_504_PROCESSED = "504_processed"
    """The message goes out, then a proxy answers 504."""

    # Success that cannot be read as an operation result; the message goes out.
    EMPTY_200 = "empty_200"
    HTML_200 = "html_200"
    UNREADABLE_JSON = "unreadable_json"
    WRONG_JSON_200 = "wrong_json_200"
    """JSON, but no operation result."""
    HUGE_200 = "huge_200"
    """An operation result of a megabyte."""
    STATUS_201 = "201"
    STATUS_204 = "204"

    # Slow operations.
    ACCEPTED_202 = "202"
    """202 with an operation id; completes after some polls; the message goes out."""
    ACCEPTED_202_FAILED = "202_failed"
    """202; the operation ends with resultType 1."""
    ACCEPTED_202_SUSPENDED = "202_suspended"
    """202; the operation ends with resultType 2."""
    ACCEPTED_202_NO_ID = "202_no_id"
    """202 without an operation id; the message goes out."""
    ACCEPTED_202_LOST = "202_lost"
    """202, but the server does not know the operation afterwards; the message goes out."""
    ACCEPTED_202_STUCK = "202_stuck"
    """202; the operation never completes."""
    ACCEPTED_202_POLL_TROUBLE = "202_poll_trouble"
    """202; the first poll meets 503, the next two a closed connection (aiohttp repeats a GET once by itself), then as
    `202`; the message goes out."""

    # The connection.
    DROP_BEFORE = "drop_before"
    """Closed (FIN) without an answer."""
    RESET_BEFORE = "reset_before"
    """Reset (RST) without an answer."""
    STALL_BEFORE = "stall_before"
    """Never answered until the client disconnects."""
    DROP_AFTER = "drop_after"
    """The message goes out, then closed (FIN) without an answer."""
    RESET_AFTER = "reset_after"
    """The message goes out, then reset (RST) without an answer."""
    STALL = "stall"
    """The message goes out; never answered until the client disconnects."""
    STALL_BODY = "stall_body"
    """The message goes out; the answer stops in the middle of its body, the connection stays."""
    TRUNCATED = "truncated"
    """The message goes out; the connection is closed (FIN) in the middle of the answer's body."""
    GARBAGE = "garbage"
    """The message goes out; what comes back is not HTTP."""
    DRIP = "drip"
    """The message goes out; a success comes a few bytes at a time."""
    ANSWER_THEN_CLOSE = "answer_then_close"
    """The message goes out; a success that promises to keep the connection, which is then closed."""
    SLOW = "slow"
    """The message goes out; a success after the sandbox's `slow` seconds (202 after `Adm-Wait` seconds)."""


PROCESSED = frozenset(
    {
        Fault.OK,
        Fault.RESULT_WARNING,
        Fault.RESULT_ERROR,
        Fault.RESULT_NAMED,
        Fault.STATUS_500_PROCESSED,
        Fault.HTML_502_PROCESSED,
        Fault.HTML_504_PROCESSED,
        Fault.EMPTY_200,
        Fault.HTML_200,
        Fault.UNREADABLE_JSON,
        Fault.WRONG_JSON_200,
        Fault.HUGE_200,
        Fault.STATUS_201,
        Fault.STATUS_204,
        Fault.ACCEPTED_202,
        Fault.ACCEPTED_202_NO_ID,
        Fault.ACCEPTED_202_LOST,
        Fault.ACCEPTED_202_POLL_TROUBLE,
        Fault.DROP_AFTER,
        Fault.RESET_AFTER,
        Fault.STALL,
        Fault.STALL_BODY,
        Fault.TRUNCATED,
        Fault.GARBAGE,
        Fault.DRIP,
        Fault.ANSWER_THEN_CLOSE,
        Fault.SLOW,
    }
)
"""The faults after which the message has gone out. A 202 counts from its acceptance: the server completes it
whether or not anybody polls."""


_MARKER = re.compile(r"\[([^\[\]]+)\]")
_COMMA = re.compile(r"\\?,")
_NAMES = frozenset(Fault)
_MOST_REPEATS = 1000


@dataclass(frozen=True, slots=True)
class Share:
    """A fraction of all recipients (0 to 1) and the faults of their first requests."""

    share: float
    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """Which recipient meets which faults; raises `UsageError` for impossible shares."""

    shares: tuple[Share, ...] = ()
    named: Mapping[str, tuple[Fault, ...]] = field(default_factory=lambda: MappingProxyType({}))
    seed: int = 1

    def __post_init__(self) -> None:
        if any(not 0 <= share.share <= 1 for share in self.shares):
            raise UsageError("A share of the recipients must be between 0 and 1.", hint="0.05 is one in twenty.")
        if sum(share.share for share in self.shares) > 1 + 1e-9:
            raise UsageError(
                "The shares of the faults add up to more than 1.", hint="Make them smaller; 0.05 is one in twenty."
            )

    @classmethod
    def none(cls) -> Self:
        """No faults except those in a recipient's name."""
        return cls()

    @classmethod
    def of(cls, faults: Mapping[str, Iterable[Fault | str]]) -> Self:
        """The faults of some recipients by name; the others have none."""
        return cls(named={recipient: tuple(map(Fault, listed)) for recipient, listed in faults.items()})

    @classmethod
    def by_share(cls, shares: Mapping[str, float], *, seed: int = 1) -> Self:
        """As `{"drop_after": 0.02, "429,503*2": 0.05}`: lists of faults and their fraction of all recipients."""
        return cls(tuple(Share(share, parse_faults(listed)) for listed, share in shares.items()), seed=seed)

    @classmethod
    def preset(cls) -> Self:
        """The fixed mixture of a rehearsal: two thirds succeed at once, and every kind of fault occurs."""
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
        """The plan of `--faults preset|FILE`; None if the option was not given. Raises `UsageError`."""
        if chosen is None:
            return cls.none()
        return cls.preset() if chosen == "preset" else cls.load(Path(chosen))

    @classmethod
    def load(cls, path: Path) -> Self:
        """The plan in a TOML or JSON file; raises `UsageError` if it cannot be read or understood."""
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
        """The faults of the recipient's first, second, … request; empty if there are none."""
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
            f"{part.strip()!r} has no valid number of repeats.",
            hint=f"Use a number from 1 to {_MOST_REPEATS}, as in {name}*3.",
        )
    return (Fault(name),) * int(times)


def _marked(recipient: str) -> tuple[Fault, ...]:
    """The faults in a recipient's name."""
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
