"""`bulksms history`, `verify` and `purge`: ledgers as files, listed, checked, and emptied of names and texts."""

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from bulksms.cli.options.commands import HistoryOptions, PurgeOptions, VerifyOptions
from bulksms.cli.ui.console import fitted, on_terminal, print_error, print_json, print_table, say
from bulksms.errors import BulksmsError, LedgerError, LedgerLockedError, UsageError
from bulksms.ledger import Author, LedgerName, ledger_at, unfinished_error
from bulksms.model.message import State
from bulksms.report import shapes
from bulksms.report.history import Entry, Unreadable, entry_of, ledgers_in, used_after
from bulksms.report.shapes import Invariant, Verification
from bulksms.report.summary import ExitCode
from bulksms.report.text import local_minute

GAP = 3
"""Columns between two columns of a table on a terminal."""
BY = "stopped by"
HEADERS = ("ledger", "planned", "input", "total", "accepted", "failed", "unknown", "left", "last run", "ended", BY)
DISPENSABLE = (BY, "input", "planned", "last run", "total")
"""Columns that a narrow terminal goes without, the first one first: every ledger keeps to one line."""


def run_history(options: HistoryOptions) -> int:
    """List the ledgers; the exit code."""
    folder = options.folder or Path()
    found = ledgers_in(folder)
    entries = [one for one in found if isinstance(one, Entry)]
    unreadable = [one for one in found if isinstance(one, Unreadable)]
    if options.as_json:
        problems = [shapes.Unreadable(file=str(one.path), problem=str(one.trouble)) for one in unreadable]
        ledgers = [entry.entry() for entry in entries]
        print_json(shapes.History(folder=str(folder), ledgers=ledgers, unreadable=problems))
    elif entries:
        _print([_cells(entry) for entry in entries])
    else:
        where = folder.absolute() if isinstance(folder, Path) else folder
        click.echo(f"There are no ledgers in {where}.", err=True)
    for one in unreadable:
        print_error(one.trouble)
    return ExitCode.LEDGER if unreadable else ExitCode.ALL_ACCEPTED


def _print(rows: Sequence[Sequence[str]]) -> None:
    """A table, one line a ledger, with as many of its columns as the terminal is wide."""
    is_stopped = any(row[HEADERS.index(BY)] for row in rows)
    kept = [place for place, name in enumerate(HEADERS) if name != BY or is_stopped]
    if sys.stdout.isatty():
        for name in DISPENSABLE:
            widths = [max(len(line[place]) for line in (HEADERS, *rows)) + GAP for place in kept]
            if sum(widths) <= shutil.get_terminal_size().columns:
                break
            kept = [place for place in kept if HEADERS[place] != name]
    numbers = [kept.index(place) for place in range(3, 8) if place in kept]
    print_table([HEADERS[place] for place in kept], [[row[place] for place in kept] for row in rows], numbers=numbers)


def _cells(entry: Entry) -> tuple[str, ...]:
    counts = entry.message_counts.counts
    numbers = (entry.message_counts.total, counts[State.ACCEPTED], counts[State.FAILED], counts[State.UNKNOWN])
    return (
        entry.path.name,
        local_minute(entry.plan.created_at),
        entry.plan.input,
        *(f"{number:,}" for number in (*numbers, entry.message_counts.unfinished)),
        "" if entry.last_run is None else local_minute(entry.last_run.started_at),
        ", ".join([entry.ended, *entry.remarks]),
        entry.stopped_by,
    )


def run_verify(options: VerifyOptions) -> int:
    """Check the ledger; the exit code."""
    ledger = options.ledger
    findings = ledger_at(ledger).verify()
    violated = [invariant for invariant, violation in findings if violation]
    if options.as_json:
        invariants = [Invariant(invariant=one, violation=violation or None) for one, violation in findings]
        print_json(Verification(ledger=str(ledger), ok=not violated, invariants=invariants))
    else:
        for one, violation in findings:
            line = f"{'violated' if violation else 'ok'}".ljust(10) + one + (f": {violation}" if violation else "")
            click.echo(fitted(line, sys.stdout, " " * 10))
        verdict = (
            f"{ledger.name} is not intact: {len(violated)} of {len(findings)} invariants are violated."
            if violated
            else f"{ledger.name} is intact: all {len(findings)} invariants hold."
        )
        click.echo(fitted(verdict, sys.stdout))
    if violated:
        say("error: The ledger is not as this program leaves it.")
        say("hint: Keep the file and those beside it unchanged, and report the violations above.")
        return ExitCode.LEDGER
    return ExitCode.ALL_ACCEPTED


def run_purge(options: PurgeOptions) -> int:
    """Purge what is due; the exit code."""
    problems: list[BulksmsError] = []
    due: list[LedgerName] = []
    for ledger in options.ledgers:
        with _collected(problems):
            due += [ledger] if _is_due(entry_of(ledger), options.older_than) else []
    confirmed_by = _confirm(due, yes=options.yes) if due else ""
    for ledger in due:
        with _collected(problems):
            ledger_at(ledger).purge(Author.here(confirmed_by))
            click.echo(f"Purged: {ledger}")
    if due:
        say("Inputs, reports and logs that lie elsewhere still have the names.")
    if not problems:
        return ExitCode.ALL_ACCEPTED
    return ExitCode.LEDGER if any(isinstance(problem, LedgerError) for problem in problems) else ExitCode.REFUSED


@contextmanager
def _collected(problems: list[BulksmsError]) -> Iterator[None]:
    """What is wrong with one ledger keeps no other from being purged."""
    try:
        yield
    except BulksmsError as problem:
        print_error(problem)
        problems.append(problem)


def _is_due(entry: Entry, older_than: timedelta | None) -> bool:
    """Whether it is to be purged. Raises PlanError if something is left to send, LedgerLockedError if a run lives."""
    if entry.purge_finished:
        say(f"{entry.path} was purged on {local_minute(entry.plan.purged_at or entry.last_used_at)[:10]} already.")
        return False
    if older_than is not None and used_after(entry, datetime.now(UTC) - older_than):
        say(f"{entry.path} was last used on {local_minute(entry.last_used_at)[:10]}; it stays as it is.")
        return False
    if entry.message_counts.is_living:
        raise LedgerLockedError(
            f"A run is working on {entry.path.name}.",
            hint=f"Wait for it to end; `bulksms status {entry.path}` shows how far it is.",
        )
    if entry.message_counts.left:
        raise unfinished_error(entry.path, entry.message_counts.left)
    return True


def _confirm(due: Sequence[LedgerName], *, yes: bool) -> str:
    """Ask once for all of them; who confirmed, in words for the ledger. Raises UsageError where nobody can be asked."""
    if yes:
        return "--yes"
    if not on_terminal():
        raise UsageError("There is no terminal to ask at.", hint="Add --yes to purge without a question.")
    named = ", ".join(map(str, due))
    click.confirm(f"Remove the names and texts of {named} for good?", err=True, abort=True)
    return "at the terminal"
