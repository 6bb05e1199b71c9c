"""The programs in `samples/`, which the Python reference shows whole, are type-checked and run here as programs."""

import asyncio
import os
import re
import signal
import sqlite3
import sys
import tomllib
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

import bulksms
from bulksms.sandbox import Fault, FaultPlan, Sandbox

ROOT = Path(__file__).parents[2]


def test_the_reference_shows_every_sample() -> None:
    page = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"<!-- generated: sample (\S+) -->", page))
    assert shown == {path.name for path in (ROOT / "samples").glob("*.py")}


def test_the_samples_are_type_checked() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]
    assert settings["strict"]
    assert "samples" in settings["packages"]


Start = Callable[[str, Sandbox], Awaitable[str]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Run a sample as a program of its own, in an empty folder; what it printed."""

    async def start(name: str, server: Sandbox) -> str:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, ROOT / "samples" / name),
            cwd=tmp_path,
            env={**os.environ, "BULKSMS_URL": server.url, "BULKSMS_TOKEN": "sandbox"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        result, talk = await process.communicate()
        assert (process.returncode, talk.decode()) == (0, "")
        return result.decode()

    return start


async def test_plan_and_send(start: Start, tmp_path: Path) -> None:
    rows = ['"CN=Ann,DC=x",Ann', '"CN=Bo,DC=x",', "jsmith,nobody"]
    (tmp_path / "people.csv").write_text("dn,name\n" + "".join(f"{row}\n" for row in rows))
    async with Sandbox() as server:
        assert await start("plan_and_send.py", server) == ("2 of 3 rows, 2 SMS segments\n3 = 2 accepted + 1 skipped\n")
        assert server.journal.texts("CN=Ann,DC=x") == ["Ann, the lift is out of order until 18:00."]
        assert server.journal.texts("CN=Bo,DC=x") == ["Hello, the lift is out of order until 18:00."]
        assert await start("plan_and_send.py", server) == "3 = 2 accepted + 1 skipped\n"
    assert server.journal.total == 2


async def test_follow_outcomes(start: Start, tmp_path: Path) -> None:
    failing = [f"CN=Person {number},OU=Staff,DC=example,DC=com" for number in range(2, 40, 3)]
    async with Sandbox(faults=FaultPlan.of({who: [Fault.RESULT_FAILED] for who in failing}), latency=0.02) as server:
        outcomes = (await start("follow_outcomes.py", server)).splitlines()
    assert len(outcomes) == 4
    assert all(re.match(r"row \d+ is failed: \w+", line) for line in outcomes[:3])
    assert outcomes[3].startswith("40 = ")
    assert outcomes[3].endswith(" - interrupted")
    summary = bulksms.status(tmp_path / "alarm.ledger.db")
    assert server.journal.total == summary.total - summary.counts[bulksms.State.QUEUED] < 40
    with bulksms.open_ledger(tmp_path / "alarm.ledger.db") as reader:
        assert reader.runs()[0].confirmed_by == "the fire alarm"


async def test_from_database(start: Start, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "shifts.sqlite")) as connection, connection:
        connection.execute("CREATE TABLE shift (id INTEGER PRIMARY KEY, person, begins, state)")
        people = ["CN=Ann,DC=x", "CN=Bo [404],DC=x", "CN=Cy,DC=x"]
        rows = [(who, f"{hour}:00", "accepted" if "Cy" in who else "") for hour, who in enumerate(people, 6)]
        connection.executemany("INSERT INTO shift (person, begins, state) VALUES (?, ?, ?)", rows)
    async with Sandbox() as server:
        printed = await start("from_database.py", server)
        assert server.journal.texts("CN=Ann,DC=x") == ["Your shift begins at 6:00."]
    assert printed == "2 messages, 2 SMS segments\n2 = 1 accepted + 1 failed\n"
    with closing(sqlite3.connect(tmp_path / "shifts.sqlite")) as connection:
        states = connection.execute("SELECT state FROM shift ORDER BY id").fetchall()
    assert states == [("accepted",), ("failed",), ("accepted",)]


async def test_count_metrics(start: Start, tmp_path: Path) -> None:
    (tmp_path / "north.csv").write_text('dn,text\n"CN=Ann,DC=x",Hello\n"CN=Twice [500],DC=x",Hello\n')
    (tmp_path / "south.csv").write_text('dn,text\n"CN=Bo,DC=x",Hello\n"CN=No [result_failed],DC=x",Hello\n')
    async with Sandbox() as server:
        *printed, latency = (await start("count_metrics.py", server)).splitlines()
    assert printed == [
        "north.ledger.db 2 = 2 accepted exit code 0",
        "south.ledger.db 2 = 1 accepted + 1 failed exit code 1",
        'sms_messages_total{state="accepted"} 3',
        'sms_messages_total{state="failed"} 1',
    ]
    assert re.fullmatch(r"sms_latency_seconds_sum \d+\.\d{3}", latency)
    assert server.journal.total == 5


async def test_resume_and_report(start: Start, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text('dn,text\n"CN=Ann,DC=x",Hi\n"CN=Lost [drop_after],DC=x",Hi\n')
    with bulksms.open_input(tmp_path / "people.csv") as people:
        bulksms.plan(people, tmp_path / "people.ledger.db")
    expected = (
        "people.ledger.db: 2 = 1 accepted + 1 unknown\n  row 3: CN=Lost [drop_after],DC=x is unknown (no_answer)\n"
    )
    async with Sandbox() as server:
        assert await start("resume_and_report.py", server) == expected
        assert await start("resume_and_report.py", server) == expected
    assert server.journal.total == 2


async def test_ctrl_c_drains_a_program(tmp_path: Path) -> None:
    """`asyncio.run` makes of Ctrl-C a cancellation of the program's own task."""
    people = "".join(f'"CN=Person {number},DC=x",P{number}\n' for number in range(400))
    (tmp_path / "people.csv").write_text(f"dn,name\n{people}")
    async with Sandbox(latency=0.1) as server:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, ROOT / "samples" / "plan_and_send.py"),
            cwd=tmp_path,
            env={**os.environ, "BULKSMS_URL": server.url, "BULKSMS_TOKEN": "sandbox"},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        while server.journal.total < 20:  # noqa: ASYNC110 - no event tells of what a server has received
            await asyncio.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, talk = await process.communicate()
    assert b"KeyboardInterrupt" in talk
    summary = bulksms.status(tmp_path / "people.ledger.db")
    assert summary.stopped == "interrupted"
    assert summary.counts[bulksms.State.ACCEPTED] == server.journal.total < 400
    assert summary.counts[bulksms.State.QUEUED] == 400 - server.journal.total
