"""The server that all contenders talk to: the sandbox in a process of its own, on another core where there is one."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def server(*, latency: float = 0.0) -> Iterator[str]:
    """The base URL of a sandbox without faults; `latency` in seconds. It ends with the block."""
    command = [sys.executable, "-m", "bulksms.sandbox", "--port", "0", "--latency", str(latency)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        cores = part_cores()
        if cores is not None:
            os.sched_setaffinity(process.pid, {cores[1]})
        if process.stdout is None:
            raise RuntimeError("the server has no output")
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(timeout=10)
        if process.stdout is not None:
            process.stdout.close()


def part_cores() -> tuple[int, int] | None:
    """A core for the contenders and one for the server; None where a process cannot choose."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    cores = sorted(os.sched_getaffinity(0))
    return (cores[0], cores[1]) if len(cores) > 1 else None
