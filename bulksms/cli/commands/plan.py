"""`bulksms plan` and `approve`: keep a plan with everything queued, and let a second person approve it.

Invariant: what is approved is named by its fingerprint, and by another account than the one that planned it.
"""

from bulksms.api.plans import save_plan
from bulksms.cli.flows.duplicate_guard import say_how_to_leave_out, warn_of_overlap
from bulksms.cli.flows.lookups import LookUpChoice, require_a_use
from bulksms.cli.flows.read_input import InputChoice, ledger_for, read_into, reading_shown, show_why_refused
from bulksms.cli.options.commands import ApproveOptions, PlanOptions
from bulksms.cli.options.endpoint import url_if_given
from bulksms.cli.ui.console import command_line, say
from bulksms.cli.ui.preview import echo, print_preview_json, show_preview
from bulksms.cli.ui.result import say_next
from bulksms.errors import PlanError
from bulksms.ledger import Author, ledger_at, new_draft, open_ledger
from bulksms.model.run_settings import RunSettings
from bulksms.planning.follow_up import NO_OVERLAPS, Overlaps
from bulksms.planning.plan import Preview, count_of
from bulksms.report.summary import Step, approval
from bulksms.system import operator


def run_plan(options: PlanOptions) -> None:
    """Read, check, keep the ledger, and show the preview."""
    settings = RunSettings(workers=options.workers, rate=options.rate)
    look_up = LookUpChoice.of(options.lookup, options.input, options.endpoint, settings)
    choice = InputChoice.of(options.source, options.input, options.lookup, look_up)
    if look_up is None:
        require_a_use(options.endpoint)
    url = url_if_given(options.endpoint)
    path = ledger_for(choice, options.ledger)
    ledger_at(path).require_free()

    def show(preview: Preview, overlaps: Overlaps = NO_OVERLAPS, *, has_shown_why: bool = False) -> None:
        if options.as_json:
            print_preview_json(preview, url, overlaps, workers=settings.workers, rate=settings.rate)
        elif not options.quiet:
            show_preview(preview, echo, settings, url, has_shown_why=has_shown_why)

    def refuse(preview: Preview) -> None:
        show_why_refused(preview)
        show(preview, has_shown_why=preview.bad > 0)

    with new_draft(path) as draft:
        bar = reading_shown(quiet=options.quiet)
        preview = read_into(draft, choice, bar, refuse)
        overlaps = warn_of_overlap(draft, preview.to_send, path, options.start_registry)
        say_how_to_leave_out(overlaps, preview.to_send, options.source, options.input, options.lookup)
        save_plan(draft, preview, needs_approval=options.needs_approval)
    show(preview, overlaps)
    if options.as_json:
        return
    echo(f"Planned: {path}.")
    steps = approval(path, preview.fingerprint) if options.needs_approval else [Step("To send it", ("send", str(path)))]
    for why, command in steps:
        echo(f"{why}:\n  {command_line(command)}")


def run_approve(options: ApproveOptions) -> None:
    """Write the approval into the ledger."""
    path = options.ledger
    with open_ledger(path) as reader:
        plan, left = reader.plan(), reader.counts().left
    planner = plan.summary.get("planned_by")
    if planner is None:
        raise PlanError(
            f"{path} needs no approval; nothing was changed.",
            hint=f"Plan it with --needs-approval, or send it: `bulksms send {path}`.",
        )
    if options.fingerprint.lower() != plan.fingerprint:
        raise PlanError(
            f"{path} has another fingerprint: {plan.fingerprint}. Nothing was approved.",
            hint=f"Look at what would be sent, `bulksms report {path} --columns row,recipient,text`, "
            "and approve the fingerprint of that.",
        )
    if planner == " on ".join(operator()):
        raise PlanError(
            f"{path} was planned by this account, {planner}; nothing was approved.",
            hint="Another account has to approve it.",
        )
    ledger_at(path).approve(Author.here("approve", options.note))
    say(f"Approved: {count_of(left, 'message')} of {plan.input}, planned by {planner}.")
    say_next([Step("To send them", ("send", str(path)))])
