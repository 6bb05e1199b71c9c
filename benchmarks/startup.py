"""Start-up: how long `bulksms --help` and `bulksms status` take, beside a Python that does nothing.

`python -m benchmarks.startup --rounds 15` prints the median seconds of each, taken in turn. The ledger of `status` has
as many messages as `--messages` says.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.throughput import plan_ledger


def seconds(command: list[str]) -> float:
    """How long the command takes, from its start to its end."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    """Run the rounds and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--messages", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ledger = Path(folder) / "people.ledger.db"
        plan_ledger(ledger, options.messages)
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "bulksms --help": [sys.executable, "-m", "bulksms", "--help"],
            f"bulksms status ({options.messages:,} messages)": [sys.executable, "-m", "bulksms", "status", str(ledger)],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(options.rounds):
            for name, command in commands.items():
                times[name].append(seconds(command))
    for name, taken in times.items():
        print(f"{name}: {statistics.median(taken):.3f} s ({min(taken):.3f} to {max(taken):.3f})")


if __name__ == "__main__":
    main()
