"""The result of a run, for a person: what was handed over, the equation, and what to do next.

Invariant: a command to be copied is on a line of its own, whole.
"""

import hashlib
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import click

from bulksms.cli.ui.console import STYLES, command_line, fitted, info, print_json, print_table, quoted, say
from bulksms.cli.ui.process import failure_of
from bulksms.ledger import LedgerName
from bulksms.model.message import State
from bulksms.planning.estimate import RunSpeed
from bulksms.report.summary import MEANINGS, ExitCode, Step, Summary, next_steps


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended."""

    summary: Summary
    exit_code: int
    why: str | None = None
    hint: str | None = None
    rehearsal: str | None = None
    """What the comparison of a rehearsal says."""
    speed: RunSpeed | None = None
    """How fast the run was, if enough answers have shown it."""


def print_result(summary: Summary) -> None:
    """Headline, table and equation on stdout."""
    share = f"{summary.counts[State.ACCEPTED]:,} of {summary.total - summary.counts[State.SKIPPED]:,}"
    if summary.is_rehearsal:
        click.echo("REHEARSAL: nothing was sent to anybody.")
        click.echo(f"Accepted by the simulator: {share}  ({summary.ledger})")
    else:
        click.echo(f"Handed to Adaxes: {share}  ({summary.ledger})")
    why: dict[State, list[str]] = {}
    for state, reason, count in summary.reasons:
        if reason is not None:
            why.setdefault(state, []).append(f"{reason} {count:,}")
    rows = [(state, f"{count:,}", ", ".join(why.get(state, ()))) for state, count in summary.counts.items() if count]
    headers = ("state", "messages", "of which") if why else ("state", "messages")
    print_table(headers, [row[: len(headers)] for row in rows], numbers=(1,), styles=STYLES)
    click.echo(fitted(summary.equation(), sys.stdout))
    if summary.possible_duplicate:
        click.echo(f"{summary.possible_duplicate:,} may have been sent twice.")
    if summary.elapsed_seconds is not None and summary.messages_per_second is not None:
        speed = f"{summary.messages_per_second:,} messages a second"
        click.echo(f"Run {summary.run}: {summary.elapsed_seconds:.1f} s, {speed}.")
    if summary.is_living:
        follow = command_line(("status", str(summary.ledger), "--watch"))
        click.echo(f"A run is working on it now; to follow it:\n  {follow}")


def print_status(summary: Summary, *, as_json: bool) -> None:
    """The state of a ledger, for a person or for machines."""
    if as_json:
        print_json(summary.result())
    else:
        print_result(summary)


def say_what_next(result: RunResult) -> None:
    """Why it stopped, the exit code in words, and the next sensible commands, ready to copy, on stderr."""
    summary = result.summary
    if summary.stopped is not None:
        why = f"Stopped ({summary.stopped}){f': {result.why}' if result.why else ''}.".replace("..", ".")
        say(why)
        hint = result.hint
        if summary.stopped == "wrong_endpoint":
            check = "`bulksms check` shows what answers there."
            hint = " ".join(filter(None, (hint, check, for_another_server(summary.ledger))))
        if hint:
            say(f"hint: {hint}")
    if isinstance(summary.ledger, Path):
        info(f"ledger SHA-256 {_digest(summary.ledger)}")
    meaning = MEANINGS[ExitCode(result.exit_code)]
    if result.exit_code in (ExitCode.INTERRUPTED, ExitCode.TERMINATED) and not summary.counts[State.QUEUED]:
        meaning = meaning.replace("what is left stays queued", "nothing is left queued")
    say(f"Exit code {int(result.exit_code)}: {meaning}.")
    if summary.is_rehearsal and summary.counts[State.UNKNOWN]:
        say("The simulator lost answers on purpose, to show what an unknown message looks like.")
    say_next(next_steps(summary, summary.reasons, is_rehearsal=result.rehearsal is not None))


def log_unshown(result: RunResult) -> None:
    """Put the result into the log where the person cannot have seen it."""
    lost = [stream for stream in (sys.stdout, sys.stderr) if failure_of(stream) is not None]
    if lost:
        from bulksms.log import log  # noqa: PLC0415 - `status` starts without it

        log.warning(
            "result not shown",
            ledger=str(result.summary.ledger),
            exit_code=int(result.exit_code),
            stopped=result.summary.stopped,
            counts={state.value: count for state, count in result.summary.counts.items() if count},
        )


def for_another_server(ledger: LedgerName) -> str:
    """What to do if the URL was wrong, to which the ledger is bound from its first request on."""
    command = f"bulksms send INPUT --new --not-sent-in {quoted(str(ledger))}"
    return (
        f"Where the URL itself is wrong, `{command}` sends to the right one, to nobody twice; --new alone sends to "
        "everybody, to those who have it once more."
    )


def say_next(steps: Iterable[Step]) -> None:
    """Each with its reason, and the command on a line of its own, on stderr."""
    for why, arguments in steps:
        say(f"{why}:")
        info(f"  {command_line(arguments)}")


def _digest(ledger: Path) -> str:
    """For the minutes of the incident: shows later that the ledger is the one that the run left."""
    try:
        with ledger.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"is not known: the ledger cannot be read ({error.strerror})"
