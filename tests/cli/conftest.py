"""An operator's desk: a folder, a stand-in server to send to, and the program, called in this process.

Law: whatever a test does, the token is in nothing that was said and in no file that is left.
"""

import asyncio
import io
import json
import logging
import os
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bulksms.cli import run
from bulksms.delivery.retry import RetryPolicy
from bulksms.ledger.reader import LedgerReader, Line
from bulksms.sandbox import Journal, Sandbox

TOKEN = "s3cret-token-4711"
"""What the stand-in server wants to see."""
EFFECTS: dict[str, dict[str, str]] = tomllib.loads(Path(__file__).with_name("effects.toml").read_text(encoding="utf-8"))
"""For each command and option the test that shows its effect; `test_effects` holds it against the commands."""


@dataclass(frozen=True)
class Said:
    """How a call of the program ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """What stands on stdout, as one JSON object."""
        told = json.loads(self.out)
        assert isinstance(told, dict)
        return told


class Server:
    """A stand-in server in a thread of its own, because the program runs an event loop itself."""

    def __init__(self, **options: Any) -> None:
        settings: dict[str, Any] = {"token": TOKEN, "retry_after": 0.0}
        self.sandbox = Sandbox(**settings | options)
        self._listening = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(),))
        self._thread.start()
        self._listening.wait()

    @property
    def url(self) -> str:
        """Its base URL."""
        return self.sandbox.url

    @property
    def journal(self) -> Journal:
        """What it has received."""
        return self.sandbox.journal

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        try:
            async with self.sandbox:
                self._listening.set()
                await self._ended.wait()
        finally:
            self._listening.set()

    def end(self) -> None:
        """Stop it and wait until it has."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()


class Desk:
    """The folder is the working directory; the environment has no word about bulksms but what a test sets."""

    token = TOKEN

    def __init__(
        self,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        serve: Callable[..., Server],
    ) -> None:
        self.folder = folder
        self.serve = serve
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        self.said: list[Said] = []
        self.called: list[list[str]] = []

    def __call__(self, *arguments: str | Path, typed: bytes | None = None) -> Said:
        """Call the program; `typed` is standard input."""
        self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(typed or b""), encoding="utf-8"))
        self.called.append([str(argument) for argument in arguments])
        code = run(self.called[-1])
        out, err = self._capsys.readouterr()
        said = Said(code, out, err)
        self.said.append(said)
        assert "Traceback" not in err
        return said

    def export(self, name: str, value: str) -> None:
        """Set a variable of the environment."""
        self._monkeypatch.setenv(name, value)

    def at(self, server: Server) -> None:
        """Send to this server from now on."""
        self.export("BULKSMS_URL", server.url)
        self.export("BULKSMS_TOKEN", TOKEN)

    def write(self, name: str, text: str) -> Path:
        """A file in the folder."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def server(self, **options: Any) -> Server:
        """Start a stand-in server and send there from now on."""
        server = self.serve(**options)
        self.at(server)
        return server

    def people(self, count: int, name: str = "people.csv", *, mark: str = "") -> Path:
        """An input of so many people; `mark` is in their names, such as `[503]`."""
        rows = [f'"CN=Person {number} {mark},DC=example,DC=com",Outage {number}.\n' for number in range(count)]
        return self.write(name, "".join(["directoryObject,text\n", *rows]))

    def lines(self, ledger: str = "people.ledger.db") -> list[Line]:
        """Every message of a ledger."""
        with LedgerReader(self.folder / ledger) as reader:
            return list(reader.lines())

    @property
    def files(self) -> set[str]:
        """The names of everything in the folder."""
        return {path.name for path in self.folder.iterdir()}


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Start stand-in servers; they are ended with the test."""
    servers: list[Server] = []

    def start(**options: Any) -> Server:
        servers.append(Server(**options))
        return servers[-1]

    yield start
    for server in servers:
        server.end()


@pytest.fixture
def desk(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    serve: Callable[..., Server],
    request: pytest.FixtureRequest,
) -> Iterator[Desk]:
    """A desk with nothing on it; the waits between attempts are milliseconds."""
    monkeypatch.chdir(tmp_path)
    for name in _foreign_variables():
        monkeypatch.delenv(name)
    monkeypatch.setattr("bulksms.engine.run.RetryPolicy", partial(RetryPolicy, base=0.005, cap=0.02))
    desk = Desk(tmp_path, monkeypatch, capsys, serve)
    yield desk
    _close_logs()
    for said in desk.said:
        assert TOKEN not in said.out + said.err
    for path in tmp_path.rglob("*"):
        if path.is_file() and not path.name.endswith("token"):
            assert TOKEN.encode() not in path.read_bytes(), path
    for command, option in _claimed_by(request.node):
        assert any(call[:1] == [command] and option in call for call in desk.called), f"{command} {option} is not used"


def _claimed_by(test: pytest.Function) -> list[tuple[str, str]]:
    """The commands and options whose effects the test is said to show."""
    names = {f"{test.path.name}::{name}" for name in (test.name, test.originalname)}
    return [(command, option) for command, shown in EFFECTS.items() for option, by in shown.items() if by in names]


Start = Callable[..., "subprocess.Popen[str]"]
"""Starts the program with these arguments."""


@pytest.fixture
def start(desk: Desk) -> Iterator[Start]:
    """Start the program as a process; it is ended with the test."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str, program: tuple[str, ...] = ("-m", "bulksms")) -> subprocess.Popen[str]:
        desk.called.append(list(arguments))
        process = subprocess.Popen(
            [sys.executable, *program, *arguments],
            cwd=desk.folder,
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
