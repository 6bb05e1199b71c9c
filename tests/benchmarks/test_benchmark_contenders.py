"""The contenders: whether each sends what it says, to the last byte that matters."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from benchmarks.contenders import CONTENDERS, ENGINE, SEND, Contender, Job
from benchmarks.wire import PATH, RESULT, TOKEN, body

MESSAGES = 6


class Receiver(ThreadingHTTPServer):
    """Takes every request and keeps it."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, result: dict[str, Any]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer = json.dumps(result).encode()
        self.requests: list[tuple[str, str, str, Any]] = []
        self.connections: set[int] = set()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Receiver

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        headers = (self.headers["Adm-Authorization"], self.headers["Content-Type"])
        self.server.requests.append((self.path, *headers, json.loads(content)))
        self.server.connections.add(self.client_address[1])
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(self.server.answer)))
        self.end_headers()
        self.wfile.write(self.server.answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's own name for it
        """Say nothing."""


@contextmanager
def receiving(result: dict[str, Any]) -> Iterator[Receiver]:
    with Receiver(result) as receiver:
        thread = threading.Thread(target=receiver.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield receiver
        finally:
            receiver.shutdown()
            thread.join()


def job(receiver: Receiver, folder: Path, workers: int = 1) -> Job:
    return Job(f"http://127.0.0.1:{receiver.server_port}/restApi", MESSAGES, workers, folder)


def present(contender: Contender) -> Contender:
    if contender.missing is not None:
        pytest.skip(f"{contender.name} is not here: {contender.missing}")
    return contender


@pytest.mark.parametrize("contender", CONTENDERS, ids=lambda contender: contender.name)
def test_a_contender_sends_every_message_once_as_the_api_wants_it(contender: Contender, tmp_path: Path) -> None:
    workers = 1 if contender.one_by_one else 3
    with receiving(RESULT) as receiver:
        usage = present(contender).send(job(receiver, tmp_path, workers))
    expected = [body(number) for number in range(MESSAGES)]
    sent = sorted((request[3] for request in receiver.requests), key=lambda sent: str(sent["directoryObject"]))
    for path, token, kind, _ in receiver.requests:
        assert (path, token, kind) == (f"/restApi{PATH}", TOKEN, "application/json")
    if contender.name == SEND:  # each time another plan
        sent = [one | {"text": one["text"].partition(" at ")[0]} for one in sent]
    assert sent == expected
    assert usage.seconds > 0
    assert usage.busy > 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("contender", CONTENDERS, ids=lambda contender: contender.name)
def test_a_contender_whose_messages_are_refused_has_no_speed(contender: Contender, tmp_path: Path) -> None:
    refused = RESULT | {"resultType": 1, "exception": {"message": "No"}}
    with receiving(refused) as receiver, pytest.raises(Exception, match=r"taken|ended with 1"):
        present(contender).send(job(receiver, tmp_path))


def test_a_contender_says_what_it_needs_that_is_not_there() -> None:
    nobody = Contender("nobody", lambda _: pytest.fail("it was started"), packages=("no_such_package",))
    assert nobody.missing == "pip install -e '.[bench]'"
    nothing = Contender("nothing", lambda _: pytest.fail("it was started"), programs=("no-such-program", "sh"))
    assert nothing.missing == "install no-such-program"
    assert next(one for one in CONTENDERS if one.name == ENGINE).missing is None


@pytest.mark.parametrize(
    ("latency", "workers", "messages"), [(0.0, 64, 16_000), (0.0, 1, 4_000), (0.2, 1, 10), (0.2, 64, 638)]
)
def test_a_turn_takes_about_as_long_whatever_the_latency(latency: float, workers: int, messages: int) -> None:
    fast = Contender("fast", lambda _: pytest.fail("it was started"))
    assert fast.messages(2.0, latency, workers) == messages


def test_every_worker_has_more_than_one_message() -> None:
    slow = Contender("slow", lambda _: pytest.fail("it was started"), pace=10)
    assert slow.messages(1.0, 0.0, 256) == 512
