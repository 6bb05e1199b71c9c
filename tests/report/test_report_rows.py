"""The report: columns of the contract, exact JSONL, CSV that no spreadsheet runs, a table that no terminal obeys."""

import csv
import io
import json
import os
import stat
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksms.cli.ui.console import write_privately
from bulksms.errors import UsageError
from bulksms.ledger import MessageRecord
from bulksms.model.message import State
from bulksms.report.rows import COLUMNS, as_csv, as_jsonl, report_names
from tests.platforms import with_posix_files

CONTRACT = """row, recipient, status, reason, attempts, http_status, result_type, error_code, error, warnings,
object_dn, operation_id, possible_duplicate, first_attempt_at, finished_at, latency_ms, encoding, segments, text"""
HOSTILE = (
    'quotes " and \' and ""',
    "lines\nand\r\nmore\rlines",
    "emoji 👩‍👩‍👧 and a flag 🇨🇿",
    "עברית and \u202eoverride\u202c",
    "zero\u200bwidth and \ufeff mark",
    "separators , ; \t |",
    "\u2028\u2029\x85",
    "=HYPERLINK(1)",
    "  blanks  ",
    "",
)
FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "=cmd|' /C calc'!A0")


def line(**values: Any) -> MessageRecord:
    known: dict[str, Any] = {
        "row": 2,
        "recipient": "CN=Anna,DC=x",
        "state": State.ACCEPTED,
        "reason": None,
        "attempts": 1,
        "http_status": 200,
        "result_type": 0,
        "error_code": None,
        "error": None,
        "warnings": (),
        "object_dn": "CN=Anna,DC=x",
        "operation_id": None,
        "possible_duplicate": False,
        "first_attempt_at": 1_700_000_000.0,
        "finished_at": 1_700_000_000.5,
        "latency_ms": 123.456,
        "encoding": "GSM-7",
        "segments": 1,
        "text": "Hello",
        "other_columns": {},
    }
    return MessageRecord(**{**known, **values})


def csv_rows(lines: Sequence[MessageRecord], columns: Sequence[str] = ()) -> list[list[str]]:
    return list(csv.reader(io.StringIO("".join(as_csv(lines, columns)), newline=""), strict=True))


def json_rows(lines: Sequence[MessageRecord], columns: Sequence[str] = ()) -> list[dict[str, Any]]:
    text = "".join(as_jsonl(lines, columns))
    return [json.loads(record) for record in text.split("\n")[:-1]]


def test_the_columns_are_those_of_the_contract_in_both_formats() -> None:
    contract = CONTRACT.replace("\n", " ").split(", ")
    assert list(COLUMNS) == contract
    one = line(other_columns={"Name": "Anna", "Unit": "Sales"})
    assert csv_rows([one], ["Name", "Unit"])[0] == [*contract, "Name", "Unit"]
    assert list(json_rows([one], ["Name", "Unit"])[0]) == [*contract, "Name", "Unit"]


def test_a_line_is_written_as_it_is() -> None:
    one = line(state=State.UNKNOWN, reason="no_answer", warnings=("a", "b"), possible_duplicate=True, attempts=2)
    (record,) = json_rows([one])
    assert record == {
        "row": 2,
        "recipient": "CN=Anna,DC=x",
        "status": "unknown",
        "reason": "no_answer",
        "attempts": 2,
        "http_status": 200,
        "result_type": 0,
        "error_code": None,
        "error": None,
        "warnings": ["a", "b"],
        "object_dn": "CN=Anna,DC=x",
        "operation_id": None,
        "possible_duplicate": True,
        "first_attempt_at": "2023-11-14T22:13:20.000Z",
        "finished_at": "2023-11-14T22:13:20.500Z",
        "latency_ms": 123.5,
        "encoding": "GSM-7",
        "segments": 1,
        "text": "Hello",
    }
    header, cells = csv_rows([one])
    row = dict(zip(header, cells, strict=True))
    assert row["warnings"] == "a | b"
    assert row["possible_duplicate"] == "true"
    assert (row["error"], row["operation_id"]) == ("", "")
    assert row["first_attempt_at"] == "2023-11-14T22:13:20.000Z"
    assert csv_rows([line()])[1][COLUMNS.index("possible_duplicate")] == "false"


def test_an_empty_report_still_has_its_header() -> None:
    assert csv_rows([], ["Name"]) == [[*COLUMNS, "Name"]]
    assert not list(as_jsonl([], ["Name"]))


