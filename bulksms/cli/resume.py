"""`bulksms resume`: continue what an earlier run left."""

from pathlib import Path
from typing import Any

import click

from bulksms.cli.settings.headings import HeadedCommand
from bulksms.cli.settings.options import FILE, endpoint_options, run_options, setting, talk_options


@click.command("resume", cls=HeadedCommand, epilog="Example: bulksms resume people.ledger.db")
@click.argument("ledger", type=FILE)
@click.option("--yes", is_flag=True, help="Continue without a question.")
@setting("--max-recipients", type=click.IntRange(1), metavar="N", help="Refuse a plan of more.")
@endpoint_options
@run_options
@talk_options
def command(ledger: Path, **values: Any) -> int:  # noqa: ANN401 - the values of two dozen options, by name
    """Continue LEDGER; it needs no input file. What may have been sent already is not sent again."""
    from bulksms.cli.doing.sending import resume  # noqa: PLC0415 - the help starts without aiohttp

    return resume(ledger, values)
