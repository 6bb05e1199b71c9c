"""`bulksms send`: read, check, ask, send, and write the ledger."""

import sys
from dataclasses import replace
from pathlib import Path

from bulksms.adaxes import Endpoint
from bulksms.api.plans import save_plan
from bulksms.cli.commands.sandbox import rehearse
from bulksms.cli.flows.duplicate_guard import (
    as_typed,
    histories,
    leaving_out,
    new_means,
    require_not_started,
    say_how_to_leave_out,
    start_record_of,
    warn_of_overlap,
)
from bulksms.cli.flows.ledger_run import (
    Again,
    begun,
    claim_of,
    continue_ledger,
    finish,
    request_for,
    require_possible,
    run_and_finish,
)
from bulksms.cli.flows.lookups import LookUpChoice
from bulksms.cli.flows.read_input import (
    InputChoice,
    ledger_for,
    new_ledger_for,
    read_into,
    reading_shown,
    require_no_input_options,
    show_why_refused,
)
from bulksms.cli.options.commands import SendOptions
from bulksms.cli.options.endpoint import base_url, resolve, url_if_given
from bulksms.cli.options.mailing import Mailing, as_noted, differences, read_mailing
from bulksms.cli.ui.console import fitted, info, quoted, say
from bulksms.cli.ui.preview import echo, print_preview_json, show_preview, show_table
from bulksms.cli.ui.prompts import confirm, require_limits
from bulksms.errors import PlanError, UsageError
from bulksms.ledger import LedgerName, LedgerUrl, ledger_at, ledger_name, new_draft, open_ledger
from bulksms.model.run_settings import RunSettings
from bulksms.planning.follow_up import NO_OVERLAPS, Overlaps
from bulksms.planning.plan import Preview
from bulksms.report.text import local_minute


def run_send(options: SendOptions, *, is_check: bool = False) -> int:
    """Send an input or a ledger, or do all of that but send; the exit code.

    A check is a dry run whose plan cannot be named by --expect: its values are not given yet.
    """
    with begun(options.output, options.endpoint, is_for_real=not options.dry_run):
        return _send(options, is_check=is_check)


def _send(options: SendOptions, *, is_check: bool) -> int:
    source = options.source
    if source is not None and source != "-":
        name = ledger_name(source)
        if isinstance(name, LedgerUrl) or ledger_at(name).is_ledger():
            return _send_ledger(name, options)
    settings = options.run.settings()
    look_up = LookUpChoice.of(options.lookup, options.input, options.endpoint, settings, is_rehearsal=options.sandbox)
    mailing = None if options.mailing is None else read_mailing(options.mailing, SendOptions)
    choice = InputChoice.of(source, options.input, options.lookup, look_up)
    if mailing is not None:
        choice = replace(choice, ledger_stem=mailing.file.stem)
    if options.dry_run:
        return _dry_run(choice, settings, options, mailing, is_check=is_check)
    if options.sandbox:
        return finish(rehearse(choice, settings, options), options.output)
    url = base_url(options.endpoint)
    path = new_ledger_for(choice, options.ledger) if options.new else ledger_for(choice, options.ledger)
    if path.exists() if isinstance(path, Path) else ledger_at(path).is_ledger():
        return _send_again(path, choice, options)
    with new_draft(path) as draft:
        preview = read_into(draft, choice, reading_shown(quiet=options.output.quiet))
        if not options.output.quiet:
            show_preview(preview, info, settings, url)
        if mailing is not None:
            preview.mailing = as_noted(mailing, choice.options)
            show_table(differences(draft, mailing, choice.options), info)
        require_limits(
            preview.to_send, preview.fingerprint, max_recipients=options.max_recipients, expect=options.expect
        )
        overlaps = warn_of_overlap(draft, preview.to_send, path, options.run.start_registry)
        named = source if options.mailing is None else str(options.mailing)
        say_how_to_leave_out(overlaps, preview.to_send, named, options.input, options.lookup)
        own = start_record_of(path, preview.fingerprint, None, url, preview.to_send)
        require_possible(options.run, settings, quiet=options.output.quiet)
        require_not_started(own, options.run.start_registry, new=options.new)
        noted = histories(options.run.start_registry, new=options.new)
        endpoint = resolve(options.endpoint, url) if look_up is None else look_up.endpoint
        confirmed_by = confirm(
            preview.to_send, url, yes=options.yes, limited=is_limited(options), twice=overlaps.messages
        )
        save_plan(draft, preview)
    with open_ledger(path) as reader:
        claim = claim_of(path, reader.plan(), url)
    request = replace(request_for(path, endpoint, settings, confirmed_by, options), histories=noted)
    return run_and_finish(request, options, claim=claim, is_new=True, new=options.new)


