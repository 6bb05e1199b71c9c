"""Summary: one ledger in a few numbers, the equation that has to hold, and the exit code that describes it."""

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

from bulksms.ledger.reader import LedgerReader
from bulksms.message import State


class Exit(IntEnum):
    """The exit codes of the contract; they describe the whole ledger."""

    ALL_ACCEPTED = 0
    SOME_FAILED = 1
    USAGE = 2
    REFUSED = 3
    SOME_UNKNOWN = 4
    STOPPED = 5
    LEDGER = 6
    DEFECT = 70
    INTERRUPTED = 128 + signal.SIGINT
    TERMINATED = 128 + signal.SIGTERM


MEANINGS: Mapping[Exit, str] = {
    Exit.ALL_ACCEPTED: "all accepted",
    Exit.SOME_FAILED: "finished; some failed, expired, await approval or were bad rows",
    Exit.USAGE: "wrong usage or configuration; nothing sent",
    Exit.REFUSED: "input or plan refused, or already sent; nothing sent",
    Exit.SOME_UNKNOWN: "finished; of some it is unknown whether they were sent",
    Exit.STOPPED: "stopped early for safety; what is left stays queued (after a deadline it is expired)",
    Exit.LEDGER: "trouble with the ledger",
    Exit.DEFECT: "a defect of bulksms itself",
    Exit.INTERRUPTED: "interrupted; what is left stays queued",
    Exit.TERMINATED: "terminated; what is left stays queued",
}


@dataclass(frozen=True, slots=True)
class Summary:
    """What `--json` of send, resume and status says, and what the result table shows."""

    ledger: Path
    run: int | None
    input: str
    url: str | None
    fingerprint: str
    counts: Mapping[State, int]
    bad_rows: int
    may_have_sent_twice: int
    stopped: str | None
    elapsed_seconds: float | None
    settled: int | None = None
    """Messages that the run settled, for its speed."""
    is_living: bool = False

    @property
    def total(self) -> int:
        """All messages of the plan."""
        return sum(self.counts.values())

    @property
    def messages_per_second(self) -> float | None:
        """Settled messages a second of the run; None if no run is told of."""
        if self.settled is None or not self.elapsed_seconds:
            return None
        return round(self.settled / self.elapsed_seconds, 2)

    @property
    def exit_code(self) -> Exit:
        """The code that describes the whole ledger: of several the first of 6, 130, 5, 4, 1, 0."""
        if self.stopped == "ledger":
            return Exit.LEDGER
        if self.stopped == "interrupted":
            return Exit.INTERRUPTED
        if self.stopped is not None:
            return Exit.STOPPED
        if self.counts[State.UNKNOWN]:
            return Exit.SOME_UNKNOWN
        lacking = sum(self.counts[state] for state in (State.FAILED, State.EXPIRED, State.AWAITING_APPROVAL))
        return Exit.SOME_FAILED if lacking or self.bad_rows else Exit.ALL_ACCEPTED

    def equation(self) -> str:
        """`total = accepted + …`, without the states in which nothing stands."""
        parts = [f"{count:,} {state}" for state, count in self.counts.items() if count]
        return f"{self.total:,} = {' + '.join(parts) if parts else '0'}"

    def as_json(self) -> dict[str, Any]:
        """The documented members, in their order."""
        return {
            "ledger": str(self.ledger),
            "run": self.run,
            "input": self.input,
            "url": self.url,
            "fingerprint": self.fingerprint,
            "total": self.total,
            "counts": {state.value: self.counts[state] for state in State},
            "may_have_sent_twice": self.may_have_sent_twice,
            "stopped": self.stopped,
            "elapsed_seconds": None if self.elapsed_seconds is None else round(self.elapsed_seconds, 3),
            "messages_per_second": self.messages_per_second,
        }


def summarise(reader: LedgerReader) -> Summary:
    """How a ledger stands, by its counters and its last run."""
    plan, runs, standing = reader.plan(), reader.runs(), reader.standing()
    last = runs[-1] if runs else None
    return Summary(
        ledger=reader.path,
        run=last.number if last else None,
        input=plan.input,
        url=plan.url,
        fingerprint=plan.fingerprint,
        counts=standing.counts,
        bad_rows=int(plan.summary.get("bad_rows", 0)),
        may_have_sent_twice=standing.may_have_sent_twice,
        stopped=last.stopped if last else None,
        elapsed_seconds=last.elapsed_seconds if last else None,
        settled=last.settled if last else None,
        is_living=standing.is_living,
    )


def status(ledger: Path) -> Summary:
    """How a ledger stands, also beside a living run. Raises LedgerTrouble if it cannot be read."""
    with LedgerReader(ledger) as reader:
        return summarise(reader)


def checked_status(ledger: Path) -> Summary:
    """How a ledger stands after a run, with its counters held against its rows. Raises LedgerTrouble if they differ."""
    with LedgerReader(ledger) as reader:
        reader.check_counters()
        return summarise(reader)
