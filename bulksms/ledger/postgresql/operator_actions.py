"""Operator actions: what a person decides about the messages of a ledger in the database, while no machine works on it.

Invariants: a decision and its line in the history are one transaction, all of it or nothing. Machines that are silent
are fenced first, as another machine would, and one that joins meanwhile waits for the transaction.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from bulksms.errors import LedgerError, LedgerLockedError, PlanError
from bulksms.ledger.contract import unfinished_error
from bulksms.ledger.name import LedgerUrl
from bulksms.ledger.postgresql import statements
from bulksms.ledger.postgresql.holdings import MOST
from bulksms.ledger.postgresql.membership import TIMESTAMP, fence
from bulksms.ledger.postgresql.observer import LEASES
from bulksms.ledger.postgresql.session import Connection
from bulksms.ledger.records import Action, Author, Recovery, Retry
from bulksms.ledger.selection import Selection
from bulksms.model.message import RETRYABLE, UNFINISHED, Reason, State

SHOWN = 10
"""Rows that a refusal names."""
MAKE_UNKNOWN = Recovery(State.UNKNOWN, max_attempts=0)
_LIVING = """
SELECT run, serial, host, process, beaten_at > clock_timestamp() - make_interval(secs => lease * 2) AS beats
FROM machine JOIN run ON run.number = machine.run, control WHERE NOT fenced ORDER BY run
"""
_NOTE = f"""
INSERT INTO decision (number, what, decided_at, operating_system_user, host, confirmed_by, note)
SELECT COALESCE(max(number), 0) + 1, $1, {TIMESTAMP}, $2, $3, $4, $5 FROM decision RETURNING number
"""  # noqa: S608 - a constant
_NOTED = """
SELECT EXISTS (SELECT FROM decision
    WHERE what = $1 AND operating_system_user = $2 AND host = $3 AND decided_at >= $4)
"""
_CHOSEN = "SELECT * FROM unnest($2::bigint[], $3::text[]) AS chosen (number, state)"
_QUEUE_AGAIN = f"""
INSERT INTO decided
SELECT $1, number, state, reason, operation_id, '{State.QUEUED}', NULL FROM message_state
"""  # noqa: S608 - a constant
_QUEUED = f"""
UPDATE message_state SET state = '{State.QUEUED}', reason = NULL, tries = 0, operation_id = NULL, finished_at = NULL
FROM decided WHERE decision = $1 AND message = number
"""  # noqa: S608 - a constant
_RESOLVE = f"""
INSERT INTO decided
SELECT $1, number, message_state.state, reason, operation_id, chosen.state, '{Reason.RESOLVED_BY_HAND}'
FROM message_state JOIN ({_CHOSEN}) AS chosen USING (number)
"""  # noqa: S608 - constants
_RESOLVED = """
UPDATE message_state SET state = state_after, reason = reason_after
FROM decided WHERE decision = $1 AND message = number
"""
_COUNT = f"""
WITH change AS (
    SELECT {statements.CHANGES} FROM (
        SELECT state_before AS previous_state, state_after AS state FROM decided WHERE decision = $1
    ) AS moved
)
UPDATE machine SET {statements.COUNTED} FROM change WHERE run = 0
"""  # noqa: S608 - constants
_NOT_UNKNOWN = f"""
SELECT input_row, message_state.state FROM unnest($1::bigint[]) AS chosen (number)
JOIN message_state USING (number) JOIN message_content USING (number)
WHERE message_state.state <> '{State.UNKNOWN}' ORDER BY number LIMIT {SHOWN + 1}
"""  # noqa: S608 - constants
_FENCED_LATELY = """
SELECT ceil(max(extract(epoch FROM beaten_at - clock_timestamp()) + lease * 2.5
    + COALESCE((settings::jsonb ->> 'timeout')::float8, 30)))::integer
