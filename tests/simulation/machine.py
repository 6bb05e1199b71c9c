"""Machine: what befalls the processes of a night and their files: time, network, disk, sleep, death."""

import asyncio
import contextlib
import os
import random
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import simloop

import bulksms
from bulksms.errors import BulksmsError
from bulksms.ledger import Ledger, LedgerName
from bulksms.ledger.sqlite.store import SqliteLedger
from bulksms.model.run_settings import RunSettings
from bulksms.system import System
from tests.simulation.known_ledger import KnownLedger, plan_of, recipients
from tests.simulation.seams import INTERVAL, TIMINGS, WriterSteps
from tests.simulation.server import HOST

if TYPE_CHECKING:
    from tests.simulation.night import Night

NEIGHBOURS = 8
"""Messages of the other ledger that is worked on in the same night."""


CALLS = (3, 30, 100, 300, 1_000)
"""A program with a bug meets it when it looks at the clock for one of these times."""


class Dead(BaseException):
    """The process of this step has died in it."""


class ProgramError(Exception):
    """A bug of the program."""


class Machine:
    """Everything that is not a person, a server or the program."""

    def __init__(self, night: "Night") -> None:
        self._night = night
        self._loop = night.loop
        self._chance = night.choices.chance("machine")
        self._alive: list[WriterSteps] = []
        self._victim = ""
        self._die_around_commit: int | None = None
        self._die_after = False
        self._full_until = 0.0
        self._background: list[asyncio.Task[None]] = []
        self._neighbour: KnownLedger | None = None
        self.notes = night.folder / "notes"
        """Where each run is noted outside of its ledger, if it is."""
        if night.choices.happens("notes of runs", 0.2):
            self.notes.mkdir()
        self._commit = night.choices.of("time for a commit", ((0.0001, 0.002), (0.0001, 0.02), (0.01, 0.4)))

    def store(self, path: LedgerName) -> Ledger:
        """The ledger of this name, for a process that starts now."""
        assert isinstance(path, Path)

        def pause() -> float:
            return float(simloop.sim.random.uniform(*self._commit))

        driver = WriterSteps(pause, self._before_commit, self._after_commit, self._alive)
        return SqliteLedger(path, self._loop.system(), driver)

    def system(self, name: str) -> System:
        """The clocks of a process that starts now. A bug of the program may be met as it looks at one of them."""
        night = self._night
        system = self._loop.system(night.choices.chance(f"start of {name}").uniform(0.0, 1e6))
        if night.is_calm or not night.choices.happens(f"{name}, a bug", 0.05):
            return system
        left = night.choices.chance(f"{name}, when").choice(CALLS)

        def monotonic() -> float:
            nonlocal left
            left -= 1
            if left == 0:
                night.note(name, "meets a bug")
                night.cover("internal error")
                raise ProgramError
            return system.monotonic()

        return replace(system, monotonic=monotonic)

    def start(self) -> None:
        """The night begins."""
        choices = self._night.choices
        if choices.happens("clock", 0.5):
            self._background.append(asyncio.create_task(self._set_the_clock()))
        if choices.happens("partitions", 0.3):
            self._background.append(asyncio.create_task(self._cut_the_network()))
        if choices.happens("neighbour", 0.1):
            self._background.append(asyncio.create_task(self._have_a_neighbour()))

    def stop(self) -> None:
        """From now on nothing befalls anybody."""
        for task in self._background:
            task.cancel()
        self._loop.net.heal()
        self._full_until = 0.0

    @property
    def is_full(self) -> bool:
        """Whether the disk is full now."""
        return bool(self._loop._now < self._full_until)

    @property
    def has_neighbour(self) -> bool:
        """Whether somebody else sends to the same server."""
        return self._neighbour is not None

    def before_life(self, name: str, what: str, chance: random.Random) -> None:
        """A process is about to start."""
        self._victim = name
        self._die_around_commit = chance.randint(1, 30) if "commit" in what else None
        self._die_after = "after" in what

    async def befall(self, what: str, name: str, chance: random.Random) -> None:
        """Do this to a run that is under way."""
        night = self._night
        if what == "full disk":
            self._full_until = self._loop._now + chance.uniform(0.5, 20.0)
            night.note("disk", "is full")
            night.cover(what)
        elif what in ("killed", "power cut"):
            self.kill(name, silently=what == "power cut")
        elif what == "suspended":
            await self._suspend(name, chance.choice([5.0, 100.0, 5_000.0]))
        elif what == "file gone":
            night.note("disk", "the ledger is renamed")
            night.cover(what)
            night.witness.keep_quiet(
                self._loop._now + night.witness.slack + 2 * INTERVAL, float("inf"), "after its ledger was lost"
            )
            night.known.path.rename(night.known.path.with_suffix(".away"))

    async def _suspend(self, name: str, seconds: float) -> None:
        night = self._night
        night.note(name, f"is suspended for {seconds:.0f} s")
        night.cover("suspended")
        self._loop.suspend(name)
        await asyncio.sleep(seconds)
        self._loop.slept += seconds
        night.witness.quiet.clear()
        night.note(name, "wakes")
        self._loop.wake(name)

    def find_the_ledger(self, run: Any) -> None:
        """A run that lost its ledger says where it saved what it knows; one that did not notice left nothing."""
        known = self._night.known
        if known.path.exists():
            return
        is_saved = run is not None and run.ledger.exists()
        if is_saved:
            known.path = run.ledger
        else:
            known.path.with_suffix(".away").rename(known.path)
        self._night.note("disk", f"the ledger is {'what the run saved' if is_saved else 'in its place again'}")

    # Time and network

    async def _set_the_clock(self) -> None:
        """The wall clock is set, forward and back."""
        while self._chance.random() < 0.6:
            await asyncio.sleep(self._chance.uniform(0.5, 30.0))
            jump = self._chance.choice([-3_600.0, 3_600.0, 28_800.0, -5.0, 5.0])
            self._loop.clock_offset += jump
            self._loop.jumped_at = self._loop._now
            self._night.note("clock", f"jumps by {jump:.0f} s")

    async def _cut_the_network(self) -> None:
        net, night = self._loop.net, self._night
        while True:
            await asyncio.sleep(self._chance.uniform(0.5, 10.0))
            others = [name for name in net._hosts if name.startswith("process")]
            if others:
                net.partition(others, [HOST])
                night.witness.quiet.clear()  # what left before may arrive long after
                night.note("network", "is cut")
                night.cover("partition")
                await asyncio.sleep(self._chance.choice([0.5, 10.0, 70.0]))
                net.heal()
                self._loop.jumped_at = self._loop._now  # what left long ago arrives now
                night.witness.quiet.clear()
                night.note("network", "is healed")
            if self._chance.random() < 0.6:
                return

    # Another ledger in the same night

    async def _have_a_neighbour(self) -> None:
        """Somebody sends another ledger to the same server, and may be killed."""
        night = self._night
        path = night.folder / "neighbour.ledger.db"
        shutil.copy(plan_of("N", NEIGHBOURS, leaves_out=False), path)
        settings = RunSettings(workers=4, delivery=night.settings.delivery, server_wait=0)
        self._neighbour = KnownLedger(
            path, NEIGHBOURS, settings, others=night.known.others | set(recipients("P", night.size))
        )
        night.witness.others = frozenset(recipients("N", NEIGHBOURS))
        night.known.others |= night.witness.others
        task = self._loop.net.host("neighbour").create_task(self._send_neighbours())
        await asyncio.wait([task], timeout=self._chance.uniform(0.1, 20.0))
        if not task.done():
            self.kill("neighbour", silently=False)

    async def _send_neighbours(self) -> None:
        assert self._neighbour is not None
        known, night = self._neighbour, self._night
        with contextlib.suppress(BulksmsError):
            async with bulksms.open_run(
                known.path,
                night.endpoint(),
                known.settings,
                system=self._loop.system(),
                timings=TIMINGS,
                store=self.store,
            ) as run:
                await run.work()

    async def neighbour_ends(self) -> None:
        """The other ledger is sent to its end, and judged."""
        if self._neighbour is not None:
            known = self._neighbour
            await self._loop.net.host("neighbour-again").create_task(self._send_neighbours())
            self._night.outcome.broken += [
                f"The other ledger: {it}" for it in known.judge(self._night.witness, verify=True)
            ]

    # Disk and death

    def kill(self, name: str, *, silently: bool) -> None:
        """A process dies, or its machine does `silently`."""
        night = self._night
        night.note(name, "loses its power" if silently else "is killed")
        night.outcome.counts["deaths"] += 1
        self._loop.kill(name, silently=silently)
        for steps in list(self._alive):
            if steps.host == name:
                self._release(steps)
        known = self._neighbour if name == "neighbour" and self._neighbour is not None else night.known
        known.in_flight_at_deaths += known.sending()
        if known is night.known:
            night.cover("power cut" if silently else "killed")

    def _release(self, steps: WriterSteps) -> None:
        """What the kernel does with the files of a process that has died."""
        self._alive.remove(steps)
        writer = steps.writer
        path = Path(writer.path)
        log = path.with_name(f"{path.name}-wal")
        # SQLite folds the log into the file as it closes it, which a killed process does not: put both back.
        files = {it: it.read_bytes() for it in (path, log) if it.exists()}
        writer._connection.close()
        for it, content in files.items():
            it.write_bytes(content)
        while writer._lock._descriptors:
            os.close(writer._lock._descriptors.pop())

    def release_all(self) -> None:
        """The night is over."""
        for steps in list(self._alive):
            self._release(steps)

    def _before_commit(self, steps: WriterSteps) -> None:
        if self._loop._now < self._full_until:
            with contextlib.suppress(sqlite3.Error):
                steps.writer._connection.execute("PRAGMA max_page_count = 1")
        if self._die_around_commit is not None and steps.host == self._victim:
            self._die_around_commit -= 1
            if self._die_around_commit == 0 and not self._die_after:
                self._die(steps)

    def _after_commit(self, steps: WriterSteps) -> None:
        connection, night = steps.writer._connection, self._night
        with contextlib.suppress(sqlite3.ProgrammingError):  # it is closed after the last step
            if connection.total_changes != steps.changes:
                steps.changes = connection.total_changes
                is_neighbours = self._neighbour is not None and steps.host.startswith("neighbour")
                settings = self._neighbour.settings if is_neighbours and self._neighbour else night.settings
                night.outcome.broken += _broken_at_a_commit(connection, settings.workers, self._loop._now)
                if settings.canary is not None and not night.known.by_a_person:
                    night.outcome.broken += _broken_canary(connection, settings.canary, night.lives)
        if self._die_around_commit == 0 and self._die_after and steps.host == self._victim:
            self._die(steps)

    def _die(self, steps: WriterSteps) -> None:
        self.kill(steps.host, silently=self._chance.random() < 0.5)
        raise Dead


def _broken_canary(connection: sqlite3.Connection, canary: int, lives: int) -> list[str]:
    """Each run may send to one more than were accepted, until the canary is."""
    (accepted,) = connection.execute("SELECT messages FROM tally WHERE name = 'accepted'").fetchone()
    (attempted,) = connection.execute("SELECT COUNT(*) FROM message WHERE attempts > 0").fetchone()
    if accepted >= canary or attempted <= accepted + 2 * lives:
        return []
    return [f"Nobody gets anything before the canary is accepted. {accepted} of {canary} are, {attempted} were sent"]


def _broken_at_a_commit(connection: sqlite3.Connection, workers: int, now: float) -> list[str]:
    broken = []
    (sending,) = connection.execute("SELECT COUNT(*) FROM message WHERE state = 'sending'").fetchone()
    if sending > workers:
        broken.append(f"No more requests are in flight than workers. {sending} at {now}")
    wrong = connection.execute(
        "SELECT name, messages FROM tally WHERE name NOT IN ('possible_duplicate', 'attempts')"
        " AND messages <> (SELECT COUNT(*) FROM message WHERE state = tally.name)"
    ).fetchall()
    if wrong:
        broken.append(f"The counters are true at every commit. {wrong} at {now}")
    return broken
