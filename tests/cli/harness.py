"""The command line, called in this process: a folder, a simulator to send to, and what the program printed.

Invariant: whatever a test does, the token is in nothing that was printed and in no file that is left.
"""

import asyncio
import io
import json
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bulksms.cli.app import run
from bulksms.ledger import MessageRecord, open_ledger
from bulksms.sandbox import Journal, Sandbox
from bulksms.sandbox.server import Away

if TYPE_CHECKING:
    import subprocess

TOKEN = "s3cret-token-4711"
"""What the simulator wants to see."""


@dataclass(frozen=True)
class CliResult:
    """How a call of the program ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """stdout, as one JSON object."""
        parsed = json.loads(self.out)
        assert isinstance(parsed, dict)
        return parsed


class Server:
    """A simulator in a thread of its own, because the program runs an event loop itself."""

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

    def go_away(self, how: Away) -> None:
        """Make it unavailable."""
        asyncio.run_coroutine_threadsafe(self.sandbox.go_away(how), self._loop).result()

    def come_back(self) -> None:
        """Make it available again, at the same address."""
        asyncio.run_coroutine_threadsafe(self.sandbox.come_back(), self._loop).result()

    def end(self) -> None:
        """Stop it and wait until it has."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()


class CliHarness:
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
        self.results: list[CliResult] = []

    def __call__(self, *arguments: str | Path, typed: bytes | None = None) -> CliResult:
        """Call the program; `typed` is standard input."""
        self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(typed or b""), encoding="utf-8"))
        code = run([str(argument) for argument in arguments])
        out, err = self._capsys.readouterr()
        result = CliResult(code, out, err)
        self.results.append(result)
        assert "Traceback" not in err
        return result

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
        """Start a simulator and send there from now on."""
        server = self.serve(**options)
        self.at(server)
        return server

    def people(self, count: int, name: str = "people.csv", *, mark: str = "") -> Path:
        """An input of so many people; `mark` is in their names, such as `[503]`."""
        rows = [f'"CN=Person {number} {mark},DC=example,DC=com",Outage {number}.\n' for number in range(count)]
        return self.write(name, "".join(["directoryObject,text\n", *rows]))

    def lines(self, ledger: str = "people.ledger.db") -> list[MessageRecord]:
        """Every message of a ledger."""
        with open_ledger(self.folder / ledger) as reader:
            return list(reader.messages())

    @property
    def files(self) -> set[str]:
        """The names of everything in the folder but the lock files, which stay."""
        return {path.name for path in self.folder.iterdir() if path.suffix != ".lock"}


Start = Callable[..., "subprocess.Popen[str]"]
"""Starts the program with these arguments."""
