"""HTTP server: answers every HTTP/1.1 request with the same bytes, after a fixed latency.

It parses no more of a request than its end, so that it never limits what is measured. `python -m
benchmarks.http_server` prints its port as the first line.
"""

import argparse
import asyncio
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import cast

from benchmarks.measuring import cores
from benchmarks.messages import ANSWER

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
RESPONSE = (
    f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(ANSWER)}\r\n\r\n{ANSWER}"
).encode()


def count_requests(data: bytes) -> tuple[int, bytes]:
    """The number of complete requests, and the bytes of the next one."""
    count = at = 0
    while (end := data.find(b"\r\n\r\n", at)) >= 0:
        length = _LENGTH.search(data, at, end)
        whole = end + 4 + (0 if length is None else int(length[1]))
        if whole > len(data):
            break
        count, at = count + 1, whole
    return count, data[at:]


class Answering(asyncio.Protocol):
    """One connection, kept open as long as the client keeps it."""

    def __init__(self, latency: float) -> None:
        self._latency = latency
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; uvloop's is no subclass of `asyncio.Transport`, though it has its methods."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer the complete requests."""
        count, self._rest = count_requests(self._rest + data)
        if count and self._latency:
            asyncio.get_running_loop().call_later(self._latency, self._answer, count)
        elif count:
            self._answer(count)

    def _answer(self, count: int) -> None:
        self._transport.write(RESPONSE * count)


async def serve(port: int, latency: float) -> None:
    """Answer until the process ends."""
    server = await asyncio.get_running_loop().create_server(lambda: Answering(latency), "127.0.0.1", port, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def http_server(*, latency: float = 0.0) -> Iterator[str]:
    """A server in a process of its own, on another core than what is measured; the base URL of its API."""
    command = [sys.executable, "-m", "benchmarks.http_server", "--latency", str(latency)]
    process = subprocess.Popen(command, cwd=Path(__file__).parent.parent, stdout=subprocess.PIPE, text=True)
    if (core := cores()[1]) is not None:
        os.sched_setaffinity(process.pid, {core})
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline() if process.stdout else 0)}/restApi"
    finally:
        process.terminate()
        process.communicate()


def main() -> None:
    """Serve, on uvloop where it is installed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.http_server", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds until the answer")
    options = parser.parse_args()
    factory = None
    if importlib.util.find_spec("uvloop") is not None:
        import uvloop  # noqa: PLC0415 - only where it is installed

        factory = uvloop.new_event_loop
    with suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve(options.port, options.latency))


if __name__ == "__main__":
    main()
