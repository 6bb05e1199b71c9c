"""A hint leads to what is meant: followed to the letter, it works."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksms.errors import InputError
from bulksms.input import BadRow, InputOptions, Row, open_input
from bulksms.input.decoding import read_text
from bulksms.input.template import tidied
from bulksms.model.recipient import BadRecipient, parse_recipient

GUID = "7a4267ce-d354-44e7-8bd6-c681f1284a41"


def refusal(tmp_path: Path, content: str, name: str = "people.csv", **options: object) -> InputError:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError) as caught, open_input(path, InputOptions(**options)) as opened:  # type: ignore[arg-type]
        list(opened)
    return caught.value


def bad_rows(tmp_path: Path, content: str, **options: object) -> list[BadRow]:
    path = tmp_path / "people.csv"
    path.write_text(content, encoding="utf-8")
    with open_input(path, InputOptions(**options)) as opened:  # type: ignore[arg-type]
        return [row for row in opened if isinstance(row, BadRow)]


@pytest.mark.parametrize(
    ("content", "sentence", "hint"),
    [
        (
            "Name,Handynummer,Nachricht\nAnn,+49 171 1234567,The system is down until 18:00.\n",
            "has no column for the recipient and no column for the text; its columns are Name, Handynummer, Nachricht",
            "--recipient-column Handynummer --match mobile --text-column Nachricht",
        ),
        (
            f"Mitarbeiter,Objekt ID,Nachricht\nAnn,{GUID},Bitte das Gebäude räumen\n",
            "no column for the recipient and no column for the text",
            '--recipient-column "Objekt ID" --text-column Nachricht',
        ),
        ("E-Mail,text\nann@example.com,hi\n", "no column for the recipient;", "--recipient-column E-Mail --match mail"),
        (f"guid,Inhalt\n{GUID},Bitte das Gebäude räumen\n", "no column for the text;", "--text-column Inhalt"),
        ("a,b\n1,2\n", "its columns are a, b", "--recipient-column; give --text"),
        (f"{GUID},hello\n{GUID},hello\n", "no column", "add a row of names above"),
        (f"Liste\n\nguid;text\n{GUID};hello\n", "no column", "delete what is above it"),
        (f"guid        text\n----        ----\n{GUID}  hello\n", "no column", "Export-Csv"),
    ],
)
def test_missing_columns_are_reported_together_with_the_options_that_name_them(
    tmp_path: Path, content: str, sentence: str, hint: str
) -> None:
    caught = refusal(tmp_path, content)
    assert sentence in str(caught)
    assert hint in (caught.hint or "")


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("CN=Slash\\/Esc,DC=example,DC=com", "write CN=Slash/Esc,DC=example,DC=com"),
        ('CN="Roe, Max",DC=example,DC=com', "write CN=Roe\\, Max,DC=example,DC=com"),
        ("CN=Ann;DC=example;DC=com", "write CN=Ann,DC=example,DC=com"),
        ("LDAP://dc1.example.com/CN=Ann,DC=example,DC=com", "write CN=Ann,DC=example,DC=com"),
        ("7a4267ced35444e78bd6c681f1284a41", f"write {GUID}"),
        ("CN=a\\b,DC=x", "a backslash itself is written \\\\"),
        ("System.Byte[]", "Select-Object @{n='guid';e={$_.ObjectGUID}}"),
        ("EXAMPLE\\ann", "--match sAMAccountName looks people up by ann, without the domain"),
        ("+49 171 1234567", "--match mobile"),
    ],
)
def test_the_hint_shows_the_whole_identifier_as_it_should_be(given: str, hint: str) -> None:
    with pytest.raises(BadRecipient) as caught:
        parse_recipient(given)
    assert hint in (caught.value.hint or "")
    if hint.startswith("write "):
        parse_recipient(hint.removeprefix("write "))


names = st.text(st.sampled_from('abÄ ,;+=<>#"\\/'), min_size=1, max_size=8).filter(
    lambda name: name == name.strip() and not name.endswith("\\")
)


@given(names, st.sampled_from([",", ";"]))
def test_a_quoted_name_is_repaired_to_the_same_person(name: str, separator: str) -> None:
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    rfc_4514 = "".join(f"\\{each}" if each in ',;+<>"\\=' else each for each in name)
    rfc_4514 = "\\" + rfc_4514 if rfc_4514.startswith("#") else rfc_4514
    with pytest.raises(BadRecipient) as caught:
        parse_recipient(f'CN="{quoted}"{separator}DC=example')
    repaired = (caught.value.hint or "").removeprefix("write ")
    assert parse_recipient(repaired).key == parse_recipient(f"CN={rfc_4514},DC=example").key


def test_invisible_characters_do_not_make_another_person() -> None:
    plain = parse_recipient("CN=Ann Lee,DC=example").key
    for spelling in (
        "CN=Ann\u200b Lee",
        "CN=Ann\u00a0Lee",
        "CN=A\u00adnn Lee",
        "CN=Ann Lee\u200e",
        "CN=Ann\\E2\\80\\8B Lee",
    ):
        assert parse_recipient(f"{spelling},DC=example").key == plain
    assert parse_recipient(f"{GUID}\ufeff") == parse_recipient(GUID)


@pytest.mark.parametrize(("delimiter", "word"), [(",", "commas"), (";", "semicolons"), ("\t", "tabs"), ("|", "pipes")])
def test_a_row_with_too_many_cells_is_reported_about_its_own_delimiter(
    tmp_path: Path, delimiter: str, word: str
) -> None:
    d = delimiter
    (row,) = bad_rows(tmp_path, f"guid{d}text\n{GUID}{d}Hello{d} Ann\n")
    assert word in (row.findings[0].hint or "")


def test_hints_keep_the_case_of_commands_and_names(tmp_path: Path) -> None:
    assert (refusal(tmp_path, "[]", "people.jsonl").hint or "").startswith("`jq -c")
    caught = refusal(tmp_path, "nonsense\n", "people.jsonl")
    assert "JSON is malformed" in str(caught)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_a_text_file_is_read_in_the_encodings_of_an_input(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes("Größe 5 €\r\nEnde\r\n".encode(encoding))
    text, findings = read_text(path)
    assert text == "Größe 5 €\r\nEnde"
    assert [finding.code for finding in findings] == (["W201"] if encoding == "cp1252" else [])


def test_a_text_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(b"")
    with pytest.raises(InputError, match="empty"):
        read_text(path)


def test_a_note_of_windows_takes_one_segment_and_the_preview_says_so(tmp_path: Path) -> None:
    text, found = tidied("x" * 80 + "\r\n" + "y" * 79)
    assert text == "x" * 80 + "\n" + "y" * 79
    assert found is not None
    assert "1 line ends" in found.problem
    assert tidied("as it is\nand no more") == ("as it is\nand no more", None)
    path = tmp_path / "people.csv"
    path.write_text(f"guid\n{GUID}\n")
    with open_input(path, InputOptions(text="x" * 80 + "\r\n" + "y" * 79 + "\n\n ")) as opened:
        (row,) = opened
        assert isinstance(row, Row)
        assert row.segments == 1
        assert [finding.code for finding in opened.findings] == ["W212"]


def test_a_report_reads_back_what_it_defused(tmp_path: Path) -> None:
    header = "row,recipient,status,reason,attempts,http_status,result_type,error_code,error,warnings,text"
    path = tmp_path / "report.csv"
    path.write_text(f"{header}\n2,{GUID},failed,,1,,,,,,'-50% today\n")
    with open_input(path) as opened:
        (row,) = opened
    assert row.text == "-50% today"


def test_binary_identifiers_are_sent_as_text(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("recipient\nzmdCelTT50SL1saB8ShKQQ==\n")
    with open_input(path, InputOptions(text="hello")) as opened:
        (row,) = opened
    assert isinstance(row, Row)
    assert row.recipient.given == GUID


def test_an_error_cell_of_a_workbook_is_named_as_its_sheet_shows_it() -> None:
    pytest.importorskip("python_calamine")
    with open_input(Path(__file__).parent / "corpus" / "error-cells.xlsx", InputOptions(text="Dear ((name))")) as rows:
        found = [finding for row in rows if isinstance(row, BadRow) for finding in row.findings]
    assert [(it.row, it.code, it.value) for it in found] == [
        (3, "E124", "#N/A"),
        (4, "E124", "#REF!"),
        (5, "E124", "#NAME?"),
        (6, "E124", "#VALUE!"),
    ]
    assert {it.hint for it in found} == {"put the formula right, and export it again"}
