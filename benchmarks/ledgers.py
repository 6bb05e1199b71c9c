"""Ledgers: commands on a large ledger, from the start of their process to its end.

Makes a planned, a half-done and a finished ledger, and runs each command in turn: `--help` beside a Python that does
nothing, `status`, `verify`, `report` as CSV and JSONL, and `send` of the planned ledger and `resume` of the half-done
one until their first request arrives.
"""

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from benchmarks.measuring import Sample, Usage, conditions, measuring, run_alone
from benchmarks.messages import TOKEN, accept_first, plan_ledger

BULKSMS = ("-m", "bulksms")
PLANNED = "planned.ledger.db"
TIMEOUT = 120.0
"""Seconds to wait for the first request."""


def main() -> None:
    """Run the rounds and print the figures."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks ledgers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as listener:
        print(f"{options.messages:,} messages; {conditions(Path(folder))}", flush=True)
        commands = _commands(Path(folder), options.messages, listener)
        usages: dict[str, list[Usage]] = {name: [] for name in commands}
        for turn in range(options.rounds + 1):
            for name, command in commands.items():
                usage = command()
                if turn:  # the first turn compiles what an installation would have compiled
                    usages[name].append(usage)
    for name, all_ in usages.items():
        seconds, busy = (Sample(tuple(values)) for values in zip(*((it.seconds, it.busy) for it in all_), strict=True))
        print(f"{name}: {seconds} s, {busy} s of processor time")


def _commands(folder: Path, messages: int, listener: socket.socket) -> dict[str, Callable[[], Usage]]:
    half, finished = make_ledgers(folder, messages)
    planned = folder / PLANNED
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/restApi"
    to_all = ("--yes", "--max-recipients", str(messages), "--url", url)
    resume = (*BULKSMS, "resume", half.name, *to_all)
    send = (*BULKSMS, "send", PLANNED, *to_all)
    commands = {
        "python -c pass": ("-c", "pass"),
        "bulksms --help": (*BULKSMS, "--help"),
        "status": (*BULKSMS, "status", finished.name),
        "verify": (*BULKSMS, "verify", finished.name),
        "report --format csv": (*BULKSMS, "report", finished.name, "--format", "csv"),
        "report --format jsonl": (*BULKSMS, "report", finished.name, "--format", "jsonl"),
    }
    measured: dict[str, Callable[[], Usage]] = {
        name: partial(run, folder, command) for name, command in commands.items()
    }

    def send_a_copy() -> Usage:
        """In a folder of its own, with its own record of what was started: a copy is sent each time."""
        with tempfile.TemporaryDirectory(dir=folder) as alone:
            shutil.copyfile(planned, Path(alone) / PLANNED)
            return until_first_request(Path(alone), send, listener)

    return measured | {
        "send to the first request": send_a_copy,
        "resume to the first request": partial(until_first_request, folder, resume, listener),
    }


def make_ledgers(folder: Path, messages: int) -> tuple[Path, Path]:
    """A half-done ledger and a finished one, beside the planned one that they were."""
    half, finished = folder / "half.ledger.db", folder / "finished.ledger.db"
    run_alone(plan_ledger, half, messages)
    shutil.copyfile(half, finished)
    shutil.copyfile(half, folder / PLANNED)
    run_alone(accept_first, half, messages // 2)
    run_alone(accept_first, finished, messages)
    return half, finished


def run(folder: Path, arguments: Sequence[str]) -> Usage:
    """The usage of a program. Raises RuntimeError if it fails."""
    with measuring() as usage:
        process = _start(folder, arguments)
        _, errors = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{' '.join(arguments)} ended with {process.returncode}: {errors.decode()}")
    return usage


def until_first_request(folder: Path, arguments: Sequence[str], listener: socket.socket) -> Usage:
    """The usage of a program until a request of it arrives; it is killed then, so that the next round recovers it."""
    listener.settimeout(TIMEOUT)
    with measuring() as usage:
        process = _start(folder, arguments)
        try:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(TIMEOUT)
                connection.recv(1)
        finally:
            process.kill()
            process.communicate()
    listener.settimeout(0.05)
    while True:  # the connections of the other workers
        try:
            listener.accept()[0].close()
        except TimeoutError:
            return usage


def _start(folder: Path, arguments: Sequence[str]) -> "subprocess.Popen[bytes]":
    environment = os.environ | {"BULKSMS_TOKEN": TOKEN, "XDG_STATE_HOME": str(folder)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


if __name__ == "__main__":
    main()
