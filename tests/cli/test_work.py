"""`bulksms work`: several machines on one run, each a process of its own; the journal of the server is the judge."""

import re
import signal
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from bulksms.ledger import ledger_name, open_ledger
from bulksms.model.message import State
from bulksms.sandbox.postgresql import PostgresqlServer

if TYPE_CHECKING:
    from tests.cli.harness import CliHarness, Start

PEOPLE = 90
WORKERS = 4


@pytest.fixture
def people(database: str, cli: "CliHarness", postgresql: PostgresqlServer) -> str:
    """The URL of a plan; a machine that is silent for a second and a half is taken for dead."""
    cli.people(PEOPLE)
    url = f"{database}?ledger=people"
    assert cli("plan", "people.csv", "--ledger", url, "--quiet").code == 0
    name = database.rpartition("/")[2]
    schema = postgresql.ask(name, "SELECT schema_name FROM bulksms.ledger")
    postgresql.execute(name, f"UPDATE {schema}.control SET lease = 1")  # noqa: S608 - of our own making
    return url


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until it is so."""
    end = time.monotonic() + 60.0
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.01)


def test_machines_share_a_run_and_each_one_tells_how_the_whole_ended(
    people: str, cli: "CliHarness", start: "Start"
) -> None:
    server = cli.server(latency=0.3)
    first = start("send", people, "--yes", "--workers", str(WORKERS))
    wait_until(lambda: server.journal.total > 0)
    watching = start("status", people, "--watch")
    others = [start("work", people, "--workers", str(WORKERS)) for _ in range(2)]
    for machine in (first, *others):
        _, talk = machine.communicate(timeout=120)
        assert machine.returncode == 0, talk
    assert server.journal.total == PEOPLE
    shown, _ = watching.communicate(timeout=120)
    assert re.search(r"^\d+ of 90 .*\nRun 1 on .*: \d+ in flight", shown, re.MULTILINE), shown
    assert " in flight" not in shown.partition("90 = 90 accepted\n")[2], "who has left is not listed"
    assert cli("verify", people).code == 0
    runs = cli("report", people, "--runs", "--json").json["runs"]
    assert [run["run"] for run in runs] == [1, 2, 3]
    assert sum(run["settled"] for run in runs) == PEOPLE


def test_the_death_of_a_machine_leaves_its_requests_unknown_and_nobody_twice(
    people: str, cli: "CliHarness", start: "Start"
) -> None:
    server = cli.server(latency=0.3)
    first = start("send", people, "--yes", "--workers", str(WORKERS))
    wait_until(lambda: server.journal.total > 0)
    second = start("work", people, "--workers", str(WORKERS))
    wait_until(lambda: server.journal.total > 3 * WORKERS)
    first.kill()
    _, talk = second.communicate(timeout=120)
    with open_ledger(ledger_name(people)) as reader:
        records = list(reader.messages())
    states = Counter(record.state for record in records)
    assert second.returncode == (4 if states[State.UNKNOWN] else 0), talk
    assert states[State.UNKNOWN] <= WORKERS
    assert states[State.ACCEPTED] + states[State.UNKNOWN] == PEOPLE
    assert max(server.journal.delivered(record.recipient) for record in records) == 1


def test_a_machine_joins_only_what_somebody_has_started(people: str, cli: "CliHarness") -> None:
    server = cli.server()
    refused = cli("work", people)
    assert refused.code == 3
    assert "Nobody has started people yet" in refused.err
    assert f"`bulksms send '{people}'`" in refused.err
    assert server.journal.total == 0


def test_a_machine_that_is_stopped_drains_and_the_others_go_on(people: str, cli: "CliHarness", start: "Start") -> None:
    server = cli.server(latency=1.0)
    first = start("send", people, "--yes", "--workers", str(WORKERS))
    wait_until(lambda: server.journal.total > 0)
    before = server.journal.total
    second = start("work", people, "--workers", str(WORKERS), "--log-level", "debug")
    assert second.stderr is not None
    while "message settled" not in (line := second.stderr.readline()):
        assert line, "it ended before it sent anything"
    second.send_signal(signal.SIGINT)
    second.communicate(timeout=120)
    assert second.returncode == 130
    assert before < server.journal.total < PEOPLE
    first.communicate(timeout=120)
    assert first.returncode == 0
    assert server.journal.total == PEOPLE


def test_all_machines_pause_until_one_resumes(people: str, cli: "CliHarness", start: "Start") -> None:
    server = cli.server(latency=0.3)
    first = start("send", people, "--yes", "--workers", str(WORKERS))
    wait_until(lambda: server.journal.total > 0)
    shown = cli("status", people).out
    assert re.search(r"^Run 1 on .*: \d+ in flight.*; since .*, process \d+\.$", shown, re.MULTILINE), shown
    (machine,) = cli("status", people, "--json").json["machines"]
    assert (machine["run"], machine["process"], machine["is_lost"]) == (1, first.pid, False)
    assert 0 < machine["in_flight"] <= WORKERS
    paused = cli("pause", people)
    assert paused.code == 0
    assert f"resume '{people}'" in paused.err
    wait_until(lambda: server.journal.in_flight == 0)
    so_far = server.journal.total
    assert so_far < PEOPLE
    second = start("resume", people, "--yes", "--workers", str(WORKERS))
    for machine in (first, second):
        _, talk = machine.communicate(timeout=120)
        assert machine.returncode == 0, talk
    assert server.journal.total == PEOPLE


def test_what_is_for_several_machines_is_refused_for_a_file(cli: "CliHarness") -> None:
    cli.server()
    cli.people(3)
    assert cli("plan", "people.csv", "--quiet").code == 0
    for arguments in (("pause", "people.ledger.db"), ("resume", "people.ledger.db", "--after-failover", "--yes")):
        refused = cli(*arguments)
        assert refused.code == 3
        assert "is a file" in refused.err


def test_a_file_is_one_machines(cli: "CliHarness") -> None:
    cli.server()
    cli.people(3)
    assert cli("plan", "people.csv", "--quiet").code == 0
    refused = cli("work", "people.ledger.db")
    assert refused.code == 3
    assert "on which one machine works at a time" in refused.err
