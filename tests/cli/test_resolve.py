"""`resolve`: a person settles what is unknown, by rows or by an edited report; all of it or nothing."""

import csv
import io
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from bulksms.ledger import open_ledger
from bulksms.ledger.sqlite.invariants import verify
from bulksms.ledger.sqlite.lock import RunLock
from bulksms.sandbox import Fault

if TYPE_CHECKING:
    from tests.cli.harness import CliHarness

LEDGER = "people.ledger.db"
RESOLVE = ("resolve", LEDGER)
PEOPLE = {2: "[504]", 3: "[504_processed]", 4: "[504]", 5: "", 6: "[result_failed]"}
UNKNOWN = "unknown:ambiguous_answer"
STATES_BEFORE = {2: UNKNOWN, 3: UNKNOWN, 4: UNKNOWN, 5: "accepted", 6: "failed:rejected"}
BY_HAND = {"accepted": "accepted:resolved_by_hand", "failed": "failed:resolved_by_hand"}


def name(row: int) -> str:
    return f"CN=Row {row} {PEOPLE[row]},DC=example,DC=com"


@pytest.fixture
def sent(cli: "CliHarness") -> "CliHarness":
    """A ledger with three unknown messages."""
    cli.server()
    cli.write("people.csv", "".join(["directoryObject,text\n", *(f'"{name(row)}",Outage.\n' for row in PEOPLE)]))
    cli("send", "people.csv", "--yes")
    assert states_of(cli) == STATES_BEFORE
    return cli


def states_of(cli: "CliHarness") -> dict[int, str]:
    return {
        line.row: line.state.value if line.reason is None else f"{line.state}:{line.reason}" for line in cli.lines()
    }


def hold(cli: "CliHarness") -> None:
    assert [(invariant, violation) for invariant, violation in verify(cli.folder / LEDGER) if violation] == []


def edited(cli: "CliHarness", edit: Callable[[dict[str, str]], None], *, delimiter: str = ",", bom: str = "") -> None:
    """Write the whole report, and edit it as a person does in a spreadsheet."""
    rows = list(csv.DictReader(io.StringIO(cli("report", LEDGER, "--format", "csv").out)))
    for row in rows:
        edit(row)
    written = io.StringIO()
    writer = csv.DictWriter(written, rows[0], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    cli.write("edited.csv", bom + written.getvalue())


def test_rows_are_settled_and_what_changed_is_reported(sent: "CliHarness") -> None:
    result = sent(*RESOLVE, "--accepted", "3", "--failed", "2,4", "--note", "rang them")
    assert result.code == 0
    assert "Resolved by hand: 1 accepted, 2 failed." in result.err
    assert "5 = 2 accepted + 3 failed" in result.out
    assert states_of(sent) == STATES_BEFORE | {2: BY_HAND["failed"], 3: BY_HAND["accepted"], 4: BY_HAND["failed"]}
    hold(sent)


def test_the_ledger_keeps_who_settled_what_and_why(sent: "CliHarness") -> None:
    sent(*RESOLVE, "--accepted", "2-3", "--note", "rang\nthem\x1b[31m")
    with open_ledger(sent.folder / LEDGER) as reader:
        (decision,) = reader.operator_actions()
        (run,) = reader.runs()
    assert (decision.action, decision.user, decision.host, decision.note) == (
        ("resolve", run.user, run.host, "rang\nthem\x1b[31m")
    )
    result = sent("status", LEDGER)
    line = f'resolve by {run.user} on {run.host}: 2 unknown:ambiguous_answer to accepted ("rang them\\x1b[31m")'
    assert line in result.out


def test_nothing_is_sent_by_it_and_who_was_settled_as_accepted_is_never_sent_to(sent: "CliHarness") -> None:
    server = sent.server()
    sent(*RESOLVE, "--accepted", "2-4")
    sent("retry", LEDGER, "--yes", "--only", "unknown,failed:resolved_by_hand", "--url", server.url)
    assert server.journal.total == 0


def test_json_tells_how_the_ledger_is(sent: "CliHarness") -> None:
    result = sent(*RESOLVE, "--failed", "2-4", "--json").json
    assert (result["total"], result["counts"]["failed"], result["counts"]["unknown"]) == (5, 4, 0)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--accepted", "3-5"), 3, "these rows are not: 5 (accepted). Nothing was changed."),
        (("--accepted", "3", "--failed", "6"), 3, "these rows are not: 6 (failed)"),
        (("--accepted", "3-4", "--failed", "4"), 3, "Both accepted and failed are given for row 4"),
        (("--accepted", "3,17"), 3, "people.ledger.db has no row 17"),
        (("--accepted", "3;4"), 2, "'3;4' is no row"),
        ((), 2, "There is nothing to resolve: no rows are named."),
        (("--accepted", "3", "--outcome", "failed"), 2, "--outcome is about a file."),
        (("--from", "nobody.csv"), 3, "There is no file nobody.csv"),
    ],
)
def test_one_thing_that_is_wrong_changes_nothing(
    arguments: tuple[str, ...], code: int, words: str, sent: "CliHarness"
) -> None:
    result = sent(*RESOLVE, *arguments)
    assert (result.code, result.out) == (code, "")
    assert words in result.err
    assert "hint: " in result.err
    assert states_of(sent) == STATES_BEFORE
    with open_ledger(sent.folder / LEDGER) as reader:
        assert not reader.operator_actions()


