"""Mutants: `python -m tests.mutation policy` changes one place of a room after another; what did no test notice?

It needs `pip install cosmic-ray`, works on a copy of the project, and takes hours for a whole room; `--sample 50` takes
a part of the mutants, chosen by `--seed`. A survivor is a gap in the tests, or is listed in docs/simulation.md with the
reason why it changes nothing.
"""

import argparse
import json
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
TIMEOUT = 600.0
"""Seconds after which a mutant counts as noticed: it hangs."""


class Room(NamedTuple):
    """What is mutated, and the tests that have to notice."""

    modules: tuple[str, ...]
    tests: tuple[str, ...]


ROOMS = {
    "policy": Room(("bulksms/policy",), ("tests/policy",)),
    "ledger": Room(("bulksms/ledger",), ("tests/ledger",)),
    "engine": Room(("bulksms/engine/worker.py",), ("tests/engine",)),
}


def configure(room: Room, python: str) -> str:
    """The configuration of cosmic-ray. The first test that fails ends it, and no test runs beside another."""
    command = f"{python} -m pytest -q -x -n 0 -p no:randomly -p no:cacheprovider {' '.join(room.tests)}"
    modules = json.dumps(list(room.modules))
    return (
        f"[cosmic-ray]\nmodule-path = {modules}\ntimeout = {TIMEOUT}\nexcluded-modules = []\n"
        f'test-command = "{command}"\n[cosmic-ray.distributor]\nname = "local"\n'
    )


def keep_sample(session: Path, size: int, seed: int) -> tuple[int, int]:
    """Leave so many of the mutants in a session: how many there are, and how many are left."""
    with closing(sqlite3.connect(session)) as connection, connection:
        jobs = sorted(row[0] for row in connection.execute("SELECT job_id FROM work_items"))
        kept = set(random.Random(seed).sample(jobs, min(size, len(jobs))))
        gone = [(job,) for job in jobs if job not in kept]
        connection.executemany("DELETE FROM mutation_specs WHERE job_id = ?", gone)
        connection.executemany("DELETE FROM work_items WHERE job_id = ?", gone)
    return len(jobs), len(kept)


def survivors(dump: str) -> tuple[int, list[str]]:
    """How many mutants were tried, and each that no test noticed: where, how, and the change."""
    tried, found = 0, []
    for line in dump.splitlines():
        item, result = json.loads(line)
        if result is None:
            continue
        tried += 1
        if result["test_outcome"] == "survived":
            mutation = item["mutations"][0]
            place = f"{mutation['module_path']}:{mutation['start_pos'][0]}"
            changed = [
                it for it in (result["diff"] or "").splitlines() if it[:1] in "+-" and it[:3] not in ("+++", "---")
            ]
            found.append("\n".join([f"{place} {mutation['operator_name']}", *(f"    {it}" for it in changed)]))
    return tried, found


def main() -> int:
    """Mutate, test and list; 1 if fewer than nine in ten were noticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("room", choices=sorted(ROOMS))
    parser.add_argument("--sample", type=int, default=10**9, metavar="N", help="so many mutants (default: all)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    cosmic_ray = shutil.which("cosmic-ray") or str(Path(sys.executable).with_name("cosmic-ray"))
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "project"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "__pycache__", "results", "dist"))
        # The package that is tested is the copy's: it comes first in the path of `python -m pytest`.
        (copy / "mutation.toml").write_text(configure(ROOMS[options.room], sys.executable), encoding="utf-8")
        session = copy / "mutation.sqlite"

        def run(*arguments: str) -> str:
            done = subprocess.run([cosmic_ray, *arguments], cwd=copy, check=True, stdout=subprocess.PIPE, text=True)
            return done.stdout

        run("init", "mutation.toml", session.name)
        every, kept = keep_sample(session, options.sample, options.seed)
        print(f"{every} mutants of {options.room}, {kept} of them are tried", flush=True)
        run("exec", "mutation.toml", session.name)
        tried, alive = survivors(run("dump", session.name))
    print("\n".join(alive))
    print(f"{tried - len(alive)} of {tried} were noticed ({1 - len(alive) / max(tried, 1):.0%})")
    return len(alive) * 10 > tried


if __name__ == "__main__":
    sys.exit(main())
