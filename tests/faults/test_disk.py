"""Disk faults: nothing leaves whose intent is not on disk, the run says what is wrong, and the ledger opens again."""

import signal
from typing import TYPE_CHECKING

import pytest

from bulksms.model.message import State
from bulksms.sandbox import Sandbox
from tests.platforms import with_posix_files, with_posix_signals

if TYPE_CHECKING:
    from bulksms.ledger import MessageRecord
    from bulksms.sandbox import Journal
    from tests.faults.harness import FaultHarness

PEOPLE = 60
WORKERS = 4
OPTIONS = ("--workers", str(WORKERS), "--no-adapt")

DISK_ERROR = "disk I/O error"
FULL = "database or disk is full"
READ_ONLY = "attempt to write a readonly database"


def held_against(journal: "Journal", harness: "FaultHarness") -> dict[str, "MessageRecord"]:
    """Ledger and journal agree, and every recipient has an intent on disk."""
    lines = harness.agree(journal)
    assert all(lines[recipient].attempts >= journal.requests(recipient) for recipient in journal.recipients())
    return lines


async def require_resumed(harness: "FaultHarness", server: Sandbox) -> None:
    """With the disk fixed, everybody who certainly has no message gets one; nobody twice."""
    ended = await harness.resume(server.url)
    assert ended.code in (0, 4), ended.talk
    lines = held_against(server.journal, harness)
    unknown = [line for line in lines.values() if line.state is State.UNKNOWN]
    assert len(unknown) <= WORKERS
    assert {line.reason for line in unknown} <= {"crash"}
    assert sum(line.state is State.ACCEPTED for line in lines.values()) == PEOPLE - len(unknown)
    assert all(server.journal.requests(recipient) <= 1 for recipient in lines)


@pytest.mark.parametrize(
    ("kind", "nth", "words", "sentence"),
    [
        ("begin", 1, READ_ONLY, "cannot be used: attempt to write a readonly database"),
        ("begin", 6, DISK_ERROR, "cannot be used: disk I/O error"),
        ("settle", 4, FULL, "is full"),
        ("commit", 9, DISK_ERROR, "cannot be used: disk I/O error"),
    ],
)
async def test_a_write_that_fails_ends_the_run(
    kind: str, nth: int, words: str, sentence: str, harness: "FaultHarness"
) -> None:
    harness.write_people(PEOPLE)
    async with Sandbox(latency=0.01) as server:
        ended = await harness.send(server.url, *OPTIONS, fail=kind, nth=nth, words=words)
        assert ended.code == 6, ended.talk
        assert sentence in ended.talk
        assert "Traceback" not in ended.talk
        lines = held_against(server.journal, harness)
        assert sum(line.state is State.UNKNOWN for line in lines.values()) <= WORKERS
        if kind == "begin" and nth == 1:
            assert server.journal.total == 0
        else:
            assert 0 < server.journal.total < PEOPLE
        await require_resumed(harness, server)


async def test_an_end_that_cannot_be_written_is_reported_though_everybody_was(harness: "FaultHarness") -> None:
    harness.write_people(PEOPLE)
    async with Sandbox() as server:
        ended = await harness.send(server.url, *OPTIONS, fail="end", nth=1, words=DISK_ERROR)
        assert ended.code == 6, ended.talk
        assert "disk I/O error" in ended.talk
        lines = held_against(server.journal, harness)
        assert {line.state for line in lines.values()} == {State.ACCEPTED}


async def test_a_disk_that_is_full_in_the_middle_ends_the_run(harness: "FaultHarness") -> None:
    harness.write_people(PEOPLE * 10)
    async with Sandbox(latency=0.001) as server:
        ended = await harness.send(server.url, *OPTIONS, full=5)
        assert ended.code == 6, ended.talk
        assert "The disk that holds people.ledger.db is full." in ended.talk
        assert "hint: Make room" in ended.talk
        lines = held_against(server.journal, harness)
        assert 0 < server.journal.total < len(lines)
        ended = await harness.resume(server.url)
        assert ended.code in (0, 4), ended.talk
        lines = held_against(server.journal, harness)
        assert all(server.journal.requests(recipient) <= 1 for recipient in lines)


@with_posix_signals
async def test_trouble_with_the_ledger_is_reported_before_the_interruption(harness: "FaultHarness") -> None:
    harness.write_people(PEOPLE)
    async with Sandbox(latency=0.3) as server:
        arguments = ("send", "people.csv", "--yes", *OPTIONS)
        process = await harness.start(server.url, *arguments, fail="settle", nth=1, words=DISK_ERROR)
        await harness.until(lambda: server.journal.total >= WORKERS)
        process.send_signal(signal.SIGINT)
        ended = await harness.end_of(process)
    assert ended.code == 6, ended.talk
    assert "disk I/O error" in ended.talk
    held_against(server.journal, harness)


@with_posix_files
@pytest.mark.parametrize("what", ["folder", "ledger"])
async def test_missing_permission_is_reported_before_the_run(what: str, harness: "FaultHarness") -> None:
    harness.write_people(PEOPLE)
    async with Sandbox() as server:
        assert (await harness.run(server.url, "plan", "people.csv")).code == 0
        path = harness.folder if what == "folder" else harness.ledger
        rights = path.stat().st_mode
        path.chmod(0o500 if what == "folder" else 0o400)
        try:
            ended = await harness.resume(server.url, ordinary=True)
            other = await harness.run(server.url, "plan", "people.csv", "--ledger", "other.db", ordinary=True)
        finally:
            path.chmod(rights)
        if ended.code == 99:
            pytest.skip("the superuser may write anywhere here")
        assert ended.code == 6, ended.talk
        assert "\nerror: " in ended.talk
        assert "hint: " in ended.talk
        assert other.code == (6 if what == "folder" else 0), other.talk
        assert server.journal.total == 0
        await require_resumed(harness, server)
