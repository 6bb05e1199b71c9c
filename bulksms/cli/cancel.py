"""`bulksms cancel`: stop a run and withdraw everything that is still queued."""

from pathlib import Path

import click

from bulksms.cli import say
from bulksms.cli.doing.waiting import standing_of, tell_and_await
from bulksms.cli.screen.result import print_status, say_next
from bulksms.cli.settings.options import FILE
from bulksms.errors import LedgerLocked
from bulksms.ledger import file
from bulksms.ledger.control import Wish
from bulksms.ledger.reader import LedgerReader
from bulksms.message import Reason, State
from bulksms.report.next_steps import Step
from bulksms.report.summary import status


@click.command("cancel", epilog="Example: bulksms cancel people.ledger.db")
@click.argument("ledger", type=FILE)
@click.option("--json", "as_json", is_flag=True, help="How it stands then, as one JSON object.")
def command(ledger: Path, as_json: bool) -> None:
    """Stop the run that works on LEDGER, if there is one, and make what is queued `cancelled`: for the wrong text.

    What has left by then cannot be called back; `bulksms report --only accepted` names those who got it.
    """
    standing = standing_of(ledger)
    if standing.is_living:
        if not tell_and_await(ledger, Wish.CANCEL):
            return
        standing = standing_of(ledger)
    elif not standing.left:
        say("Nothing is queued, so nothing is withdrawn.")
    # A run that ended by itself has not heard it; whatever was told to a run that lives, it has done.
    if standing.left and not _withdraw(ledger) and not tell_and_await(ledger, Wish.CANCEL):
        return
    with LedgerReader(ledger) as reader:
        told = next(reader.told(), None) is not None
    print_status(status(ledger), as_json=as_json)
    if told:
        say_next([Step("To those who got it or may have, once correction.txt says what is right", _correction(ledger))])


def _correction(ledger: Path) -> tuple[str, ...]:
    correction = ledger.with_name(f"{ledger.name.removesuffix('.ledger.db')}.correction.ledger.db")
    return ("send", "--told-in", str(ledger), "--text-file", "correction.txt", "--ledger", str(correction))


def _withdraw(ledger: Path) -> bool:
    """No run lives: do it here, under its lock. False if one began meanwhile."""
    recovery = file.Recovery(State.UNKNOWN, max_attempts=0)
    try:
        with file.changing(ledger, recovery, "cancelling") as connection:
            file.withdraw(connection, State.CANCELLED, Reason.CANCELLED)
    except LedgerLocked:
        return False
    return True
