"""Sending: what `send` and `resume` do, from the ledger's choice to the exit code."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from bulksms.adaxes import Endpoint
from bulksms.claims import Claim
from bulksms.cli import say
from bulksms.cli.doing import loop
from bulksms.cli.doing.awake import kept_awake
from bulksms.cli.doing.claiming import claim, claim_of, require_unclaimed
from bulksms.cli.doing.reading import (
    InputChoice,
    ledger_for,
    new_ledger_for,
    read_into,
    reading_shown,
    require_no_input_options,
)
from bulksms.cli.doing.rehearsal import rehearse
from bulksms.cli.doing.running import RunRequest, run_ledger
from bulksms.cli.screen import logs
from bulksms.cli.screen.asking import confirm, confirm_after_canary, confirm_after_test, require_limits
from bulksms.cli.screen.console import on_terminal, print_json, unbroken_pipe
from bulksms.cli.screen.preview import echo, print_preview_json, sending, show_left, show_preview
from bulksms.cli.screen.result import RunResult, for_another_server, print_result, print_status, quoted, say_what_next
from bulksms.cli.settings.endpoint import EndpointOptions, from_environment
from bulksms.cli.settings.setting import file_read, on_command_line
from bulksms.config import RunSettings
from bulksms.errors import BulksmsError, PlanRefused, UsageError
from bulksms.ledger.draft import Draft
from bulksms.ledger.file import is_ledger, remove
from bulksms.ledger.reader import LedgerReader, Plan, Run, Standing
from bulksms.library.plans import keep
from bulksms.library.runs import last_settings, recovery_in, require_bound, require_names
from bulksms.message import State
from bulksms.planning import Preview
from bulksms.report.summary import status

STALE_AFTER = 3_600.0
"""Seconds since the last attempt after which a person is asked again before a run goes on."""


def send(source: str | None, values: dict[str, Any]) -> int:
    """`bulksms send`; the exit code."""
    begin(values)
    if source not in (None, "-") and is_ledger(Path(str(source))):
        return _send_ledger(Path(str(source)), values)
    choice = InputChoice.of(source, values)
    if values["dry_run"]:
        return _dry_run(choice, values)
    if values["sandbox"]:
        return _finish(rehearse(choice, _changed(None, values), values), values)
    endpoint_options = EndpointOptions.of(values)
    url = endpoint_options.url_or(None)
    path = new_ledger_for(choice, values["ledger"]) if values["new"] else ledger_for(choice, values["ledger"])
    if path.exists():
        return _send_again(path, choice, values)
    with Draft(path) as draft:
        preview = read_into(draft, choice, reading_shown(quiet=values["quiet"]))
        settings = _changed(None, values)
        _show(preview, url, settings, values)
        require_limits(
            preview.to_send, preview.fingerprint, max_recipients=values["max_recipients"], expect=values["expect"]
        )
        require_unclaimed(claim_of(path, preview.fingerprint, None, url, preview.to_send), values)
        endpoint = from_environment(endpoint_options, url) if choice.look_up is None else choice.look_up.endpoint
        confirmed_by = confirm(preview.to_send, url, yes=values["yes"], limited=is_limited(values))
        keep(draft, preview)
    return run(request_for(path, endpoint, settings, confirmed_by, values), values, is_new=True)


def resume(path: Path, values: dict[str, Any]) -> int:
    """`bulksms resume`; the exit code."""
    begin(values)
    with LedgerReader(path) as reader:
        require_names(path, reader.plan())
        left = reader.standing().left
    if not left:
        return nothing_to_do(path, values, "Nothing is left to send.")
    return _continue(path, values, ask=False)


def nothing_to_do(path: Path, values: dict[str, Any], sentence: str) -> int:
    """Say so and how the ledger stands; the exit code."""
    say(sentence)
    summary = status(path)
    print_status(summary, as_json=values["as_json"])
    # Why the last run stopped says nothing any more: a script that repeats this until it succeeds has to end.
    return replace(summary, stopped=None).exit_code


def begin(values: dict[str, Any]) -> None:
    """Open the log, and say whose settings hold."""
    if on_command_line("log_recipients") and values["log_level"] != "debug":
        raise UsageError(
            "--log-recipients is about the events of single messages, which are told on the level debug only.",
            hint="Add --log-level debug, or leave it out.",
        )
    logs.configure(values["log_level"], values["log_format"], values["log_file"], recipients=values["log_recipients"])
    if (file := file_read(click.get_current_context())) is not None and not values["quiet"]:
        say(f"Settings are read from {file}; `bulksms config` shows them.")


def _dry_run(choice: InputChoice, values: dict[str, Any]) -> int:
    url = None if values["url"] is None else EndpointOptions.of(values).url_or(None)
    settings = _changed(None, values)

    def print_json_preview(preview: Preview) -> None:
        print_preview_json(preview, url, workers=settings.workers, rate=settings.rate)

    refused = print_json_preview if values["as_json"] else None
    with Draft(None) as draft:
        preview = read_into(draft, choice, reading_shown(quiet=values["quiet"]), refused)
    if values["as_json"]:
        print_json_preview(preview)
    else:
        show_preview(preview, echo, settings, url)
    require_limits(
        preview.to_send, preview.fingerprint, max_recipients=values["max_recipients"], expect=values["expect"]
    )
    if not values["as_json"]:
        echo("Dry run: nothing was sent, and nothing is left behind.")
    return 0


def _send_ledger(path: Path, values: dict[str, Any]) -> int:
    if values["dry_run"] or values["sandbox"]:
        raise UsageError(
            "--dry-run and --sandbox need an input file, not a ledger.",
            hint=f"`bulksms status {path}` shows how it stands.",
        )
    require_no_input_options()
    with LedgerReader(path) as reader:
        require_names(path, reader.plan())
        _require_left(path, reader.plan(), reader.standing())
    return _continue(path, values, ask=True)


def _send_again(path: Path, choice: InputChoice, values: dict[str, Any]) -> int:
    """The ledger is there already: the same plan goes on, another one is refused."""
    with Draft(None) as draft:
        preview = read_into(draft, choice, reading_shown(quiet=values["quiet"]))
    with LedgerReader(path) as reader:
        plan, standing = reader.plan(), reader.standing()
    if plan.fingerprint != preview.fingerprint:
        raise PlanRefused(
            f"{path} is about another plan: {plan.summary['to_send']:,} messages of {plan.input}, {plan.created_at}, "
            f"while {preview.input} now makes {preview.to_send:,}; recipients or texts differ. Nothing was sent.",
            hint="--new starts another ledger, --ledger names one; "
            f"`bulksms resume {quoted(str(path))}` goes on with the old plan.",
        )
    _require_left(path, plan, standing)
    say(f"{path} has this plan already; going on with what is left.")
    endpoint = None if choice.look_up is None else choice.look_up.endpoint
    return _continue(path, values, ask=True, endpoint=endpoint)


def _require_left(path: Path, plan: Plan, standing: Standing) -> None:
    if not standing.left:
        raise PlanRefused(
            f"{plan.input} was already sent to {standing.counts[State.ACCEPTED]:,} on {plan.created_at[:10]}, "
            "nothing sent now.",
            hint=f"`bulksms status {path}` shows it; name the input with --new to send all of it from a new ledger.",
        )


def _continue(path: Path, values: dict[str, Any], *, ask: bool, endpoint: Endpoint | None = None) -> int:
    """Go on with a ledger: with what its last run was started with, unless a flag says otherwise.

    An `endpoint` that was used for look-ups is used again, so that nobody is asked for a token twice.
    """
    with LedgerReader(path) as reader:
        plan, runs, standing, last_attempt = reader.plan(), reader.runs(), reader.standing(), reader.last_attempt_at()
    endpoint_options = EndpointOptions.of(values)
    url = bound_url(path, plan, runs, endpoint_options)
    settings = kept_settings(plan, runs, values)
    to_send = standing.to_send(crashed_too=recovery_in(settings).state is State.QUEUED)
    require_limits(to_send, plan.fingerprint, max_recipients=values["max_recipients"], expect=values.get("expect"))
    require_unclaimed(claim_on(path, url), values)
    endpoint = endpoint or from_environment(endpoint_options, url)
    # What the server still works on is asked about, and nothing is sent by that.
    if to_send and (ask or (on_terminal() and _is_stale(last_attempt))):
        if not values["quiet"]:
            say(f"{plan.input}, planned {plan.created_at}: {to_send:,} of {standing.total:,} are left to send.")
            with LedgerReader(path) as reader:
                show_left(reader, sending(to_send, settings, url), say, values.get("show"))
        confirmed_by = confirm(to_send, url, yes=values["yes"], limited=is_limited(values))
    else:
        confirmed_by = "resume"
    return run(request_for(path, endpoint, settings, confirmed_by, values), values)


def bound_url(path: Path, plan: Plan, runs: Sequence[Run], options: EndpointOptions) -> str:
    """Where a ledger's messages go. Raises PlanRefused for another URL than before, and for a rehearsal's ledger."""
    if runs and runs[-1].settings.get("sandbox"):
        raise PlanRefused(
            f"{path} is the ledger of a rehearsal, whose server is gone.",
            hint="Rehearse again with `bulksms send INPUT --sandbox`, or send the input for real.",
        )
    url = options.url_or(plan.url)
    try:
        require_bound(path, plan, url)
    except PlanRefused as refused:
        hint = f"Leave --url, BULKSMS_URL and url in a file of settings out to go on there. {for_another_server(path)}"
        raise PlanRefused(str(refused), hint=hint) from None
    return url


def kept_settings(plan: Plan, runs: Sequence[Run], values: dict[str, Any]) -> RunSettings:
    """What the last run was started with, unless a flag says otherwise."""
    return _changed(last_settings(plan, runs), values)


def claim_on(path: Path, url: str) -> Claim:
    """What is claimed for a ledger that is there."""
    with LedgerReader(path) as reader:
        plan = reader.plan()
    return claim_of(path, plan.fingerprint, plan.identity, url, plan.summary.get("to_send", 0))


def request_for(
    path: Path, endpoint: Endpoint, settings: RunSettings, confirmed_by: str, values: dict[str, Any]
) -> RunRequest:
    """What a command wants done; at a terminal somebody is asked after canary and test message."""
    asks = on_terminal() and not values["yes"]
    return RunRequest(
        path,
        endpoint,
        settings,
        confirmed_by,
        values["quiet"],
        after_canary=confirm_after_canary if asks else None,
        after_test=confirm_after_test if asks else None,
    )


def _is_stale(last_attempt: float | None) -> bool:
    return last_attempt is None or time.time() - last_attempt > STALE_AFTER


def run(request: RunRequest, values: dict[str, Any], *, is_new: bool = False) -> int:
    """Claim the plan, run, tell how it ended; the exit code. A ledger that `is_new` goes if another one was first."""
    try:
        claim(claim_on(request.ledger, request.endpoint.base_url), values)
    except BulksmsError:
        if is_new:
            remove(request.ledger)
        raise
    with kept_awake():
        result = loop.run(run_ledger(request))
    return _finish(result, values)


def _finish(result: RunResult, values: dict[str, Any]) -> int:
    with unbroken_pipe():
        if values["as_json"]:
            print_json(result.summary.as_json())
        else:
            with LedgerReader(result.summary.ledger) as reader:
                print_result(result.summary, reader.reasons())
    if result.rehearsal is not None:
        say(result.rehearsal)
    if not values["quiet"]:
        say_what_next(result)
    return result.exit_code


def _show(preview: Preview, url: str, settings: RunSettings, values: dict[str, Any]) -> None:
    if not values["quiet"]:
        show_preview(preview, say, settings, url)


def _changed(kept: RunSettings | None, values: dict[str, Any]) -> RunSettings:
    """What is kept of an earlier run holds whole, against environment and file too; only a flag changes it."""
    said = values if kept is None else {name: value for name, value in values.items() if on_command_line(name)}
    flags = {"adapt": False if said.get("no_adapt") else None, "keep_going": said.get("keep_going") or None}
    return (kept or RunSettings()).changed({**said, **flags})


def is_limited(values: dict[str, Any]) -> bool:
    """Whether the operator said how much at most, or exactly what, is to be sent."""
    return values["max_recipients"] is not None or values.get("expect") is not None
