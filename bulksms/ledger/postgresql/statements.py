"""The statements of a machine. Each is atomic by itself; `$1` is the machine's run where it has one.

Every statement that changes messages locks the machine's own row first: `mine` is empty once the machine is fenced, and
nothing is changed then.
"""

from bulksms.ledger.postgresql.schema import ATTEMPTS_MADE, POSSIBLE_DUPLICATE
from bulksms.model.message import UNFINISHED, Reason, State

OUTCOME = {
    "number": "bigint",
    "previous_state": "text",
    "state": "text",
    "reason": "text",
    "doubt": "text",
    "tries": "int",
    "http_status": "smallint",
    "result_type": "smallint",
    "error_code": "text",
    "error": "text",
    "warnings": "text",
    "object_dn": "text",
    "operation_id": "text",
    "finished_at": "float8",
    "latency_ms": "float8",
    "attempt": "int",
    "evidence": "text",
    "began_at": "float8",
    "ended_at": "float8",
    "headers_sent": "smallint",
    "elapsed_ms": "float8",
}
"""The columns of an outcome as it is handed over, each as an array, and their types."""

_SET_OUTCOME = """
    state = outcome.state, reason = outcome.reason, doubt = outcome.doubt, tries = outcome.tries,
    http_status = outcome.http_status, result_type = outcome.result_type, error_code = outcome.error_code,
    error = outcome.error, warnings = outcome.warnings, object_dn = outcome.object_dn,
    operation_id = outcome.operation_id, finished_at = outcome.finished_at,
    latency_ms = COALESCE(outcome.latency_ms, message_state.latency_ms), began_at = NULL
"""
TIMELINE = "left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)"
_IS_LATE = "COALESCE((SELECT deadline FROM plan) <= extract(epoch FROM clock_timestamp()), false)"
_QUEUED_OR_PROCESSING = f"('{State.QUEUED}', '{State.PROCESSING}')"
_UNFINISHED = ", ".join(f"'{state}'" for state in sorted(UNFINISHED))


def _outcomes(first: int) -> str:
    """The arrays from parameter `first` on, as rows."""
    arrays = ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(OUTCOME.values(), first))
    return f"unnest({arrays}) AS outcome ({', '.join(OUTCOME)})"


CHANGES = ", ".join(
    f"count(*) FILTER (WHERE state = '{state}') - count(*) FILTER (WHERE previous_state = '{state}') AS {state}"
    for state in State
)
"""How each counter changes by rows that left one state for another."""
COUNTED = ", ".join(f"{state} = machine.{state} + change.{state}" for state in State)


