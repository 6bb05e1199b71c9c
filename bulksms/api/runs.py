"""Runs: one run on one ledger, for a program that awaits it.

Beside its work a living run looks whether its ledger is lost, and follows commands of another shell without a signal.
Invariant: however the block of a run is left, by its end, a `break`, an exception or a cancellation, the run is drained
first: nothing new begins, answers in flight are awaited, and the ledger says what is known of each message.
"""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import anyio

from bulksms import __version__
from bulksms.adaxes import Client, Endpoint
from bulksms.api.outcomes import Outcome, Outcomes
from bulksms.engine.canary import Confirm
from bulksms.engine.pool import WorkerPool
from bulksms.errors import BulksmsError, LedgerError
from bulksms.ledger import (
    Action,
    Author,
    ControlCommand,
    Counts,
    Ledger,
    LedgerName,
    LedgerReader,
    LedgerWriter,
    News,
    Plan,
    Recovery,
    Retry,
    RunRecord,
    RunStart,
    SharedHold,
    ledger_at,
    open_ledger,
)
from bulksms.log import log
from bulksms.model.attempt import Attempt
from bulksms.model.message import Message, Reason, State
from bulksms.model.run_settings import TIMINGS, RunSettings, StopReason, Timings
from bulksms.planning.ledger_history import NO_HISTORIES, Histories
from bulksms.planning.plan import require_approved, require_bound, require_names
from bulksms.policy.retry import VERDICTS, Decision, Evidence, Verdict
from bulksms.report.summary import Summary, checked_status
from bulksms.system import SYSTEM, System, operator


@dataclass(frozen=True, slots=True)
class Hooks:
    """Functions that a run calls in its event loop; those that are not awaited have to be quick.

    What `on_settled` and `on_command` raise is logged and changes nothing.
    """

    on_settled: Callable[[Outcome], None] | None = None
    """Called with each message that was settled for good."""
    on_command: Callable[[ControlCommand], None] | None = None
    """Called with a command from another shell to stop the run, which the run then follows."""
    after_canary: Confirm | None = None
    after_test: Confirm | None = None
    """Awaited once the canary, or the test message, was accepted: whether to go on."""


@asynccontextmanager
async def open_run(  # noqa: PLR0913 - what a run needs, and what is kept of its beginning
    ledger: LedgerName,
    endpoint: Endpoint,
    settings: RunSettings | None = None,
    hooks: Hooks | None = None,
    *,
    confirmed_by: str = "a program",
    notes: Mapping[str, Any] | None = None,
    again: Retry | None = None,
    joins: bool = False,
    histories: Histories = NO_HISTORIES,
    system: System = SYSTEM,
    timings: Timings = TIMINGS,
    store: Callable[[LedgerName], Ledger] = ledger_at,
) -> AsyncIterator["OpenRun"]:
    """Open a ledger and a client for one run; leaving the block ends both, with everything that is known on disk.

    Without `settings` those of the ledger's last run hold. `confirmed_by` and `notes` are kept in the ledger's record
    of the run. The messages of `again` are queued in the same moment. With `joins` this machine works on a run that
    somebody has started on another one. The run follows `bulksms stop` and `bulksms cancel` of another shell.
    `histories` note the run and its progress outside the ledger. Tests pass a `system`, `timings` and a `store` of
    their own.

    Raises:
        LedgerLockedError: another run is working on the ledger.
        LedgerError: the ledger cannot be used, or failed at the end.
        PlanError: the ledger is bound to another URL, its names were removed, or there are not as many messages to
            send again as were counted.
        UsageError: the CA file cannot be used.

    """
    if settings is None:
        settings = await asyncio.to_thread(_kept_settings, ledger)
    record = _run_start(endpoint, settings, confirmed_by, notes or {})
    there = endpoint.client_settings(settings.workers, settings.timeout, settings.adm_wait)

    def check(reader: LedgerReader) -> None:
        plan, runs = reader.plan(), reader.runs()
        require_names(ledger, plan, reader.counts())
        require_approved(ledger, plan, reader.operator_actions())
        require_bound(ledger, plan, endpoint.base_url)
        histories.require_latest(ledger, plan.identity, runs, reader.counts())

    # The client comes first: what it refuses is refused before the run is recorded and the ledger bound to the URL.
    async with Client(there, endpoint.credentials, system) as client:
        opened, recovery = store(ledger), recovery_in(settings)
        if joins:
            opening = opened.join_run(record, recovery, check)
        else:
            opening = opened.open_for_run(record, recovery, again, check)
        writer = await _opened(opening)
        try:
            await asyncio.to_thread(histories.begin, writer, ledger, record)
            run = OpenRun(writer, client, settings, await writer.counts(), hooks or Hooks(), timings)
            stop = run.pool.stop_signal.set_for_ledger
            run.pool.stop_signal.on_stop(writer.share_stop)
            async with (
                watch_news(writer, run.on_news),
                watch_ledger(writer, histories, stop, timings.watch_interval),
                _ended(run),
            ):
                yield run
        except BaseException as error:
            await _finished(asyncio.create_task(_record_early_end(writer, error)))
            raise
        finally:
            await _finished(asyncio.create_task(writer.close()))
            await asyncio.to_thread(histories.end, writer)
    run.summary = await asyncio.to_thread(checked_status, run.ledger, writer.run)


