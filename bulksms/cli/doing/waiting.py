"""Waiting: for a run in another shell to end, once it was told to.

Law: whoever has enough of waiting changes nothing of what the run was told.
"""

import sys
import time
from pathlib import Path

from bulksms.cli import say
from bulksms.cli.screen.console import fitted
from bulksms.cli.screen.result import quoted
from bulksms.ledger import control
from bulksms.ledger.control import Wish
from bulksms.ledger.lock import is_held
from bulksms.ledger.reader import LedgerReader, Standing

PATIENCE = 90.0
"""Seconds that a living run is given: connecting and an answer may take the time-out (30 s) each, and a few more."""
LOOK_EVERY = 0.1


def standing_of(ledger: Path) -> Standing:
    """How it stands now."""
    with LedgerReader(ledger) as reader:
        return reader.standing()


def tell_and_await(ledger: Path, wish: Wish) -> bool:
    """Leave the wish for the run and wait until it has let go of the ledger; whether it has."""
    control.ask(ledger, wish)
    how = "is broken off" if wish is Wish.STOP_NOW else "is awaited"
    told = f"The run was told to stop; what is in flight {how}. Ctrl-C ends this waiting only."
    until = time.monotonic() + PATIENCE
    try:
        say(fitted(told, sys.stderr))
        while time.monotonic() < until:
            if not is_held(ledger):  # a reader of the ledger itself would keep the run from leaving one file behind
                control.forget(ledger)  # it may have ended before it heard
                return True
            time.sleep(LOOK_EVERY)
    except KeyboardInterrupt:
        pass
    say("It still awaits answers. To see when it has ended:")
    say(f"  bulksms status {quoted(str(ledger))} --watch")
    return False
