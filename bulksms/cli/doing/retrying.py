"""Retrying: what `retry` does, from the choice to the exit code.

Law: a person says yes to a number and an endpoint, and is told how many may get it a second time; what is queued then
is what was counted.
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from bulksms.cli import say
from bulksms.cli.doing.author import author
from bulksms.cli.doing.claiming import require_unclaimed
from bulksms.cli.doing.sending import (
    begin,
    bound_url,
    claim_on,
    is_limited,
    kept_settings,
    nothing_to_do,
    request_for,
    run,
)
from bulksms.cli.screen.asking import confirm, require_limits
from bulksms.cli.screen.preview import sending, show_lines, show_table
from bulksms.cli.screen.result import say_next
from bulksms.cli.settings.choosing import Choice, choose, describe
from bulksms.cli.settings.endpoint import EndpointOptions, from_environment
from bulksms.config import NO_DEADLINE, RunSettings
from bulksms.errors import LedgerLocked
from bulksms.ledger import file
from bulksms.ledger.decisions import Retry
from bulksms.ledger.reader import LedgerReader, Plan, Standing
from bulksms.library.runs import recovery_in, require_names
from bulksms.message import State
from bulksms.planning import FIRST_EXAMPLES
from bulksms.report.next_steps import next_steps
from bulksms.report.summary import summarise


def retry(path: Path, values: dict[str, Any]) -> int:
    """`bulksms retry`; the exit code."""
    begin(values)
    with LedgerReader(path) as reader:
        plan, runs, standing = reader.plan(), reader.runs(), reader.standing()
    require_names(path, plan)
    _require_no_run(path, standing)
    endpoint_options = EndpointOptions.of(values)
    url = bound_url(path, plan, runs, endpoint_options)
    settings = kept_settings(plan, runs, values)
    if standing.crashed:
        _recover(path, settings)
    with LedgerReader(path) as reader:
        standing = reader.standing()
        choice = choose(reader, values["only"], values["rows"], values["source"])
    _tell_left_alone(choice)
    if not choice.total:
        wanted = str(choice.selection).replace(",", " or ")
        code = nothing_to_do(path, values, f"Nothing is {wanted}, so nothing is sent again.")
        with LedgerReader(path) as reader:
            say_next(next_steps(summarise(reader), reader.reasons()))
        return code
    settings = _without_passed_deadline(settings)
    to_send = choice.total + standing.counts[State.QUEUED]
    require_limits(to_send, plan.fingerprint, max_recipients=values["max_recipients"], expect=None)
    require_unclaimed(claim_on(path, url), values)
    endpoint = from_environment(endpoint_options, url)
    if not values["quiet"]:
        with LedgerReader(path) as reader:
            show_lines(choice.first(reader, FIRST_EXAMPLES), say)
        show_table([*_numbers(plan, standing, choice), *sending(to_send, settings, url)], say)
    if choice.unknown:
        say(f"warning: {choice.unknown:,} of them may have been sent already; whoever was gets it twice.")
    confirmed_by = confirm(to_send, url, yes=values["yes"], limited=is_limited(values), twice=choice.unknown)
    again = Retry(author(confirmed_by), choice.selection, choice.numbers, choice.total, settings.deadline.at)
    return run(replace(request_for(path, endpoint, settings, confirmed_by, values), again=again), values)


def _recover(path: Path, settings: RunSettings) -> None:
    """What a dead run left `sending` is counted as what the evidence table makes of it."""
    with file.changing(path, recovery_in(settings), "recovering"):
        say("A run died on this ledger; what it had under way is told as what may have been sent.")


def _tell_left_alone(choice: Choice) -> None:
    if choice.left_alone:
        say(f"Of those that were named, these stay as they are: {describe(choice.left_alone)}.")
    if any(state is State.UNKNOWN for state, _ in choice.left_alone):
        say("hint: --only unknown sends to those of whom nobody knows; whoever got it gets it twice.")


def _numbers(plan: Plan, standing: Standing, choice: Choice) -> Iterator[tuple[str, str]]:
    yield "again", f"{choice.total:,} of {standing.total:,} in {plan.input}: {describe(choice.counts)}"
    if queued := standing.counts[State.QUEUED]:
        yield "and", f"{queued:,} that are still left to send"


def _without_passed_deadline(settings: RunSettings) -> RunSettings:
    """What expired must not expire again at once, so a deadline that has passed does not hold for a retry."""
    if settings.deadline.remaining(time.time()) != 0.0:
        return settings
    say("The deadline of this ledger has passed and holds no more; --deadline sets another one.")
    return replace(settings, deadline=NO_DEADLINE)


def _require_no_run(path: Path, standing: Standing) -> None:
    if standing.is_living:
        raise LedgerLocked(
            f"A run is working on {path.name}; what can be sent again is known when it has ended.",
            hint=f"Wait for it to end; `bulksms status {path}` shows how far it is.",
        )
