"""Settings: flag beats environment beats file beats default, and what the ledger keeps beats all but the flag."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest

from bulksms.cli import COMMANDS, commands
from bulksms.cli.config import SETTINGS
from bulksms.cli.settings.configuration import Kind
from bulksms.cli.settings.setting import Setting, options_of_all
from bulksms.config import RunSettings
from bulksms.ledger.reader import LedgerReader

if TYPE_CHECKING:
    from tests.cli.conftest import Desk

URL = "https://adaxes.example/restApi"
SEND = ("send", "people.csv", "--yes")
OF_THEIR_OWN: dict[str, tuple[Any, Any, Any]] = {
    "deadline": ("30m", "40m", "50m"),
    "delivery": ("at-most-once", "balanced", "at-least-once"),
    "gsm7": ("replace", "replace", "replace"),
    "log-format": ("json", "console", "json"),
    "log-level": ("debug", "info", "warning"),
    "match": ("mail", "sAMAccountName", "userPrincipalName"),
    "max-failures": ("10%", "20%", "30"),
    "rate": ("10/s", "20/s", "30/s"),
    "test-to": ("CN=A,DC=x", "CN=B,DC=x", "CN=C,DC=x"),
}
OF_A_KIND: dict[Kind, tuple[Any, Any, Any]] = {
    Kind.TRUTH: (True, True, True),
    Kind.WHOLE: (2, 3, 4),
    Kind.NUMBER: (2.5, 3.5, 4.5),
    Kind.TEXT: ("one", "two", "three"),
    Kind.FILE: ("one.txt", "two.txt", "three.txt"),
}


def flags(setting: Setting, value: object) -> list[str]:
    return [f"--{setting.key}"] if value is True else [f"--{setting.key}", str(value)]


def holds(desk: "Desk", setting: Setting, *arguments: str) -> tuple[Any, str]:
    told = desk("config", "--json", *arguments).json["settings"][setting.key]
    assert list(told) == ["value", "from"]
    return told["value"], told["from"]


@pytest.mark.parametrize("setting", [it for it in SETTINGS.values() if it.key != "json"], ids=lambda it: it.key)
def test_flag_beats_environment_beats_file_beats_default(setting: Setting, desk: "Desk") -> None:
    in_file, in_environment, on_line = OF_THEIR_OWN.get(setting.key, OF_A_KIND[setting.known.kind])
    several = [[in_file], [in_environment], [on_line]] if setting.multiple else [in_file, in_environment, on_line]
    assert holds(desk, setting) == (setting.otherwise, "default")
    desk.write("bulksms.toml", f"{setting.key} = {json.dumps(in_file)}\n")
    assert holds(desk, setting) == (several[0], "bulksms.toml")
    desk.export(str(setting.envvar), str(in_environment))
    assert holds(desk, setting) == (several[1], setting.envvar)
    assert holds(desk, setting, *flags(setting, on_line)) == (several[2], f"--{setting.key}")


def test_what_holds_where_nothing_is_said_is_what_a_run_does() -> None:
    run = RunSettings().as_dict()
    shown = {name: it.otherwise for name, it in SETTINGS.items() if it.name in run}
    assert shown == {name: run[str(SETTINGS[name].name)] for name in shown} | {"deadline": None}
    assert len(shown) == len(run) - 1, "all but `adapt`, whose option says the contrary"


THIS_TIME_ONLY = set(
    """--accepted --config --delimiter --direct-only --dry-run --encoding --failed --faults --format --from --group
    --journal --latency --ledger --new --no-template --note --not-told-in --now --older-than --only --outcome --output
    --port --rejects --rows --runs --sandbox --seed --sheet --text --text-file --told-in --watch --yes""".split()  # noqa: SIM905 - words
)


def test_what_is_said_each_time_is_no_setting() -> None:
    """A new option has to be thought about: would a forgotten variable that gives it be a danger?"""
    others = {option.opts[-1] for option in options_of_all(commands) if not isinstance(option, Setting)}
    assert others - {"--json"} <= THIS_TIME_ONLY


def test_no_variable_and_no_file_says_yes(desk: "Desk") -> None:
    server = desk.server()
    desk.people(1)
    desk.export("BULKSMS_YES", "1")
    assert desk("send", "people.csv").code == 2
    desk.write("bulksms.toml", "yes = true\n")
    said = desk("send", "people.csv")
    assert said.code == 2
    assert "bulksms.toml: yes is no setting." in said.err
    assert "on the command line each time" in said.err
    assert server.journal.total == 0


# The file


MISTAKES = [
    ("wrkers = 3", "there is no setting wrkers", "Did you mean workers?"),
    ("Max-Recipients = 3", "there is no setting Max-Recipients", "Did you mean max-recipients?"),
    ("colour = 'blue'", "there is no setting colour", "`bulksms config`"),
    ("token = 's3cret'", "token is a secret", "token-file"),
    ("password = 's3cret'", "password is a secret", "password-file"),
    ("proxy = 'http://me:s3cret@proxy:8080'", "proxy has a password in it", "BULKSMS_PROXY"),
    ("url = 'https://me:s3cret@adaxes.example'", "url has a password in it", "BULKSMS_URL"),
    ("new = true", "new is no setting", "--new is about one call"),
    ("[send]\nworkers = 3", "[send] is a table", "without tables"),
    ("workers = '3'", "workers must be a whole number, not a text", "`bulksms config`"),
    ("workers = true", "workers must be a whole number, not true or false", ""),
    ("workers = 3.0", "workers must be a whole number, not a number", ""),
    ("workers = [3]", "workers must be a whole number, not a list", ""),
    ("timeout = {s = 3}", "timeout must be a number, not a table", ""),
    ("timeout = 'long'", "timeout must be a number, not a text", ""),
    ("quiet = 1", "quiet must be true or false, not a whole number", ""),
    ("url = true", "url must be a text, not true or false", ""),
    ("deadline = 2030-01-01", "deadline must be a text, not a time", ""),
    ("suppress = ['a.txt', 3]", "suppress[1] must be the name of a file, not a whole number", ""),
    ("workers = 0", "'workers' in bulksms.toml: 0 is not in the range", "--help"),
    ("delivery = 'maybe'", "'delivery' in bulksms.toml: 'maybe' is not one of", "--help"),
    ("rate = 'fast'", "'rate' in bulksms.toml: 'fast' is no rate", "--help"),
    ("max-recipients = 1\nmax_recipients = 2", "max-recipients stands there twice", "- and _"),
    ("workers = 1\nworkers = 2", "not TOML: cannot overwrite a value (at line 2", "workers = 32"),
    ("workers 3", "not TOML: expected '=' after a key in a key/value pair (at line 1", "quotes"),
]


@pytest.mark.parametrize(("content", "error", "hint"), MISTAKES, ids=[content for content, *_ in MISTAKES])
def test_a_mistake_in_the_file_is_one_sentence_and_a_hint(content: str, error: str, hint: str, desk: "Desk") -> None:
    server = desk.server()
    desk.people(1)
    desk.write("bulksms.toml", content + "\n")
    for command in (["config"], ["send", "people.csv", "--yes"]):
        said = desk(*command)
        assert (said.code, said.out) == (2, "")
        told, helped = said.err.splitlines()
        assert error in told
        assert "bulksms.toml" in told
        assert hint in helped
        assert "s3cret" not in said.err
    assert server.journal.total == 0


@pytest.mark.parametrize("content", [b"url = '\xff'", None])
def test_a_file_that_cannot_be_read_is_told(content: bytes | None, desk: "Desk") -> None:
    path = desk.folder / "bulksms.toml"
    path.mkdir() if content is None else path.write_bytes(content)
    said = desk("config")
    assert said.code == 2
    assert "The settings bulksms.toml" in said.err


def test_a_file_from_a_windows_editor_is_read(desk: "Desk") -> None:
    (desk.folder / "bulksms.toml").write_bytes(b"\xef\xbb\xbfworkers = 3\r\nmax_recipients = 7\r\n")
    told = desk("config", "--json").json
    assert told["file"] == "bulksms.toml"
    assert [told["settings"][name]["value"] for name in ("workers", "max-recipients")] == [3, 7]


@pytest.mark.parametrize(("line", "value"), [("rate = 20", "20"), ("rate = 0.5", "0.5"), ("max-failures = 5", "5")])
def test_a_number_needs_no_quotes(line: str, value: str, desk: "Desk") -> None:
    desk.write("bulksms.toml", line)
    assert desk("config", "--json").json["settings"][line.split(" ", maxsplit=1)[0]]["value"] == value


@pytest.mark.parametrize("written", ["23:59:00", "2100-01-01T08:30:00+01:00", "'30m'"])
def test_a_deadline_may_be_one_of_toml_s_times(written: str, desk: "Desk") -> None:
    desk.write("bulksms.toml", f"deadline = {written}\n")
    assert desk("config").code == 0


@pytest.mark.parametrize("how", ["--config", "BULKSMS_CONFIG"])
def test_another_file_is_named(how: str, desk: "Desk") -> None:
    """What lies beside the file is named from there, so that the file can be used from anywhere."""
    desk.write("bulksms.toml", "workers = 3\n")
    (desk.folder / "night").mkdir()
    desk.write("night/night.toml", "workers = 5\ntoken-file = 'token'\nsuppress = ['a.txt', 'b.txt']\n")
    named = str(Path("night", "night.toml"))
    if how == "BULKSMS_CONFIG":
        desk.export(how, named)
    settings = desk("config", "--json", *([how, named] if how == "--config" else [])).json["settings"]
    assert settings["workers"] == {"value": 5, "from": named}
    assert settings["token-file"]["value"] == str(Path("night", "token"))
    assert settings["suppress"]["value"] == [str(Path("night", "a.txt")), str(Path("night", "b.txt"))]


def test_the_home_of_the_user_may_stand_in_the_file(desk: "Desk") -> None:
    desk.export("HOME", str(desk.folder / "home"))
    desk.write("bulksms.toml", "token-file = '~/token'\nca-file = '/etc/ca.pem'\n")
    settings = desk("config", "--json").json["settings"]
    assert settings["token-file"]["value"] == str(desk.folder / "home" / "token")
    assert settings["ca-file"]["value"] == "/etc/ca.pem"


def test_a_run_says_that_a_file_was_read_unless_it_is_quiet(desk: "Desk") -> None:
    desk.server()
    desk.people(1)
    desk.write("bulksms.toml", "workers = 3\n")
    assert "Settings are read from bulksms.toml; `bulksms config` shows them." in desk(*SEND).err
    assert "Settings" not in desk(*SEND, "--new", "--quiet").err


def test_a_named_file_that_is_not_there_is_a_mistake(desk: "Desk") -> None:
    said = desk("config", "--config", "none.toml")
    assert said.code == 2
    assert "The settings none.toml cannot be read" in said.err


def test_help_is_there_though_the_file_is_broken(desk: "Desk") -> None:
    desk.write("bulksms.toml", "no toml")
    assert desk("send", "--help").code == 0


@pytest.mark.parametrize("command", ["status", "report", "verify", "cancel"])
def test_no_file_stands_in_the_way_of_who_looks_or_stops(command: str, desk: "Desk") -> None:
    desk.people(1)
    assert desk("plan", "people.csv").code == 0
    desk.write("bulksms.toml", "no toml")
    desk.export("BULKSMS_JSON", "1")
    assert desk(command, "people.ledger.db").code == 0


# What the settings do


def test_a_run_takes_everything_from_the_file(desk: "Desk") -> None:
    server = desk.serve(latency=0.2)
    desk.write("a-token", desk.token)
    desk.write("bulksms.toml", f"url = '{server.url}'\ntoken-file = 'a-token'\nworkers = 9\nno-adapt = true\n")
    desk.people(9)
    assert desk(*SEND).code == 0
    assert server.journal.max_in_flight == 9
    assert server.journal.unauthorized == 0


def test_the_environment_gives_any_setting(desk: "Desk") -> None:
    server = desk.server(latency=0.2)
    desk.people(9)
    desk.export("BULKSMS_WORKERS", "9")
    desk.export("BULKSMS_NO_ADAPT", "true")
    desk.export("BULKSMS_QUIET", "1")
    desk.export("BULKSMS_JSON", "yes")
    said = desk(*SEND)
    assert said.json["counts"]["accepted"] == 9
    assert said.err == ""
    assert server.journal.max_in_flight == 9


def test_a_variable_with_a_wrong_value_is_named(desk: "Desk") -> None:
    desk.people(1)
    desk.export("BULKSMS_WORKERS", "many")
    said = desk("send", "people.csv", "--dry-run")
    assert said.code == 2
    assert "Invalid value for 'BULKSMS_WORKERS'" in said.err


def test_max_recipients_in_the_file_holds_for_everybody(desk: "Desk") -> None:
    server = desk.server(keep_entries=False)
    desk.write("bulksms.toml", "max-recipients = 1_001\n")
    desk.people(1_002)
    assert desk(*SEND, "--quiet").code == 3
    desk.people(1_001)
    assert desk(*SEND, "--quiet").code == 0
    assert server.journal.total == 1_001


def attempts_of_runs(desk: "Desk") -> list[int]:
    with LedgerReader(desk.folder / "people.ledger.db") as reader:
        return [run.settings["max_attempts"] for run in reader.runs()]


def test_what_the_ledger_keeps_beats_environment_and_file_and_a_flag_beats_it(desk: "Desk") -> None:
    server = desk.server()
    desk.people(2)
    desk.export("BULKSMS_TOKEN", "wrong")
    desk.write("bulksms.toml", "max-attempts = 2\n")
    assert desk(*SEND).code == 5
    desk.write("bulksms.toml", "max-attempts = 7\nno-adapt = true\nkeep-going = true\n")
    desk.export("BULKSMS_MAX_ATTEMPTS", "8")
    desk.export("BULKSMS_CANARY", "1")
    assert desk("resume", "people.ledger.db").code == 5
    assert desk("send", "people.ledger.db", "--yes").code == 5
    assert desk("send", "people.csv", "--yes").code == 5
    with LedgerReader(desk.folder / "people.ledger.db") as reader:
        assert [run.settings["adapt"] for run in reader.runs()] == [True] * 4
        assert [run.settings["keep_going"] for run in reader.runs()] == [False] * 4
        assert [run.settings["canary"] for run in reader.runs()] == [None] * 4, "what was not asked for, neither"
    assert desk("resume", "people.ledger.db", "--max-attempts", "3").code == 5
    assert desk("resume", "people.ledger.db").code == 5
    assert attempts_of_runs(desk) == [2, 2, 2, 2, 3, 3]
    desk.at(server)
    assert desk("resume", "people.ledger.db").code == 0


def test_environment_and_file_hold_for_the_first_run_of_a_plan(desk: "Desk") -> None:
    desk.server()
    desk.people(1)
    desk("plan", "people.csv")
    desk.export("BULKSMS_MAX_ATTEMPTS", "8")
    assert desk("resume", "people.ledger.db").code == 0
    assert attempts_of_runs(desk) == [8]


def test_another_url_in_the_file_is_refused_as_any_other_is(desk: "Desk", monkeypatch: pytest.MonkeyPatch) -> None:
    """The token may be that server's: it must not go to the one that the ledger is bound to."""
    server, other = desk.serve(), desk.serve()
    desk.at(server)
    desk.people(3, mark="[result_failed]")
    assert desk(*SEND, "--max-failures", "1", "--workers", "1").code == 5
    monkeypatch.delenv("BULKSMS_URL")
    desk.write("bulksms.toml", f"url = '{other.url}'\n")
    for command in (["resume", "people.ledger.db"], ["send", "people.ledger.db", "--yes"], SEND):
        said = desk(*command)
        assert said.code == 3
        assert f"is bound to {server.url}, not to {other.url}" in said.err
        assert "url in a file of settings" in said.err
    assert (server.journal.total, other.journal.total) == (1, 0)
    (desk.folder / "bulksms.toml").unlink()
    assert desk("resume", "people.ledger.db", "--max-failures", "9").code == 1
    assert server.journal.total == 3


