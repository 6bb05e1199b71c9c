"""`bulksms purge`: remove names and texts for good, and keep the counts."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from bulksms.cli import say, tell
from bulksms.cli.doing.author import author
from bulksms.cli.screen.console import on_terminal
from bulksms.cli.settings.options import FILE
from bulksms.errors import BulksmsError, LedgerLocked, LedgerTrouble, UsageError
from bulksms.ledger.purge import purge, unfinished_refused
from bulksms.report.history import Entry, entry_of, used_after
from bulksms.report.summary import Exit

_AGE = re.compile(r"(\d{1,5})([dw])", re.ASCII)


def age(_: click.Context, __: click.Parameter, value: str | None) -> timedelta | None:
    """`--older-than 90d` or `12w`."""
    if value is None:
        return None
    match = _AGE.fullmatch(value.strip())
    if match is None:
        raise click.BadParameter(f"{value!r} is no age; write days such as 90d, or weeks such as 12w")
    return timedelta(days=int(match[1]) * (7 if match[2] == "w" else 1))


@click.command("purge", epilog="Example: bulksms purge people.ledger.db --older-than 90d --yes")
@click.argument("ledgers", metavar="LEDGER...", type=FILE, nargs=-1, required=True)
@click.option("--older-than", callback=age, metavar="AGE", help="Only if nothing was done to it for so long: 90d, 12w.")
@click.option("--yes", is_flag=True, help="Purge without a question.")
def command(ledgers: tuple[Path, ...], older_than: timedelta | None, yes: bool) -> int:
    """Remove recipients, texts, other columns, notes and the server's words from each LEDGER for good.

    States, reasons, counts, times and who ran it stay; afterwards nothing can be sent from it. A ledger with something
    left to send is refused; one that is younger than --older-than is left as it is.
    """
    problems: list[BulksmsError] = []
    due: list[Path] = []
    for ledger in ledgers:
        with _told(problems):
            due += [ledger] if _is_due(entry_of(ledger), older_than) else []
    confirmed_by = _confirm(due, yes=yes) if due else ""
    for ledger in due:
        with _told(problems):
            purge(ledger, author(confirmed_by))
            click.echo(f"Purged: {ledger}")
    if due:
        say("Inputs, reports and logs that lie elsewhere still have the names.")
    if not problems:
        return Exit.ALL_ACCEPTED
    return Exit.LEDGER if any(isinstance(problem, LedgerTrouble) for problem in problems) else Exit.REFUSED


@contextmanager
def _told(problems: list[BulksmsError]) -> Iterator[None]:
    """What is wrong with one ledger keeps no other from being purged."""
    try:
        yield
    except BulksmsError as problem:
        tell(problem)
        problems.append(problem)


def _is_due(entry: Entry, older_than: timedelta | None) -> bool:
    """Whether it is to be purged. Raises PlanRefused if something is left to send, LedgerLocked if a run lives."""
    if entry.purge_finished:
        say(f"{entry.path} was purged on {str(entry.plan.purged_at)[:10]} already.")
        return False
    if older_than is not None and used_after(entry, datetime.now(UTC) - older_than):
        say(f"{entry.path} was used on {entry.last_used_at[:10]}, which is not so long ago; it stays as it is.")
        return False
    if entry.standing.is_living:
        raise LedgerLocked(
            f"A run is working on {entry.path.name}.",
            hint=f"Wait for it to end; `bulksms status {entry.path}` shows how far it is.",
        )
    if entry.standing.left:
        raise unfinished_refused(entry.path, entry.standing.left)
    return True


def _confirm(due: Sequence[Path], *, yes: bool) -> str:
    """Ask once for all of them; who confirmed, in words for the ledger. Raises UsageError where nobody can be asked."""
    if yes:
        return "--yes"
    if not on_terminal():
        raise UsageError("There is no terminal to ask at.", hint="Add --yes to purge without a question.")
    named = ", ".join(map(str, due))
    click.confirm(f"Remove the names and texts of {named} for good?", err=True, abort=True)
    return "at the terminal"
