"""Follow-ups and people left out, as an operator asks for them; and what the preview tells machines."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Desk

CLEAR = ("--text", "((name)): all clear.")
GUID = "7a4267ce-d354-44e7-8bd6-c681f1284a41"


def told(desk: "Desk", name: str, *people: str) -> None:
    """Send to these people; their name is their only other column."""
    desk.write(f"{name}.csv", "dn,name,text\n" + "".join(f'"CN={one},DC=x",{one},Outage\n' for one in people))
    assert desk("send", f"{name}.csv", "--yes", "--quiet").code == 0


def test_several_ledgers_make_one_follow_up(desk: "Desk") -> None:
    server = desk.server()
    told(desk, "first", "Ann", "Bob")
    told(desk, "second", "bob", "Cem", "Dora")
    told(desk, "third", "Dora")
    options = ("--told-in", "first.ledger.db", "--told-in", "second.ledger.db", "--not-told-in", "third.ledger.db")
    said = desk("send", *options, *CLEAR, "--ledger", "clear.db", "--yes")
    assert said.code == 0
    assert "people told in first.ledger.db, second.ledger.db: 4 rows, 3 to send, 1 told before" in " ".join(
        said.err.split()
    )
    assert [(line.row, line.text, line.error) for line in desk.lines("clear.db")] == [
        (2, "Ann: all clear.", None),
        (3, "Bob: all clear.", None),
        (3, "Cem: all clear.", None),
        (4, "Dora: all clear.", "told before: accepted, row 2 of third.ledger.db"),
    ]
    assert server.journal.texts("CN=Bob,DC=x") == ["Outage", "Bob: all clear."]
    assert (server.journal.requests("CN=Dora,DC=x"), server.journal.total) == (2, 9)


def test_a_follow_up_is_planned_previewed_and_started_again_like_a_file(desk: "Desk") -> None:
    server = desk.server()
    told(desk, "first", "Ann", "Bob")
    follow_up = ("--told-in", "first.ledger.db", *CLEAR)
    preview = desk("send", *follow_up, "--dry-run", "--json").json
    assert (preview["input"], preview["to_send"]) == ("people told in first.ledger.db", 2)
    assert desk("plan", *follow_up, "--ledger", "clear.db", "--json").json["fingerprint"] == preview["fingerprint"]
    expect = ("--expect", preview["fingerprint"])
    assert desk("send", *follow_up, "--ledger", "clear.db", *expect, "--yes").code == 0
    again = desk("send", *follow_up, "--ledger", "clear.db", "--yes")
    assert (again.code, "already sent to 2" in again.err) == (3, True)
    assert server.journal.total == 4


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("people.csv", "--told-in", "first.ledger.db", *CLEAR), "Both people.csv and --told-in are given."),
        (("--told-in", "first.ledger.db"), "A follow-up needs a text of its own."),
        (("--told-in", "first.ledger.db", *CLEAR), "A follow-up has no name for the ledger."),
        (("--told-in", "first.ledger.db", *CLEAR, "--delimiter", ";"), "--delimiter is about an input file"),
        (("--told-in", "first.ledger.db", *CLEAR, "--text-column", "x"), "--text-column is about an input file"),
        (("--told-in", "first.ledger.db", "--text", " ", "--ledger", "clear.db"), "The text for all is empty."),
        (("first.ledger.db", "--text", "Hello"), "--text is about an input"),
        (("first.ledger.db", "--not-told-in", "first.ledger.db"), "--not-told-in is about an input"),
        (("people.csv", "--not-told-in", "first.ledger.db", "--rejects", "first.ledger.db"), "is needed itself"),
    ],
)
def test_what_contradicts_itself_is_wrong_usage(arguments: tuple[str, ...], sentence: str, desk: "Desk") -> None:
    server = desk.server()
    told(desk, "first", "Ann")
    desk.people(1)
    before = (desk.folder / "first.ledger.db").read_bytes()
    said = desk("send", *arguments, "--yes")
    assert (said.code, server.journal.total) == (2, 1)
    assert sentence in said.err
    assert "\nhint: " in said.err
    assert (desk.folder / "first.ledger.db").read_bytes() == before


def test_a_ledger_that_is_not_there_is_told_before_the_input_is_read(desk: "Desk") -> None:
    desk.write("people.csv", "no,columns\n")
    said = desk("send", "people.csv", "--not-told-in", "nothing.db", "--dry-run")
    assert (said.code, "There is no ledger nothing.db" in said.err) == (6, True)
    said = desk("send", "people.csv", "--suppress", "nobody.txt", "--dry-run")
    assert (said.code, "There is no file nobody.txt" in said.err) == (3, True)


def test_nobody_left_is_told_with_the_reason(desk: "Desk") -> None:
    desk.server()
    told(desk, "first", "Ann")
    said = desk("send", "first.csv", "--not-told-in", "first.ledger.db", "--dry-run", "--json")
    assert said.code == 3
    assert said.json["told_before"] == 1
    assert "hint: Left out: 1 told before." in said.err


def test_a_rehearsal_told_nobody(desk: "Desk") -> None:
    desk.people(2)
    desk("send", "people.csv", "--sandbox", "--yes", "--quiet")
    said = desk("send", "people.csv", "--not-told-in", "people.sandbox.db", "--dry-run")
    assert (said.code, "ledger of a rehearsal" in said.err) == (2, True)


def test_a_ledger_is_shown_before_it_is_sent(desk: "Desk") -> None:
    desk.server()
    desk.people(3)
    fingerprint = desk("plan", "people.csv", "--json").json["fingerprint"]
    said = desk("send", "people.ledger.db", "--yes", "--show", "2")
    assert said.code == 0
    assert "The first 2 messages, as they would be sent:" in said.err
    assert "    Outage 1." in said.err
    assert "    Outage 2." not in said.err
    assert f"fingerprint   {fingerprint}" in said.err


def test_the_preview_tells_machines_of_mistakes_and_warnings(desk: "Desk") -> None:
    desk.write("people.csv", f"guid,text\n{GUID},“Hello”\n{GUID},Other\njsmith,Bad\n")
    told = desk("send", "people.csv", "--dry-run", "--json", "--workers", "2", "--rate", "1/s").json
    finding = set(told["mistakes"][0])
    group = told["warnings"]["W204"]
    assert (told["mistaken"], told["bad_rows"], told["to_send"]) == (1, 1, 2)
    assert (told["mistakes"][0]["code"], told["mistakes"][0]["row"]) == ("E101", 4)
    assert (group["name"], group["count"], set(group["first"][0])) == ("needs-ucs2", 1, finding)
    assert (told["workers"], told["rate"], told["seconds"]) == (2, 1.0, [1.5, 3.0])
    assert told["url"] is None
    assert told["warnings"]["W301"]["first"][0]["problem"] == (
        "the same person as in row 2, with another text; both are sent"
    )


def test_bad_rows_are_told_to_machines_before_the_refusal(desk: "Desk") -> None:
    desk.write("people.csv", f"guid,text\n{GUID},Hello\njsmith,Bad\n")
    for command in (("send", "people.csv", "--dry-run"), ("plan", "people.csv")):
        said = desk(*command, "--json")
        assert (said.code, said.json["mistaken"]) == (3, 1)
        assert "error: 1 of 2 rows of people.csv cannot be sent" in said.err
    assert desk.files == {"people.csv"}


def test_skipped_bad_rows_are_kept_with_code_and_problem(desk: "Desk") -> None:
    desk.write("people.csv", f"guid,text\n{GUID},Hello\njsmith,Bad\n")
    said = desk("plan", "people.csv", "--skip-bad", "--rejects", "rejects.csv")
    assert said.code == 0
    assert "error: row 3, column guid: E101 bad-identifier" in said.out
    good, bad = desk.lines()
    assert (good.state, bad.state, bad.reason, bad.error_code) == ("queued", "skipped", "bad_row", "E101")
    assert str(bad.error).startswith("E101 bad-identifier: looks like a user name")
    assert "jsmith,Bad,3,E101," in (desk.folder / "rejects.csv").read_text(encoding="utf-8-sig")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_rejects_have_the_delimiter_of_the_input_and_never_its_name(delimiter: str, desk: "Desk") -> None:
    path = desk.write("people.csv", f"guid{delimiter}text\njsmith{delimiter}Bad\n")
    before = path.read_bytes()
    said = desk("plan", "people.csv", "--rejects", "people.csv")
    assert (said.code, path.read_bytes()) == (2, before)
    desk("plan", "people.csv", "--rejects", "rejects.csv")
    header = (desk.folder / "rejects.csv").read_text(encoding="utf-8-sig").splitlines()[0]
    assert header == delimiter.join(["guid", "text", "row", "code", "problem"])


def test_quiet_plans_without_a_preview(desk: "Desk") -> None:
    desk.people(3)
    said = desk("plan", "people.csv", "--quiet")
    assert (said.out.splitlines(), said.err) == (
        ["Planned: people.ledger.db. Send it with: bulksms send people.ledger.db"],
        "",
    )
