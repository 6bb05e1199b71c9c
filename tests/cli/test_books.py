"""What is told afterwards: status, report, verify, the rehearsal's comparison, and the samples."""

import csv
import io
import json
import shutil
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bulksms.ledger.lock import RunLock
from bulksms.message import State
from bulksms.sandbox import Comparison

if TYPE_CHECKING:
    from tests.cli.conftest import Desk

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
    "may_have_sent_twice",
    "first_attempt_at",
    "finished_at",
    "latency_ms",
    "encoding",
    "segments",
    "text",
]


@pytest.fixture
def told(desk: "Desk") -> "Desk":
    """A ledger with every common end in it."""
    desk.server()
    ends = ["", "[result_failed]", "[drop_after]", "[result_suspended]", "[result_warning]", "[500]"]
    rows = [f'"CN=Person {number} {end},DC=x","Hello, you",=1+1,ü\n' for number, end in enumerate(ends)]
    desk.write("people.csv", "".join(["directoryObject,text,formula,row\n", *rows, rows[0]]))
    assert desk("send", "people.csv", "--yes", "--quiet").code == 4
    return desk


FOUND = ["accepted", "failed", "unknown", "awaiting_approval", "accepted", "accepted", "skipped"]


def test_status_says_what_to_do_next_and_how_the_last_run_ended(desk: "Desk") -> None:
    desk.people(3)
    desk("plan", "people.csv")
    assert "3 are left; to continue:\n  bulksms resume people.ledger.db\n" in desk("status", "people.ledger.db").err
    desk.server()
    desk.write("first.csv", 'directoryObject,text\n"CN=Ann [422],DC=x",Hello\n"CN=Bob,DC=x",Hello\n')
    desk("send", "first.csv", "--canary", "1", "--yes")
    said = desk("status", "first.ledger.db")
    assert "End of run 1: stopped (canary): one of the first, which went alone, was not accepted.\n" in said.out
    assert "  bulksms resume first.ledger.db\n" in said.err
    assert desk("status", "first.ledger.db", "--json").err == ""


def test_status_of_a_rehearsal_suggests_a_look_only(desk: "Desk") -> None:
    desk.people(2, mark="[422]")
    desk("send", "people.csv", "--sandbox", "--yes")
    commands = [line for line in desk("status", "people.sandbox.db").err.splitlines() if line.startswith("  ")]
    assert commands == ["  bulksms report people.sandbox.db --only failed"]


def test_status_says_how_a_ledger_stands(told: "Desk") -> None:
    said = told("status", "people.ledger.db")
    assert said.code == 0
    assert said.err.startswith(
        "To see the messages that are unknown or failed or awaiting approval:\n  bulksms report "
    )
    assert "Handed to Adaxes: 3 of 6" in said.out
    assert "7 = 3 accepted + 1 awaiting_approval + 1 failed + 1 unknown + 1 skipped" in said.out
    assert "1 may have been sent twice." in said.out


def test_status_as_json_is_the_object_of_send(told: "Desk") -> None:
    counts = told("status", "people.ledger.db", "--json").json
    assert counts["counts"] == {state.value: FOUND.count(state) for state in State}
    assert counts["total"] == 7
    assert list(counts)[:3] == ["ledger", "run", "input"]


def test_status_beside_a_plan_that_nobody_sent(desk: "Desk") -> None:
    desk.people(2)
    desk("plan", "people.csv")
    told = desk("status", "people.ledger.db", "--json").json
    assert (told["run"], told["url"], told["elapsed_seconds"], told["messages_per_second"]) == (None,) * 4


def test_report_as_a_table(told: "Desk") -> None:
    said = told("report", "people.ledger.db")
    assert said.code == 0
    header, *lines = said.out.splitlines()
    assert header.split()[:4] == ["row", "status", "reason", "attempts"]
    assert [line.split()[1] for line in lines] == FOUND
    assert "The recipient has no mobile phone number." in lines[1]


def test_report_as_csv_has_the_promised_columns_and_defuses_formulas(told: "Desk") -> None:
    said = told("report", "people.ledger.db", "--format", "csv")
    rows = list(csv.reader(io.StringIO(said.out)))
    assert rows[0] == [*COLUMNS, "formula", "input.row"]
    table = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    assert [row["status"] for row in table] == FOUND
    assert [row["row"] for row in table] == [str(number) for number in range(2, 9)]
    assert {row["formula"] for row in table} == {"'=1+1"}
    assert {row["input.row"] for row in table} == {"ü"}
    assert table[4]["warnings"] == "The number has no country code."
    assert table[5]["may_have_sent_twice"] == "true"
    assert table[6]["reason"] == "duplicate"


def test_report_as_jsonl_is_exact(told: "Desk") -> None:
    lines = [json.loads(line) for line in told("report", "people.ledger.db", "--format", "jsonl").out.splitlines()]
    assert [list(line) for line in lines] == [[*COLUMNS, "formula", "input.row"]] * 7
    assert [line["status"] for line in lines] == FOUND
    assert lines[0]["formula"] == "=1+1"
    assert lines[0]["text"] == "Hello, you"
    assert lines[4]["warnings"] == ["The number has no country code."]
    assert lines[0]["first_attempt_at"].endswith("Z")
    assert lines[2]["reason"] == "lost_answer"


def test_report_of_some_states_only(told: "Desk") -> None:
    said = told("report", "people.ledger.db", "--format", "jsonl", "--only", "failed, unknown")
    assert [json.loads(line)["status"] for line in said.out.splitlines()] == ["failed", "unknown"]
    assert told("report", "people.ledger.db", "--only", "expired").out.count("\n") == 1


