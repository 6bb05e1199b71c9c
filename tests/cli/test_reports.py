"""`bulksms report`: each option does what its help says, and none is ignored."""

import json
import os
import stat
from typing import TYPE_CHECKING

import pytest

from bulksms.ledger import open_ledger
from tests.platforms import on_terminals

if TYPE_CHECKING:
    from tests.cli.harness import CliHarness
    from tests.harness import TerminalFactory

LEDGER = "people.ledger.db"


@pytest.fixture
def sent(cli: "CliHarness") -> "CliHarness":
    """The command line after a run over three; one was refused."""
    cli.server()
    people = cli.people(3)
    text = people.read_text(encoding="utf-8").replace("Person 1 ", "Person 1 [400]")
    people.write_text(text, encoding="utf-8")
    assert cli("send", people, "--yes", "--workers", "3").code == 1
    return cli


def test_html_is_one_page_in_a_file_of_ones_own(sent: "CliHarness") -> None:
    result = sent("report", LEDGER, "--format", "html", "-o", "report.html")
    assert (result.code, result.out, result.err) == (0, "", "Written: report.html.\n")
    page = (sent.folder / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert page.endswith("</html>\n")
    for words in ("Person 0", "Person 1", "Person 2", "Outage 2.", "3 = ", "--workers 3"):
        assert words in page
    if os.name == "posix":
        assert stat.S_IMODE((sent.folder / "report.html").stat().st_mode) == 0o600


def test_html_goes_to_stdout_where_no_file_is_named(sent: "CliHarness") -> None:
    assert sent("report", LEDGER, "--format", "html").out.startswith("<!DOCTYPE html>")


def test_only_chooses_the_messages_of_a_page(sent: "CliHarness") -> None:
    page = sent("report", LEDGER, "--format", "html", "--only", "failed").out
    assert "Person 1" in page
    assert "Person 2" not in page


def test_runs_lists_who_ran_how(sent: "CliHarness") -> None:
    result = sent("report", LEDGER, "--runs")
    assert result.code == 0
    assert result.out.startswith("Run 1\n")
    assert "  confirmed by  --yes\n" in result.out
    assert "  options       --workers 3\n" in result.out


def test_runs_as_json_has_every_run(sent: "CliHarness") -> None:
    (run,) = sent("report", LEDGER, "--runs", "--json").json["runs"]
    with open_ledger(sent.folder / LEDGER) as reader:
        (kept,) = reader.runs()
    assert (run["run"], run["url"], run["user"], run["host"]) == (1, kept.url, kept.user, kept.host)
    assert (run["options"], run["settled"], run["stopped"]) == ({"workers": 3}, 3, None)
    assert sent("report", LEDGER, "--runs", "--json", "-o", "runs.json").out == ""
    assert json.loads((sent.folder / "runs.json").read_text(encoding="utf-8"))["runs"] == [run]


def test_a_plan_without_runs_is_an_empty_list(cli: "CliHarness") -> None:
    cli("plan", cli.people(1))
    assert cli("report", LEDGER, "--runs", "--json").json["runs"] == []


@pytest.mark.parametrize(
    "options", [("--json",), ("--runs", "--format", "csv"), ("--runs", "--only", "failed"), ("--format", "pdf")]
)
def test_an_option_that_could_do_nothing_is_refused(cli: "CliHarness", options: tuple[str, ...]) -> None:
    cli("plan", cli.people(1))
    result = cli("report", LEDGER, *options)
    assert (result.code, result.out) == (2, "")
    assert "hint:" in result.err


@pytest.mark.parametrize("form", ["table", "csv", "jsonl", "html"])
def test_a_report_never_takes_the_place_of_its_ledger(cli: "CliHarness", form: str) -> None:
    cli("plan", cli.people(1))
    os.link(cli.folder / LEDGER, cli.folder / "the-same")
    before = (cli.folder / LEDGER).read_bytes()
    for output in (LEDGER, f"./{LEDGER}", "the-same"):
        result = cli("report", LEDGER, "--format", form, "-o", output)
        assert result.code == 2
        assert "is the ledger itself" in result.err
    assert (cli.folder / LEDGER).read_bytes() == before


@pytest.fixture
def long(cli: "CliHarness") -> "CliHarness":
    """The command line after a plan for ninety people whose names and texts are longer than a line."""
    rows = [f'"CN=Person {number:02} {"x" * 90},DC=example,DC=com",Outage {number}.' for number in range(90)]
    cli.write("people.csv", "\n".join(["recipient,text", *rows, ""]))
    assert cli("plan", "people.csv").code == 0
    return cli


@pytest.mark.usefixtures("long")
@on_terminals
@pytest.mark.parametrize("columns", [80, 120])
def test_a_long_table_goes_through_the_pager_and_fits_the_screen(terminal: "TerminalFactory", columns: int) -> None:
    screen = terminal("report", LEDGER, PAGER="cat -n", columns=columns)
    assert screen.end() == 0
    shown = screen.lines
    assert shown[0].split()[:3] == ["1", "row", "name"], "the pager numbers the lines"
    assert max(len(line.partition("\t")[2].rstrip()) for line in shown) <= columns
    screen = terminal("report", LEDGER, "--no-pager", columns=columns)
    assert screen.end() == 0
    assert screen.shown.split()[0] == "row"


@pytest.mark.usefixtures("sent")
@on_terminals
def test_a_terminal_shows_the_causes_first(terminal: "TerminalFactory") -> None:
    screen = terminal("report", LEDGER)
    assert screen.end() == 0
    first, empty, header, *_ = screen.lines
    assert first.split()[:3] == ["1", "failed", "(rejected):"]
    assert (empty, header.split()[0]) == ("", "row")


def test_a_pipe_gets_the_whole_identifier_in_one_line(long: "CliHarness") -> None:
    lines = long("report", LEDGER, "--columns", "row,recipient,status", "--sort", "-row").out.splitlines()
    assert lines[1].split(maxsplit=1) == ["91", f"CN=Person 89 {'x' * 90},DC=example,DC=com  queued"]
    assert len(lines) == 91


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--columns", "statsu"), "did you mean status"),
        (("--columns", ","), "name at least one column"),
        (("--sort", "nothing"), "no column 'nothing'"),
        (("--format", "csv", "--wide"), "lay out the table"),
    ],
)
def test_a_layout_that_cannot_be_is_refused(cli: "CliHarness", options: tuple[str, ...], words: str) -> None:
    cli("plan", cli.people(1))
    refused = cli("report", LEDGER, *options)
    assert (refused.code, refused.out) == (2, "")
    assert words in refused.err


