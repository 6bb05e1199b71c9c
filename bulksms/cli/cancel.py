"""`bulksms cancel`: stop a run and withdraw everything that is still queued."""

import time
from contextlib import closing
from pathlib import Path

import click

from bulksms.cli import say
from bulksms.cli.options import FILE
from bulksms.cli.result import print_result
from bulksms.errors import LedgerLocked
from bulksms.ledger import control, file
from bulksms.ledger.lock import RunLock
from bulksms.ledger.reader import LedgerReader
from bulksms.message import Reason, State
from bulksms.report.summary import summarise

PATIENCE = 60.0
"""Seconds that a living run is given to drain."""


@click.command("cancel", epilog="Example: bulksms cancel people.ledger.db")
@click.argument("ledger", type=FILE)
def command(ledger: Path) -> None:
    """Stop the run that works on LEDGER, if there is one, and make what is queued `cancelled`: for the wrong text.

    What has left by then cannot be called back; `bulksms report --only accepted` names those who got it.
    """
    with LedgerReader(ledger) as reader:
        is_living = reader.standing().is_living
    if is_living:
        control.ask(ledger, control.Wish.CANCEL)
        _await_end(ledger)
    else:
        _withdraw(ledger)
    with LedgerReader(ledger) as reader:
        print_result(summarise(reader))


def _await_end(ledger: Path) -> None:
    """Wait until the run has heard it and let go of the ledger."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        with LedgerReader(ledger) as reader:
            if not reader.standing().is_living:
                return
        time.sleep(0.1)
    say("The run was told and still awaits answers; `bulksms status` shows when it has ended.")


def _withdraw(ledger: Path) -> None:
    """No run lives: do it here, under its lock. Raises LedgerLocked if one began meanwhile."""
    lock = RunLock(ledger)
    recovery = file.Recovery(State.UNKNOWN, max_attempts=0)
    try:
        connection = file.open_for_run(ledger, lock, recovery, "cancelling")
    except LedgerLocked:
        control.ask(ledger, control.Wish.CANCEL)
        _await_end(ledger)
        return
    with file.speaking_of(ledger), closing(connection):
        try:
            file.withdraw(connection, State.CANCELLED, Reason.CANCELLED)
            file.close_after_run(connection)
        finally:
            lock.release()
