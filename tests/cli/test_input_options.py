"""Every option that says how an input is read shows its effect in the preview, which is what would be sent."""

import csv
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.harness import CliHarness, CliResult

GUID = "7a4267ce-d354-44e7-8bd6-c681f1284a41"
SID = "S-1-5-21-3635565734-1729062999-1822655016-1627"


def preview(cli: "CliHarness", source: str, *options: str, typed: bytes | None = None) -> "CliResult":
    """A dry run as JSON."""
    return cli("send", source, "--dry-run", "--json", *options, typed=typed)


def texts(result: "CliResult") -> list[str]:
    return [example["text"] for example in result.json["examples"]]


def test_format_is_reported_for_standard_input(cli: "CliHarness") -> None:
    shown = preview(cli, "-", "--format", "csv", typed=f"guid,text\n{GUID},Hello\n".encode())
    assert texts(shown) == ["Hello"]
    assert shown.json["input"] == "standard input"
    line = f'{{"guid": "{GUID}", "text": "Grüße\\n"}}\n'.encode()
    assert texts(preview(cli, "-", "--format", "jsonl", typed=line)) == ["Grüße\n"]


def test_standard_input_needs_a_format_and_a_ledger(cli: "CliHarness") -> None:
    shown = preview(cli, "-", typed=b"guid,text\n")
    assert (shown.code, "Add --format" in shown.err) == (2, True)
    cli.server()
    shown = cli("send", "-", "--format", "csv", "--yes", typed=f"guid,text\n{GUID},Hello\n".encode())
    assert (shown.code, "Add --ledger FILE" in shown.err) == (2, True)


def test_standard_input_can_be_sent(cli: "CliHarness") -> None:
    server = cli.server()
    row = f"guid,text\n{GUID},Hello\n".encode()
    assert cli("send", "-", "--format", "csv", "--yes", "--ledger", "piped.db", typed=row).code == 0
    assert server.journal.texts(GUID) == ["Hello"]
    again = cli("send", "-", "--format", "csv", "--yes", "--ledger", "piped.db", typed=row)
    assert again.code == 3


def test_format_beats_the_name(cli: "CliHarness") -> None:
    cli.write("people.txt", f"guid,text\n{GUID},Hello\n")
    assert texts(preview(cli, "people.txt", "--format", "csv")) == ["Hello"]


def test_text_is_one_template_for_all(cli: "CliHarness") -> None:
    cli.write("people.csv", f"guid,name\n{GUID},Anna\n{SID},Bo\n")
    shown = preview(cli, "people.csv", "--text", "Hi (( NAME )), it is down.")
    assert texts(shown) == ["Hi Anna, it is down.", "Hi Bo, it is down."]


def test_text_file_is_the_same_from_a_file_without_its_last_line_end(cli: "CliHarness") -> None:
    cli.write("people.csv", f"guid,name\n{GUID},Anna\n")
    cli.write("text.txt", "Hi ((name)),\nit is down.\n")
    assert texts(preview(cli, "people.csv", "--text-file", "text.txt")) == ["Hi Anna,\nit is down."]


def test_no_template_sends_the_placeholder_as_written(cli: "CliHarness") -> None:
    cli.write("people.csv", f"guid,name\n{GUID},Anna\n")
    assert texts(preview(cli, "people.csv", "--text", "Hi ((name))", "--no-template")) == ["Hi ((name))"]


def test_a_misspelt_placeholder_is_refused(cli: "CliHarness") -> None:
    cli.write("people.csv", f"guid,name\n{GUID},Anna\n")
    shown = preview(cli, "people.csv", "--text", "Hi ((nmae))")
    assert (shown.code, shown.out) == (3, "")
    assert "E009" in shown.err
    assert "name" in shown.err


def test_columns_are_chosen_by_name(cli: "CliHarness") -> None:
    cli.write("people.csv", f"who,guid,words,text\n{GUID},x,Chosen,not this\n")
    shown = preview(cli, "people.csv", "--recipient-column", "Who", "--text-column", "WORDS")
    assert shown.json["examples"][0]["recipient"] == GUID
    assert texts(shown) == ["Chosen"]


def test_delimiter_is_taken_as_reported(cli: "CliHarness") -> None:
    cli.write("people.csv", f"guid;text;a,b,c,d,e\n{GUID};Hello, you;1\n")
    assert texts(preview(cli, "people.csv", "--delimiter", ";")) == ["Hello, you"]
    assert preview(cli, "people.csv", "--delimiter", ",").code == 3


def test_encoding_is_taken_as_reported(cli: "CliHarness") -> None:
    (cli.folder / "people.csv").write_bytes(f"guid,text\n{GUID},Größe\n".encode("cp850"))
    assert texts(preview(cli, "people.csv", "--encoding", "cp850")) == ["Größe"]


def test_sheet_is_about_workbooks_only(cli: "CliHarness") -> None:
    cli.people(1)
    shown = preview(cli, "people.csv", "--sheet", "People")
    assert (shown.code, "--sheet" in shown.err) == (2, True)


