"""Queries: what a ledger says in a few rows, asked over a connection."""

import json
from collections import Counter
from typing import Any

import msgspec

from bulksms.errors import LedgerError
from bulksms.ledger.postgresql.catalogue import IS_LIVING
from bulksms.ledger.postgresql.schema import ATTEMPTS_MADE, COLUMNS, POSSIBLE_DUPLICATE
from bulksms.ledger.postgresql.session import Connection
from bulksms.ledger.records import (
    AuditEntry,
    Counts,
    LedgerSnapshot,
    MachineRecord,
    Plan,
    RunRecord,
    RunStatus,
    Transition,
)
from bulksms.model.message import Reason, State

_PLAN = f"SELECT {', '.join(COLUMNS['plan'])} FROM plan"  # noqa: S608 - constants
_RUNS = f"SELECT {', '.join(COLUMNS['run'])} FROM run ORDER BY number"  # noqa: S608 - constants
_DECISIONS = f"SELECT {', '.join(COLUMNS['decision'])} FROM decision ORDER BY number"  # noqa: S608 - constants
_MOVES = """
SELECT decision, state_before, reason_before, state_after, count(*) FROM decided
GROUP BY decision, state_before, reason_before, state_after ORDER BY 1, 2, 3 NULLS FIRST, 4
"""
_STATES = "SELECT state, count(*) AS count FROM message_state GROUP BY state"
_REASONS = f"""
SELECT state, reason, count(*) FROM message_state WHERE state NOT IN ('{State.ACCEPTED}', '{State.QUEUED}')
GROUP BY state, reason ORDER BY state, reason
"""  # noqa: S608 - constants
_MACHINES = """
SELECT run, host, process, started_at, fenced, sending, status,
    GREATEST(extract(epoch FROM clock_timestamp() - beaten_at), 0)::float8 AS silent_for
FROM machine JOIN run ON run.number = machine.run WHERE NOT has_left ORDER BY run
"""
_LAST_ATTEMPT = "SELECT max(began_at) FROM attempt"


async def read_plan(connection: Connection) -> Plan:
    """What was planned."""
    row = await connection.fetchrow(_PLAN)
    return Plan(
        row["created_at"],
        row["input"],
        tuple(map(str, json.loads(row["columns"]))),
        row["fingerprint"],
        row["identity"],
        json.loads(row["summary"]),
        json.loads(row["settings"]),
        row["url"],
        row["deadline"],
        row["purged_at"],
    )


async def read_runs(connection: Connection) -> list[RunRecord]:
    """Every run, the first one first."""
    return [_run(row) for row in await connection.fetch(_RUNS)]


async def read_machines(connection: Connection) -> list[MachineRecord]:
    """Those that work on it, or were lost."""
    return [
        MachineRecord(
            row["run"],
            row["host"],
            row["process"],
            row["started_at"],
            row["silent_for"],
            row["fenced"],
            row["sending"],
            None if row["status"] is None else msgspec.json.decode(row["status"], type=RunStatus),
        )
        for row in await connection.fetch(_MACHINES)
    ]


async def read_operator_actions(connection: Connection) -> list[AuditEntry]:
    """What people decided, the first decision first."""
    moves: dict[int, list[Transition]] = {}
    for decision, before, reason, after, count in await connection.fetch(_MOVES):
        moves.setdefault(decision, []).append(Transition(State(before), reason, State(after), count))
    entries = []
    for number, what, decided_at, user, host, confirmed_by, note in await connection.fetch(_DECISIONS):
        moved = tuple(moves.get(number, ()))
        entries.append(AuditEntry(number, what, decided_at, user, host, confirmed_by, note, moved))
    return entries


async def read_running_counts(connection: Connection) -> Counts:
    """How many messages are in each state, asked by a run."""
    tally = {row["name"]: int(row["messages"]) for row in await connection.fetch("SELECT name, messages FROM tally")}
    counts = {state: tally[state] for state in State}
    return Counts(counts, tally[POSSIBLE_DUPLICATE], is_living=True, attempts=tally[ATTEMPTS_MADE])


async def read_counts(connection: Connection) -> Counts:
    """How many messages are in each state; what is `sending` while no machine lives is reported as `unknown`."""
    is_living = await connection.fetchval(IS_LIVING)
    found = await read_running_counts(connection)
    if is_living:
        return found
    crashed = found.counts[State.SENDING]
    counts = {**found.counts, State.SENDING: 0, State.UNKNOWN: found.counts[State.UNKNOWN] + crashed}
    return Counts(counts, found.possible_duplicate, is_living=False, crashed=crashed, attempts=found.attempts)


async def read_snapshot(connection: Connection) -> LedgerSnapshot:
    """The plan, the runs and the counts, in the caller's transaction."""
    runs = tuple(await read_runs(connection))
    counts, last_attempt_at = await read_counts(connection), await read_last_attempt_at(connection)
    actions = tuple(await read_operator_actions(connection))
    return LedgerSnapshot(await read_plan(connection), runs, counts, last_attempt_at, actions)


async def read_reasons(connection: Connection) -> list[tuple[State, str | None, int]]:
    """Messages by state and reason, without those that are accepted or queued."""
    is_living = await connection.fetchval(IS_LIVING)
    found = Counter[tuple[State, str | None]]()
    for state, reason, count in await connection.fetch(_REASONS):
        is_crashed = state == State.SENDING and not is_living
        found[(State.UNKNOWN, Reason.CRASH) if is_crashed else (State(state), reason)] += count
    return [(state, reason, count) for (state, reason), count in found.items()]


async def check_counters(connection: Connection) -> None:
    """Count the rows. Raises LedgerError if the counters differ from them."""
    rows = {row["state"]: row["count"] for row in await connection.fetch(_STATES)}
    counted = (await read_running_counts(connection)).counts
    if differing := [state for state in State if rows.get(state, 0) != counted[state]]:
        raise LedgerError(
            f"The ledger's counters differ from its rows in {', '.join(differing)}.",
            hint="Keep the ledger as it is and report this; `bulksms report` tells of each row.",
        )


async def read_last_attempt_at(connection: Connection) -> float | None:
    """When the last attempt began, as a POSIX time; None if there was none."""
    moment = await connection.fetchval(_LAST_ATTEMPT)
    return None if moment is None else float(moment)


def _run(row: Any) -> RunRecord:  # noqa: ANN401 - asyncpg declares no types
    values = dict(zip(RunRecord.__slots__, row, strict=True))
    values["settings"] = json.loads(values["settings"])
    return RunRecord(**values)
