"""A mistake of the user is one sentence and a hint, with the promised exit code, and never a traceback."""

import sqlite3
from typing import TYPE_CHECKING

import pytest

from bulksms.cli.app import run
from tests.platforms import with_rights_that_hold

if TYPE_CHECKING:
    from tests.cli.harness import CliHarness, CliResult

URL = "https://adaxes.example/restApi"


def sentence(result: "CliResult") -> tuple[str, str]:
    """The one sentence and its hint; only a file without rows needs none."""
    lines = result.err.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    hints = [line for line in lines if line.startswith("hint: ")]
    assert len(errors) == 1, result.err
    assert len(hints) == 1 or "E002" in result.err, result.err
    assert result.out == ""
    assert errors[0].endswith((".", ")")), errors[0]
    return errors[0], "".join(hints)


MISTAKES: list[tuple[list[str], int, str, str]] = [
    (["sned", "people.csv"], 2, "There is no command 'sned'.", "Did you mean `bulksms send`?"),
    (["frobnicate"], 2, "There is no command 'frobnicate'.", "bulksms --help"),
    (["send"], 2, "There is no input.", "Name a file"),
    (["send", "people.csv", "--wrkers", "3"], 2, "No such option '--wrkers'.", "Did you mean --workers?"),
    (["send", "people.csv", "--xyzzy"], 2, "No such option '--xyzzy'.", "bulksms send --help"),
    (["send", "people.csv", "--workers", "0"], 2, "--workers", "--help"),
    (["send", "people.csv", "--workers", "many"], 2, "--workers", "--help"),
    (["send", "people.csv", "--delivery", "maybe"], 2, "--delivery", "--help"),
    (["send", "people.csv", "--timeout", "-1"], 2, "--timeout", "--help"),
    (["send", "people.csv", "--rate", "fast"], 2, "'fast' is no rate", "--help"),
    (["send", "people.csv", "--max-failures", "some"], 2, "'some'", "--help"),
    (["send", "people.csv", "--deadline", "teatime"], 2, "teatime", "--help"),
    (["send", "people.csv", "--deadline", "2001-01-01T00:00"], 2, "has passed already", "--help"),
    (["send", "missing.csv", "--yes", "--url", URL], 3, "missing.csv", ""),
    (["send", "folder", "--yes", "--url", URL, "--format", "csv"], 3, "folder", ""),
    (["send", "missing.csv", "--dry-run"], 3, "missing.csv", ""),
    (["plan", "missing.csv"], 3, "missing.csv", ""),
    (["send", "people.csv", "--yes"], 2, "There is no URL to send to.", "BULKSMS_URL"),
    (["send", "people.csv", "--yes", "--url", "adaxes.example/restApi"], 2, "no https:// in front", "https://"),
    (["send", "people.csv", "--yes", "--url", "ftp://adaxes.example"], 2, "ftp://", "https://"),
    (["send", "people.csv", "--yes", "--url", "http://adaxes.example/restApi"], 2, "http://", "--insecure-http"),
    (["send", "people.csv", "--yes", "--url", "https://me:pw@adaxes.example"], 2, "password", "https://"),
    (["send", "people.csv", "--yes", "--url", ""], 2, "URL", "https://"),
    (["send", "people.csv", "--yes", "--url", URL], 2, "There is no access token", "BULKSMS_TOKEN"),
    (["send", "people.csv", "--yes", "--url", URL, "--token-file", "none"], 2, "token file none", "access token"),
    (["send", "people.csv", "--yes", "--url", URL, "--token-file", "folder"], 2, "token file folder", "access token"),
    (["send", "people.csv", "--url", URL, "--proxy", "socks5://x:1"], 2, "socks5", "proxy"),
    (["send", "people.csv", "--text", "a", "--text-file", "b", "--dry-run"], 2, "--text and --text-file", "one"),
    (["send", "people.csv", "--text-file", "none.txt", "--dry-run"], 2, "none.txt", "name"),
    (["send", "people.csv", "--delimiter", "ab", "--dry-run"], 2, "delimiter", ""),
    (["send", "people.csv", "--encoding", "klingon", "--dry-run"], 2, "klingon", ""),
    (["send", "people.csv", "--suppress", "none.txt", "--dry-run"], 3, "none.txt", ""),
    (["send", "-", "--yes"], 2, "Standard input", "--format"),
    (["send", "empty.csv", "--dry-run"], 3, "empty.csv", ""),
    (["send", "people.csv", "--yes", "--url", URL, "--ledger", "foreign.txt"], 6, "foreign.txt", ""),
    (["send", "people.csv", "--sandbox", "--yes", "--ledger", "foreign.txt"], 6, "foreign.txt", ""),
    (["plan", "people.csv", "--ledger", "foreign.txt"], 3, "foreign.txt", "--ledger"),
    (["resume", "missing.db"], 6, "There is no ledger missing.db.", "bulksms send"),
    (["resume", "people.csv"], 6, "people.csv is not a ledger.", "bulksms plan"),
    (["resume", "folder"], 6, "folder is not a ledger.", ""),
    (["status", "missing.db"], 6, "There is no ledger missing.db.", ""),
    (["status", "foreign.db"], 6, "foreign.db is not a ledger.", ""),
    (["report", "empty.csv"], 6, "empty.csv is not a ledger.", ""),
    (["report", "missing.db"], 6, "missing.db", ""),
    (["verify", "people.csv"], 6, "people.csv is not a ledger.", ""),
    (["stop", "missing.db"], 6, "missing.db", ""),
    (["cancel", "missing.db"], 6, "missing.db", ""),
    (["report", "people.csv", "--only", "sent"], 2, "'sent'", "--help"),
    (["report", "people.csv", "--format", "pdf"], 2, "pdf", "--help"),
    (["sandbox", "--port", "99999"], 2, "--port", "--help"),
    (["sandbox", "--faults", "none.toml"], 2, "none.toml", ""),
    (["send", "people.csv", "--log-file", "folder/x/y.log", "--dry-run"], 2, "folder/x/y.log", "another"),
    (["send", "people.csv", "--rejects", "folder", "--dry-run"], 2, "folder", ""),
]