FROM machine JOIN run ON run.number = machine.run, control WHERE fenced AND NOT has_left
"""
"""Seconds until the last request of a machine that was fenced has certainly been given up."""
# The server's words, a person's note, and the names of columns can all hold somebody's name.
_REMOVALS = """
UPDATE message_content SET recipient = '', recipient_key = '', text = '', other_columns = '{}';
UPDATE message_state SET error = NULL, warnings = NULL, object_dn = NULL;
UPDATE attempt SET error = NULL;
UPDATE test_message SET recipient = '', text = '', error = NULL;
UPDATE decision SET note = NULL;
UPDATE machine SET status = NULL;
UPDATE run SET settings = (settings::jsonb - 'test_to')::text;
"""
_UNFINISHED = f"SELECT sum({' + '.join(sorted(UNFINISHED))})::bigint FROM machine"  # noqa: S608 - constants
_IS_OWNER = "SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = 'message_content'::regclass"
_PURGED = f"UPDATE plan SET columns = '[]', purged_at = COALESCE(purged_at, {TIMESTAMP})"  # noqa: S608 - a constant
_REWRITTEN = ("message_content", "message_state", "attempt", "test_message", "decision", "machine", "run", "plan")
"""Tables whose old rows are still in their files after an update."""


@asynccontextmanager
async def exclusive(connection: Connection, url: LedgerUrl, recovery: Recovery = MAKE_UNKNOWN) -> AsyncIterator[None]:
    """A transaction in which no machine works on the ledger.

    Machines that are silent are fenced before it, which takes as long as it takes another machine. Raises
    LedgerLockedError if one lives.
    """
    await require_idle(connection, url, recovery)
    async with connection.transaction():
        await connection.execute("SELECT FROM control FOR UPDATE")
        await require_nobody(connection, url)
        yield


async def queue_again(connection: Connection, retry: Retry) -> None:
    """Queue the messages again, inside the caller's transaction. Raises PlanError if they are not as many as counted.

    `attempts` and `doubt` stay: a person who may have been sent the message is reported as a possible duplicate.
    """
    await _require_settled(connection, retry.selection)
    decision = await note(connection, Action.RETRY, retry.author)
    condition, values = _condition(retry.selection)
    if retry.numbers is not None:
        condition += f" AND number = ANY (${len(values) + 2}::bigint[])"
        values.append(list(retry.numbers))
    done = await connection.execute(f"{_QUEUE_AGAIN} WHERE {condition}", decision, *values)
    found = int(done.rpartition(" ")[2])
    if found != retry.expected:
        raise PlanError(
            f"The ledger has changed since you were asked: {found:,} messages are to be sent again, "
            f"not {retry.expected:,}. Nothing was sent.",
            hint="Look at it again with `bulksms status`, and repeat.",
        )
    await connection.execute(_QUEUED, decision)
    await connection.execute(_COUNT, decision)
    await connection.execute("UPDATE plan SET deadline = $1", retry.deadline)
    # Blocks of what is left, made anew: the messages may be anywhere among finished ones.
    await connection.execute("DELETE FROM block")
    await connection.execute(statements.ORPHANED, MOST)


async def resolve(connection: Connection, url: LedgerUrl, outcomes: Mapping[int, State], author: Author) -> None:
    """Settle unknown messages by hand, all of them or none. Raises PlanError if one is not `unknown`."""
    numbers = list(outcomes)
    async with exclusive(connection, url):
        if others := await connection.fetch(_NOT_UNKNOWN, numbers):
            named = ", ".join(f"{row} ({state})" for row, state in others[:SHOWN])
            more = " …" if len(others) > SHOWN else ""
            raise PlanError(
                f"Only unknown messages can be resolved; these rows are not: {named}{more}. Nothing was changed.",
                hint=f"Leave them out; `bulksms report '{url}' --only unknown` names those that can be resolved.",
            )
        decision = await note(connection, Action.RESOLVE, author)
        await connection.execute(_RESOLVE, decision, numbers, [str(state) for state in outcomes.values()])
        await connection.execute(_RESOLVED, decision)
        await connection.execute(_COUNT, decision)


async def approve(connection: Connection, url: LedgerUrl, author: Author) -> None:
    """Write down that somebody approves the plan."""
    async with exclusive(connection, url):
        await note(connection, Action.APPROVE, author)


async def cancel(connection: Connection, url: LedgerUrl, author: Author) -> None:
    """Withdraw everything `queued`; it is `unknown` if an earlier attempt may have been processed."""
    async with exclusive(connection, url):
        await connection.fetchval(statements.WITHDRAW, 0, State.CANCELLED, Reason.CANCELLED)
        await note(connection, Action.CANCEL, author)


async def purge(connection: Connection, url: LedgerUrl, author: Author) -> None:
    """Remove names and texts for good. Interrupted, it is done by doing it again.

    Raises LedgerError for a role that does not own the tables: PostgreSQL would pass over them, with the old rows.
    """
    if not await connection.fetchval(_IS_OWNER):
        raise LedgerError(
            f"Only the role that owns {url.name} can rewrite its tables, which removes the old rows for good.",
            hint="Purge it as the role that planned it: postgresql://ROLE@HOST/…",
        )
    async with exclusive(connection, url):
        unfinished = await connection.fetchval(_UNFINISHED)
        if unfinished:
            raise unfinished_error(url, unfinished)
        await connection.execute(_REMOVALS)
        await connection.execute(_PURGED)
    for table in _REWRITTEN:
        await connection.execute(f"VACUUM FULL {table}")
    async with exclusive(connection, url):
        await note(connection, Action.PURGE, author)


async def accept_failover(connection: Connection, url: LedgerUrl) -> None:
    """Take the server that answers now for the one that holds the truth."""
    async with exclusive(connection, url):
        await connection.execute(f"UPDATE control SET timeline = {statements.TIMELINE}")  # noqa: S608 - a constant


async def remove(connection: Connection, url: LedgerUrl) -> None:
    """Delete the ledger: its tables, and its name in the catalogue."""
    async with exclusive(connection, url):
        schema = await connection.fetchval(
            "DELETE FROM bulksms.ledger WHERE name = $1 RETURNING quote_ident(schema_name)", url.name
        )
        await connection.execute(f"DROP SCHEMA {schema} CASCADE")


async def note(connection: Connection, what: Action, author: Author) -> int:
    """Write down that something was decided; the decision's number."""
    user, host, confirmed_by, words = author
    return int(await connection.fetchval(_NOTE, what.value, user, host, confirmed_by, words))


