"""People: input files of generated people, each once, in every format that can be read."""

import csv
import json
import zipfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from benchmarks.wire import recipient

COLUMNS = ("directoryObject", "name", "site")
TEXT = "((name)), outage since 02:40: the VPN gateway at ((site)) is down. Please join the incident bridge."
"""The text for all, with two of the columns."""
FORMATS = ("csv", "jsonl", "xlsx")

_SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PARTS = {
    "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/></Types>',
    "_rels/.rels": f'<Relationships xmlns="{_RELATIONS}"><Relationship Id="rId1" '
    f'Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
    "xl/workbook.xml": f'<workbook xmlns="{_SHEET}" xmlns:r="{_OFFICE}"><sheets>'
    '<sheet name="People" sheetId="1" r:id="rId1"/></sheets></workbook>',
    "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_RELATIONS}"><Relationship Id="rId1" '
    f'Type="{_OFFICE}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
}
"""What a workbook of one sheet needs beside the sheet."""


def people(count: int) -> Iterator[tuple[str, str, str]]:
    """The values of so many rows."""
    return ((recipient(number), f"User {number}", f"FRA{number % 9}") for number in range(count))


def write_people(path: Path, count: int) -> None:
    """A file of so many people, in the format that its name ends in."""
    {".csv": _write_csv, ".jsonl": _write_json_lines, ".xlsx": _write_workbook}[path.suffix](path, count)


def _write_csv(path: Path, count: int) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(chain([COLUMNS], people(count)))


def _write_json_lines(path: Path, count: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(dict(zip(COLUMNS, row, strict=True))) + "\n" for row in people(count))


def _write_workbook(path: Path, count: int) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in _PARTS.items():
            archive.writestr(name, content)
        with archive.open("xl/worksheets/sheet1.xml", "w") as sheet:
            sheet.write(f'<worksheet xmlns="{_SHEET}"><sheetData>'.encode())
            for row in chain([COLUMNS], people(count)):
                cells = "".join(f'<c t="inlineStr"><is><t>{value}</t></is></c>' for value in row)
                sheet.write(f"<row>{cells}</row>".encode())
            sheet.write(b"</sheetData></worksheet>")
