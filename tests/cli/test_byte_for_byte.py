"""What the server received is what the preview showed and the ledger keeps, byte for byte; before that, nothing."""

import csv
import json
import random
import zipfile
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.harness import CliHarness

TEXTS = [
    "She wrote \"now\", then 'never'.",
    "line one\nline two\r\n\n\ttabbed, at the end a blank ",
    "Grüße \U0001f692\U0001f469\u200d\U0001f692 at https://example.com/?a=1&b=%20",
    "\u202eשלום\u202c مرحبا\u200f",  # noqa: RUF001 - right to left is what is tried
    "zero\u200bwidth\u200d\ufeffmarks\u00ad and \u2028 a line separator",
    "=1+1; \\n is no line end, ((name)) no placeholder, %s %d {0} no format",
    "€^{}[~]|\\",
    "e\u0301 is not \u00e9",
    "x" * 1_000,
]
PEOPLE = [rf"CN=Keller\, Anna {number} \E2\82\AC é,OU=Operations,DC=example,DC=com" for number in range(len(TEXTS))]


def as_csv(path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("dn", "text"), *zip(PEOPLE, TEXTS, strict=True)])


def as_utf_16(path: Path) -> None:
    with path.open("w", encoding="utf-16", newline="") as file:
        csv.writer(file, delimiter="\t").writerows([("dn", "text"), *zip(PEOPLE, TEXTS, strict=True)])


def as_jsonl(path: Path) -> None:
    lines = (json.dumps({"dn": person, "text": text}) for person, text in zip(PEOPLE, TEXTS, strict=True))
    path.write_text("\n".join(lines), encoding="utf-8")


def as_xlsx(path: Path) -> None:
    def cell(value: str) -> str:
        # A carriage return is written as ECMA-376 part 1 section 22.4.2.4 has it.
        return f'<c t="inlineStr"><is><t xml:space="preserve">{escape(value).replace(chr(13), "&#13;")}</t></is></c>'

    rows = "".join(f"<row>{cell(a)}{cell(b)}</row>" for a, b in [("dn", "text"), *zip(PEOPLE, TEXTS, strict=True)])
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"><Default Extension="rels" ContentType='
        '"application/vnd.openxmlformats-package.relationships+xml"/><Override PartName="/xl/workbook.xml" ContentType='
        '"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
        f'Type="{relations}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{relations}"><sheets><sheet name="People" sheetId="1" '
        'r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
        f'Type="{relations}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{rows}</sheetData></worksheet>',
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


FORMS: list[tuple[str, Callable[[Path], None]]] = [
    ("people.csv", as_csv),
    ("people.tsv", as_utf_16),
    ("people.jsonl", as_jsonl),
    ("people.xlsx", as_xlsx),
]


@pytest.mark.parametrize(("name", "write"), FORMS)
def test_preview_ledger_and_server_have_the_same_texts(
    name: str, write: Callable[[Path], None], cli: "CliHarness"
) -> None:
    if name.endswith(".xlsx"):
        pytest.importorskip("python_calamine")
    server = cli.server()
    write(cli.folder / name)
    previewed = cli("send", name, "--dry-run", "--json", "--show", "100").json
    planned = cli("plan", name, "--json").json
    assert planned["fingerprint"] == previewed["fingerprint"]
    expect = ("--expect", previewed["fingerprint"])
    assert cli("send", "people.ledger.db", "--expect", "0" * 64, "--yes").code == 3
    assert cli("resume", "people.ledger.db", "--yes").code == 0
    assert cli("send", name, *expect, "--new", "--ledger", "again.db", "--yes", "--quiet").code == 0
    for ledger in ("people.ledger.db", "again.db"):
        assert [(line.recipient, line.text) for line in cli.lines(ledger)] == list(zip(PEOPLE, TEXTS, strict=True))
    assert [(one["recipient"], one["text"]) for one in previewed["examples"]] == list(zip(PEOPLE, TEXTS, strict=True))
    assert {person: server.journal.texts(person) for person in server.journal.recipients()} == {
        person: [text] for person, text in zip(PEOPLE, TEXTS, strict=True)
    }


def test_all_formats_have_one_fingerprint(cli: "CliHarness") -> None:
    pytest.importorskip("python_calamine")
    fingerprints = set()
    for name, write in FORMS:
        write(cli.folder / name)
        fingerprints.add(cli("send", name, "--dry-run", "--json").json["fingerprint"])
    assert len(fingerprints) == 1


@pytest.mark.parametrize("options", [(), ("--skip-invalid", "--max-recipients", "1"), ("--expect", "0" * 64)])
def test_the_last_row_is_checked_before_the_first_request(options: tuple[str, ...], cli: "CliHarness") -> None:
    server = cli.server()
    path = cli.people(5_000)
    with path.open("a", encoding="utf-8") as file:
        file.write('jsmith,"never\nsent"\n')
    result = cli("send", "people.csv", "--yes", "--quiet", *options)
    assert (result.code, server.journal.total, server.journal.calls) == (3, 0, {})
    assert cli.files == {"people.csv"}
    if not options:
        assert "row 5002, column directoryObject: E101 bad-identifier" in result.err


def test_a_change_after_the_preview_is_refused(cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(3)
    fingerprint = cli("send", "people.csv", "--dry-run", "--json").json["fingerprint"]
    cli.people(3, mark="changed")
    result = cli("send", "people.csv", "--expect", fingerprint, "--yes", "--quiet")
    assert (result.code, server.journal.total) == (3, 0)
    assert "not the expected one" in result.err


def scraps(chance: random.Random) -> bytes:
    """A small file of what inputs are made of, in any order."""
    parts = ["dn", "text", ",", ";", "\n", "\r\n", '"', "CN=Ann,DC=x", "7a4267ce-d354-44e7-8bd6-c681f1284a41", "((dn))"]
    parts += ['{"dn": "', '"}', "\x00", "\ufeff", "Grüße", "\u2028", "\ud800", "%a%", "x" * 200, "S-1-5-21-1-2-3-4"]
    beginning = chance.choice(["dn,text\n", 'dn;text\n"', '{"dn": "CN=Ann,DC=x", "text": "a"}\n', ""])
    return (beginning + "".join(chance.choices(parts, k=chance.randrange(30)))).encode(
        chance.choice(["utf-8", "utf-16", "utf-8-sig"]), "surrogatepass"
    )


@pytest.mark.parametrize("seed", range(8))
def test_no_input_is_an_internal_error(seed: int, cli: "CliHarness") -> None:
    chance = random.Random(seed)  # noqa: S311 - the same files each time, nothing secret
    options: list[tuple[str, ...]] = [(), ("--text", "Hello ((dn))"), ("--skip-invalid",), ("--json", "--skip-invalid")]
    for _ in range(30):
        form = chance.choice(["csv", "jsonl"])
        result = cli("send", "-", "--format", form, "--dry-run", *chance.choice(options), typed=scraps(chance))
        assert result.code in {0, 2, 3}, result.err
        assert result.code == 0 or "\nhint: " in result.err
        assert result.err.replace("\n", "").isprintable()
