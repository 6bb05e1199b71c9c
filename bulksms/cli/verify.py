"""`bulksms verify`: whether a ledger is whole, and true to its laws."""

from pathlib import Path

import click

from bulksms.cli import say
from bulksms.cli.options import FILE
from bulksms.ledger.verification import verify
from bulksms.report.summary import Exit


@click.command("verify", epilog="Example: bulksms verify people.ledger.db")
@click.argument("ledger", type=FILE)
def command(ledger: Path) -> int:
    """Check LEDGER: the file's integrity, the equation, and every law that can be seen in it. Exit code 0 or 6."""
    findings = verify(ledger)
    for law, broken in findings:
        click.echo(f"{'broken' if broken else 'holds '}  {law}{f': {broken}' if broken else ''}")
    if any(broken for _, broken in findings):
        say("error: The ledger is not as this program leaves it.")
        say("hint: Keep the file as it is, with those beside it, and report what stands above.")
        return Exit.LEDGER
    return Exit.ALL_ACCEPTED
