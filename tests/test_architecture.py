"""The rooms of the program: imports point downwards, rooms that decide do nothing, and what must start at once does."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import bulksms
from bulksms.ledger import DraftRow, new_draft

PACKAGE = Path(bulksms.__file__).parent
FLOORS = (
    {"__main__"},
    {"cli"},
    {"api"},
    {"engine", "report", "sandbox", "directory"},
    {"planning"},
    {"adaxes", "ledger", "input"},
    {"policy", "log"},
    {"model"},
    {"__init__", "errors", "system"},
)
"""The rooms, the highest floor first. A room imports from floors below its own only, never from its neighbours."""
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

ONLY = {
    # The simulator is the other side of the wire: it must not share the client's mistakes.
    "sandbox": {"errors", "model", "system"},
    "report": {"errors", "ledger", "model"},
    "policy": {"model"},
    "input": {"errors", "model"},
    "adaxes": {"errors", "model", "policy", "system"},
    "ledger": {"errors", "log", "model", "system"},
}
"""Rooms that need less than their floor allows."""

CLI_FLOORS = {"app": 0, "commands": 1, "flows": 2, "options": 3, "ui": 4}
"""The rooms of the command line, the highest first."""

PURE = ("policy", "model", "errors")
ACTING = frozenset(
    """aiohttp anyio asyncio concurrent ctypes io logging multiprocessing os pathlib random secrets select selectors
    shutil signal socket sqlite3 ssl structlog subprocess sys tempfile tenacity threading time urllib""".split()  # noqa: SIM905 - words
)
"""What knows a clock, chance, a file, a network or a thread."""


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name; a package is the module in its `__init__`."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ("bulksms", *path.relative_to(PACKAGE).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def imported(module: str) -> Iterator[str]:
    """Every module that this one imports, anywhere in its code; of this package the modules themselves."""
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None, f"{module} imports by a relative name"
            assert node.level == 0, f"{module} imports by a relative name"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in MODULES else node.module


IMPORTS = {module: set(imported(module)) for module in MODULES}
OWN = {module: {name for name in names if name.split(".")[0] == "bulksms"} for module, names in IMPORTS.items()}


def test_every_room_is_on_one_floor() -> None:
    rooms = {room_of(module) for module in MODULES}
    assert sum(map(len, FLOORS)) == len(FLOOR)
    assert rooms == set(FLOOR)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_downwards(module: str) -> None:
    room = room_of(module)
    for name in OWN[module]:
        assert name in MODULES
        other = room_of(name)
        assert other == room or FLOOR[other] > FLOOR[room], f"{module} imports {name}"
        assert other == room or other in ONLY.get(room, FLOOR), f"{module} imports {name}"


BELOW_THE_COMMANDS = [name for name in MODULES if name.startswith("bulksms.cli.") and name.count(".") >= 2]


@pytest.mark.parametrize("module", BELOW_THE_COMMANDS)
def test_the_rooms_of_the_command_line_are_below_its_commands_and_above_each_other(module: str) -> None:
    floor = CLI_FLOORS[module.split(".")[2]]
    for name in OWN[module]:
        if name.startswith("bulksms.cli."):
            assert CLI_FLOORS[name.split(".")[2]] >= floor, f"{module} imports {name}"


@pytest.mark.parametrize("module", [module for module in MODULES if room_of(module) != "ledger"])
def test_other_rooms_import_the_contract_of_the_ledger_and_never_a_store(module: str) -> None:
    assert {name for name in OWN[module] if name.startswith("bulksms.ledger")} <= {"bulksms.ledger"}


@pytest.mark.parametrize("module", [module for module in MODULES if module.startswith("bulksms.ledger.sqlite")])
def test_a_store_imports_the_modules_of_the_contract_and_not_what_opens_it(module: str) -> None:
    assert "bulksms.ledger" not in OWN[module]


@pytest.mark.parametrize("module", [module for module in MODULES if room_of(module) not in ("cli", "__init__")])
def test_rooms_below_the_command_line_import_the_version_of_the_package_and_no_public_name(module: str) -> None:
    nodes = ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8")))
    names = [node.names for node in nodes if isinstance(node, ast.ImportFrom) and node.module == "bulksms"]
    assert {alias.name for aliases in names for alias in aliases} <= {"__version__"}


def test_no_module_imports_itself_by_way_of_others() -> None:
    TopologicalSorter(OWN).prepare()


@pytest.mark.parametrize("module", [module for module in MODULES if room_of(module) in PURE])
def test_rooms_that_decide_know_no_clock_no_chance_no_file_and_no_network(module: str) -> None:
    assert not {name.split(".")[0] for name in IMPORTS[module]} & ACTING
    calls = [node.func for node in ast.walk(ast.parse(MODULES[module].read_text())) if isinstance(node, ast.Call)]
    named = {call.id for call in calls if isinstance(call, ast.Name)}
    asked = {call.attr for call in calls if isinstance(call, ast.Attribute)}
    assert not named & {"open", "print", "input", "exec", "eval"}
    assert not asked & {"now", "utcnow", "today"}


def test_only_the_room_of_the_server_speaks_to_it() -> None:
    assert {room_of(module) for module, names in IMPORTS.items() if "aiohttp" in names} == {"adaxes", "sandbox"}
    assert {room_of(module) for module, names in IMPORTS.items() if "sqlite3" in names} == {"ledger", "planning"}
    assert {room_of(module) for module, names in IMPORTS.items() if {"click", "rich"} & names} == {"cli"}


TIMELESS = ("engine", "adaxes", "directory", "api", "policy", "model")


@pytest.mark.parametrize("module", [module for module in MODULES if room_of(module) in TIMELESS])
def test_time_and_chance_are_arguments_of_a_run(module: str) -> None:
    assert not {"time", "random"} & IMPORTS[module], "`bulksms.system` is the one place that asks for them"


@pytest.mark.parametrize("module", MODULES)
def test_a_module_says_what_it_is_and_is_named_for_it(module: str) -> None:
    docstring = ast.get_docstring(ast.parse(MODULES[module].read_text(encoding="utf-8")))
    assert docstring
    assert module.rpartition(".")[2] not in {"utils", "util", "helpers", "helper", "base", "common", "misc", "tools"}


@pytest.mark.parametrize("package", [module for module, path in MODULES.items() if path.name == "__init__.py"])
def test_what_a_room_says_of_its_modules_is_there(package: str) -> None:
    docstring = ast.get_docstring(ast.parse(MODULES[package].read_text(encoding="utf-8"))) or ""
    for name in re.findall(r"`([a-z][a-z_.]*)`", docstring):
        whole = name if name.startswith("bulksms") else f"{package}.{name}"
        assert {whole, f"bulksms.{name}"} & set(MODULES) or hasattr(bulksms, name), f"{package} names {name}"


SIGNPOSTS = {
    "chooses the exit code": "report.summary",
    "whether a message goes again": "policy.retry",
    "the intent": "engine.worker",
    "checks a row": "input.row_checker",
    "signals into stops": "cli.flows.run",
    "the deadline": "engine.stop_signal",
    "an older copy": "planning.ledger_history",
    "renews the token": "adaxes.auth",
    "a dead run left": "ledger.sqlite.recovery",
    "silent machines": "ledger.postgresql.observer",
}
"""What a newcomer looks for, in the words of the room's docstring, and the module to which they lead."""


