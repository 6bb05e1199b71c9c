"""`bulksms sandbox`: the stand-in server, until Ctrl-C."""

import sys
from pathlib import Path

import click

from bulksms.cli import say
from bulksms.cli.settings.options import FILE


@click.command(
    "sandbox",
    epilog="Example: bulksms sandbox --port 8080 --faults preset --latency 0.2 --journal received.jsonl",
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, metavar="N", help="Port on loopback.  [any free one]")
@click.option("--latency", type=click.FloatRange(0, 600), default=0.0, metavar="S", help="Seconds before each answer.")
@click.option("--faults", metavar="preset|FILE", help="Which recipients meet which faults.  [none]")
@click.option("--seed", type=int, default=1, metavar="N", help="Which recipients a share of faults falls on.  [1]")
@click.option("--journal", type=FILE, metavar="FILE", help="Write everything received there, one JSON object a line.")
def command(port: int, latency: float, faults: str | None, seed: int, journal: Path | None) -> None:
    """Run the stand-in Adaxes server on loopback until Ctrl-C. Its token is `sandbox`.

    It speaks the real API; operator@example.com logs in there with the password `sandbox`. A recipient whose name has a
    marker such as [429,503] meets these faults first.
    """
    import asyncio  # noqa: PLC0415 - the help starts without it
    from contextlib import suppress  # noqa: PLC0415

    from bulksms.errors import UsageError  # noqa: PLC0415
    from bulksms.sandbox import FaultPlan, serve  # noqa: PLC0415

    plan = FaultPlan.from_option(faults)

    def ready(url: str) -> None:
        click.echo(url)
        say("The stand-in server listens; Ctrl-C ends it. To send to it from another shell:")
        for variable, value in (("BULKSMS_URL", url), ("BULKSMS_TOKEN", "sandbox")):
            say(f"  $env:{variable} = '{value}'" if sys.platform == "win32" else f"  export {variable}={value}")

    try:
        with suppress(KeyboardInterrupt):
            asyncio.run(serve(ready=ready, faults=plan, latency=latency, seed=seed, port=port, journal_file=journal))
    except OSError as error:
        raise UsageError(
            f"The stand-in server cannot start: {error.strerror or error}.",
            hint="Choose another --port (0 takes a free one), and a --journal in a folder that can be written to.",
        ) from error
