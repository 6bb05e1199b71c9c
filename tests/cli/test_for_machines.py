"""What machines get is what the schemas say: all members, in their order, each of its type, in ASCII."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click
import pytest
from jsonschema import Draft202012Validator, ValidationError
from msgspec import Struct

from bulksms.cli.app import COMMANDS, commands
from bulksms.ledger.sqlite.remote_control import status_path
from bulksms.model.message import Reason, State
from bulksms.report.shapes import SHAPES, Check, schema

if TYPE_CHECKING:
    from tests.cli.harness import CliHarness

# How each output comes about, by the command that prints it

GUID = "7a4267ce-d354-44e7-8bd6-c681f1284a41"
ENDS = ("", "[result_failed]", "[drop_after]", "[result_suspended]", "[result_warning]", "[500]", "[202]")


def everybody(cli: "CliHarness") -> None:
    """A server, and an input with every common end in it."""
    cli.server()
    rows = [f'"CN=Person {number} {end},DC=x",Hello,1\n' for number, end in enumerate(ENDS)]
    cli.write("people.csv", "".join(["dn,text,floor\n", *rows, rows[0]]))


def sent(cli: "CliHarness") -> list[Any]:
    everybody(cli)
    return [cli("send", "people.csv", "--yes", "--json").json]


def resumed(cli: "CliHarness") -> list[Any]:
    everybody(cli)
    token = cli.token
    cli.export("BULKSMS_TOKEN", "wrong")
    stopped = cli("send", "people.csv", "--yes", "--json").json
    cli.export("BULKSMS_TOKEN", token)
    return [
        stopped,
        cli("resume", "people.ledger.db", "--json").json,
        cli("resume", "people.ledger.db", "--json").json,
    ]


def retried(cli: "CliHarness") -> list[Any]:
    everybody(cli)
    cli("send", "people.csv", "--yes")
    return [cli("retry", "people.ledger.db", "--only", "failed", "--yes", "--json").json]


def resolved(cli: "CliHarness") -> list[Any]:
    everybody(cli)
    cli("send", "people.csv", "--yes")
    (row,) = [str(line.row) for line in cli.lines() if line.state is State.UNKNOWN]
    return [cli("resolve", "people.ledger.db", "--accepted", row, "--json").json]


def listed(cli: "CliHarness") -> list[Any]:
    sent(cli)
    cli("plan", "people.csv", "--ledger", "planned.ledger.db")
    cli.write("broken.ledger.db", "not a ledger at all")
    return [cli("history", "--json").json]


def looked_at(cli: "CliHarness") -> list[Any]:
    cli.people(2)
    cli("plan", "people.csv")
    queued = cli("status", "people.ledger.db", "--json").json
    cli.server()
    cli("resume", "people.ledger.db")
    return [queued, cli("status", "people.ledger.db", "--json").json]


def watched(cli: "CliHarness") -> list[Any]:
    cli.server(latency=0.2)
    cli.people(40)
    send = ("send", "people.csv", "--yes", "--quiet", "--workers", "4", "--no-adapt")
    with subprocess.Popen([sys.executable, "-m", "bulksms", *send], cwd=cli.folder, stdout=subprocess.DEVNULL) as run:
        while not status_path(cli.folder / "people.ledger.db").exists():
            assert run.poll() is None
        printed = [json.loads(line) for line in cli("status", "people.ledger.db", "--watch", "--json").out.splitlines()]
    assert printed[0]["pace"] is not None
    assert printed[-1]["pace"] is None
    return printed


def cancelled(cli: "CliHarness") -> list[Any]:
    cli.people(2)
    cli("plan", "people.csv")
    printed = cli("cancel", "people.ledger.db", "--json").json
    assert printed["counts"]["cancelled"] == printed["total"] == 2
    return [printed]


def previewed(*command: str) -> Callable[["CliHarness"], list[Any]]:
    def outputs(cli: "CliHarness") -> list[Any]:
        cli.write("people.csv", f"guid,text\n{GUID},“Hello”\n{GUID},Other\n{GUID},Other\njsmith,Bad\n")
        refused = cli(*command, "--json")
        assert refused.code == 3
        url = ("--url", "https://adaxes.example/restApi", "--rate", "2")
        return [refused.json, cli(*command, "--json", "--skip-invalid", *url).json]

    return outputs


def checked(cli: "CliHarness") -> list[Any]:
    cli.server()
    good = cli("check", "--json").json
    cli.export("BULKSMS_TOKEN", "wrong")
    bad = cli("check", "--json").json
    assert (good["ok"], bad["ok"]) == (True, False)
    return [good, bad]


def verified(cli: "CliHarness") -> list[Any]:
    cli.people(300)
    cli("plan", "people.csv")
    good = cli("verify", "people.ledger.db", "--json")
    ledger = cli.folder / "people.ledger.db"
    with sqlite3.connect(ledger) as connection:
        connection.execute("UPDATE message SET state = 'delivered' WHERE number = 7")
    connection.close()
    broken = cli("verify", "people.ledger.db", "--json")
    assert (good.code, good.json["ok"]) == (0, True)
    assert (broken.code, broken.json["ok"]) == (6, False)
    assert "7" in [one["violation"] for one in broken.json["invariants"]]
    return [good.json, broken.json]


def configured(cli: "CliHarness") -> list[Any]:
    nothing = cli("config", "--json").json
    assert (nothing["file"], nothing["credentials"]) == (None, None)
    cli.server()
    cli.write("bulksms.toml", 'workers = 3\nsuppress = ["never.txt"]\n')
    return [nothing, cli("config", "--json", "--rate", "0.5", "--no-adapt").json]


def reported(cli: "CliHarness") -> list[Any]:
    sent(cli)
    return [json.loads(line) for line in cli("report", "people.ledger.db", "--format", "jsonl").out.splitlines()]


def run_before(cli: "CliHarness") -> list[Any]:
    sent(cli)
    return [cli("report", "people.ledger.db", "--runs", "--json").json]


def logged(cli: "CliHarness") -> list[Any]:
    everybody(cli)
    log = ("--log-format", "json", "--log-level", "debug", "--log-file", "run.log")
    cli("send", "people.csv", "--yes", "--max-failures", "1", *log)
    events = [json.loads(line) for line in (cli.folder / "run.log").read_text(encoding="utf-8").splitlines()]
    assert {"message settled", "run stopping"} <= {event["event"] for event in events}
    return events


OUTPUTS: Mapping[str, Callable[["CliHarness"], list[Any]]] = {
    "send --json": sent,
    "resume --json": resumed,
    "retry --json": retried,
    "resolve --json": resolved,
    "history --json": listed,
    "status --json": looked_at,
    "status --watch --json": watched,
    "cancel --json": cancelled,
    "plan --json": previewed("plan", "people.csv"),
    "send --dry-run --json": previewed("send", "people.csv", "--dry-run"),
    "check --json": checked,
    "verify --json": verified,
    "config --json": configured,
    "report --format jsonl": reported,
    "report --runs --json": run_before,
    "--log-format json": logged,
}
"""One line for each command that prints JSON."""
KINDS = {command: kind for kind, commands in SHAPES.values() for command in commands}


def validator(kind: type[Struct]) -> Draft202012Validator:
    made = schema(kind)
    Draft202012Validator.check_schema(made)
    return Draft202012Validator(made)


@pytest.mark.parametrize("name", OUTPUTS)
def test_output_conforms_to_its_schema(name: str, cli: "CliHarness") -> None:
    outputs = OUTPUTS[name](cli)
    assert outputs
    for output in outputs:
        validator(KINDS[name]).validate(output)
        own = KINDS[name].__struct_fields__
        assert tuple(name for name in output if name in own) == own, "all members, in their order"


def test_every_output_has_a_schema_and_every_schema_an_output() -> None:
    assert set(KINDS) == set(OUTPUTS)
    for name in COMMANDS:
        command = commands.get_command(click.Context(commands), name)
        assert command is not None
        prints = any("--json" in parameter.opts for parameter in command.params)
        if name == "work":  # needs a database, and prints what `send` does: tests/cli/test_work.py
            continue
        assert prints == any(one.startswith(f"{name} ") and one.endswith(" --json") for one in KINDS), name


def test_the_words_of_a_report_are_those_of_the_contract(cli: "CliHarness") -> None:
    lines = reported(cli)
    assert {line["reason"] for line in lines} - {None} <= {reason.value for reason in Reason}
    assert {line["floor"] for line in lines} == {"1"}, "the input's other columns follow"
    assert len(lines) == len(ENDS) + 1


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"ok": True, "steps": []},
        {"format": "1.0", "ok": "yes", "steps": []},
        {"format": "2.0", "ok": True, "steps": []},
        {"format": "1.0", "ok": True, "steps": [{"step": "dns"}]},
        {"format": "1.0", "ok": True, "steps": [], "more": 1},
    ],
)
def test_a_schema_refuses_what_is_different(wrong: dict[str, object]) -> None:
    validator(Check).validate({"format": "1.0", "ok": True, "steps": []})
    with pytest.raises(ValidationError):
        validator(Check).validate(wrong)


ODD_NAMES = ("Müller", "O'Brien", "Łukasz", "José", "Ζωή", "Юрий", "李小龍", "👩‍🚀", "שלום", "سلام", "é", "ﬁ")


@pytest.mark.parametrize(
    "command", [("report", "people.ledger.db", "--format", "jsonl"), ("plan", "again.csv", "--json")]
)
def test_names_survive_a_pipe_of_any_code_page(command: tuple[str, ...], cli: "CliHarness") -> None:
    """Windows PowerShell 5.1 decodes with the console's code page, which knows no UTF-8."""
    rows = "".join(f'"CN={name},DC=x",Hello {name}\n' for name in ODD_NAMES)
    for file in ("people.csv", "again.csv"):
        cli.write(file, f"dn,text\n{rows}")
    cli("plan", "people.csv")
    printed = cli(*command, *(("--show", "100") if command[0] == "plan" else ())).out
    for code_page in ("ascii", "cp437", "cp850", "cp1252", "cp932"):
        lines = printed.encode("utf-8").decode(code_page)
        found = json.loads(lines)["examples"] if command[0] == "plan" else list(map(json.loads, lines.splitlines()))
        assert [line["recipient"] for line in found] == [f"CN={name},DC=x" for name in ODD_NAMES]


