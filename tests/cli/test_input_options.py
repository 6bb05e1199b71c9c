"""Every option that says how an input is read shows its effect in the preview, which is what would be sent."""

import csv
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Desk, Said

GUID = "7a4267ce-d354-44e7-8bd6-c681f1284a41"
SID = "S-1-5-21-3635565734-1729062999-1822655016-1627"


def preview(desk: "Desk", source: str, *options: str, typed: bytes | None = None) -> "Said":
    """A dry run as JSON."""
    return desk("send", source, "--dry-run", "--json", *options, typed=typed)


def texts(said: "Said") -> list[str]:
    return [example["text"] for example in said.json["examples"]]


def test_format_is_told_for_standard_input(desk: "Desk") -> None:
    said = preview(desk, "-", "--format", "csv", typed=f"guid,text\n{GUID},Hello\n".encode())
    assert texts(said) == ["Hello"]
    assert said.json["input"] == "standard input"
    line = f'{{"guid": "{GUID}", "text": "Grüße\\n"}}\n'.encode()
    assert texts(preview(desk, "-", "--format", "jsonl", typed=line)) == ["Grüße\n"]


def test_standard_input_needs_a_format_and_a_ledger(desk: "Desk") -> None:
    said = preview(desk, "-", typed=b"guid,text\n")
    assert (said.code, "Add --format" in said.err) == (2, True)
    desk.server()
    said = desk("send", "-", "--format", "csv", "--yes", typed=f"guid,text\n{GUID},Hello\n".encode())
    assert (said.code, "Add --ledger FILE" in said.err) == (2, True)


def test_standard_input_can_be_sent(desk: "Desk") -> None:
    server = desk.server()
    row = f"guid,text\n{GUID},Hello\n".encode()
    assert desk("send", "-", "--format", "csv", "--yes", "--ledger", "piped.db", typed=row).code == 0
    assert server.journal.texts(GUID) == ["Hello"]
    again = desk("send", "-", "--format", "csv", "--yes", "--ledger", "piped.db", typed=row)
    assert again.code == 3


def test_format_beats_the_name(desk: "Desk") -> None:
    desk.write("people.txt", f"guid,text\n{GUID},Hello\n")
    assert texts(preview(desk, "people.txt", "--format", "csv")) == ["Hello"]


def test_text_is_one_template_for_all(desk: "Desk") -> None:
    desk.write("people.csv", f"guid,name\n{GUID},Anna\n{SID},Bo\n")
    said = preview(desk, "people.csv", "--text", "Hi (( NAME )), it is down.")
    assert texts(said) == ["Hi Anna, it is down.", "Hi Bo, it is down."]


def test_text_file_is_the_same_from_a_file_without_its_last_line_end(desk: "Desk") -> None:
    desk.write("people.csv", f"guid,name\n{GUID},Anna\n")
    desk.write("text.txt", "Hi ((name)),\nit is down.\n")
    assert texts(preview(desk, "people.csv", "--text-file", "text.txt")) == ["Hi Anna,\nit is down."]


def test_no_template_sends_the_placeholder_as_it_stands(desk: "Desk") -> None:
    desk.write("people.csv", f"guid,name\n{GUID},Anna\n")
    assert texts(preview(desk, "people.csv", "--text", "Hi ((name))", "--no-template")) == ["Hi ((name))"]


def test_a_misspelt_placeholder_is_refused(desk: "Desk") -> None:
    desk.write("people.csv", f"guid,name\n{GUID},Anna\n")
    said = preview(desk, "people.csv", "--text", "Hi ((nmae))")
    assert (said.code, said.out) == (3, "")
    assert "E009" in said.err
    assert "name" in said.err


def test_columns_are_chosen_by_name(desk: "Desk") -> None:
    desk.write("people.csv", f"who,guid,words,text\n{GUID},x,Chosen,not this\n")
    said = preview(desk, "people.csv", "--recipient-column", "Who", "--text-column", "WORDS")
    assert said.json["examples"][0]["recipient"] == GUID
    assert texts(said) == ["Chosen"]


def test_delimiter_is_taken_as_told(desk: "Desk") -> None:
    desk.write("people.csv", f"guid;text;a,b,c,d,e\n{GUID};Hello, you;1\n")
    assert texts(preview(desk, "people.csv", "--delimiter", ";")) == ["Hello, you"]
    assert preview(desk, "people.csv", "--delimiter", ",").code == 3