COMMIT = f"""
WITH mine AS MATERIALIZED (
    SELECT run FROM machine WHERE run = $1 AND serial = $2 - 1 AND NOT fenced FOR UPDATE
), outcome AS (
    SELECT * FROM {_outcomes(6)}
), settled AS (
    UPDATE message_state SET {_SET_OUTCOME} FROM outcome
    WHERE message_state.number = outcome.number AND message_state.state = outcome.previous_state
        AND (SELECT run FROM mine) = $1
    RETURNING outcome.previous_state, outcome.state
), evidence AS (
    INSERT INTO attempt (message, attempt, run, began_at, ended_at, headers_sent, http_status, evidence, error,
        elapsed_ms)
    SELECT number, attempt, $1, began_at, ended_at, headers_sent, http_status, evidence, error, elapsed_ms FROM outcome
    WHERE (SELECT run FROM mine) = $1 AND evidence IS NOT NULL
), begun AS (
    UPDATE message_state SET state = '{State.SENDING}', reason = NULL, attempts = attempts + 1, tries = tries + 1,
        began_at = $3, first_attempt_at = COALESCE(first_attempt_at, $3),
        possible_duplicate = CASE WHEN doubt IS NULL THEN possible_duplicate ELSE 1 END
    WHERE number = ANY ($4::bigint[]) AND state = '{State.QUEUED}' AND (SELECT run FROM mine) = $1
        AND (SELECT command = 'run' AND timeline = {TIMELINE} FROM control) AND NOT {_IS_LATE}
    RETURNING number, doubt IS NOT NULL AND NOT number = ANY ($5::bigint[]) AS is_first_after_doubt
), moved AS (
    SELECT previous_state, state FROM settled
    UNION ALL SELECT '{State.QUEUED}', '{State.SENDING}' FROM begun
), change AS (
    SELECT {CHANGES} FROM moved
), beat AS (
    UPDATE machine SET serial = $2, beaten_at = clock_timestamp(), heard = control.version, {COUNTED},
        {ATTEMPTS_MADE} = machine.{ATTEMPTS_MADE} + (SELECT count(*) FROM begun),
        {POSSIBLE_DUPLICATE} = machine.{POSSIBLE_DUPLICATE}
            + (SELECT count(*) FILTER (WHERE is_first_after_doubt) FROM begun)
    FROM mine, control, change WHERE machine.run = mine.run
)
SELECT (SELECT run FROM mine) IS NOT NULL AS is_mine, ARRAY(SELECT number FROM begun) AS begun,
    (SELECT count(*) FROM settled) AS settled, command, reason, commanded_by, version,
    timeline = {TIMELINE} AS is_same_timeline, {_IS_LATE} AS is_late,
    extract(epoch FROM clock_timestamp())::float8 AS now,
    extract(epoch FROM held_until - clock_timestamp())::float8 AS held, held_by,
    ARRAY(
        SELECT ARRAY[run, {State.FAILED}, {State.UNKNOWN}, {State.ACCEPTED} + {State.AWAITING_APPROVAL}]
        FROM machine WHERE NOT fenced AND run <> $1
    ) AS elsewhere
FROM control
"""  # noqa: S608 - constants
"""$2 the serial of this commit, $3 the moment of its intents, $4 their messages, $5 those of them that are marked as
possible duplicates already, from $6 on the outcomes.
"""

CUT = """
WITH mine AS MATERIALIZED (
    SELECT run FROM machine WHERE run = $1 AND NOT fenced FOR UPDATE
), cut AS (
    UPDATE remainder SET cut_from = next, next = LEAST(last + 1, next + GREATEST($2, LEAST($3, (last - next + 1) /
        (4 * (SELECT count(*) FROM machine WHERE NOT fenced)))))
    WHERE next <= last AND (SELECT run FROM mine) = $1 RETURNING cut_from, next - 1 AS last
)
INSERT INTO block (first, last, run) SELECT cut_from, last, $1 FROM cut RETURNING first, last
"""
"""Cut a block off the remainder: a quarter of each machine's share of it, but $2 messages at least and $3 at most."""

TAKE = """
WITH mine AS MATERIALIZED (SELECT run FROM machine WHERE run = $1 AND NOT fenced FOR UPDATE)
UPDATE block SET run = $1 WHERE (SELECT run FROM mine) = $1 AND first = (
    SELECT first FROM block WHERE run IS NULL AND (is_fresh OR NOT $2) ORDER BY round, first LIMIT 1
    FOR UPDATE SKIP LOCKED
) RETURNING first, last
"""
"""Take over a block that has no owner; if $2, only one with a message that nobody has attempted."""

OWNED = "SELECT first, last FROM block WHERE run = $1 AND first <> ALL ($2::bigint[]) LIMIT 1"
"""A block that was taken by a statement whose answer was lost; $2 are those that are known."""

ROWS = f"""
SELECT number, input_row, recipient, text, attempts, tries, doubt, possible_duplicate, operation_id, state
FROM message_content JOIN message_state USING (number)
WHERE number BETWEEN $1 AND $2 AND state IN {_QUEUED_OR_PROCESSING} ORDER BY number
"""  # noqa: S608 - constants

FINISH = f"""
DELETE FROM block WHERE run = $1 AND NOT EXISTS (
    SELECT FROM message_state WHERE number BETWEEN block.first AND block.last AND state IN ({_UNFINISHED})
) RETURNING first
"""  # noqa: S608 - constants

