"""Planning: rows a second and peak memory from a CSV file to a ledger under its own name.

`python -m benchmarks.planning --rows 10000 100000 1000000 --rounds 3` plans generated files, each round in a process of
its own, and prints the median of the rounds (lowest and highest in brackets). What is timed is what `bulksms plan` does
with the file: read, check, render, compare, fingerprint, fsync, rename; starting the interpreter is not. On a machine
that has other work, the rows a second of processor time are the steadier figure.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from bulksms.intake import InputOptions, open_input
from bulksms.ledger.draft import Draft
from bulksms.planning import plan

TEXT = "((name)), outage since 02:40: the VPN gateway at ((site)) is down. Please join the incident bridge."


def generate(path: Path, rows: int) -> None:
    """A file of so many people, each once, with two columns for the template."""
    with path.open("w", encoding="utf-8", newline="") as file:
        write = csv.writer(file).writerow
        write(["directoryObject", "name", "site"])
        for number in range(rows):
            write([f"CN=User {number},OU=Staff,OU=Frankfurt,DC=example,DC=com", f"User {number}", f"FRA{number % 9}"])


class Measured(NamedTuple):
    """Seconds on the clock and of the processor, and the most memory that the process ever held, in megabytes."""

    seconds: float
    busy: float
    megabytes: float


def measure(path: Path) -> Measured:
    """Plan it in this process."""
    import resource  # noqa: PLC0415 - POSIX only

    ledger = path.with_suffix(".ledger.db")
    began, began_busy = time.perf_counter(), time.process_time()
    with open_input(path, InputOptions(text=TEXT)) as source, Draft(ledger) as draft:
        preview = plan(source, draft)
        columns, summary = list(preview.columns), json.dumps(preview.as_dict())
        draft.keep(source=path.name, columns=columns, fingerprint=preview.fingerprint, summary=summary, version="0")
    seconds, busy = time.perf_counter() - began, time.process_time() - began_busy
    ledger.unlink()
    # Kilobytes, but bytes on macOS (getrusage(2)).
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    return Measured(seconds, busy, peak)


def rounds_of(path: Path, rounds: int) -> list[Measured]:
    """Each round in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.planning", "--measure", str(path)]
    root = Path(__file__).parent.parent
    outputs = [subprocess.check_output(command, cwd=root, text=True) for _ in range(rounds)]
    return [Measured(*json.loads(output)) for output in outputs]


def describe(values: list[float]) -> str:
    """Median, and in brackets the lowest and the highest."""
    return f"{statistics.median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})"


def main() -> None:
    """Run the rounds and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure is not None:
        print(json.dumps(measure(options.measure)))
        return
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        for rows in options.rows:
            path = Path(folder) / f"{rows}.csv"
            generate(path, rows)
            results = rounds_of(path, options.rounds)
            path.unlink()
            speeds = describe([rows / result.seconds for result in results])
            busy = statistics.median(rows / result.busy for result in results)
            peaks = describe([result.megabytes for result in results])
            print(
                f"{rows:>9,} rows: {speeds} rows a second, {busy:,.0f} a second of processor time, {peaks} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()
