"""A batch: all steps of a commit in their order, each value as it was handed over."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksms.ledger import OutcomeRecord
from bulksms.ledger.sqlite.batch import Intent, Outcome, write
from bulksms.ledger.sqlite.schema import INDEXES, TABLES, TALLIES
from bulksms.model.attempt import ApiError, Attempt, OperationResult, ResultType
from bulksms.model.message import Message, Reason, State

BUSY = Attempt(headers_sent=True, status=503, began_at=100.0, elapsed=0.1)
AGAIN = OutcomeRecord(State.QUEUED, evidence="not_processed")
MESSAGES = 5


def tables() -> sqlite3.Connection:
    """A ledger's tables in memory, with a few messages that are queued."""
    connection = sqlite3.connect(":memory:")
    connection.executescript(TABLES + INDEXES)
    columns = "number, input_row, recipient, recipient_key, text, other_columns, state"
    connection.executemany(
        f"INSERT INTO message ({columns}) VALUES (?, ?, 'a', 'a', 'Hi', '{{}}', 'queued')",  # noqa: S608 - constants
        [(number, number) for number in range(1, MESSAGES + 1)],
    )
    connection.executemany("INSERT INTO tally VALUES (?, ?)", [(name, 0) for name in TALLIES])
    return connection


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(tables()) as opened:
        yield opened


def message(number: int = 1, attempts: int = 1) -> Message:
    return Message(number, number + 1, "a", "Hi", attempts=attempts, tries=attempts)


def states(connection: sqlite3.Connection) -> list[tuple[str, int]]:
    return connection.execute("SELECT state, attempts FROM message ORDER BY number").fetchall()


def test_the_steps_of_one_message_are_written_in_their_order(connection: sqlite3.Connection) -> None:
    released = OutcomeRecord(State.FAILED, Reason.REJECTED, previous_state=State.QUEUED)
    steps: list[Intent | Outcome] = [
        Intent(1, 100.0, is_first_after_doubt=False),
        Intent(2, 100.0, is_first_after_doubt=False),
        Outcome.of(message(), BUSY, AGAIN, 1),
        Intent(1, 101.0, is_first_after_doubt=False),
        Outcome.of(message(attempts=2), BUSY, AGAIN, 1),
        Outcome.of(message(attempts=2), BUSY, released, 1),
        Outcome.of(message(2), BUSY, AGAIN, 1),
    ]
    assert write(connection, steps)
    assert states(connection) == [("failed", 2), ("queued", 1), *[("queued", 0)] * 3]
    assert connection.execute("SELECT message, attempt FROM attempt ORDER BY 1, 2").fetchall() == [
        (1, 1),
        (1, 2),
        (2, 1),
    ]
    tally = dict(connection.execute("SELECT name, messages FROM tally WHERE messages != 0"))
    assert tally == {"failed": 1, "queued": -1, "attempts": 3}


def test_a_message_in_another_state_is_noticed(connection: sqlite3.Connection) -> None:
    assert write(connection, [Intent(1, 100.0, is_first_after_doubt=False)])
    assert not write(connection, [Intent(number, 100.0, is_first_after_doubt=False) for number in (2, 1, 3)])
    assert not write(connection, [Outcome.of(message(5), BUSY, AGAIN, 1)])


def test_a_batch_without_steps_changes_nothing(connection: sqlite3.Connection) -> None:
    before = connection.total_changes
    assert write(connection, [])
    assert connection.total_changes == before


PRINTABLE = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=30)


@given(PRINTABLE, PRINTABLE, st.floats(0, 4e9), st.floats(0, 1e5), st.sampled_from([None, 200, 503]))
def test_each_value_arrives_as_it_was_handed_over(
    words: str, name: str, began_at: float, elapsed: float, status: int | None
) -> None:
    attempt = Attempt(
        headers_sent=True,
        status=status,
        result=OperationResult(ResultType.FAILED, words, warnings=(name,), object_dn=name or None),
        api_error=ApiError("", name),
        operation_id=words or None,
        began_at=began_at,
        elapsed=elapsed,
    )
    outcome = OutcomeRecord(State.UNKNOWN, Reason.NO_ANSWER, Reason.NO_ANSWER, evidence="lost")
    with closing(tables()) as connection:
        assert write(connection, [Intent(1, began_at, is_first_after_doubt=False)])
        assert connection.execute("SELECT began_at, first_attempt_at FROM message").fetchone() == (began_at, began_at)
        assert write(connection, [Outcome.of(message(), attempt, outcome, 1)])
        kept = "http_status, error, error_code, object_dn, operation_id, finished_at, latency_ms, doubt, began_at"
        expected = (status, words, name, name or None, words or None, began_at + elapsed, elapsed * 1000.0)
        row = connection.execute(f"SELECT {kept} FROM message").fetchone()  # noqa: S608 - constants
        assert row == (*expected, "no_answer", None)
        proof = "SELECT began_at, ended_at, headers_sent, http_status, evidence, error, elapsed_ms FROM attempt"
        assert connection.execute(proof).fetchone() == (
            began_at,
            began_at + elapsed,
            1,
            status,
            "lost",
            words,
            elapsed * 1000.0,
        )
