"""The result of a run, for a person: what was handed over, the equation, and what to do next."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bulksms.cli import say
from bulksms.cli.console import print_table
from bulksms.message import State
from bulksms.report.summary import MEANINGS, Exit, Summary

if TYPE_CHECKING:  # `status` and `report` start without aiohttp
    from bulksms.cli.running import RunResult

ATTENTION = (State.UNKNOWN, State.FAILED, State.AWAITING_APPROVAL, State.PROCESSING)


def print_result(summary: Summary, reasons: list[tuple[State, str | None, int]] | None = None) -> None:
    """Headline, table and equation on stdout."""
    handed_over, meant = summary.counts[State.ACCEPTED], summary.total - summary.counts[State.SKIPPED]
    click.echo(f"Handed to Adaxes: {handed_over:,} of {meant:,}  ({summary.ledger})")
    why: dict[State, list[str]] = {}
    for state, reason, count in reasons or []:
        if reason is not None:
            why.setdefault(state, []).append(f"{reason} {count:,}")
    rows = [(state, f"{count:,}", ", ".join(why.get(state, ()))) for state, count in summary.counts.items() if count]
    print_table(("state", "messages", "of which"), rows, numbers=(1,))
    click.echo(summary.equation())
    if summary.may_have_sent_twice:
        click.echo(f"{summary.may_have_sent_twice:,} may have been sent twice.")
    if summary.elapsed_seconds is not None and summary.messages_per_second is not None:
        speed = f"{summary.messages_per_second:,} messages a second"
        click.echo(f"Run {summary.run}: {summary.elapsed_seconds:.1f} s, {speed}.")
    if summary.is_living:
        click.echo("A run is working on it now.")


def say_what_next(result: "RunResult") -> None:
    """The exit code in words and the next sensible command, ready to copy, on stderr."""
    summary = result.summary
    ledger = quoted(str(summary.ledger))
    if summary.stopped is not None:
        say(f"Stopped ({summary.stopped}){f': {result.why}' if result.why else ''}.".replace("..", "."))
        if result.hint:
            say(f"hint: {result.hint}")
    say(f"SHA-256 of {summary.ledger.name}: {_digest(summary.ledger)}")
    say(f"Exit code {int(result.exit_code)}: {MEANINGS[Exit(result.exit_code)]}.")
    unfinished = summary.counts[State.QUEUED] + summary.counts[State.PROCESSING]
    if unfinished and result.rehearsal is None:
        say(f"hint: {unfinished:,} are left; continue with: bulksms resume {ledger}")
    attention = [state.value for state in ATTENTION if summary.counts[state]]
    if attention:
        say(f"hint: see who with: bulksms report {ledger} --only {','.join(attention)}")


def _digest(ledger: Path) -> str:
    """For the minutes of the incident: shows later that the ledger is the one that the run left."""
    with ledger.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def quoted(argument: str) -> str:
    """An argument ready to copy into a shell."""
    return f'"{argument}"' if any(character in argument for character in " &()'") else argument