RELEASE = f"""
UPDATE block SET run = NULL, round = round + 1, is_fresh = EXISTS (
    SELECT FROM message_state WHERE number BETWEEN block.first AND block.last AND state = '{State.QUEUED}'
        AND attempts = 0
) WHERE run = $1
"""  # noqa: S608 - constants

REMAINING = f"""
SELECT (SELECT count(*) FROM block WHERE run IS DISTINCT FROM $1) AS blocks,
    (SELECT next <= last FROM remainder) AS is_cut_from,
    (SELECT sum({State.QUEUED}) + sum({State.PROCESSING}) FROM machine)::bigint AS messages
"""  # noqa: S608 - constants

ORPHANED = f"""
INSERT INTO block (first, last, round, is_fresh)
SELECT min(number), max(number), 1, bool_or(attempts = 0) FROM message_state
WHERE state IN {_QUEUED_OR_PROCESSING} AND number < (SELECT next FROM remainder)
    AND NOT EXISTS (SELECT FROM block WHERE number BETWEEN first AND last)
GROUP BY number / $1
"""  # noqa: S608 - constants
"""Make blocks, of numbers that have the same quotient by $1, for messages that are in none; `control` is locked."""

FENCE = "UPDATE machine SET fenced = true, status = NULL WHERE run = $1 AND serial = $2 AND NOT fenced RETURNING run"

LEAVE = "UPDATE machine SET fenced = true, has_left = true, status = NULL WHERE run = $1"

CRASHED = f"""
WITH before AS (
    SELECT number, began_at, $2 AND tries < $3 AS goes_again FROM message_state
    JOIN block ON number BETWEEN first AND last WHERE block.run = $1 AND state = '{State.SENDING}'
    FOR UPDATE OF message_state
), found AS (
    UPDATE message_state SET began_at = NULL, error_code = 'crashed', doubt = '{Reason.CRASH}',
        state = CASE WHEN goes_again THEN '{State.QUEUED}' ELSE '{State.UNKNOWN}' END,
        reason = CASE WHEN goes_again THEN NULL ELSE '{Reason.CRASH}' END,
        finished_at = CASE WHEN goes_again THEN finished_at ELSE extract(epoch FROM clock_timestamp()) END
    FROM before WHERE message_state.number = before.number
    RETURNING message_state.number, attempts, before.began_at, '{State.SENDING}' AS previous_state, state
), lines AS (
    INSERT INTO attempt (message, attempt, run, began_at, evidence, error)
    SELECT number, attempts, $1, began_at, 'crashed', 'the run died while this attempt was under way' FROM found
), change AS (
    SELECT {CHANGES} FROM found
), counted AS (
    UPDATE machine SET {COUNTED} FROM change WHERE run = $1
)
SELECT count(*) FROM found
"""  # noqa: S608 - constants
"""Settle what a fenced machine had under way: queue it again if $2 and it has had fewer than $3 tries."""

LET_GO = """
UPDATE control SET leader = CASE WHEN leader = $1 AND NOT is_led THEN NULL ELSE leader END,
    held_by = NULLIF(held_by, $1) WHERE $1 IN (leader, held_by)
"""
"""What only one machine does at a time is anybody's again."""

LATE = f"""
WITH outcome AS (
    SELECT * FROM {_outcomes(2)}
), lines AS (
    UPDATE attempt SET evidence = outcome.evidence, began_at = outcome.began_at, ended_at = outcome.ended_at,
        headers_sent = outcome.headers_sent, http_status = outcome.http_status, elapsed_ms = outcome.elapsed_ms,
        error = outcome.error
    FROM outcome WHERE message = outcome.number AND attempt.attempt = outcome.attempt AND run = $1
        AND attempt.evidence = 'crashed' AND outcome.evidence IS NOT NULL
    RETURNING message, attempt.attempt
), before AS (
    SELECT number, message_state.state AS previous_state FROM message_state JOIN lines ON number = message
    WHERE attempts = attempt AND doubt = '{Reason.CRASH}'
        AND (state = '{State.QUEUED}' OR state = '{State.UNKNOWN}' AND reason = '{Reason.CRASH}') FOR UPDATE
), repaired AS (
    UPDATE message_state SET {_SET_OUTCOME} FROM outcome JOIN before USING (number)
    WHERE message_state.number = outcome.number
    RETURNING message_state.number, before.previous_state, outcome.state
), change AS (
    SELECT {CHANGES} FROM repaired
), counted AS (
    UPDATE machine SET {COUNTED} FROM change WHERE run = $1
)
SELECT count(*) FROM repaired
"""  # noqa: S608 - constants
"""What a fenced machine learns about the attempts that it had under way; what a person has decided meanwhile stays."""