def test_a_living_run_is_not_disturbed(sent: "CliHarness") -> None:
    lock = RunLock(sent.folder / LEDGER)
    lock.acquire("anna on server-1")
    result = sent(*RESOLVE, "--accepted", "3")
    assert result.code == 6
    assert "Another run is working on people.ledger.db (anna on server-1)." in result.err
    lock.release()
    assert states_of(sent) == STATES_BEFORE


# Files


@pytest.mark.parametrize(("delimiter", "bom"), [(",", ""), (";", "\ufeff"), ("\t", "")])
def test_a_whole_report_that_was_edited_is_taken_for_what_it_says(delimiter: str, bom: str, sent: "CliHarness") -> None:
    chosen_for = {"2": "accepted", "3": "Failed"}

    def edit(row: dict[str, str]) -> None:
        row["status"] = chosen_for.get(row["row"], row["status"])

    edited(sent, edit, delimiter=delimiter, bom=bom)
    result = sent(*RESOLVE, "--from", "edited.csv")
    assert result.code == 0
    assert states_of(sent) == STATES_BEFORE | {2: BY_HAND["accepted"], 3: BY_HAND["failed"]}
    assert sent(*RESOLVE, "--from", "edited.csv").code == 2, "it says nothing new"
    assert "Write accepted or failed into its column `status`" in sent(*RESOLVE, "--from", "edited.csv").err
    hold(sent)


def test_an_edited_report_that_contradicts_what_is_known_is_refused(sent: "CliHarness") -> None:
    def edit(row: dict[str, str]) -> None:
        row["status"] = {"2": "accepted", "5": "failed"}.get(row["row"], row["status"])

    edited(sent, edit)
    result = sent(*RESOLVE, "--from", "edited.csv")
    assert result.code == 3
    assert "these rows are not: 5 (accepted)" in result.err
    assert states_of(sent) == STATES_BEFORE


def test_the_report_of_another_ledger_is_refused(sent: "CliHarness") -> None:
    def edit(row: dict[str, str]) -> None:
        row["status"] = "accepted" if row["row"] == "2" else row["status"]
        row["recipient"] = "CN=Somebody else,DC=example,DC=com" if row["row"] == "2" else row["recipient"]

    edited(sent, edit)
    result = sent(*RESOLVE, "--from", "edited.csv")
    assert result.code == 3
    assert "These are not in people.ledger.db: row 2 CN=Somebody else,DC=example,DC=com" in result.err
    assert states_of(sent) == STATES_BEFORE


def test_a_row_that_was_skipped_as_bad_is_nobody_s(cli: "CliHarness") -> None:
    cli.server()
    cli.write("people.csv", 'directoryObject,text\n"CN=A [504],DC=x",one\njsmith,two\n')
    cli("send", "people.csv", "--yes", "--skip-invalid")
    cli.write("found.csv", "row,recipient,outcome\n2,,accepted\n3,somebody,failed\n")
    result = cli(*RESOLVE, "--from", "found.csv")
    assert result.code == 3
    assert "These are not in people.ledger.db: row 3 somebody" in result.err
    cli.write("found.csv", "row,recipient,outcome\n2,,accepted\n3,jsmith,failed\n")
    result = cli(*RESOLVE, "--from", "found.csv")
    assert result.code == 3
    assert "these rows are not: 3 (skipped)" in result.err


FILES = [
    ("row,outcome\n2,accepted\n3,failed\n4,\n", (), {2: "accepted", 3: "failed"}),
    ("row,outcome,status\n2,accepted,unknown\n3,,accepted\n", (), {2: "accepted"}),
    (f'Recipient ,Outcome\n"{name(2).lower()}",ACCEPTED\n', (), {2: "accepted"}),
    (f'row,dn,outcome\n,"{name(3)}",failed\n4,,accepted\n', (), {3: "failed", 4: "accepted"}),
    ("row\n2\n3\n", ("--outcome", "accepted"), {2: "accepted", 3: "accepted"}),
    ("row,status\n2,unknown\n4,unknown\n", ("--outcome", "failed"), {2: "failed", 4: "failed"}),
    (f'dn\n"{name(4)}"\n', ("--outcome", "failed", "--accepted", "2"), {2: "accepted", 4: "failed"}),
    ("row,outcome\n2,accepted\n2,accepted\n", (), {2: "accepted"}),
]


