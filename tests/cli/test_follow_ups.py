"""Follow-ups and people left out, as an operator asks for them; and what the preview tells machines."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.harness import CliHarness

CLEAR = ("--text", "((name)): all clear.")
GUID = "7a4267ce-d354-44e7-8bd6-c681f1284a41"


def sent_to(cli: "CliHarness", name: str, *people: str) -> None:
    """Send to these people; their name is their only other column."""
    cli.write(f"{name}.csv", "dn,name,text\n" + "".join(f'"CN={one},DC=x",{one},Outage\n' for one in people))
    assert cli("send", f"{name}.csv", "--yes", "--quiet").code == 0


def test_several_ledgers_make_one_follow_up(cli: "CliHarness") -> None:
    server = cli.server()
    sent_to(cli, "first", "Ann", "Bob")
    sent_to(cli, "second", "bob", "Cem", "Dora")
    sent_to(cli, "third", "Dora")
    options = ("--sent-in", "first.ledger.db", "--sent-in", "second.ledger.db", "--not-sent-in", "third.ledger.db")
    result = cli("send", *options, *CLEAR, "--ledger", "clear.db", "--yes")
    assert result.code == 0
    assert "recipients of first.ledger.db, second.ledger.db: 4 rows, 3 to send, 1 sent before" in " ".join(
        result.err.split()
    )
    assert [(line.row, line.text, line.error) for line in cli.lines("clear.db")] == [
        (2, "Ann: all clear.", None),
        (3, "Bob: all clear.", None),
        (3, "Cem: all clear.", None),
        (4, "Dora: all clear.", "sent before: accepted, row 2 of third.ledger.db"),
    ]
    assert server.journal.texts("CN=Bob,DC=x") == ["Outage", "Bob: all clear."]
    assert (server.journal.requests("CN=Dora,DC=x"), server.journal.total) == (2, 9)


def test_a_follow_up_is_planned_previewed_and_started_again_like_a_file(cli: "CliHarness") -> None:
    server = cli.server()
    sent_to(cli, "first", "Ann", "Bob")
    follow_up = ("--sent-in", "first.ledger.db", *CLEAR)
    preview = cli("send", *follow_up, "--dry-run", "--json").json
    assert (preview["input"], preview["to_send"]) == ("recipients of first.ledger.db", 2)
    assert cli("plan", *follow_up, "--ledger", "clear.db", "--json").json["fingerprint"] == preview["fingerprint"]
    expect = ("--expect", preview["fingerprint"])
    assert cli("send", *follow_up, "--ledger", "clear.db", *expect, "--yes").code == 0
    again = cli("send", *follow_up, "--ledger", "clear.db", "--yes")
    assert (again.code, "already sent to 2" in again.err) == (3, True)
    assert server.journal.total == 4


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("people.csv", "--sent-in", "first.ledger.db", *CLEAR), "Both people.csv and --sent-in are given."),
        (("--sent-in", "first.ledger.db"), "A follow-up needs a text of its own."),
        (("--sent-in", "first.ledger.db", *CLEAR), "A follow-up has no name for the ledger."),
        (("--sent-in", "first.ledger.db", *CLEAR, "--delimiter", ";"), "--delimiter is about an input file"),
        (("--sent-in", "first.ledger.db", *CLEAR, "--text-column", "x"), "--text-column is about an input file"),
        (("--sent-in", "first.ledger.db", "--text", " ", "--ledger", "clear.db"), "The text for all is empty."),
        (("first.ledger.db", "--text", "Hello"), "--text is about an input"),
        (("first.ledger.db", "--not-sent-in", "first.ledger.db"), "--not-sent-in is about an input"),
        (("people.csv", "--not-sent-in", "first.ledger.db", "--rejects", "first.ledger.db"), "is needed itself"),
    ],
)
def test_what_contradicts_itself_is_wrong_usage(arguments: tuple[str, ...], sentence: str, cli: "CliHarness") -> None:
    server = cli.server()
    sent_to(cli, "first", "Ann")
    cli.people(1)
    before = (cli.folder / "first.ledger.db").read_bytes()
    result = cli("send", *arguments, "--yes")
    assert (result.code, server.journal.total) == (2, 1)
    assert sentence in result.err
    assert "\nhint: " in result.err
    assert (cli.folder / "first.ledger.db").read_bytes() == before


def test_a_ledger_that_is_not_there_is_reported_before_the_input_is_read(cli: "CliHarness") -> None:
    cli.write("people.csv", "no,columns\n")
    result = cli("send", "people.csv", "--not-sent-in", "nothing.db", "--dry-run")
    assert (result.code, "There is no ledger nothing.db" in result.err) == (6, True)
    result = cli("send", "people.csv", "--suppress", "nobody.txt", "--dry-run")
    assert (result.code, "There is no file nobody.txt" in result.err) == (3, True)


def test_nobody_left_is_reported_with_the_reason(cli: "CliHarness") -> None:
    cli.server()
    sent_to(cli, "first", "Ann")
    result = cli("send", "first.csv", "--not-sent-in", "first.ledger.db", "--dry-run", "--json")
    assert result.code == 3
    assert result.json["sent_before"] == 1
    assert "hint: Left out: 1 sent before." in result.err


def test_a_rehearsal_reported_nobody(cli: "CliHarness") -> None:
    cli.people(2)
    cli("send", "people.csv", "--sandbox", "--yes", "--quiet")
    result = cli("send", "people.csv", "--not-sent-in", "people.sandbox.db", "--dry-run")
    assert (result.code, "ledger of a rehearsal" in result.err) == (2, True)


def test_a_ledger_is_shown_before_it_is_sent(cli: "CliHarness") -> None:
    cli.server()
    cli.people(3)
    fingerprint = cli("plan", "people.csv", "--json").json["fingerprint"]
    result = cli("send", "people.ledger.db", "--yes", "--show", "2")
    assert result.code == 0
    assert "The first 2 messages, as they would be sent:" in result.err
    assert "    Outage 1." in result.err
    assert "    Outage 2." not in result.err
    assert f"fingerprint   {fingerprint}" in result.err


def test_the_preview_tells_machines_of_mistakes_and_warnings(cli: "CliHarness") -> None:
    cli.write("people.csv", f"guid,text\n{GUID},“Hello”\n{GUID},Other\njsmith,Bad\n")
    result = cli("send", "people.csv", "--dry-run", "--json", "--workers", "2", "--rate", "1/s").json
    finding = set(result["errors"][0])
    group = result["warnings"]["W204"]
    assert (result["error_count"], result["bad_rows"], result["to_send"]) == (1, 1, 2)
    assert (result["errors"][0]["code"], result["errors"][0]["row"]) == ("E101", 4)
    assert (group["name"], group["count"], set(group["first"][0])) == ("needs-ucs2", 1, finding)
    assert (result["workers"], result["rate"], result["seconds"]) == (2, 1.0, [1.5, 3.0])
    assert result["url"] is None
    assert result["warnings"]["W301"]["first"][0]["problem"] == (
        "the same person as in row 2, with another text; both are sent"
    )


def test_bad_rows_are_reported_to_machines_before_the_refusal(cli: "CliHarness") -> None:
    cli.write("people.csv", f"guid,text\n{GUID},Hello\njsmith,Bad\n")
    for command in (("send", "people.csv", "--dry-run"), ("plan", "people.csv")):
        result = cli(*command, "--json")
        assert (result.code, result.json["error_count"]) == (3, 1)
        assert "error: 1 of 2 rows of people.csv cannot be sent" in result.err
    assert cli.files == {"people.csv"}


def test_skipped_bad_rows_are_kept_with_code_and_problem(cli: "CliHarness") -> None:
    cli.write("people.csv", f"guid,text\n{GUID},Hello\njsmith,Bad\n")
    result = cli("plan", "people.csv", "--skip-invalid", "--rejects", "rejects.csv")
    assert result.code == 0
    assert "error: row 3, column guid: E101 bad-identifier" in result.out
    good, bad = cli.lines()
    assert (good.state, bad.state, bad.reason, bad.error_code) == ("queued", "skipped", "bad_row", "E101")
    assert str(bad.error).startswith("E101 bad-identifier: looks like a user name")
    assert "jsmith,Bad,3,E101," in (cli.folder / "rejects.csv").read_text(encoding="utf-8-sig")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_rejects_have_the_delimiter_of_the_input_and_never_its_name(delimiter: str, cli: "CliHarness") -> None:
    path = cli.write("people.csv", f"guid{delimiter}text\njsmith{delimiter}Bad\n")
    before = path.read_bytes()
    result = cli("plan", "people.csv", "--rejects", "people.csv")
    assert (result.code, path.read_bytes()) == (2, before)
    cli("plan", "people.csv", "--rejects", "rejects.csv")
    header = (cli.folder / "rejects.csv").read_text(encoding="utf-8-sig").splitlines()[0]
    assert header == delimiter.join(["guid", "text", "row", "code", "problem"])


def test_quiet_plans_without_a_preview(cli: "CliHarness") -> None:
    cli.people(3)
    result = cli("plan", "people.csv", "--quiet")
    assert (result.out.splitlines(), result.err) == (
        ["Planned: people.ledger.db.", "To send it:", "  bulksms send people.ledger.db"],
        "",
    )