@pytest.mark.parametrize("form", ["table", "csv", "jsonl", "html"])
def test_a_file_that_is_there_is_replaced_only_by_force(form: str, sent: "CliHarness") -> None:
    """It may hold the outcomes that somebody entered by hand."""
    file = sent.write("edited.csv", "row,outcome\n2,accepted\n")
    refused = sent("report", LEDGER, "--format", form, "-o", "edited.csv")
    assert (refused.code, refused.out) == (2, "")
    assert "edited.csv is there already." in refused.err
    assert "--force" in refused.err
    assert file.read_text(encoding="utf-8") == "row,outcome\n2,accepted\n"
    written = sent("report", LEDGER, "--format", form, "-o", "edited.csv", "--force")
    assert written.code == 0
    assert "Written: edited.csv." in written.err
    assert "outcome" not in file.read_text(encoding="utf-8").splitlines()[0]


def test_rejects_are_written_over_nothing_and_counted(cli: "CliHarness") -> None:
    cli.write("people.csv", 'dn,text\njsmith,Hello\n"CN=A,DC=x",Hello\n')
    file = cli.write("bad.csv", "edited by hand")
    assert "bad.csv is there already." in cli("plan", "people.csv", "--rejects", "bad.csv").err
    assert file.read_text(encoding="utf-8") == "edited by hand"
    result = cli("plan", "people.csv", "--rejects", "bad.csv", "--force")
    assert result.code == 3
    assert "Written: 1 bad row to bad.csv." in result.err
    assert "jsmith" in file.read_text(encoding="utf-8")
