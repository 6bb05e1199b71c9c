"""Large: a ledger of very many messages, half done and finished: looked at, told of, and resumed.

Law: everything is a command, from the start of its process; what is resumed was really stopped in the middle.
"""

import shutil
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.figure import Figure, Sample
from benchmarks.form import Form
from benchmarks.ledgers import accept_first, plan_ledger
from benchmarks.processes import Usage, measuring, run_alone
from benchmarks.program import BULKSMS, run, start

SECTION = "large"
SECONDS, BUSY = "s", "s CPU"
STATUS, REPORT = "status", "report --format csv"
RESUME_FINISHED, FIRST_REQUEST = "resume of a finished ledger", "resume of a half-done ledger to its first request"
PATIENCE = 120.0
"""Seconds that the first request is waited for."""


def measure(form: Form, folder: Path) -> Iterator[Figure]:
    """Make the two ledgers, then each command in turn, round by round."""
    taken: dict[str, list[Usage]] = {STATUS: [], REPORT: [], RESUME_FINISHED: [], FIRST_REQUEST: []}
    with TemporaryDirectory(dir=folder) as name, socket.create_server(("127.0.0.1", 0)) as listener:
        place = Path(name)
        half, finished = make_ledgers(place, form.large)
        there = ("--url", f"http://127.0.0.1:{listener.getsockname()[1]}/restApi")
        resume = (*BULKSMS, "resume", half.name, "--yes", "--max-recipients", str(form.large), *there)
        for _ in range(form.rounds):
            taken[STATUS].append(run(place, (*BULKSMS, "status", finished.name)))
            taken[REPORT].append(run(place, (*BULKSMS, "report", finished.name, "--format", "csv")))
            taken[RESUME_FINISHED].append(run(place, (*BULKSMS, "resume", finished.name, *there), codes=(0, 3)))
            taken[FIRST_REQUEST].append(until_first_request(place, resume, listener))
    for name, usages in taken.items():
        told = {"messages": form.large}
        yield Figure(SECTION, name, SECONDS, Sample(tuple(usage.seconds for usage in usages)), told)
        yield Figure(SECTION, name, BUSY, Sample(tuple(usage.busy for usage in usages)), told)


def make_ledgers(folder: Path, messages: int) -> tuple[Path, Path]:
    """One that is half done, and one that is finished."""
    half, finished = folder / "half.ledger.db", folder / "finished.ledger.db"
    run_alone(plan_ledger, half, messages)
    shutil.copyfile(half, finished)
    run_alone(accept_first, half, messages // 2)
    run_alone(accept_first, finished, messages)
    return half, finished


def until_first_request(folder: Path, arguments: Sequence[str], listener: socket.socket) -> Usage:
    """What the program uses from its start until a request arrives; it is killed then.

    So the next round finds what a crash leaves, as a run does that is resumed in earnest. The end of the process is
    counted with it: a moment.
    """
    listener.settimeout(PATIENCE)
    with measuring() as usage:
        process = start(folder, *arguments)
        try:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(PATIENCE)
                connection.recv(1)
        finally:
            process.kill()
            process.wait()
    _forget_others(listener)
    return usage


def _forget_others(listener: socket.socket) -> None:
    """The connections of the other workers, which nobody took."""
    listener.settimeout(0.05)
    while True:
        try:
            listener.accept()[0].close()
        except TimeoutError:
            return
