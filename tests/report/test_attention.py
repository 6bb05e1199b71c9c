"""Attention: nobody who needs it is left out, nobody is listed twice, and every command is one that a shell takes."""

import shlex
from dataclasses import replace
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksms.cli import commands
from bulksms.ledger.reader import Line
from bulksms.message import UNFINISHED, Reason, State
from bulksms.report import attention as room
from bulksms.report.attention import KINDS, attention

LINE = Line(
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
    may_have_sent_twice=False,
    first_attempt_at=1.0,
    finished_at=2.0,
    latency_ms=3.0,
    encoding="GSM-7",
    segments=1,
    text="Hello",
    other_columns={},
)


def line(state: State, reason: Reason | None, *, twice: bool = False) -> Line:
    return replace(LINE, state=state, reason=reason, may_have_sent_twice=twice)


lines = st.lists(
    st.builds(line, st.sampled_from(State), st.none() | st.sampled_from(Reason), twice=st.booleans()), max_size=60
)
NOTHING_TO_DO = {State.ACCEPTED, State.CANCELLED, State.SKIPPED, State.SENDING}


@given(lines, st.booleans())
def test_whoever_needs_attention_is_in_one_group(told: list[Line], is_living: bool) -> None:
    groups, counts = attention(told, is_living=is_living)
    assert counts.total() == len(told)
    listed = [id(one) for group in groups for one in group.first]
    assert len(listed) == len(set(listed)) == sum(group.count for group in groups)
    for one in told:
        is_bad_row = one.state is State.SKIPPED and one.reason is Reason.BAD_ROW
        is_worked_on = is_living and one.state in UNFINISHED
        needed = (one.state not in NOTHING_TO_DO and not is_worked_on) or one.may_have_sent_twice or is_bad_row
        assert (id(one) in listed) == needed


def test_what_is_urgent_comes_first() -> None:
    told = [line(State.ACCEPTED, None, twice=True), line(State.QUEUED, None), line(State.UNKNOWN, Reason.CRASH)]
    groups, _ = attention(told)
    assert [group.first[0].state for group in groups] == [State.UNKNOWN, State.QUEUED, State.ACCEPTED]


def test_of_many_the_first_are_kept_and_all_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "KEPT", 2)
    told = [replace(line(State.FAILED, Reason.REFUSED), row=row) for row in range(2, 7)]
    ((group,), counts) = attention(iter(told))
    assert (group.count, [one.row for one in group.first], counts) == (5, [2, 3], {State.FAILED: 5})


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.title))
def test_every_command_is_one_that_there_is_and_takes_the_ledger_as_one_argument(kind: Any) -> None:
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
