"""Triage: no message that needs a person is left out or listed twice, and a shell takes every command."""

import shlex
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksms.cli.app import commands
from bulksms.ledger import MessageRecord
from bulksms.model.message import UNFINISHED, Reason, State
from bulksms.report import triage as module
from bulksms.report.triage import KINDS, Reached, triage, unreached

LINE = MessageRecord(
    row=2,
    recipient="CN=Anna,DC=x",
    state=State.ACCEPTED,
    reason=None,
    attempts=1,
    http_status=200,
    result_type=0,
    error_code=None,
    error=None,
    warnings=(),
    object_dn=None,
    operation_id=None,
    possible_duplicate=False,
    first_attempt_at=1.0,
    finished_at=2.0,
    latency_ms=3.0,
    encoding="GSM-7",
    segments=1,
    text="Hello",
    other_columns={},
)


def line(state: State, reason: Reason | None, *, twice: bool = False) -> MessageRecord:
    return LINE._replace(state=state, reason=reason, possible_duplicate=twice)


lines = st.lists(
    st.builds(line, st.sampled_from(State), st.none() | st.sampled_from(Reason), twice=st.booleans()), max_size=60
)
NOTHING_TO_DO = {State.ACCEPTED, State.CANCELLED, State.SKIPPED, State.SENDING}


@given(lines, st.booleans())
def test_a_message_that_needs_a_person_is_in_exactly_one_group(records: list[MessageRecord], is_living: bool) -> None:
    groups, counts = triage(records, is_living=is_living)
    assert counts.total() == len(records)
    listed = [id(one) for group in groups for one in group.first]
    assert len(listed) == len(set(listed)) == sum(group.count for group in groups)
    for one in records:
        is_bad_row = one.state is State.SKIPPED and one.reason is Reason.BAD_ROW
        is_worked_on = is_living and one.state in UNFINISHED
        needed = (one.state not in NOTHING_TO_DO and not is_worked_on) or one.possible_duplicate or is_bad_row
        assert (id(one) in listed) == needed


def test_the_most_urgent_group_comes_first() -> None:
    records = [line(State.ACCEPTED, None, twice=True), line(State.QUEUED, None), line(State.UNKNOWN, Reason.CRASH)]
    groups, _ = triage(records)
    assert [group.first[0].state for group in groups] == [State.UNKNOWN, State.QUEUED, State.ACCEPTED]


def test_a_long_group_keeps_the_first_messages_and_counts_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 2)
    records = [line(State.FAILED, Reason.REJECTED)._replace(row=row) for row in range(2, 7)]
    ((group,), counts) = triage(iter(records))
    assert (group.count, [one.row for one in group.first], counts) == (5, [2, 3], {State.FAILED: 5})


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.title))
def test_every_command_exists_and_takes_the_ledger_as_one_argument(kind: Any) -> None:
    for advice in kind.advice(shlex.quote("my people.ledger.db"), 7):
        assert advice.sentence
        if advice.command is not None:
            program, name, *rest = shlex.split(advice.command)
            assert program == "bulksms"
            assert "my people.ledger.db" in rest
            command = commands.get_command(click.Context(commands), name)
            assert command is not None
            command.make_context(name, rest)  # raises for an option or a value that there is not


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.only], ids=lambda kind: str(kind.title))
def test_a_group_is_named_by_a_state_that_report_knows(kind: Any) -> None:
    assert any(kind.belongs(line(State(kind.only), reason)) for reason in Reason)


def test_people_to_reach_by_other_means_are_grouped_by_cause_with_the_certain_ones_first() -> None:
    records = [
        line(State.ACCEPTED, None, twice=True),
        line(State.UNKNOWN, Reason.NO_ANSWER),
        line(State.FAILED, Reason.REJECTED)._replace(row=3, error="CN=Anna,DC=x has no mobile number (4711)."),
        line(State.EXPIRED, Reason.DEADLINE),
        line(State.FAILED, Reason.REJECTED)._replace(row=5, error="CN=Anna,DC=x has no mobile number (4712)."),
        line(State.CANCELLED, Reason.CANCELLED),
    ]
    groups, _ = triage(records)
    assert [(each.reached, each.cause, [record.row for record in each.records]) for each in unreached(groups)] == [
        (Reached.NO, "… has no mobile number …", [3, 5]),
        (Reached.NO, "the deadline passed first", [2]),
        (Reached.MAYBE, "the request left, and no answer came back", [2]),
    ]


@given(lines)
def test_everybody_without_the_message_is_listed_once(records: list[MessageRecord]) -> None:
    groups, _ = triage(records)
    listed = [id(record) for each in unreached(groups) for record in each.records]
    has_it = {State.ACCEPTED, State.CANCELLED, State.SENDING}
    expected = [
        id(one)
        for one in records
        if one.state not in has_it and (one.state is not State.SKIPPED or one.reason is Reason.BAD_ROW)
    ]
    assert sorted(listed) == sorted(expected)
