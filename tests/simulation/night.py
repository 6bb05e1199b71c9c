"""A night: the runs on one ledger that a seed chooses, what happens to them, and the judgement."""

import asyncio
import contextlib
import gc
import os
import shutil
import tempfile
import traceback
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simloop._run import run_once

import bulksms
from bulksms.errors import BulksmsError, LedgerError, LedgerLockedError
from bulksms.model.message import State
from bulksms.model.run_settings import NO_DEADLINE, Deadline, RunSettings, StopReason
from bulksms.planning.ledger_history import Histories, LedgerHistory
from tests.simulation import seams
from tests.simulation.choices import Choices
from tests.simulation.known_ledger import Cells, KnownLedger, plan_of, recipients, workspace
from tests.simulation.machine import Machine, ProgramError
from tests.simulation.person import Person
from tests.simulation.sandbox_server import SandboxServer
from tests.simulation.server import HOST, PORT, SLACK, Server, Witness
from tests.simulation.weather import weather_of

if TYPE_CHECKING:
    from bulksms.ledger import Retry

LONGEST = 6 * 3_600.0
"""Virtual seconds in which a run has to end once the weather is calm."""
SIZES = (50, 57, 64)
FEW = 6
"""People of a night that is made short."""
TESTER = "CN=Tester,DC=example,DC=com"
LIFE = (
    *("nothing", "killed", "killed", "power cut", "death before a commit", "death after a commit"),
    *("stop", "stop now", "stop, then stop now", "stop from a shell", "stop now from a shell"),
    *("cancel", "cancel from a shell", "two at once", "two together", "full disk", "suspended"),
    *("decisions beside it", "looked at", "file gone"),
)


