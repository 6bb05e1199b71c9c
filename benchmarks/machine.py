"""Machine: what the figures were measured on, and how a process gets a core of its own."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PACKAGES = ("adaxes-bulksms", "aiohttp", "uvloop", "requests", "httpx")
COMMITS = 50
"""Times that the disk is asked to make something durable."""


def part_cores() -> tuple[int, int] | None:
    """A core for the contenders and one for the server; None where a process cannot choose."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    cores = sorted(os.sched_getaffinity(0))
    return (cores[0], cores[1]) if len(cores) > 1 else None


def stay_on(core: int | None) -> None:
    """Keep this process, and those that it starts, to one core."""
    if core is not None:
        os.sched_setaffinity(0, {core})


@contextmanager
def starting_on(core: int | None) -> Iterator[None]:
    """What is started in this block keeps to one core; this process itself is free again behind it."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def commit_milliseconds(folder: Path) -> float:
    """The median time that the disk of this folder takes to make four kilobytes durable."""
    times = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(COMMITS):
            began = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def load() -> float | None:
    """How many processes want to run, averaged over a minute; None where the system does not say."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def has_package(name: str) -> bool:
    """Whether it can be imported; it is not."""
    return importlib.util.find_spec(name) is not None


def describe(folder: Path) -> dict[str, object]:
    """The machine, what runs on it, and how fast its disk commits (in `folder`)."""
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "a core each for contenders and server": part_cores() is not None,
        "load": load(),
        "commit of the disk": f"{commit_milliseconds(folder):.2f} ms",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "packages": {name: _version(name) for name in PACKAGES},
        "curl": _said("curl", "--version"),
        "nginx": _said("nginx", "-v"),
    }


def command() -> str:
    """The command that was given, as it can be given again."""
    return " ".join(["python -m benchmarks", *sys.argv[1:]])


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _said(program: str, option: str) -> str | None:
    """The first line that a program says of itself; None where it is not installed."""
    found = shutil.which(program)
    if found is None:
        return None
    ended = subprocess.run([found, option], capture_output=True, text=True, check=False)
    return (ended.stdout or ended.stderr).partition("\n")[0].partition(" (")[0]