REQUEUED = f"""
INSERT INTO block (first, last, round, is_fresh) SELECT number, number, 1, false FROM message_state
WHERE number = ANY ($1::bigint[]) AND state = '{State.QUEUED}' AND number < (SELECT next FROM remainder)
    AND NOT EXISTS (SELECT FROM block WHERE number BETWEEN first AND last)
ON CONFLICT DO NOTHING
"""  # noqa: S608 - constants
"""Blocks of their own for messages that are queued again and in none."""

RESTORE = f"""
WITH outcome AS (
    SELECT * FROM {_outcomes(2)}
), last AS (
    SELECT DISTINCT ON (number) * FROM outcome ORDER BY number, attempt DESC
), before AS (
    SELECT number, message_state.state AS previous_state, attempts FROM message_state JOIN last USING (number)
    WHERE message_state.state IN ('{State.QUEUED}', '{State.SENDING}') AND attempts <= last.attempt
    FOR UPDATE OF message_state
), moved AS (
    UPDATE message_state SET {_SET_OUTCOME.replace("outcome.", "last.")}, attempts = last.attempt
    FROM last JOIN before USING (number) WHERE message_state.number = last.number
    RETURNING message_state.number, before.previous_state, last.state, last.attempt - before.attempts AS added
), lines AS (
    INSERT INTO attempt (message, attempt, run, began_at, ended_at, headers_sent, http_status, evidence, error,
        elapsed_ms)
    SELECT outcome.number, attempt, $1, began_at, ended_at, headers_sent, http_status, evidence, error, elapsed_ms
    FROM outcome JOIN moved ON moved.number = outcome.number
    ON CONFLICT DO NOTHING
), change AS (
    SELECT {CHANGES} FROM moved
), counted AS (
    UPDATE machine SET {COUNTED},
        {ATTEMPTS_MADE} = machine.{ATTEMPTS_MADE} + (SELECT COALESCE(sum(added), 0) FROM moved)
    FROM change WHERE run = 0
)
SELECT count(*) FROM moved
"""  # noqa: S608 - constants
"""Write down what a database has forgotten that went back to an earlier state."""

WITHDRAW = f"""
WITH found AS (
    SELECT number, state AS previous_state FROM message_state
    WHERE state = '{State.QUEUED}' AND ($2 <> '{State.EXPIRED}' OR {_IS_LATE}) ORDER BY number FOR UPDATE
), moved AS (
    UPDATE message_state SET finished_at = extract(epoch FROM clock_timestamp()),
        state = CASE WHEN doubt IS NULL THEN $2 ELSE '{State.UNKNOWN}' END,
        reason = CASE WHEN doubt IS NULL THEN $3 ELSE doubt END
    FROM found WHERE message_state.number = found.number AND message_state.state = '{State.QUEUED}'
    RETURNING message_state.state, previous_state
), change AS (
    SELECT {CHANGES} FROM moved
), counted AS (
    UPDATE machine SET {COUNTED} FROM change WHERE run = $1
)
SELECT count(*) FROM moved
"""  # noqa: S608 - constants
"""Move everything queued to state $2 for reason $3, or to `unknown`; nothing expires before the database says so."""

GRANT = """
UPDATE rate_limit SET next_at = GREATEST(next_at, clock_timestamp()) + make_interval(secs => $1::float8 / $2::float8)
RETURNING extract(epoch FROM next_at - clock_timestamp())::float8 - $1::float8 / $2::float8 AS starts_in,
    (SELECT count(*) FROM machine WHERE NOT fenced) AS machines
"""
"""Reserve $1 requests at $2 a second; in how many seconds the first of them may leave."""
