"""`bulksms status`: how a ledger stands."""

import sys
from pathlib import Path

import click

from bulksms.cli.screen.console import fitted
from bulksms.cli.screen.result import print_status, say_next
from bulksms.cli.settings.options import FILE
from bulksms.ledger.reader import LedgerReader
from bulksms.report.decisions import as_lines
from bulksms.report.next_steps import next_steps
from bulksms.report.runs import FINISHED, runs_told
from bulksms.report.summary import summarise


@click.command("status", epilog="Example: bulksms status people.ledger.db --watch")
@click.argument("ledger", type=FILE)
@click.option("--watch", is_flag=True, help="Show how the run on it goes until it ends; Ctrl-C ends the watching only.")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object; with --watch one a line every second.")
def command(ledger: Path, watch: bool, as_json: bool) -> None:
    """Say how a ledger stands, also beside a living run, and what to do next."""
    if watch:
        from bulksms.cli.screen import watching  # noqa: PLC0415 - a look needs none of it

        if not watching.watch(ledger, as_json=as_json) or as_json:
            return
    with LedgerReader(ledger) as reader:
        summary, decisions, runs, plan = summarise(reader), reader.decisions(), runs_told(reader), reader.plan()
        is_rehearsal = any(run.is_rehearsal for run in runs)
        steps = next_steps(summary, reader.reasons(), is_rehearsal=is_rehearsal)
    print_status(summary, as_json=as_json)
    if as_json:
        return
    if runs and not summary.is_living and runs[-1].ending != FINISHED:
        click.echo(fitted(f"End of run {summary.run}: {runs[-1].ending}.", sys.stdout))
    for line in as_lines(decisions):
        click.echo(fitted(line, sys.stdout))
    if not summary.is_living and plan.purged_at is None:
        say_next(steps)
