"""Mutants: `python -m tests.mutation policy` changes one place of a room after another; what did no test notice?

It needs `pip install cosmic-ray`, whose operators make the mutants, and works on copies of the project. A whole room
takes hours; `--sample 150` takes so many of its mutants, chosen by `--seed`. A survivor is a gap in the tests, or is
listed in docs/simulation.md with the reason why it changes nothing.

Annotations are not mutated, nor what runs on Windows only: a test of this machine can say nothing about them. Every
mutant is tried in a fork of one process that has imported what all tests need; the fastest tests run first.
"""

import argparse
import ast
import contextlib
import difflib
import gc
import importlib
import json
import math
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

ROOT = Path(__file__).parents[2]
WARM = ("_pytest.assertion.rewrite", "aiohttp.web", "asyncio", "jinja2", "msgspec", "sqlite3", "unittest.mock")
"""What every test of a room needs, imported once. Nothing of this project: a mutant has to be imported anew."""
PATIENCE = 10.0
"""A test that takes so many times as long as without a mutant, and as many seconds more, hangs: that is noticed."""

RUNNING = "mutation.test"
"""The file that names the test that runs: what hangs cannot say it itself."""


class Room(NamedTuple):
    """What is mutated, and the tests that have to notice."""

    modules: tuple[str, ...]
    tests: tuple[str, ...]
    needs_no: str = "nothing"
    """A fixture: tests that need it are left out, because they are of modules that are not mutated."""


ROOMS = {
    "policy": Room(("bulksms/policy",), ("tests/policy",)),
    "ledger": Room(("bulksms/ledger/*.py", "bulksms/ledger/sqlite"), ("tests/ledger",), "postgresql"),
    "engine": Room(("bulksms/engine/worker.py",), ("tests/engine",)),
}


class Mutant(NamedTuple):
    """One change of one place."""

    module: str
    operator: str
    occurrence: int
    line: int


class Ordered:
    """A plugin of pytest: leaves out what a room needs not, runs the fastest first, and notes how long each takes."""

    def __init__(self, room: Room, durations: dict[str, float]) -> None:
        self._room = room
        self._known = dict(durations)
        self.durations: dict[str, float] = {}
        self.failed: list[str] = []

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Choose and sort."""
        kept = [
            it
            for it in items
            if self._room.needs_no not in it.nodeid and self._room.needs_no not in getattr(it, "fixturenames", ())
        ]
        items[:] = sorted(kept, key=lambda it: self._known.get(it.nodeid, 0.0))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """End this process when the test takes far longer than it did without a mutant."""
        if self._known:
            Path(RUNNING).write_text(nodeid, encoding="utf-8")
            signal.setitimer(signal.ITIMER_REAL, PATIENCE + PATIENCE * self._known.get(nodeid, 0.0))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what a test took, and whether it failed."""
        self.durations[report.nodeid] = self.durations.get(report.nodeid, 0.0) + report.duration
        if report.failed:
            self.failed.append(report.nodeid)


def paths(room: Room) -> list[str]:
    """The modules of a room, from the root of the project."""
    found: set[Path] = set()
    for pattern in room.modules:
        place = ROOT / pattern
        found.update(place.rglob("*.py") if place.is_dir() else ROOT.glob(pattern))
    return sorted(it.relative_to(ROOT).as_posix() for it in found)


def not_mutated(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """From where to where nothing is changed: annotations, and branches of Windows or for the type checker."""
    nodes: list[ast.AST] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.AnnAssign | ast.arg) and node.annotation:
            nodes.append(node.annotation)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns:
            nodes.append(node.returns)
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "sys.platform == 'win32'"):
            nodes += [node.test, *node.body]
    return [((it.lineno, it.col_offset), (it.end_lineno, it.end_col_offset)) for it in nodes]  # type: ignore[attr-defined]  # all are expressions or statements


def mutants_of(module: str) -> Iterator[Mutant]:
    """Every mutant of a module, in an order that is always the same."""
    from cosmic_ray.ast import ast_nodes, get_ast  # noqa: PLC0415 - only who makes mutants has installed it
    from cosmic_ray.plugins import get_operator, operator_names  # noqa: PLC0415

    source = (ROOT / module).read_text(encoding="utf-8")
    left_out = not_mutated(source)
    nodes = list(ast_nodes(get_ast(source)))
    for name in sorted(operator_names()):
        operator = get_operator(name)
        if operator.arguments():
            continue
        places = (place for node in nodes for place in operator().mutation_positions(node))
        for occurrence, (start, _) in enumerate(places):
            if not any(first <= start < last for first, last in left_out):
                yield Mutant(module, name, occurrence, start[0])


def mutate(mutant: Mutant) -> tuple[str, str]:
    """A module as it is, and as the mutant has it."""
    from cosmic_ray.mutating import mutate_code  # noqa: PLC0415
    from cosmic_ray.plugins import get_operator  # noqa: PLC0415

    source = (ROOT / mutant.module).read_text(encoding="utf-8")
    changed = mutate_code(source, get_operator(mutant.operator)(), mutant.occurrence)
    return source, source if changed is None else changed


def run_tests(room: Room, durations: dict[str, float], report: str) -> None:
    """Run a room's tests in this process, which is a fork, until the first fails; a file says what came of it."""
    os.setsid()
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - no file of anybody
        for stream in (1, 2):
            os.dup2(nowhere.fileno(), stream)
    ordered = Ordered(room, durations)
    options = ["-q", "-x", "-n", "0", "-p", "no:randomly", "-p", "no:cacheprovider", "--tb=no", "--no-header"]
    code = pytest.main([*options, *room.tests], plugins=[ordered])
    result = {"code": int(code), "failed": ordered.failed, "durations": ordered.durations}
    Path(report).write_text(json.dumps(result), encoding="utf-8")
    os._exit(0)


