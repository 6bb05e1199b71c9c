"""`bulksms status`: the state of a ledger, and of the run that works on it, once or until it ends.

Invariant: watching only reads, a moment at a time, so that the run can fold its files together at its end; whatever
ends the watching, the run does not notice.
"""

import sys
import time
from collections.abc import Iterator
from datetime import datetime

import click
from msgspec.structs import asdict

from bulksms.cli.options.commands import StatusOptions
from bulksms.cli.ui.console import fitted, print_json, say
from bulksms.cli.ui.live_display import LiveDisplay, can_draw
from bulksms.cli.ui.process import silent_keyboard
from bulksms.cli.ui.result import print_status, say_next
from bulksms.cli.ui.status_view import StatusView, line, lines, machine_lines, of_all_machines
from bulksms.ledger import LedgerName, RunStatus, ledger_at, open_ledger
from bulksms.report.history import FINISHED, decision_lines, describe_runs
from bulksms.report.shapes import Watched
from bulksms.report.summary import Summary, next_steps, summarise

LOOK_EVERY = 1.0
"""Seconds between two looks: the run tells of its pace as often."""
LINE_EVERY = 10.0
"""Seconds between two plain lines."""


def watch(ledger: LedgerName, *, as_json: bool) -> bool:
    """Show how the run on the ledger goes until it ends; False if the person had enough of it before that."""
    try:
        with silent_keyboard():
            if as_json:
                _as_json(ledger)
            elif can_draw(sys.stdout):
                _drawn(ledger)
            else:
                _as_lines(ledger)
    except KeyboardInterrupt:
        say("The run goes on; this only watched it.")
        return False
    return True


def _looks(ledger: LedgerName, every: float) -> Iterator[tuple[Summary, RunStatus | None]]:
    """The view, again and again while a run lives, and once more when it has ended."""
    while True:
        with open_ledger(ledger) as reader:
            summary = summarise(reader)
        yield summary, _pace(summary) if summary.is_living else None
        if not summary.is_living:
            return
        time.sleep(every)


def _drawn(ledger: LedgerName) -> None:
    with LiveDisplay(stderr=False) as drawing:
        for summary, pace in _looks(ledger, LOOK_EVERY):
            drawing.draw(lines(_look(summary, pace), drawing.width, plain=drawing.is_plain))


def _as_lines(ledger: LedgerName) -> None:
    for summary, pace in _looks(ledger, LINE_EVERY):
        if summary.is_living:
            for words in (line(_look(summary, pace)), *machine_lines(summary.machines)):
                click.echo(words)
            sys.stdout.flush()


def _as_json(ledger: LedgerName) -> None:
    """One object a line: what `status --json` says, and `pace`, null if the run has written no status or has ended."""
    for summary, pace in _looks(ledger, LOOK_EVERY):
        print_json(Watched(**asdict(summary.result()), pace=pace), indent=None)
        sys.stdout.flush()


def _look(summary: Summary, pace: RunStatus | None) -> StatusView:
    at, ended = datetime.now().astimezone(), not summary.is_living
    return StatusView(summary.counts, at, pace, ended, summary.machines)


def _pace(summary: Summary) -> RunStatus | None:
    """What the run on it wrote down last, or all machines together."""
    if summary.machines:
        return of_all_machines(summary.machines)
    return ledger_at(summary.ledger).read_status(summary.run)


def view_of(summary: Summary) -> StatusView:
    """The state of a ledger now, with what the run on it wrote down last."""
    return _look(summary, _pace(summary))


def run_status(options: StatusOptions) -> None:
    """Show the state of the ledger, once or until its run ends."""
    ledger, as_json = options.ledger, options.as_json
    if options.watch and (not watch(ledger, as_json=as_json) or as_json):
        return
    with open_ledger(ledger) as reader:
        summary, runs, plan = summarise(reader), describe_runs(reader), reader.plan()
        decisions = reader.operator_actions()
        is_rehearsal = any(run.is_rehearsal for run in runs)
        steps = next_steps(summary, reader.reasons(), is_rehearsal=is_rehearsal)
    print_status(summary, as_json=as_json)
    if as_json:
        return
    if summary.is_living and (view := view_of(summary)).pace is not None:
        click.echo(fitted(f"{line(view)}.", sys.stdout))
    for words in machine_lines(summary.machines):
        click.echo(fitted(words, sys.stdout))
    if runs and not summary.is_living and runs[-1].ending != FINISHED:
        click.echo(fitted(f"End of run {summary.run}: {runs[-1].ending}.", sys.stdout))
    # Who stopped the last run is in the line above.
    for decision in decision_lines(it for it in decisions if not runs or it != runs[-1].stop):
        click.echo(fitted(decision, sys.stdout))
    if not summary.is_living and plan.purged_at is None:
        say_next(steps)
