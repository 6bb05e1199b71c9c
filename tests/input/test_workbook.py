"""Invariants of workbooks: a cell reads as its spreadsheet shows it, and a missing extra is named."""

import builtins
import datetime as dt
import io
import sys
from pathlib import Path
from typing import Any

import pytest

from bulksms.errors import InputError, UsageError
from bulksms.input import BadRow, InputOptions, Row, open_input
from bulksms.input.xlsx_rows import Value, _shown, shown_number

CORPUS = Path(__file__).parent / "corpus"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("text", "text"),
        ("", ""),
        (3.0, "3"),
        (-7.0, "-7"),
        (1.5, "1.5"),
        (1e300, "1e+300"),
        (5, "5"),
        (True, "TRUE"),
        (dt.date(2026, 3, 1), "2026-03-01"),
        (dt.datetime(2026, 3, 1), "2026-03-01"),  # noqa: DTZ001 - a workbook knows no time zones
        (dt.datetime(2026, 3, 1, 2, 40), "2026-03-01 02:40:00"),  # noqa: DTZ001 - as above
        (dt.time(2, 40), "02:40:00"),
        (dt.timedelta(hours=30), "1 day, 6:00:00"),
    ],
)
def test_a_cell_reads_as_its_spreadsheet_shows_it(value: Value, shown: str) -> None:
    assert _shown(value) == shown


def test_numbers_and_dates_come_into_the_text_as_shown() -> None:
    pytest.importorskip("python_calamine")
    options = InputOptions(text="((floor)), ((share)), ((day)), ((at)), ((ok))")
    with open_input(CORPUS / "values.xlsx", options) as opened:
        row = next(iter(opened))
    assert isinstance(row, Row)
    assert row.text == "3, 1.5, 2025-12-09, 2025-12-09 12:00:00, TRUE"


def test_rows_have_the_numbers_of_the_sheet() -> None:
    pytest.importorskip("python_calamine")
    with open_input(CORPUS / "starts-lower.xlsx", InputOptions()) as opened:
        assert [(row.row, isinstance(row, BadRow)) for row in opened] == [(4, False), (6, True)]
        assert opened.position == 0
        assert opened.delimiter is None


@pytest.mark.parametrize("cut", range(0, 1500, 37))
def test_a_damaged_workbook_is_refused_or_read(cut: int) -> None:
    pytest.importorskip("python_calamine")
    data = bytearray((CORPUS / "two-sheets-chosen.xlsx").read_bytes())
    data[cut] ^= 0xFF
    try:
        rows = list(open_input(io.BytesIO(data), InputOptions(format="xlsx", sheet="People")))
    except InputError as refusal:
        assert str(refusal).isprintable()  # noqa: PT017 - either way is right, in its own way
    else:
        assert len(rows) <= 2


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "python_calamine":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.delitem(sys.modules, "python_calamine", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match=r"\[excel\]") as refusal:
        open_input(io.BytesIO(b"PK"), InputOptions(format="xlsx"))
    assert "pip install 'adaxes-bulksms[excel]'" in (refusal.value.hint or "")


def test_a_workbook_with_a_password_is_reported_so(monkeypatch: pytest.MonkeyPatch) -> None:
    calamine = pytest.importorskip("python_calamine")

    class Locked:
        @staticmethod
        def from_filelike(_: object) -> None:
            raise calamine.PasswordError

    monkeypatch.setattr(calamine, "CalamineWorkbook", Locked)
    with pytest.raises(InputError, match="protected by a password"):
        open_input(io.BytesIO(b"PK"), InputOptions(format="xlsx"))


@pytest.mark.parametrize(
    ("value", "code", "shown"),
    [
        (0.25, "0%", "25%"),
        (0.255, "0%", "26%"),
        (0.25, "0\\ %", "25 %"),
        (0.255, "0.0%", None),
        (1234.5, '#,##0.00\\ "€"', None),
        (1234.5, "0.00", None),
        (7, "00000", "00007"),
        (7, '"Hall" 0', "Hall 7"),
        (-7, "0", "-7"),
        (-7, "0;[Red]-0", "-7"),
        (2.5, "0", "3"),
        (12, "# ?/?", None),
        (1234567890, "General", "1234567890"),
        (0.1 + 0.2, "General", "0.3"),
        (123456789012345678, "General", None),
        (123456789012345678, "0", None),
    ],
)
def test_a_number_is_shown_as_in_the_sheet_or_not_at_all(value: float, code: str, shown: str | None) -> None:
    assert shown_number(value, code) == shown


def test_hidden_rows_can_be_skipped_or_included() -> None:
    pytest.importorskip("python_calamine")
    with open_input(CORPUS / "hidden-rows.xlsx") as opened:
        (first, hidden, bad) = opened
    assert isinstance(first, Row)
    assert isinstance(hidden, BadRow)
    assert "--include-hidden-rows" in (hidden.findings[0].hint or "")
    assert [finding.code for finding in bad.findings] == ["E101", "E122"]  # type: ignore[union-attr]
