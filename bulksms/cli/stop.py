"""`bulksms stop`: drain a living run from another shell."""

from pathlib import Path

import click

from bulksms.cli import say
from bulksms.cli.options import FILE
from bulksms.errors import LedgerTrouble
from bulksms.ledger import control
from bulksms.ledger.reader import LedgerReader


@click.command("stop", epilog="Example: bulksms stop people.ledger.db")
@click.argument("ledger", type=FILE)
@click.option("--now", is_flag=True, help="Break off the answers in flight too, as a second Ctrl-C does.")
def command(ledger: Path, now: bool) -> None:
    """Let the run that works on LEDGER begin nothing new, as Ctrl-C does there; what is left stays queued."""
    with LedgerReader(ledger) as reader:
        if not reader.standing().is_living:
            raise LedgerTrouble(
                f"No run is working on {ledger.name}.", hint=f"`bulksms status {ledger}` shows how it stands."
            )
    control.ask(ledger, control.Wish.STOP_NOW if now else control.Wish.STOP)
    say("The run was told to stop; `bulksms status` shows when it has.")