@pytest.mark.parametrize(("words", "module"), SIGNPOSTS.items())
def test_a_newcomer_finds_the_module_from_what_its_room_says(words: str, module: str) -> None:
    room, _, name = f"bulksms.{module}".rpartition(".")
    docstring = " ".join((ast.get_docstring(ast.parse(MODULES[room].read_text(encoding="utf-8"))) or "").split())
    before, found, _ = docstring.partition(words)
    assert found
    assert re.findall(r"`(\w+)`", before)[-1] == name


def ledger(folder: Path) -> Path:
    with new_draft(folder / "people.ledger.db") as draft:
        draft.add([DraftRow(2, "CN=A,DC=x", "dn:cn=a,dc=x", "Hi", "{}", "GSM-7", 1)])
        draft.index()
        return draft.keep(source="people.csv", columns=[], fingerprint="", summary="{}", version="1.0")


START = """
import json, sys
from bulksms.cli.app import run
code = run(sys.argv[1:])
print(json.dumps([code, sorted({name.partition(".")[0] for name in sys.modules})]), file=sys.stderr)
"""
SLOW = {"aiohttp", "anyio", "asyncio", "jinja2", "rich", "ssl", "structlog", "tenacity"}
"""What takes its time to import, and is needed by nobody who only looks."""


LOOKS = [
    "--help",
    "--version",
    "status --help",
    "status LEDGER",
    "status --json LEDGER",
    "status --watch LEDGER",
    "config",
    "config --json LEDGER",
    "report LEDGER",
    "report --format csv LEDGER",
    "report --runs LEDGER",
    "history --help",
    "retry --help",
    "resolve --help",
    "purge --help",
]


@pytest.mark.parametrize("arguments", [*LOOKS, "completion bash", "completion powershell"])
def test_who_only_looks_does_not_wait_for_the_engine(arguments: str, tmp_path: Path) -> None:
    words = [str(ledger(tmp_path)) if word == "LEDGER" else word for word in arguments.split()]
    done = subprocess.run([sys.executable, "-c", START, *words], capture_output=True, text=True, check=True)
    code, loaded = json.loads(done.stderr.splitlines()[-1])
    assert code == 0
    assert done.stdout
    assert not SLOW & set(loaded)


COMPLETE = """
import json, os, sys
from bulksms.cli.app import run
os.environ.update(_BULKSMS_COMPLETE="bash_complete", COMP_WORDS=sys.argv[1], COMP_CWORD=sys.argv[2])
try:
    run([])
finally:
    print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
"""


@pytest.mark.parametrize("words", ["bulksms s", "bulksms send --w", "bulksms config --w"])
def test_nobody_waits_for_the_engine_at_the_tab_key(words: str) -> None:
    command = [sys.executable, "-c", COMPLETE, words, str(words.count(" "))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("plain,")
    assert not SLOW & set(json.loads(done.stderr.splitlines()[-1]))
