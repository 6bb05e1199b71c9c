"""Disk faults: nothing leaves whose intent is not on disk, the run says what is wrong, and the ledger opens again."""

import signal
import sys
from typing import TYPE_CHECKING

import pytest

from bulksms.message import State
from bulksms.sandbox import Sandbox

if TYPE_CHECKING:
    from bulksms.ledger.reader import Line
    from bulksms.sandbox import Journal
    from tests.faults.conftest import Desk

PEOPLE = 60
WORKERS = 4
OPTIONS = ("--workers", str(WORKERS), "--no-adapt")

DISK_ERROR = "disk I/O error"
FULL = "database or disk is full"
READ_ONLY = "attempt to write a readonly database"


def held_against(journal: "Journal", desk: "Desk") -> dict[str, "Line"]:
    """The books agree, and whoever was sent to has an intent on disk."""
    lines = desk.agree(journal)
    assert all(lines[recipient].attempts >= journal.requests(recipient) for recipient in journal.recipients())
    return lines


async def require_resumed(desk: "Desk", server: Sandbox) -> None:
    """With the disk mended, everybody who was certainly not told is told; nobody twice."""
    ended = await desk.resume(server.url)
    assert ended.code in (0, 4), ended.talk
    lines = held_against(server.journal, desk)
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
async def test_a_write_that_fails_ends_the_run(kind: str, nth: int, words: str, sentence: str, desk: "Desk") -> None:
    desk.write_people(PEOPLE)
    async with Sandbox(latency=0.01) as server:
        ended = await desk.send(server.url, *OPTIONS, fail=kind, nth=nth, words=words)
        assert ended.code == 6, ended.talk
        assert sentence in ended.talk
        assert "Traceback" not in ended.talk
        lines = held_against(server.journal, desk)
        assert sum(line.state is State.UNKNOWN for line in lines.values()) <= WORKERS
        if kind == "begin" and nth == 1:
            assert server.journal.total == 0
        else:
            assert 0 < server.journal.total < PEOPLE
        await require_resumed(desk, server)


async def test_an_end_that_cannot_be_written_is_told_though_everybody_was(desk: "Desk") -> None:
    desk.write_people(PEOPLE)
    async with Sandbox() as server:
        ended = await desk.send(server.url, *OPTIONS, fail="end", nth=1, words=DISK_ERROR)
        assert ended.code == 6, ended.talk
        assert "disk I/O error" in ended.talk
        lines = held_against(server.journal, desk)
        assert {line.state for line in lines.values()} == {State.ACCEPTED}


async def test_a_disk_that_is_full_in_the_middle_ends_the_run(desk: "Desk") -> None:
    desk.write_people(PEOPLE * 10)
    async with Sandbox(latency=0.001) as server:
        ended = await desk.send(server.url, *OPTIONS, full=5)
        assert ended.code == 6, ended.talk
        assert "The disk that holds people.ledger.db is full." in ended.talk
        assert "hint: Make room" in ended.talk
        lines = held_against(server.journal, desk)
        assert 0 < server.journal.total < len(lines)
        ended = await desk.resume(server.url)
        assert ended.code in (0, 4), ended.talk
        lines = held_against(server.journal, desk)
        assert all(server.journal.requests(recipient) <= 1 for recipient in lines)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as POSIX does it")
async def test_trouble_with_the_ledger_is_told_before_the_interruption(desk: "Desk") -> None:
    desk.write_people(PEOPLE)
    async with Sandbox(latency=0.3) as server:
        arguments = ("send", "people.csv", "--yes", *OPTIONS)
        process = await desk.start(server.url, *arguments, fail="settle", nth=1, words=DISK_ERROR)
        await desk.until(lambda: server.journal.total >= WORKERS)
        process.send_signal(signal.SIGINT)
        ended = await desk.end_of(process)
    assert ended.code == 6, ended.talk
    assert "disk I/O error" in ended.talk
    held_against(server.journal, desk)


@pytest.mark.skipif(sys.platform == "win32", reason="rights as POSIX has them")
@pytest.mark.parametrize("what", ["folder", "ledger"])
async def test_what_may_not_be_written_to_is_told_before_anything_is_sent(what: str, desk: "Desk") -> None:
    desk.write_people(PEOPLE)
    async with Sandbox() as server:
        assert (await desk.run(server.url, "plan", "people.csv")).code == 0
        path = desk.folder if what == "folder" else desk.ledger
        rights = path.stat().st_mode
        path.chmod(0o500 if what == "folder" else 0o400)
        try:
            ended = await desk.resume(server.url, ordinary=True)
            other = await desk.run(server.url, "plan", "people.csv", "--ledger", "other.db", ordinary=True)
        finally:
            path.chmod(rights)
        if ended.code == 99:  # pragma: no cover - as the machine is
            pytest.skip("the superuser may write anywhere here")
        assert ended.code == 6, ended.talk
        assert ended.talk.startswith("error: ")
        assert "hint: " in ended.talk
        assert other.code == (6 if what == "folder" else 0), other.talk
        assert server.journal.total == 0
        await require_resumed(desk, server)
