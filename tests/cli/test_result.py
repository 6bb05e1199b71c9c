"""The end of a run, for a person: the headline, the equation, and commands that can be pasted."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksms.cli.result import print_result, quoted_for_windows, suggested
from bulksms.message import State
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


NEXT = [
    ({"accepted": 5}, []),
    ({"accepted": 5, "skipped": 1}, []),
    ({"accepted": 5, "queued": 2}, ["resume people.ledger.db"]),
    ({"processing": 2}, ["resume people.ledger.db", "report people.ledger.db --only processing"]),
    ({"accepted": 5, "unknown": 1}, ["report people.ledger.db --only unknown"]),
    ({"unknown": 1, "failed": 2}, ["report people.ledger.db --only unknown,failed"]),
]


@pytest.mark.parametrize(("counts", "commands"), NEXT)
def test_the_next_sensible_commands(counts: dict[str, int], commands: list[str]) -> None:
    assert [shlex.join(arguments) for _, arguments in suggested(summary(**counts))] == commands


def test_a_rehearsal_cannot_be_continued() -> None:
    assert suggested(summary(queued=3), is_rehearsal=True) == []


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
