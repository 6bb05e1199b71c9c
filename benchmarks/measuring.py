"""Measuring: time, processor time and memory of a process of its own, on a core of its own.

Invariant: a measured process is spawned, not forked, so that it inherits neither memory nor loaded code.
"""

import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import ParamSpec, Self, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
COMMITS = 50
"""How often the disk is asked to make a block durable."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The values of all rounds."""

    rounds: tuple[float, ...]

    def over(self, other: "Sample") -> "Sample":
        """The ratio to another sample, round by round, because only those were measured together."""
        return Sample(tuple(ours / theirs for ours, theirs in zip(self.rounds, other.rounds, strict=True)))

    def __str__(self) -> str:
        """The median, and in brackets the lowest and the highest round."""
        middle = number(statistics.median(self.rounds))
        spread = f" ({number(min(self.rounds))} to {number(max(self.rounds))})"
        return middle + (spread if len(self.rounds) > 1 else "")


def number(value: float) -> str:
    """A number with as many digits as a measurement justifies: three, and all of those before the point."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}"


@dataclass(slots=True)
class Usage:
    """Seconds on the clock, processor seconds (ended child processes included), and the peak of memory."""

    seconds: float = 0.0
    busy: float = 0.0
    megabytes: float = 0.0


@contextmanager
def measuring() -> Iterator[Usage]:
    """The usage of the block; complete after it."""
    usage = Usage()
    began, began_busy = time.perf_counter(), _busy()
    yield usage
    usage.seconds, usage.busy, usage.megabytes = time.perf_counter() - began, _busy() - began_busy, _peak_megabytes()


def _busy() -> float:
    own = time.process_time()
    if sys.platform == "win32":
        return own
    import resource  # noqa: PLC0415 - POSIX only

    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own + ended.ru_utime + ended.ru_stime


def _peak_megabytes() -> float:
    """The most memory that this process ever held.

    On Linux a started program inherits the peak that getrusage(2) reports; the one in /proc is the process's own.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    import resource  # noqa: PLC0415 - POSIX only

    # Kilobytes, but bytes on macOS (getrusage(2)).
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


class Apart:
    """A process of its own that runs functions one after the other: `with Apart() as apart: apart.run(function)`."""

    def __enter__(self) -> Self:
        self._executor = ProcessPoolExecutor(1, get_context("spawn"), initializer=_begin, initargs=(cores()[0],))
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown()

    def run(
        self, function: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> Result:
        """Call the function there and wait for its result; its exception is raised here."""
        return self._executor.submit(function, *arguments, **named).result()


def run_alone(function: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
    """Call the function in a new process that does nothing else."""
    with Apart() as apart:
        return apart.run(function, *arguments, **named)


def _begin(core: int | None) -> None:
    """Keep to the measured core, bypass every proxy, and let Ctrl-C end the process silently."""
    os.environ.update(NO_PROXY="127.0.0.1", no_proxy="127.0.0.1")
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def cores() -> tuple[int | None, int | None]:
    """A core for what is measured and one for the server; None where a process cannot choose or there is only one."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    first, *others = sorted(os.sched_getaffinity(0))
    return (first, others[0]) if others else (None, None)


def conditions(folder: Path) -> str:
    """What the figures depend on: the load of the machine, and how fast the disk of a folder commits."""
    loaded = f"load {os.getloadavg()[0]:.1f}; " if hasattr(os, "getloadavg") else ""
    return f"{loaded}a commit of the disk takes {commit_milliseconds(folder):.2f} ms"


def commit_milliseconds(folder: Path) -> float:
    """The median time in which the disk of a folder makes four kilobytes durable."""
    times = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(COMMITS):
            began = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)
