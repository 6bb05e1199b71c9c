"""Ledgers in real files for the reports: planned, and worked on by runs that end as a test wants it."""

import asyncio
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bulksms.ledger import DraftRow, OutcomeRecord, Recovery, RunStart, new_draft
from bulksms.ledger.sqlite.writer import SqliteWriter, open_for_run
from bulksms.model.attempt import ApiError, Attempt, Failure, OperationResult, ResultType
from bulksms.model.message import Message, Reason, State

BEGAN = 1_763_951_700.0
"""When the first attempt began: 2025-11-24 02:35:00 UTC."""


@dataclass
class Answer:
    """What came of one attempt: the line of evidence, and where the message went."""

    evidence: str
    state: State
    reason: Reason | None = None
    doubt: Reason | None = None
    seconds: float = 0.25
    attempt: dict[str, Any] = field(default_factory=dict)


ACCEPTED = Answer("succeeded", State.ACCEPTED, attempt={"result": OperationResult(ResultType.SUCCEEDED)})
AWAITING = Answer("suspended", State.AWAITING_APPROVAL, attempt={"result": OperationResult(ResultType.SUSPENDED)})
PROCESSING = Answer("started", State.PROCESSING, attempt={"status": 202, "operation_id": "operation-7"})
LOST = Answer(
    "lost",
    State.UNKNOWN,
    Reason.NO_ANSWER,
    Reason.NO_ANSWER,
    attempt={"status": None, "failure": Failure.DISCONNECTED, "detail": "ServerDisconnectedError"},
)
AGAIN = Answer("not_processed", State.QUEUED, attempt={"status": 503, "snippet": "Service Unavailable"})
DOUBTFUL = Answer("server_failed", State.QUEUED, doubt=Reason.AMBIGUOUS_ANSWER, attempt={"status": 502})
EXHAUSTED = Answer("not_processed", State.FAILED, Reason.ATTEMPTS_EXHAUSTED, attempt={"status": 503, "snippet": "Busy"})


def refused(words: str, code: str = "notFound") -> Answer:
    """The API rejected it, in these words."""
    return Answer(
        "rejected", State.FAILED, Reason.REJECTED, attempt={"status": 404, "api_error": ApiError(words, code)}
    )


def accepted(*warnings: str) -> Answer:
    """Accepted, with warnings."""
    result = OperationResult(ResultType.SUCCEEDED, warnings=warnings)
    return Answer("succeeded", State.ACCEPTED, attempt={"result": result})


@dataclass
class Course:
    """One run: what came of the attempts at each message it takes, in the plan's order; of the rest nothing does."""

    answers: Sequence[Sequence[Answer]] = ()
    stopped: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    user: str = "anna"
    began_at: float = BEGAN
    dies_with: int = 0
    """So many further messages are under way when the run is killed."""


def person(number: int, recipient: str | None = None, text: str | None = None, **columns: str) -> DraftRow:
    """The row of one of the people."""
    given = recipient or f"CN=Person {number},DC=example,DC=com"
    other = json.dumps(columns or {"name": f"Name {number}"}, ensure_ascii=False)
    return DraftRow(number + 1, given, f"key {number}", text or f"Text {number}", other, "GSM-7", 1)


async def _work(path: Path, course: Course) -> None:
    settings = json.dumps(course.settings)
    record = RunStart("https://adaxes.example/restApi", "1.0", course.user, "ops-1", 4711, settings, "at the terminal")
    ledger = await open_for_run(path, Recovery(State.UNKNOWN, 5), record)
    messages = await ledger.claim(State.QUEUED, 0, 1_000)
    at = course.began_at
    for message, answers in zip(messages, course.answers, strict=False):
        for answer in answers:
            await _attempt(ledger, message, answer, at)
            at += answer.seconds
    for message in messages[len(course.answers) :][: course.dies_with]:
        await _begin(ledger, message, at)
    if not course.dies_with:
        await ledger.end_run(course.stopped, 4.0, len(course.answers))
    await ledger.close()


async def _begin(ledger: SqliteWriter, message: Message, at: float) -> None:
    message.attempts += 1
    message.tries += 1
    await ledger.record_intent(message, at)


async def _attempt(ledger: SqliteWriter, message: Message, answer: Answer, at: float) -> None:
    await _begin(ledger, message, at)
    values = {"headers_sent": True, "status": 200, "began_at": at, "elapsed": answer.seconds} | answer.attempt
    message.in_doubt = answer.doubt or message.in_doubt
    settlement = OutcomeRecord(answer.state, answer.reason, message.in_doubt, evidence=answer.evidence)
    ledger.record_outcome(message, Attempt(**values), settlement)
    await ledger.flush()


class LedgerFactory:
    """Writes ledgers into a folder, from the words that it has for them."""

    ACCEPTED = ACCEPTED
    AWAITING = AWAITING
    PROCESSING = PROCESSING
    LOST = LOST
    AGAIN = AGAIN
    DOUBTFUL = DOUBTFUL
    EXHAUSTED = EXHAUSTED
    BEGAN = BEGAN
    course = Course
    accepted = staticmethod(accepted)
    refused = staticmethod(refused)
    person = staticmethod(person)

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def plan(self, rows: Iterable[DraftRow], name: str = "people.ledger.db", **plan: Any) -> Path:
        """Keep a ledger of these rows."""
        values: dict[str, Any] = {"source": "people.csv", "columns": ["name"], "version": "1.0"}
        values["summary"] = json.dumps({"rows": 1, "to_send": 1, "bad_rows": 0})
        with new_draft(self.folder / name) as draft:
            draft.add(rows)
            draft.index()
            return draft.keep(**values | {"fingerprint": draft.fingerprint()} | plan)

    def people(self, count: int, name: str = "people.ledger.db") -> Path:
        """Keep a ledger of so many people."""
        return self.plan((person(number) for number in range(1, count + 1)), name)

    def run(self, path: Path, *courses: Course) -> Path:
        """Work on it in runs, one after the other."""
        for course in courses:
            asyncio.run(_work(path, course))
        return path
