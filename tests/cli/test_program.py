"""The program as others start it: help, version, imports, pipes, and two processes that know of each other."""

import json
import re
import signal
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bulksms import __version__
from bulksms.cli.app import COMMANDS
from bulksms.ledger import open_ledger
from bulksms.model.message import State
from bulksms.sandbox import Fault, FaultPlan, Journal
from bulksms.sandbox.faults import PROCESSED

if TYPE_CHECKING:
    from tests.cli.harness import CliHarness, Start

# Help


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str, cli: "CliHarness") -> None:
    result = cli(name, "--help")
    assert result.code == 0
    assert f"Example: bulksms {name}" in " ".join(result.out.split())


def test_the_help_of_the_simulator_names_every_fault_and_its_file_can_be_used(cli: "CliHarness") -> None:
    text = cli("sandbox", "--help").out
    out, _, not_out = text.partition("Faults after which it has not:")
    out = out.partition("Faults after which the message has gone out:")[2]
    not_out = not_out.partition(".")[0]
    assert {name.strip(" .") for name in " ".join(out.split()).split(",")} == PROCESSED
    assert {name.strip(" .") for name in " ".join(not_out.split()).split(",")} == set(Fault) - PROCESSED
    example = text.partition("of the same form:\n")[2].partition("\n\n")[0]
    plan = FaultPlan.load(cli.write("faults.toml", textwrap.dedent(example)))
    assert plan.script("CN=Anna Berg,OU=Staff,DC=example,DC=com") == (Fault.DROP_AFTER,)
    assert FaultPlan().script("CN=Anna [429\\,503*2],OU=Staff") == ("429", "503", "503")
    assert sum(share.share for share in FaultPlan.preset().shares) == pytest.approx(0.35)
    assert "35 of 100 recipients" in " ".join(text.split())


def test_the_help_names_every_command(cli: "CliHarness") -> None:
    result = cli("--help")
    assert result.code == 0
    assert cli("-h").out == result.out
    assert all(re.search(rf"^  {name} ", result.out, re.MULTILINE) for name in COMMANDS)


def test_version_is_reported(cli: "CliHarness") -> None:
    assert cli("--version").out == f"bulksms, version {__version__}\n"


@pytest.mark.parametrize("arguments", ["['--help']", "['status', '--help']", "['status', 'people.ledger.db']"])
def test_help_and_status_do_not_import_aiohttp(arguments: str, cli: "CliHarness", start: "Start") -> None:
    cli.people(1)
    cli("plan", "people.csv")
    look = (
        f"import sys, bulksms.cli.app; bulksms.cli.app.run({arguments}); "
        "print({'aiohttp', 'rich'} & set(sys.modules))"
    )
    process = start(program=("-c", look))
    result, talk = process.communicate(timeout=60)
    assert result.splitlines()[-1] == "set()", talk


# As a process


def test_python_m_bulksms_is_the_same_program(cli: "CliHarness", start: "Start") -> None:
    server = cli.server()
    cli.people(3)
    process = start("send", "people.csv", "--yes")
    result, talk = process.communicate(timeout=60)
    assert process.returncode == 0, talk
    assert "3 = 3 accepted" in result
    assert server.journal.total == 3
    assert cli.token not in result + talk


def test_a_reader_that_goes_away_is_no_internal_error(cli: "CliHarness", start: "Start") -> None:
    cli.people(5_000)
    cli("plan", "people.csv")
    process = start("report", "people.ledger.db", "--format", "jsonl")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""


@pytest.mark.parametrize(("option", "unknown"), [(None, 0), ("--now", 4)])
def test_stop_drains_a_run_from_another_shell(
    option: str | None, unknown: int, cli: "CliHarness", start: "Start", tmp_path: Path
) -> None:
    server = cli.server(latency=1.0 if option is None else 3_600.0)
    cli.people(40)
    process = start("send", "people.csv", "--yes", "--workers", "4")
    wait_until(lambda: server.journal.total == 4)
    result = cli("stop", "people.ledger.db", *([] if option is None else [option]))
    assert result.code == 0
    assert "Stop requested" in result.err
    _, talk = process.communicate(timeout=60)
    assert process.returncode == 143, talk
    with open_ledger(tmp_path / "people.ledger.db") as reader:
        counts = reader.counts().counts
    assert counts[State.UNKNOWN] == unknown
    assert counts[State.ACCEPTED] == server.journal.total - unknown
    assert counts[State.QUEUED] == 40 - server.journal.total


def test_cancel_stops_a_run_and_withdraws_the_rest(cli: "CliHarness", start: "Start") -> None:
    server = cli.server(latency=1.0)
    cli.people(40)
    process = start("send", "people.csv", "--yes", "--workers", "4")
    wait_until(lambda: server.journal.total == 4)
    result = cli("cancel", "people.ledger.db")
    process.communicate(timeout=60)
    assert result.code == 0
    states = [line.state for line in cli.lines()]
    assert states.count(State.ACCEPTED) == server.journal.total
    assert states.count(State.CANCELLED) == 40 - server.journal.total


def test_sandbox_serves_until_it_is_reported_to_end(cli: "CliHarness", start: "Start") -> None:
    cli.write("faults.toml", 'seed = 3\n[[rules]]\nshare = 0.5\nfaults = "result_failed"\n')
    arguments = ["--port", "0", "--latency", "0.05", "--faults", "faults.toml", "--seed", "5", "--journal", "in.jsonl"]
    process = start("sandbox", *arguments)
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/restApi", url)
    cli.export("BULKSMS_URL", url)
    cli.export("BULKSMS_TOKEN", "sandbox")
    cli.people(30)
    result = cli("send", "people.csv", "--yes", "--json", "--quiet").json
    process.send_signal(signal.SIGINT)
    _, talk = process.communicate(timeout=60)
    assert process.returncode == 0
    setting = "$env:{} = '{}'" if sys.platform == "win32" else "export {}={}"
    for variable, value in (("BULKSMS_URL", url), ("BULKSMS_TOKEN", "sandbox")):
        assert f"  {setting.format(variable, value)}\n" in talk
    journal = Journal.read(cli.folder / "in.jsonl")
    assert journal.total == 30
    assert 5 <= result["counts"]["failed"] <= 25
    assert result["counts"]["failed"] + result["counts"]["accepted"] == 30
    assert all(json.loads(line)["kind"] == "send" for line in (cli.folder / "in.jsonl").read_text().splitlines())


def test_a_port_that_is_taken_is_reported_in_a_sentence(cli: "CliHarness") -> None:
    server = cli.serve()
    port = server.url.split(":")[2].split("/")[0]
    result = cli("sandbox", "--port", port)
    assert result.code != 0
    assert "internal error" not in result.err, result.err


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until it is so."""
    end = time.monotonic() + 60.0
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.005)
