"""`bulksms report`: each option does what its help says, and none is ignored."""

import json
import os
import stat
from typing import TYPE_CHECKING

import pytest

from bulksms.ledger.reader import LedgerReader

if TYPE_CHECKING:
    from tests.cli.conftest import Desk

LEDGER = "people.ledger.db"


@pytest.fixture
def sent(desk: "Desk") -> "Desk":
    """A desk on which three were sent to; one was refused."""
    desk.server()
    people = desk.people(3)
    text = people.read_text(encoding="utf-8").replace("Person 1 ", "Person 1 [400]")
    people.write_text(text, encoding="utf-8")
    assert desk("send", people, "--yes", "--workers", "3").code == 1
    return desk


def test_html_is_one_page_in_a_file_of_ones_own(sent: "Desk") -> None:
    said = sent("report", LEDGER, "--format", "html", "-o", "report.html")
    assert (said.code, said.out, said.err) == (0, "", "")
    page = (sent.folder / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert page.endswith("</html>\n")
    for words in ("Person 0", "Person 1", "Person 2", "Outage 2.", "3 = ", "--workers 3"):
        assert words in page
    if os.name == "posix":
        assert stat.S_IMODE((sent.folder / "report.html").stat().st_mode) == 0o600


def test_html_goes_to_stdout_where_no_file_is_named(sent: "Desk") -> None:
    assert sent("report", LEDGER, "--format", "html").out.startswith("<!DOCTYPE html>")


def test_only_chooses_the_messages_of_a_page(sent: "Desk") -> None:
    page = sent("report", LEDGER, "--format", "html", "--only", "failed").out
    assert "Person 1" in page
    assert "Person 2" not in page


def test_runs_lists_who_ran_how(sent: "Desk") -> None:
    said = sent("report", LEDGER, "--runs")
    assert said.code == 0
    assert said.out.startswith("Run 1\n")
    assert "  confirmed by  --yes\n" in said.out
    assert "  options       --workers 3\n" in said.out


def test_runs_as_json_is_a_list(sent: "Desk") -> None:
    (run,) = json.loads(sent("report", LEDGER, "--runs", "--json").out)
    with LedgerReader(sent.folder / LEDGER) as reader:
        (kept,) = reader.runs()
    assert (run["run"], run["url"], run["user"], run["host"]) == (1, kept.url, kept.user, kept.host)
    assert (run["options"], run["settled"], run["stopped"]) == ({"workers": 3}, 3, None)
    assert sent("report", LEDGER, "--runs", "--json", "-o", "runs.json").out == ""
    assert json.loads((sent.folder / "runs.json").read_text(encoding="utf-8")) == [run]


def test_a_plan_without_runs_is_an_empty_list(desk: "Desk") -> None:
    desk("plan", desk.people(1))
    assert json.loads(desk("report", LEDGER, "--runs", "--json").out) == []


@pytest.mark.parametrize(
    "options", [("--json",), ("--runs", "--format", "csv"), ("--runs", "--only", "failed"), ("--format", "pdf")]
)
def test_an_option_that_could_do_nothing_is_refused(desk: "Desk", options: tuple[str, ...]) -> None:
    desk("plan", desk.people(1))
    said = desk("report", LEDGER, *options)
    assert (said.code, said.out) == (2, "")
    assert "hint:" in said.err


@pytest.mark.parametrize("form", ["table", "csv", "jsonl", "html"])
def test_a_report_never_takes_the_place_of_its_ledger(desk: "Desk", form: str) -> None:
    desk("plan", desk.people(1))
    os.link(desk.folder / LEDGER, desk.folder / "the-same")
    before = (desk.folder / LEDGER).read_bytes()
    for output in (LEDGER, f"./{LEDGER}", "the-same"):
        said = desk("report", LEDGER, "--format", form, "-o", output)
        assert said.code == 2
        assert "is the ledger itself" in said.err
    assert (desk.folder / LEDGER).read_bytes() == before