@dataclass
class Outcome:
    """What came of a night."""

    seed: int
    broken: list[str] = field(default_factory=list)
    history: list[tuple[float, str, str]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    cells: Cells = field(default_factory=Counter)
    choices: dict[str, str] = field(default_factory=dict)
    """What the seed chose, without what is plain."""
    fingerprint: str = ""

    def table(self, *, everybody: bool = False) -> str:
        """The history as a person reads it: of the recipients only those about whom something is broken."""
        about = "\n".join(self.broken)
        rows = [row for row in self.history if everybody or not row[1].startswith("CN=") or row[1] in about]
        return "\n".join(f"{at:10.4f}  {who:28} {what}" for at, who, what in rows)


class Night:
    """One night of one seed; with `only` everything else is as plain as can be."""

    def __init__(self, seed: int, only: Collection[str] | None = None) -> None:
        self.seed = seed
        self.choices = Choices(seed, only)
        self.outcome = Outcome(seed, choices=self.choices.made)
        self.size = self.choices.of("people", SIZES, FEW)
        self.leaves_out = self.choices.happens("rows that are left out", 0.3)
        self.settings = self._settings()
        self.lives = 0
        self.selection: Retry | None = None
        self.is_calm = False
        self.working: dict[str, tuple[float, float | None]] = {}
        """From when to when each process had the ledger open."""

    def _settings(self) -> RunSettings:
        of = self.choices.of
        after = of("deadline", (0.0,) * 8 + (5.0, 60.0, 200.0))
        return RunSettings(
            workers=of("workers", (1, 2, 4, 8, 16)),
            timeout=of("time-out", (30.0, 5.0, 30.0)),
            server_wait=of("server wait", (0, None), 0),
            max_attempts=of("max attempts", (5, 2, 5, 8)),
            delivery=of("delivery", tuple(bulksms.DeliveryMode), bulksms.DeliveryMode.BALANCED),
            adapt=self.choices.happens("adapt", 0.6),
            rate=of("rate", (0.0, 0.0, 0.0, 5.0, 20.0)) or None,
            max_failures=of("max failures", ("", "", "", "", "5", "20%")) or None,
            keep_going=self.choices.happens("keep going", 0.5),
            max_outage=of("max outage", (600.0, 60.0)),
            canary=of("canary", (0, 0, 0, 1, 3)) or None,
            test_to=TESTER if self.choices.happens("test message", 0.1) else None,
            hours=of("hours", ("",) * 6 + ("00:00-23:59", "01:00-01:12", "00:30-02:30")) or None,
            poll_timeout=of("poll time-out", (600.0, 60.0)),
            deadline=Deadline(after=after) if after else NO_DEADLINE,
        )

    async def run(self) -> None:
        """Everything, with the judgement at the end."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, seams.NightLoop)
        self.loop = loop
        self.folder = Path(tempfile.mkdtemp(dir=workspace()))
        os.environ["XDG_STATE_HOME"] = str(self.folder / "state")
        try:
            with seams.libraries_of(loop):
                await self._run()
        finally:
            self.machine.release_all()
            shutil.rmtree(self.folder, ignore_errors=True)

    async def _run(self) -> None:
        choices, loop = self.choices, self.loop
        self.known = KnownLedger(self.folder / "people.ledger.db", self.size + 3 * self.leaves_out, self.settings)
        shutil.copy(plan_of("P", self.size, leaves_out=self.leaves_out), self.known.path)
        self.known.others = frozenset({TESTER})
        self.witness = Witness(loop)
        self.weather = weather_of(choices, recipients("P", self.size))
        kind = choices.of("server", ("ruder",) * 6 + ("the sandbox's",))
        self.server = (Server if kind == "ruder" else SandboxServer)(loop, self.weather, self.witness)
        self.machine, self.person = Machine(self), Person(self)
        latency = choices.of("network", ((0.0001, 0.001), (0.001, 0.05), (0.02, 0.3), (0.02, 3.0)))
        loop.net.set_defaults(latency=latency)
        self.witness.slack = SLACK + 3 * latency[1]
        self.witness.patience = self.settings.timeout
        loop.net.host(HOST).create_task(self.server.serve())
        await asyncio.sleep(0.05)
        self.machine.start()
        for _ in range(choices.of("lives", (0, 1, 1, 2, 3, 4))):
            await self._life(choices.of(f"life {self.lives + 1}", LIFE))
            await self.person.between()
        await self._calm_end()
        self._judge()
        await self.person.last_act()

    async def _calm_end(self) -> None:
        """Everything is well again, and what is left is sent."""
        self.machine.stop()
        self.is_calm = True
        self.weather.until_calm()
        self.loop.net.set_defaults(latency=(0.001, 0.05))
        await asyncio.sleep(max((it.end - self.loop._now for it in self.weather.storms), default=0.0))
        for _ in range(4):
            code = await self._life("nothing")
            with bulksms.open_ledger(self.known.path) as reader:
                counts = reader.counts().counts
            if not counts[State.QUEUED] and not counts[State.PROCESSING]:
                break
            self.note("world", f"something is left after {code}")
        left = {state: counts[state] for state in (State.QUEUED, State.PROCESSING, State.SENDING) if counts[state]}
        if left:
            self.outcome.broken.append(
                f"A run in calm weather leaves nothing queued. {left} are left, exit code {code}"
            )
        await self.machine.neighbour_ends()

    async def _life(self, what: str) -> int | None:
        """One process that works on the ledger, or two, and what happens to it."""
        self.lives += 1
        name = f"process-{self.lives}"
        chance = self.choices.chance(f"life {self.lives}, how")
        self.witness.life, self.witness.life_began = self.lives, self.loop._now
        self.note(name, f"starts; then: {what}")
        self.machine.before_life(name, what, chance)
        names = [name, f"{name}-second"] if what == "two together" else [name]
        results: dict[str, dict[str, Any]] = {each: {} for each in names}
        tasks = {each: self.start(each, results[each]) for each in names}
        task = tasks[name]
        until = LONGEST if self.is_calm else chance.choice([0.05, 0.5, 5.0, 20.0]) * chance.random()
        await asyncio.wait([task], timeout=until)
        if not task.done() and name not in self.loop.dead:
            await self._befall(what, name, results[name].get("run"), chance)
        for each in names:
            await self._until_over(each, tasks[each])
        if name in self.loop.dead:
            self.outcome.broken += self.known.judge(self.witness)
            await asyncio.sleep(chance.choice([0.1, 5.0, 120.0]))
            return None
        codes = [self._ended(each, tasks[each], results[each], what) for each in names]
        return next((code for code in codes if code is not None), None)

    def start(self, name: str, result: dict[str, Any]) -> "asyncio.Task[None]":
        """A process of its own begins to send."""
        task: asyncio.Task[None] = self.loop.net.host(name).create_task(self._send(name, result))
        return task

    async def _send(self, name: str, result: dict[str, Any]) -> None:
        """A process, which may meet a bug of its own."""
        try:
            await self._work(name, result)
        except* ProgramError:
            result["failed"] = True

    async def _work(self, name: str, result: dict[str, Any]) -> None:
        settings: RunSettings | None = self.settings
        if self.is_calm:
            settings = replace(self.settings, hours=None)
        elif self.lives > 1 and self.choices.happens(f"life {self.lives}, as before", 0.5):
            settings = None
        histories = Histories([LedgerHistory(self.machine.notes)]) if self.machine.notes.exists() else Histories()
        retry, self.selection = self.selection, None
        async with bulksms.open_run(
            self.known.path,
            self.endpoint(),
            settings,
            self.person.hooks(),
            again=retry,
            histories=histories,
            system=self.machine.system(name),
            timings=seams.TIMINGS,
            store=self.machine.store,
        ) as run:
            result["run"] = run
            self.working[name] = self.loop._now, None
            self.witness.begins_at = None
            self.witness.tester = TESTER
            self.witness.deadline = settings.deadline.after if settings is not None else None
            try:
                await run.work()
            finally:
                self.working[name] = self.working[name][0], self.loop._now

    def endpoint(self) -> bulksms.Endpoint:
        """The server, and how to log in there."""
        account = bulksms.Account("operator@example.com", "sandbox") if self.weather.token_seconds else None
        credentials = account or bulksms.AccessToken("sandbox")
        return bulksms.Endpoint.at(f"http://{HOST}:{PORT}/restApi", credentials, insecure_http=True)

    async def _befall(self, what: str, name: str, run: Any, chance: Any) -> None:
        """What happens to a run that is under way."""
        if what == "two at once":
            await self._second(name)
        elif what in ("full disk", "killed", "power cut", "suspended", "file gone"):
            await self.machine.befall(what, name, chance)
        elif what != "nothing" and "commit" not in what and what != "two together":
            await self.person.ask(what, run)

    async def _second(self, first: str) -> None:
        """Another process on the same ledger: it has to be refused while the first works."""
        name = f"{first}-second"
        self.note(name, "starts beside it")
        self.cover("two at once")
        task = self.start(name, {})
        await self._until_over(name, task)
        with contextlib.suppress(BulksmsError):
            task.result()
        if not isinstance(task.exception(), LedgerLockedError | None):
            self.note(name, f"refuses: {task.exception()}")

    async def _until_over(self, name: str, task: "asyncio.Task[None]") -> None:
        deadline = self.loop._now + LONGEST
        while not task.done() and name not in self.loop.dead:
            await asyncio.wait([task], timeout=1.0)
            if self.loop._now > deadline:
                self.outcome.broken.append(f"A run ends. {name} did not within {LONGEST:.0f} s")
                self.machine.kill(name, silently=True)

    def _ended(self, name: str, task: "asyncio.Task[None]", result: dict[str, Any], what: str) -> int | None:
        """A process has ended by itself: its exit code, if it ran."""
        self.machine.find_the_ledger(result.get("run"))
        try:
            task.result()
        except LedgerLockedError:
            self.note(name, "is refused: another run works on the ledger")
            self.outcome.cells["exit", "6", "it is locked"] += 1
            return None
        except BulksmsError as error:
            self.note(name, f"refuses: {error}")
            exit_code = "6" if isinstance(error, LedgerError) else "3"
            self.outcome.cells["exit", exit_code, "ledger_error" if "run" in result else "refused"] += 1
            if "run" in result:
                self.known.in_flight_at_deaths += self.known.sending()
            return None
        if "failed" in result:
            self._judge_bug(name, result.get("run"), may_record=what != "file gone" and not self.machine.is_full)
            return None
        summary = result["run"].summary
        code = int(summary.exit_code)
        began = self.witness.begins_at
        if summary.stopped == "deadline" and began is not None and self.settings.deadline.after is not None:
            early = began + self.settings.deadline.after - self.loop.wall()
            was_set = self.loop.jumped_at > 0.0
            if self.witness.deadline is not None and early > self.witness.slack and not was_set:
                self.outcome.broken.append(f"Nothing expires before the deadline. {name} was {early:.1f} s early")
        self.note(name, f"ends with {code}: {summary.equation()}{f', {summary.stopped}' if summary.stopped else ''}")
        self.outcome.cells["exit", str(code), summary.stopped or ""] += 1
        self.outcome.broken += self.known.judge(self.witness, exit_code=code)
        if "cancel" in what and code == 130 and summary.counts[State.QUEUED]:
            self.outcome.broken.append(f"After cancel nothing is queued. {summary.equation()}")
        return code

    def _judge_bug(self, name: str, run: Any, *, may_record: bool) -> None:
        """A run that met a bug is over and says so if it can, and what was in flight may have arrived."""
        self.known.in_flight_at_deaths += self.known.sending()
        with bulksms.open_ledger(self.known.path) as reader:
            stopped = next((it.stopped for it in reader.runs() if run is not None and it.number == run.number), None)
        self.note(name, f"ends with 70, {stopped}")
        if run is not None and may_record and stopped != StopReason.INTERNAL_ERROR:
            self.outcome.broken.append(f"A run that met a bug says so. {name} says {stopped}")
        self.outcome.cells["exit", "70", stopped or ""] += 1
        self.outcome.broken += self.known.judge(self.witness)

    def note(self, who: str, what: str) -> None:
        """Something happened."""
        self.witness.note(who, what.replace(f"{self.folder}{os.sep}", ""))

    def cover(self, action: str) -> None:
        """This happens, or a person does this, now."""
        self.known.cover(self.outcome.cells, action)

    def _judge(self) -> None:
        outcome, journal = self.outcome, self.witness.journal
        outcome.broken += self.known.judge(self.witness, verify=True) + self.witness.broken
        if self.settings.rate is not None and not self.machine.has_neighbour:
            busiest = journal.busiest(10.0)
            if busiest > self.settings.rate * 10.0 * 1.02 + 2 + self.lives:
                asked = self.settings.rate
                outcome.broken.append(f"The rate is never above what was asked. {busiest} in 10 s at {asked}")
        for first, (begun, ended) in self.working.items():
            for second, (also_begun, _) in self.working.items():
                if first != second and begun <= also_begun < (ended or begun) and first not in self.loop.dead:
                    outcome.broken.append(f"One run works on a ledger at a time. {first} and {second} did")
        outcome.history = self.witness.history
        outcome.counts.update(messages=self.size, lives=self.lives, requests=journal.total)
        self.known.cover_the_end(outcome.cells)


def play(seed: int, only: Collection[str] | None = None, *, trace: bool = False) -> Outcome:
    """One night; with `trace` its outcome has a hash of every step."""
    gc.disable()  # the loop collects at the end of each night
    loop = seams.NightLoop(seed, trace=trace)
    night = Night(seed, only)
    loop.set_exception_handler(lambda _loop, _context: None)
    error = run_once(loop, night.run)
    if error is not None:
        words = "".join(traceback.format_exception(error)[-3:])
        night.outcome.broken.append(f"The world keeps turning. {words}")
        night.outcome.history = night.witness.history if hasattr(night, "witness") else []
    night.outcome.fingerprint = loop.trace_hash()
    loop.close()
    gc.enable()
    return night.outcome
