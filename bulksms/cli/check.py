"""`bulksms check`: reach the server, step by step, without sending."""

from typing import Any

import click

from bulksms.cli.settings.headings import HeadedCommand
from bulksms.cli.settings.options import endpoint_options, setting


@click.command(
    "check",
    cls=HeadedCommand,
    epilog="Example: bulksms check 7a4267ce-d354-44e7-8bd6-c681f1284a41 --url https://HOST/restApi",
)
@click.argument("recipient", required=False)
@endpoint_options
@setting("--timeout", type=click.FloatRange(0.1, 3600), default=30.0, metavar="S", help="Seconds a step.")
@setting("--number-property", metavar="NAME", help="Property that holds the recipient's number.", otherwise="mobile")
@setting("--json", "as_json", is_flag=True, help="As one JSON object.")
def command(recipient: str | None, **values: Any) -> int:  # noqa: ANN401 - the values of the options, by name
    """Reach the server without sending: URL, DNS, TCP, TLS, path, token or log-in, round trip, one line each.

    With a RECIPIENT (DN, GUID or SID), look it up and say whether it has a number. Exit code 0 if all is well, 5 if a
    step failed; the steps after it need it, and are not tried.
    """
    from bulksms.cli.doing.checking import check  # noqa: PLC0415 - the help starts without aiohttp

    return check(recipient, values)
