"""Runs: who worked on a ledger, from where, how, on whose word, and why each ended.

Law: only what differs from the defaults is told of the options, in the words of the command line.
"""

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bulksms.config import RunSettings
from bulksms.ledger.reader import LedgerReader, Run
from bulksms.report.characters import printable

STOPS: Mapping[str, str] = {
    "interrupted": "a person interrupted it",
    "unauthorized": "the server did not take the credentials",
    "endpoint": "the server answered, but not as Adaxes would there",
    "away": "the server was away for too long",
    "failures": "too many failed",
    "doubt": "of too many it stayed unknown whether they were sent",
    "canary": "one of the first, which went alone, was not accepted",
    "deadline": "the deadline passed",
    "ledger": "the ledger could not be written",
}
"""Why a run ended early, in a person's words, by the stable word that the ledger keeps."""

FINISHED = "finished"
LIVING = "it is working now"
DIED = "without a word: it was killed, or the machine went down"

_WIDTH = 80
_NAMES = 14


@dataclass(frozen=True, slots=True)
class RunTold:
    """One run as people and machines are told of it."""

    run: Run
    is_living: bool
    options: dict[str, Any]
    """Those that are not the default, by their names in the settings."""

    @property
    def ending(self) -> str:
        """How it ended, in words."""
        if self.run.ended_at is None:
            return LIVING if self.is_living else DIED
        if self.run.stopped is None:
            return FINISHED
        return f"stopped ({self.run.stopped}): {STOPS.get(self.run.stopped, self.run.stopped)}"

    @property
    def account(self) -> str | None:
        """The account that sent; None if it was an access token."""
        account = self.run.settings.get("account")
        return None if account is None else str(account)

    @property
    def is_rehearsal(self) -> bool:
        """Whether it sent to the stand-in server only."""
        return bool(self.run.settings.get("sandbox"))

    @property
    def messages_per_second(self) -> float | None:
        """Messages that it settled a second; None until it has ended."""
        if self.run.settled is None or not self.run.elapsed_seconds:
            return None
        return round(self.run.settled / self.run.elapsed_seconds, 2)

    @property
    def settled(self) -> str:
        """How many messages it settled, in what time."""
        if self.run.settled is None or self.run.elapsed_seconds is None:
            return "not counted: it has not ended by itself"
        told = f"{self.run.settled:,} in {self.run.elapsed_seconds:,.1f} s"
        speed = self.messages_per_second
        return told if speed is None else f"{told}, {speed:,} a second"

    def flags(self) -> list[str]:
        """The options as one would write them."""
        return [_flag(name, value) for name, value in self.options.items()]

    def as_json(self) -> dict[str, Any]:
        """The documented members, in their order."""
        run = self.run
        return {
            "run": run.number,
            "started_at": run.started_at,
            "ended_at": run.ended_at,
            "is_living": self.is_living,
            "stopped": run.stopped,
            "user": run.user,
            "host": run.host,
            "process": run.process,
            "account": self.account,
            "url": run.url,
            "version": run.version,
            "options": self.options,
            "confirmed_by": run.confirmed_by,
            "elapsed_seconds": None if run.elapsed_seconds is None else round(run.elapsed_seconds, 3),
            "settled": run.settled,
            "messages_per_second": self.messages_per_second,
        }

    def facts(self) -> dict[str, str]:
        """What there is to say of it, by name; the same for the terminal and the page."""
        run = self.run
        return {
            "started": run.started_at,
            "ended": ", ".join(filter(None, (run.ended_at, self.ending))),
            "settled": self.settled,
            "by": f"{run.user} on {run.host}, process {run.process}",
            "confirmed by": run.confirmed_by,
            "sent to": run.url,
            "account": self.account or "an access token",
            "version": run.version,
            "options": " ".join(self.flags()) or "the defaults",
        }


def runs_told(reader: LedgerReader) -> list[RunTold]:
    """Every run on this ledger, the first one first."""
    runs, is_living = reader.runs(), reader.standing().is_living
    defaults = RunSettings().as_dict()
    return [
        RunTold(
            run,
            is_living and run is runs[-1] and run.ended_at is None,
            {name: value for name, value in run.settings.items() if name != "account" and value != defaults.get(name)},
        )
        for run in runs
    ]


def as_blocks(runs: Iterable[RunTold], decisions: Iterable[str] = ()) -> Iterator[str]:
    """A block a run, then what people decided, in lines of at most 80 columns, for a person's eyes."""
    between = ""
    for told in runs:
        yield f"{between}Run {told.run.number}\n"
        between = "\n"
        for name, value in told.facts().items():
            yield _filled(value, f"  {name:<{_NAMES}}", " " * (_NAMES + 2))
    if not between:
        yield "No run has worked on it yet.\n"
    heading = "\nDecided by people\n"
    for decision in decisions:
        yield heading + _filled(decision, "  ", "    ")
        heading = ""


def _filled(text: str, first: str, others: str) -> str:
    """Lines that a narrow terminal shows whole, unless one word is longer."""
    return (
        textwrap.fill(
            printable(text),
            _WIDTH,
            initial_indent=first,
            subsequent_indent=others,
            break_long_words=False,
            break_on_hyphens=False,
        )
        + "\n"
    )


def _flag(name: str, value: object) -> str:
    option = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{option}" if value else f"--no-{option}"
    if isinstance(value, Mapping):  # a deadline: a moment, or seconds from the first request
        at, after = value.get("at"), value.get("after")
        value = f"{after:g}s" if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
    return f"--{option} {value:g}" if isinstance(value, float) else f"--{option} {value}"
