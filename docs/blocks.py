"""The blocks that are generated from the code, each a function that returns Markdown."""

import ast
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import click

from bulksms.cli.app import COMMANDS, commands
from bulksms.cli.commands.config import Shown
from bulksms.cli.options.commands import SETTINGS
from bulksms.input import CODES
from bulksms.model.message import REASONS, TRANSITIONS, State
from bulksms.model.run_settings import DeliveryMode, StopReason
from bulksms.policy.retry import VERDICTS, Evidence
from bulksms.report.rows import COLUMNS
from bulksms.report.shapes import SHAPES, schema
from bulksms.report.summary import MEANINGS
from docs.api import reference

ROOT = Path(__file__).parent.parent
WIDTH = 100
"""Characters in a line of `--help` on the reference page."""

PROOFS: Mapping[Evidence, str] = {
    Evidence.NEVER_LEFT: "the request never left: DNS, connection refused, connect or TLS-handshake time-out",
    Evidence.NOT_PROCESSED: "408, 425, 429, 503",
    Evidence.SERVER_FAILED: "500, 502",
    Evidence.LOST: "504, and every answer lost after the headers left: read time-out, reset, disconnect, truncated or "
    "unreadable 200, other 2xx, a 202 without an operation id",
    Evidence.CRASHED: "the message was found `sending` after a crash",
    Evidence.UNAUTHENTICATED: "401",
    Evidence.REJECTED: "400, 403, 404, 409, 413, 422, other 4xx; a 200 whose `resultType` is 1",
    Evidence.MISDIRECTED: "3xx, 405, 407, 501, bad certificate, bad URL",
    Evidence.SUCCEEDED: "200, `resultType` 0",
    Evidence.SUSPENDED: "200, `resultType` 2",
    Evidence.STARTED: "202 with an operation id",
}
"""How each kind of evidence looks on the wire, in the order of the table."""

