"""`bulksms retry`: send again what a person chooses of what failed, expired, or is unknown."""

from pathlib import Path
from typing import Any

import click

from bulksms.cli.settings.headings import HeadedCommand
from bulksms.cli.settings.options import FILE, endpoint_options, rows, run_options, selection, setting, talk_options


@click.command(
    "retry", cls=HeadedCommand, epilog="Example: bulksms retry people.ledger.db --only failed:gave_up,expired"
)
@click.argument("ledger", type=FILE)
@click.option(
    "--only",
    callback=selection,
    metavar="STATES",
    help="Only these.  [failed:gave_up,expired; of rows and people named: failed,expired]",
)
@click.option("--rows", callback=rows, metavar="ROWS", help="Of these rows, as the report shows them: 12,40-60.")
@click.option("--from", "source", type=FILE, metavar="FILE", help="Of the people whose identifiers are in this file.")
@click.option("--yes", is_flag=True, help="Send without a question.")
@setting("--max-recipients", type=click.IntRange(1), metavar="N", help="Refuse to send to more.")
@endpoint_options
@run_options
@talk_options
def command(ledger: Path, **values: Any) -> int:  # noqa: ANN401 - the values of two dozen options, by name
    """Queue again what failed or expired in LEDGER, ask, and go on as `resume` does.

    What is unknown is sent again with `--only unknown` alone: whoever got it gets it twice. What was accepted is never
    sent again. A deadline that has passed holds no more; --deadline sets another one.
    """
    from bulksms.cli.doing.retrying import retry  # noqa: PLC0415 - the help starts without aiohttp

    return retry(ledger, values)
