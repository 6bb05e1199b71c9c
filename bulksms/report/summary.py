"""Summary: one ledger in a few numbers, the equation that has to hold, its exit code, and what to do next.

Invariants of the next steps: nothing is suggested that would send a message to somebody who may have it already. While
messages are queued there is one thing to do, to go on; what became of the others is settled once, when all have been
tried.
"""

import re
import signal
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import NamedTuple

from bulksms.errors import BulksmsError, InputError, LedgerError, PlanError, ServerError, UsageError
from bulksms.ledger import LedgerName, LedgerReader, MachineRecord, file_beside, free_beside, open_ledger
from bulksms.model.message import Reason, State
from bulksms.model.run_settings import StopReason
from bulksms.report import shapes


class ExitCode(IntEnum):
    """The exit codes of the contract; they describe the whole ledger."""

    ALL_ACCEPTED = 0
    SOME_FAILED = 1
    USAGE = 2
    REFUSED = 3
    SOME_UNKNOWN = 4
    STOPPED = 5
    LEDGER = 6
    INTERNAL_ERROR = 70
    INTERRUPTED = 128 + signal.SIGINT
    TERMINATED = 128 + signal.SIGTERM


MEANINGS: Mapping[ExitCode, str] = {
    ExitCode.ALL_ACCEPTED: "all accepted",
    ExitCode.SOME_FAILED: "finished; some failed, expired, await approval or were bad rows",
    ExitCode.USAGE: "wrong usage or configuration; nothing sent",
    ExitCode.REFUSED: "input or plan refused, or already sent; nothing sent",
    ExitCode.SOME_UNKNOWN: "finished; the outcome of some messages is unknown",
    ExitCode.STOPPED: "stopped early for safety; what is left stays queued (after a deadline it is expired)",
    ExitCode.LEDGER: "trouble with the ledger",
    ExitCode.INTERNAL_ERROR: "an internal error of bulksms",
    ExitCode.INTERRUPTED: "interrupted; what is left stays queued",
    ExitCode.TERMINATED: "terminated; what is left stays queued",
}


ERROR_EXITS: Mapping[type[BulksmsError], ExitCode] = {
    UsageError: ExitCode.USAGE,
    InputError: ExitCode.REFUSED,
    PlanError: ExitCode.REFUSED,
    LedgerError: ExitCode.LEDGER,
    ServerError: ExitCode.STOPPED,
}


def error_exit(error: BulksmsError) -> ExitCode:
    """The exit code of a command that ends with this error."""
    return next(code for kind, code in ERROR_EXITS.items() if isinstance(error, kind))


@dataclass(frozen=True, slots=True)
class Summary:
    """What `--json` of send, resume and status says, and what the result table shows."""

    ledger: LedgerName
    run: int | None
    input: str
    url: str | None
    fingerprint: str
    counts: Mapping[State, int]
    bad_rows: int
    possible_duplicate: int
    stopped: str | None
    elapsed_seconds: float | None
    settled: int | None = None
    """Messages that the run settled, for its speed."""
    is_living: bool = False
    is_rehearsal: bool = False
    """Whether the last run sent to the simulator only."""
    reasons: tuple[tuple[State, str | None, int], ...] = ()
    """After a run: its messages by state and reason, as `LedgerReader.reasons` counts them."""
    machines: tuple[MachineRecord, ...] = ()
    awaits_approval: bool = False
    """Whether another account has to approve the plan before anything of it is sent."""

    @property
    def total(self) -> int:
        """All messages of the plan."""
        return sum(self.counts.values())

    @property
    def messages_per_second(self) -> float | None:
        """Settled messages a second of the run; None if no run is reported."""
        if self.settled is None or not self.elapsed_seconds:
            return None
        return round(self.settled / self.elapsed_seconds, 2)

    @property
    def exit_code(self) -> ExitCode:
        """The code that describes the whole ledger: of several the first of 6, 70, 130, 5, 4, 1, 0."""
        if self.stopped == "ledger_error":
            return ExitCode.LEDGER
        if self.stopped == "internal_error":
            return ExitCode.INTERNAL_ERROR
        if self.stopped == "interrupted":
            return ExitCode.INTERRUPTED
        if self.stopped is not None:
            return ExitCode.STOPPED
        if self.counts[State.UNKNOWN]:
            return ExitCode.SOME_UNKNOWN
        lacking = sum(self.counts[state] for state in (State.FAILED, State.EXPIRED, State.AWAITING_APPROVAL))
        return ExitCode.SOME_FAILED if lacking or self.bad_rows else ExitCode.ALL_ACCEPTED

    def equation(self) -> str:
        """`total = accepted + …`, without the states that have no messages."""
        parts = [f"{count:,} {state}" for state, count in self.counts.items() if count]
        return f"{self.total:,} = {' + '.join(parts) if parts else '0'}"

    def result(self) -> shapes.Result:
        """The same for machines."""
        return shapes.Result(
            ledger=str(self.ledger),
            run=self.run,
            input=self.input,
            url=self.url,
            fingerprint=self.fingerprint,
            total=self.total,
            counts={state: self.counts[state] for state in State},
            possible_duplicate=self.possible_duplicate,
            stopped=None if self.stopped is None else StopReason(self.stopped),
            elapsed_seconds=None if self.elapsed_seconds is None else round(self.elapsed_seconds, 3),
            messages_per_second=self.messages_per_second,
            machines=[_machine(each) for each in self.machines],
        )


