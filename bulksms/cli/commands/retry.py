"""`bulksms resume` and `retry`: continue what an earlier run left, and send again what a person chooses of the rest.

Invariant: before anything that failed, expired or is unknown is sent again, a person confirms a number and an endpoint,
and sees how many may get it a second time; what is queued then is what was counted.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace

from bulksms.api.runs import last_settings, recovery_in
from bulksms.cli.flows.duplicate_guard import histories, require_not_started, warn_of_overlap
from bulksms.cli.flows.ledger_run import (
    begun,
    bound_url,
    claim_of,
    continue_ledger,
    nothing_to_do,
    request_for,
    require_possible,
    run_and_finish,
)
from bulksms.cli.options.commands import ResumeOptions, RetryOptions
from bulksms.cli.options.endpoint import resolve
from bulksms.cli.options.message_selection import MessageSelection, choose, describe
from bulksms.cli.ui.console import info, say
from bulksms.cli.ui.preview import sending, show_lines, show_table
from bulksms.cli.ui.prompts import confirm, require_limits
from bulksms.cli.ui.result import say_next
from bulksms.errors import LedgerLockedError
from bulksms.ledger import Author, Counts, LedgerName, LedgerReader, Plan, Retry, ledger_at, open_ledger
from bulksms.model.message import State
from bulksms.model.run_settings import NO_DEADLINE, RunSettings
from bulksms.planning.plan import FIRST_EXAMPLES, require_approved, require_names
from bulksms.report.summary import next_steps, summarise


def run_resume(options: ResumeOptions) -> int:
    """Continue the ledger; the exit code."""
    with begun(options.output, options.endpoint):
        if options.after_failover:
            ledger_at(options.ledger).accept_failover()
        return continue_ledger(options.ledger, options)


def run_retry(options: RetryOptions) -> int:
    """Choose, ask, queue and run; the exit code."""
    with begun(options.output, options.endpoint):
        return _retry(options)


def _retry(options: RetryOptions) -> int:
    path = options.ledger
    with ExitStack() as opened:
        reader = opened.enter_context(open_ledger(path))
        snapshot = reader.snapshot()
        plan, runs, counts = snapshot.plan, snapshot.runs, snapshot.counts
        noted = histories(options.run.start_registry)
        require_names(path, plan, counts)
        require_approved(path, plan, snapshot.operator_actions)
        _require_no_run(path, counts)
        url = bound_url(path, plan, runs, options.endpoint)
        settings = options.run.settings(last_settings(plan, runs))
        noted.require_latest(path, plan.identity, runs, counts)
        if counts.crashed:
            opened.close()
            _recover(path, settings)
            reader = opened.enter_context(open_ledger(path))
            counts = reader.counts()
        choice = choose(reader, options.only, options.rows, options.source)
        _tell_left_alone(choice)
        if not choice.total:
            return _nothing_chosen(reader, choice, options)
        settings = _without_passed_deadline(settings)
        to_send = choice.total + counts.counts[State.QUEUED]
        require_limits(to_send, plan.fingerprint, max_recipients=options.max_recipients, expect=None)
        require_possible(options.run, settings, quiet=options.output.quiet)
        claim = claim_of(path, plan, url)
        require_not_started(claim, options.run.start_registry)
        endpoint = resolve(options.endpoint, url)
        overlaps = warn_of_overlap(_Chosen(reader, choice), to_send, path, options.run.start_registry)
        if not options.output.quiet:
            show_lines(choice.first(reader, FIRST_EXAMPLES), info)
            show_table([*_numbers(plan, counts, choice), *sending(to_send, settings, url)], info)
    if choice.unknown:
        say(f"warning: {choice.unknown:,} of them may have been sent already; those people then get it twice.")
    confirmed_by = confirm(
        to_send,
        url,
        yes=options.yes,
        limited=options.max_recipients is not None,
        twice=max(choice.unknown, overlaps.messages),
    )
    again = Retry(Author.here(confirmed_by), choice.selection, choice.numbers, choice.total, settings.deadline.at)
    request = replace(request_for(path, endpoint, settings, confirmed_by, options), again=again, histories=noted)
    return run_and_finish(request, options, claim=claim)


def _nothing_chosen(reader: LedgerReader, choice: MessageSelection, options: RetryOptions) -> int:
    """Say so, and what there is to do instead; the exit code."""
    wanted = str(choice.selection).replace(",", " or ")
    sentence = f"Nothing is {wanted}, so nothing is sent again."
    summary = summarise(reader)
    code = nothing_to_do(summary, sentence, as_json=options.output.as_json)
    say_next(next_steps(summary, reader.reasons()))
    return code


class _Chosen:
    """What a retry sends: everything queued, and what was chosen."""

    def __init__(self, reader: LedgerReader, choice: MessageSelection) -> None:
        self._reader = reader
        self._choice = choice

    def count_queued(self, sent: Iterable[tuple[str, str]]) -> int:
        """How many of them have one of these recipients (their keys) and the text beside it."""
        return self._reader.count_queued(sent, self._choice.selection, self._choice.numbers)


def _recover(path: LedgerName, settings: RunSettings) -> None:
    """What a dead run left `sending` is counted as what the evidence table makes of it."""
    ledger_at(path).recover(recovery_in(settings), "recovering")
    say("A run died on this ledger; its messages in flight count as possibly sent.")


def _tell_left_alone(choice: MessageSelection) -> None:
    if choice.left_alone:
        say(f"Of those that were named, these stay as they are: {describe(choice.left_alone)}.")
    if any(state is State.UNKNOWN for state, _ in choice.left_alone):
        say("hint: --only unknown sends the unknown messages again; people who have them get them twice.")


def _numbers(plan: Plan, counts: Counts, choice: MessageSelection) -> Iterator[tuple[str, str]]:
    yield "again", f"{choice.total:,} of {counts.total:,} in {plan.input}: {describe(choice.counts)}"
    if queued := counts.counts[State.QUEUED]:
        yield "and", f"{queued:,} that are still left to send"


def _without_passed_deadline(settings: RunSettings) -> RunSettings:
    """What expired must not expire again at once, so a deadline that has passed does not hold for a retry."""
    if settings.deadline.remaining(time.time()) != 0.0:
        return settings
    say("The deadline of this ledger has passed and holds no more; --deadline sets another one.")
    return replace(settings, deadline=NO_DEADLINE)


def _require_no_run(path: LedgerName, counts: Counts) -> None:
    if counts.is_living:
        raise LedgerLockedError(
            f"A run is working on {path.name}; what can be sent again is known when it has ended.",
            hint=f"Wait for it to end; `bulksms status {path}` shows how far it is.",
        )