STATES: Mapping[State, tuple[str, str]] = {
    State.QUEUED: ("to be attempted, for the first time or again", "a run"),
    State.SENDING: ("an attempt is on disk and may have left; shown as `unknown` after a crash", "its answer"),
    State.PROCESSING: ("the server answered 202 and is still working on it; the ledger has the operation id", "a poll"),
    State.ACCEPTED: ("the server reported success", ""),
    State.AWAITING_APPROVAL: ("the server suspended the message until somebody approves it", ""),
    State.FAILED: ("certainly not sent, and given up", "`retry`"),
    State.UNKNOWN: ("may or may not have been sent", "`retry --only unknown`, `resolve`"),
    State.EXPIRED: ("certainly not sent; the deadline passed", "`retry`"),
    State.CANCELLED: ("certainly not sent; the operator withdrew it", ""),
    State.SKIPPED: ("never meant to be sent: duplicate, suppressed, or an invalid row", ""),
}
"""What each state means, and what ends it."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; a bar in a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def evidence() -> str:
    """The delivery table: evidence by delivery mode."""
    rows = [
        [f"`{kind}`: {proof}", *(VERDICTS[kind, mode].value for mode in DeliveryMode)] for kind, proof in PROOFS.items()
    ]
    return table(("evidence", *(_mode(mode) for mode in DeliveryMode)), rows)


def _mode(mode: DeliveryMode) -> str:
    return f"{mode} (default)" if mode is DeliveryMode.BALANCED else mode


def states() -> str:
    """The states of a message, their reasons, and what ends them."""
    rows = [
        (f"`{state}`", meaning, ", ".join(f"`{reason}`" for reason in REASONS[state]), left)
        for state, (meaning, left) in STATES.items()
    ]
    return table(("state", "meaning", "reasons", "left by"), rows)


def transitions() -> str:
    """The state diagram in Mermaid."""
    lines = [f"    {before} --> {after}" for before in State for after in State if after in TRANSITIONS[before]]
    return "\n".join(["```mermaid", "stateDiagram-v2", "    [*] --> queued", *lines, "```"])


def exit_codes() -> str:
    """The exit codes and their meanings."""
    return table(("code", "meaning"), [(str(int(code)), meaning) for code, meaning in MEANINGS.items()])


def findings() -> str:
    """Every code of a finding."""
    return table(("code", "name", "meaning"), [(code, *finding) for code, finding in CODES.items()])


def command_list() -> str:
    """One line for each command."""
    return table(("command", "what it does"), [(f"`{name}`", text) for name, text in COMMANDS.items()])


def command_help() -> str:
    """The help of every command, as the program prints it."""
    parts = []
    for name in COMMANDS:
        command = commands.get_command(click.Context(commands), name)
        if command is None:
            raise LookupError(name)
        context = click.Context(
            command,
            info_name=name,
            parent=click.Context(commands, info_name="bulksms"),
            terminal_width=WIDTH,
            max_content_width=WIDTH,
            help_option_names=["-h", "--help"],
        )
        parts.append(f"## {name}\n\n```text\n{command.get_help(context)}\n```")
    return "\n\n".join(parts)


def settings() -> str:
    """Every setting with its variable, its default and its help."""
    rows = [
        (f"`{name}`", f"`{it.envvar}`", Shown(it.default_value, None).text, (it.help or "").partition("  [")[0])
        for name, it in SETTINGS.items()
    ]
    return table(("setting", "environment", "default", "what it does"), rows)


def report_columns() -> str:
    """The columns of a report, in their order."""
    return ", ".join(f"`{column}`" for column in COLUMNS)


def stop_reasons() -> str:
    """The words of `stopped`."""
    return ", ".join(f"`{reason}`" for reason in StopReason)


def sample(name: str) -> str:
    """A program of `samples/`, whole."""
    return f"```python\n{(ROOT / 'samples' / name).read_text(encoding='utf-8')}```"


def json_shapes() -> str:
    """Every object that the program prints: a heading with the commands, the types it is made of, and their members."""
    parts, shown = [], set[str]()
    for name, (kind, commands_) in SHAPES.items():
        made = schema(kind)["$defs"]
        heading = ", ".join(f"`{command}`" for command in commands_)
        parts.append(f"## {heading}\n\nSchema: [{name}.json](schemas/{name}.json).\n\n{_members(made[kind.__name__])}")
        for title, one in made.items():
            if "properties" in one and title != kind.__name__ and title not in shown:
                shown.add(title)
                parts.append(f"### {title}\n\n{_members(one)}")
    return "\n\n".join(parts)


def _members(definition: Mapping[str, Any]) -> str:
    rows = [
        (f"`{name}`", _type_in_words(one), one.get("description", "")) for name, one in definition["properties"].items()
    ]
    about = " ".join(definition["description"].split())
    return f"{about}\n\n{table(('member', 'type', 'what it is'), rows)}"


def _type_in_words(one: Mapping[str, Any]) -> str:
    if "$ref" in one:
        name = one["$ref"].rpartition("/")[2]
        return {"State": "a state", "StopReason": "a reason to stop"}.get(name, f"[{name}](#{name.lower()})")
    if "enum" in one:
        return " or ".join(f"`{value}`" for value in one["enum"])
    if "anyOf" in one:
        return " or ".join(dict.fromkeys(map(_type_in_words, one["anyOf"])))
    if one.get("type") == "array":
        items = one.get("items", {})
        return f"array of {_type_in_words(items)}" if items else "array"
    if one.get("type") == "object":
        values = one.get("additionalProperties", {})
        return f"object of {_type_in_words(values)}" if values else "object"
    return str(one.get("type", "anything"))


def constants() -> str:
    """The constants of the policy and of a run's settings: where they are, their values and their reasons."""
    rows = []
    package = ROOT / "bulksms"
    for path in (*sorted((package / "policy").glob("*.py")), package / "model" / "run_settings.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Timings"]
        for body in (tree.body, *(node.body for node in classes)):
            for node, after in pairwise(body):
                name, value = _constant(node)
                if name and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                    rows.append((f"`{path.stem}.{name}`", value, " ".join(str(after.value.value).split())))
    return table(("constant", "value", "reason"), rows)


