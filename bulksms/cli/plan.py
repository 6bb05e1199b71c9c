"""`bulksms plan`: read and check, and keep the ledger without sending."""

from pathlib import Path
from typing import Any

import click

from bulksms.cli.settings.headings import HeadedCommand
from bulksms.cli.settings.options import (
    FILE,
    INPUT,
    endpoint_options,
    input_options,
    input_or_instead,
    look_up_options,
    rate,
    setting,
)


@click.command(
    "plan",
    cls=HeadedCommand,
    epilog="Example: bulksms plan people.csv --text-file outage.txt --ledger outage.ledger.db",
)
@click.argument("input", type=INPUT, metavar="INPUT", required=False, callback=input_or_instead)
@click.option("--ledger", type=FILE, metavar="FILE", help="Name of the ledger.  [INPUT.ledger.db here]")
@input_options
@look_up_options
@endpoint_options
@setting("--workers", type=click.IntRange(1, 1024), metavar="N", help="Requests and look-ups at once.", otherwise=16)
@setting("--rate", callback=rate, metavar="N", help="Messages and look-ups a second.  [no limit]")
@setting("--quiet", "-q", is_flag=True, help="No bar, no preview.")
@setting("--json", "as_json", is_flag=True, help="The preview as one JSON object on stdout.")
def command(input: str | None, ledger: Path | None, **values: Any) -> None:  # noqa: A002, ANN401 - click's names
    """Read and check INPUT (CSV, JSONL, xlsx, or - for standard input), and keep the plan with everything queued.

    It never overwrites a ledger, and needs no URL and no token unless somebody is to be looked up. `bulksms send
    LEDGER` sends it, byte for byte. With --told-in or --group there is no INPUT.
    """
    from bulksms.cli.doing.planning import plan  # noqa: PLC0415 - the help starts without reading anything

    plan(input, ledger, values)
