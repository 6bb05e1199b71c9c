"""Membership: how a machine joins a ledger as a run, leaves it, and is fenced by another that sees it silent.

Invariant: a machine that has left or was fenced owns no block, and what it had under way is settled in the same
transaction.
"""

import json
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from bulksms.errors import LedgerError, PlanError
from bulksms.ledger.postgresql import statements
from bulksms.ledger.postgresql.schema import ATTEMPTS_MADE
from bulksms.ledger.postgresql.session import Connection
from bulksms.ledger.records import Recovery, RunStart
from bulksms.model.message import State
from bulksms.system import SYSTEM

CHANNEL = "bulksms_control"
"""Where a command is announced. It is kept in the ledger: one whose announcement is missed is only late."""
TIMESTAMP = """to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')"""
"""Now, as a ledger writes times for people: ISO 8601 in UTC, whole seconds."""

_NUMBER = "SELECT COALESCE(max(run), 0) + 1 FROM machine"
_RUN = f"""
INSERT INTO run (number, started_at, url, version, operating_system_user, host, process, settings, confirmed_by)
VALUES ($1, {TIMESTAMP}, $2, $3, $4, $5, $6, $7, $8) RETURNING started_at
"""  # noqa: S608 - a constant
_ATTEMPTS = f"SELECT sum({ATTEMPTS_MADE})::bigint FROM machine"  # noqa: S608 - a constant
_IDENTITY_AND_TIME = "SELECT identity, extract(epoch FROM clock_timestamp())::float8 FROM plan"
_LIVING_RUNS = """
SELECT number, host, run.version, settings FROM run JOIN machine ON machine.run = number, control
WHERE NOT fenced AND beaten_at > clock_timestamp() - make_interval(secs => 2 * lease) ORDER BY number
"""


class Membership(NamedTuple):
    """A run that works on the ledger from the moment `asked` of `boot_time` on; for `lease` seconds at first.

    `clock_offset` is by how many seconds the database's clock is ahead of this machine's.
    """

    identity: str
    run: int
    started_at: str
    attempts: int
    lease: float
    asked: float
    clock_offset: float


def boot_time() -> float:
    """Seconds of a clock that goes on while the machine is suspended, where there is one."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


async def join(
    connection: Connection,
    ledger: str,
    start: RunStart,
    prepare: Callable[[Connection], Awaitable[None]] | None = None,
) -> Membership:
    """Note a new run; `prepare` is done in the same transaction. Repeated after a lost answer, it leaves an idle run.

    Raises PlanError if another machine has bound the ledger to another URL.
    """
    asked = boot_time()
    async with connection.transaction():
        lease = await connection.fetchval("SELECT lease FROM control FOR UPDATE")
        if prepare is not None:
            await prepare(connection)
        url = await connection.fetchval("UPDATE plan SET url = COALESCE(url, $1) RETURNING url", start.url)
        if url != start.url:
            raise PlanError(
                f"{ledger} is bound to {url}, not to {start.url}. Nothing was sent.",
                hint="All machines send to the same server; plan a ledger of its own for the other one.",
            )
        number = await connection.fetchval(_NUMBER)
        started_at = await connection.fetchval(_RUN, number, *start)
        await connection.execute("INSERT INTO machine (run) VALUES ($1)", number)
        attempts = await connection.fetchval(_ATTEMPTS)
        identity, now = await connection.fetchrow(_IDENTITY_AND_TIME)
        clock_offset = now - SYSTEM.now()
    return Membership(identity, number, started_at, attempts, lease, asked, clock_offset)


async def require_agreement(connection: Connection, start: RunStart) -> None:
    """Machines that work at the same time are alike in what a recipient or the server could notice.

    Raises PlanError if a living one works with another account or delivery mode, LedgerError for another version.
    """
    own = json.loads(start.settings)
    for row in await connection.fetch(_LIVING_RUNS):
        other = json.loads(row["settings"])
        if row["version"] != start.version:
            raise LedgerError(
                f"Run {row['number']} on {row['host']} works with bulksms {row['version']}, this is {start.version}.",
                hint="Use the same version on all machines.",
            )
        for name in ("account", "delivery"):
            if own.get(name) != other.get(name):
                raise PlanError(
                    f"Run {row['number']} on {row['host']} works with {name} {other.get(name)}, this is "
                    f"{own.get(name)}. Nothing was sent.",
                    hint="All machines of a run use the same account and the same delivery mode.",
                )


async def fence(connection: Connection, run: int, serial: int, recovery: Recovery) -> int | None:
    """Take a machine for dead whose last commit was this one; how many messages it had under way.

    None if it has committed since then, or left.
    """
    async with connection.transaction():
        if await connection.fetchval(statements.FENCE, run, serial) is None:
            return None
        return await _settle_and_release(connection, run, recovery)


async def leave(connection: Connection, run: int, recovery: Recovery) -> None:
    """End a membership: finished blocks go, the others are anybody's."""
    async with connection.transaction():
        await connection.execute("SELECT FROM machine WHERE run = $1 FOR UPDATE", run)
        await connection.execute(statements.FINISH, run)
        await _settle_and_release(connection, run, recovery)
        await connection.execute(statements.LEAVE, run)


async def _settle_and_release(connection: Connection, run: int, recovery: Recovery) -> int:
    goes_again = recovery.state is State.QUEUED
    found = await connection.fetchval(statements.CRASHED, run, goes_again, recovery.max_attempts)
    await connection.execute(statements.RELEASE, run)
    await connection.execute(statements.LET_GO, run)
    return int(found)


def patience_in(start: RunStart) -> float:
    """How long the database may be away, in seconds: `--max-outage` holds for it as for the server."""
    return float(json.loads(start.settings).get("max_outage", 600.0))