def _dry_run(
    choice: InputChoice, settings: RunSettings, options: SendOptions, mailing: Mailing | None, *, is_check: bool
) -> int:
    url = url_if_given(options.endpoint)
    as_json = options.output.as_json

    def show(preview: Preview, overlaps: Overlaps = NO_OVERLAPS, *, has_shown_why: bool = False) -> None:
        if as_json:
            print_preview_json(preview, url, overlaps, workers=settings.workers, rate=settings.rate)
        else:
            show_preview(preview, echo, settings, url, has_shown_why=has_shown_why)

    def refuse(preview: Preview) -> None:
        show_why_refused(preview)
        show(preview, has_shown_why=preview.bad > 0)

    with new_draft(None) as draft:
        preview = read_into(draft, choice, reading_shown(quiet=options.output.quiet), refuse)
        differing = [] if mailing is None else list(differences(draft, mailing, choice.options))
        own = options.ledger or Path()
        overlaps = warn_of_overlap(draft, preview.to_send, own, options.run.start_registry)
        named = choice.source if mailing is None else str(mailing.file)
        say_how_to_leave_out(overlaps, preview.to_send, named, options.input, options.lookup)
    show(preview, overlaps)
    if not as_json:
        show_table(differing, echo)
    require_limits(preview.to_send, preview.fingerprint, max_recipients=options.max_recipients, expect=options.expect)
    if not as_json:
        exactly = "" if is_check else " To send exactly this, and nothing else, write"
        echo(fitted(f"Dry run: nothing was sent, and nothing is left behind.{exactly}", sys.stdout))
        if exactly:
            echo(f"  --expect {preview.fingerprint}\nin the place of --dry-run.")
    return 0


def _send_ledger(path: LedgerName, options: SendOptions) -> int:
    if options.dry_run or options.sandbox:
        raise UsageError(
            "--dry-run and --sandbox need an input file, not a ledger.",
            hint=f"`bulksms status {path}` shows its counts.",
        )
    require_no_input_options(options.input, options.lookup)
    ways_on = f"`{leaving_out('INPUT', path)}` sends an input to those who are new."
    return continue_ledger(path, options, _asked(options, ways_on))


def _send_again(path: LedgerName, choice: InputChoice, options: SendOptions) -> int:
    """The ledger is there already: the same plan goes on, another one is refused."""
    with new_draft(None) as draft, open_ledger(path) as reader:
        preview = read_into(draft, choice, reading_shown(quiet=options.output.quiet))
        plan, left = reader.plan(), reader.counts().left
        sent_before = draft.count_queued(reader.possibly_sent())
        new_people = preview.to_send - draft.count_queued_for(who.key for who in reader.possible_recipients())
    named = str(choice.source if options.mailing is None else options.mailing)
    anew = leaving_out(named, path, typed=as_typed(options.input, options.lookup))
    to_the_new, to_all = _ways_on(anew, preview.to_send, new_people, sent_before)
    if plan.fingerprint != preview.fingerprint:
        on = f"`bulksms resume {quoted(str(path))}` goes on with what is left of the old plan; " if left else ""
        raise PlanError(
            f"{path} is about another plan: {plan.summary['to_send']:,} messages of {plan.input}, "
            f"{local_minute(plan.created_at)}, while {preview.input} now makes {preview.to_send:,}; recipients or "
            "texts differ. Nothing was sent.",
            hint=f"{to_the_new}; {on}{to_all}.",
        )
    if left:
        say(f"{path} has this plan already; going on with what is left.")
    endpoint = None if choice.look_up is None else choice.look_up.endpoint
    return continue_ledger(path, options, _asked(options, f"{to_the_new}; {to_all}.", endpoint))


def _ways_on(anew: str, to_send: int, new_people: int, sent_before: int) -> tuple[str, str]:
    """How an input whose ledger is there goes out all the same: by `anew` to the new people, and to all of them."""
    if not new_people:
        return "It was sent to everybody in it, or may have been", new_means(to_send, sent_before)
    them = "the 1 who is new" if new_people == 1 else f"the {new_people:,} to whom it did not send"
    return f"`{anew}` sends to {them}", new_means(to_send, sent_before)


def _asked(options: SendOptions, ways_on: str, endpoint: Endpoint | None = None) -> Again:
    return Again(options.expect, options.new, options.input.show, endpoint, ways_on)


def is_limited(options: SendOptions) -> bool:
    """Whether the operator limited what is to be sent."""
    return options.max_recipients is not None or options.expect is not None
