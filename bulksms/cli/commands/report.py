"""`bulksms report`: each message of a ledger, or each run on it."""

import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from itertools import chain

from bulksms.cli.options.commands import ReportOptions
from bulksms.cli.ui.console import columns_of, print_or_write, print_paged, quoted, require_replaceable, say
from bulksms.errors import UsageError
from bulksms.ledger import EVERYTHING, LedgerReader, LedgerUrl, Selection, open_ledger
from bulksms.model.message import State
from bulksms.report.history import as_blocks, decision_lines, describe_runs
from bulksms.report.rows import TableFormat, as_causes, as_csv, as_jsonl, as_table
from bulksms.report.shapes import Runs
from bulksms.report.shapes import as_json as as_json_text

_LOOKED_AT = frozenset(State) - {State.ACCEPTED, State.SKIPPED, State.CANCELLED, State.QUEUED, State.SENDING}
"""States whose causes are listed above the messages."""


def run_report(options: ReportOptions) -> None:
    """Write the report."""
    ledger, output = options.ledger, options.output
    _require_sense(options)
    _require_writable(options)
    with open_ledger(ledger) as reader, reader.one_moment():
        if options.runs:
            print_or_write(_runs(reader, as_json=options.as_json), output)
        elif (options.format or "table") == "table":
            _print_table(reader, options)
        else:
            print_or_write(_messages(reader, options.format, options.only), output)
    if output is not None:
        say(f"Written: {output}.")


def _print_table(reader: LedgerReader, options: ReportOptions) -> None:
    """On a terminal: first the causes, fitted to its width, in a pager if it is longer than the screen."""
    width = columns_of(sys.stdout) if options.output is None else None
    layout = TableFormat(width, options.columns or (), options.sort, options.wide)
    chosen = options.only or EVERYTHING
    lines = as_table(reader.messages(chosen), reader.plan().columns, layout)
    if width is None:
        print_or_write(lines, options.output)
        return
    states = chosen.states if options.only else _LOOKED_AT
    causes = as_causes(reader.statistics().outcomes(), lambda group: group.state in states)
    print_paged(chain(causes, lines), is_paged=not options.no_pager, is_wide=options.wide)


def _messages(reader: LedgerReader, form: str | None, only: Selection | None) -> Iterable[str]:
    chosen = only or EVERYTHING
    if form == "html":
        from bulksms.report.page import Wanted, as_page  # noqa: PLC0415 - nobody else waits for jinja2

        return as_page(reader, Wanted(partial(reader.messages, chosen), only is not None, datetime.now(UTC), quoted))
    columns, lines = reader.plan().columns, reader.messages(chosen)
    if form == "csv":
        return as_csv(lines, columns)
    return as_jsonl(lines, columns)


def _runs(reader: LedgerReader, *, as_json: bool) -> Iterable[str]:
    described = describe_runs(reader)
    if as_json:
        runs = Runs(ledger=str(reader.path), runs=[run.entry() for run in described])
        return [as_json_text(runs, indent=2), "\n"]
    return as_blocks(described, decision_lines(reader.operator_actions()))


def _require_sense(options: ReportOptions) -> None:
    """An option that could not do anything is refused. Raises UsageError."""
    if options.as_json and not options.runs:
        raise UsageError("--json is about --runs.", hint="`--format jsonl` tells of each message as JSON.")
    if (options.columns or options.sort or options.wide) and (options.runs or options.format not in (None, "table")):
        raise UsageError(
            "--columns, --sort and --wide lay out the table.", hint="Omit them; csv and jsonl have every column."
        )
    if options.runs and (options.format is not None or options.only is not None):
        raise UsageError(
            "--runs tells of runs; --format and --only are about messages.", hint="Leave them out, or --runs."
        )


def _require_writable(options: ReportOptions) -> None:
    """A report never takes the place of its ledger, nor, unasked, of another file. Raises UsageError."""
    output = options.output
    if output is None or not output.exists():
        return
    if not isinstance(options.ledger, LedgerUrl) and output.samefile(options.ledger):
        raise UsageError(f"{output} is the ledger itself.", hint="Choose another file with -o.")
    require_replaceable(output, force=options.force)
