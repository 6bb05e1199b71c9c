"""A report's defused cells read back as they were."""

from hypothesis import given
from hypothesis import strategies as st

from bulksms.model.defused_cell import FORMULA_SIGNS, REPORT_COLUMNS, defused, is_report, restored
from bulksms.report.rows import COLUMNS


@given(st.text(st.sampled_from("'=+-@\t\ra "), max_size=6) | st.text(max_size=6))
def test_a_defused_cell_is_no_formula_and_is_restored_as_it_was(cell: str) -> None:
    assert not defused(cell).startswith(FORMULA_SIGNS)
    assert restored(defused(cell)) == cell


def test_what_is_no_formula_stays_as_it_is() -> None:
    for cell in ("", "'", "'a", "50%", "a=b", "''"):
        assert defused(cell) == restored(cell) == cell


def test_a_report_is_recognised_by_its_header() -> None:
    assert COLUMNS[: len(REPORT_COLUMNS)] == REPORT_COLUMNS
    assert is_report((*COLUMNS, "name"))
    assert not is_report(("recipient", "text"))
    assert not is_report(COLUMNS[1:])