def _machine(found: MachineRecord) -> shapes.Machine:
    speed = None if found.is_lost or found.status is None else found.status.recent
    return shapes.Machine(
        run=found.run,
        host=found.host,
        process=found.process,
        started_at=found.started_at,
        silent_seconds=round(found.silent_for, 1),
        is_lost=found.is_lost,
        in_flight=found.sending,
        messages_per_second=None if speed is None else round(speed, 2),
    )


def summarise(reader: LedgerReader, run: int | None = None) -> Summary:
    """The summary of a ledger, by its counters and one of its runs: the last one, unless another is named."""
    plan, runs, counts = reader.plan(), reader.runs(), reader.counts()
    last = next((each for each in reversed(runs) if run in (None, each.number)), None)
    return Summary(
        ledger=reader.path,
        run=last.number if last else None,
        input=plan.input,
        url=plan.url,
        fingerprint=plan.fingerprint,
        counts=counts.counts,
        bad_rows=int(plan.summary.get("bad_rows", 0)),
        possible_duplicate=counts.possible_duplicate,
        stopped=last.stopped if last else None,
        elapsed_seconds=last.elapsed_seconds if last else None,
        settled=last.settled if last else None,
        is_living=counts.is_living,
        is_rehearsal=bool(last and last.settings.get("sandbox")),
        machines=tuple(reader.machines()),
        awaits_approval=plan.planned_by is not None and plan.awaits_approval(reader.operator_actions()),
    )


def status(ledger: LedgerName) -> Summary:
    """The summary of a ledger, also beside a living run. Raises LedgerError if it cannot be read."""
    with open_ledger(ledger) as reader:
        return summarise(reader)


def checked_status(ledger: LedgerName, run: int | None = None) -> Summary:
    """The summary of a ledger after a run, with its reasons, and its counters checked against its rows.

    Raises LedgerError if they differ.
    """
    with open_ledger(ledger) as reader:
        reader.check_counters()
        return replace(summarise(reader, run), reasons=tuple(reader.reasons()))


ATTENTION = (State.UNKNOWN, State.FAILED, State.AWAITING_APPROVAL, State.PROCESSING)
"""Whom an operator wants to see."""


class Step(NamedTuple):
    """Why, and the arguments of the command, to be quoted for a shell."""

    why: str
    arguments: tuple[str, ...]


