"""The command line in a folder of its own, simulators, and the program as a process."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bulksms import open_run
from bulksms.model.run_settings import Timings
from bulksms.sandbox.server import LogIns
from tests.cli.harness import TOKEN, CliHarness, Server, Start


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Start simulators; they are ended with the test."""
    servers: list[Server] = []

    def start(**options: Any) -> Server:
        servers.append(Server(**options))
        return servers[-1]

    yield start
    for server in servers:
        server.end()


@pytest.fixture
def cli(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    serve: Callable[..., Server],
) -> Iterator[CliHarness]:
    """The command line in an empty folder; the waits between attempts are milliseconds."""
    monkeypatch.chdir(tmp_path)
    for name in _foreign_variables():
        monkeypatch.delenv(name)
    short = Timings(backoff_base=0.005, backoff_cap=0.02, attempt_spacing=0.0, first_probe_pause=0.05)
    monkeypatch.setattr("bulksms.cli.flows.run.open_run", partial(open_run, timings=short))
    cli = CliHarness(tmp_path, monkeypatch, capsys, serve)
    yield cli
    _close_logs()
    for result in cli.results:
        assert TOKEN not in result.out + result.err
    for path in tmp_path.rglob("*"):
        if path.is_file() and not path.name.endswith("token"):
            assert TOKEN.encode() not in path.read_bytes(), path


@pytest.fixture
def start(cli: CliHarness) -> Iterator[Start]:
    """Start the program as a process; it is ended with the test."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str, program: tuple[str, ...] = ("-m", "bulksms")) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, *program, *arguments],
            cwd=cli.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def _foreign_variables() -> list[str]:
    proxies = {"http_proxy", "https_proxy", "all_proxy", "no_proxy", "credentials_directory"}
    return [name for name in os.environ if name.startswith("BULKSMS_") or name.lower() in proxies]


def _close_logs() -> None:
    """A call of the program leaves its log open for the rest of the process, which here goes on."""
    logger = logging.getLogger("bulksms")
    for handler in logger.handlers:
        stream = getattr(handler, "stream", None)
        if stream is not None and stream not in (sys.stdout, sys.stderr, sys.__stderr__) and hasattr(stream, "name"):
            stream.close()
    logger.handlers = [logging.NullHandler()]
    logger.setLevel(logging.NOTSET)
    logger.getChild("recipients").setLevel(logging.CRITICAL)
    logger.propagate = True


@pytest.fixture
def issued(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every session id and token that a simulator gives out."""
    names: list[str] = []
    give = LogIns._issue

    def noted(self: LogIns, kept: dict[str, float], lifetime: float) -> tuple[str, str]:
        name, expires = give(self, kept, lifetime)
        names.append(name)
        return name, expires

    monkeypatch.setattr(LogIns, "_issue", noted)
    return names
