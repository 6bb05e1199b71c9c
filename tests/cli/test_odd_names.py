"""Odd names survive file, send, report, a pipe of Windows PowerShell 5.1 and the retry from what it wrote.

PowerShell 5.1 is imitated: it decodes the output of a program with the console's code page, and `Export-Csv -Encoding
UTF8` writes a BOM, quotes everything and ends lines with CR LF.
"""

# ruff: noqa: RUF001 - letters that look like others are what is tried

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bulksms.sandbox import FaultPlan

if TYPE_CHECKING:
    from bulksms.sandbox.journal import Received
    from tests.cli.harness import CliHarness

LEDGER = "people.ledger.db"
NAMES = [
    *("Jörg Müller", "Åsa Öberg", "Zoë Brontë", "Łukasz Żółć", "Dvořák Křížová", "Şükrü Işık", "İpek ığdır"),
    *("Ñandú Peña", "João Conceição", "Þórdís Æsir", "Søren Kjær", "Straße Weiß", "GROẞ Strauß", "Œuvre Çelik"),
    *("O'Brien", "D’Angelo", "‘quoted’", "“Jo” Smith", "Anne-Marie – Lea", r"A & B \<Sales\>"),
    *(r"Keller\, Anna", r"Plus\+Minus", r"semi\;colon", r"back\\slash", r"\#hash", r"quo\"te", "per%cent $money"),
    *("山田 太郎", "王小明", "김철수", "𠮷野家", "ﾊﾝｶｸ", "Ｗｉｄｅ"),
    *("\U0001f692 Duty", "\U0001f469\u200d\U0001f692 Ada", "\U0001f1e9\U0001f1ea Flag", "☎ Counter"),
    *("שלמה כהן", "محمد علي", "\u200fימין\u200e", "Ελένη", "Дмитрий Ёлкин", "สมชาย", "देवनागरी", "ქართული"),
    *("e\u0301 decomposed", "\u00e9 composed", "soft\u00adhyphen", "nb\u00a0space", "zero\u200bwidth", "ﬁ ligature"),
]
PEOPLE = [f"CN={name} {number},OU=Späti,DC=example,DC=com" for number, name in enumerate(NAMES)]
TEXTS = [f"{name}: Größe 1 €" for name in NAMES]
MESSAGES = list(zip(PEOPLE, TEXTS, strict=True))
CODE_PAGES = ("cp437", "cp850", "cp1252", "cp1251", "cp932", "utf-8")
"""Of consoles in the west, in Russia and in Japan, and what few have set."""


def piped(cli: "CliHarness", *arguments: str) -> bytes:
    """What the program writes into a pipe."""
    command = [sys.executable, "-m", "bulksms", *arguments]
    return subprocess.run(command, cwd=cli.folder, capture_output=True, check=True).stdout


def converted_from_json(output: bytes, code_page: str) -> Iterator[dict[str, Any]]:
    """`bulksms … --format jsonl | ForEach-Object { ConvertFrom-Json $_ }` in Windows PowerShell 5.1."""
    for line in output.decode(code_page).splitlines():
        yield json.loads(line)


def export_csv(file: Path, rows: list[dict[str, Any]]) -> None:
    """`… | Select-Object recipient | Export-Csv FILE -NoTypeInformation -Encoding UTF8` of 5.1."""
    with file.open("w", encoding="utf-8-sig", newline="") as stream:
        writer = csv.writer(stream, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
        writer.writerows([["recipient"], *([row["recipient"]] for row in rows)])


def sent(received: "list[Received]") -> list[tuple[str, str]]:
    """What the server was asked to send, in the order of the input."""
    return sorted(((entry.recipient, entry.text) for entry in received), key=MESSAGES.index)


def test_there_are_forty_odd_names() -> None:
    assert len(set(NAMES)) == len(NAMES) > 40
    assert not any(name.isascii() and name.isalpha() for name in NAMES)


@pytest.mark.parametrize("code_page", CODE_PAGES)
def test_odd_names_go_round_byte_for_byte(code_page: str, cli: "CliHarness") -> None:
    server = cli.server(faults=FaultPlan.of({person: ["result_failed"] for person in PEOPLE}))
    with (cli.folder / "people.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("dn", "text"), *MESSAGES])
    assert cli("send", "people.csv", "--yes", "--keep-going", "--quiet").code == 1
    assert sent(server.journal.received) == MESSAGES

    failed = list(converted_from_json(piped(cli, "report", LEDGER, "--format", "jsonl"), code_page))
    assert [(row["recipient"], row["text"]) for row in failed] == MESSAGES
    export_csv(cli.folder / "again.csv", failed)
    before = len(server.journal.received)
    again = cli(
        "retry", "people.ledger.db", "--from", "again.csv", "--only", "failed:rejected", "--yes", "--keep-going"
    )
    assert again.code == 0
    assert "are not in" not in again.err
    assert sent(server.journal.received[before:]) == MESSAGES

    (result,) = converted_from_json(
        b"".join(piped(cli, "status", "people.ledger.db", "--json").split(b"\n")), code_page
    )
    assert result["counts"] == {**dict.fromkeys(result["counts"], 0), "accepted": len(PEOPLE)}
