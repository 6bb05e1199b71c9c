"""Start-up: how long `bulksms --help` and `bulksms status` take, beside a Python that does nothing.

`python -m benchmarks.startup --rounds 15` prints the median seconds of each, taken in turn. The ledger of `status` has
as many messages as `--messages` says.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.figure import Sample
from benchmarks.ledgers import plan_ledger
from benchmarks.processes import Usage
from benchmarks.program import BULKSMS, run

NOTHING, HELP = "python -c pass", "bulksms --help"


def measure_commands(rounds: int, messages: int, folder: Path) -> dict[str, list[Usage]]:
    """Each command in turn, round by round; before the first of them each once, which may compile what it needs."""
    ledger = folder / "startup.ledger.db"
    plan_ledger(ledger, messages)
    commands = {
        NOTHING: ("-c", "pass"),
        HELP: (*BULKSMS, "--help"),
        f"bulksms status ({messages:,} messages)": (*BULKSMS, "status", ledger.name),
    }
    usages: dict[str, list[Usage]] = {name: [] for name in commands}
    for turn in range(rounds + 1):
        for name, command in commands.items():
            usage = run(folder, command)
            if turn:
                usages[name].append(usage)
    ledger.unlink()
    return usages


def seconds(usages: Sequence[Usage]) -> Sample:
    """On the clock."""
    return Sample(tuple(usage.seconds for usage in usages))


def busy_seconds(usages: Sequence[Usage]) -> Sample:
    """Of the processor."""
    return Sample(tuple(usage.busy for usage in usages))


def main() -> None:
    """Run the rounds and print the figures."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.startup", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--messages", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, usages in measure_commands(options.rounds, options.messages, Path(folder)).items():
            print(f"{name}: {seconds(usages)} s, {busy_seconds(usages)} s of processor time")


if __name__ == "__main__":
    main()