async def require_nobody(connection: Connection, url: LedgerUrl) -> None:
    """Raises LedgerLockedError if a machine works on the ledger; for a transaction that has locked `control`."""
    for row in await connection.fetch(_LIVING):
        raise _locked(url, row)


async def require_idle(connection: Connection, url: LedgerUrl, recovery: Recovery) -> None:
    """Fence machines that commit nothing for one and a half leases. Raises LedgerLockedError if one commits."""
    machines = await connection.fetch(_LIVING)
    if not machines:
        return
    for row in machines:
        if row["beats"]:
            raise _locked(url, row)
    lease = await connection.fetchval("SELECT lease FROM control")
    await asyncio.sleep(lease * LEASES)
    for row in machines:
        await fence(connection, row["run"], row["serial"], recovery)


async def note_once(connection: Connection, what: Action, author: Author, since: str) -> None:
    """Write down that something was decided, unless another machine has done so since this moment (ISO 8601)."""
    async with connection.transaction():
        await connection.execute("SELECT FROM control FOR UPDATE")
        if not await connection.fetchval(_NOTED, what.value, author.user, author.host, since):
            await note(connection, what, author)


async def _require_settled(connection: Connection, selection: Selection) -> None:
    """A machine that was stopped between its last look and its request sends late; nobody is sent a copy meanwhile."""
    if State.UNKNOWN not in selection.states:
        return
    seconds = await connection.fetchval(_FENCED_LATELY)
    if seconds is not None and seconds > 0:
        raise PlanError(
            "A machine was lost a moment ago, and a request of it may still be under way. Nothing was queued.",
            hint=f"Repeat the command in {seconds} seconds.",
        )


def _condition(selection: Selection) -> tuple[str, list[object]]:
    """What may be sent again of a selection; the first value is parameter 2."""
    parts: list[str] = []
    values: list[object] = []
    for state, reason in sorted(selection.chosen, key=str):
        if state in RETRYABLE:
            values.append(state.value)
            part = f"state = ${len(values) + 1}"
            if reason is not None:
                values.append(reason.value)
                part = f"({part} AND reason = ${len(values) + 1})"
            parts.append(part)
    return f"({' OR '.join(parts) or 'false'})", values


def _locked(url: LedgerUrl, row: Any) -> LedgerLockedError:  # noqa: ANN401 - asyncpg declares no types
    return LedgerLockedError(
        f"A machine is working on {url.name}: run {row['run']} on {row['host']}, process {row['process']}.",
        hint=f"`bulksms stop '{url}'` ends it; a machine that is lost is noticed within half a minute.",
    )
