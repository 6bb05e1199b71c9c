"""Run: one run on one ledger, on the fastest event loop, with signals, progress, and the result at the end.

Invariants: uvloop where the extra `[speed]` has put it, asyncio's own loop elsewhere; what is sent and written down is
the same on both. The first stop drains the run, the second breaks off what is in flight; either way every row is
written down. No signal is needed: `bulksms stop` and `cancel` work on every platform.
"""

import asyncio
import gc
import signal
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from bulksms import ControlCommand, Endpoint, Hooks, LedgerError, OpenRun, RunSettings, StopReason, open_run
from bulksms.cli.flows.announcement import EventLog
from bulksms.cli.ui.console import say
from bulksms.cli.ui.process import SIGNALS, mute_signals, silent_keyboard
from bulksms.cli.ui.progress import RunMonitor, shown
from bulksms.cli.ui.result import RunResult
from bulksms.engine.canary import Confirm
from bulksms.ledger import Author, LedgerName, Retry
from bulksms.model.message import State
from bulksms.planning.ledger_history import NO_HISTORIES, Histories
from bulksms.report.summary import ExitCode, checked_status

Result = TypeVar("Result")

GARBAGE_AFTER = 50_000
"""Objects allocated and not yet freed before the collector looks for rings among them. What is under way alone is some
thousand objects, in no ring: with Python's own 700 it looks at them again and again, for a tenth of all work."""


Factory = Callable[[], asyncio.AbstractEventLoop]
"""What makes an event loop."""


def run_loop(work: Coroutine[Any, Any, Result]) -> Result:
    """What `asyncio.run` does, on the fastest loop that there is."""
    return run_on(fastest(), work)


def run_on(factory: Factory | None, work: Coroutine[Any, Any, Result]) -> Result:
    """The same on a loop that this makes; None is asyncio's own way."""
    before = gc.get_threshold()
    gc.set_threshold(GARBAGE_AFTER, *before[1:])
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(work)
    finally:
        gc.set_threshold(*before)


def fastest() -> Factory | None:
    """What makes the fastest event loop; None where that is asyncio's own."""
    try:
        import uvloop  # noqa: PLC0415 - an extra, which is not there on Windows
    except ImportError:
        return None
    factory: Factory = uvloop.new_event_loop
    return factory


_NOW = "Stopping: nothing new begins, what is in flight is broken off."


def draining(in_flight: int, seconds: float) -> str:
    """What is awaited, how long at most, and what it costs to break that off."""
    if not in_flight:
        return "Stopping: nothing new begins, and nothing is in flight."
    answers = "1 answer in flight is" if in_flight == 1 else f"{in_flight:,} answers in flight are"
    those = "that one was" if in_flight == 1 else f"those {in_flight:,} were"
    return (
        f"Stopping: nothing new begins; {answers} awaited for {seconds:g} s at most. "
        f"Ctrl-C again breaks that off: then it will be unknown whether {those} sent."
    )


@dataclass(slots=True)
class StopRequests:
    """What came: signals in their order, and the command of another shell, which counts as TERM."""

    signals: list[int] = field(default_factory=list)
    command: ControlCommand | None = None
    """The command of another shell, if there was one; a later command does not undo `cancel`."""
    timeout: float = 30.0
    """Seconds for which an answer is awaited."""
    in_flight: Callable[[], int] = int
    """How many requests are in flight."""

    def on_command(self, command: ControlCommand) -> None:
        """Another shell wants the run to stop."""
        self.command = ControlCommand.CANCEL if self.cancelled else command
        self.on_signal(signal.SIGTERM, now=command is ControlCommand.STOP_NOW)

    def on_signal(self, number: int, *, now: bool = False) -> None:
        """The run is to stop; announced once."""
        self.signals.append(number)
        if len(self.signals) == 1:
            say(_NOW if now else draining(self.in_flight(), self.timeout))

    @property
    def cancelled(self) -> bool:
        """Whether what is queued is to be withdrawn."""
        return self.command is ControlCommand.CANCEL

    @property
    def by_interrupt(self) -> bool:
        """Whether it was Ctrl-C that ended the run."""
        return not self.signals or self.signals[0] == signal.SIGINT


