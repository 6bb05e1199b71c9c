"""What machines get is what the README's tables say: all members, in their order, each of its type."""

import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest

from bulksms.cli import COMMANDS, commands
from bulksms.ledger.live import live_path
from bulksms.message import Reason, State
from bulksms.report.rows import COLUMNS

if TYPE_CHECKING:
    from tests.cli.conftest import Desk

README = Path(__file__).parents[2].joinpath("README.md").read_text(encoding="utf-8")
TYPES: Mapping[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
    "object": dict,
    "array": list,
}
OTHERS = "…"


def tables() -> Iterator[tuple[str, dict[str, str]]]:
    """Each table of "For machines" under each name in its heading: members and their types."""
    section = README.partition("\n## For machines\n")[2].partition("\n## ")[0]
    for part in re.split(r"\n###+ ", section)[1:]:
        heading, _, text = part.partition("\n")
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line[:1] == "|"]
        for name in re.findall(r"`([^`]+)`", heading):
            yield name, {member.strip("`"): kind for member, kind, _ in rows[2:]}


SCHEMAS = dict(tables())


def conform(value: object, kind: str) -> bool:
    """Whether a value is of a type as the tables write it."""
    return any(_is(value, one) for one in kind.split(" or "))


def _is(value: object, kind: str) -> bool:
    if kind.startswith("array of "):
        return isinstance(value, list) and all(conform(one, kind.removeprefix("array of ")) for one in value)
    name = kind.strip("`")
    if name in SCHEMAS and isinstance(value, dict):
        require(value, SCHEMAS[name])
        return True
    if kind.startswith("`"):
        return name not in SCHEMAS and value == name
    return isinstance(value, TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def require(value: object, schema: Mapping[str, str]) -> None:
    """Hold an object against its table."""
    assert isinstance(value, dict)
    own = [name for name in schema if "." not in name and name != OTHERS]
    assert [name for name in value if name in own] == own
    assert OTHERS in schema or set(value) == set(own)
    for name, found in value.items():
        kind = schema.get(name, schema.get(OTHERS, ""))
        assert conform(found, kind), (name, found, kind)
    for name, kind in schema.items():
        of, dot, _ = name.partition(".")
        if dot:
            assert all(conform(one, kind) for one in value[of].values()), name


# The outputs themselves: for each name in a heading how they come about, as objects

GUID = "7a4267ce-d354-44e7-8bd6-c681f1284a41"
ENDS = ("", "[result_failed]", "[drop_after]", "[result_suspended]", "[result_warning]", "[500]", "[202]")


def everybody(desk: "Desk") -> None:
    """A server, and an input with every common end in it."""
    desk.server()
    rows = [f'"CN=Person {number} {end},DC=x",Hello,1\n' for number, end in enumerate(ENDS)]
    desk.write("people.csv", "".join(["dn,text,floor\n", *rows, rows[0]]))


def sent(desk: "Desk") -> list[Any]:
    everybody(desk)
    return [desk("send", "people.csv", "--yes", "--json").json]


def resumed(desk: "Desk") -> list[Any]:
    everybody(desk)
    token = desk.token
    desk.export("BULKSMS_TOKEN", "wrong")
    stopped = desk("send", "people.csv", "--yes", "--json").json
    desk.export("BULKSMS_TOKEN", token)
    return [
        stopped,
        desk("resume", "people.ledger.db", "--json").json,
        desk("resume", "people.ledger.db", "--json").json,
    ]


def retried(desk: "Desk") -> list[Any]:
    everybody(desk)
    desk("send", "people.csv", "--yes")
    return [desk("retry", "people.ledger.db", "--only", "failed", "--yes", "--json").json]


def resolved(desk: "Desk") -> list[Any]:
    everybody(desk)
    desk("send", "people.csv", "--yes")
    (row,) = [str(line.row) for line in desk.lines() if line.state is State.UNKNOWN]
    return [desk("resolve", "people.ledger.db", "--accepted", row, "--json").json]


def listed(desk: "Desk") -> list[Any]:
    sent(desk)
    desk("plan", "people.csv", "--ledger", "planned.ledger.db")
    desk.write("broken.ledger.db", "not a ledger at all")
    return [desk("history", "--json").json]


def stood(desk: "Desk") -> list[Any]:
    desk.people(2)
    desk("plan", "people.csv")
    queued = desk("status", "people.ledger.db", "--json").json
    desk.server()
    desk("resume", "people.ledger.db")
    return [queued, desk("status", "people.ledger.db", "--json").json]


def watched(desk: "Desk") -> list[Any]:
    desk.server(latency=0.2)
    desk.people(40)
    send = ("send", "people.csv", "--yes", "--quiet", "--workers", "4", "--no-adapt")
    with subprocess.Popen([sys.executable, "-m", "bulksms", *send], cwd=desk.folder, stdout=subprocess.DEVNULL) as run:
        while not live_path(desk.folder / "people.ledger.db").exists():
            assert run.poll() is None
        told = [json.loads(line) for line in desk("status", "people.ledger.db", "--watch", "--json").out.splitlines()]
    assert told[0]["pace"] is not None
    assert told[-1]["pace"] is None
    for line in told:
        require({name: value for name, value in line.items() if name != "pace"}, SCHEMAS["status --json"])
    return told


def cancelled(desk: "Desk") -> list[Any]:
    desk.people(2)
    desk("plan", "people.csv")
    told = desk("cancel", "people.ledger.db", "--json").json
    assert told["counts"]["cancelled"] == told["total"] == 2
    return [told]


def previewed(*command: str) -> Callable[["Desk"], list[Any]]:
    def outputs(desk: "Desk") -> list[Any]:
        desk.write("people.csv", f"guid,text\n{GUID},“Hello”\n{GUID},Other\n{GUID},Other\njsmith,Bad\n")
        refused = desk(*command, "--json")
        assert refused.code == 3
        url = ("--url", "https://adaxes.example/restApi", "--rate", "2")
        return [refused.json, desk(*command, "--json", "--skip-bad", *url).json]

    return outputs


def checked(desk: "Desk") -> list[Any]:
    desk.server()
    good = desk("check", "--json").json
    desk.export("BULKSMS_TOKEN", "wrong")
    bad = desk("check", "--json").json
    assert (good["good"], bad["good"]) == (True, False)
    return [good, bad]


def verified(desk: "Desk") -> list[Any]:
    desk.people(300)
    desk("plan", "people.csv")
    good = desk("verify", "people.ledger.db", "--json")
    ledger = desk.folder / "people.ledger.db"
    with sqlite3.connect(ledger) as connection:
        connection.execute("UPDATE message SET state = 'delivered' WHERE number = 7")
    connection.close()
    broken = desk("verify", "people.ledger.db", "--json")
    assert (good.code, good.json["good"]) == (0, True)
    assert (broken.code, broken.json["good"]) == (6, False)
    assert "7" in [law["broken"] for law in broken.json["laws"]]
    return [good.json, broken.json]


def configured(desk: "Desk") -> list[Any]:
    nothing = desk("config", "--json").json
    assert (nothing["file"], nothing["credentials"]) == (None, None)
    desk.server()
    desk.write("bulksms.toml", 'workers = 3\nsuppress = ["never.txt"]\n')
    return [nothing, desk("config", "--json", "--rate", "0.5", "--no-adapt").json]


def reported(desk: "Desk") -> list[Any]:
    sent(desk)
    return [json.loads(line) for line in desk("report", "people.ledger.db", "--format", "jsonl").out.splitlines()]


def run_before(desk: "Desk") -> list[Any]:
    sent(desk)
    told: list[Any] = json.loads(desk("report", "people.ledger.db", "--runs", "--json").out)
    return told


def logged(desk: "Desk") -> list[Any]:
    everybody(desk)
    log = ("--log-format", "json", "--log-level", "debug", "--log-file", "run.log")
    desk("send", "people.csv", "--yes", "--max-failures", "1", *log)
    events = [json.loads(line) for line in (desk.folder / "run.log").read_text(encoding="utf-8").splitlines()]
    assert {"message settled", "run stopping"} <= {event["event"] for event in events}
    return events


OUTPUTS: Mapping[str, Callable[["Desk"], list[Any]]] = {
    "send --json": sent,
    "resume --json": resumed,
    "retry --json": retried,
    "resolve --json": resolved,
    "history --json": listed,
    "status --json": stood,
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
"""One line for each name in a heading of the README's section."""


@pytest.mark.parametrize("name", OUTPUTS)
def test_what_machines_get_is_what_the_readme_says(name: str, desk: "Desk") -> None:
    outputs = OUTPUTS[name](desk)
    assert outputs
    for output in outputs:
        require(output, SCHEMAS[name])


def test_every_table_is_held_against_an_output() -> None:
    used = {kind for schema in SCHEMAS.values() for kind in re.findall(r"`([^`]+)`", " ".join(schema.values()))}
    assert {name for name in SCHEMAS if name not in used} == set(OUTPUTS)


def test_every_command_that_speaks_to_machines_has_its_table() -> None:
    for name in COMMANDS:
        command = commands.get_command(click.Context(commands), name)
        assert command is not None
        speaks = any("--json" in parameter.opts for parameter in command.params)
        tables = [schema for schema in SCHEMAS if schema.startswith(f"{name} ") and schema.endswith(" --json")]
        assert speaks == bool(tables), name


def test_the_words_of_a_report_are_those_of_the_contract(desk: "Desk") -> None:
    lines = reported(desk)
    assert tuple(SCHEMAS["report --format jsonl"]) == (*COLUMNS, OTHERS)
    assert {line["status"] for line in lines} <= {state.value for state in State}
    assert {line["reason"] for line in lines} - {None} <= {reason.value for reason in Reason}
    assert len(lines) == len(ENDS) + 1


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"law": "a law"},
        {"broken": None, "law": "a law"},
        {"law": "a law", "broken": 1},
        {"law": None, "broken": None},
        {"law": "a law", "broken": None, "more": 1},
    ],
)
def test_what_is_otherwise_is_noticed(wrong: dict[str, object]) -> None:
    require({"law": "a law", "broken": None}, SCHEMAS["law"])
    with pytest.raises(AssertionError):
        require(wrong, SCHEMAS["law"])