def next_steps(
    summary: Summary, reasons: Iterable[tuple[State, str | None, int]], *, is_rehearsal: bool = False
) -> list[Step]:
    """The commands, the most urgent first; a rehearsal's ledger can only be looked at."""
    ledger, counts = str(summary.ledger), summary.counts
    of_reason = Counter({(state, reason): count for state, reason, count in reasons})
    looks = [state.value for state in ATTENTION if counts[state]]
    who = " or ".join(word.replace("_", " ") for word in looks)
    look = [Step(f"To see the messages that are {who}", ("report", ledger, "--only", ",".join(looks)))] if looks else []
    if is_rehearsal or summary.is_rehearsal:
        return look
    if summary.awaits_approval:
        return approval(summary.ledger, summary.fingerprint)
    steps = []
    if counts[State.QUEUED]:
        working = f", and the server still works on {counts[State.PROCESSING]:,}" if counts[State.PROCESSING] else ""
        are = "is" if counts[State.QUEUED] == 1 else "are"
        why = f"{counts[State.QUEUED]:,} {are} queued{working}; to "
        if summary.run is None:
            return [Step(why + "start", ("send", ledger))]
        return [Step(why + "continue", ("resume", ledger)), *look]
    if processing := counts[State.PROCESSING]:
        why = f"The server still works on {processing:,}; to ask what became of them, sending nothing"
        steps.append(Step(why, ("resume", ledger)))
    if again := of_reason[State.FAILED, Reason.ATTEMPTS_EXHAUSTED] + counts[State.EXPIRED]:
        steps.append(Step(f"{again:,} gave up or expired, certainly not sent; to send again", ("retry", ledger)))
    steps += look
    refused = [reason for reason in (Reason.REJECTED, Reason.REJECTED_BEFORE_API) if of_reason[State.FAILED, reason]]
    if count := sum(of_reason[State.FAILED, reason] for reason in refused):
        arguments = ("retry", ledger, "--only", ",".join(f"failed:{reason}" for reason in refused))
        were = "was" if count == 1 else "were"
        steps.append(Step(f"{count:,} {were} refused; to send again once that is fixed", arguments))
    if count := of_reason[State.FAILED, Reason.RESOLVED_BY_HAND]:
        arguments = ("retry", ledger, "--only", f"failed:{Reason.RESOLVED_BY_HAND}")
        steps.append(Step(f"{count:,} did not get it, as somebody found out; to send to them", arguments))
    steps += _settling(summary) if counts[State.UNKNOWN] else []
    return steps or (_after_success(summary) if counts[State.ACCEPTED] else [])


def approval(ledger: LedgerName, fingerprint: str) -> list[Step]:
    """What another account does with a plan that needs its approval."""
    look = ("report", str(ledger), "--columns", "row,recipient,text")
    return [
        Step("It needs the approval of another account; to see its texts", look),
        Step("To approve them, under that account", ("approve", str(ledger), fingerprint)),
    ]


def _after_success(summary: Summary) -> list[Step]:
    """Nothing is left to do but to keep the report, and to write again."""
    page = str(free_beside(summary.ledger, "", ".html"))
    command = follow_up(summary.ledger, "follow-up")
    return [
        Step("For the ticket, the whole report", ("report", str(summary.ledger), "--format", "html", "-o", page)),
        Step(
            f"To those who got it or may have, an update, a correction or the all-clear, once {command[4]} says it",
            command,
        ),
    ]


def follow_up(ledger: LedgerName, name: str) -> tuple[str, ...]:
    """The command that sends `NAME.txt` to those who got it or may have, from a ledger of that name.

    Once that ledger is there its text was sent, so the next message has a number in both names.
    """
    own = file_beside(ledger, ".ledger.db")
    first = own.with_name(re.sub(rf"\.{name}(-\d+)?(?=\.ledger\.db$)", "", own.name))
    other = free_beside(first, f".{name}", ".ledger.db")
    text = other.name.removesuffix(".ledger.db").rpartition(".")[2] + ".txt"
    return ("send", "--sent-in", str(ledger), "--text-file", text, "--ledger", str(other))


def _settling(summary: Summary) -> list[Step]:
    """A file of the unknown messages, to be edited once their outcome is known, and the command that settles them."""
    ledger = str(summary.ledger)
    file = str(free_beside(summary.ledger, ".unknown", ".csv"))
    return [
        Step(
            f"{summary.counts[State.UNKNOWN]:,} may or may not have been sent; to write them into a file",
            ("report", ledger, "--only", "unknown", "--format", "csv", "-o", file),
        ),
        Step(
            "To settle those whose column `status` is then accepted or failed",
            ("resolve", ledger, "--from", file),
        ),
    ]
