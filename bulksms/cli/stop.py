"""`bulksms stop`: drain a living run from another shell."""

import sys
from pathlib import Path

import click

from bulksms.cli import say
from bulksms.cli.doing.waiting import standing_of, tell_and_await
from bulksms.cli.screen.console import fitted
from bulksms.cli.screen.result import say_next
from bulksms.cli.settings.options import FILE
from bulksms.errors import LedgerTrouble
from bulksms.ledger.control import Wish
from bulksms.ledger.reader import LedgerReader
from bulksms.report.next_steps import next_steps
from bulksms.report.summary import summarise


@click.command("stop", epilog="Example: bulksms stop people.ledger.db")
@click.argument("ledger", type=FILE)
@click.option("--now", is_flag=True, help="Break off the answers in flight too, as a second Ctrl-C does.")
def command(ledger: Path, now: bool) -> None:
    """Let the run that works on LEDGER begin nothing new, as Ctrl-C does there, and wait until it has ended.

    What is left stays queued.
    """
    if not standing_of(ledger).is_living:
        raise LedgerTrouble(
            f"No run is working on {ledger.name}.", hint=f"`bulksms status {ledger}` shows how it stands."
        )
    if not tell_and_await(ledger, Wish.STOP_NOW if now else Wish.STOP):
        return
    with LedgerReader(ledger) as reader:
        summary = summarise(reader)
        steps = next_steps(summary, reader.reasons())
    say(fitted(f"It has stopped: {summary.equation()}.", sys.stderr))
    say_next(steps)