BAD = f"guid,text\n{GUID},Good\njsmith,Bad\n{SID},\n"


def test_all_bad_rows_are_reported_at_once_and_nothing_is_sent(cli: "CliHarness") -> None:
    server = cli.server()
    cli.write("people.csv", BAD)
    result = cli("send", "people.csv", "--yes")
    assert (result.code, result.out) == (3, "")
    assert "row 3, column guid: E101 bad-identifier" in result.err
    assert "row 4, column text: E111 empty-text" in result.err
    assert "error: 2 of 3 rows of people.csv cannot be sent; nothing was sent." in result.err
    assert server.journal.total == 0
    assert cli.files == {"people.csv"}


def test_skip_bad_sends_the_others_and_exits_1(cli: "CliHarness") -> None:
    server = cli.server()
    cli.write("people.csv", BAD)
    result = cli("send", "people.csv", "--yes", "--skip-invalid")
    assert result.code == 1
    assert [entry.recipient for entry in server.journal.received] == [GUID]
    assert [(line.state, line.reason) for line in cli.lines()] == [
        ("accepted", None),
        ("skipped", "bad_row"),
        ("skipped", "bad_row"),
    ]
    assert [line.row for line in cli.lines()] == [2, 3, 4]


def test_rejects_writes_the_bad_rows_in_the_columns_of_the_input(cli: "CliHarness") -> None:
    cli.write("people.csv", BAD)
    assert cli("plan", "people.csv", "--rejects", "bad.csv").code == 3
    with (cli.folder / "bad.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["guid"], row["text"], row["row"], row["code"]) for row in rows] == [
        ("jsmith", "Bad", "3", "E101"),
        (SID, "", "4", "E111"),
    ]
    assert all(row["problem"] for row in rows)


def test_suppress_never_sends_to_those_in_the_file(cli: "CliHarness") -> None:
    server = cli.server()
    cli.write("people.csv", f"guid,text\n{GUID},Hello\n{SID},Hello\n")
    cli.write("never.txt", f"{{{GUID.upper()}}}\n")
    cli.write("nor.txt", "CN=Nobody,DC=x\n")
    result = cli("send", "people.csv", "--yes", "--suppress", "never.txt", "--suppress", "nor.txt")
    assert result.code == 0
    assert list(server.journal.recipients()) == [SID]
    assert [(line.state, line.reason, line.error) for line in cli.lines()] == [
        ("skipped", "suppressed", "suppressed by never.txt"),
        ("accepted", None, None),
    ]


def test_max_segments_refuses_longer_texts(cli: "CliHarness") -> None:
    cli.write("people.csv", f"guid,text\n{GUID},{'x' * 161}\n")
    assert preview(cli, "people.csv").json["segments"] == 2
    shown = preview(cli, "people.csv", "--max-segments", "1")
    assert shown.code == 3
    assert "E113" in shown.err


def test_gsm7_replace_saves_segments(cli: "CliHarness") -> None:
    cli.write("people.csv", f"guid,text\n{GUID},“It\u2019s down” \u2013 now…\n")
    assert preview(cli, "people.csv").json["encodings"] == {"UCS-2": 1}
    shown = preview(cli, "people.csv", "--gsm7", "replace")
    assert shown.json["encodings"] == {"GSM-7": 1}
    assert texts(shown) == ['"It\'s down" - now...']


def test_the_same_person_and_text_twice_is_sent_once(cli: "CliHarness") -> None:
    server = cli.server()
    rows = [f"{GUID},Hello", f"{{{GUID.upper()}}},Hello", f"{GUID},Other"]
    cli.write("people.csv", "guid,text\n" + "".join(f"{row}\n" for row in rows))
    result = cli("send", "people.csv", "--yes")
    assert result.code == 0
    assert sorted(entry.text for entry in server.journal.received) == ["Hello", "Other"]
    assert cli.lines()[1].reason == "duplicate"
    assert "with another text" in result.err


def test_show_says_how_many_messages_are_shown(cli: "CliHarness") -> None:
    cli.people(20)
    assert len(preview(cli, "people.csv").json["examples"]) == 8
    assert len(preview(cli, "people.csv", "--show", "12").json["examples"]) == 15
    assert [example["row"] for example in preview(cli, "people.csv", "--show", "2").json["examples"][:2]] == [2, 3]


# The people of earlier ledgers


