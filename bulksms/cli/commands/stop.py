"""`bulksms stop` and `cancel`: end a run from another shell, and withdraw what is still queued.

Invariant: giving up the wait for the run does not take the command back.
"""

import time
from collections.abc import Iterator

import click

from bulksms.cli.options.commands import CancelOptions, PauseOptions, StopOptions
from bulksms.cli.ui.console import command_line, info, on_terminal, say
from bulksms.cli.ui.result import print_status, say_next
from bulksms.errors import LedgerError, LedgerLockedError
from bulksms.ledger import Author, ControlCommand, Counts, LedgerName, free_beside, ledger_at, open_ledger
from bulksms.model.message import State
from bulksms.planning.plan import count_of
from bulksms.report.summary import Step, follow_up, next_steps, summarise

TIMEOUT = 90.0
"""Seconds that a living run is given: connecting and an answer may take the time-out (30 s) each, and a few more."""
CHECK_INTERVAL = 0.1


def counts_of(ledger: LedgerName) -> Counts:
    """The counts of a ledger."""
    with open_ledger(ledger) as reader:
        return reader.counts()


def command_and_wait(ledger: LedgerName, command: ControlCommand) -> bool:
    """Leave the command for the run and wait until it has released the ledger; whether it has."""
    program = "cancel" if command is ControlCommand.CANCEL else "stop"
    ledger_at(ledger).send_command(command, Author.here(f"bulksms {program}"))
    how = "aborted" if command is ControlCommand.STOP_NOW else "awaited"
    text = f"Stop requested; requests in flight are {how}. Ctrl-C stops waiting, not the run."
    until = time.monotonic() + TIMEOUT
    try:
        say(text)
        while time.monotonic() < until:
            if not ledger_at(
                ledger
            ).is_living():  # a reader of the ledger itself would keep the run from leaving one file behind
                ledger_at(ledger).clear_command()  # it may have ended without reading the command
                return True
            time.sleep(CHECK_INTERVAL)
    except KeyboardInterrupt:
        pass
    say("It still awaits answers. To see when it has ended:")
    info(f"  {command_line(('status', str(ledger), '--watch'))}")
    return False


def run_stop(options: StopOptions) -> None:
    """Stop the run and wait for its end."""
    ledger = options.ledger
    if not counts_of(ledger).is_living:
        raise LedgerError(f"No run is working on {ledger.name}.", hint=f"`bulksms status {ledger}` shows its counts.")
    if not command_and_wait(ledger, ControlCommand.STOP_NOW if options.now else ControlCommand.STOP):
        return
    with open_ledger(ledger) as reader:
        summary = summarise(reader)
        steps = next_steps(summary, reader.reasons())
    say(f"It has stopped: {summary.equation()}.")
    say_next(steps)


def run_pause(options: PauseOptions) -> None:
    """Hold every machine, without waiting for it."""
    ledger_at(options.ledger).send_command(ControlCommand.PAUSE, Author.here("bulksms pause"))
    say(f"No machine begins anything on {options.ledger.name}. To let them go on, and to work on it here as well:")
    info(f"  {command_line(('resume', str(options.ledger)))}")


def run_cancel(options: CancelOptions) -> None:
    """Stop the run, if one lives, and withdraw what is queued."""
    ledger = options.ledger
    counts = counts_of(ledger)
    if counts.is_living:
        if not command_and_wait(ledger, ControlCommand.CANCEL):
            return
        counts = counts_of(ledger)
    elif not counts.left:
        say("Nothing is queued, so nothing is withdrawn.")
    elif not options.yes and on_terminal():
        queued = count_of(counts.counts[State.QUEUED], "queued message")
        click.confirm(f"Withdraw {queued} of {ledger.name} for good?", err=True, abort=True)
    # A run that ended by itself has not read the command; one that was alive has carried it out.
    if counts.left and not _withdraw(ledger) and not command_and_wait(ledger, ControlCommand.CANCEL):
        return
    with open_ledger(ledger) as reader:
        summary, reached = summarise(reader), next(reader.possible_recipients(), None) is not None
    print_status(summary, as_json=options.as_json)
    say_next(_after_cancelling(ledger, reached=reached))


def _after_cancelling(ledger: LedgerName, *, reached: bool) -> Iterator[Step]:
    """What there is to do about those who got the wrong text, and about all others."""
    anew = str(free_beside(ledger, ".new", ".ledger.db"))
    others = ("send", "INPUT", "--not-sent-in", str(ledger), "--ledger", anew)
    if reached:
        correction = follow_up(ledger, "correction")
        yield Step(f"To those who got it or may have, once {correction[4]} says what is right", correction)
        yield Step("To everybody else, with the right INPUT", others)
    else:
        yield Step("Nobody got it; to send the right INPUT", others)


def _withdraw(ledger: LedgerName) -> bool:
    """No run lives: do it here, under its lock. False if one began meanwhile."""
    try:
        ledger_at(ledger).cancel(Author.here("bulksms cancel"))
    except LedgerLockedError:
        return False
    return True
