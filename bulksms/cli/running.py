"""Running: one run on one ledger, with signals, progress, and the result at the end."""

import asyncio
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bulksms.adaxes import Client, ClientSettings
from bulksms.cli.author import operator
from bulksms.cli.endpoint import Endpoint
from bulksms.cli.progress import Living, shown
from bulksms.cli.stopping import Stopping, stopping
from bulksms.config import RunSettings
from bulksms.delivery.outcome import VERDICTS, Evidence, Verdict
from bulksms.delivery.retry import Stop
from bulksms.engine.canary import Ask
from bulksms.engine.progress import Progress
from bulksms.engine.run import Run
from bulksms.errors import LedgerTrouble
from bulksms.ledger.decisions import Retry
from bulksms.ledger.file import Recovery
from bulksms.ledger.reader import LedgerReader
from bulksms.ledger.writer import LedgerWriter, RunRecord, open_for_run
from bulksms.message import Reason, State
from bulksms.report.summary import Exit, Summary, summarise
from bulksms.version import VERSION


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a command wants done: this ledger, there, so, confirmed by whom."""

    ledger: Path
    endpoint: Endpoint
    settings: RunSettings
    confirmed_by: str
    quiet: bool = False
    extra: dict[str, Any] | None = None
    """More to keep in the ledger's record of the run."""
    after_canary: Ask | None = None
    after_test: Ask | None = None
    """Who is asked whether to go on once the canary, or the test message, was accepted."""
    again: Retry | None = None
    """What a person wants sent again, with everything that is queued."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """How it ended."""

    summary: Summary
    exit_code: int
    why: str | None = None
    hint: str | None = None
    rehearsal: str | None = None
    """What the comparison of the books says, if it was one."""


async def run_ledger(request: RunRequest) -> RunResult:
    """Run until everything is settled, something stops it, or a person does.

    Raises LedgerLocked or LedgerTrouble if the ledger cannot be used, PlanRefused if it has changed since the question.
    """
    settings, endpoint = request.settings, request.endpoint
    ledger = await open_for_run(request.ledger, recovery_in(settings), _record(request), request.again)
    client = Client(
        ClientSettings(
            endpoint.base_url, settings.workers, settings.timeout, settings.adm_wait, endpoint.ca_file, endpoint.proxy
        ),
        endpoint.credentials,
    )
    run = Run(ledger, client, settings, after_canary=request.after_canary, after_test=request.after_test)
    try:
        # A signal is heeded to the very end: one that comes while the log-out waits must not take the result away.
        async with stopping(run, request.ledger) as listening:
            living = Living(request.ledger, ledger.run, await ledger.standing(), run.progress)
            async with client, shown(living, settings, quiet=request.quiet):
                await _work(run, ledger, listening)
            await ledger.close()
            return await asyncio.to_thread(_result, request, run.progress, listening)
    finally:
        await ledger.close()


def recovery_in(settings: RunSettings) -> Recovery:
    """What the evidence table says of messages that a dead run left `sending`."""
    mode = VERDICTS[Evidence.CRASHED, settings.delivery]
    return Recovery(State.UNKNOWN if mode is Verdict.UNKNOWN else State.QUEUED, settings.max_attempts)


async def _work(run: Run, ledger: LedgerWriter, listening: Stopping) -> None:
    """The run and its record; trouble with the ledger is an end like others, told in the result before any other."""
    progress = run.progress
    try:
        await run.work()
        if listening.cancelled:
            await ledger.withdraw(State.CANCELLED, Reason.CANCELLED)
        await ledger.end_run(progress.stopped, progress.elapsed, progress.done)
    except LedgerTrouble as trouble:
        progress.stopped, progress.why, progress.hint = Stop.LEDGER, str(trouble), trouble.hint


def _result(request: RunRequest, progress: Progress, listening: Stopping) -> RunResult:
    with LedgerReader(request.ledger) as reader:
        summary = summarise(reader)
        reader.check_counters()
    summary = replace(
        summary,
        stopped=progress.stopped,
        elapsed_seconds=progress.elapsed,
        settled=progress.done,
    )
    code = summary.exit_code
    if code is Exit.INTERRUPTED and not listening.by_interrupt:
        code = Exit.TERMINATED
    return RunResult(summary, code, progress.why or listening.said, progress.hint)


def _record(request: RunRequest) -> RunRecord:
    user, host = operator()
    settings = {**request.settings.as_dict(), "account": request.endpoint.account, **(request.extra or {})}
    return RunRecord(
        url=request.endpoint.base_url,
        version=VERSION,
        user=user,
        host=host,
        process=os.getpid(),
        settings=json.dumps(settings),
        confirmed_by=request.confirmed_by,
    )
