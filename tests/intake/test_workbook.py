"""Laws of workbooks: a cell reads as its spreadsheet shows it, and a missing extra is told by its name."""

import builtins
import datetime as dt
import io
import sys
from pathlib import Path
from typing import Any

import pytest

from bulksms.errors import InputRefused, UsageError
from bulksms.intake import BadRow, InputOptions, Row, open_input
from bulksms.intake.workbook import Value, _shown

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
    except InputRefused as refusal:
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


def test_a_workbook_with_a_password_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    calamine = pytest.importorskip("python_calamine")

    class Locked:
        @staticmethod
        def from_filelike(_: object) -> None:
            raise calamine.PasswordError

    monkeypatch.setattr(calamine, "CalamineWorkbook", Locked)
    with pytest.raises(InputRefused, match="protected by a password"):
        open_input(io.BytesIO(b"PK"), InputOptions(format="xlsx"))
