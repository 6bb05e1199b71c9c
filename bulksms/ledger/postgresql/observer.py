"""Observer: sees which machines are silent, and takes them for dead.

Invariant: a machine is fenced only if its serial was seen unchanged for one and a half leases of this machine's own
clock, over one unbroken connection. So no clock is compared with another, and an outage of the database fences nobody.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import NamedTuple

from bulksms.ledger.postgresql.membership import boot_time, fence
from bulksms.ledger.postgresql.session import Connection, Session
from bulksms.ledger.records import Recovery
from bulksms.log import log

LEASES = 1.5
"""For so many leases a machine has to be silent. One that is fenced has known for half a lease that it may be."""
_SERIALS = "SELECT run, serial FROM machine WHERE NOT fenced"


class _Seen(NamedTuple):
    serial: int
    since: float


class Observer:
    """Watches all machines but the one whose run `own` names."""

    def __init__(self, session: Session, own: Callable[[], int], lease: float, recovery: Recovery) -> None:
        self._session = session
        self._own = own
        self._lease = lease
        self._recovery = recovery
        self._seen: Mapping[int, _Seen] = {}
        self._connected = 0

    async def watch(self, on_fenced: Callable[[], None]) -> None:
        """Observe for ever; `on_fenced` is called when blocks may have become free."""
        while True:
            await asyncio.sleep(self._lease / 3)
            if await self._session.run(self._look):
                on_fenced()

    async def _look(self, connection: Connection) -> int:
        """Fence who is silent; how many."""
        if self._session.connected != self._connected:
            self._connected, self._seen = self._session.connected, {}
        rows = await connection.fetch(_SERIALS)
        now = boot_time()
        self._seen = {
            row["run"]: self._since(row["run"], row["serial"], now) for row in rows if row["run"] != self._own()
        }
        fenced = 0
        for run, seen in self._seen.items():
            if now - seen.since > self._lease * LEASES:
                under_way = await fence(connection, run, seen.serial, self._recovery)
                if under_way is not None:
                    fenced += 1
                    log.warning("machine fenced", run=run, under_way=under_way)
        return fenced

    def _since(self, run: int, serial: int, now: float) -> _Seen:
        seen = self._seen.get(run)
        return seen if seen is not None and seen.serial == serial else _Seen(serial, now)
