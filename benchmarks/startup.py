"""Start-up: how long `bulksms --help` and `bulksms status` take, beside a Python that does nothing.

`python -m benchmarks.startup --rounds 15` prints the median seconds of each, taken in turn. The ledger of `status` has
as many messages as `--messages` says.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figure import Sample
from benchmarks.ledgers import plan_ledger

NOTHING, HELP = "python -c pass", "bulksms --help"


def seconds(command: list[str]) -> float:
    """How long the command takes, from its start to its end."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def measure_commands(rounds: int, messages: int, folder: Path) -> dict[str, Sample]:
    """Each command in turn, round by round."""
    ledger = folder / "startup.ledger.db"
    plan_ledger(ledger, messages)
    commands = {
        NOTHING: [sys.executable, "-c", "pass"],
        HELP: [sys.executable, "-m", "bulksms", "--help"],
        f"bulksms status ({messages:,} messages)": [sys.executable, "-m", "bulksms", "status", str(ledger)],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            times[name].append(seconds(command))
    ledger.unlink()
    return {name: Sample(tuple(taken)) for name, taken in times.items()}


def main() -> None:
    """Run the rounds and print the figures."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.startup", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--messages", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, sample in measure_commands(options.rounds, options.messages, Path(folder)).items():
            print(f"{name}: {sample} s")


if __name__ == "__main__":
    main()
