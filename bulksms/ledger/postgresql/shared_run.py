"""Shared run: what the machines of one run have in common: commands, holds, the rate, who goes first, and the time.

Invariants: what stops, holds or limits one machine for the server's sake holds for all. Each of them learns of it with
its next commit, and commits at once when it is announced.
"""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from operator import add, sub
from typing import Any

from bulksms.errors import LedgerError
from bulksms.ledger.postgresql import statements
from bulksms.ledger.postgresql.membership import CHANNEL
from bulksms.ledger.postgresql.session import Connection, Session
from bulksms.ledger.records import HELD_UNTIL_RELEASED, RELEASED, Author, ControlCommand, SettledElsewhere, SharedHold
from bulksms.model.run_settings import StopReason
from bulksms.system import SYSTEM

STOPPING = frozenset({"stop", "stop now", "cancel"})
"""Commands after which nothing is begun."""
_SHARED = frozenset(
    {
        StopReason.CANARY_FAILED,
        StopReason.TOO_MANY_FAILURES,
        StopReason.TOO_MANY_UNKNOWN,
        StopReason.WRONG_ENDPOINT,
    }
)
"""Reasons that concern every machine; a server that is unavailable may be this machine's network."""
_SHARE_STOP = """
UPDATE control SET command = 'stop', reason = $1, commanded_by = NULL, version = version + 1
WHERE command = 'run'
"""
_PAUSE = """
UPDATE control SET held_until = GREATEST(held_until, clock_timestamp() + make_interval(secs => $1))
"""
_HOLD = "UPDATE control SET held_by = $1 WHERE held_by IS NULL"
_RELEASE = "UPDATE control SET held_by = NULL WHERE held_by = $1"
_LEAD = "UPDATE control SET leader = $1 WHERE NOT is_led AND (leader IS NULL OR leader = $1) RETURNING leader"
_LED = "UPDATE control SET is_led = true WHERE leader = $1"
AHEAD = 0.25
"""Seconds for which all machines together reserve places at the rate."""
STALE = 2.0
"""Places that are so many distances late are nobody's any more: they would make a burst."""
SAME_MOMENT = 0.1
"""Seconds by which two readings of one moment may differ."""

News = tuple[ControlCommand, Author] | StopReason | SharedHold


