"""A crowd of recipients, an engine to tell them, and the books: what the ledger says against what was received."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bulksms.adaxes import AccessToken, Client, ClientSettings
from bulksms.config import RunSettings
from bulksms.delivery.outcome import VERDICTS, Evidence, Verdict
from bulksms.delivery.retry import RetryPolicy
from bulksms.engine.books import OnSettled
from bulksms.engine.progress import Progress
from bulksms.engine.run import Run
from bulksms.ledger.draft import Draft, DraftRow
from bulksms.ledger.file import Recovery
from bulksms.ledger.reader import LedgerReader, Line
from bulksms.ledger.writer import RunRecord, open_for_run
from bulksms.message import State
from bulksms.sandbox import Fault, FaultPlan, Journal, Sandbox, compare

BETWEEN = 24
"""Well-treated recipients after each scripted one: so nobody's trouble looks like everybody's."""


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waits between attempts, polls and probes are milliseconds here; the decisions are the real ones."""
    monkeypatch.setattr("bulksms.delivery.traffic.DOUBT_PAUSE", 0.02)
    monkeypatch.setattr("bulksms.delivery.brake.FIRST_PAUSE", 0.02)
    monkeypatch.setattr("bulksms.engine.run.RetryPolicy", partial(RetryPolicy, base=0.005, cap=0.02))
    monkeypatch.setattr("bulksms.delivery.operation.FIRST_POLL", 0.02)
    monkeypatch.setattr("bulksms.delivery.operation.LONGEST_PAUSE", 0.1)


@dataclass(frozen=True)
class Books:
    """What a run left behind, on both sides of the wire."""

    progress: Progress
    journal: Journal
    lines: Mapping[str, Line]

    def of(self, recipient: str) -> tuple[str, str | None, int, bool]:
        """State, reason, requests on the wire, may have been sent twice."""
        line = self.lines[recipient]
        return line.state.value, line.reason, self.journal.requests(recipient), line.may_have_sent_twice

    def count(self, state: State) -> int:
        """Messages in this state."""
        return sum(line.state is state for line in self.lines.values())

    @property
    def untouched(self) -> list[Line]:
        """Queued, and no attempt was ever made."""
        return [line for line in self.lines.values() if line.state is State.QUEUED and line.attempts == 0]


class Crowd:
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
        with Draft(path) as draft:
            draft.add(rows)
            draft.index()
            fingerprint = draft.fingerprint()
            return draft.keep(source="people.csv", columns=[], fingerprint=fingerprint, summary="{}", version="0")

    def plan_people(self, count: int, name: str = "people.ledger.db") -> Path:
        """A ledger of so many people, `person(0)` and so on, with one text."""
        return self.plan(((person(number), "Outage.") for number in range(count)), name)

    @asynccontextmanager
    async def engine(
        self,
        ledger: Path,
        url: str,
        settings: RunSettings,
        *,
        token: str = "sandbox",  # noqa: S107 - it opens nothing but the stand-in server
        ca_file: Path | None = None,
        on_settled: OnSettled | None = None,
    ) -> AsyncIterator[Run]:
        """A run that is ready to work on the ledger, as the command line puts it together."""
        crashed = VERDICTS[Evidence.CRASHED, settings.delivery]
        recovery = Recovery(State.UNKNOWN if crashed is Verdict.UNKNOWN else State.QUEUED, settings.max_attempts)
        record = RunRecord(url, "0", "tester", "here", 1, "{}", "--yes")
        writer = await open_for_run(ledger, recovery, record)
        there = ClientSettings(url, settings.workers, settings.timeout, settings.adm_wait, ca_file)
        try:
            async with Client(there, AccessToken(token)) as client:
                yield Run(writer, client, settings, on_settled=on_settled)
        finally:
            await writer.close()

    async def work(self, ledger: Path, url: str, settings: RunSettings, **more: Any) -> Progress:
        """Run to the end."""
        async with self.engine(ledger, url, settings, **more) as run:
            return await run.work()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until it is so."""
        while not condition():  # noqa: ASYNC110 - no event tells of what a server has received
            await asyncio.sleep(0.002)

    async def told(
        self,
        scripts: Mapping[str, Sequence[Fault | str]],
        settings: RunSettings,
        *,
        between: int = BETWEEN,
        **sandbox: Any,
    ) -> Books:
        """One run over everybody in `scripts`, each treated so, with many others between them who are treated well."""
        people = [name for number, who in enumerate(scripts) for name in (who, *_others(number, between))]
        ledger = self.plan([(name, "Outage.") for name in people])
        async with Sandbox(faults=FaultPlan.of(scripts), retry_after=0.0, slow=0.1, **sandbox) as server:
            progress = await self.work(ledger, server.url, settings)
        return self.books(ledger, progress, server.journal)

    def books(self, ledger: Path, progress: Progress, journal: Journal) -> Books:
        """What the ledger says, after it was held against what the server received and against its own counters."""
        with LedgerReader(ledger) as reader:
            reader.check_counters()
            lines = list(reader.lines())
            assert reader.standing().total == len(lines)
        comparison = compare(journal, ((it.recipient, it.state, it.may_have_sent_twice, it.text) for it in lines))
        assert comparison.agrees, comparison
        return Books(progress, journal, {line.recipient: line for line in lines})


def person(number: int) -> str:
    """A recipient's name."""
    return f"CN=Person {number},OU=Staff,DC=example,DC=com"


def _others(number: int, count: int) -> list[str]:
    return [f"CN=Other {number}-{other},DC=example,DC=com" for other in range(count)]


@pytest.fixture
def crowd(tmp_path: Path) -> Crowd:
    """Its ledgers are in the test's own folder."""
    return Crowd(tmp_path)


@pytest.fixture
def chance() -> random.Random:
    """Chance; its seed is that of pytest-randomly, which every report begins with."""
    return random.Random(random.getrandbits(32))  # noqa: S311 - no secret is made of it
