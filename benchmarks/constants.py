"""Constants: each constant of the pacing at half and at double its value, against model servers on a virtual clock.

The runs are those of `python -m benchmarks pacing`, with the same seeds for each value. Every cell has three figures:
at half the value, as it is, and at double. A constant that is a factor varies in its distance from 1, a share is 1 at
most, and a number of things is a whole one. Everything else stays as it is. One process at a time; some ten minutes.
"""

import argparse
import ast
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

import bulksms

FEW, SLOTS, MIXED = "2 to 4 slots, 0.2 to 2 s", "slots, 200 ms each", "slots, exponential"
AWAY, LONG, NOT_THERE = "outage", "outage of nine minutes", "503 for everybody"
HICCUPS, ILL, BAD, SHORT = (
    "20 % random 503",
    "60 % random 503",
    "one bad recipient in a hundred",
    "8 slots, short queue",
)
SLIDING, DISTANCE, ASKS = "429, in any second", "429, every distance", "429, Retry-After"

SERVERS: Mapping[str, tuple[str, ...]] = {
    "circuit_breaker.WINDOW": (AWAY, ILL),
    "circuit_breaker.LEAST_ANSWERS": (AWAY, ILL),
    "circuit_breaker.FAILURE_RATE": (HICCUPS, ILL),
    "circuit_breaker.OWN_TROUBLE": (AWAY, BAD),
    "run_settings.first_probe_pause": (AWAY, NOT_THERE),
    "circuit_breaker.PAUSE_SHARE": (AWAY, LONG),
    "circuit_breaker.LONGEST_PAUSE": (LONG,),
    "circuit_breaker.HALF_OPEN_PROBES": (AWAY, NOT_THERE),
    "circuit_breaker.RAMP_START": (AWAY, NOT_THERE),
    "circuit_breaker.HEALTH_SECONDS": (HICCUPS, BAD),
    "circuit_breaker.HIGH_SHARE": (HICCUPS, BAD),
    "circuit_breaker.LEAST_FAILURES": (HICCUPS, BAD),
    "concurrency_limit.FIRST_LIMIT": (SLOTS, MIXED),
    "concurrency_limit.DOUBLING_PAYS": (SLOTS, MIXED),
    "concurrency_limit.MOST_DOUBLING_ROUNDS": (SLOTS, MIXED),
    "concurrency_limit.STEP_UP": (SLOTS, MIXED),
    "concurrency_limit.STEP_DOWN": (SLOTS, MIXED),
    "concurrency_limit.HEADROOM": (SLOTS, MIXED),
    "concurrency_limit.PAYS": (SLOTS, MIXED),
    "concurrency_limit.PAYS_WITH_FEW": (FEW, SHORT),
    "concurrency_limit.FEW": (FEW, SHORT),
    "concurrency_limit.TRIAL_ROUNDS": (SLOTS, MIXED),
    "concurrency_limit.MOST_TRIAL_ROUNDS": (SLOTS, MIXED),
    "concurrency_limit.REST": (SLOTS, MIXED),
    "concurrency_limit.LONGEST_REST": (SLOTS, MIXED),
    "concurrency_limit.EVEN": (SLOTS, MIXED),
    "concurrency_limit.LEAST_SPREAD": (SLOTS, MIXED),
    "concurrency_limit.SATURATED": (SLOTS, MIXED),
    "rate_limiter.MEASURED_SECONDS": (SLIDING, DISTANCE),
    "rate_limiter.MANY": (SLIDING, DISTANCE),
    "rate_limiter.RECENT_ANSWERS": (SLIDING, DISTANCE),
    "rate_limiter.CUT": (SLIDING, DISTANCE),
    "rate_limiter.HALVE": (SLIDING, DISTANCE),
    "rate_limiter.FIRST_RECOVERY": (SLIDING, DISTANCE),
    "rate_limiter.LONGEST_RECOVERY": (SLIDING, DISTANCE),
    "rate_limiter.ALIKE": (SLIDING, DISTANCE),
    "rate_limiter.FIRST_RECOVERY_PER_HOLD": (ASKS,),
    "rate_limiter.RECOVERY_PER_HOLD": (ASKS,),
    "rate_limiter.RETRY_BUDGET": (HICCUPS, ILL),
    "rate_limiter.TOKENS_PER_ACCEPTANCE": (HICCUPS, ILL),
    "rate_limiter.TOKENS_PER_SECOND": (HICCUPS, ILL),
    "retry.SPREAD": (HICCUPS, BAD),
    "retry.LONGEST_BRIEF_WAIT": (HICCUPS, SHORT),
    "run_settings.backoff_base": (HICCUPS, SHORT),
    "run_settings.attempt_spacing": (HICCUPS, BAD),
}
"""The constants, and the kinds of servers where each has its say."""
FACTORS = {"DOUBLING_PAYS", "STEP_UP", "STEP_DOWN", "HEADROOM", "CUT"}
"""Of these it is the distance from 1 that is halved and doubled."""
SHARES = {"FAILURE_RATE", "SATURATED", "PAYS_WITH_FEW"}
"""These are 1 at most."""

Value = int | float


def module_of(name: str) -> tuple[str, str]:
    """The module of a constant, and its name there."""
    module, _, constant = name.partition(".")
    return f"bulksms.{'model' if module == 'run_settings' else 'policy'}.{module}", constant


def source_of(module: str) -> Path:
    """The file of a module, which is not imported for that."""
    return Path(bulksms.__file__).parents[1].joinpath(*module.split(".")).with_suffix(".py")


