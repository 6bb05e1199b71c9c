"""Planning: rows a second and peak of memory from a CSV file to a ledger.

Plans generated files, each round in a process of its own. What is timed is what `bulksms plan` does with the file:
read, check, render, compare, fingerprint, sync and rename; starting the interpreter is not. On a machine that has other
work, compare the rows a second of processor time.
"""

import argparse
import json
import tempfile
from pathlib import Path

from benchmarks.measuring import Sample, Usage, conditions, measuring, run_alone
from benchmarks.messages import TEXT, write_people
from bulksms.input import InputOptions, open_input
from bulksms.ledger import new_draft
from bulksms.planning.plan import build_plan


def plan_file(path: Path, ledger: Path) -> Usage:
    """Plan a file in this process."""
    with measuring() as usage, open_input(path, InputOptions(text=TEXT)) as source, new_draft(ledger) as draft:
        preview = build_plan(source, draft)
        columns, summary = list(preview.columns), json.dumps(preview.as_dict())
        draft.keep(source=path.name, columns=columns, fingerprint=preview.fingerprint, summary=summary, version="0")
    return usage


def plan_rows(rows: int, folder: Path) -> Usage:
    """Plan a file of that many rows in a process of its own, and delete what it made."""
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
        prog="python -m benchmarks planning", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(conditions(Path(folder)))
        for rows in options.rows:
            planned = [plan_rows(rows, Path(folder)) for _ in range(options.rounds)]
            speeds = Sample(tuple(rows / usage.seconds for usage in planned))
            busy = Sample(tuple(rows / usage.busy for usage in planned))
            peaks = Sample(tuple(usage.megabytes for usage in planned))
            print(f"{rows:>9,} rows: {speeds} rows a second, {busy} a second of processor time, {peaks} MB", flush=True)


if __name__ == "__main__":
    main()
