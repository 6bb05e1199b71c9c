"""What can be seen afterwards: status, report, verify, the rehearsal's comparison, and the samples."""

import csv
import io
import json
import shutil
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bulksms.ledger.sqlite.lock import RunLock
from bulksms.model.message import State
from bulksms.sandbox import Comparison, Fault, FaultPlan

if TYPE_CHECKING:
    from tests.cli.harness import CliHarness

SAMPLES = Path(__file__).parents[2] / "samples"
COLUMNS = [
    "row",
    "recipient",
    "status",
    "reason",
    "attempts",
    "http_status",
    "result_type",
    "error_code",
    "error",
    "warnings",
    "object_dn",
    "operation_id",
    "possible_duplicate",
    "first_attempt_at",
    "finished_at",
    "latency_ms",
    "encoding",
    "segments",
    "text",
]


@pytest.fixture
def printed(cli: "CliHarness") -> "CliHarness":
    """A ledger with every common end in it."""
    cli.server()
    ends = ["", "[result_failed]", "[drop_after]", "[result_suspended]", "[result_warning]", "[500]"]
    rows = [f'"CN=Person {number} {end},DC=x","Hello, you",=1+1,ü\n' for number, end in enumerate(ends)]
    cli.write("people.csv", "".join(["directoryObject,text,formula,row\n", *rows, rows[0]]))
    assert cli("send", "people.csv", "--yes", "--quiet").code == 4
    return cli


FOUND = ["accepted", "failed", "unknown", "awaiting_approval", "accepted", "accepted", "skipped"]


def test_status_says_what_to_do_next_and_how_the_last_run_ended(cli: "CliHarness") -> None:
    cli.people(3)
    cli("plan", "people.csv")
    assert "3 are queued; to start:\n  bulksms send people.ledger.db\n" in cli("status", "people.ledger.db").err
    cli.server()
    cli.write("first.csv", 'directoryObject,text\n"CN=Ann [422],DC=x",Hello\n"CN=Bob,DC=x",Hello\n')
    cli("send", "first.csv", "--canary", "1", "--yes")
    result = cli("status", "first.ledger.db")
    assert (
        "End of run 1: stopped (canary_failed): one of the first, which went alone, was not accepted.\n" in result.out
    )
    assert "  bulksms resume first.ledger.db\n" in result.err
    assert cli("status", "first.ledger.db", "--json").err == ""


def test_status_of_a_rehearsal_suggests_a_look_only(cli: "CliHarness") -> None:
    cli.people(2, mark="[422]")
    cli("send", "people.csv", "--sandbox", "--yes")
    commands = [line for line in cli("status", "people.sandbox.db").err.splitlines() if line.startswith("  ")]
    assert commands == ["  bulksms report people.sandbox.db --only failed"]


def test_status_says_how_a_ledger_is(printed: "CliHarness") -> None:
    result = printed("status", "people.ledger.db")
    assert result.code == 0
    assert result.err.startswith(
        "To see the messages that are unknown or failed or awaiting approval:\n  bulksms report "
    )
    assert "Handed to Adaxes: 3 of 6" in result.out
    assert "7 = 3 accepted + 1 awaiting_approval + 1 failed + 1 unknown + 1 skipped" in result.out
    assert "1 may have been sent twice." in result.out


def test_status_as_json_is_the_object_of_send(printed: "CliHarness") -> None:
    counts = printed("status", "people.ledger.db", "--json").json
    assert counts["counts"] == {state.value: FOUND.count(state) for state in State}
    assert counts["total"] == 7
    assert list(counts)[:3] == ["format", "ledger", "run"]


def test_status_beside_a_plan_that_nobody_sent(cli: "CliHarness") -> None:
    cli.people(2)
    cli("plan", "people.csv")
    printed = cli("status", "people.ledger.db", "--json").json
    assert (printed["run"], printed["url"], printed["elapsed_seconds"], printed["messages_per_second"]) == (None,) * 4


def test_report_as_a_table(printed: "CliHarness") -> None:
    result = printed("report", "people.ledger.db")
    assert result.code == 0
    header, *lines = result.out.splitlines()
    assert header.split()[:4] == ["row", "name", "status", "reason"]
    assert all(state in line.split() for line, state in zip(lines, FOUND, strict=True))
    assert "The recipient has no mobile phone number." in lines[1]


