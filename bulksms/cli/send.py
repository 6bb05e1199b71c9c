"""`bulksms send`: read, check, ask, send, and write the ledger."""

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
    run_options,
    setting,
    talk_options,
)


@click.command(
    "send",
    cls=HeadedCommand,
    epilog="Example: bulksms send people.csv --text-file outage.txt --url https://HOST/restApi",
)
@click.argument("source", type=INPUT, metavar="INPUT|LEDGER", required=False, callback=input_or_instead)
@click.option("--dry-run", is_flag=True, help="Do everything but send; no file is left behind.")
@click.option("--sandbox", is_flag=True, help="Rehearse: send to a stand-in server inside this process.")
@click.option("--ledger", type=FILE, metavar="FILE", help="Name of the ledger.  [INPUT.ledger.db here]")
@click.option("--new", is_flag=True, help="Start anew, even if the same was sent before.")
@click.option("--yes", is_flag=True, help="Send without a question.")
@setting("--max-recipients", type=click.IntRange(1), metavar="N", help="Refuse a plan of more.")
@setting("--expect", metavar="FINGERPRINT", help="Refuse a plan that is not the one previewed.")
@input_options
@look_up_options
@endpoint_options
@run_options
@talk_options
def command(source: str | None, **values: Any) -> int:  # noqa: ANN401 - the values of three dozen options, by name
    """Read INPUT (CSV, JSONL, xlsx, or - for standard input), check all of it, show what would be sent, ask, and send.

    With a LEDGER, start or continue that plan; with --told-in or --group there is no INPUT. The same command again
    sends only what is still to be sent.
    """
    from bulksms.cli.doing.sending import send  # noqa: PLC0415 - the help starts without aiohttp

    return send(source, values)
