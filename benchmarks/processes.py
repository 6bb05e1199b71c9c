"""Processes: everything that is measured runs in a process of its own, on the contenders' core.

Law: a process that is measured was not forked from another, so that nobody inherits memory or loaded code; each is
told what to do only when it is its turn.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import ParamSpec, Self, TypeVar

from benchmarks.machine import part_cores, stay_on

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


@dataclass(slots=True)
class Usage:
    """Seconds on the clock, and of processor time with that of programs that were started and have ended."""

    seconds: float = 0.0
    busy: float = 0.0


@contextmanager
def measuring() -> Iterator[Usage]:
    """What the block uses; known behind it."""
    usage = Usage()
    began, began_busy = time.perf_counter(), _busy()
    yield usage
    usage.seconds, usage.busy = time.perf_counter() - began, _busy() - began_busy


def _busy() -> float:
    own = time.process_time()
    if sys.platform == "win32":
        return own
    import resource  # noqa: PLC0415 - POSIX only

    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own + ended.ru_utime + ended.ru_stime


def peak_megabytes() -> float:
    """The most memory that this process ever held.

    Linux hands the peak that getrusage(2) tells of on from a process to the program that it starts; the one in /proc
    is the process's own.
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
    """A process of its own that does one thing after the other: `with Apart() as apart: apart.run(function, ...)`."""

    def __enter__(self) -> Self:
        cores = part_cores()
        core = None if cores is None else cores[0]
        self._executor = ProcessPoolExecutor(1, get_context("spawn"), initializer=_begin, initargs=(core,))
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown()

    def run(
        self, function: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> Result:
        """Call it there and await what it returns; what it raises is raised here."""
        return self._executor.submit(function, *arguments, **named).result()


def _begin(core: int | None) -> None:
    """Stay on the contenders' core, go past every proxy, and end at Ctrl-C without a word."""
    os.environ.update(NO_PROXY="127.0.0.1", no_proxy="127.0.0.1")
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    stay_on(core)


def run_alone(function: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
    """Call it in a new process that does nothing else."""
    with Apart() as apart:
        return apart.run(function, *arguments, **named)
