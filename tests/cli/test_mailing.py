"""The mailing file: reviewed by day, sent by night, with the options' own names, checks and messages."""

import os
import time
from typing import TYPE_CHECKING

import pytest

from bulksms.cli.options.commands import SendOptions
from bulksms.cli.options.mailing import CREDENTIALS, EACH_TIME, TEMPLATE, read_mailing
from bulksms.errors import UsageError
from bulksms.ledger import open_ledger

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.harness import CliHarness

NAME = "vpn-down.toml"
LEDGER = "vpn-down.ledger.db"
GIVEN = ("--set", "until=18:00", "--set", "next=16:00")


@pytest.fixture
def alert(cli: "CliHarness") -> "CliHarness":
    """The command line beside the mailing that `new` writes, with three people."""
    assert cli("new", NAME).code == 0
    cli.write("staff.csv", "recipient,name\n" + "".join(f'"CN=P{n},DC=x",P{n}\n' for n in range(3)))
    return cli


def test_new_writes_a_file_that_works_and_never_overwrites(alert: "CliHarness") -> None:
    assert read_mailing(alert.folder / NAME, SendOptions).values == {"until": "", "next": ""}
    again = alert("new", NAME)
    assert again.code == 2
    assert "exists already" in again.err
    assert (alert.folder / NAME).read_text(encoding="utf-8") == TEMPLATE.format(name=NAME)
    assert "Let it end in .toml: alert.toml" in alert("new", "alert.txt").err


def test_a_mailing_is_sent_with_its_safety_and_the_values_of_the_night(alert: "CliHarness") -> None:
    server = alert.server()
    assert alert("send", NAME, *GIVEN, "--yes").code == 0
    assert {entry.text for entry in server.journal.received} == {"The VPN is down until 18:00. Next news at 16:00."}
    with open_ledger(alert.folder / LEDGER) as reader:
        (run,) = reader.runs()
        assert reader.plan().input == "staff.csv"
    assert run.settings["canary"] == 3
    assert run.settings["deadline"]["after"] == 1_800.0


def test_what_is_typed_wins_over_the_file_and_the_file_over_the_environment(alert: "CliHarness") -> None:
    alert.server()
    alert.export("BULKSMS_CANARY", "2")
    alert("send", NAME, *GIVEN, "--yes", "--set", "next=17:00", "--deadline", "10m")
    with open_ledger(alert.folder / LEDGER) as reader:
        (run,) = reader.runs()
        assert reader.statistics().one_text() == "The VPN is down until 18:00. Next news at 17:00."
    assert (run.settings["canary"], run.settings["deadline"]["after"]) == (3, 600.0)


def test_a_value_that_nobody_gave_sends_nothing(alert: "CliHarness") -> None:
    server = alert.server()
    refused = alert("send", NAME, "--set", "until=18:00", "--yes")
    assert (refused.code, server.journal.total) == (2, 0)
    assert "needs the value 'next'" in refused.err
    assert "hint: Give it: --set next=" in refused.err
    assert "Did you mean until?" in alert("send", NAME, *GIVEN, "--set", "untl=18:00", "--dry-run").err


def test_files_are_found_beside_the_mailing(cli: "CliHarness") -> None:
    (cli.folder / "alerts").mkdir()
    cli.write("alerts/staff.csv", 'recipient\n"CN=A,DC=x"\n')
    cli.write("alerts/text.txt", "Down.")
    cli.write("alerts/down.toml", 'input = "staff.csv"\ntext-file = "text.txt"\n')
    assert "Down." in cli("send", "alerts/down.toml", "--dry-run").out


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("canry = 3", "Did you mean canary?"),
        ("zzz = 3", "`bulksms send --help` lists the options."),
        ('canary = "3"', "canary must be a whole number"),
        ("yes = true", "Give --yes on the command line, each time."),
        ('at = "22:00"', "Give --at on the command line, each time."),
        ('token-file = "t"', "about the machine that sends"),
        ("input = 3", "must be the name of a file"),
        ("values = 3", "must hold texts"),
        ('hours = "8-20"', "no range of hours"),
        ("canary = ", "not TOML"),
    ],
)
def test_a_mailing_that_cannot_be_used_is_refused_with_what_to_do(cli: "CliHarness", line: str, words: str) -> None:
    cli.write("staff.csv", 'recipient,text\n"CN=A,DC=x",Hello\n')
    cli.write("a.toml", line if line.startswith("input") else f'input = "staff.csv"\n{line}\n')
    refused = cli("send", "a.toml", "--dry-run")
    assert (refused.code, refused.out) == (2, "")
    assert words in refused.err
    assert "hint: " in refused.err


