"""Power cuts: `python -m tests.power_cuts --images 5000` records runs and judges images of them."""

import argparse
import random
import sys
import tempfile
from pathlib import Path

from tests.power_cuts.images import judge
from tests.power_cuts.recording import is_possible, record

RUNS = ((False, False), (True, False), (False, True), (True, True))
"""(faults, killed in the middle)"""


def main() -> int:
    """Record each kind of run and judge its share of the images; 1 if one of them lies."""
    parser = argparse.ArgumentParser(prog="python -m tests.power_cuts", description=__doc__)
    parser.add_argument("--images", type=int, default=5_000)
    parser.add_argument("--people", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if not is_possible():
        print("There is no strace here, or it may not look at processes.")
        return 2
    chance = random.Random(options.seed)
    lies = 0
    for faults, killed in RUNS:
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
            recording = record(Path(one), options.people, faults=faults, killed=killed)
            judgement = judge(recording, options.images // len(RUNS), Path(other), chance)
        kind = f"{'with' if faults else 'without'} faults{', killed' if killed else ''}"
        requests = sum(event.kind == "request" for event in recording.events)
        print(
            f"{kind}: {len(recording.events)} events, {requests} requests, {judgement.images} images, "
            f"{judgement.unreadable} for a run only, {len(judgement.lies)} lies",
            flush=True,
        )
        print("".join(f"  {lie}\n" for lie in judgement.lies[:20]), end="", flush=True)
        lies += len(judgement.lies)
    return bool(lies)


if __name__ == "__main__":
    sys.exit(main())
