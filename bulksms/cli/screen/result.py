"""The result of a run, for a person: what was handed over, the equation, and what to do next.

Law: what is to be copied stands on a line of its own, whole, and can be pasted into the shells of its platform.
"""

import hashlib
import re
import shlex
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import click

from bulksms.cli import say
from bulksms.cli.screen.console import STYLES, fitted, print_json, print_table
from bulksms.ledger.reader import LedgerReader
from bulksms.message import State
from bulksms.report.next_steps import Step, next_steps
from bulksms.report.summary import MEANINGS, Exit, Summary


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended."""

    summary: Summary
    exit_code: int
    why: str | None = None
    hint: str | None = None
    rehearsal: str | None = None
    """What the comparison of the books says, if it was one."""


def print_result(summary: Summary, reasons: list[tuple[State, str | None, int]] | None = None) -> None:
    """Headline, table and equation on stdout."""
    handed_over, meant = summary.counts[State.ACCEPTED], summary.total - summary.counts[State.SKIPPED]
    click.echo(f"Handed to Adaxes: {handed_over:,} of {meant:,}  ({summary.ledger})")
    why: dict[State, list[str]] = {}
    for state, reason, count in reasons or []:
        if reason is not None:
            why.setdefault(state, []).append(f"{reason} {count:,}")
    rows = [(state, f"{count:,}", ", ".join(why.get(state, ()))) for state, count in summary.counts.items() if count]
    headers = ("state", "messages", "of which") if why else ("state", "messages")
    print_table(headers, [row[: len(headers)] for row in rows], numbers=(1,), styles=STYLES)
    click.echo(fitted(summary.equation(), sys.stdout))
    if summary.may_have_sent_twice:
        click.echo(f"{summary.may_have_sent_twice:,} may have been sent twice.")
    if summary.elapsed_seconds is not None and summary.messages_per_second is not None:
        speed = f"{summary.messages_per_second:,} messages a second"
        click.echo(f"Run {summary.run}: {summary.elapsed_seconds:.1f} s, {speed}.")
    if summary.is_living:
        click.echo(f"A run is working on it now; to follow it:\n  bulksms status {quoted(str(summary.ledger))} --watch")


def print_status(summary: Summary, *, as_json: bool) -> None:
    """How a ledger stands, for a person or for machines."""
    if as_json:
        print_json(summary.as_json())
    else:
        print_result(summary)


def say_what_next(result: RunResult) -> None:
    """Why it stopped, the exit code in words, and the next sensible commands, ready to copy, on stderr."""
    summary = result.summary
    if summary.stopped is not None:
        why = f"Stopped ({summary.stopped}){f': {result.why}' if result.why else ''}.".replace("..", ".")
        say(fitted(why, sys.stderr))
        hint = result.hint
        if hint is None and summary.stopped == "endpoint":
            hint = f"`bulksms check` shows what answers there. {for_another_server(summary.ledger)}"
        if hint:
            say(fitted(f"hint: {hint}", sys.stderr))
    say(f"SHA-256 {_digest(summary.ledger)}")
    say(fitted(f"Exit code {int(result.exit_code)}: {MEANINGS[Exit(result.exit_code)]}.", sys.stderr))
    with LedgerReader(summary.ledger) as reader:
        say_next(next_steps(summary, reader.reasons(), is_rehearsal=result.rehearsal is not None))


def for_another_server(ledger: Path) -> str:
    """What to do if the URL was wrong, to which the ledger is bound from its first request on."""
    command = f"bulksms send INPUT --new --not-told-in {quoted(str(ledger))}"
    return f"Where the URL itself is wrong, `{command}` sends to the right one, to nobody twice."


def say_next(steps: Iterable[Step]) -> None:
    """Each with its reason, and the command on a line of its own, on stderr."""
    for why, arguments in steps:
        say(fitted(f"{why}:", sys.stderr))
        say(f"  {' '.join(['bulksms', *map(quoted, arguments)])}")


def _digest(ledger: Path) -> str:
    """For the minutes of the incident: shows later that the ledger is the one that the run left."""
    with ledger.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def quoted(argument: str) -> str:
    """An argument ready to paste into the shells of this platform."""
    return quoted_for_windows(argument) if sys.platform == "win32" else shlex.quote(argument)


def quoted_for_windows(argument: str) -> str:
    """For cmd and PowerShell at once: double quotes are the only ones that both know.

    PowerShell would make two arguments of an unquoted `a,b` and end the command at `;`, cmd at `&`. Inside the quotes
    PowerShell still reads `$` and the backtick, cmd `%NAME%`: names with those cannot be written for both.
    """
    return argument if re.fullmatch(r"[\w.:\\/=+-]+", argument) else f'"{argument}"'
