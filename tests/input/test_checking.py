"""Invariants of checking: every mistake of a row is reported, and nothing is reported twice."""

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksms.errors import InputError, UsageError
from bulksms.input import BadRow, Finding, InputOptions, Row, RowChecker, open_input
from bulksms.input.finding import shortened

GUID = "7a4267ce-d354-44e7-8bd6-c681f1284a41"
COLUMNS = ("guid", "name", "text")

odd = [
    GUID,
    "bob",
    "CN=Ann,DC=x",
    "",
    "  ",
    "Ann",
    "Zoë",
    "a\nb",
    "a\x00b",
    "a\ud800",
    "100%",
    "%user%",
    "((name))",
    "…",
]
long = ["x" * 161, "ж" * 71, "y" * 920, "z" * 33_000, "http://example.com/" + "x" * 150]
values = st.sampled_from(odd + long)
options = st.sampled_from(
    [
        InputOptions(),
        InputOptions(max_segments=1),
        InputOptions(gsm7_replace=True),
        InputOptions(text="Hello ((name)), ((text|none))"),
        InputOptions(text="Hello “((name))”", gsm7_replace=True),
        InputOptions(text="100% ((name)) ж"),
        InputOptions(text="for all"),
        InputOptions(text="((nonsense))", no_template=True),
    ]
)


@given(options, st.tuples(values, values, values))
def test_a_row_by_names_is_a_row_by_places(given_options: InputOptions, cells: tuple[str, str, str]) -> None:
    by_places = RowChecker(COLUMNS, given_options).check_cells(7, cells)
    checker = RowChecker(COLUMNS, given_options)
    assert checker.check_row(7, dict(zip(COLUMNS, cells, strict=True))) == by_places


@given(options, st.tuples(values, values, values))
def test_the_order_of_the_names_does_not_matter(given_options: InputOptions, cells: tuple[str, str, str]) -> None:
    pairs = list(zip(COLUMNS, cells, strict=True))
    checker = RowChecker(COLUMNS, given_options)
    one = checker.check_row(7, dict(pairs))
    other = checker.check_row(7, dict(reversed(pairs)))
    if isinstance(one, Row):
        assert one == other
    else:
        assert isinstance(other, BadRow)
        assert one.cells == other.cells
        assert set(one.findings) == set(other.findings)


@given(options, st.lists(values, min_size=1, max_size=5))
def test_a_good_row_can_be_sent_and_a_bad_row_can_be_kept(given_options: InputOptions, cells: list[str]) -> None:
    checked = RowChecker(COLUMNS, given_options).check_cells(7, cells)
    if isinstance(checked, Row):
        assert checked.text.strip()
        assert checked.recipient.given
        assert 1 <= checked.segments <= 255
        checked.text.encode()
    else:
        assert len(checked.cells) == len(COLUMNS)
        assert all(finding.code.startswith("E1") and finding.row == 7 for finding in checked.findings)
        "".join((*checked.cells, checked.text, checked.recipient, *checked.columns.values())).encode()
    found = checked.findings if isinstance(checked, BadRow) else checked.warnings
    assert all((finding.value or "").isprintable() and len(finding.value or "") < 700 for finding in found)


def test_all_mistakes_of_a_row_are_reported_at_once() -> None:
    checker = RowChecker(("guid", "name", "site"), InputOptions(text="((name)) ((site))"))
    bad = checker.check_cells(9, ["bob\x07", "", "  "])
    assert isinstance(bad, BadRow)
    assert [(finding.code, finding.column) for finding in bad.findings] == [
        ("E105", "guid"),
        ("E101", "guid"),
        ("E112", "name"),
        ("E112", "site"),
    ]
    assert bad.recipient == "bob\x07"


def test_what_is_known_of_a_bad_row_is_kept() -> None:
    bad = RowChecker(COLUMNS, InputOptions()).check_cells(3, ["bob", "Ann", "hello"])
    assert isinstance(bad, BadRow)
    assert (bad.row, bad.recipient, bad.text, bad.columns) == (3, "bob", "hello", {"name": "Ann"})
    assert bad.cells == ("bob", "Ann", "hello")


def test_cells_beyond_the_last_column_are_kept_in_it() -> None:
    checker = RowChecker(COLUMNS, InputOptions())
    checker.delimiter = ";"
    bad = checker.check_cells(3, ["bob", "Ann", "hello", "you", "all"])
    assert isinstance(bad, BadRow)
    assert bad.cells == ("bob", "Ann", "hello;you;all")


def test_a_row_with_other_names_is_reported_in_the_columns_of_the_input() -> None:
    bad = RowChecker(COLUMNS, InputOptions()).check_row(3, {"text": "hello", "dn": "bob", "extra": "x"})
    assert isinstance(bad, BadRow)
    assert bad.cells == ("", "", "hello")
    assert bad.recipient == "bob"


@pytest.mark.parametrize(
    ("text", "column"), [("Hello ((name))", "name"), ("((name)) …", None), ("((name)) ((site))", "site")]
)
def test_a_foreign_character_is_traced_to_its_column(text: str, column: str | None) -> None:
    checker = RowChecker(("guid", "name", "site"), InputOptions(text=text))
    row = checker.check_cells(2, [GUID, "Ann" if column == "site" else "Žofia", "Łódź"])
    assert isinstance(row, Row)
    assert row.encoding == "UCS-2"
    lines = [(finding.code, finding.column) for finding in (*checker.findings, *row.warnings)]
    assert lines == [("W204", column)]


