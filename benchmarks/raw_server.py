"""Raw server: answers every HTTP/1.1 POST with the same bytes, after so many seconds.

It reads no more of a request than where it ends, so that it is in nobody's way. `python -m benchmarks.raw_server`
prints its port as the first line.
"""

import argparse
import asyncio
import re
from contextlib import suppress
from typing import cast

from benchmarks.machine import has_package
from benchmarks.wire import ANSWER

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
RESPONSE = (
    f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(ANSWER)}\r\n\r\n{ANSWER}"
).encode()


def count_requests(data: bytes) -> tuple[int, bytes]:
    """How many whole requests there are, and what is there of the next."""
    count = at = 0
    while (end := data.find(b"\r\n\r\n", at)) >= 0:
        length = _LENGTH.search(data, at, end)
        whole = end + 4 + (0 if length is None else int(length[1]))
        if whole > len(data):
            break
        count, at = count + 1, whole
    return count, data[at:]


class Answering(asyncio.Protocol):
    """One connection, kept for as long as the client likes."""

    def __init__(self, latency: float) -> None:
        self._latency = latency
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep it to write to; uvloop's is no `asyncio.Transport`, though it does what one does."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer what is whole by now."""
        count, self._rest = count_requests(self._rest + data)
        if count and self._latency:
            asyncio.get_running_loop().call_later(self._latency, self._answer, count)
        elif count:
            self._answer(count)

    def _answer(self, count: int) -> None:
        self._transport.write(RESPONSE * count)


async def serve(port: int, latency: float) -> None:
    """Answer until the process is ended."""
    server = await asyncio.get_running_loop().create_server(lambda: Answering(latency), "127.0.0.1", port, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    """Serve, on uvloop where it is installed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.raw_server", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds until the answer")
    options = parser.parse_args()
    factory = None
    if has_package("uvloop"):
        import uvloop  # noqa: PLC0415 - only where it is installed

        factory = uvloop.new_event_loop
    with suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve(options.port, options.latency))


if __name__ == "__main__":
    main()
