"""Recipients, an engine that sends to them, and the record: what the ledger says against what was received."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bulksms.adaxes import AccessToken, Client, ClientSettings
from bulksms.engine.pool import WorkerPool
from bulksms.engine.worker import OnSettled
from bulksms.ledger import DraftRow, MessageRecord, Recovery, RunStart, new_draft
from bulksms.ledger.sqlite.writer import open_for_run
from bulksms.model.message import State
from bulksms.model.run_settings import RunSettings, Timings
from bulksms.policy.retry import VERDICTS, Evidence, Verdict
from bulksms.sandbox import Fault, FaultPlan, Journal, Sandbox
from bulksms.system import SYSTEM, System
from tests.invariants import hold

BETWEEN = 24
"""Well-treated recipients after each scripted one: so nobody's trouble looks like everybody's."""


SHORT = Timings(
    backoff_base=0.005,
    backoff_cap=0.02,
    attempt_spacing=0.05,
    first_probe_pause=0.02,
    unknown_pause=0.02,
    first_poll=0.02,
    longest_poll_pause=0.1,
)
"""Waits of milliseconds; the decisions are the real ones."""


@dataclass(frozen=True)
class RunRecord:
    """What a run left behind, on both sides of the wire."""

    run: WorkerPool
    journal: Journal
    lines: Mapping[str, MessageRecord]

    def of(self, recipient: str) -> tuple[str, str | None, int, bool]:
        """State, reason, requests on the wire, may have been sent twice."""
        line = self.lines[recipient]
        return line.state.value, line.reason, self.journal.requests(recipient), line.possible_duplicate

    def count(self, state: State) -> int:
        """Messages in this state."""
        return sum(line.state is state for line in self.lines.values())

    @property
    def untouched(self) -> list[MessageRecord]:
        """Queued, and no request ever left for it."""
        queued = (line for line in self.lines.values() if line.state is State.QUEUED)
        return [line for line in queued if self.journal.requests(line.recipient) == 0]


class EngineHarness:
    """Plans ledgers in one folder and runs the engine on them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def plan(self, messages: Iterable[tuple[str, str]], name: str = "people.ledger.db") -> Path:
        """A ledger with these (recipient, text) queued."""
        path = self._folder / name
        rows = [
            DraftRow(row, recipient, f"dn:{recipient.casefold()}", text, "{}", "GSM-7", 1)
            for row, (recipient, text) in enumerate(messages, 2)
        ]
        with new_draft(path) as draft:
            draft.add(rows)
            draft.index()
            fingerprint = draft.fingerprint()
            return draft.keep(source="people.csv", columns=[], fingerprint=fingerprint, summary="{}", version="0")

    def plan_people(self, count: int, name: str = "people.ledger.db") -> Path:
        """A ledger of so many people, `person(0)` and so on, with one text."""
        return self.plan(((person(number), "Outage.") for number in range(count)), name)

    @asynccontextmanager
    async def pool(
        self,
        ledger: Path,
        url: str,
        settings: RunSettings,
        *,
        token: str = "sandbox",  # noqa: S107 - it opens nothing but the simulator
        ca_file: Path | None = None,
        on_settled: OnSettled | None = None,
        timings: Timings = SHORT,
        system: System = SYSTEM,
    ) -> AsyncIterator[WorkerPool]:
        """A run that is ready to work on the ledger, as the command line puts it together."""
        crashed = VERDICTS[Evidence.CRASHED, settings.delivery]
        recovery = Recovery(State.UNKNOWN if crashed is Verdict.UNKNOWN else State.QUEUED, settings.max_attempts)
        record = RunStart(url, "0", "tester", "here", 1, "{}", "--yes")
        writer = await open_for_run(ledger, recovery, record)
        there = ClientSettings(url, settings.workers, settings.timeout, settings.adm_wait, ca_file)
        try:
            async with Client(there, AccessToken(token), system) as client:
                yield WorkerPool(writer, client, settings, on_settled=on_settled, system=system, timings=timings)
        finally:
            await writer.close()

    async def work(self, ledger: Path, url: str, settings: RunSettings, **more: Any) -> WorkerPool:
        """Run to the end."""
        async with self.pool(ledger, url, settings, **more) as run:
            await run.work()
            return run

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until it is so."""
        while not condition():  # noqa: ASYNC110 - no event tells of what a server has received
            await asyncio.sleep(0.002)

    async def run_scripted(
        self,
        scripts: Mapping[str, Sequence[Fault | str]],
        settings: RunSettings,
        *,
        between: int = BETWEEN,
        **sandbox: Any,
    ) -> RunRecord:
        """One run over everybody in `scripts`, each treated so, with many others between them who are treated well."""
        people = [name for number, who in enumerate(scripts) for name in (*_others(number, between), who)]
        ledger = self.plan([(name, "Outage.") for name in people])
        async with Sandbox(faults=FaultPlan.of(scripts), retry_after=0.0, slow=0.1, **sandbox) as server:
            run = await self.work(ledger, server.url, settings, timings=replace(SHORT, attempt_spacing=0.0))
        return self.record(ledger, run, server.journal)

    def record(self, ledger: Path, run: WorkerPool, journal: Journal) -> RunRecord:
        """What the ledger says, after it was held against what the server received and against its own counters."""
        facts = hold(journal, ledger)
        return RunRecord(run, journal, {line.recipient: line for line in facts.messages})


def person(number: int) -> str:
    """A recipient's name."""
    return f"CN=Person {number},OU=Staff,DC=example,DC=com"


def _others(number: int, count: int) -> list[str]:
    return [f"CN=Other {number}-{other},DC=example,DC=com" for other in range(count)]
