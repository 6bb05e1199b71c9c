"""`bulksms report`: each message of a ledger, or each run on it."""

import json
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import click

from bulksms.cli.screen.console import columns_of, print_or_write
from bulksms.cli.screen.result import quoted
from bulksms.cli.settings.options import FILE, selection
from bulksms.errors import UsageError
from bulksms.ledger.reader import LedgerReader
from bulksms.ledger.selection import EVERYTHING, Selection
from bulksms.report.decisions import as_lines
from bulksms.report.rows import as_csv, as_jsonl
from bulksms.report.runs import as_blocks, runs_told
from bulksms.report.table import as_table

FORMATS = ("table", "csv", "jsonl", "html")


@click.command(
    "report", epilog="Example: bulksms report people.ledger.db --format csv --only failed,unknown -o rest.csv"
)
@click.argument("ledger", type=FILE)
@click.option("--format", "form", type=click.Choice(FORMATS), help="html is one page with everything.  [table]")
@click.option("--only", callback=selection, metavar="STATES", help="Only these, such as failed:gave_up,unknown.")
@click.option("--runs", is_flag=True, help="The runs on it instead: who, where, how, and why each ended.")
@click.option("--json", "as_json", is_flag=True, help="With --runs: as a JSON list.")
@click.option("-o", "--output", type=FILE, metavar="FILE", help="Write there, readable by nobody else.  [stdout]")
def command(  # noqa: PLR0913, PLR0917 - click's way: an option is an argument
    ledger: Path, form: str | None, only: Selection | None, runs: bool, as_json: bool, output: Path | None
) -> None:
    """Tell of each message in the input's order: who was told, who was not, what the server said."""
    _require_sense(form, runs=runs, as_json=as_json, chosen=only is not None)
    _require_another_file(output, ledger)
    with LedgerReader(ledger) as reader, reader.one_moment():
        width = columns_of(sys.stdout) if output is None else None
        told = _runs(reader, as_json=as_json) if runs else _messages(reader, form or "table", only, width)
        print_or_write(told, output)


def _messages(reader: LedgerReader, form: str, only: Selection | None, width: int | None) -> Iterable[str]:
    chosen = only or EVERYTHING
    if form == "html":
        from bulksms.report.page import Wanted, as_page  # noqa: PLC0415 - nobody else waits for jinja2

        return as_page(reader, Wanted(partial(reader.lines, chosen), only is not None, datetime.now(UTC), quoted))
    columns, lines = reader.plan().columns, reader.lines(chosen)
    if form == "csv":
        return as_csv(lines, columns)
    return as_jsonl(lines, columns) if form == "jsonl" else as_table(lines, width)


def _runs(reader: LedgerReader, *, as_json: bool) -> Iterable[str]:
    told = runs_told(reader)
    if as_json:
        return [json.dumps([run.as_json() for run in told], ensure_ascii=False, indent=2), "\n"]
    return as_blocks(told, as_lines(reader.decisions()))


def _require_sense(form: str | None, *, runs: bool, as_json: bool, chosen: bool) -> None:
    """An option that could not do anything is refused. Raises UsageError."""
    if as_json and not runs:
        raise UsageError("--json is about --runs.", hint="`--format jsonl` tells of each message as JSON.")
    if runs and (form is not None or chosen):
        raise UsageError(
            "--runs tells of runs; --format and --only are about messages.", hint="Leave them out, or --runs."
        )


def _require_another_file(output: Path | None, ledger: Path) -> None:
    """A report never takes the place of its ledger. Raises UsageError."""
    if output is not None and output.exists() and output.samefile(ledger):
        raise UsageError(f"{output} is the ledger itself.", hint="Choose another file with -o.")
