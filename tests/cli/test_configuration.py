"""Settings: flag beats environment beats file beats default, and what the ledger keeps beats all but the flag."""

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bulksms.cli.options import settings_file
from bulksms.cli.options.commands import KINDS, SETTINGS
from bulksms.cli.options.declaration import DeclaredOption, options_of
from bulksms.ledger import open_ledger
from bulksms.model.run_settings import RunSettings
from tests.platforms import with_posix_files

if TYPE_CHECKING:
    from tests.cli.harness import CliHarness

URL = "https://adaxes.example/restApi"
SEND = ("send", "people.csv", "--yes")
OF_THEIR_OWN: dict[str, tuple[Any, Any, Any]] = {
    "deadline": ("30m", "40m", "50m"),
    "delivery": ("at-most-once", "balanced", "at-least-once"),
    "hours": ("08:00-20:00", "09:00-19:00", "22:00-02:00"),
    "gsm7": ("replace", "replace", "replace"),
    "log-format": ("json", "console", "json"),
    "log-level": ("debug", "info", "warning"),
    "match": ("mail", "sAMAccountName", "userPrincipalName"),
    "max-failures": ("10%", "20%", "30"),
    "rate": ("10/s", "20/s", "30/s"),
    "workers": (2, 3, 4),
    "test-to": ("CN=A,DC=x", "CN=B,DC=x", "CN=C,DC=x"),
}
OF_A_TYPE: dict[object, tuple[Any, Any, Any]] = {bool: (True, True, True), int: (2, 3, 4), float: (2.5, 3.5, 4.5)}


def flags(setting: DeclaredOption, value: object) -> list[str]:
    return [f"--{setting.key}"] if value is True else [f"--{setting.key}", str(value)]


def holds(cli: "CliHarness", setting: DeclaredOption, *arguments: str) -> tuple[Any, str]:
    result = cli("config", "--json", *arguments).json["settings"][setting.key]
    assert list(result) == ["value", "from"]
    return result["value"], result["from"]


@pytest.mark.parametrize("setting", [it for it in SETTINGS.values() if it.key != "json"], ids=lambda it: it.key)
def test_flag_beats_environment_beats_file_beats_default(setting: DeclaredOption, cli: "CliHarness") -> None:
    in_file, in_environment, on_line = OF_THEIR_OWN.get(
        setting.key, OF_A_TYPE.get(setting.file_type, ("one", "two", "three"))
    )
    several = [[in_file], [in_environment], [on_line]] if setting.multiple else [in_file, in_environment, on_line]
    assert holds(cli, setting) == (
        setting.default_value or ([] if setting.multiple else setting.default_value),
        "default",
    )
    cli.write("bulksms.toml", f"{setting.key} = {json.dumps(in_file)}\n")
    assert holds(cli, setting) == (several[0], "bulksms.toml")
    cli.export(str(setting.envvar), str(in_environment))
    assert holds(cli, setting) == (several[1], setting.envvar)
    assert holds(cli, setting, *flags(setting, on_line)) == (several[2], f"--{setting.key}")


def test_the_default_that_is_shown_is_what_a_run_does() -> None:
    run = RunSettings().as_dict()
    shown = {setting.name: setting.default_value or None for setting in SETTINGS.values() if setting.name in run}
    assert shown == {name: run[str(name)] or None for name in shown} | {"deadline": None, "workers": "auto"}


THIS_TIME_ONLY = set(
    """--after-failover --postgresql --include-hidden-rows --mailing --not-group --ou --search --set --subtree
    --needs-approval --all --at --latest --next-day --columns --force --no-pager --sort --wide
    --accepted --config --delimiter --direct-only --dry-run --encoding --failed --faults --format --from --group
    --journal --latency --ledger --new --no-template --note --not-sent-in --now --older-than --only --outcome --output
    --port --rejects --rows --runs --sandbox --seed --sheet --text --text-file --sent-in --watch --yes""".split()  # noqa: SIM905 - words
)