@pytest.mark.parametrize(("arguments", "code", "error", "hint"), MISTAKES, ids=lambda value: str(value)[:60])
def test_a_mistake_is_one_sentence_and_a_hint(
    arguments: list[str], code: int, error: str, hint: str, cli: "CliHarness"
) -> None:
    cli.people(1)
    cli.write("empty.csv", "")
    cli.write("foreign.txt", "not a ledger at all")
    (cli.folder / "folder").mkdir()
    other = sqlite3.connect(cli.folder / "foreign.db")
    other.execute("CREATE TABLE somebody_elses (value)")
    other.close()
    before = {path: path.read_bytes() for path in cli.folder.iterdir() if path.is_file()}

    result = cli(*arguments)

    assert result.code == code, result.err
    printed, help_with_it = sentence(result)
    assert error in printed
    assert hint in help_with_it
    assert {path: path.read_bytes() for path in cli.folder.iterdir() if path.is_file()} == before


def test_the_token_is_never_an_argument(cli: "CliHarness") -> None:
    cli.people(1)
    assert cli("send", "people.csv", "--token", "abc").code == 2


@pytest.mark.parametrize("token", ["", "two words", "Bearer abc", "ümlaut"])
def test_a_token_that_can_be_none_is_refused_without_being_shown(token: str, cli: "CliHarness") -> None:
    cli.people(1)
    cli.write("a-token", token)
    result = cli("send", "people.csv", "--yes", "--url", URL, "--token-file", "a-token")
    assert result.code == 2
    assert not token or token not in result.err
    assert cli.files == {"people.csv", "a-token"}


@with_rights_that_hold
def test_a_folder_that_cannot_be_written_to_is_reported(cli: "CliHarness") -> None:
    cli.people(1)
    cli.folder.chmod(0o500)
    result = cli("plan", "people.csv")
    cli.folder.chmod(0o700)
    assert result.code == 6


def test_a_ledger_cut_short_is_trouble_with_the_ledger(cli: "CliHarness") -> None:
    cli.people(500)
    cli("plan", "people.csv")
    whole = (cli.folder / "people.ledger.db").read_bytes()
    (cli.folder / "people.ledger.db").write_bytes(whole[: len(whole) // 2])
    for command in (["status"], ["report"], ["verify"], ["resume", "--url", URL]):
        result = cli(command[0], "people.ledger.db", *command[1:])
        assert result.code in (0, 2, 6)
        assert "nternal error" not in result.err
    assert cli("verify", "people.ledger.db").code == 6


def test_nobody_to_send_to_is_reported(cli: "CliHarness") -> None:
    cli.write("people.csv", "directoryObject,text\n")
    result = cli("send", "people.csv", "--dry-run")
    assert result.code == 3
    sentence(result)


def test_an_internal_error_is_reported_as_one(cli: "CliHarness", monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("something impossible")

    cli.people(1)
    monkeypatch.setattr("bulksms.cli.commands.send.read_into", broken)
    result = cli("send", "people.csv", "--dry-run")
    assert result.code == 70
    printed, hint = sentence(result)
    assert "internal error: RuntimeError" in printed
    assert "something impossible" in printed
    assert "BULKSMS_TRACEBACK" in hint


def test_the_traceback_of_an_internal_error_can_be_asked_for(
    cli: "CliHarness", monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:

    def broken(*_: object) -> None:
        raise RuntimeError("something impossible")

    cli.people(1)
    cli.export("BULKSMS_TRACEBACK", "1")
    monkeypatch.setattr("bulksms.cli.commands.send.read_into", broken)
    assert run(["send", "people.csv", "--dry-run"]) == 70
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("command", [("send", "people.csv", "--yes"), ("send", "planned.db", "--yes")])
@pytest.mark.parametrize("host", ["adaxes..müller.de", "ü" * 64, "adaxes..example.com"])
def test_a_host_name_that_cannot_be_encoded_is_a_usage_error(
    command: tuple[str, ...], host: str, cli: "CliHarness"
) -> None:
    cli.people(3)
    assert cli("plan", "people.csv", "--ledger", "planned.db").code == 0
    planned = (cli.folder / "planned.db").read_bytes()
    cli.export("BULKSMS_TOKEN", cli.token)
    result = cli(*command, "--url", f"https://{host}/restApi")
    assert result.code == 2
    assert "names no host" in result.err
    assert (cli.folder / "planned.db").read_bytes() == planned
    assert cli.files == {"people.csv", "planned.db"}
