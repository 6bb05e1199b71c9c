"""Running: one run on one ledger, with signals, progress, and the result at the end."""

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bulksms import Endpoint, Hooks, LedgerTrouble, OpenRun, RunSettings, Stop, open_run
from bulksms.cli.doing.stopping import Stopping, heeding_signals
from bulksms.cli.screen.progress import Living, shown
from bulksms.cli.screen.result import RunResult
from bulksms.engine.canary import Ask
from bulksms.ledger.decisions import Retry
from bulksms.report.summary import Exit, checked_status


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a command wants done: this ledger, there, so, confirmed by whom."""

    ledger: Path
    endpoint: Endpoint
    settings: RunSettings
    confirmed_by: str
    quiet: bool = False
    notes: Mapping[str, Any] = field(default_factory=dict)
    """More to keep in the ledger's record of the run."""
    after_canary: Ask | None = None
    after_test: Ask | None = None
    """Who is asked whether to go on once the canary, or the test message, was accepted."""
    again: Retry | None = None
    """What a person wants sent again, with everything that is queued."""


async def run_ledger(request: RunRequest) -> RunResult:
    """Run until everything is settled, something stops it, or a person does.

    Trouble with the ledger while it runs is an end like others, told in the result before any other. Raises
    LedgerLocked or LedgerTrouble if the ledger cannot be used at all, PlanRefused if it has changed since the question.
    """
    run: OpenRun | None = None
    stopping = Stopping()
    hooks = Hooks(on_wish=stopping.wished, after_canary=request.after_canary, after_test=request.after_test)
    with ExitStack() as to_the_end:
        try:
            async with open_run(
                request.ledger,
                request.endpoint,
                request.settings,
                hooks,
                confirmed_by=request.confirmed_by,
                notes=request.notes,
                again=request.again,
            ) as run:
                # Heeded to the very end: a signal that comes while the log-out waits must not take the result away.
                to_the_end.enter_context(heeding_signals(run, stopping))
                living = Living(request.ledger, run.number, run.standing, run.progress)
                async with shown(living, request.settings, quiet=request.quiet):
                    await run.work()
        except LedgerTrouble as trouble:
            if run is None:
                raise
            return await asyncio.to_thread(_troubled, request.ledger, run, trouble)
        return _result(run, stopping)


def _result(run: OpenRun, stopping: Stopping) -> RunResult:
    code = run.summary.exit_code
    if code is Exit.INTERRUPTED and not stopping.by_interrupt:
        code = Exit.TERMINATED
    return RunResult(run.summary, code, run.progress.why or stopping.said, run.progress.hint)


def _troubled(ledger: Path, run: OpenRun, trouble: LedgerTrouble) -> RunResult:
    """How the ledger stands although the end of the run is not in it."""
    progress = run.progress
    summary = replace(
        checked_status(ledger), stopped=Stop.LEDGER, elapsed_seconds=progress.elapsed, settled=progress.done
    )
    return RunResult(summary, summary.exit_code, str(trouble), trouble.hint)
