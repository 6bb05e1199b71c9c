"""`bulksms status`: how a ledger stands."""

from pathlib import Path

import click

from bulksms.cli.console import print_json
from bulksms.cli.options import FILE
from bulksms.cli.result import print_result
from bulksms.ledger.reader import LedgerReader
from bulksms.report.summary import summarise


@click.command("status", epilog="Example: bulksms status people.ledger.db")
@click.argument("ledger", type=FILE)
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def command(ledger: Path, as_json: bool) -> None:
    """Say how a ledger stands, also beside a living run."""
    with LedgerReader(ledger) as reader:
        summary = summarise(reader)
    if as_json:
        print_json(summary.as_json())
    else:
        print_result(summary)
