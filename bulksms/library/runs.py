"""Runs: one run on one ledger, for a program that awaits it.

Law: however the block of a run is left, by its end, a `break`, an exception or a cancellation, the run is drained
first: nothing new begins, answers in flight are awaited, and the ledger says what is known of each message.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from bulksms.adaxes import Client, Endpoint
from bulksms.attempt import Attempt
from bulksms.config import RunSettings
from bulksms.delivery.outcome import VERDICTS, Evidence, Verdict
from bulksms.delivery.retry import Decision, Stop
from bulksms.engine.canary import Ask
from bulksms.engine.progress import Progress
from bulksms.engine.run import Run
from bulksms.errors import BulksmsError, LedgerTrouble, PlanRefused
from bulksms.ledger.control import Wish
from bulksms.ledger.decisions import Retry
from bulksms.ledger.file import Recovery
from bulksms.ledger.reader import LedgerReader, Plan, Standing
from bulksms.ledger.reader import Run as RunBefore
from bulksms.ledger.writer import LedgerWriter, open_for_run
from bulksms.library.outcomes import Outcome, Outcomes
from bulksms.library.records import record_of
from bulksms.library.wishes import heard
from bulksms.log import log
from bulksms.message import Message, Reason, State
from bulksms.report.summary import Summary, checked_status


@dataclass(frozen=True, slots=True)
class Hooks:
    """Who is told and asked while a run works.

    They are called in its event loop, and those that are not awaited have to be quick. What `on_settled` and `on_wish`
    raise is logged and changes nothing.
    """

    on_settled: Callable[[Outcome], None] | None = None
    """Told of each message that was settled for good."""
    on_wish: Callable[[Wish], None] | None = None
    """Told that another shell wants the run to stop, which it then does."""
    after_canary: Ask | None = None
    after_test: Ask | None = None
    """Asked whether to go on once the canary, or the test message, was accepted."""


@asynccontextmanager
async def open_run(  # noqa: PLR0913 - what a run needs, and what is kept of its beginning
    ledger: Path,
    endpoint: Endpoint,
    settings: RunSettings | None = None,
    hooks: Hooks | None = None,
    *,
    confirmed_by: str = "a program",
    notes: Mapping[str, Any] | None = None,
    again: Retry | None = None,
) -> AsyncIterator["OpenRun"]:
    """Open a ledger and a client for one run; leaving the block ends both, with everything that is known on disk.

    Without `settings` those of the ledger's last run hold. `confirmed_by` and `notes` are kept in the ledger's record
    of the run. What is to be sent `again` is queued in the same moment. `bulksms stop` and `bulksms cancel` in another
    shell are heeded.

    Raises:
        LedgerLocked: another run is working on the ledger.
        LedgerTrouble: the ledger cannot be used, or failed at the end.
        PlanRefused: the ledger is bound to another URL, its names were removed, or there is not so much to be sent
            again as was counted.
        UsageError: the CA file cannot be used.

    """
    kept = await asyncio.to_thread(_settings_for, ledger, endpoint)
    settings = settings or kept
    record = record_of(endpoint, settings, confirmed_by, notes or {})
    writer = await _opened(open_for_run(ledger, recovery_in(settings), record, again))
    try:
        there = endpoint.client_settings(settings.workers, settings.timeout, settings.adm_wait)
        async with Client(there, endpoint.credentials) as client:
            run = OpenRun(writer, client, settings, await writer.standing(), hooks or Hooks())
            async with heard(ledger, run.heed), _ended(run):
                yield run
    finally:
        await _finished(asyncio.create_task(writer.close()))
    run.summary = await asyncio.to_thread(checked_status, ledger)


async def _opened(opening: Coroutine[Any, Any, LedgerWriter]) -> LedgerWriter:
    """The ledger, opened in a thread that cannot be called back: whoever is cancelled meanwhile closes it again."""
    task = asyncio.create_task(opening)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await _finished(asyncio.create_task(_close_unused(task)))
        raise


async def _close_unused(opening: asyncio.Task[LedgerWriter]) -> None:
    with suppress(BulksmsError):
        writer = await opening
        await writer.end_run(Stop.INTERRUPTED, 0.0, 0)
        await writer.close()


async def _finished(task: asyncio.Task[Any], cancelled: Callable[[], None] | None = None) -> None:
    """Wait for the end of a task, whatever happens to the awaiting one; `cancelled` is told each time it is cancelled.

    Raises CancelledError after that end if it was.
    """
    last: asyncio.CancelledError | None = None
    while not task.done():
        try:
            with anyio.CancelScope(shield=True):  # a scope of anyio would say it again and again
                await asyncio.wait([task])
        except asyncio.CancelledError as error:
            last = error
            if cancelled is not None:
                cancelled()
    if last is not None:
        raise last


@asynccontextmanager
async def _ended(run: "OpenRun") -> AsyncIterator[None]:
    """The run is drained and its end written down, and whatever ended the block is told before that."""
    try:
        yield
    except BaseException:
        with suppress(LedgerTrouble):
            await run.end()
        raise
    await run.end()


class OpenRun:
    """A run that is ready, from `open_run`: await `work`, or iterate over `outcomes`; once, and one of the two."""

    def __init__(
        self, ledger: LedgerWriter, client: Client, settings: RunSettings, standing: Standing, hooks: Hooks
    ) -> None:
        self.number = ledger.run
        """Which run on its ledger this is, counted from 1."""
        self.settings = settings
        self.standing = standing
        """How many messages stood where when the ledger was opened."""
        self._ledger = ledger
        self._hooks = hooks
        self._outcomes = Outcomes()
        self._run = Run(
            ledger,
            client,
            settings,
            on_settled=self._settled,
            room=self._outcomes.room,
            after_canary=hooks.after_canary,
            after_test=hooks.after_test,
        )
        self._work: asyncio.Task[Progress] | None = None
        self._is_stopping = False
        self._withdraws = False
        self._summary: Summary | None = None

    @property
    def progress(self) -> Progress:
        """What the run has done so far, and why it stopped if it did; also while it works."""
        return self._run.progress

    @property
    def is_over(self) -> bool:
        """Whether it has worked to its end; nothing stops it any more."""
        return self._run.is_over

    @property
    def summary(self) -> Summary:
        """How the ledger stands after the block. Raises RuntimeError before its end."""
        if self._summary is None:
            raise RuntimeError("the summary of a run is known when its block has ended")
        return self._summary

    @summary.setter
    def summary(self, summary: Summary) -> None:
        self._summary = summary

    async def work(self) -> Progress:
        """Work until everything is settled or something stops the run; what was done.

        Cancelling the awaiting task drains the run, a second time breaks off what is in flight. Raises LedgerTrouble
        if the ledger failed, RuntimeError if the run has begun already.
        """
        work = self._begin()
        try:
            await asyncio.wait([work])
        finally:
            await self._drain()
        return work.result()

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

    def stop(self, *, now: bool = False) -> None:
        """Begin nothing new and await the answers in flight; with `now`, break those off as well."""
        self._is_stopping = True
        self._run.stop(now=now)

    def cancel(self) -> None:
        """Stop, and withdraw what is queued by then: for the wrong text."""
        self._withdraws = True
        self.stop()

    def heed(self, wish: Wish) -> None:
        """Do what another shell wants; a run that is stopping already breaks off what is in flight."""
        if self.is_over:
            return
        self._withdraws = self._withdraws or wish is Wish.CANCEL
        self.stop(now=self._is_stopping or wish is Wish.STOP_NOW)
        if self._hooks.on_wish is not None:
            try:
                self._hooks.on_wish(wish)
            except Exception:  # noqa: BLE001 - a caller's hook must not make the run deaf
                log.exception("hook failed")

    async def end(self) -> None:
        """Drain the run and write down how it ended. Raises LedgerTrouble; `open_run` calls it."""
        try:
            await self._drain()
        finally:
            with anyio.CancelScope(shield=True):
                await self._write_end()

    async def _write_end(self) -> None:
        if self._withdraws:
            await self._ledger.withdraw(State.CANCELLED, Reason.CANCELLED)
        progress = self.progress
        await self._ledger.end_run(progress.stopped, progress.elapsed, progress.done)

    def _begin(self) -> asyncio.Task[Progress]:
        if self._work is not None:
            raise RuntimeError("a run works once; open the ledger again for another one")
        self._work = asyncio.create_task(self._run.work())
        self._work.add_done_callback(lambda _: self._outcomes.end())
        return self._work

    async def _drain(self) -> None:
        """Wait for the end of what was begun; whoever is cancelled while waiting breaks it off."""
        self._outcomes.forget()
        if self._work is None or self._work.done():
            return
        self.stop()
        await _finished(self._work, lambda: self.stop(now=True))

    def _settled(self, message: Message, attempt: Attempt, decision: Decision) -> None:
        hook = self._hooks.on_settled
        if decision.state is State.PROCESSING or (hook is None and not self._outcomes.is_heard):
            return
        outcome = Outcome.of(message, attempt, decision)
        self._outcomes.add(outcome)
        if hook is not None:
            hook(outcome)


def require_bound(path: Path, plan: Plan, url: str) -> None:
    """A ledger belongs to the server of its first request. Raises PlanRefused for another one."""
    if plan.url is not None and plan.url != url:
        raise PlanRefused(
            f"{path} is bound to {plan.url}, not to {url}. Nothing was sent.",
            hint="Go on there, for which no URL need be given, or plan a ledger of its own for the other server.",
        )


def require_names(path: Path, plan: Plan) -> None:
    """Raises PlanRefused if the ledger does not know any more whom to send what."""
    if plan.purged_at is not None:
        raise PlanRefused(
            f"The names and texts of {path} were removed on {plan.purged_at[:10]}; nothing can be sent from it.",
            hint=f"`bulksms status {path}` shows what is kept; send the input anew to send again.",
        )


def last_settings(plan: Plan, runs: Sequence[RunBefore]) -> RunSettings | None:
    """What the ledger's last run was started with, and the deadline as the moment that it became; None before that."""
    if not runs:
        return None
    kept = runs[-1].settings
    if plan.deadline is not None and (kept.get("deadline") or {}).get("at") is None:
        kept = {**kept, "deadline": {"at": plan.deadline}}  # what the first request made of a duration
    return RunSettings().changed(kept)


def recovery_in(settings: RunSettings) -> Recovery:
    """What the evidence table says of messages that a dead run left `sending`."""
    verdict = VERDICTS[Evidence.CRASHED, settings.delivery]
    return Recovery(State.UNKNOWN if verdict is Verdict.UNKNOWN else State.QUEUED, settings.max_attempts)


def _settings_for(ledger: Path, endpoint: Endpoint) -> RunSettings:
    with LedgerReader(ledger) as reader:
        plan, runs = reader.plan(), reader.runs()
    require_names(ledger, plan)
    require_bound(ledger, plan, endpoint.base_url)
    return last_settings(plan, runs) or RunSettings()