def test_per_run_choices_are_no_settings() -> None:
    """A new option has to be thought about: would a forgotten variable that gives it be a danger?"""
    others = {f"--{option.key}" for option in options_of(KINDS) if not option.is_setting}
    assert others - {"--json"} <= THIS_TIME_ONLY


def test_no_variable_and_no_file_says_yes(cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(1)
    cli.export("BULKSMS_YES", "1")
    assert cli("send", "people.csv").code == 2
    cli.write("bulksms.toml", "yes = true\n")
    result = cli("send", "people.csv")
    assert result.code == 2
    assert "bulksms.toml: yes is no setting." in result.err
    assert "on the command line each time" in result.err
    assert server.journal.total == 0


# The file


MISTAKES = [
    ("wrkers = 3", "there is no setting wrkers", "Did you mean workers?"),
    ("Max-Recipients = 3", "there is no setting Max-Recipients", "Did you mean max-recipients?"),
    ("zebra = 'blue'", "there is no setting zebra", "`bulksms config`"),
    ("token = 's3cret'", "token is a secret", "token-file"),
    ("password = 's3cret'", "password is a secret", "password-file"),
    ("proxy = 'http://me:s3cret@proxy:8080'", "proxy has a password in it", "BULKSMS_PROXY"),
    ("url = 'https://me:s3cret@adaxes.example'", "url has a password in it", "BULKSMS_URL"),
    ("new = true", "new is no setting", "--new is about one call"),
    ("[send]\nworkers = 3", "[send] is a table", "without tables"),
    ("max-attempts = '3'", "max-attempts must be a whole number, not a text", "`bulksms config`"),
    ("max-attempts = true", "max-attempts must be a whole number, not true or false", ""),
    ("max-attempts = 3.0", "max-attempts must be a whole number, not a number", ""),
    ("max-attempts = [3]", "max-attempts must be a whole number, not a list", ""),
    ("timeout = {s = 3}", "timeout must be a number, not a table", ""),
    ("timeout = 'long'", "timeout must be a number, not a text", ""),
    ("quiet = 1", "quiet must be true or false, not a whole number", ""),
    ("url = true", "url must be a text, not true or false", ""),
    ("deadline = 2030-01-01", "deadline must be a text, not a time", ""),
    ("suppress = ['a.txt', 3]", "suppress[1] must be the name of a file, not a whole number", ""),
    ("workers = 0", "'workers' in bulksms.toml: 0 is not in the range", "--help"),
    ("delivery = 'maybe'", "'delivery' in bulksms.toml: 'maybe' is not one of", "--help"),
    ("rate = 'fast'", "'rate' in bulksms.toml: 'fast' is no rate", "--help"),
    ("max-recipients = 1\nmax_recipients = 2", "max-recipients is there twice", "- and _"),
    ("workers = 1\nworkers = 2", "not TOML: cannot overwrite a value (at line 2", "workers = 32"),
    ("workers 3", "not TOML: expected '=' after a key in a key/value pair (at line 1", "quotes"),
]


@pytest.mark.parametrize(("content", "error", "hint"), MISTAKES, ids=[content for content, *_ in MISTAKES])
def test_a_mistake_in_the_file_is_one_sentence_and_a_hint(
    content: str, error: str, hint: str, cli: "CliHarness"
) -> None:
    server = cli.server()
    cli.people(1)
    cli.write("bulksms.toml", content + "\n")
    for command in (["config"], ["send", "people.csv", "--yes"]):
        result = cli(*command)
        assert (result.code, result.out) == (2, "")
        found, helped = result.err.splitlines()
        assert error in found
        assert "bulksms.toml" in found
        assert hint in helped
        assert "s3cret" not in result.err
    assert server.journal.total == 0


def test_a_wrong_type_is_a_sentence_however_msgspec_words_it(
    cli: "CliHarness", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings_file, "_WRONG", re.compile("no such words"))
    cli.write("bulksms.toml", "workers = true\n")
    result = cli("config")
    assert (result.code, result.out) == (2, "")
    found, hint = result.err.splitlines()
    assert found.startswith("error: bulksms.toml: ")
    assert "`bulksms config`" in hint


# A file that others could have put there


def others_own(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:
        os.chown(path, 4711, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 4711)


DECIDING = [
    "url = 'https://evil.example/restApi'",
    "proxy = 'http://evil.example:8080'",
    "ca-file = 'evil.pem'",
    "on-finish = 'rm -rf .'",
    "token-command = 'cat /etc/passwd'",
]


@with_posix_files
@pytest.mark.parametrize("line", [*DECIDING, "ca_file = 'evil.pem'", "insecure-http = true"])
@pytest.mark.parametrize("how", ["owner", "file", "folder"])
def test_a_file_that_others_own_or_can_write_does_not_decide_where_the_token_goes(
    line: str, how: str, cli: "CliHarness", monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.people(1)
    cli.export("BULKSMS_TOKEN", cli.token)
    path = cli.write("bulksms.toml", f"workers = 3\n{line}\n")
    match how:
        case "owner":
            others_own(path, monkeypatch)
        case "file":
            path.chmod(0o664)
        case "folder":
            cli.folder.chmod(0o777)
    for command in (["send", "people.csv", "--yes"], ["check"], ["config"]):
        result = cli(*command)
        assert (result.code, result.out) == (2, "")
        found, hint = result.err.splitlines()
        assert "decides where the token goes or what is run" in found
        assert line.split(" ", maxsplit=1)[0].replace("_", "-") in found
        assert "--config bulksms.toml" in hint
    assert cli("config", "--config", "bulksms.toml").code == 0, "a file that is named is trusted"
    cli.export("BULKSMS_CONFIG", "bulksms.toml")
    assert cli("config").code == 0


@with_posix_files
def test_a_file_that_others_own_may_set_what_sends_no_secret_anywhere(
    cli: "CliHarness", monkeypatch: pytest.MonkeyPatch
) -> None:
    others_own(cli.write("bulksms.toml", "workers = 3\n"), monkeypatch)
    assert cli("config", "--json").json["settings"]["workers"]["value"] == 3


@with_posix_files
def test_a_file_of_ours_in_a_sticky_folder_is_trusted(cli: "CliHarness") -> None:
    """Such as /tmp, where nobody else can replace it."""
    cli.write("bulksms.toml", DECIDING[0])
    cli.folder.chmod(0o1777)
    assert cli("config").code == 0


@pytest.mark.parametrize("content", [b"url = '\xff'", None])
def test_a_file_that_cannot_be_read_is_reported(content: bytes | None, cli: "CliHarness") -> None:
    path = cli.folder / "bulksms.toml"
    path.mkdir() if content is None else path.write_bytes(content)
    result = cli("config")
    assert result.code == 2
    assert "The settings bulksms.toml" in result.err


def test_a_file_from_a_windows_editor_is_read(cli: "CliHarness") -> None:
    (cli.folder / "bulksms.toml").write_bytes(b"\xef\xbb\xbfworkers = 3\r\nmax_recipients = 7\r\n")
    result = cli("config", "--json").json
    assert result["file"] == "bulksms.toml"
    assert [result["settings"][name]["value"] for name in ("workers", "max-recipients")] == [3, 7]


@pytest.mark.parametrize(("line", "value"), [("rate = 20", "20"), ("rate = 0.5", "0.5"), ("max-failures = 5", "5")])
def test_a_number_needs_no_quotes(line: str, value: str, cli: "CliHarness") -> None:
    cli.write("bulksms.toml", line)
    assert cli("config", "--json").json["settings"][line.split(" ", maxsplit=1)[0]]["value"] == value


@pytest.mark.parametrize("written", ["23:59:00", "2100-01-01T08:30:00+01:00", "'30m'"])
def test_a_deadline_may_be_one_of_toml_s_times(written: str, cli: "CliHarness") -> None:
    cli.write("bulksms.toml", f"deadline = {written}\n")
    assert cli("config").code == 0


@pytest.mark.parametrize("how", ["--config", "BULKSMS_CONFIG"])
def test_another_file_is_named(how: str, cli: "CliHarness") -> None:
    """What lies beside the file is named from there, so that the file can be used from anywhere."""
    cli.write("bulksms.toml", "workers = 3\n")
    (cli.folder / "night").mkdir()
    cli.write("night/night.toml", "workers = 5\ntoken-file = 'token'\nsuppress = ['a.txt', 'b.txt']\n")
    named = str(Path("night", "night.toml"))
    if how == "BULKSMS_CONFIG":
        cli.export(how, named)
    settings = cli("config", "--json", *([how, named] if how == "--config" else [])).json["settings"]
    assert settings["workers"] == {"value": 5, "from": named}
    assert settings["token-file"]["value"] == str(Path("night", "token"))
    assert settings["suppress"]["value"] == [str(Path("night", "a.txt")), str(Path("night", "b.txt"))]


def test_the_home_of_the_user_may_be_in_the_file(cli: "CliHarness") -> None:
    cli.export("HOME", str(cli.folder / "home"))
    cli.write("bulksms.toml", "token-file = '~/token'\nca-file = '/etc/ca.pem'\n")
    settings = cli("config", "--json").json["settings"]
    assert settings["token-file"]["value"] == str(cli.folder / "home" / "token")
    assert settings["ca-file"]["value"] == "/etc/ca.pem"


def test_a_run_says_that_a_file_was_read_unless_it_is_quiet(cli: "CliHarness") -> None:
    cli.server()
    cli.people(1)
    cli.write("bulksms.toml", "workers = 3\n")
    assert "Settings are read from bulksms.toml; `bulksms config` shows them." in cli(*SEND).err
    assert "Settings" not in cli(*SEND, "--new", "--quiet").err


def test_a_named_file_that_is_not_there_is_a_mistake(cli: "CliHarness") -> None:
    result = cli("config", "--config", "none.toml")
    assert result.code == 2
    assert "The settings none.toml cannot be read" in result.err


def test_help_is_there_though_the_file_is_broken(cli: "CliHarness") -> None:
    cli.write("bulksms.toml", "no toml")
    assert cli("send", "--help").code == 0


@pytest.mark.parametrize("command", ["status", "report", "verify", "cancel"])
def test_no_file_keeps_anybody_from_looking_or_stopping(command: str, cli: "CliHarness") -> None:
    cli.people(1)
    assert cli("plan", "people.csv").code == 0
    cli.write("bulksms.toml", "no toml")
    cli.export("BULKSMS_JSON", "1")
    assert cli(command, "people.ledger.db").code == 0


# What the settings do


def test_a_run_takes_everything_from_the_file(cli: "CliHarness") -> None:
    server = cli.serve(latency=0.2)
    cli.write("a-token", cli.token)
    cli.write("bulksms.toml", f"url = '{server.url}'\ntoken-file = 'a-token'\nworkers = 9\nno-adapt = true\n")
    cli.people(9)
    assert cli(*SEND).code == 0
    assert server.journal.max_in_flight == 9
    assert server.journal.unauthorized == 0


def test_the_environment_gives_any_setting(cli: "CliHarness") -> None:
    server = cli.server(latency=0.2)
    cli.people(9)
    cli.export("BULKSMS_WORKERS", "9")
    cli.export("BULKSMS_NO_ADAPT", "true")
    cli.export("BULKSMS_QUIET", "1")
    cli.export("BULKSMS_JSON", "yes")
    result = cli(*SEND)
    assert result.json["counts"]["accepted"] == 9
    assert result.err == ""
    assert server.journal.max_in_flight == 9


def test_a_variable_with_a_wrong_value_is_named(cli: "CliHarness") -> None:
    cli.people(1)
    cli.export("BULKSMS_WORKERS", "many")
    result = cli("send", "people.csv", "--dry-run")
    assert result.code == 2
    assert "Invalid value for 'BULKSMS_WORKERS'" in result.err


def test_max_recipients_in_the_file_holds_for_everybody(cli: "CliHarness") -> None:
    server = cli.server(keep_entries=False)
    cli.write("bulksms.toml", "max-recipients = 1_001\n")
    cli.people(1_002)
    assert cli(*SEND, "--quiet").code == 3
    cli.people(1_001)
    assert cli(*SEND, "--quiet").code == 0
    assert server.journal.total == 1_001


def attempts_of_runs(cli: "CliHarness") -> list[int]:
    with open_ledger(cli.folder / "people.ledger.db") as reader:
        return [run.settings["max_attempts"] for run in reader.runs()]


def test_what_the_ledger_keeps_beats_environment_and_file_and_a_flag_beats_it(cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(2)
    cli.export("BULKSMS_TOKEN", "wrong")
    cli.write("bulksms.toml", "max-attempts = 2\n")
    assert cli(*SEND).code == 5
    cli.write("bulksms.toml", "max-attempts = 7\nno-adapt = true\nkeep-going = true\n")
    cli.export("BULKSMS_MAX_ATTEMPTS", "8")
    cli.export("BULKSMS_CANARY", "1")
    assert cli("resume", "people.ledger.db").code == 5
    assert cli("send", "people.ledger.db", "--yes").code == 5
    assert cli("send", "people.csv", "--yes").code == 5
    with open_ledger(cli.folder / "people.ledger.db") as reader:
        assert [run.settings["adapt"] for run in reader.runs()] == [True] * 4
        assert [run.settings["keep_going"] for run in reader.runs()] == [False] * 4
        assert [run.settings["canary"] for run in reader.runs()] == [None] * 4, "what was not asked for, neither"
    assert cli("resume", "people.ledger.db", "--max-attempts", "3").code == 5
    assert cli("resume", "people.ledger.db").code == 5
    assert attempts_of_runs(cli) == [2, 2, 2, 2, 3, 3]
    cli.at(server)
    assert cli("resume", "people.ledger.db").code == 0


def test_environment_and_file_hold_for_the_first_run_of_a_plan(cli: "CliHarness") -> None:
    cli.server()
    cli.people(1)
    cli("plan", "people.csv")
    cli.export("BULKSMS_MAX_ATTEMPTS", "8")
    assert cli("resume", "people.ledger.db").code == 0
    assert attempts_of_runs(cli) == [8]


def test_another_url_in_the_file_is_refused_as_any_other_is(cli: "CliHarness", monkeypatch: pytest.MonkeyPatch) -> None:
    """The token may be that server's: it must not go to the one that the ledger is bound to."""
    server, other = cli.serve(), cli.serve()
    cli.at(server)
    cli.people(3, mark="[result_failed]")
    assert cli(*SEND, "--max-failures", "1", "--workers", "1").code == 5
    monkeypatch.delenv("BULKSMS_URL")
    cli.write("bulksms.toml", f"url = '{other.url}'\n")
    for command in (["resume", "people.ledger.db"], ["send", "people.ledger.db", "--yes"], SEND):
        result = cli(*command)
        assert result.code == 3
        assert f"is bound to {server.url}, not to {other.url}" in result.err
        assert "url in a settings file" in result.err
    assert (server.journal.total, other.journal.total) == (1, 0)
    (cli.folder / "bulksms.toml").unlink()
    assert cli("resume", "people.ledger.db", "--max-failures", "9").code == 1
    assert server.journal.total == 3


SETTINGS_FILE = """
recipient-column = "directoryObject"
text-column = "text"
max-segments = 3
number-property = "telephoneNumber"
verify-recipients = false
match = "mail"
size-limit = 7
ca-file = "no-such.pem"
username = "me@example.com"
password-file = "no-such"
"""


def test_a_setting_that_is_of_no_use_to_a_call_is_no_mistake(cli: "CliHarness") -> None:
    """On the command line it would be one; a file is for every call."""
    cli.people(2)
    cli.write("bulksms.toml", SETTINGS_FILE.replace('match = "mail"\n', ""))
    cli.write("text.txt", "Hello.")
    assert cli("plan", "people.csv").code == 0
    assert cli("plan", "people.csv", "--text", "One for all.", "--ledger", "one.db").code == 0
    assert cli("plan", "people.csv", "--ca-file", "no-such.pem", "--ledger", "two.db").code == 2
    assert cli("send", "people.csv", "--dry-run", "--size-limit", "7").code == 2
    cli.write("bulksms.toml", SETTINGS_FILE.replace("ca-file", "# ").replace("password-file", "# "))
    server = cli.server()
    assert cli("send", "people.ledger.db", "--yes").code == 0
    assert cli("send", "people.ledger.db", "--yes", "--text-column", "text").code == 2
    result = ("--sent-in", "people.ledger.db", "--text", "All clear.", "--ledger", "clear.db")
    assert cli("send", *result, "--yes").code == 0
    assert server.journal.total == 4
    cli.write("bulksms.toml", "verify-recipients = true\n")
    assert cli("send", "people.csv", "--sandbox", "--yes").code == 0
    assert cli("send", "people.csv", "--sandbox", "--yes", "--verify-recipients").code == 2
    assert cli("check", "--number-property", "mobile").code == 2


# Credentials


def test_username_logs_in_with_the_password_of_the_environment(cli: "CliHarness") -> None:
    from bulksms.sandbox import Account  # noqa: PLC0415 - of this test

    account = Account(password="a-password-4711")
    server = cli.serve(token=None, account=account)
    cli.people(1)
    cli.export("BULKSMS_TOKEN", "of another server")
    cli.export("BULKSMS_PASSWORD", account.password)
    assert cli(*SEND, "--url", server.url, "--username", account.username).code == 0
    assert server.journal.calls["POST /api/auth"] == 1
    result = cli(*SEND, "--new", "--url", server.url, "--username", account.username, "--token-file", "a-token")
    assert result.code == 2
    assert "Both --token-file and --username are given." in result.err


def credentials(cli: "CliHarness", *arguments: str) -> tuple[str, str] | None:
    result = cli("config", "--json", *arguments).json["credentials"]
    return result and (result["kind"], result["from"])


def test_config_says_which_credentials_count_and_from_where(cli: "CliHarness", monkeypatch: pytest.MonkeyPatch) -> None:
    assert credentials(cli) is None
    assert "Credentials: none; at a terminal the access token is asked for." in cli("config").out
    cli.write("bulksms.toml", "username = 'me@example.com'\n")
    assert credentials(cli) == ("account", "username")
    cli.write("bulksms.toml", "username = 'me@example.com'\npassword-file = 'p'\n")
    assert credentials(cli) == ("account", "password-file")
    cli.write("bulksms.toml", "token-file = 't'\n")
    assert credentials(cli) == ("access token", "token-file")
    cli.write("bulksms.toml", "token-file = 't'\npassword-file = 'p'\n")
    assert "Both token-file and password-file" in cli("config").err
    cli.write("bulksms.toml", "token-file = 't'\n")
    found = [("BULKSMS_PASSWORD_FILE", "account"), ("BULKSMS_PASSWORD", "account")]
    found += [("BULKSMS_TOKEN_FILE", "access token"), ("BULKSMS_TOKEN", "access token")]
    for name, kind in found:
        cli.export(name, "s3cret")
        assert credentials(cli) == (kind, name)
    assert credentials(cli, "--username", "me") == ("account", "BULKSMS_PASSWORD")
    assert credentials(cli, "--password-file", "p") == ("account", "--password-file")
    assert credentials(cli, "--token-file", "t") == ("access token", "--token-file")
    monkeypatch.delenv("BULKSMS_PASSWORD")
    monkeypatch.delenv("BULKSMS_PASSWORD_FILE")
    assert credentials(cli, "--username", "me") == ("account", "--username")


# `bulksms config`


def test_config_is_a_table_of_every_setting(cli: "CliHarness") -> None:
    cli.write("bulksms.toml", "workers = 32\nsuppress = ['a.txt', 'b.txt']\nquiet = true\n")
    cli.export("BULKSMS_TIMEOUT", "12.5")
    result = cli("config", "--all", "--rate", "300/min", "--server-wait", "0")
    assert result.code == 0
    rows = {line.split()[0]: line.split()[1:] for line in result.out.splitlines()[1:-1]}
    changed = ["rate", "server-wait", "timeout", "quiet", "suppress", "workers"]
    assert sorted(list(rows)[: len(changed)]) == sorted(changed), "what was changed comes first"
    assert set(rows) == {*SETTINGS, "token", "password"}
    assert rows["workers"] == ["32", "bulksms.toml"]
    assert rows["suppress"] == ["a.txt,", "b.txt", "bulksms.toml"]
    assert rows["quiet"] == ["yes", "bulksms.toml"]
    assert rows["timeout"] == ["12.5", "BULKSMS_TIMEOUT"]
    assert rows["rate"] == ["300/min", "--rate"]
    assert rows["server-wait"] == ["0", "--server-wait"]
    assert rows["delivery"] == ["balanced", "default"]
    assert rows["url"] == ["default"]
    assert result.err == ""


def test_config_shows_what_was_changed_and_counts_the_rest(cli: "CliHarness") -> None:
    cli.write("bulksms.toml", "workers = 32\n")
    result = cli("config")
    assert re.fullmatch(
        r"setting  value  from\nworkers  32     bulksms.toml\n\d+ more settings have their defaults; "
        r"--all shows them.\n"
        r"Credentials: .*\n",
        result.out,
    )
    assert "setting" not in cli("config", "--config", cli.write("empty.toml", "")).out.split(" more settings")[0]


def test_config_shows_of_secrets_only_where_they_are(cli: "CliHarness") -> None:
    cli.export("BULKSMS_TOKEN", cli.token)
    cli.export("BULKSMS_PASSWORD", "s3cret")
    cli.export("BULKSMS_PROXY", "http://me:s3cret@proxy.example:8080")
    for result in (cli("config"), cli("config", "--json")):
        assert result.code == 0
        assert "s3cret" not in result.out + result.err
        assert "http://***@proxy.example:8080" in result.out
    assert re.search(r"^token +\*\*\* +BULKSMS_TOKEN$", cli("config").out, re.MULTILINE)


def test_config_names_variables_that_nobody_reads(cli: "CliHarness") -> None:
    cli.export("BULKSMS_WORKRES", "3")
    cli.export("BULKSMS_YES", "1")
    result = cli("config", "--json")
    assert result.json["settings"]["workers"]["from"] == "default"
    assert "BULKSMS_WORKRES is no setting, and nothing reads it; did you mean BULKSMS_WORKERS?" in result.err
    assert "BULKSMS_YES is no setting, and nothing reads it." in result.err


def test_config_of_a_ledger_is_what_resume_would_use(cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(2)
    cli("plan", "people.csv")
    assert cli("config", "people.ledger.db", "--json").json["settings"]["workers"]["from"] == "default"
    cli.export("BULKSMS_TOKEN", "wrong")
    cli(*SEND, "--workers", "5", "--no-adapt", "--deadline", "1h")
    cli.export("BULKSMS_WORKERS", "9")
    cli.export("BULKSMS_URL", URL)
    result = cli("config", "people.ledger.db", "--json", "--timeout", "7").json["settings"]
    assert result["workers"] == {"value": 5, "from": "people.ledger.db"}
    assert result["no-adapt"] == {"value": True, "from": "people.ledger.db"}
    assert result["url"] == {"value": server.url, "from": "people.ledger.db"}
    assert result["timeout"] == {"value": 7.0, "from": "--timeout"}
    assert re.fullmatch(r"20\d\d-.*\+00:00", result["deadline"]["value"])
    assert result["max-recipients"] == {"value": None, "from": "default"}