def test_a_mailing_never_says_now_nor_with_whose_credentials() -> None:
    assert {"yes", "new"} <= EACH_TIME
    assert "token-file" in CREDENTIALS


def test_a_missing_mailing_is_a_usage_error(cli: "CliHarness") -> None:
    refused = cli("send", "nothing.toml", "--dry-run")
    assert refused.code == 2
    assert "cannot be read" in refused.err


def test_a_rehearsal_and_a_dry_run_take_a_mailing(alert: "CliHarness") -> None:
    assert alert("send", NAME, *GIVEN, "--dry-run").code == 0
    assert alert("send", NAME, *GIVEN, "--sandbox").code in (0, 1, 4)
    assert "vpn-down.sandbox.db" in alert.files


def test_the_preview_says_what_differs_from_the_last_time(alert: "CliHarness") -> None:
    alert.server()
    first = alert("send", NAME, *GIVEN, "--yes")
    assert "last time" not in first.err
    shown = alert("send", NAME, "--set", "until=20:00", "--set", "next=16:00", "--dry-run").out
    assert "the same people; until was 18:00" in " ".join(shown.split())
    people = alert.folder / "staff.csv"
    lines = people.read_text(encoding="utf-8").splitlines()
    people.write_text("\n".join([lines[0], *lines[2:], '"CN=New,DC=x",New', '"CN=Newer,DC=x",N', ""]), encoding="utf-8")
    shown = alert("send", NAME, "--set", "until=20:00", "--set", "next=16:00", "--dry-run").out
    (line,) = [" ".join(part.split()) for part in shown.split("\n\n")[-1].split("last time")[1:]]
    assert "2 new; 1 no longer in it; until was 18:00" in line
    assert LEDGER in line
    text = (alert.folder / NAME).read_text(encoding="utf-8").replace("The VPN is down", "The VPN is still down")
    alert.write(NAME, text)
    assert "another text" in " ".join(alert("send", NAME, *GIVEN, "--dry-run").out.split())


def test_check_says_by_day_what_would_happen_by_night(alert: "CliHarness") -> None:
    old = time.time() - 59 * 86_400
    os.utime(alert.folder / "staff.csv", (old, old))
    checked = alert("check", NAME)
    assert checked.code == 0
    assert "59 days ago" in checked.out
    assert "warning: staff.csv is old" in checked.out
    assert "The VPN is down until (until). Next news at (next)." in checked.out
    assert "The value until is given when it is sent" in checked.err
    assert "Dry run: nothing was sent" in checked.out
    assert "--expect" not in checked.out, "no value is given yet, so this plan is never sent"
    assert alert.files == {NAME, "staff.csv"}


def test_check_with_a_url_reaches_the_server_and_looks_everybody_up(alert: "CliHarness") -> None:
    server = alert.server()
    checked = alert("check", NAME)
    assert checked.code == 3, "nobody of these is in the directory"
    assert "row 2, column recipient: " in checked.err
    assert server.journal.total == 0
    assert alert("check", NAME, "--json").code == 2


def test_the_file_is_read_as_one_that_a_person_wrote(tmp_path: "Path") -> None:
    file = tmp_path / "a.toml"
    lines = ('\ufeffgroup = "CN=G,DC=x"', "skip-invalid = true", "keep_going = false", 'suppress = ["a", "b"]', "")
    file.write_text("\n".join(lines), "utf-8")
    mailing = read_mailing(file, SendOptions)
    assert mailing.words == (
        *("--group", "CN=G,DC=x", "--skip-invalid"),
        *("--suppress", str(tmp_path / "a"), "--suppress", str(tmp_path / "b")),
    )
    assert mailing.files == (tmp_path / "a", tmp_path / "b")
    file.write_text("keep_going = true\nkeep-going = true\n", "utf-8")
    with pytest.raises(UsageError, match="is there twice"):
        read_mailing(file, SendOptions)


def test_a_limit_that_is_typed_takes_the_place_of_the_deadline_of_the_file(alert: "CliHarness") -> None:
    alert.server()
    soon = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() + 1.5))
    later = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() + 3_600))
    assert alert("send", NAME, *GIVEN, "--yes", "--at", soon, "--latest", later).code == 0
    with open_ledger(alert.folder / LEDGER) as reader:
        (run,) = reader.runs()
    assert run.settings["deadline"]["after"] is None
