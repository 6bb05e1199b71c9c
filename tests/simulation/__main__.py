"""Nights from seeds: `python -m tests.simulation --seeds 300`; `--replay SEED` shows one as a table.

It needs Python 3.12 or newer with `simloop` and the requirements of the package; an older one starts one that has them.
"""

import argparse
import gc
import logging
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.simulation import planted
from tests.simulation.interpreter import OLDEST, NoInterpreterError, interpreter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulation.night import Outcome

MOST_SEEDS = 500
"""Within so many a planted bug has to be found."""
MOST_SHRUNK = 3
"""Of so many nights that break something the shortest form is looked for."""

# What plays is imported after a bug was planted.


def outcomes(seeds: range, jobs: int) -> "Iterator[Outcome]":
    """Every night, in processes of their own."""
    from tests.simulation.night import play  # noqa: PLC0415

    gc.freeze()  # what was imported is not looked through after each night
    if jobs == 1:
        yield from map(play, seeds)
        return
    with multiprocessing.get_context("fork").Pool(jobs, maxtasksperchild=200) as pool:
        yield from pool.imap_unordered(play, seeds, chunksize=5)


def show(outcome: "Outcome", *, is_whole: bool, everybody: bool = False) -> None:
    """What a night chose, what happened, and what is broken."""
    print("\n".join(f"{name}: {value}" for name, value in outcome.choices.items()))
    print(outcome.table(everybody=everybody))
    print("\n".join(dict.fromkeys(outcome.broken)) or "Every invariant holds.")
    if outcome.broken:
        also = "" if is_whole else f" --only '{';'.join(outcome.choices)}'"
        print(f"python -m tests.simulation --replay {outcome.seed}{also}")


def explore(seeds: range, jobs: int, *, first_only: bool, cells: Path | None) -> int:
    """Play many, print what is broken, and keep how often each cell of the coverage was met."""
    import time  # noqa: PLC0415

    from tests.simulation.coverage import Tally  # noqa: PLC0415
    from tests.simulation.shrink import shrink  # noqa: PLC0415

    began, tally = time.monotonic(), Tally()
    for outcome in outcomes(seeds, jobs):
        tally.nights += 1
        tally.counts.update(outcome.counts)
        tally.cells.update(outcome.cells)
        if outcome.broken:
            tally.broken += 1
            print(f"seed {outcome.seed}: {outcome.broken[0]}", flush=True)
            if first_only:
                break
            if tally.broken <= MOST_SHRUNK:
                show(shrink(outcome), is_whole=False)
            print(f"  python -m tests.simulation --replay {outcome.seed}", flush=True)
    print(f"{time.monotonic() - began:.1f} s for {tally}")
    if cells is not None:
        tally.append(cells)
    return bool(tally.broken)


def all_planted(jobs: int, only: str | None) -> int:
    """Plant one bug after the other; how soon each was found."""
    missed = []
    for bug in planted.PLANTED:
        if only is not None and only not in bug.what:
            continue
        command = [sys.executable, "-m", "tests.simulation", "--plant", bug.what, "--first-only"]
        command += ["--seeds", str(MOST_SEEDS), "--jobs", str(jobs)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = done.stdout.splitlines()
        found = next((line for line in lines if line.startswith("seed ")), None)
        nights = lines[-1].partition(" s for ")[2].partition(" nights")[0] if lines else "?"
        what = (found or done.stderr[-200:])[:160]
        print(f"| {bug.what} | {nights if found else '**not found**'} | {what} |", flush=True)
        if found is None:
            missed.append(bug.what)
    print(f"{len(missed)} were not found within {MOST_SEEDS} seeds: {', '.join(missed) or 'none'}")
    return bool(missed)


def main(arguments: list[str]) -> int:
    """Read the arguments and play; 1 if an invariant was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=300, metavar="N", help="how many nights")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="the first seed")
    parser.add_argument("--first-only", action="store_true", help="end with the first that is broken")
    parser.add_argument("--replay", type=int, nargs="+", metavar="SEED", help="show nights as tables")
    parser.add_argument("--only", metavar="NAMES", help="with --replay: of its choices only these, by semicolons")
    parser.add_argument("--everybody", action="store_true", help="with --replay: what happens to every recipient")
    parser.add_argument("--trace", action="store_true", help="with --replay: the hash of every step of the loop")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes")
    parser.add_argument("--plant", metavar="WHAT", help="plant a bug of planted.py first")
    parser.add_argument("--planted", nargs="?", const="", metavar="WORDS", help="plant each in turn (with these words)")
    parser.add_argument("--cells", type=Path, metavar="FILE", help="add the coverage to a file")
    parser.add_argument("--coverage", type=Path, nargs="+", metavar="FILE", help="print the coverage in these files")
    options = parser.parse_args(arguments)
    if sys.version_info < OLDEST:
        try:
            return subprocess.run([interpreter(), "-m", "tests.simulation", *arguments], check=False).returncode
        except NoInterpreterError as problem:
            print(problem)
            return 2
    if options.planted is not None:
        return all_planted(options.jobs, options.planted or None)
    if options.plant:
        planted.plant(options.plant)
    return play_as_asked(options)


def play_as_asked(options: argparse.Namespace) -> int:
    """Play, or print what was played."""
    from tests.simulation import coverage, known_ledger, night  # noqa: PLC0415

    logging.disable(logging.CRITICAL)
    sys.unraisablehook = lambda _: None  # killed processes end nothing properly
    if options.coverage:
        print(coverage.page(coverage.Tally.read(options.coverage)))
        return 0
    try:
        if options.replay is not None:
            broken = 0
            only = None if options.only is None else options.only.split(";")
            for seed in options.replay:
                outcome = night.play(seed, only, trace=options.trace)
                show(outcome, is_whole=only is None, everybody=options.everybody)
                if options.trace:
                    print("trace", outcome.fingerprint)
                broken += bool(outcome.broken)
            return bool(broken)
        seeds = range(options.first, options.first + options.seeds)
        return explore(seeds, options.jobs, first_only=options.first_only, cells=options.cells)
    finally:
        known_ledger.clean()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
