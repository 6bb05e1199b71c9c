"""`bulksms work`: one more machine works on the run that a person has started on a ledger in a database.

Invariant: nobody is asked, and nothing is started. The settings are those of the run, so that all machines agree; only
how many workers this machine has is its own.
"""

from bulksms.api.runs import last_settings, require_approved, require_names
from bulksms.cli.flows.announcement import event_log
from bulksms.cli.flows.duplicate_guard import histories, require_latest
from bulksms.cli.flows.ledger_run import begun, bound_url, finish
from bulksms.cli.flows.run import RunRequest, run_ledger, run_loop
from bulksms.cli.options.commands import WorkOptions
from bulksms.cli.options.endpoint import resolve
from bulksms.ledger import open_ledger
from bulksms.model.run_settings import RunSettings


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