@pytest.mark.parametrize(("content", "arguments", "settled"), FILES)
def test_a_file_says_rows_or_people_and_what_became_of_them(
    content: str, arguments: tuple[str, ...], settled: dict[int, str], sent: "CliHarness"
) -> None:
    sent.write("found.csv", content)
    result = sent(*RESOLVE, "--from", "found.csv", *arguments)
    assert result.code == 0, result.err
    assert states_of(sent) == STATES_BEFORE | {row: BY_HAND[outcome] for row, outcome in settled.items()}
    hold(sent)


BAD_FILES = [
    ("row,outcome\n2,accepted\n3,delivered\n", (), 3, "Row 3 of found.csv says 'delivered'"),
    ("row,outcome\n2,unknown\n", (), 3, "Row 2 of found.csv says 'unknown'"),
    ("row,status\n2,deliverd\n", (), 3, "Row 2 of found.csv says 'deliverd'"),
    ("row,outcome\n2,accepted\nx,failed\n", (), 3, "found.csv has rows that name nobody: row 3: 'x' is no row"),
    ("dn,outcome\njsmith,failed\n", (), 3, "row 2: 'jsmith'"),
    ("row,dn,outcome\n,,failed\n", (), 3, "row 2: neither a row nor an identifier"),
    ('row,outcome\n"2,accepted\n', (), 3, "row 2: a quote that is opened in this row is never closed"),
    ("row,outcome\n2,accepted\n2,failed\n", (), 3, "Both accepted and failed are given for row 2"),
    ("row,outcome\n99,accepted\n", (), 3, "These are not in people.ledger.db: row 99"),
    ('dn,outcome\n"CN=Nobody,DC=x",accepted\n', (), 3, "These are not in people.ledger.db: CN=Nobody,DC=x"),
    (f'dn,outcome\n"{name(5)}",accepted\n', (), 3, "these rows are not: 5 (accepted)"),
    ("name,outcome\nx,failed\n", (), 3, "names no column that says whom it is about"),
    ("", (), 3, "found.csv is empty"),
    ("row\n2\n", (), 2, "found.csv does not say what became of the messages."),
    ("row,outcome\n2,failed\n", ("--outcome", "failed"), 2, "--outcome cannot be given"),
    ("row,outcome\n2,\n", (), 2, "There is nothing to resolve: found.csv says nothing new."),
]


@pytest.mark.parametrize(("content", "arguments", "code", "words"), BAD_FILES)
def test_a_file_that_does_not_plainly_say_it_changes_nothing(
    content: str, arguments: tuple[str, ...], code: int, words: str, sent: "CliHarness"
) -> None:
    sent.write("found.csv", content)
    result = sent(*RESOLVE, "--from", "found.csv", *arguments)
    assert (result.code, result.out) == (code, "")
    assert words in result.err
    assert states_of(sent) == STATES_BEFORE


def test_of_a_person_with_several_messages_the_unknown_ones_are_settled(cli: "CliHarness") -> None:
    cli.server()
    who = '"CN=A [504],DC=x"'
    cli.write("people.csv", f"directoryObject,text\n{who},one\n{who},two\n")
    cli("send", "people.csv", "--yes", "--workers", "1", "--no-adapt")
    assert states_of(cli) == {2: UNKNOWN, 3: "accepted"}
    cli.write("found.csv", f"dn,outcome\n{who},failed\n")
    assert cli(*RESOLVE, "--from", "found.csv").code == 0
    assert states_of(cli) == {2: BY_HAND["failed"], 3: "accepted"}


def test_a_row_that_is_for_several_messages_has_to_be_named_otherwise(cli: "CliHarness") -> None:
    cli.server()
    for ledger, person in (("a", "A"), ("b", "B")):
        cli.write(f"{ledger}.csv", f'directoryObject,text\n"CN={person},DC=x",one\n')
        cli("send", f"{ledger}.csv", "--yes")
    found = ("--sent-in", "a.ledger.db", "--sent-in", "b.ledger.db")
    cli.server().sandbox.everybody = Fault.STATUS_504
    cli("send", *found, "--text", "x", "--yes", "--ledger", LEDGER)
    assert [line.row for line in cli.lines()] == [2, 2]
    result = cli(*RESOLVE, "--accepted", "2")
    assert result.code == 3
    assert "Row 2 is that of several messages" in result.err
    cli.write("found.csv", 'dn,outcome\n"CN=A,DC=x",accepted\n"CN=B,DC=x",failed\n')
    assert cli(*RESOLVE, "--from", "found.csv").code == 0
    assert [line.state.value for line in cli.lines()] == ["accepted", "failed"]


@pytest.mark.parametrize("outcome", ["accepted", "failed"])
def test_outcome_says_what_became_of_everybody_in_the_file(outcome: str, cli: "CliHarness") -> None:
    cli.server()
    cli.people(3, mark="[drop_after]")
    assert cli("send", "people.csv", "--yes", "--quiet").code == 4
    cli.write("known.csv", "row\n2\n4\n")
    assert cli("resolve", "people.ledger.db", "--from", "known.csv", "--outcome", outcome).code == 0
    assert [line.state for line in cli.lines()] == [outcome, "unknown", outcome]
