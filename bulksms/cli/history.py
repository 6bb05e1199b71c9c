"""`bulksms history`: the ledgers of a folder, one line each."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from bulksms.cli import tell
from bulksms.cli.screen.console import fitted, print_json, print_table
from bulksms.cli.settings.options import FILE
from bulksms.message import State
from bulksms.report.history import Entry, Unreadable, ledgers_in
from bulksms.report.summary import Exit

GAP = 3
"""Columns between two columns of a table on a terminal."""
HEADERS = ("ledger", "planned (UTC)", "input", "total", "accepted", "failed", "unknown", "left", "last run", "")


@click.command("history", epilog="Example: bulksms history /var/lib/bulksms")
@click.argument("folder", type=FILE, default=Path())
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def command(folder: Path, as_json: bool) -> int:
    """List the ledgers in FOLDER (here, by default), the earliest first: how each stands, how its last run ended.

    A ledger that cannot be read is told of and does not keep the others from being listed (exit code 6).
    """
    found = ledgers_in(folder)
    entries = [one for one in found if isinstance(one, Entry)]
    unreadable = [one for one in found if isinstance(one, Unreadable)]
    if as_json:
        problems = [{"file": str(one.path), "problem": str(one.trouble)} for one in unreadable]
        print_json({"folder": str(folder), "ledgers": [entry.as_json() for entry in entries], "unreadable": problems})
    elif entries:
        _print([_cells(entry) for entry in entries])
    else:
        click.echo(f"There are no ledgers in {folder.absolute()}.", err=True)
    for one in unreadable:
        tell(one.trouble)
    return Exit.LEDGER if unreadable else Exit.ALL_ACCEPTED


def _print(rows: Sequence[Sequence[str]]) -> None:
    """A table, one line a ledger; two lines each where a terminal is too narrow for it."""
    width = sum(max(map(len, column)) + GAP for column in zip(HEADERS, *rows, strict=True))
    if not sys.stdout.isatty() or width <= shutil.get_terminal_size().columns:
        print_table(HEADERS, rows, numbers=range(3, 8))
        return
    for name, planned, source, total, *counts, last_run, remarks in rows:
        stand = ", ".join(f"{count} {word}" for count, word in zip(counts, HEADERS[4:8], strict=True) if count != "0")
        click.echo(fitted(f"{name}  {planned}  {source}  {remarks}".rstrip(), sys.stdout, "    "))
        click.echo(fitted(f"    {total}: {stand or 'none of these'}; {last_run}", sys.stdout, "    "))


def _cells(entry: Entry) -> tuple[str, ...]:
    counts = entry.standing.counts
    numbers = (entry.standing.total, counts[State.ACCEPTED], counts[State.FAILED], counts[State.UNKNOWN])
    last_run = "" if entry.last_run is None else f"{_minute(entry.last_run.started_at)} "
    return (
        entry.path.name,
        _minute(entry.plan.created_at),
        entry.plan.input,
        *(f"{number:,}" for number in (*numbers, entry.standing.unfinished)),
        f"{last_run}{entry.ended}",
        ", ".join(entry.remarks),
    )


def _minute(timestamp: str) -> str:
    """`2026-11-22 14:30`."""
    return timestamp[:16].replace("T", " ")
