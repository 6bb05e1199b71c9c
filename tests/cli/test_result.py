"""The end of a run, for a person: the headline, the equation, and commands that can be pasted."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksms.cli.screen.result import print_result, quoted, quoted_for_windows, say_next
from bulksms.message import State
from bulksms.report.next_steps import Step
from bulksms.report.summary import Summary

SUMMARY = Summary(
    ledger=Path("people.ledger.db"),
    run=1,
    input="people.csv",
    url="https://adaxes.example.com/restApi",
    fingerprint="ab" * 32,
    counts=dict.fromkeys(State, 0),
    bad_rows=0,
    may_have_sent_twice=0,
    stopped=None,
    elapsed_seconds=2.0,
    settled=100,
)


def summary(**counts: int) -> Summary:
    return replace(SUMMARY, counts={state: counts.get(state.value, 0) for state in State})


def test_a_next_step_stands_on_a_line_of_its_own_ready_to_paste(capsys: pytest.CaptureFixture[str]) -> None:
    say_next([Step("To see who is failed", ("report", "my people.db", "--only", "failed"))])
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "To see who is failed:"
    assert said[1] == f"  bulksms report {quoted('my people.db')} --only failed"


def test_the_headline_says_handed_over_and_never_delivered(capsys: pytest.CaptureFixture[str]) -> None:
    print_result(
        replace(summary(accepted=4, failed=1, skipped=2), may_have_sent_twice=1), [(State.FAILED, "refused", 1)]
    )
    said = capsys.readouterr().out
    assert said.startswith("Handed to Adaxes: 4 of 5  (people.ledger.db)\n")
    assert "refused 1" in said
    assert "7 = 4 accepted + 1 failed + 2 skipped" in said
    assert "1 may have been sent twice." in said
    assert "deliver" not in said.lower()


WINDOWS = [
    ("people.ledger.db", "people.ledger.db"),
    (r"C:\Users\ann\people.db", r"C:\Users\ann\people.db"),
    (r"C:\My files\people.db", r'"C:\My files\people.db"'),
    ("failed,unknown", '"failed,unknown"'),
    ("a&b.db", '"a&b.db"'),
    ("a;b.db", '"a;b.db"'),
    ("(1).db", '"(1).db"'),
    ("it's.db", '"it\'s.db"'),
    ("@people.db", '"@people.db"'),
    ("#1.db", '"#1.db"'),
    ("{a}.db", '"{a}.db"'),
    ("Jürgen.db", "Jürgen.db"),
    ("--only", "--only"),
]


@pytest.mark.parametrize(("argument", "written"), WINDOWS)
def test_cmd_and_powershell_read_one_argument(argument: str, written: str) -> None:
    assert quoted_for_windows(argument) == written


@given(st.text(alphabet=st.characters(exclude_characters='"$`%', exclude_categories=["C"]), min_size=1))
def test_whatever_those_shells_obey_stands_in_quotes(argument: str) -> None:
    written = quoted_for_windows(argument)
    assert written.strip('"') == argument
    if set(argument) & set(" ,;&|<>^()@#{}'*?!~"):
        assert written == f'"{argument}"'
