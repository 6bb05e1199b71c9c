"""Large: a ledger of very many messages, half done and finished: looked at, told of, and resumed.

Law: everything is a command, from the start of its process; what is resumed was really stopped in the middle.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.figure import Figure, Sample
from benchmarks.form import Form
from benchmarks.ledgers import accept_first, plan_ledger
from benchmarks.processes import run_alone
from benchmarks.wire import TOKEN

SECTION = "large"
SECONDS = "s"
STATUS, REPORT = "status", "report --format csv"
RESUME_FINISHED, FIRST_REQUEST = "resume of a finished ledger", "resume of a half-done ledger to its first request"
PATIENCE = 120.0
"""Seconds that the first request is waited for."""


def measure(form: Form, folder: Path) -> Iterator[Figure]:
    """Make the two ledgers, then each command in turn, round by round."""
    taken: dict[str, list[float]] = {STATUS: [], REPORT: [], RESUME_FINISHED: [], FIRST_REQUEST: []}
    with TemporaryDirectory(dir=folder) as name, socket.create_server(("127.0.0.1", 0)) as listener:
        place = Path(name)
        half, finished = _make_ledgers(place, form.large)
        endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}/restApi"
        for _ in range(form.rounds):
            taken[STATUS].append(seconds_of(place, "status", finished.name))
            taken[REPORT].append(seconds_of(place, "report", finished.name, "--format", "csv"))
            taken[RESUME_FINISHED].append(seconds_of(place, "resume", finished.name, "--url", endpoint))
            resume = ("resume", half.name, "--yes", "--max-recipients", str(form.large), "--url", endpoint)
            taken[FIRST_REQUEST].append(seconds_to_first_request(place, resume, listener))
    for name, rounds in taken.items():
        yield Figure(SECTION, name, SECONDS, Sample(tuple(rounds)), {"messages": form.large})


def _make_ledgers(folder: Path, messages: int) -> tuple[Path, Path]:
    """One that is half done, and one that is finished."""
    half, finished = folder / "half.ledger.db", folder / "finished.ledger.db"
    run_alone(plan_ledger, half, messages)
    shutil.copyfile(half, finished)
    run_alone(accept_first, half, messages // 2)
    run_alone(accept_first, finished, messages)
    return half, finished


def seconds_of(folder: Path, *arguments: str) -> float:
    """How long the program takes in this folder, from its start to its end."""
    began = time.perf_counter()
    process = _start(folder, arguments, subprocess.PIPE)
    _, said = process.communicate()
    taken = time.perf_counter() - began
    if process.returncode not in (0, 3):  # 3: there is nothing left to send
        raise RuntimeError(f"{' '.join(arguments)} ended with {process.returncode}: {said.decode()}")
    return taken


def seconds_to_first_request(folder: Path, arguments: Sequence[str], listener: socket.socket) -> float:
    """How long it takes from the start of the program until a request arrives; it is killed then.

    So the next round finds what a crash leaves, as a run does that is resumed in earnest.
    """
    listener.settimeout(PATIENCE)
    began = time.perf_counter()
    process = _start(folder, arguments, subprocess.DEVNULL)
    try:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(PATIENCE)
            connection.recv(1)
            return time.perf_counter() - began
    finally:
        process.kill()
        process.wait()
        _forget_others(listener)


def _forget_others(listener: socket.socket) -> None:
    """The connections of the other workers, which nobody took."""
    listener.settimeout(0.05)
    while True:
        try:
            listener.accept()[0].close()
        except TimeoutError:
            return


def _start(folder: Path, arguments: Sequence[str], stderr: int) -> subprocess.Popen[bytes]:
    """The program, with nothing of its user's."""
    return subprocess.Popen(
        [sys.executable, "-m", "bulksms", *arguments],
        cwd=folder,
        env=os.environ | {"BULKSMS_TOKEN": TOKEN, "XDG_STATE_HOME": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
    )