def test_report_as_csv_has_the_promised_columns_and_defuses_formulas(printed: "CliHarness") -> None:
    result = printed("report", "people.ledger.db", "--format", "csv")
    rows = list(csv.reader(io.StringIO(result.out)))
    assert rows[0] == [*COLUMNS, "formula", "input.row"]
    table = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    assert [row["status"] for row in table] == FOUND
    assert [row["row"] for row in table] == [str(number) for number in range(2, 9)]
    assert {row["formula"] for row in table} == {"'=1+1"}
    assert {row["input.row"] for row in table} == {"ü"}
    assert table[4]["warnings"] == "The number has no country code."
    assert table[5]["possible_duplicate"] == "true"
    assert table[6]["reason"] == "duplicate"


def test_report_as_jsonl_is_exact(printed: "CliHarness") -> None:
    lines = [json.loads(line) for line in printed("report", "people.ledger.db", "--format", "jsonl").out.splitlines()]
    assert [list(line) for line in lines] == [[*COLUMNS, "formula", "input.row"]] * 7
    assert [line["status"] for line in lines] == FOUND
    assert lines[0]["formula"] == "=1+1"
    assert lines[0]["text"] == "Hello, you"
    assert lines[4]["warnings"] == ["The number has no country code."]
    assert lines[0]["first_attempt_at"].endswith("Z")
    assert lines[2]["reason"] == "no_answer"


def test_report_of_some_states_only(printed: "CliHarness") -> None:
    result = printed("report", "people.ledger.db", "--format", "jsonl", "--only", "failed, unknown")
    assert [json.loads(line)["status"] for line in result.out.splitlines()] == ["failed", "unknown"]
    assert printed("report", "people.ledger.db", "--only", "expired").out.count("\n") == 1


@pytest.mark.parametrize("option", ["-o", "--output"])
def test_report_into_a_file_that_nobody_else_may_read(option: str, printed: "CliHarness") -> None:
    shown = printed("report", "people.ledger.db", "--format", "csv").out
    result = printed("report", "people.ledger.db", "--format", "csv", option, "report.csv")
    assert (result.code, result.out) == (0, "")
    file = printed.folder / "report.csv"
    assert file.read_bytes().decode() == shown.replace("\n", "\r\n").replace("\r\r", "\r")
    if sys.platform != "win32":
        assert stat.S_IMODE(file.stat().st_mode) == stat.S_IMODE((printed.folder / "people.ledger.db").stat().st_mode)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_verify_finds_a_ledger_that_this_program_left_true(printed: "CliHarness") -> None:
    result = printed("verify", "people.ledger.db")
    assert result.code == 0
    assert "broken" not in result.out
    assert result.out.count("ok  ") >= 3