@asynccontextmanager
async def watch_ledger(
    writer: LedgerWriter, histories: Histories, stop: Callable[[LedgerError], None], interval: float
) -> AsyncIterator[None]:
    """Look every `interval` seconds while the block lives; `stop` gets what is wrong with the ledger."""
    watching = asyncio.create_task(_watch_ledger(writer, histories, stop, interval))
    try:
        yield
    finally:
        watching.cancel()
        with anyio.CancelScope(shield=True), suppress(asyncio.CancelledError):
            await watching


async def _watch_ledger(
    writer: LedgerWriter, histories: Histories, stop: Callable[[LedgerError], None], interval: float
) -> None:
    while True:
        await asyncio.sleep(interval)
        if (trouble := writer.trouble) is not None:
            stop(trouble)
            return
        await asyncio.to_thread(histories.update, writer.attempts)


@asynccontextmanager
async def watch_news(writer: LedgerWriter, on_news: Callable[[News], None]) -> AsyncIterator[None]:
    """Call `on_news` with each command and with what other machines share, while the block lives.

    Raises LedgerError if commands cannot be cleared.
    """
    ledger = ledger_at(writer.path)
    await asyncio.to_thread(ledger.clear_command)
    watching = asyncio.create_task(_watch_news(writer, on_news))
    try:
        yield
    finally:
        watching.cancel()
        with anyio.CancelScope(shield=True):
            with suppress(asyncio.CancelledError):
                await watching
            await asyncio.to_thread(ledger.clear_command)


async def _watch_news(writer: LedgerWriter, on_news: Callable[[News], None]) -> None:
    while True:
        on_news(await writer.next_news())


async def _opened(opening: Coroutine[Any, Any, LedgerWriter]) -> LedgerWriter:
    """The ledger, opened in a thread that cannot be interrupted: after a cancellation it is closed again."""
    task = asyncio.create_task(opening)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await _finished(asyncio.create_task(_close_unused(task)))
        raise


async def _close_unused(opening: asyncio.Task[LedgerWriter]) -> None:
    with suppress(BulksmsError):
        writer = await opening
        await writer.end_run(StopReason.INTERRUPTED, 0.0, 0)
        await writer.close()


async def _record_early_end(writer: LedgerWriter, error: BaseException) -> None:
    """Record why a run ended, unless it has recorded that itself: nothing but a killed process leaves a run open."""
    with suppress(LedgerError):
        await writer.end_run(_reason_for(error), 0.0, 0)


def _reason_for(error: BaseException) -> StopReason:
    if isinstance(error, BulksmsError):
        return StopReason.LEDGER_ERROR
    return StopReason.INTERNAL_ERROR if isinstance(error, Exception) else StopReason.INTERRUPTED


async def _finished(task: asyncio.Task[Any], cancelled: Callable[[], None] | None = None) -> None:
    """Wait for the end of a task, also if the awaiting task is cancelled; `cancelled` is called each time it is.

    Raises CancelledError after that end if it was.
    """
    last: asyncio.CancelledError | None = None
    while not task.done():
        try:
            with anyio.CancelScope(shield=True):  # a cancelled scope of anyio would raise again and again
                await asyncio.wait([task])
        except asyncio.CancelledError as error:
            last = error
            if cancelled is not None:
                cancelled()
    if last is not None:
        raise last


