"""Planning: rows a second and peak memory from a CSV file to a ledger under its own name.

`python -m benchmarks.planning --rows 10000 100000 1000000 --rounds 3` plans generated files, each round in a process of
its own, and prints the median of the rounds (lowest and highest in brackets). What is timed is what `bulksms plan` does
with the file: read, check, render, compare, fingerprint, fsync, rename; starting the interpreter is not. On a machine
that has other work, the rows a second of processor time are the steadier figure.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import NamedTuple

from benchmarks.figure import Sample
from benchmarks.machine import load
from benchmarks.people import TEXT, write_people
from benchmarks.processes import measuring, peak_megabytes, run_alone
from bulksms.intake import InputOptions, open_input
from bulksms.ledger.draft import Draft
from bulksms.planning import plan


class Measured(NamedTuple):
    """Seconds on the clock and of the processor, and the most memory that the process ever held, in megabytes."""

    seconds: float
    busy: float
    megabytes: float


def plan_file(path: Path, ledger: Path) -> Measured:
    """Plan it in this process."""
    with measuring() as usage, open_input(path, InputOptions(text=TEXT)) as source, Draft(ledger) as draft:
        preview = plan(source, draft)
        columns, summary = list(preview.columns), json.dumps(preview.as_dict())
        draft.keep(source=path.name, columns=columns, fingerprint=preview.fingerprint, summary=summary, version="0")
    return Measured(usage.seconds, usage.busy, peak_megabytes())


def plan_rows(rows: int, folder: Path) -> Measured:
    """Plan a file of so many people in a process of its own; nothing is left of it."""
    path = folder / f"{rows}.csv"
    ledger = path.with_suffix(".ledger.db")
    write_people(path, rows)
    try:
        return run_alone(plan_file, path, ledger)
    finally:
        path.unlink()
        ledger.unlink(missing_ok=True)


def main() -> None:
    """Run the rounds and print the figures."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.planning", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if (before := load()) is not None:
        print(f"load {before:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        for rows in options.rows:
            planned = [plan_rows(rows, Path(folder)) for _ in range(options.rounds)]
            speeds = Sample(tuple(rows / it.seconds for it in planned))
            busy = Sample(tuple(rows / it.busy for it in planned))
            peaks = Sample(tuple(it.megabytes for it in planned))
            print(f"{rows:>9,} rows: {speeds} rows a second, {busy} a second of processor time, {peaks} MB", flush=True)


if __name__ == "__main__":
    main()