def test_encoding_is_taken_as_told(desk: "Desk") -> None:
    (desk.folder / "people.csv").write_bytes(f"guid,text\n{GUID},Größe\n".encode("cp850"))
    assert texts(preview(desk, "people.csv", "--encoding", "cp850")) == ["Größe"]


def test_sheet_is_about_workbooks_only(desk: "Desk") -> None:
    desk.people(1)
    said = preview(desk, "people.csv", "--sheet", "People")
    assert (said.code, "--sheet" in said.err) == (2, True)


BAD = f"guid,text\n{GUID},Good\njsmith,Bad\n{SID},\n"


def test_all_bad_rows_are_told_at_once_and_nothing_is_sent(desk: "Desk") -> None:
    server = desk.server()
    desk.write("people.csv", BAD)
    said = desk("send", "people.csv", "--yes")
    assert (said.code, said.out) == (3, "")
    assert "row 3, column guid: E101 bad-identifier" in said.err
    assert "row 4, column text: E111 empty-text" in said.err
    assert "error: 2 of 3 rows of people.csv cannot be sent; nothing was sent." in said.err
    assert server.journal.total == 0
    assert desk.files == {"people.csv"}


def test_skip_bad_sends_the_others_and_exits_1(desk: "Desk") -> None:
    server = desk.server()
    desk.write("people.csv", BAD)
    said = desk("send", "people.csv", "--yes", "--skip-bad")
    assert said.code == 1
    assert [entry.recipient for entry in server.journal.received] == [GUID]
    assert [(line.state, line.reason) for line in desk.lines()] == [
        ("accepted", None),
        ("skipped", "bad_row"),
        ("skipped", "bad_row"),
    ]
    assert [line.row for line in desk.lines()] == [2, 3, 4]


def test_rejects_writes_the_bad_rows_in_the_columns_of_the_input(desk: "Desk") -> None:
    desk.write("people.csv", BAD)
    assert desk("plan", "people.csv", "--rejects", "bad.csv").code == 3
    with (desk.folder / "bad.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["guid"], row["text"], row["row"], row["code"]) for row in rows] == [
        ("jsmith", "Bad", "3", "E101"),
        (SID, "", "4", "E111"),
    ]
    assert all(row["problem"] for row in rows)


def test_suppress_never_sends_to_those_in_the_file(desk: "Desk") -> None:
    server = desk.server()
    desk.write("people.csv", f"guid,text\n{GUID},Hello\n{SID},Hello\n")
    desk.write("never.txt", f"{{{GUID.upper()}}}\n")
    desk.write("nor.txt", "CN=Nobody,DC=x\n")
    said = desk("send", "people.csv", "--yes", "--suppress", "never.txt", "--suppress", "nor.txt")
    assert said.code == 0
    assert list(server.journal.recipients()) == [SID]
    assert [(line.state, line.reason, line.error) for line in desk.lines()] == [
        ("skipped", "suppressed", "suppressed by never.txt"),
        ("accepted", None, None),
    ]


def test_max_segments_refuses_longer_texts(desk: "Desk") -> None:
    desk.write("people.csv", f"guid,text\n{GUID},{'x' * 161}\n")
    assert preview(desk, "people.csv").json["segments"] == 2
    said = preview(desk, "people.csv", "--max-segments", "1")
    assert said.code == 3
    assert "E113" in said.err


def test_gsm7_replace_saves_segments(desk: "Desk") -> None:
    desk.write("people.csv", f"guid,text\n{GUID},“It\u2019s down” \u2013 now…\n")
    assert preview(desk, "people.csv").json["encodings"] == {"UCS-2": 1}
    said = preview(desk, "people.csv", "--gsm7", "replace")
    assert said.json["encodings"] == {"GSM-7": 1}
    assert texts(said) == ['"It\'s down" - now...']


def test_the_same_person_and_text_twice_is_sent_once(desk: "Desk") -> None:
    server = desk.server()
    rows = [f"{GUID},Hello", f"{{{GUID.upper()}}},Hello", f"{GUID},Other"]
    desk.write("people.csv", "guid,text\n" + "".join(f"{row}\n" for row in rows))
    said = desk("send", "people.csv", "--yes")
    assert said.code == 0
    assert sorted(entry.text for entry in server.journal.received) == ["Hello", "Other"]
    assert desk.lines()[1].reason == "duplicate"
    assert "with another text" in said.err