def test_what_never_was_attempted_has_empty_cells() -> None:
    never = dict.fromkeys(("http_status", "result_type", "object_dn", "first_attempt_at", "finished_at", "latency_ms"))
    one = line(state=State.SKIPPED, reason="bad_row", attempts=0, encoding=None, segments=None, **never)
    header, cells = csv_rows([one])
    empty = {name for name, cell in zip(header, cells, strict=True) if not cell}
    assert empty >= {*never, "encoding", "segments"}
    assert all(json_rows([one])[0][name] is None for name in (*never, "encoding", "segments"))


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_come_back_exactly_from_jsonl(text: str) -> None:
    one = line(text=text, recipient=f"CN={text}", error=text, warnings=(text, text), other_columns={"Name": text})
    (record,) = json_rows([one], ["Name"])
    assert (record["text"], record["recipient"], record["error"]) == (text, f"CN={text}", text)
    assert (record["warnings"], record["Name"]) == ([text, text], text)


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_any_text_comes_back_exactly_from_jsonl_and_but_for_an_apostrophe_from_csv(text: str) -> None:
    one = line(text=text)
    assert json_rows([one])[0]["text"] == text
    (cell,) = csv_rows([one])[1][-1:]
    if "\x00" not in text:
        assert cell == (f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text)


@pytest.mark.parametrize("formula", FORMULAS)
def test_no_cell_of_a_csv_begins_like_a_formula(formula: str) -> None:
    one = line(
        recipient=formula,
        error_code=formula,
        error=formula,
        warnings=(formula, formula),
        object_dn=formula,
        operation_id=formula,
        text=formula,
        other_columns={formula: formula},
    )
    for cells in csv_rows([one], [formula]):
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
        assert cells[-1] == f"'{formula}"


def test_numbers_are_no_formulas() -> None:
    assert csv_rows([line(latency_ms=-1.0)])[1][COLUMNS.index("latency_ms")] == "-1.0"


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        (["Name", "Unit"], ["Name", "Unit"]),
        (["row", "Name", "error"], ["input.row", "Name", "input.error"]),
        (["Row", "STATUS"], ["input.Row", "input.STATUS"]),
        (["input.row", "row"], ["input.row", "input.input.row"]),
        (["row", "Input.Row"], ["input.input.row", "Input.Row"]),
    ],
)
def test_an_input_column_of_a_reports_name_gets_one_of_its_own(columns: list[str], names: list[str]) -> None:
    assert report_names(columns) == names
    one = line(other_columns={name: f"value of {name}" for name in columns})
    (record,) = json_rows([one], columns)
    header, cells = csv_rows([one], columns)
    assert len({name.casefold() for name in header}) == len(header)
    for column, name in zip(columns, names, strict=True):
        assert record[name] == cells[header.index(name)] == f"value of {column}"
    assert (record["row"], record["status"]) == (2, "accepted")


columns_of_any_name = st.lists(
    st.one_of(st.sampled_from(COLUMNS), st.sampled_from(COLUMNS).map("input.{}".format), st.text("aA.", min_size=1)),
    max_size=8,
    unique_by=str.casefold,
)


@given(columns_of_any_name)
def test_no_column_of_the_input_is_lost_or_takes_anothers_name(columns: list[str]) -> None:
    names = report_names(columns)
    assert len({name.casefold() for name in (*COLUMNS, *names)}) == len(COLUMNS) + len(columns)
    one = line(other_columns={name: name for name in columns})
    (record,) = json_rows([one], columns)
    assert [record[name] for name in names] == columns


def test_a_row_without_one_of_the_columns_has_an_empty_cell_there() -> None:
    one = line(other_columns={"Unit": "Sales"})
    assert csv_rows([one], ["Name", "Unit"])[1][-2:] == ["", "Sales"]
    assert "Name" not in json_rows([one], ["Name", "Unit"])[0]


@with_posix_files
@pytest.mark.parametrize("existing", [False, True])
def test_a_report_in_a_file_is_nobody_elses(tmp_path: Path, existing: bool) -> None:
    path = tmp_path / "report.csv"
    if existing:
        path.write_text("a longer report of yesterday" * 100)
        path.chmod(0o644)
    before = os.umask(0)
    try:
        write_privately(path, ["a\r\n", "č\n"])
    finally:
        os.umask(before)
    assert path.read_bytes() == "a\r\nč\n".encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@with_posix_files
def test_a_report_to_a_device_leaves_the_device_its_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    changed: list[int] = []
    monkeypatch.setattr(os, "fchmod", lambda _, mode: changed.append(mode))
    write_privately(Path(os.devnull), ["a"])
    assert not changed


@pytest.mark.parametrize("place", ["nowhere/report.csv", "."])
def test_a_report_that_cannot_be_written_is_reported_in_a_sentence(tmp_path: Path, place: str) -> None:
    with pytest.raises(UsageError, match="cannot be written") as trouble:
        write_privately(tmp_path / place, ["a"])
    assert trouble.value.hint


MOMENTS = st.one_of(
    st.floats(0.0, 4e9),
    st.integers(0, 4_000_000_000).map(lambda second: second + 1.0 - 2.0**-22),
    st.integers(0, 4_000_000_000_000).map(lambda milliseconds: milliseconds / 1000.0),
)


@given(MOMENTS)
def test_a_time_is_written_as_datetime_writes_it(moment: float) -> None:
    (written,) = as_jsonl([line(first_attempt_at=moment)], [])
    expected = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert json.loads(written)["first_attempt_at"] == expected