@asynccontextmanager
async def _ended(run: "OpenRun") -> AsyncIterator[None]:
    """The run is drained and its end is recorded, and an error in the block stops it first."""
    try:
        yield
    except BaseException:
        run.stop()
        with suppress(LedgerError):
            await run.end()
        raise
    await run.end()


class OpenRun:
    """A run that is ready, from `open_run`: await `work`, or iterate over `outcomes`; once, and one of the two."""

    def __init__(  # noqa: PLR0913, PLR0917 - made by `open_run` only
        self,
        ledger: LedgerWriter,
        client: Client,
        settings: RunSettings,
        counts_before: Counts,
        hooks: Hooks,
        timings: Timings,
    ) -> None:
        self.number = ledger.run
        """Which run on its ledger this is, counted from 1."""
        self.settings = settings
        self.counts_before = counts_before
        """How many messages were in each state when the ledger was opened."""
        self._ledger = ledger
        self._hooks = hooks
        self._outcomes = Outcomes()
        self.pool = WorkerPool(
            ledger,
            client,
            settings,
            on_settled=self._settled,
            wait_for_capacity=self._outcomes.wait_for_capacity,
            after_canary=hooks.after_canary,
            after_test=hooks.after_test,
            system=client.system,
            timings=timings,
        )
        """The workers: what they have done so far, and what stops them."""
        self._work: asyncio.Task[None] | None = None
        self._is_stopping = False
        self._is_too_late = False
        """It was stopped when nothing was left that could have been kept from being done."""
        self._withdraws = False
        self.stopped_by: Author | None = None
        """Who stopped the run, if a person did."""
        self._summary: Summary | None = None

    @property
    def ledger(self) -> LedgerName:
        """The ledger that says what was sent: its own, or where its end saved it because its own had been lost."""
        return self._ledger.saved_as or self._ledger.path

    @property
    def stopped(self) -> StopReason | None:
        """Why the run stops, or has stopped, before its work was done; None if nothing stopped it.

        A fault of this program counts before any other reason.
        """
        work = self._work
        error = work.exception() if work is not None and work.done() and not work.cancelled() else None
        if error is not None and not isinstance(error, LedgerError):
            return StopReason.INTERNAL_ERROR
        return None if self._is_too_late else self.pool.stopped

    @property
    def summary(self) -> Summary:
        """The ledger in numbers after the block. Raises RuntimeError before its end."""
        if self._summary is None:
            raise RuntimeError("the summary of a run is known when its block has ended")
        return self._summary

    @summary.setter
    def summary(self, summary: Summary) -> None:
        self._summary = summary

    async def work(self) -> None:
        """Work until everything is settled or something stops the run.

        Cancelling the awaiting task drains the run, a second time breaks off what is in flight. Raises LedgerError
        if the ledger failed, RuntimeError if the run has begun already.
        """
        work = self._begin()
        try:
            await asyncio.wait([work])
        finally:
            await self._drain()
        work.result()

    async def outcomes(self) -> AsyncGenerator[Outcome]:
        """Work as `work` does, and give each message that was settled for good, as it happens.

        A loop that does not keep up slows the run down; leaving it early drains the run. Raises what `work` raises,
        after the last outcome.
        """
        self._outcomes.listen()
        work = self._begin()
        try:
            while (outcome := await self._outcomes.next()) is not None:
                yield outcome
        finally:
            await self._drain()
        work.result()

    def stop(self, *, now: bool = False, author: Author | None = None) -> None:
        """Begin nothing new and await the answers in flight; with `now`, break those off as well.

        The ledger keeps the `author` of the first stop, if a person stopped it.
        """
        self._is_stopping = True
        self.stopped_by = self.stopped_by or author
        self.pool.stop(now=now)

    def cancel(self) -> None:
        """Stop, and withdraw what is queued by then: for the wrong text."""
        self._withdraws = True
        self.stop()

    def on_news(self, news: News) -> None:
        """Follow a command, or what another machine shares."""
        if isinstance(news, SharedHold):
            self.pool.follow(news)
        elif isinstance(news, StopReason):
            self.pool.stop(news)
        else:
            self.on_command(*news)

    def on_command(self, command: ControlCommand, author: Author) -> None:
        """Follow a command; a run that is stopping already breaks off what is in flight."""
        if self.pool.is_over:
            return
        if command is ControlCommand.CANCEL:
            self._withdraws, self.stopped_by = True, author
        self.stop(now=self._is_stopping or command is ControlCommand.STOP_NOW, author=author)
        if self._hooks.on_command is not None:
            try:
                self._hooks.on_command(command)
            except Exception:  # noqa: BLE001 - a caller's hook must not keep the run from following commands
                log.exception("hook failed")

    async def end(self) -> None:
        """Drain the run and record how it ended. Raises LedgerError; `open_run` calls it."""
        try:
            await self._drain()
        finally:
            with anyio.CancelScope(shield=True):
                await self._write_end()

    async def _write_end(self) -> None:
        if self.pool.stopped is StopReason.INTERRUPTED and not self.pool.counters.settled[State.UNKNOWN]:
            counts = await self._ledger.counts()
            is_withdrawn = self._withdraws and counts.counts[State.CANCELLED] > 0  # by another machine
            self._is_too_late = not counts.unfinished and not is_withdrawn
        if self._withdraws:
            await self._ledger.withdraw(State.CANCELLED, Reason.CANCELLED)
        if self.stopped_by is not None and self.stopped is StopReason.INTERRUPTED:
            action = Action.CANCEL if self._withdraws else Action.STOP
            await self._ledger.note_stop(action, self.stopped_by)
        await self._ledger.end_run(self.stopped, self.pool.elapsed, self.pool.counters.done)

    def _begin(self) -> asyncio.Task[None]:
        if self._work is not None:
            raise RuntimeError("a run works once; open the ledger again for another one")
        self._work = asyncio.create_task(self.pool.work())
        self._work.add_done_callback(lambda _: self._outcomes.end())
        return self._work

    async def _drain(self) -> None:
        """Wait for the end of what was begun; a cancellation meanwhile breaks it off."""
        self._outcomes.stop_listening()
        if self._work is None or self._work.done():
            return
        self.stop()
        await _finished(self._work, lambda: self.stop(now=True))

    def _settled(self, message: Message, attempt: Attempt, decision: Decision) -> None:
        hook = self._hooks.on_settled
        if decision.state is State.PROCESSING or (hook is None and not self._outcomes.has_listener):
            return
        outcome = Outcome.of(message, attempt, decision)
        self._outcomes.add(outcome)
        if hook is not None:
            hook(outcome)