STANDING = """
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


def test_a_setting_that_is_of_no_use_to_a_call_is_no_mistake(desk: "Desk") -> None:
    """On the command line it would be one; a file is for every call."""
    desk.people(2)
    desk.write("bulksms.toml", STANDING.replace('match = "mail"\n', ""))
    desk.write("text.txt", "Hello.")
    assert desk("plan", "people.csv").code == 0
    assert desk("plan", "people.csv", "--text", "One for all.", "--ledger", "one.db").code == 0
    assert desk("plan", "people.csv", "--ca-file", "no-such.pem", "--ledger", "two.db").code == 2
    assert desk("send", "people.csv", "--dry-run", "--size-limit", "7").code == 2
    desk.write("bulksms.toml", STANDING.replace("ca-file", "# ").replace("password-file", "# "))
    server = desk.server()
    assert desk("send", "people.ledger.db", "--yes").code == 0
    assert desk("send", "people.ledger.db", "--yes", "--text-column", "text").code == 2
    told = ("--told-in", "people.ledger.db", "--text", "All clear.", "--ledger", "clear.db")
    assert desk("send", *told, "--yes").code == 0
    assert server.journal.total == 4
    desk.write("bulksms.toml", "verify-recipients = true\n")
    assert desk("send", "people.csv", "--sandbox", "--yes").code == 0
    assert desk("send", "people.csv", "--sandbox", "--yes", "--verify-recipients").code == 2
    assert desk("check", "--number-property", "mobile").code == 2


# Credentials


def test_username_logs_in_with_the_password_of_the_environment(desk: "Desk") -> None:
    from bulksms.sandbox import Account  # noqa: PLC0415 - of this test

    account = Account(password="a-password-4711")
    server = desk.serve(token=None, account=account)
    desk.people(1)
    desk.export("BULKSMS_TOKEN", "of another server")
    desk.export("BULKSMS_PASSWORD", account.password)
    assert desk(*SEND, "--url", server.url, "--username", account.username).code == 0
    assert server.journal.calls["POST /api/auth"] == 1
    said = desk(*SEND, "--new", "--url", server.url, "--username", account.username, "--token-file", "a-token")
    assert said.code == 2
    assert "Both --token-file and --username are given." in said.err


def credentials(desk: "Desk", *arguments: str) -> tuple[str, str] | None:
    told = desk("config", "--json", *arguments).json["credentials"]
    return told and (told["kind"], told["from"])


def test_config_says_which_credentials_count_and_from_where(desk: "Desk", monkeypatch: pytest.MonkeyPatch) -> None:
    assert credentials(desk) is None
    assert "Credentials: none; at a terminal the access token is asked for." in desk("config").out
    desk.write("bulksms.toml", "username = 'me@example.com'\n")
    assert credentials(desk) == ("account", "username")
    desk.write("bulksms.toml", "username = 'me@example.com'\npassword-file = 'p'\n")
    assert credentials(desk) == ("account", "password-file")
    desk.write("bulksms.toml", "token-file = 't'\n")
    assert credentials(desk) == ("access token", "token-file")
    desk.write("bulksms.toml", "token-file = 't'\npassword-file = 'p'\n")
    assert "Both token-file and password-file" in desk("config").err
    desk.write("bulksms.toml", "token-file = 't'\n")
    found = [("BULKSMS_PASSWORD_FILE", "account"), ("BULKSMS_PASSWORD", "account")]
    found += [("BULKSMS_TOKEN_FILE", "access token"), ("BULKSMS_TOKEN", "access token")]
    for name, kind in found:
        desk.export(name, "s3cret")
        assert credentials(desk) == (kind, name)
    assert credentials(desk, "--username", "me") == ("account", "BULKSMS_PASSWORD")
    assert credentials(desk, "--password-file", "p") == ("account", "--password-file")
    assert credentials(desk, "--token-file", "t") == ("access token", "--token-file")
    monkeypatch.delenv("BULKSMS_PASSWORD")
    monkeypatch.delenv("BULKSMS_PASSWORD_FILE")
    assert credentials(desk, "--username", "me") == ("account", "--username")


# `bulksms config`


def test_config_is_a_table_of_every_setting(desk: "Desk") -> None:
    desk.write("bulksms.toml", "workers = 32\nsuppress = ['a.txt', 'b.txt']\nquiet = true\n")
    desk.export("BULKSMS_TIMEOUT", "12.5")
    said = desk("config", "--rate", "300/min", "--server-wait", "0")
    assert said.code == 0
    rows = {line.split()[0]: line.split()[1:] for line in said.out.splitlines()[1:-1]}
    assert list(rows) == [*SETTINGS, "token", "password"]
    assert rows["workers"] == ["32", "bulksms.toml"]
    assert rows["suppress"] == ["a.txt,", "b.txt", "bulksms.toml"]
    assert rows["quiet"] == ["yes", "bulksms.toml"]
    assert rows["timeout"] == ["12.5", "BULKSMS_TIMEOUT"]
    assert rows["rate"] == ["300/min", "--rate"]
    assert rows["server-wait"] == ["0", "--server-wait"]
    assert rows["delivery"] == ["balanced", "default"]
    assert rows["url"] == ["default"]
    assert said.err == ""


def test_config_shows_of_secrets_only_where_they_are(desk: "Desk") -> None:
    desk.export("BULKSMS_TOKEN", desk.token)
    desk.export("BULKSMS_PASSWORD", "s3cret")
    desk.export("BULKSMS_PROXY", "http://me:s3cret@proxy.example:8080")
    for said in (desk("config"), desk("config", "--json")):
        assert said.code == 0
        assert "s3cret" not in said.out + said.err
        assert "http://***@proxy.example:8080" in said.out
    assert re.search(r"^token +\*\*\* +BULKSMS_TOKEN$", desk("config").out, re.MULTILINE)


def test_config_names_variables_that_nobody_reads(desk: "Desk") -> None:
    desk.export("BULKSMS_WORKRES", "3")
    desk.export("BULKSMS_YES", "1")
    said = desk("config", "--json")
    assert said.json["settings"]["workers"]["from"] == "default"
    assert "BULKSMS_WORKRES is no setting, and nobody reads it; did you mean BULKSMS_WORKERS?" in said.err
    assert "BULKSMS_YES is no setting, and nobody reads it." in said.err


def test_config_of_a_ledger_is_what_resume_would_use(desk: "Desk") -> None:
    server = desk.server()
    desk.people(2)
    desk("plan", "people.csv")
    assert desk("config", "people.ledger.db", "--json").json["settings"]["workers"]["from"] == "default"
    desk.export("BULKSMS_TOKEN", "wrong")
    desk(*SEND, "--workers", "5", "--no-adapt", "--deadline", "1h")
    desk.export("BULKSMS_WORKERS", "9")
    desk.export("BULKSMS_URL", URL)
    told = desk("config", "people.ledger.db", "--json", "--timeout", "7").json["settings"]
    assert told["workers"] == {"value": 5, "from": "people.ledger.db"}
    assert told["no-adapt"] == {"value": True, "from": "people.ledger.db"}
    assert told["url"] == {"value": server.url, "from": "people.ledger.db"}
    assert told["timeout"] == {"value": 7.0, "from": "--timeout"}
    assert re.fullmatch(r"20\d\d-.*\+00:00", told["deadline"]["value"])
    assert told["max-recipients"] == {"value": None, "from": "default"}


def test_options_of_the_same_name_are_the_same_setting() -> None:
    kinds: dict[str, set[object]] = {}
    for name in COMMANDS:
        command = commands.get_command(click.Context(commands), name)
        assert command is not None
        for option in command.params:
            if isinstance(option, Setting):
                kinds.setdefault(option.key, set()).add((option.known, option.envvar, option.otherwise))
    assert {name: kind for name, kind in kinds.items() if len(kind) > 1} == {}