def test_cancel_withdraws_what_is_queued(cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(4)
    cli("plan", "people.csv")
    result = cli("cancel", "people.ledger.db")
    assert result.code == 0
    assert "4 = 4 cancelled" in result.out
    assert {(line.state, line.reason) for line in cli.lines()} == {("cancelled", "cancelled")}
    assert cli("send", "people.ledger.db", "--yes").code == 3
    assert server.journal.total == 0


def test_cancel_withdraws_also_what_a_run_leaves_that_ends_at_that_moment(
    cli: "CliHarness", monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was at its end and heard nothing any more."""
    cli.people(4)
    cli("plan", "people.csv")
    lock = RunLock(cli.folder / "people.ledger.db")
    lock.acquire("a run at its end")
    monkeypatch.setattr("bulksms.ledger.sqlite.remote_control.write_command", lambda *_: lock.release())
    assert "4 = 4 cancelled" in cli("cancel", "people.ledger.db").out


def test_stop_needs_a_living_run(cli: "CliHarness") -> None:
    cli.people(1)
    cli("plan", "people.csv")
    for options in ((), ("--now",)):
        result = cli("stop", "people.ledger.db", *options)
        assert result.code == 6
        assert "No run is working on people.ledger.db." in result.err


# The rehearsal


def rehearse(cli: "CliHarness", sample: str, *options: str) -> "tuple[int, str, str]":
    result = cli("send", SAMPLES / sample, "--sandbox", "--yes", *options)
    return result.code, result.out, result.err


def test_sandbox_sends_the_sample_for_real_and_compares_the_logs(cli: "CliHarness") -> None:
    """The fixed preset loses one answer on purpose, so it ends with 4."""
    cli.export("BULKSMS_URL", "https://adaxes.invalid/restApi")
    cli.export("BULKSMS_TOKEN", cli.token)
    code, out, err = rehearse(cli, "outage.csv")
    assert code == 4
    assert "41 = " in out
    assert "server log and ledger agree" in err
    assert "to the sandbox" in err
    assert cli.files == {"outage.sandbox.db"}


def test_sandbox_as_json_is_the_result_alone(cli: "CliHarness") -> None:
    result = cli("send", SAMPLES / "outage.jsonl", "--sandbox", "--yes", "--json", "--quiet")
    assert result.json["total"] == 13
    assert result.json["url"].startswith("http://127.0.0.1:")
    assert result.err.startswith("Rehearsal: ")


def test_sandbox_asks_nobody_and_makes_its_ledger_anew_each_time(cli: "CliHarness") -> None:
    cli.people(3, mark="[result_failed]")
    printed = [cli("send", "people.csv", "--sandbox", "--json").json for _ in range(2)]
    assert [(it["run"], it["counts"]["failed"]) for it in printed] == [(1, 3), (1, 3)]


def test_the_ledger_of_a_rehearsal_cannot_be_sent_for_real(cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(30)
    cli("send", "people.csv", "--sandbox", "--max-failures", "1")
    for command in ("resume", "send"):
        result = cli(command, "people.sandbox.db", "--yes")
        assert result.code in (1, 3, 4)
    assert server.journal.total == 0


def test_logs_that_differ_are_an_internal_error(cli: "CliHarness", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulksms.cli.commands.sandbox.compare", lambda *_: Comparison(missing=1))
    cli.people(3)
    result = cli("send", "people.csv", "--sandbox")
    assert result.code == 70
    assert "SERVER LOG AND LEDGER DIFFER" in result.err


def test_a_rehearsal_that_is_stopped_while_a_500_waits_to_be_sent_again_is_no_error(
    cli: "CliHarness", monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message is queued, and the server has received it: the ledger says so by its attempt."""
    people = ["CN=Person 0 ,DC=example,DC=com", "CN=Person 1 ,DC=example,DC=com"]
    faults = FaultPlan.of({people[0]: [Fault.STATUS_500_PROCESSED] * 9, people[1]: [Fault.RESULT_FAILED]})
    monkeypatch.setattr("bulksms.cli.commands.sandbox.FaultPlan.preset", lambda: faults)
    cli.people(2)
    result = cli("send", "people.csv", "--sandbox", "--max-failures", "1", "--workers", "1")
    assert result.code == 5
    assert "DIFFER" not in result.err


@pytest.mark.parametrize("sample", ["outage.csv", "outage.jsonl"])
def test_the_samples_can_be_sent_as_they_are(sample: str, cli: "CliHarness") -> None:
    printed = cli("send", SAMPLES / sample, "--dry-run", "--json").json
    assert printed["bad_rows"] == 0
    assert printed["to_send"] == printed["rows"] - printed["duplicates"]
    assert printed["duplicates"] == (1 if sample == "outage.csv" else printed["duplicates"])


def test_the_sample_text_fits_the_sample_file(cli: "CliHarness") -> None:
    printed = cli("send", SAMPLES / "outage.csv", "--text-file", SAMPLES / "outage.txt", "--dry-run", "--json").json
    assert printed["to_send"] == 40
    assert "((" not in json.dumps(printed["examples"])


def test_the_sample_of_bad_rows_has_nothing_but(cli: "CliHarness") -> None:
    shutil.copy(SAMPLES / "bad-rows.csv", cli.folder)
    result = cli("send", "bad-rows.csv", "--dry-run", "--rejects", "rejects.csv")
    assert result.code == 3
    codes = {row["code"] for row in csv.DictReader(io.StringIO((cli.folder / "rejects.csv").read_text("utf-8-sig")))}
    assert len(codes) >= 4