class SharedRun:
    """The run of which the machine with the run number `own()` is one; `ledger` is its name for people."""

    def __init__(self, session: Session, own: Callable[[], int], ledger: str, clock_offset: float) -> None:
        self.news: asyncio.Queue[News] = asyncio.Queue()
        self.command = "run"
        self.is_late = False
        """Whether the deadline has passed, by the database's clock."""
        self.settled_elsewhere = SettledElsewhere()
        """What other machines have settled, those that have left since included."""
        self.clock_offset = clock_offset
        """Seconds by which the database's clock is ahead of this machine's."""
        self._session = session
        self._own = own
        self._ledger = ledger
        self._version = -1
        self._settled_by: dict[int, SettledElsewhere] = {}
        """What each of them had settled at the last look, by its run."""
        self._holds = False
        """Whether the others wait for what this machine's probes show."""
        self._is_held = False
        """Whether another machine probes for this one."""
        self._held_until = 0.0
        self._reserving = asyncio.Lock()
        self._places = 0
        """How many requests may be made of those that were reserved last, the first of them at `_place_at`."""
        self._place_at = 0.0
        self._machines = 1
        self._sharing: set[asyncio.Task[None]] = set()

    @property
    def is_stopped(self) -> bool:
        """Whether nothing is to be begun any more."""
        return self.command in STOPPING or self.is_late

    def stop(self, reason: StopReason) -> None:
        """Stop all machines; what only this machine can know the reason for stops this machine alone."""
        if reason in _SHARED:
            self._share(_SHARE_STOP, reason.value)

    def hold(self, hold: SharedHold) -> None:
        """Hold all machines, or let them go on."""
        if hold.seconds:
            self._share(_PAUSE, hold.seconds)
        else:
            self._holds = hold.seconds is None
            self._share(_HOLD if self._holds else _RELEASE, self._own())

    def let_go(self) -> None:
        """This machine has nothing to probe with: another one may."""
        if self._holds:
            self.hold(RELEASED)

    async def lead(self) -> bool | None:
        """Become the machine that goes first; None while another one may still become it, False once it has gone."""

        async def ask(connection: Connection) -> bool | None:
            if await connection.fetchval(_LEAD, self._own()) is not None:
                return True
            return False if await connection.fetchval("SELECT is_led FROM control") else None

        return await self._session.run(ask)

    async def led(self) -> None:
        """The machine that went first has found that all may go."""
        await self._session.run(lambda connection: connection.execute(_LED, self._own()))

    async def reserve(self, rate: float) -> float:
        """Seconds until this machine's next place at the rate; places are reserved a quarter of a second ahead."""
        async with self._reserving:
            now = SYSTEM.monotonic()
            if not self._places or self._place_at < now - STALE / rate:
                self._places = max(1, int(rate * AHEAD / self._machines))
                grant = await self._session.run(
                    lambda connection: connection.fetchrow(statements.GRANT, float(self._places), rate)
                )
                now = SYSTEM.monotonic()
                self._place_at, self._machines = now + grant["starts_in"], max(1, grant["machines"])
            place, self._place_at = self._place_at, self._place_at + 1 / rate
            self._places -= 1
        return max(0.0, place - now)

    def follow(self, row: Any) -> bool:  # noqa: ANN401 - asyncpg declares no types
        """Take in what a commit says of the others; whether a person has commanded something. Raises LedgerError."""
        self.clock_offset = row["now"] - SYSTEM.now()
        if not row["is_same_timeline"]:
            raise failover_error(self._ledger)
        if row["is_late"] and not self.is_late:
            self.is_late = True
            self.news.put_nowait(StopReason.DEADLINE)
        for run, *numbers in row["elsewhere"]:
            self._add_elsewhere(run, SettledElsewhere(*numbers))
        self._follow_hold(row["held_by"], row["held"] or 0.0)
        if row["version"] == self._version:
            return False
        self._version, self.command = row["version"], row["command"]
        if self.command in STOPPING:
            self.news.put_nowait(_stop_in(row))
        return True

    def _add_elsewhere(self, run: int, settled: SettledElsewhere) -> None:
        if (before := self._settled_by.get(run, SettledElsewhere())) != settled:
            more = map(sub, settled, before)
            self.settled_elsewhere = SettledElsewhere(*map(add, self.settled_elsewhere, more))
            self._settled_by[run] = settled

    def _follow_hold(self, held_by: int | None, seconds: float) -> None:
        is_held = held_by not in (None, self._own())
        if is_held is not self._is_held:
            self._is_held = is_held
            self.news.put_nowait(HELD_UNTIL_RELEASED if is_held else RELEASED)
        until = SYSTEM.monotonic() + seconds
        if seconds > 0 and until > self._held_until + SAME_MOMENT:
            self._held_until = until
            self.news.put_nowait(SharedHold(seconds))

    def _share(self, statement: str, value: object) -> None:
        """Change what holds for all machines, and have them look."""

        async def change(connection: Connection) -> None:
            await connection.execute(statement, value)
            await connection.execute("SELECT pg_notify($1, '')", CHANNEL)

        async def share() -> None:
            with suppress(LedgerError):
                await self._session.run(change)

        sharing = asyncio.get_running_loop().create_task(share())
        self._sharing.add(sharing)
        sharing.add_done_callback(self._sharing.discard)


def failover_error(ledger: str) -> LedgerError:
    """Why nothing is begun after another server has taken over."""
    return LedgerError(
        f"Another database server has taken over since {ledger} was planned, and it may lack what was confirmed last. "
        "Nothing more is sent.",
        hint="`bulksms resume --after-failover` goes on, once every machine has written down what it remembers.",
    )


def _stop_in(row: Any) -> tuple[ControlCommand, Author] | StopReason:  # noqa: ANN401 - asyncpg declares no types
    """Why every machine stops."""
    if row["reason"] is not None:
        return StopReason(row["reason"])
    return ControlCommand(row["command"]), Author(*json.loads(row["commanded_by"]))
