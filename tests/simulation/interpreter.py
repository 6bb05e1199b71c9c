"""The interpreter of the nights: `simloop` needs Python 3.12, the package is tested from 3.11 on."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".simulation"
"""Where an environment is made if the interpreter of the tests is too old."""
OLDEST = (3, 12)
VERSIONS = ("3.13", "3.12", "3.14")
CHECK = "import sys; sys.exit(sys.version_info < (3, 12))"


class NoInterpreterError(Exception):
    """There is none, and why."""


def requirements() -> list[str]:
    """What the package needs, and the simulated loop."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    simloop = [it for it in project["optional-dependencies"]["dev"] if it.startswith("simloop")]
    return [*project["dependencies"], *(re.sub(";.*", "", it) for it in simloop)]


def candidates() -> Iterator[str]:
    """Interpreters that may be new enough: the one that is named, those on the path, those of pyenv."""
    if named := os.environ.get("BULKSMS_SIMULATION_PYTHON"):
        yield named
    for version in VERSIONS:
        if found := shutil.which(f"python{version}"):
            yield found
        pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
        yield from (str(path) for path in sorted(pyenv.glob(f"{version}*/bin/python"), reverse=True))


def interpreter() -> str:
    """An interpreter that has everything; an environment is made for it once. Raises NoInterpreterError."""
    if sys.version_info >= OLDEST:
        return sys.executable
    needed = requirements()
    folder = FOLDER / hashlib.sha256("\n".join(needed).encode()).hexdigest()[:12]
    python = str(folder / "bin" / "python")
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:  # several processes of one test run may ask at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / "complete").exists():
            return python
        for candidate in candidates():
            if subprocess.run([candidate, "-c", CHECK], capture_output=True, check=False).returncode == 0:
                break
        else:
            raise NoInterpreterError("there is no Python 3.12 or newer here, which the simulated nights need")
        shutil.rmtree(folder, ignore_errors=True)
        for command in ([candidate, "-m", "venv", str(folder)], [python, "-m", "pip", "install", "-q", *needed]):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise NoInterpreterError(f"no environment could be made with {candidate}: {done.stderr[-300:]}")
        (folder / "complete").touch()
    return python
