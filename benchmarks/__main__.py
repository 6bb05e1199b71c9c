"""The one command: measure, print the tables, write the results.

What is measured is told on stderr as it comes; the tables go to stdout, JSON and a chart into benchmarks/results.
"""

import argparse
import dataclasses
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.contenders import CONTENDERS
from benchmarks.figure import Figures, number
from benchmarks.form import FULL, SHORT
from benchmarks.machine import command, describe, load
from benchmarks.results import FOLDER, write_results
from benchmarks.sections import SECTIONS
from benchmarks.tables import all_tables, what

IDLE = 0.5
"""The load, averaged over a minute, of a machine that has nothing else to do."""


def options_given() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="How fast bulksms is against its ceiling and its peers, and how its cost grows.",
        epilog="With --short it takes about two minutes, else about forty.",
    )
    parser.add_argument("--short", action="store_true", help="fewer and smaller rounds")
    parser.add_argument(
        "--only", nargs="+", choices=list(SECTIONS), default=list(SECTIONS), metavar="SECTION", help=", ".join(SECTIONS)
    )
    parser.add_argument("--rounds", type=rounds, metavar="N", help="instead of the form's own")
    parser.add_argument("--results", type=Path, default=FOLDER, help="folder for JSON and chart")
    return parser.parse_args()


def rounds(words: str) -> int:
    """How many. Raises ValueError, as argparse wants it, if it is none."""
    if int(words) < 1:
        raise ValueError(words)
    return int(words)


def main() -> int:
    """Measure what was asked for."""
    options = options_given()
    form = SHORT if options.short else FULL
    if options.rounds is not None:
        form = dataclasses.replace(form, rounds=options.rounds)
    figures = Figures()
    seconds: dict[str, float] = {}
    skipped = {one.name: missing for one in CONTENDERS if (missing := one.missing) is not None}
    with tempfile.TemporaryDirectory(prefix="bulksms-benchmarks-") as folder:
        about = describe(Path(folder))
        try:
            for section in options.only:
                began = time.monotonic()
                for figure in SECTIONS[section](form, Path(folder)):
                    figures.append(figure)
                    print(f"{section}: {what(figure)}, {figure.sample} {figure.unit}", file=sys.stderr, flush=True)
                seconds[section] = round(time.monotonic() - began, 1)
        except KeyboardInterrupt:
            print("interrupted; what was measured by then:", file=sys.stderr)
    about |= {"load at the end": load()}
    told: dict[str, object] = {"command": command(), "machine": about, "form": dataclasses.asdict(form)}
    print(_about(told, skipped, seconds))
    print("medians, with the lowest and the highest round in brackets\n")
    print(all_tables(figures))
    for path in write_results(options.results, figures, told | {"skipped": skipped, "seconds": seconds}):
        print(f"written: {path}", file=sys.stderr)
    return 0 if list(seconds) == options.only else 130


def _about(told: dict[str, object], skipped: dict[str, str], seconds: dict[str, float]) -> str:
    """What the figures were measured with, a thing a line."""
    lines = [f"command: {told['command']}"]
    machine = told["machine"]
    if isinstance(machine, dict):
        lines += [f"{name}: {_words(value)}" for name, value in machine.items()]
    lines += [f"skipped: {name} ({how})" for name, how in skipped.items()]
    if isinstance(machine, dict) and (machine["load"] or 0) > IDLE:
        lines.append("the machine had other work: believe the processor time, not the clock")
    lines.append("seconds: " + ", ".join(f"{section} {number(taken)}" for section, taken in seconds.items()))
    return "\n".join(lines) + "\n"


def _words(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {version or '-'}" for name, version in value.items())
    return "not there" if value is None else str(value)


if __name__ == "__main__":
    sys.exit(main())
