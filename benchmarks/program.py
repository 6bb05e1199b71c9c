"""Program: `bulksms` as its user starts it, with nothing of this user's: no settings, no earlier runs.

Its code is compiled once, as an installation does it, whatever the environment of the benchmark says.
"""

import os
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from benchmarks.processes import Usage, measuring
from benchmarks.wire import TOKEN

BULKSMS = ("-m", "bulksms")


def start(folder: Path, *arguments: str, stderr: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """Python with these arguments, in this folder."""
    environment = os.environ | {"BULKSMS_TOKEN": TOKEN, "XDG_STATE_HOME": str(folder)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
    )


def run(folder: Path, arguments: Sequence[str], codes: Collection[int] = (0,)) -> Usage:
    """What it uses from its start to its end. Raises RuntimeError if it ends with another exit code than these."""
    with measuring() as usage:
        process = start(folder, *arguments, stderr=subprocess.PIPE)
        _, said = process.communicate()
    if process.returncode not in codes:
        raise RuntimeError(f"{' '.join(arguments)} ended with {process.returncode}: {said.decode()}")
    return usage
