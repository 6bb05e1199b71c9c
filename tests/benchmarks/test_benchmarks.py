"""The benchmarks: each as its user starts it, as small as it gets, and the commands that the documentation quotes."""

import http.client
import json
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.__main__ import NAMES
from benchmarks.http_server import count_requests, http_server
from benchmarks.measuring import Sample, number
from benchmarks.messages import ANSWER, PATH, body

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
COMMANDS = sorted(set(re.findall(r"python -m (benchmarks [a-z][^`|\n]*)", PAGE)))


def run(*arguments: str) -> str:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        ("throughput --messages 50 --workers 4 --rounds 2", r"ratio: \d\.\d+ \(\d\.\d+ to \d\.\d+\)"),
        ("planning --rows 100 --rounds 1", r"100 rows: \S+ rows a second"),
        ("ledgers --messages 100 --rounds 1", r"send to the first request: \S+ s, .*\nresume to the first request: \d"),
    ],
)
def test_a_benchmark_prints_its_figures(arguments: str, printed: str) -> None:
    assert re.search(printed, run(*arguments.split()))


def test_without_a_name_all_benchmarks_are_listed() -> None:
    listed = run()
    assert [line.split()[3] for line in listed.splitlines()] == NAMES
    assert {"kills", "ledgers", "planning", "throughput"} <= set(NAMES)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_documented_benchmark_exists(command: str) -> None:
    _, name, *arguments = shlex.split(command)
    known = run(name, "--help")
    for option in arguments:
        if option.startswith("--"):
            assert re.search(rf"{option}\b", known), option


def request(one: int) -> bytes:
    content = json.dumps(body(one)).encode()
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


@pytest.mark.parametrize("latency", [0.0, 0.05])
def test_the_server_answers_every_request_on_the_same_connection(latency: float) -> None:
    with http_server(latency=latency) as url:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
        for one in range(3):
            connection.request("POST", f"/restApi{PATH}", json.dumps(body(one)), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            assert (answer.status, answer.read().decode()) == (200, ANSWER)
        connection.close()


@pytest.mark.parametrize(
    ("value", "printed"), [(0.0, "0"), (1_234.5, "1,234"), (12.34, "12.3"), (1.234, "1.23"), (0.0123, "0.012")]
)
def test_a_number_has_as_many_digits_as_a_measurement_justifies(value: float, printed: str) -> None:
    assert number(value) == printed


def test_a_sample_is_its_median_with_its_extremes_and_ratios_are_taken_round_by_round() -> None:
    assert str(Sample((3.0, 1.0, 2.0))) == "2.00 (1.00 to 3.00)"
    assert str(Sample((2.0,))) == "2.00"
    assert Sample((4.0, 9.0)).over(Sample((2.0, 3.0))).rounds == (2.0, 3.0)
