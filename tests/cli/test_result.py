"""The end of a run, for a person: the headline, the equation, and commands that can be pasted."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksms.cli.ui.console import as_called, program, quoted
from bulksms.cli.ui.result import print_result, say_next
from bulksms.model.message import State
from bulksms.report.summary import Step, Summary
from tests.platforms import with_posix_files

if TYPE_CHECKING:
    from tests.cli.harness import CliHarness

SUMMARY = Summary(
    ledger=Path("people.ledger.db"),
    run=1,
    input="people.csv",
    url="https://adaxes.example.com/restApi",
    fingerprint="ab" * 32,
    counts=dict.fromkeys(State, 0),
    bad_rows=0,
    possible_duplicate=0,
    stopped=None,
    elapsed_seconds=2.0,
    settled=100,
)


def summary(**counts: int) -> Summary:
    return replace(SUMMARY, counts={state: counts.get(state.value, 0) for state in State})


def test_a_next_step_is_on_a_line_of_its_own_ready_to_paste(capsys: pytest.CaptureFixture[str]) -> None:
    say_next([Step("To see who is failed", ("report", "my people.db", "--only", "failed"))])
    printed = capsys.readouterr().err.splitlines()
    assert printed[0] == "To see who is failed:"
    assert printed[1] == f"  bulksms report {quoted('my people.db')} --only failed"


def test_the_headline_says_handed_over_and_never_delivered(capsys: pytest.CaptureFixture[str]) -> None:
    reasons = ((State.FAILED, "rejected", 1),)
    print_result(replace(summary(accepted=4, failed=1, skipped=2), possible_duplicate=1, reasons=reasons))
    printed = capsys.readouterr().out
    assert printed.startswith("Handed to Adaxes: 4 of 5  (people.ledger.db)\n")
    assert "rejected 1" in printed
    assert "7 = 4 accepted + 1 failed + 2 skipped" in printed
    assert "1 may have been sent twice." in printed
    assert "deliver" not in printed.lower()


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
def test_cmd_reads_one_argument(argument: str, written: str) -> None:
    assert quoted(argument, "cmd") == written


POWERSHELL = [
    ("people.ledger.db", "people.ledger.db"),
    (r"C:\My files\people.db", r"'C:\My files\people.db'"),
    ("it's.db", "'it''s.db'"),
    ("it\u2019s.db", "'it\u2019\u2019s.db'"),
    ("$HOME`n.db", "'$HOME`n.db'"),
    ("a,b", "'a,b'"),
]


@pytest.mark.parametrize(("argument", "written"), POWERSHELL)
def test_powershell_reads_one_argument(argument: str, written: str) -> None:
    assert quoted(argument, "powershell") == written


@given(st.text(alphabet=st.characters(exclude_categories=["C"]), min_size=1))
def test_whatever_a_shell_obeys_is_in_quotes(argument: str) -> None:
    if set(argument) & set(" ,;&|<>^()@#{}'*?!~$`"):
        assert quoted(argument, "cmd") == f'"{argument}"'
        assert quoted(argument, "powershell")[0] == quoted(argument, "powershell")[-1] == "'"


@with_posix_files
def test_the_program_is_named_as_it_was_called(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = tmp_path / "bin" / "bulksms"
    found.parent.mkdir()
    found.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(found.parent))
    calls = [
        ("bulksms", "bulksms"),
        (str(found), "bulksms"),
        (".venv/bin/bulksms", ".venv/bin/bulksms"),
        ("my env/bin/bulksms", "'my env/bin/bulksms'"),
        ("/usr/lib/python3/site-packages/bulksms/__main__.py", "py3 -m bulksms"),
        ("/usr/bin/pytest", "bulksms"),
    ]
    monkeypatch.setattr(sys, "orig_argv", ["py3", "-m", "bulksms"])
    for called, written in calls:
        monkeypatch.setattr(sys, "argv", [called, "status"])
        assert program("posix") == written
    monkeypatch.setattr(sys, "argv", [r"my env/bulksms.exe"])
    assert program("powershell") == "& 'my env/bulksms.exe'"
    assert program("cmd") == '"my env/bulksms.exe"'
    assert as_called("Try `bulksms status x`.") == "Try `'my env/bulksms.exe' status x`."


def test_a_rehearsal_says_so_first_and_that_nothing_was_sent(cli: "CliHarness") -> None:
    cli.people(12)
    result = cli("send", "people.csv", "--sandbox", "--yes")
    first, second, *_ = result.out.splitlines()
    assert first == "REHEARSAL: nothing was sent to anybody."
    assert second.startswith("Accepted by the simulator: ")
    everything = result.out + result.err + cli("status", "people.sandbox.db").out
    assert "deliver" not in everything
    assert "Handed to Adaxes" not in everything
    assert cli("status", "people.sandbox.db").out.startswith("REHEARSAL: ")


def test_an_unknown_outcome_of_a_rehearsal_is_reported_to_be_on_purpose(cli: "CliHarness") -> None:
    cli.people(2, mark="[drop_after]")
    result = cli("send", "people.csv", "--sandbox", "--yes")
    assert result.code == 4
    assert "The simulator lost answers on purpose" in result.err
