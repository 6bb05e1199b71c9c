"""Next steps: the sensible commands after a run, by how the ledger stands.

Laws: nothing is suggested that would send to somebody who may have been told already. While messages are queued there
is one thing to do, to go on; what became of the others is settled once, when all have been tried.
"""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from bulksms.message import Reason, State
from bulksms.report.summary import Summary

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
    if is_rehearsal:
        return look
    steps = []
    if counts[State.QUEUED]:
        left = counts[State.QUEUED] + counts[State.PROCESSING]
        return [Step(f"{left:,} {'is' if left == 1 else 'are'} left; to continue", ("resume", ledger)), *look]
    if working := counts[State.PROCESSING]:
        why = f"The server still works on {working:,}; to ask what became of them, sending nothing"
        steps.append(Step(why, ("resume", ledger)))
    if again := of_reason[State.FAILED, Reason.GAVE_UP] + counts[State.EXPIRED]:
        steps.append(Step(f"{again:,} gave up or expired, certainly not sent; to send again", ("retry", ledger)))
    steps += look
    refused = [reason for reason in (Reason.REFUSED, Reason.REFUSED_ELSEWHERE) if of_reason[State.FAILED, reason]]
    if count := sum(of_reason[State.FAILED, reason] for reason in refused):
        arguments = ("retry", ledger, "--only", ",".join(f"failed:{reason}" for reason in refused))
        were = "was" if count == 1 else "were"
        steps.append(Step(f"{count:,} {were} refused; to send again once that is mended", arguments))
    return steps + (_settling(summary) if counts[State.UNKNOWN] else [])


def _settling(summary: Summary) -> list[Step]:
    """A file with everybody of whom nobody knows, to be edited by whoever finds out, and what settles them then."""
    ledger = str(summary.ledger)
    file = str(summary.ledger.with_name(summary.ledger.name.removesuffix(".ledger.db") + ".unknown.csv"))
    return [
        Step(
            f"{summary.counts[State.UNKNOWN]:,} may or may not have been sent; to write them into a file",
            ("report", ledger, "--only", "unknown", "--format", "csv", "-o", file),
        ),
        Step(
            "To settle those of whom its column `status` says accepted or failed then",
            ("resolve", ledger, "--from", file),
        ),
    ]
