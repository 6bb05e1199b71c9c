"""`bulksms resolve`: settle by hand what is unknown."""

from pathlib import Path
from typing import Any

import click

from bulksms.cli.settings.options import FILE, rows


@click.command("resolve", epilog='Example: bulksms resolve people.ledger.db --accepted 12,40-60 --note "rang them"')
@click.argument("ledger", type=FILE)
@click.option(
    "--accepted", callback=rows, metavar="ROWS", help="These got it: rows as the report shows them, 12,40-60."
)
@click.option("--failed", callback=rows, metavar="ROWS", help="These did not get it, and are not sent it by this.")
@click.option(
    "--from",
    "source",
    type=FILE,
    metavar="CSV",
    help="Rows or identifiers, and accepted or failed in a column `outcome`; or a report with an edited `status`.",
)
@click.option("--outcome", type=click.Choice(["accepted", "failed"]), help="What became of everybody in the CSV.")
@click.option("--note", metavar="TEXT", help="How you know, for the ledger's history.")
@click.option("--json", "as_json", is_flag=True, help="How the ledger stands then, as one JSON object.")
def command(ledger: Path, **values: Any) -> None:  # noqa: ANN401 - the values of its options, by name
    """Settle what is unknown in LEDGER, once you know: all that is named, or nothing.

    Nothing is sent. `report --only unknown` names those it is about; the ledger keeps who settled them, when and why.
    """
    from bulksms.cli.doing.resolving import resolve  # noqa: PLC0415 - the help starts without the readers of files

    resolve(ledger, values)
