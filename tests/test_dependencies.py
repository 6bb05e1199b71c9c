"""What the package imports, it declares: a library that only another one brings can vanish with its next release."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import bulksms

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


OURS = {"bulksms", "_typeshed"}
"""Names that no package on the index has to give: ours, and those of the type checker."""


def normalised(name: str) -> str:
    """A distribution's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).casefold()


def names_of(requirements: list[str]) -> set[str]:
    return {normalised(re.split(r"[^A-Za-z0-9._-]", requirement)[0]) for requirement in requirements}


DECLARED = names_of(PROJECT["dependencies"])
EXTRAS = names_of([it for extra in ("excel", "postgresql", "speed") for it in PROJECT["optional-dependencies"][extra]])


def imported() -> dict[str, set[str]]:
    """Each library that some module of the package imports, and the modules."""
    found: dict[str, set[str]] = {}
    folder = Path(bulksms.__file__).parent
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            for name in names:
                found.setdefault(name.partition(".")[0], set()).add(str(path.relative_to(folder)))
    return {
        name: files
        for name, files in found.items()
        if name not in {*(sys.stdlib_module_names | {"_typeshed"}), "bulksms"}
    }


def test_every_library_that_is_imported_is_declared() -> None:
    owners = packages_distributions()
    missing = {
        name: sorted(files)
        for name, files in imported().items()
        if not {normalised(owner) for owner in owners.get(name, [name])} & (DECLARED | EXTRAS)
    }
    assert missing == {}


def test_every_declared_library_is_imported() -> None:
    owners = packages_distributions()
    used = {normalised(owner) for name in imported() for owner in owners.get(name, [])}
    assert DECLARED - used == set()


def test_every_requirement_has_a_lower_bound() -> None:
    extras = [requirement for extra in PROJECT["optional-dependencies"].values() for requirement in extra]
    assert [it for it in (*PROJECT["dependencies"], *extras) if ">=" not in it] == []


def test_the_version_is_written_in_one_place() -> None:
    assert "version" in PROJECT["dynamic"]
    assert bulksms.__version__