def test_show_says_how_many_messages_are_shown(desk: "Desk") -> None:
    desk.people(20)
    assert len(preview(desk, "people.csv").json["examples"]) == 8
    assert len(preview(desk, "people.csv", "--show", "12").json["examples"]) == 15
    assert [example["row"] for example in preview(desk, "people.csv", "--show", "2").json["examples"][:2]] == [2, 3]


# The people of earlier ledgers


def test_told_in_sends_to_those_who_may_have_been_told(desk: "Desk") -> None:
    server = desk.server()
    ends = ["", "[drop_after]", "[result_failed]", "[result_suspended]"]
    names = [f"CN=Person {number} {end},DC=x" for number, end in enumerate(ends)]
    rows = [f'"{name}",Number {number},It is down.\n' for number, name in enumerate(names)]
    desk.write("people.csv", "".join(["directoryObject,name,text\n", *rows]))
    desk("send", "people.csv", "--yes")
    before = server.journal.total
    options = ("--told-in", "people.ledger.db", "--text", "((name)): all clear.", "--ledger", "clear.db")
    assert desk("send", *options, "--yes", "--quiet").code == 0
    assert server.journal.total - before == 3
    assert [line.recipient for line in desk.lines("clear.db")] == [names[0], names[1], names[3]]
    assert desk.lines("clear.db")[0].text == "Number 0: all clear."


def test_not_told_in_leaves_those_out(desk: "Desk") -> None:
    server = desk.server()
    desk.people(3)
    desk("send", "people.csv", "--yes")
    desk.people(5, "more.csv")
    assert desk("send", "more.csv", "--not-told-in", "people.ledger.db", "--yes").code == 0
    assert server.journal.total == 5
    assert [line.reason for line in desk.lines("more.ledger.db")] == ["suppressed"] * 3 + [None] * 2


PREVIEW = ["input", "url", "fingerprint", "rows", "to_send", "duplicates", "suppressed", "bad_rows", "segments"]


def test_the_preview_as_json_has_all_its_counts(desk: "Desk") -> None:
    desk.write("people.csv", f"guid,text\n{GUID},Hello\n{GUID},Hello\n{SID},Größe \U0001f692\n")
    told = preview(desk, "people.csv", "--url", "https://adaxes.example/restApi").json
    assert list(told)[: len(PREVIEW)] == PREVIEW
    assert (told["rows"], told["to_send"], told["duplicates"]) == (3, 2, 1)
    assert told["encodings"] == {"GSM-7": 1, "UCS-2": 1}
    assert told["identifiers"] == {"GUID": 1, "SID": 1}
    assert told["url"] == "https://adaxes.example/restApi"
    assert len(told["examples"]) == 2


# plan


def test_plan_keeps_the_ledger_queued_and_needs_no_url(desk: "Desk") -> None:
    desk.people(3)
    said = desk("plan", "people.csv")
    assert said.code == 0
    assert "Planned: people.ledger.db. Send it with: bulksms send people.ledger.db" in said.out
    assert [line.state.value for line in desk.lines()] == ["queued"] * 3


def test_plan_never_overwrites(desk: "Desk") -> None:
    desk.people(3)
    desk("plan", "people.csv", "--ledger", "mine.db")
    before = (desk.folder / "mine.db").read_bytes()
    said = desk("plan", "people.csv", "--ledger", "mine.db")
    assert said.code == 3
    assert "never overwritten" in said.err
    assert (desk.folder / "mine.db").read_bytes() == before


def test_plan_and_dry_run_and_ledger_have_one_fingerprint(desk: "Desk") -> None:
    desk.people(3)
    planned = desk("plan", "people.csv", "--json").json["fingerprint"]
    assert planned == preview(desk, "people.csv").json["fingerprint"]
    assert planned == desk("status", "people.ledger.db", "--json").json["fingerprint"]


RIGHT_TO_LEFT = "\u200fשלום\u200e zero\u200bwidth"  # noqa: RUF001 - the letters are meant


@pytest.mark.parametrize("text", ['"quoted, and\nbroken"', "Grüße 🚒", RIGHT_TO_LEFT, "((no template))"])
def test_what_was_previewed_is_what_is_sent(text: str, desk: "Desk") -> None:
    server = desk.server()
    desk.write("people.csv", f"guid,text\n{GUID},{text}\n")
    shown = texts(preview(desk, "people.csv"))
    desk("plan", "people.csv")
    assert desk("send", "people.ledger.db", "--yes").code == 0
    assert server.journal.texts(GUID) == shown == [line.text for line in desk.lines()]
    assert shown == [text.strip('"')]