def last_settings(plan: Plan, runs: Sequence[RunRecord]) -> RunSettings | None:
    """What the ledger's last run was started with, with its deadline as a moment; None before the first run."""
    if not runs:
        return None
    kept = runs[-1].settings
    if plan.deadline is not None and (kept.get("deadline") or {}).get("at") is None:
        kept = {**kept, "deadline": {"at": plan.deadline}}  # what the first request made of a duration
    return RunSettings().changed(kept)


def recovery_in(settings: RunSettings) -> Recovery:
    """What the evidence table says about messages that a dead run left `sending`."""
    verdict = VERDICTS[Evidence.CRASHED, settings.delivery]
    return Recovery(State.UNKNOWN if verdict is Verdict.UNKNOWN else State.QUEUED, settings.max_attempts)


def _kept_settings(ledger: LedgerName) -> RunSettings:
    with open_ledger(ledger) as reader:
        return last_settings(reader.plan(), reader.runs()) or RunSettings()


def _run_start(endpoint: Endpoint, settings: RunSettings, confirmed_by: str, notes: Mapping[str, Any]) -> RunStart:
    """What the ledger keeps of the beginning of a run; `notes` are kept among its settings."""
    user, host = operator()
    return RunStart(
        url=endpoint.base_url,
        version=__version__,
        user=user,
        host=host,
        process=os.getpid(),
        settings=json.dumps({**settings.as_dict(), "account": endpoint.account, **notes}),
        confirmed_by=confirmed_by,
    )