@pytest.mark.parametrize("option", ["-o", "--output"])
def test_report_into_a_file_that_nobody_else_may_read(option: str, told: "Desk") -> None:
    shown = told("report", "people.ledger.db", "--format", "csv").out
    said = told("report", "people.ledger.db", "--format", "csv", option, "report.csv")
    assert (said.code, said.out) == (0, "")
    file = told.folder / "report.csv"
    assert file.read_bytes().decode() == shown.replace("\n", "\r\n").replace("\r\r", "\r")
    if sys.platform != "win32":
        assert stat.S_IMODE(file.stat().st_mode) == stat.S_IMODE((told.folder / "people.ledger.db").stat().st_mode)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_verify_finds_a_ledger_that_this_program_left_true(told: "Desk") -> None:
    said = told("verify", "people.ledger.db")
    assert said.code == 0
    assert "broken" not in said.out
    assert said.out.count("holds") >= 3


def test_cancel_withdraws_what_is_queued(desk: "Desk") -> None:
    server = desk.server()
    desk.people(4)
    desk("plan", "people.csv")
    said = desk("cancel", "people.ledger.db")
    assert said.code == 0
    assert "4 = 4 cancelled" in said.out
    assert {(line.state, line.reason) for line in desk.lines()} == {("cancelled", "cancelled")}
    assert desk("send", "people.ledger.db", "--yes").code == 3
    assert server.journal.total == 0


def test_cancel_withdraws_also_what_a_run_leaves_that_ends_at_that_moment(
    desk: "Desk", monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was at its end and heard nothing any more."""
    desk.people(4)
    desk("plan", "people.csv")
    lock = RunLock(desk.folder / "people.ledger.db")
    lock.acquire("a run at its end")
    monkeypatch.setattr("bulksms.ledger.control.ask", lambda *_: lock.release())
    assert "4 = 4 cancelled" in desk("cancel", "people.ledger.db").out


def test_stop_needs_a_living_run(desk: "Desk") -> None:
    desk.people(1)
    desk("plan", "people.csv")
    for options in ((), ("--now",)):
        said = desk("stop", "people.ledger.db", *options)
        assert said.code == 6
        assert "No run is working on people.ledger.db." in said.err


# The rehearsal


def rehearse(desk: "Desk", sample: str, *options: str) -> "tuple[int, str, str]":
    said = desk("send", SAMPLES / sample, "--sandbox", "--yes", *options)
    return said.code, said.out, said.err


def test_sandbox_sends_the_sample_for_real_and_compares_the_books(desk: "Desk") -> None:
    """The fixed preset loses one answer on purpose, so it ends with 4."""
    desk.export("BULKSMS_URL", "https://adaxes.invalid/restApi")
    desk.export("BULKSMS_TOKEN", desk.token)
    code, out, err = rehearse(desk, "outage.csv")
    assert code == 4
    assert "41 = " in out
    assert "the ledger agrees" in err
    assert "to the sandbox" in err
    assert desk.files == {"outage.sandbox.db"}


def test_sandbox_as_json_is_the_result_alone(desk: "Desk") -> None:
    said = desk("send", SAMPLES / "outage.jsonl", "--sandbox", "--yes", "--json", "--quiet")
    assert said.json["total"] == 13
    assert said.json["url"].startswith("http://127.0.0.1:")
    assert said.err.startswith("Rehearsal: ")


def test_sandbox_asks_nobody_and_makes_its_ledger_anew_each_time(desk: "Desk") -> None:
    desk.people(3, mark="[result_failed]")
    told = [desk("send", "people.csv", "--sandbox", "--json").json for _ in range(2)]
    assert [(it["run"], it["counts"]["failed"]) for it in told] == [(1, 3), (1, 3)]


def test_the_ledger_of_a_rehearsal_cannot_be_sent_for_real(desk: "Desk") -> None:
    server = desk.server()
    desk.people(30)
    desk("send", "people.csv", "--sandbox", "--max-failures", "1")
    for command in ("resume", "send"):
        said = desk(command, "people.sandbox.db", "--yes")
        assert said.code in (1, 3, 4)
    assert server.journal.total == 0


def test_books_that_differ_are_a_defect(desk: "Desk", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulksms.cli.doing.rehearsal.compare", lambda *_: Comparison(missing=1))
    desk.people(3)
    said = desk("send", "people.csv", "--sandbox")
    assert said.code == 70
    assert "THE LEDGER DIFFERS" in said.err


@pytest.mark.parametrize("sample", ["outage.csv", "outage.jsonl"])
def test_the_samples_can_be_sent_as_they_are(sample: str, desk: "Desk") -> None:
    told = desk("send", SAMPLES / sample, "--dry-run", "--json").json
    assert told["bad_rows"] == 0
    assert told["to_send"] == told["rows"] - told["duplicates"]
    assert told["duplicates"] == (1 if sample == "outage.csv" else told["duplicates"])


def test_the_sample_text_fits_the_sample_file(desk: "Desk") -> None:
    told = desk("send", SAMPLES / "outage.csv", "--text-file", SAMPLES / "outage.txt", "--dry-run", "--json").json
    assert told["to_send"] == 40
    assert "((" not in json.dumps(told["examples"])


def test_the_sample_of_bad_rows_has_nothing_but(desk: "Desk") -> None:
    shutil.copy(SAMPLES / "bad-rows.csv", desk.folder)
    said = desk("send", "bad-rows.csv", "--dry-run", "--rejects", "rejects.csv")
    assert said.code == 3
    codes = {row["code"] for row in csv.DictReader(io.StringIO((desk.folder / "rejects.csv").read_text("utf-8-sig")))}
    assert len(codes) >= 4