def _constant(node: ast.stmt) -> tuple[str, str]:
    """The name and value of a number that a statement gives a name; empty if it is no such statement."""
    if isinstance(node, ast.Assign) and isinstance(target := node.targets[0], ast.Name):
        name, value = target.id, node.value
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
        name, value = node.target.id, node.value
    else:
        return "", ""
    return (name, str(value.value)) if isinstance(value, ast.Constant) and not name.startswith("_") else ("", "")


EVENTS: Mapping[str, str] = {
    "message settled": "a message reached its final state, or goes again",
    "not shown": "an error that could not be printed, because standard error is closed or full",
    "result not shown": "the result of a run that could not be printed; `counts` has the messages in each state",
    "run stopping": "the run stops before its end; `reason` is the value of `stopped`",
    "server wait off": "the server rejects the `Adm-Wait` header; the run continues without it",
    "history not noted": "the record of this ledger's runs outside the file cannot be read or written",
    "progress not noted": "the record of how far this run came could not be written",
    "hook failed": "a hook of the program that uses the library raised an exception",
    "rate": "the server throttles: at most `value` requests a second leave, until more are tried again",
    "concurrency": "the number of requests that may be in flight changed to `value`",
    "all workers held": "nothing is sent for `value` seconds",
    "all workers go on": "the hold is over",
    "server away": "the server was unavailable for longer than `--max-outage`",
    "doubt": "too many messages in a row are `unknown`",
    "machine fenced": "another machine of this run was silent; `under_way` of its messages are `unknown`",
    "machine was taken for dead": "this machine was silent for too long; it goes on as another run",
    "late outcomes": "outcomes of before it was taken for dead; `repaired` are not `unknown` any more",
    "database has gone back": "the database lacked `restored` attempts that it had confirmed; nothing more is sent",
    "ledger failed": "an internal error while the ledger was written; nothing more is sent",
}
"""What each event means."""
LEVELS = ("debug", "info", "warning", "error", "exception")


def logged() -> dict[str, tuple[str, list[str]]]:
    """Every event that the code logs: its level and the names of its members."""
    found: dict[str, tuple[str, list[str]]] = {}
    for path in sorted((ROOT / "bulksms").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args or not isinstance(first := node.args[0], ast.Constant):
                continue
            event = str(first.value)
            called = ast.unparse(node.func)
            level = called.removeprefix("log.")
            if called == "PolicyEvent":
                found[event] = "info", ["why", "value"]
            elif called.startswith("log.") and level in LEVELS:
                names = [keyword.arg or "recipient" for keyword in node.keywords]
                earlier = found.get(event, ("", []))[1]
                found[event] = "error" if level == "exception" else level, list(dict.fromkeys(earlier + names))
    return dict(sorted(found.items()))


def log_events() -> str:
    """Every event, its level, its members and its meaning."""
    rows = [
        (event, level, ", ".join(f"`{name}`" for name in names), EVENTS.get(event, ""))
        for event, (level, names) in logged().items()
    ]
    return table(("event", "level", "members", "meaning"), rows)


BLOCKS: Mapping[str, Callable[..., str]] = {
    "evidence": evidence,
    "states": states,
    "transitions": transitions,
    "exit codes": exit_codes,
    "findings": findings,
    "commands": command_list,
    "command help": command_help,
    "settings": settings,
    "report columns": report_columns,
    "stop reasons": stop_reasons,
    "json shapes": json_shapes,
    "constants": constants,
    "log events": log_events,
    "sample": sample,
    "python": reference,
}
"""Each block by the name that pages use."""


def schemas() -> dict[Path, str]:
    """Every JSON Schema by the file that holds it."""
    folder = ROOT / "docs" / "reference" / "schemas"
    return {folder / f"{name}.json": json.dumps(schema(kind), indent=2) + "\n" for name, (kind, _) in SHAPES.items()}
