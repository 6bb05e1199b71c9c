"""Large: a ledger of very many messages, half done and finished: looked at, told of, and resumed.

Law: everything is a command, from the start of its process; what is resumed was really stopped in the middle.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

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
    half, finished = folder / "half.ledger.db", folder / "finished.ledger.db"
    run_alone(plan_ledger, half, form.large)
    shutil.copyfile(half, finished)
    run_alone(accept_first, half, form.large // 2)
    run_alone(accept_first, finished, form.large)
    taken: dict[str, list[float]] = {}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for _ in range(form.rounds):
            for name, seconds in (
                (STATUS, seconds_of("status", str(finished))),
                (REPORT, seconds_of("report", str(finished), "--format", "csv")),
                (RESUME_FINISHED, seconds_of("resume", str(finished), *_endpoint(listener))),
                (FIRST_REQUEST, seconds_to_first_request(half, form.large, listener)),
            ):
                taken.setdefault(name, []).append(seconds)
    for name, rounds in taken.items():
        yield Figure(SECTION, name, SECONDS, Sample(tuple(rounds)), {"messages": form.large})
    half.unlink()
    finished.unlink()


def seconds_of(*arguments: str) -> float:
    """How long the program takes, from its start to its end."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "bulksms", *arguments]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, env=_environment())
    taken = time.perf_counter() - began
    if ended.returncode not in (0, 3):  # 3: there is nothing left to send
        raise RuntimeError(f"{' '.join(arguments)} ended with {ended.returncode}: {ended.stderr.decode()}")
    return taken


def seconds_to_first_request(ledger: Path, messages: int, listener: socket.socket) -> float:
    """How long it takes from the start of `resume` until a request arrives; the run is killed then.

    So the next round finds what a crash leaves, as a run does that is resumed in earnest.
    """
    options = ["--yes", "--quiet", "--max-recipients", str(messages), *_endpoint(listener)]
    listener.settimeout(PATIENCE)
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "bulksms", "resume", str(ledger), *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env=_environment(),
    )
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


def _endpoint(listener: socket.socket) -> list[str]:
    return ["--url", f"http://127.0.0.1:{listener.getsockname()[1]}/restApi"]


def _environment() -> dict[str, str]:
    return os.environ | {"BULKSMS_TOKEN": TOKEN}
