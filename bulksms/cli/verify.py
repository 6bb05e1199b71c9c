"""`bulksms verify`: whether a ledger is whole, and true to its laws."""

import sys
from pathlib import Path

import click

from bulksms.cli import say
from bulksms.cli.screen.console import fitted, print_json
from bulksms.cli.settings.options import FILE
from bulksms.ledger.verification import verify
from bulksms.report.summary import Exit


@click.command("verify", epilog="Example: bulksms verify people.ledger.db")
@click.argument("ledger", type=FILE)
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def command(ledger: Path, as_json: bool) -> int:
    """Check LEDGER: the file's integrity, the equation, and every law that can be seen in it. Exit code 0 or 6."""
    findings = verify(ledger)
    good = not any(broken for _, broken in findings)
    if as_json:
        laws = [{"law": law, "broken": broken or None} for law, broken in findings]
        print_json({"ledger": str(ledger), "good": good, "laws": laws})
    else:
        for law, broken in findings:
            told = f"{'broken' if broken else 'holds '}  {law}{f': {broken}' if broken else ''}"
            click.echo(fitted(told, sys.stdout, " " * 8))
    if not good:
        say("error: The ledger is not as this program leaves it.")
        say("hint: Keep the file as it is, with those beside it, and report what stands above.")
        return Exit.LEDGER
    return Exit.ALL_ACCEPTED
