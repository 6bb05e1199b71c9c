"""`bulksms import` and `export`: a ledger moves from a file into a database, and a copy of it comes back.

Invariant: of a ledger and its copies one alone is worked on; an older copy is not moved.
"""

from bulksms.api.runs import last_settings, recovery_in
from bulksms.cli.flows.duplicate_guard import histories, require_latest
from bulksms.cli.options.commands import ExportOptions, ImportOptions
from bulksms.cli.ui.console import command_line, info
from bulksms.cli.ui.result import say_next
from bulksms.errors import UsageError
from bulksms.ledger import Author, LedgerUrl, export_ledger, import_ledger, open_ledger
from bulksms.model.run_settings import RunSettings
from bulksms.planning.plan import count_of
from bulksms.report.summary import Step


def run_export(options: ExportOptions) -> None:
    """Write the copy."""
    ledger = options.ledger
    if not isinstance(ledger, LedgerUrl):
        raise UsageError(f"{ledger} is a file already.", hint="Copy it while no run works on it.")
    is_living = export_ledger(ledger, options.file)
    info(f"Written: {options.file}, a copy to be read; nothing can be sent from it.")
    if is_living:
        info("Machines are working on the ledger: what was under way is `unknown` in the copy.")


def run_import(options: ImportOptions) -> None:
    """Move the ledger."""
    file, ledger = options.file, options.ledger
    if not isinstance(ledger, LedgerUrl):
        raise UsageError(
            f"{ledger} is no URL of a ledger in a database.",
            hint=f"`{command_line(('import', str(file), 'postgresql://HOST/DATABASE?ledger=NAME'))}`",
        )
    with open_ledger(file) as reader:
        snapshot = reader.snapshot()
    require_latest(file, snapshot, histories(None))
    author = Author.here("bulksms import")
    recovery = recovery_in(last_settings(snapshot.plan, snapshot.runs) or RunSettings())
    import_ledger(file, ledger, recovery, f"{author.user} on {author.host}, moving it into a database")
    info(f"Moved: {count_of(snapshot.counts.total, 'message')} of {snapshot.plan.input}. {file} is a copy from now on.")
    say_next([Step("To go on with it", ("send", str(ledger)))] if snapshot.counts.left else [])
