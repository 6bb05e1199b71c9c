"""A run on a ledger that is there: what `send`, `resume` and `retry` share, from when it may start to the exit code.

Invariants: nothing is sent before its time, and a run goes on at the next day only if `--next-day` says that it may.
The waits are by the wall clock, so they hold over a sleep of the machine.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

import click

from bulksms.adaxes import Endpoint
from bulksms.api.runs import last_settings, recovery_in
from bulksms.cli.flows.announcement import configure_log, event_log, reporting_to_event_log, run_on_finish
from bulksms.cli.flows.duplicate_guard import (
    histories,
    register_start,
    require_latest,
    require_not_started,
    start_record_of,
    warn_of_overlap,
)
from bulksms.cli.flows.run import RunRequest, run_ledger, run_loop
from bulksms.cli.options.endpoint import base_url, resolve
from bulksms.cli.options.groups import EndpointOptions, OutputOptions, RunOptions, SendingOptions
from bulksms.cli.ui.console import command_line, info, on_terminal, print_json, quoted, say
from bulksms.cli.ui.preview import sending, show_left, speeds
from bulksms.cli.ui.process import end_on_signals, silent_keyboard
from bulksms.cli.ui.prompts import confirm, confirm_after_canary, confirm_after_test, require_limits
from bulksms.cli.ui.result import (
    RunResult,
    for_another_server,
    log_unshown,
    print_result,
    print_status,
    say_what_next,
)
from bulksms.errors import BulksmsError, PlanError, UsageError
from bulksms.ledger import LedgerName, LedgerReader, LedgerSnapshot, Plan, RunRecord, ledger_at, open_ledger
from bulksms.model.message import State
from bulksms.model.run_settings import RunSettings, SendingHours, StopReason
from bulksms.planning.follow_up import NO_OVERLAPS
from bulksms.planning.ledger_history import Histories
from bulksms.planning.plan import require_approved, require_bound, require_names
from bulksms.planning.start_registry import HOLDS_FOR, StartRecord
from bulksms.report.summary import ExitCode, Summary, summarise
from bulksms.report.text import duration, local, local_minute

TICK = 1.0
"""Seconds between two looks at the clock."""


def require_possible(options: RunOptions, settings: RunSettings, *, quiet: bool = False) -> None:
    """Check before the question that the run can start when it is asked to, and report when that is.

    Raises UsageError for options that contradict each other, PlanError outside the sending hours.
    """
    if options.latest is not None:
        _require_sense(options, options.latest)
    hours = None if settings.hours is None else SendingHours.parse(settings.hours)
    if options.next_day and hours is None:
        raise UsageError("--next-day is about the sending hours, and there are none.", hint="Add --hours 08:00-20:00.")
    starts = datetime.now().astimezone() if options.at is None else datetime.fromtimestamp(options.at).astimezone()
    if hours is not None and hours.closing(starts, datetime.astimezone) is None:
        opens = hours.opening(starts, datetime.astimezone)
        if options.at is not None:
            raise UsageError(
                f"{local(options.at)} is outside the sending hours {hours}.", hint=f"They begin at {local(opens)}."
            )
        if not options.next_day:
            raise PlanError(
                f"It is {local(starts)}, outside the sending hours {hours}. Nothing was sent.",
                hint=f"--next-day waits until {local(opens)}; --at TIME starts then; --hours names other hours.",
            )
    if options.at is not None and not quiet:
        say(f"The run will start at {local(options.at)}, in {duration(options.at - time.time())}.")


def next_start(options: RunOptions, settings: RunSettings) -> float | None:
    """When the run may start (POSIX seconds); None is at once."""
    if options.at is not None and options.at > time.time():
        return options.at
    if settings.hours is None or not options.next_day:
        return None
    now, hours = datetime.now().astimezone(), SendingHours.parse(settings.hours)
    if hours.closing(now, datetime.astimezone) is not None:
        return None
    return hours.opening(now, datetime.astimezone).timestamp()


def wait_until(moment: float, ledger: LedgerName) -> None:
    """Wait for the moment, and show how long that is. Raises KeyboardInterrupt when somebody stops the wait."""
    words = f"Waiting to start at {local(moment)}; Ctrl-C stops waiting, and {ledger.name} keeps everything queued."
    say(words)
    on_terminal = sys.stderr.isatty()
    try:
        with silent_keyboard():
            while (left := moment - time.time()) > 0:
                if on_terminal:
                    click.echo(f"\r\x1b[KStarts in {duration(left)}", nl=False, err=True)
                time.sleep(min(TICK, left))
    finally:
        if on_terminal:
            click.echo("\r\x1b[K", nl=False, err=True)


def _require_sense(options: RunOptions, latest: float) -> None:
    if options.at is None:
        raise UsageError("--latest is about a start --at a time.", hint="--deadline TIME ends a run that starts now.")
    if options.deadline is not None and options.on_command_line("deadline"):
        raise UsageError("--latest and --deadline are the same limit.", hint="Give one of them.")
    if latest <= options.at:
        raise UsageError(
            f"--latest {local(latest)} is not after --at {local(options.at)}.", hint="Give --latest a later time."
        )


STALE_AFTER = 3_600.0
"""Seconds since the last attempt after which a person is asked again before a run goes on."""


def nothing_to_do(summary: Summary, sentence: str, *, as_json: bool) -> int:
    """Say so, and show the state of the ledger; the exit code."""
    info(sentence)
    print_status(summary, as_json=as_json)
    # Why the last run stopped says nothing any more: a script that repeats this until it succeeds has to end.
    return replace(summary, stopped=None).exit_code


@contextmanager
def begun(output: OutputOptions, endpoint: EndpointOptions, *, is_for_real: bool = True) -> Iterator[None]:
    """Open the logs, and say whose settings hold; what is refused in this block is reported to the system's log.

    Raises UsageError.
    """
    if output.on_command_line("log_recipients") and output.log_level != "debug":
        raise UsageError(
            "--log-recipients is about the events of single messages, which are logged on the level debug only.",
            hint="Add --log-level debug, or leave it out.",
        )
    configure_log(output.log_level, output.log_format, output.log_file, recipients=output.log_recipients)
    if endpoint.config is not None and not output.quiet:
        say(f"Settings are read from {endpoint.config}; `bulksms config` shows them.")
    with reporting_to_event_log(wanted=output.event_log and is_for_real):
        yield


@dataclass(frozen=True, slots=True)
class Again:
    """What `send` asks of a ledger that is there already, and `resume` does not."""

    expect: str | None = None
    """The fingerprint that the plan must have."""
    new: bool = False
    show: int | None = None
    """Messages shown before the question."""
    endpoint: Endpoint | None = None
    """Used for look-ups already, and used again, so that nobody is asked for a token twice."""
    ways_on: str = ""
    """What to do where nothing is left to send."""


def continue_ledger(path: LedgerName, options: SendingOptions, asked: Again | None = None) -> int:
    """Go on with a ledger: with what its last run was started with, unless a flag says otherwise.

    Where `send` named the ledger or its input, a person is asked in any case, and a ledger of which nothing is left is
    refused. Whatever has to be known before the run is read in one opening. Returns the exit code.
    """
    with open_ledger(path) as reader:
        snapshot = reader.snapshot()
        require_names(path, snapshot.plan, snapshot.counts)
        if not snapshot.counts.left:
            if asked is None:
                summary = summarise(reader)
                return nothing_to_do(summary, "Nothing is left to send.", as_json=options.output.as_json)
            raise _already_sent_error(path, snapshot, asked.ways_on)
        start = _prepare(reader, snapshot, options, asked or Again(), is_asked=asked is not None)
    confirmed_by = "resume"
    if start.is_asked:
        confirmed_by = confirm(
            start.to_send,
            start.url,
            yes=options.yes,
            limited=options.max_recipients is not None or (asked or Again()).expect is not None,
            twice=start.twice,
        )
    request = replace(
        request_for(path, start.endpoint, start.settings, confirmed_by, options), histories=start.histories
    )
    return run_and_finish(request, options, claim=start.claim, new=asked is not None and asked.new)


def _already_sent_error(path: LedgerName, snapshot: LedgerSnapshot, ways_on: str) -> PlanError:
    """Why nothing is sent from a ledger of which nothing is left, and how its input goes out all the same."""
    plan, counts = snapshot.plan, snapshot.counts
    if snapshot.runs and snapshot.runs[-1].settings.get("sandbox"):
        return PlanError(
            f"{path} is the ledger of a rehearsal: nothing was sent to anybody, then or now.",
            hint="Send the input for real, or rehearse again with `bulksms send INPUT --sandbox`.",
        )
    return PlanError(
        f"{plan.input} was already sent to {counts.counts[State.ACCEPTED]:,} on "
        f"{local_minute(plan.created_at)[:10]}, nothing sent now.",
        hint=f"`bulksms status {quoted(str(path))}` shows it. {ways_on}",
    )


@dataclass(frozen=True, slots=True)
class _Start:
    """What is known of a run on a ledger before it is confirmed."""

    url: str
    endpoint: Endpoint
    settings: RunSettings
    histories: Histories
    claim: StartRecord
    to_send: int
    twice: int
    """How many of them another ledger sent already, or may have."""
    is_asked: bool


def _prepare(
    reader: LedgerReader, snapshot: LedgerSnapshot, options: SendingOptions, again: Again, *, is_asked: bool
) -> _Start:
    """Check all that could refuse the run, and show what it would send if a person is asked."""
    path, plan = reader.path, snapshot.plan
    require_approved(path, plan, snapshot.operator_actions)
    url = bound_url(path, plan, snapshot.runs, options.endpoint)
    settings = options.run.settings(last_settings(plan, snapshot.runs))
    to_send = snapshot.counts.to_send(crashed_too=recovery_in(settings).state is State.QUEUED)
    require_limits(to_send, plan.fingerprint, max_recipients=options.max_recipients, expect=again.expect)
    require_possible(options.run, settings, quiet=options.output.quiet)
    noted = histories(options.run.start_registry, new=again.new)
    require_latest(path, snapshot, noted)
    claim = claim_of(path, plan, url)
    require_not_started(claim, options.run.start_registry, new=again.new)
    endpoint = again.endpoint or resolve(options.endpoint, url)
    overlaps = warn_of_overlap(reader, to_send, path, options.run.start_registry) if to_send else NO_OVERLAPS
    is_asked = (
        is_asked
        or (on_terminal() and _is_stale(snapshot.last_attempt_at))
        or overlaps.is_within(HOLDS_FOR.total_seconds(), time.time())
    )
    is_asked = is_asked and to_send > 0
    if not options.output.quiet:
        for sentence in _what_goes_on(snapshot, to_send, url):
            say(sentence)
        if is_asked:
            show_left(reader, sending(to_send, settings, url), info, again.show)
    return _Start(url, endpoint, settings, noted, claim, to_send, overlaps.messages, is_asked)


def _what_goes_on(snapshot: LedgerSnapshot, to_send: int, url: str) -> Iterator[str]:
    """What a run on a ledger will do, and what it will not."""
    plan, counts = snapshot.plan, snapshot.counts
    are = "is" if to_send == 1 else "are"
    left = f"{to_send:,} of {counts.total:,} {are} left to send, to {url}" if to_send else "nothing is left to send"
    yield f"{plan.input}, planned {local_minute(plan.created_at)}: {left}."
    if counts.crashed > to_send - counts.counts[State.QUEUED]:
        yield f"{counts.crashed:,} may have been sent when the last run died; they are unknown, and not sent again."
    if working := counts.counts[State.PROCESSING]:
        yield f"The server still works on {working:,}; it is asked what became of them, and nothing is sent by that."


def bound_url(path: LedgerName, plan: Plan, runs: Sequence[RunRecord], options: EndpointOptions) -> str:
    """Where a ledger's messages go. Raises PlanError for another URL than before, and for a rehearsal's ledger."""
    if runs and runs[-1].settings.get("sandbox"):
        raise PlanError(
            f"{path} is the ledger of a rehearsal, whose server is gone.",
            hint="Rehearse again with `bulksms send INPUT --sandbox`, or send the input for real.",
        )
    url = base_url(options, plan.url)
    try:
        require_bound(path, plan, url)
    except PlanError as refused:
        hint = f"Leave --url, BULKSMS_URL and url in a settings file out to go on there. {for_another_server(path)}"
        raise PlanError(str(refused), hint=hint) from None
    return url


def claim_of(path: LedgerName, plan: Plan, url: str) -> StartRecord:
    """What is claimed for a ledger that is there."""
    return start_record_of(path, plan.fingerprint, plan.identity, url, plan.summary.get("to_send", 0))


def request_for(
    path: LedgerName, endpoint: Endpoint, settings: RunSettings, confirmed_by: str, options: SendingOptions
) -> RunRequest:
    """What a command wants done; at a terminal somebody is asked after canary and test message."""
    asks = on_terminal() and not options.yes
    return RunRequest(
        path,
        endpoint,
        settings,
        confirmed_by,
        options.output.quiet,
        after_canary=confirm_after_canary if asks else None,
        after_test=confirm_after_test if asks else None,
        event_log=event_log(wanted=options.output.event_log),
    )


def _is_stale(last_attempt: float | None) -> bool:
    return last_attempt is None or time.time() - last_attempt > STALE_AFTER


def run_and_finish(
    request: RunRequest, options: SendingOptions, *, claim: StartRecord, is_new: bool = False, new: bool = False
) -> int:
    """Claim the plan, run, tell how it ended; the exit code. A ledger that `is_new` goes if another one was first."""
    try:
        if (start := next_start(options.run, request.settings)) is not None:
            wait_until(start, request.ledger)
    except KeyboardInterrupt:
        say("Stopped waiting; nothing was sent. To send it at once, or --at another TIME:")
        info(f"  {command_line(('resume', str(request.ledger)))}")
        return ExitCode.INTERRUPTED
    try:
        register_start(claim, options.run.start_registry, new=new)
    except BulksmsError:
        if is_new:
            ledger_at(request.ledger).remove()
        raise
    _announce_start(request)
    result = _run(request)
    while result.summary.stopped == StopReason.OUTSIDE_HOURS and options.run.next_day:
        result = _go_on_next_day(result, request, options)
    return finish(result, options.output)


def _announce_start(request: RunRequest) -> None:
    if request.event_log.exists:
        with open_ledger(request.ledger) as reader:
            to_send = reader.counts().counts[State.QUEUED]
        again = 0 if request.again is None else request.again.expected
        request.event_log.started(request.ledger, to_send + again, request.endpoint.base_url)


def _go_on_next_day(result: RunResult, request: RunRequest, options: SendingOptions) -> RunResult:
    """Wait for the next sending hours, and run again on what is left."""
    left = result.summary.counts[State.QUEUED]
    say(f"The sending hours have ended; {left:,} {'is' if left == 1 else 'are'} left.")
    end_on_signals()
    try:
        if (start := next_start(options.run, request.settings)) is not None:
            wait_until(start, request.ledger)
    except KeyboardInterrupt:
        return replace(result, exit_code=ExitCode.INTERRUPTED)
    return _run(replace(request, again=None))


def _run(request: RunRequest) -> RunResult:
    """Run once, and keep for later previews how fast that was."""
    result = run_loop(run_ledger(request))
    if result.speed is not None:
        speeds().add(request.endpoint.base_url, result.speed)
    return result


def finish(result: RunResult, output: OutputOptions) -> int:
    """Print how the run ended; nothing that goes wrong from here on changes the exit code of what was sent."""
    if output.as_json:
        print_json(result.summary.result())
    else:
        print_result(result.summary)
    if result.rehearsal is not None:
        say(result.rehearsal)
    if not output.quiet:
        say_what_next(result)
    log_unshown(result)
    event_log(wanted=output.event_log).ended(result)
    run_on_finish(result, output.on_finish)
    return result.exit_code
