"""Sections: the parts of the whole, which can be measured one by one."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from benchmarks import alone, cost, large, layers, rivals, startup
from benchmarks.figure import Figure
from benchmarks.form import Form

STARTUP = "startup"
STARTS = 4
"""Starts for each round of the others: they take no time, and vary."""


def measure_startup(form: Form, folder: Path) -> Iterator[Figure]:
    """The time until a command has said something."""
    for name, usages in startup.measure_commands(STARTS * form.rounds, form.sizes[0], folder).items():
        yield Figure(STARTUP, name, "s", startup.seconds(usages))
        yield Figure(STARTUP, name, "s CPU", startup.busy_seconds(usages))


SECTIONS: Mapping[str, Callable[[Form, Path], Iterator[Figure]]] = {
    rivals.SECTION: rivals.measure,
    layers.SECTION: layers.measure,
    cost.SECTION: cost.measure,
    alone.LEDGER: alone.measure_ledger,
    alone.INTAKE: alone.measure_intake,
    large.SECTION: large.measure,
    STARTUP: measure_startup,
}
"""What each measures is said in its module."""
