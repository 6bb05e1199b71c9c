"""The servers that the contenders talk to: real ones, on real sockets."""

import http.client
import json
import shutil
import socket
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.headroom import requests_a_second
from benchmarks.raw_server import count_requests
from benchmarks.server import server
from benchmarks.wire import PATH, RESULT, body

KINDS = [
    pytest.param(False, id="raw"),
    pytest.param(
        True, id="nginx", marks=pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
    ),
]


def request(number: int) -> bytes:
    content = json.dumps(body(number)).encode()
    return b"POST /x HTTP/1.1\r\nHost: x\r\nCONTENT-LENGTH: %d\r\n\r\n%s" % (len(content), content)


@given(st.lists(st.integers(0, 10**9), max_size=5), st.lists(st.integers(0, 1_000)))
def test_requests_are_counted_wherever_the_network_cuts_them(numbers: list[int], cuts: list[int]) -> None:
    data = b"".join(map(request, numbers))
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    counted, rest = 0, b""
    for begin, end in pairwise(places):
        count, rest = count_requests(rest + data[begin:end])
        counted += count
    assert (counted, rest) == (len(numbers), b"")


def test_a_request_without_a_body_ends_with_its_headers() -> None:
    assert count_requests(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET") == (1, b"GET")


@pytest.mark.parametrize("nginx", KINDS)
def test_every_post_is_answered_with_the_operation_result_on_the_same_connection(nginx: bool) -> None:
    with server(nginx=nginx) as running:
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)
        sockets = set()
        for number in range(3):
            connection.request(
                "POST", f"/restApi{PATH}", json.dumps(body(number)), {"Content-Type": "application/json"}
            )
            sockets.add(connection.sock)
            answer = connection.getresponse()
            assert answer.status == 200
            assert answer.headers["Content-Type"] == "application/json"
            assert json.loads(answer.read()) == RESULT
        assert len(sockets) == 1
        connection.close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", running.port), timeout=1)


@pytest.mark.parametrize("nginx", KINDS)
def test_latency_is_waited_for_by_each_but_not_by_one_after_the_other(nginx: bool) -> None:
    with server(latency=0.2, nginx=nginx) as running:
        sockets = [socket.create_connection(("127.0.0.1", running.port), timeout=10) for _ in range(8)]
        began = time.monotonic()
        for each in sockets:
            each.sendall(request(1))
        for each in sockets:
            assert each.recv(1).startswith(b"H")
            each.close()
        taken = time.monotonic() - began
    assert 0.19 <= taken < 8 * 0.2


@pytest.mark.parametrize("nginx", KINDS)
def test_the_server_says_what_it_is_and_what_it_used(nginx: bool) -> None:
    with server(nginx=nginx) as running:
        assert running.kind.startswith("nginx" if nginx else "raw_server on ")
        before = running.busy_seconds()
        assert requests_a_second(running.port, 0.2) > 0
        after = running.busy_seconds()
    if before is not None:  # where the system says it
        assert after is not None
        assert after > before