@contextmanager
def handle_signals(run: OpenRun, stopping: StopRequests) -> Iterator[None]:
    """Plain handlers, because they are what every platform has; they call the loop in its own thread.

    A signal that was to be ignored when the program began stays ignored: `nohup` outlives its terminal. One that comes
    when the run is over is too late, and stays so to the end of the process: everything that was sent is in the ledger.
    """
    loop = asyncio.get_running_loop()

    def signalled(number: int) -> None:
        if run.pool.is_over:
            return
        stopping.on_signal(number)
        by = "Ctrl-C" if number == signal.SIGINT else f"the signal {signal.Signals(number).name}"
        run.stop(now=len(stopping.signals) > 1, author=Author.here(by))

    def handle(number: int, _: object) -> None:
        loop.call_soon_threadsafe(signalled, number)

    handled = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    for number in handled:
        signal.signal(number, handle)
    try:
        yield
    finally:
        mute_signals()


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a command wants done: this ledger, there, so, confirmed by whom."""

    ledger: LedgerName
    endpoint: Endpoint
    settings: RunSettings
    confirmed_by: str
    quiet: bool = False
    notes: Mapping[str, Any] = field(default_factory=dict)
    """More to keep in the ledger's record of the run."""
    after_canary: Confirm | None = None
    after_test: Confirm | None = None
    """Who is asked whether to go on once the canary, or the test message, was accepted."""
    event_log: EventLog = field(default_factory=lambda: EventLog(None))
    """Where start, end and trouble of the run are reported."""
    histories: Histories = NO_HISTORIES
    """Where the run and its progress are noted outside the ledger."""
    again: Retry | None = None
    """What a person wants sent again, with everything that is queued."""
    joins: bool = False
    """Whether this machine works on a run that was started on another one."""


async def run_ledger(request: RunRequest) -> RunResult:
    """Run until everything is settled, something stops it, or a person does.

    Trouble with the ledger while it runs is an end like others, named in the result before any other. Raises
    LedgerLockedError or LedgerError if the ledger cannot be used at all, PlanError if it has changed since the
    question.
    """
    run: OpenRun | None = None
    stopping = StopRequests(timeout=request.settings.timeout)
    hooks = Hooks(on_command=stopping.on_command, after_canary=request.after_canary, after_test=request.after_test)
    with ExitStack() as to_the_end:
        to_the_end.enter_context(silent_keyboard())
        try:
            async with open_run(
                request.ledger,
                request.endpoint,
                request.settings,
                hooks,
                confirmed_by=request.confirmed_by,
                notes=request.notes,
                again=request.again,
                joins=request.joins,
                histories=request.histories,
            ) as run:
                # Handled to the very end: a signal that comes while the log-out waits must not take the result away.
                to_the_end.enter_context(handle_signals(run, stopping))
                stopping.in_flight = partial(_in_flight, run)
                living = RunMonitor(request.ledger, run.counts_before, run.pool)
                async with shown(living, request.settings, request.event_log.look, quiet=request.quiet):
                    await run.work()
        except LedgerError as trouble:
            if run is None:
                raise
            return await asyncio.to_thread(_troubled, run, trouble)
        speed = living.meter.speed(request.settings.workers, request.settings.rate)
        return replace(_result(run, stopping), speed=speed)


def _in_flight(run: OpenRun) -> int:
    return run.pool.status().in_flight


def _result(run: OpenRun, stopping: StopRequests) -> RunResult:
    code = run.summary.exit_code
    if code is ExitCode.INTERRUPTED and not stopping.by_interrupt:
        code = ExitCode.TERMINATED
    stop = run.pool.stop_signal
    return RunResult(run.summary, code, stop.why or _who_stopped(run), stop.hint)


def _who_stopped(run: OpenRun) -> str | None:
    by = run.stopped_by
    return None if by is None else f"by {by.user} on {by.host} with {by.confirmed_by}"


def _troubled(run: OpenRun, trouble: LedgerError) -> RunResult:
    """The state of the ledger although the end of the run is not in it. Raises LedgerError if it cannot be read."""
    counters = run.pool.counters
    try:
        read = checked_status(run.ledger)
    except LedgerError:
        accepted = counters.settled[State.ACCEPTED]
        raise LedgerError(
            f"{trouble} This run had {accepted:,} {'message' if accepted == 1 else 'messages'} accepted by then.",
            hint=trouble.hint,
        ) from trouble
    summary = replace(read, stopped=StopReason.LEDGER_ERROR, elapsed_seconds=run.pool.elapsed, settled=counters.done)
    return RunResult(summary, summary.exit_code, str(trouble), trouble.hint)
