"""`bulksms import`, `export` and `work`: a ledger is moved into a database, copied back, worked on by one more machine.

Invariants: of a ledger and its copies one alone is worked on; an older copy is not moved. Who works with others is
asked nothing and starts nothing: the settings are those of the run, so that all machines agree; only how many workers
this machine has is its own.
"""

from bulksms.api.runs import last_settings, recovery_in
from bulksms.cli.flows.announcement import event_log
from bulksms.cli.flows.duplicate_guard import histories, require_latest
from bulksms.cli.flows.ledger_run import begun, bound_url, finish
from bulksms.cli.flows.run import RunRequest, run_ledger, run_loop
from bulksms.cli.options.commands import ExportOptions, ImportOptions, WorkOptions
from bulksms.cli.options.endpoint import resolve
from bulksms.cli.ui.console import command_line, info
from bulksms.cli.ui.result import say_next
from bulksms.errors import UsageError
from bulksms.ledger import Author, LedgerUrl, export_ledger, import_ledger, open_ledger
from bulksms.model.run_settings import RunSettings
from bulksms.planning.plan import count_of, require_approved, require_names
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


def run_work(options: WorkOptions) -> int:
    """Join the run, and work until nothing is left; the exit code, which is the whole ledger's."""
    with begun(options.output, options.endpoint):
        return _work(options)


def _work(options: WorkOptions) -> int:
    path = options.ledger
    with open_ledger(path) as reader:
        snapshot, actions = reader.snapshot(), reader.operator_actions()
    plan, runs = snapshot.plan, snapshot.runs
    require_names(path, plan, snapshot.counts)
    require_approved(path, plan, actions)
    url = bound_url(path, plan, runs, options.endpoint)
    noted = histories(None)
    require_latest(path, snapshot, noted)
    settings = (last_settings(plan, runs) or RunSettings()).changed({"workers": options.workers})
    request = RunRequest(
        path,
        resolve(options.endpoint, url),
        settings,
        "work",
        options.output.quiet,
        event_log=event_log(wanted=options.output.event_log),
        histories=noted,
        joins=True,
    )
    return finish(run_loop(run_ledger(request)), options.output)
