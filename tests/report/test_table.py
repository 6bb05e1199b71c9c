"""The table: fitted on a terminal, whole in a pipe, in the columns and the order that are asked for."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksms.errors import UsageError
from bulksms.ledger import MessageRecord, OutcomeGroup
from bulksms.model.message import Reason, State
from bulksms.report.rows import CAUSES, TableFormat, as_causes, as_table
from bulksms.report.text import columns_of
from tests.report.test_report_rows import HOSTILE
from tests.report.test_triage import LINE

LONG = "CN=" + "x" * 90 + ",OU=Staff,DC=example,DC=com"


def table(*records: MessageRecord, columns: tuple[str, ...] = (), **layout: Any) -> list[str]:
    return [line.removesuffix("\n") for line in as_table(records, columns, TableFormat(**layout))]


def cells(line: str) -> list[str]:
    return line.split()


@pytest.mark.parametrize("text", [*HOSTILE, "\x1b[2J\x07", "\x00"])
def test_each_message_is_one_printable_line(text: str) -> None:
    header, row = table(LINE._replace(state=State.FAILED, recipient=text, error=text, warnings=(text,)))
    assert cells(header) == ["row", "name", "status", "reason", "attempts", "answer"]
    assert row.isprintable()


def test_the_name_comes_before_what_became_of_the_message() -> None:
    record = LINE._replace(
        state=State.FAILED, reason="rejected", error="No\n number.", warnings=("late",), possible_duplicate=True
    )
    _, row = table(record)
    assert row.split("  ")[-1] == "No number.; late; may have been sent twice"
    assert cells(row)[:5] == ["2", "Anna", "failed", "rejected", "1"]
    _, row = table(record._replace(other_columns={"Vorname": "Änne"}), columns=("Vorname",))
    assert cells(row)[1] == "Änne"


def test_without_a_terminal_nothing_is_cut_or_wrapped() -> None:
    record = LINE._replace(recipient=LONG, error="word " * 60)
    _, row = table(record)
    assert "x" * 90 in row
    assert row.endswith(" ".join(["word"] * 60))
    assert list(as_table([record], (), TableFormat(columns=("row", "recipient"))))[1] == f"  2  {LONG}\n"


@given(
    width=st.sampled_from([80, 120]) | st.integers(40, 200),
    error=st.text(st.characters(categories=("L", "Zs")), max_size=200),
    name=st.text(st.characters(categories=["L"]), max_size=90),
)
def test_no_line_is_wider_than_the_terminal(width: int, error: str, name: str) -> None:
    records = [LINE._replace(error=error, recipient=f"CN={name}", reason="attempts_exhausted"), LINE]
    assert max(map(columns_of, table(*records, width=width))) <= width


def test_what_does_not_fit_is_below_its_message_and_indented() -> None:
    error = "The directory object was not found anywhere below the base of the search."
    _, first, second, _ = table(LINE._replace(state=State.FAILED, reason="rejected", error=error), width=80)
    assert cells(first) == ["2", "Anna", "failed", "rejected", "1"]
    assert second == " " * 9 + error[: len(second) - 9]


def test_wide_lines_are_as_long_as_they_are() -> None:
    assert len(table(LINE._replace(error="word " * 60), width=80, is_wide=True)) == 2


def test_the_columns_are_those_that_are_named_in_their_order_and_whatever_their_case() -> None:
    record = LINE._replace(other_columns={"Mobile": "+49 1"})
    layout = TableFormat(columns=("STATUS", "mobile", "row", "latency_ms"))
    header, row = as_table([record], ("Mobile",), layout)
    assert cells(header) == ["status", "Mobile", "row", "latency_ms"]
    assert cells(row) == ["accepted", "+49", "1", "2", "3.0"]


def test_a_column_that_does_not_exist_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean status") as refused:
        list(as_table([LINE], (), TableFormat(columns=("statsu",))))
    assert "answer, attempts" in (refused.value.hint or "")
    with pytest.raises(UsageError, match="no column 'zzz'"):
        list(as_table([LINE], (), TableFormat(sort="zzz")))


def test_a_table_is_sorted_by_a_column_in_either_direction_with_empty_ones_last() -> None:
    records = [LINE._replace(row=row, latency_ms=latency) for row, latency in ((2, 30.0), (3, None), (4, 4.0))]
    for sort, rows in (("latency_ms", "423"), ("-latency_ms", "243"), ("row", "234"), ("-ROW", "432")):
        assert [cells(line)[0] for line in table(*records, sort=sort)[1:]] == list(rows)


def test_causes_are_counted_in_the_servers_words_or_those_of_the_reason() -> None:
    def group(state: State, reason: Reason | None, words: str | None, messages: int) -> OutcomeGroup:
        return OutcomeGroup(state, reason, None, None, words, (), messages, 2)

    groups = [
        group(State.ACCEPTED, None, None, 2_000),
        group(State.FAILED, Reason.REJECTED, "No number.", 1_200),
        group(State.UNKNOWN, Reason.CRASH, None, 3),
    ]
    assert list(as_causes(groups, lambda group: group.state is not State.ACCEPTED)) == [
        "  1,200 failed (rejected): No number.\n",
        "      3 unknown (crash): the run died while the request was in flight\n",
        "\n",
    ]
    many = [group(State.FAILED, None, f"words {number}", 1) for number in range(CAUSES + 3)]
    assert list(as_causes(many, lambda _: True))[-2] == "      3 for 3 other causes\n"
    assert list(as_causes([], lambda _: True)) == []