def test_sent_in_sends_to_those_who_may_have_been_reported(cli: "CliHarness") -> None:
    server = cli.server()
    ends = ["", "[drop_after]", "[result_failed]", "[result_suspended]"]
    names = [f"CN=Person {number} {end},DC=x" for number, end in enumerate(ends)]
    rows = [f'"{name}",Number {number},It is down.\n' for number, name in enumerate(names)]
    cli.write("people.csv", "".join(["directoryObject,name,text\n", *rows]))
    cli("send", "people.csv", "--yes")
    before = server.journal.total
    options = ("--sent-in", "people.ledger.db", "--text", "((name)): all clear.", "--ledger", "clear.db")
    assert cli("send", *options, "--yes", "--quiet").code == 0
    assert server.journal.total - before == 3
    assert [line.recipient for line in cli.lines("clear.db")] == [names[0], names[1], names[3]]
    assert cli.lines("clear.db")[0].text == "Number 0: all clear."


def test_not_sent_in_leaves_those_out(cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(3)
    cli("send", "people.csv", "--yes")
    cli.people(5, "more.csv")
    assert cli("send", "more.csv", "--not-sent-in", "people.ledger.db", "--yes").code == 0
    assert server.journal.total == 5
    assert [line.reason for line in cli.lines("more.ledger.db")] == ["suppressed"] * 3 + [None] * 2


PREVIEW = [
    "format",
    "input",
    "url",
    "fingerprint",
    "rows",
    "to_send",
    "duplicates",
    "suppressed",
    "bad_rows",
    "segments",
]


def test_the_preview_as_json_has_all_its_counts(cli: "CliHarness") -> None:
    cli.write("people.csv", f"guid,text\n{GUID},Hello\n{GUID},Hello\n{SID},Größe \U0001f692\n")
    shown = preview(cli, "people.csv", "--url", "https://adaxes.example/restApi").json
    assert list(shown)[: len(PREVIEW)] == PREVIEW
    assert (shown["rows"], shown["to_send"], shown["duplicates"]) == (3, 2, 1)
    assert shown["encodings"] == {"GSM-7": 1, "UCS-2": 1}
    assert shown["identifiers"] == {"GUID": 1, "SID": 1}
    assert shown["url"] == "https://adaxes.example/restApi"
    assert len(shown["examples"]) == 2


# plan


def test_plan_keeps_the_ledger_queued_and_needs_no_url(cli: "CliHarness") -> None:
    cli.people(3)
    result = cli("plan", "people.csv")
    assert result.code == 0
    assert "Planned: people.ledger.db.\nTo send it:\n  bulksms send people.ledger.db" in result.out
    assert [line.state.value for line in cli.lines()] == ["queued"] * 3


def test_plan_never_overwrites(cli: "CliHarness") -> None:
    cli.people(3)
    cli("plan", "people.csv", "--ledger", "mine.db")
    before = (cli.folder / "mine.db").read_bytes()
    result = cli("plan", "people.csv", "--ledger", "mine.db")
    assert result.code == 3
    assert "never overwritten" in result.err
    assert (cli.folder / "mine.db").read_bytes() == before


def test_plan_and_dry_run_and_ledger_have_one_fingerprint(cli: "CliHarness") -> None:
    cli.people(3)
    planned = cli("plan", "people.csv", "--json").json["fingerprint"]
    assert planned == preview(cli, "people.csv").json["fingerprint"]
    assert planned == cli("status", "people.ledger.db", "--json").json["fingerprint"]


RIGHT_TO_LEFT = "\u200fשלום\u200e zero\u200bwidth"  # noqa: RUF001 - the letters are meant


@pytest.mark.parametrize("text", ['"quoted, and\nbroken"', "Grüße 🚒", RIGHT_TO_LEFT, "((no template))"])
def test_what_was_previewed_is_what_is_sent(text: str, cli: "CliHarness") -> None:
    server = cli.server()
    cli.write("people.csv", f"guid,text\n{GUID},{text}\n")
    shown = texts(preview(cli, "people.csv"))
    cli("plan", "people.csv")
    assert cli("send", "people.ledger.db", "--yes").code == 0
    assert server.journal.texts(GUID) == shown == [line.text for line in cli.lines()]
    assert shown == [text.strip('"')]


def test_a_command_is_printed_once_for_all_kinds_of_mistakes(cli: "CliHarness") -> None:
    rows = ("jsmith", "ann@example.com", "+49 171 1234567", "EXAMPLE\\ann", "System.Byte[]")
    cli.write("people.csv", "".join(["recipient,text\n", *(f"{row},Hi\n" for row in rows)]))
    result = cli("send", "people.csv", "--dry-run")
    assert result.code == 3
    assert result.err.count("Get-ADUser") == 1
    for option in ("--match sAMAccountName", "--match mail", "--match mobile"):
        assert option in " ".join(result.err.split())


def test_the_preview_says_how_a_text_file_was_tidied(cli: "CliHarness") -> None:
    cli.write("people.csv", f"guid\n{GUID}\n")
    (cli.folder / "text.txt").write_bytes(("x" * 80 + "\r\n" + "y" * 79 + "\r\n\r\n").encode("utf-16"))
    result = cli("send", "people.csv", "--text-file", "text.txt", "--dry-run", "--json")
    assert result.code == 0
    assert result.json["segments"] == 1
    assert "W212" in result.json["warnings"]