def in_a_fork(room: Room, durations: dict[str, float], seconds: float) -> dict[str, Any]:
    """What a room's tests say in a process of their own: pytest's exit code, or None if they hang."""
    report = Path("mutation.json")
    for file in (report, Path(RUNNING)):
        file.unlink(missing_ok=True)
    child: BaseProcess = multiprocessing.get_context("fork").Process(
        target=run_tests, args=(room, durations, str(report.absolute()))
    )
    child.start()
    child.join(seconds)
    if child.pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    child.join()
    if not report.exists():
        test = Path(RUNNING).read_text(encoding="utf-8") if Path(RUNNING).exists() else "import"
        return {"code": None, "failed": [f"{test} (it hangs, or the process ended)"], "durations": {}}
    return dict(json.loads(report.read_text(encoding="utf-8")))


def move_to_copy(folder: str) -> None:
    """Make a copy of the project, and work in it from now on: what is imported and started comes from there."""
    copy = Path(tempfile.mkdtemp(dir=folder)) / "project"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "__pycache__", "results", "dist"))
    os.chdir(copy)
    os.environ["PYTHONPATH"] = str(copy)
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    sys.dont_write_bytecode = True
    sys.path[:] = [str(copy), *(it for it in sys.path if Path(it or ".").resolve() != ROOT)]
    for name in WARM:
        importlib.import_module(name)
    gc.freeze()


def try_mutant(room: Room, mutant: Mutant, durations: dict[str, float], seconds: float) -> dict[str, Any]:
    """Run a room's tests on a mutant, in the copy of this process."""
    source, changed = mutate(mutant)
    place = Path(mutant.module)
    began = time.monotonic()
    place.write_text(changed, encoding="utf-8")
    try:
        result = in_a_fork(room, durations, seconds)
    finally:
        place.write_text(source, encoding="utf-8")
    lines = difflib.unified_diff(source.splitlines(), changed.splitlines(), lineterm="", n=0)
    return {
        "place": f"{mutant.module}:{mutant.line}",
        "operator": mutant.operator.removeprefix("core/"),
        "change": [it for it in lines if it[:1] in "+-" and it[:3] not in ("+++", "---")],
        "survived": result["code"] == 0,
        "noticed_by": result["failed"][:1],
        "seconds": round(time.monotonic() - began, 1),
    }


def interval(noticed: int, tried: int) -> tuple[float, float]:
    """Wilson's interval of 95 percent for a share."""
    if not tried:
        return 0.0, 1.0
    z, share = 1.96, noticed / tried
    middle = (share + z * z / (2 * tried)) / (1 + z * z / tried)
    half = z / (1 + z * z / tried) * math.sqrt(share * (1 - share) / tried + z * z / (4 * tried * tried))
    return middle - half, middle + half


def try_all(room: Room, mutants: Sequence[Mutant], processes: int, log: Path | None) -> list[dict[str, Any]]:
    """Try mutants, so many at a time; each result goes to a file as well, as a line of JSON, as soon as it is there."""
    fork = multiprocessing.get_context("fork")
    results = []
    with tempfile.TemporaryDirectory() as folder:
        with ProcessPoolExecutor(1, fork, move_to_copy, (folder,)) as pool:
            first = pool.submit(in_a_fork, room, {}, 3600.0).result()
            if first["code"] != 0:
                raise SystemExit(f"the tests of the room fail without a mutant: {first['failed']}")
            durations = first["durations"]
        seconds = 60.0 + PATIENCE * sum(durations.values())
        print(f"the tests of the room take {sum(durations.values()):.0f} s", flush=True)
        with ProcessPoolExecutor(processes, fork, move_to_copy, (folder,)) as pool:
            for made in [pool.submit(try_mutant, room, it, durations, seconds) for it in mutants]:
                results.append(made.result())
                if log:
                    with log.open("a", encoding="utf-8") as lines:
                        lines.write(json.dumps(results[-1]) + "\n")
    return results


def main() -> int:
    """Mutate, test and list; 1 if fewer than nine in ten were noticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("room", choices=sorted(ROOMS))
    parser.add_argument("--sample", type=int, default=10**9, metavar="N", help="so many mutants (default: all)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="so many at a time, each in its own copy")
    parser.add_argument("--log", type=Path, metavar="FILE", help="each result as a line of JSON")
    options = parser.parse_args()
    room = ROOMS[options.room]
    every = [mutant for module in paths(room) for mutant in mutants_of(module)]
    chosen = random.Random(options.seed).sample(every, min(options.sample, len(every)))
    print(f"{len(every)} mutants of {options.room}, {len(chosen)} of them are tried", flush=True)
    results = try_all(room, chosen, options.processes, options.log and options.log.absolute())
    alive = [it for it in results if it["survived"]]
    for it in alive:
        print("\n".join([f"{it['place']} {it['operator']}", *(f"    {line}" for line in it["change"])]))
    low, high = interval(len(results) - len(alive), len(results))
    share = 1 - len(alive) / max(len(results), 1)
    print(f"{len(results) - len(alive)} of {len(results)} were noticed: {share:.1%} ({low:.1%} to {high:.1%})")
    return len(alive) * 10 > len(results)


if __name__ == "__main__":
    sys.exit(main())
