"""Headroom: how many requests a second the server answers, at least, if nobody holds it up.

Raw sockets send a request that is made already, one at a time on each of many connections, and only count the answers.
It is the sender that cannot do more.
"""

import json
import socket
import time
from contextlib import ExitStack

from benchmarks.wire import ANSWER, HEADERS, PATH, body

CONNECTIONS = 64
SECONDS = 1.0


def requests_a_second(port: int, seconds: float = SECONDS) -> float:
    """Load the server for so long. Raises RuntimeError if it goes away."""
    request = _request()
    with ExitStack() as stack:
        connections = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30)) for _ in range(CONNECTIONS)
        ]
        length = _length_of_answer(connections[0], request)
        for connection in connections:
            connection.sendall(request)
        began, answered = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            for connection in connections:
                _receive(connection, length)
                connection.sendall(request)
                answered += 1
        return answered / (time.perf_counter() - began)


def _request() -> bytes:
    content = json.dumps(body(1))
    lines = [f"POST /restApi{PATH} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in HEADERS.items()]
    return "\r\n".join([*lines, f"Content-Length: {len(content)}", "", content]).encode()


def _length_of_answer(connection: socket.socket, request: bytes) -> int:
    """All answers are of one length, which the first one shows."""
    connection.sendall(request)
    answer = b""
    while not answer.endswith(ANSWER.encode()):
        answer += _receive(connection, 1)
    return len(answer)


def _receive(connection: socket.socket, length: int) -> bytes:
    received = bytearray()
    while len(received) < length:
        part = connection.recv(length - len(received))
        if not part:
            raise RuntimeError("the server went away")
        received += part
    return bytes(received)
