"""`bulksms status`: how a ledger stands."""

import sys
from pathlib import Path

import click

from bulksms.cli.console import fitted
from bulksms.cli.options import FILE
from bulksms.cli.result import print_status
from bulksms.ledger.reader import LedgerReader
from bulksms.report.decisions import as_lines
from bulksms.report.summary import summarise


@click.command("status", epilog="Example: bulksms status people.ledger.db --watch")
@click.argument("ledger", type=FILE)
@click.option("--watch", is_flag=True, help="Show how the run on it goes until it ends; Ctrl-C ends the watching only.")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object; with --watch one a line every second.")
def command(ledger: Path, watch: bool, as_json: bool) -> None:
    """Say how a ledger stands, also beside a living run."""
    if watch:
        from bulksms.cli import watching  # noqa: PLC0415 - a look needs none of it

        if not watching.watch(ledger, as_json=as_json) or as_json:
            return
    with LedgerReader(ledger) as reader:
        summary, decisions = summarise(reader), reader.decisions()
    print_status(summary, as_json=as_json)
    if not as_json:
        for line in as_lines(decisions):
            click.echo(fitted(line, sys.stdout))
