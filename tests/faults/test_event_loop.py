"""The event loop's thread: no call of SQLite, of a file or of DNS is made there, by the thread and not by the time.

And the clock on the wall, which somebody may set: only a deadline looks at it.
"""

import ssl
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import trustme

from bulksms.model.message import State
from bulksms.sandbox import Account, FaultPlan, Sandbox

if TYPE_CHECKING:
    from tests.faults.harness import FaultHarness

PEOPLE = 60


@pytest.mark.parametrize("options", [(), ("--canary", "2", "--deadline", "1h", "--log-file", "run.log")])
async def test_nothing_that_blocks_runs_on_the_event_loops_thread(
    options: tuple[str, ...], harness: "FaultHarness"
) -> None:
    harness.write_people(PEOPLE)
    faults = {10: "202", 20: "429", 30: "result_failed", 40: "drop_after", 50: "503"}
    plan = FaultPlan.of({f"CN=Person {number},OU=Staff,DC=example,DC=com": [name] for number, name in faults.items()})
    async with Sandbox(faults=plan) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        ended = await harness.send(url, *options, threads=True)
    assert ended.code == 4, ended.talk
    assert "on the loop" not in ended.talk
    harness.agree(server.journal)


async def test_nothing_that_blocks_runs_there_with_tls_and_a_log_in_either(harness: "FaultHarness") -> None:
    """Authorities are read, names resolved and tokens renewed on the way."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(harness.folder / "ca.pem")
    harness.write_people(PEOPLE)
    account = Account(token_lifetime=0.5)
    async with Sandbox(tls=context, token=None, account=account, latency=0.05) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        harness.credentials = {"BULKSMS_USERNAME": account.username, "BULKSMS_PASSWORD": account.password}
        ended = await harness.send(url, "--ca-file", "ca.pem", "--workers", "4", "--rate", "60", threads=True)
    assert ended.code == 0, ended.talk
    assert server.log_ins.issued > 1
    assert "on the loop" not in ended.talk


async def test_the_watch_over_the_threads_sees_what_it_is_for(harness: "FaultHarness") -> None:
    (harness.folder / "watched.py").write_text(
        "import asyncio, json, sqlite3, sys\n"
        "sys.argv[1:] = [json.dumps({'threads': True}), 'status', 'none.db']\n"
        "import runner\n"
        "runner.main()\n"
        "async def block():\n"
        "    open('here', 'w').close()\n"
        "    connection = sqlite3.connect('there')\n"
        "    connection.execute('SELECT 1')\n"
        "    connection.close()\n"
        "    await asyncio.to_thread(lambda: open('here').close())\n"
        "asyncio.run(block())\n"
    )
    ended = await harness.script("watched.py")
    assert ended.code == 0, ended.talk
    lines = [line.split()[3] for line in ended.talk.splitlines() if line.startswith("on the loop")]
    assert lines == ["open", "sqlite3.connect", "sqlite", "sqlite"]


async def test_a_wall_clock_that_jumps_to_and_fro_neither_stalls_nor_floods(harness: "FaultHarness") -> None:
    harness.write_people(100)
    faults = FaultPlan.by_share({"202": 0.1, "429": 0.1}, seed=3)
    began = time.monotonic()
    async with Sandbox(faults=faults, latency=0.01) as server:
        ended = await harness.send(server.url, "--rate", "60", "--workers", "8", jump=3600)
    assert ended.code == 0, ended.talk
    assert time.monotonic() - began < 30
    assert {line.state for line in harness.agree(server.journal).values()} == {State.ACCEPTED}
    times = server.journal.times
    assert times[-1] - times[0] >= (len(times) - 1) / 60 - 0.5, "a busy machine receives them later, but no flood"


async def test_a_deadline_is_a_moment_of_the_wall_clock(harness: "FaultHarness") -> None:
    harness.write_people(40)
    async with Sandbox(latency=0.01) as server:
        # The run lasts four seconds: at one of the looks, a second apart, the jumping clock is an hour ahead.
        moment = datetime.now(UTC) + timedelta(minutes=30)
        ended = await harness.send(server.url, "--rate", "10", "--deadline", moment.isoformat(), jump=3600)
    assert ended.code == 5, ended.talk
    lines = harness.agree(server.journal).values()
    states = {line.state for line in lines}
    assert State.EXPIRED in states
    assert states <= {State.ACCEPTED, State.EXPIRED}
