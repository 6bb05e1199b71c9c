"""Watching: `status --watch`, the display of a run from another shell.

Law: it only reads, a moment at a time, so that the run can fold its files together at its end; whatever ends the
watching, the run does not notice.
"""

import dataclasses
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import click

from bulksms.cli import say
from bulksms.cli.screen.console import print_json
from bulksms.cli.screen.drawing import Drawing, can_draw
from bulksms.cli.screen.look import Look, line, lines
from bulksms.ledger import live
from bulksms.ledger.live import Pace
from bulksms.ledger.reader import LedgerReader
from bulksms.report.summary import Summary, summarise

LOOK_EVERY = 1.0
"""Seconds between two looks: the run tells of its pace as often."""
LINE_EVERY = 10.0
"""Seconds between two plain lines."""


def watch(ledger: Path, *, as_json: bool) -> bool:
    """Show how the run on the ledger goes until it ends; False if the person had enough of it before that."""
    try:
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


def _looks(ledger: Path, every: float) -> Iterator[tuple[Summary, Pace | None]]:
    """How it stands, again and again while a run lives, and once more when it has ended."""
    while True:
        with LedgerReader(ledger) as reader:
            summary = summarise(reader)
        yield summary, live.told(ledger, summary.run) if summary.is_living else None
        if not summary.is_living:
            return
        time.sleep(every)


def _drawn(ledger: Path) -> None:
    with Drawing(stderr=False) as drawing:
        for summary, pace in _looks(ledger, LOOK_EVERY):
            drawing.draw(lines(_look(summary, pace), drawing.width, plain=drawing.is_plain))


def _as_lines(ledger: Path) -> None:
    for summary, pace in _looks(ledger, LINE_EVERY):
        if summary.is_living:
            click.echo(line(_look(summary, pace)))
            sys.stdout.flush()


def _as_json(ledger: Path) -> None:
    """One object a line: what `status --json` says, and `pace`, null if the run has told nothing or has ended."""
    for summary, pace in _looks(ledger, LOOK_EVERY):
        print_json({**summary.as_json(), "pace": pace and dataclasses.asdict(pace)}, indent=None)
        sys.stdout.flush()


def _look(summary: Summary, pace: Pace | None) -> Look:
    return Look(summary.counts, datetime.now().astimezone(), pace, ended=not summary.is_living)
