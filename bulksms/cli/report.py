"""`bulksms report`: each message of a ledger."""

from pathlib import Path

import click

from bulksms.cli.console import print_or_write
from bulksms.cli.options import FILE, states
from bulksms.ledger.reader import LedgerReader
from bulksms.message import State
from bulksms.report.rows import as_csv, as_jsonl
from bulksms.report.table import as_table


@click.command(
    "report", epilog="Example: bulksms report people.ledger.db --format csv --only failed,unknown -o rest.csv"
)
@click.argument("ledger", type=FILE)
@click.option("--format", "form", type=click.Choice(["table", "csv", "jsonl"]), default="table", help="  [table]")
@click.option("--only", callback=states, metavar="STATES", help="Only these states, such as failed,unknown.")
@click.option("-o", "--output", type=FILE, metavar="FILE", help="Write there, readable by nobody else.  [stdout]")
def command(ledger: Path, form: str, only: frozenset[State], output: Path | None) -> None:
    """Tell of each message in the input's order: who was told, who was not, what the server said."""
    with LedgerReader(ledger) as reader:
        columns = reader.plan().columns
        lines = reader.lines(only)
        if form == "csv":
            print_or_write(as_csv(lines, columns), output)
        elif form == "jsonl":
            print_or_write(as_jsonl(lines, columns), output)
        else:
            print_or_write(as_table(lines), output)