def _assigned(tree: ast.Module, constant: str) -> Iterator[ast.Assign | ast.AnnAssign]:
    """Where a module, or a class in it, gives the constant its value."""
    for node in ast.walk(tree):
        targets = node.targets if isinstance(node, ast.Assign) else []
        targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
        if isinstance(node, ast.Assign | ast.AnnAssign) and any(
            isinstance(target, ast.Name) and target.id == constant for target in targets
        ):
            yield node


class ChangedSource(SourceFileLoader):
    """Loads a module in which one constant has another value from the start: also where it is a default."""

    def __init__(self, module: str, path: str, constant: str, value: Value) -> None:
        super().__init__(module, path)
        self._constant = constant
        self._value = value

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002 - as importlib asks
        """The code, compiled anew."""
        tree = ast.parse(self.get_data(self.path))
        (node,) = _assigned(tree, self._constant)
        node.value = ast.copy_location(ast.Constant(self._value), node)
        return compile(tree, self.path, "exec")


class OneChanged:
    """An importer that knows one module only."""

    def __init__(self, module: str, constant: str, value: Value) -> None:
        self._module = module
        self._loader = ChangedSource(module, str(source_of(module)), constant, value)

    def find_spec(self, fullname: str, _: object = None, __: object = None) -> ModuleSpec | None:
        """The module's, if it is that one."""
        return spec_from_file_location(fullname, loader=self._loader) if fullname == self._module else None


def present(name: str) -> Value:
    """The value that a constant has."""
    module, constant = module_of(name)
    (node,) = _assigned(ast.parse(source_of(module).read_bytes()), constant)
    value: Value = ast.literal_eval(node.value or ast.Constant(None))
    return value


def half_and_double(name: str, value: Value) -> tuple[Value, Value]:
    """What is tried in its place."""
    constant = name.partition(".")[2]
    if constant in FACTORS:
        return round(1 + (value - 1) / 2, 4), round(1 + (value - 1) * 2, 4)
    if isinstance(value, int):
        return max(1, round(value / 2)), value * 2
    return value / 2, min(1.0, value * 2) if constant in SHARES else value * 2


class Result(NamedTuple):
    """What came of the runs with one value against one kind of server: medians, and who failed in all of them."""

    share: float
    worst: float
    throttled: float
    in_flight: float
    recovery: float | None
    tail: float
    failed: int


def run_here(kinds: Sequence[str], runs: int, seed: int) -> dict[str, Result]:
    """The runs against each of these kinds of servers, in this process."""
    from benchmarks.pacing import simulate  # noqa: PLC0415 - the constant is changed before that

    results = {}
    for kind in kinds:
        outcomes = [simulate(kind, each) for each in range(seed, seed + runs)]
        back = [it.recovery for it in outcomes if it.recovery is not None]
        results[kind] = Result(
            statistics.median(it.share for it in outcomes),
            min(it.share for it in outcomes),
            statistics.median(it.throttled for it in outcomes),
            statistics.median(it.in_flight for it in outcomes),
            statistics.median(back) if back else None,
            statistics.median(it.tail for it in outcomes),
            sum(it.failed for it in outcomes),
        )
    return results


def run_with(name: str | None, value: Value, kinds: Sequence[str], runs: int, seed: int) -> dict[str, Result]:
    """The same in a process of its own, in which the constant has this value."""
    asked = json.dumps([name, value, list(kinds), runs, seed])
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.constants", "--child", asked], stdout=subprocess.PIPE, check=True
    )
    return {kind: Result(*figures) for kind, figures in json.loads(ended.stdout).items()}


def _child(asked: str) -> int:
    name, value, kinds, runs, seed = json.loads(asked)
    if name is not None:
        sys.meta_path.insert(0, OneChanged(*module_of(name), value))
    print(json.dumps(run_here(kinds, runs, seed)))
    return 0


COLUMNS = ("constant", "values", "server", "share", "worst", "429s", "in flight", "back after", "tail", "failed")


def row(name: str, values: Sequence[Value], kind: str, results: Sequence[Result]) -> str:
    """A row of the table."""

    def three(figures: Sequence[Any], form: str, unit: str = "") -> str:
        texts = ["-" if figure is None else f"{figure:{form}}" for figure in figures]
        if set(texts) <= {"-", "0", "0.0"}:
            return ""
        return (texts[0] if len(set(texts)) == 1 else ", ".join(texts)) + unit

    cells = [
        f"`{name}`",
        three(values, "g"),
        kind,
        three([it.share for it in results], ".3f"),
        three([it.worst for it in results], ".3f"),
        three([it.throttled * 100 for it in results], ".1f", " %"),
        three([it.in_flight for it in results], ".1f"),
        three([it.recovery for it in results], ".1f", " s"),
        three([it.tail for it in results], ".1f", " s"),
        three([it.failed for it in results], "d"),
    ]
    return f"| {' | '.join(cells)} |"


def main() -> int:
    """Simulate and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks constants", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=6, help="for each value and kind of server")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="constants whose name has this in it")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        return _child(options.child)
    names = [name for name in SERVERS if options.only in name]
    print(f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}", flush=True)
    as_it_is = run_with(None, 0, sorted({kind for name in names for kind in SERVERS[name]}), options.runs, options.seed)
    for name in names:
        value = present(name)
        half, double = half_and_double(name, value)
        less, more = (run_with(name, it, SERVERS[name], options.runs, options.seed) for it in (half, double))
        for kind in SERVERS[name]:
            print(row(name, (half, value, double), kind, (less[kind], as_it_is[kind], more[kind])), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