def test_a_place_after_a_replacement_is_traced_to_its_column() -> None:
    checker = RowChecker(("guid", "name"), InputOptions(text="“…” ((name))", gsm7_replace=True))
    row = checker.check_cells(2, [GUID, "Ж"])
    assert isinstance(row, Row)
    assert row.text == '"..." Ж'
    assert [(finding.code, finding.column) for finding in row.warnings] == [("W204", "name")]
    assert checker.findings == [Finding("W208", "typographic characters replaced: 3; texts changed by it: 1")]


def test_what_the_template_itself_does_is_reported_once() -> None:
    checker = RowChecker(("guid", "name"), InputOptions(text="“((name))” %user% " + "x" * 920))
    for _ in range(3):
        row = checker.check_cells(2, [GUID, "Ann"])
        assert isinstance(row, Row)
        assert row.warnings == ()
    assert [finding.code for finding in checker.findings] == ["W204", "W205", "W206"]


def test_the_limit_of_segments_holds_for_each_row() -> None:
    checker = RowChecker(("guid", "name"), InputOptions(text="x" * 150 + "((name))", max_segments=1))
    assert isinstance(checker.check_cells(2, [GUID, "y" * 10]), Row)
    bad = checker.check_cells(3, [GUID, "y" * 11])
    assert isinstance(bad, BadRow)
    assert bad.findings[0].hint == "shorten it, or raise --max-segments"
    assert bad.text == "x" * 150 + "y" * 11


@pytest.mark.parametrize(
    ("columns", "given_options", "sentence", "hint"),
    [
        (("ObjectGUID", "text"), {}, "no column for the recipient", "--recipient-column ObjectGUID"),
        (("Recipeint", "text"), {}, "no column for the recipient", "--recipient-column Recipeint"),
        (("who", "text"), {}, "no column for the recipient", "directoryObject, recipient, dn, guid, sid"),
        (("guid", "body"), {}, "no column for the text", "--text"),
        (("guid", "body"), {"text_column": "boddy"}, "no column 'boddy'", "Did you mean body?"),
        (("guid", "text"), {"recipient_column": "quid"}, "no column 'quid'", "Did you mean guid?"),
        (("guid", "name"), {"text": "((nmae)) ((xyzzy))"}, r"\(\(nmae\)\), \(\(xyzzy\)\)", "Did you mean name?; its"),
        (("guid", ""), {"text": "x"}, "column 2 has no name", "Give each column a name."),
        (("guid", "a b", "A B"), {"text": "x"}, "columns 2 and 3 are both called", "its own name."),
        (("guid",), {"text": "x" * 40_000}, "takes 262 segments, 255 are allowed", "Shorten it."),
    ],
)
def test_columns_that_will_not_do_refuse_the_input(
    columns: tuple[str, ...], given_options: dict[str, Any], sentence: str, hint: str
) -> None:
    with pytest.raises(InputError, match=sentence) as refusal:
        RowChecker(columns, InputOptions(**given_options), name="people.csv")
    assert hint in (refusal.value.hint or "")


@pytest.mark.parametrize("text", ["Hello ((name)", "Hello \x00", "Hello \ud800"])
def test_a_text_that_is_no_template_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError):
        RowChecker(("guid", "name"), InputOptions(text=text))


def test_many_sets_of_columns_do_not_fill_the_memory() -> None:
    checker = RowChecker(("guid", "text"), InputOptions())
    for number in range(1000):
        assert isinstance(checker.check_row(2, {"guid": GUID, "text": "x", f"column {number}": ""}), Row)
    assert len(checker._layouts) < 500


def test_a_value_is_shown_short_and_printable() -> None:
    assert shortened("a" * 100) == "a" * 59 + "…"
    assert shortened("a\x00\ud800\u200b\n") == "a\\x00\\ud800\\u200b\\n"


SAMPLES = Path(__file__).parents[2] / "samples"


@pytest.mark.parametrize("text", [None, "outage.txt"])
def test_the_samples_are_all_good(text: str | None) -> None:
    template = None if text is None else (SAMPLES / text).read_text(encoding="utf-8")
    with open_input(SAMPLES / "outage.csv", InputOptions(text=template)) as opened:
        rows = list(opened)
    assert 30 <= len(rows) <= 60
    good = [row for row in rows if isinstance(row, Row)]
    assert len(good) == len(rows)
    assert {row.recipient.kind for row in good} == {"DN", "GUID", "SID"}
    assert len({(row.recipient.key, row.text) for row in good}) == len(rows) - 1
    with open_input(SAMPLES / "outage.jsonl", InputOptions(text=template)) as opened:
        assert all(isinstance(row, Row) for row in opened)


def test_the_bad_sample_has_every_kind_of_bad_row_a_small_csv_can_have() -> None:
    codes: set[str] = set()
    for text in (None, "Hello ((name))"):
        with open_input(SAMPLES / "bad-rows.csv", InputOptions(text=text)) as opened:
            codes |= {finding.code for row in opened if isinstance(row, BadRow) for finding in row.findings}
    assert codes == {"E101", "E102", "E103", "E104", "E105", "E111", "E112"}


@pytest.mark.parametrize("seed", range(3))
def test_rows_are_checked_independently(seed: int) -> None:
    """What is stated of a row does not depend on the rows before it."""
    chance = random.Random(seed)  # noqa: S311 - an order, nothing secret
    rows = [[GUID, "Zoë", "x"], ["bob", "Ann", "y"], [GUID, "", "z"], [GUID, "Ann", "%a%"], [GUID], [GUID, "Ann", "x"]]
    checker = RowChecker(COLUMNS, InputOptions(text="((name)): ((text))"))
    expected = [checker.check_cells(2, row) for row in rows]
    for index in chance.sample(range(len(rows)), len(rows)):
        assert checker.check_cells(2, rows[index]) == expected[index]