DAMAGED = [
    ("CN=M?ller,DC=x", "has a ? where a letter may have been"),
    ("CN=M\ufffdller,DC=x", "has U+FFFD where a letter was"),
    ("CN=Müller,DC=x".encode().decode("cp1252"), "probably CN=Müller,DC=x is meant"),
    ("CN=Müller,DC=x".encode().decode("cp437"), "probably CN=Müller,DC=x is meant"),
    ("CN=李小龍,DC=x".encode().decode("cp850"), "probably CN=李小龍,DC=x is meant"),
]


@pytest.mark.parametrize(("identifier", "problem"), DAMAGED)
def test_an_identifier_that_a_pipe_changed_is_refused(identifier: str, problem: str, cli: "CliHarness") -> None:
    """Another person's DN may be what has become of it."""
    rows = f'"{identifier}",Hello\n"CN=Müller,OU=Straße,DC=x",Hello\n'
    result = cli("plan", "-", "--format", "csv", "--ledger", "p.db", typed=f"dn,text\n{rows}".encode())
    assert result.code == 3
    assert "E120 damaged-identifier" in result.err
    assert problem in " ".join(result.err.split())
    assert "1 of 2 rows" in result.err
    cli.write("people.csv", f"dn,text\n{rows}")
    assert cli("plan", "people.csv").code == 0, "in a file it may be so"


def test_names_go_from_a_file_to_the_report_and_back_into_retry(cli: "CliHarness") -> None:
    server = cli.server()
    cli.write("people.csv", "dn,text\n" + "".join(f'"CN={name} [400],DC=x",Hi\n' for name in ODD_NAMES))
    assert cli("send", "people.csv", "--yes", "--keep-going").code == 1
    report = cli("report", "people.ledger.db", "--format", "jsonl").out.encode().decode("cp850")
    found = [json.loads(line)["recipient"] for line in report.splitlines()]
    cli.write("again.csv", "dn\n" + "".join(f'"{recipient}"\n' for recipient in found))
    assert cli("retry", "people.ledger.db", "--from", "again.csv", "--yes", "--keep-going").code == 0
    assert {line.state for line in cli.lines()} == {State.ACCEPTED}
    assert {entry.recipient for entry in server.journal.received} == {f"CN={name} [400],DC=x" for name in ODD_NAMES}
