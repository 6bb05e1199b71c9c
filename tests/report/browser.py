"""A browser without a window: Chromium driven by its own protocol (Chrome DevTools Protocol), for tests and figures.

Invariant: it reaches nothing but this machine; every request that a page makes and every word on its console is kept.
"""

import asyncio
import base64
import json
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE = 60.0
"""Seconds for the browser to start, and for each of its answers: on a machine that has other work."""
_FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync --disable-extensions --hide-scrollbars --disable-dev-shm-usage
--remote-debugging-port=0 --host-resolver-rules=MAP&*&~NOTFOUND,EXCLUDE&127.0.0.1 about:blank"""


def found() -> str | None:
    """The browser's program, if this machine has one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """The one page of a browser. `requests` are the addresses it asked for, `errors` what its console says."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.requests: list[str] = []
        self.errors: list[str] = []
        self._socket = socket
        self._calls = 0
        self._seen: list[str] = []

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol; its result. Raises RuntimeError if the browser says no."""
        self._calls += 1
        number = self._calls
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            received = await self._hear()
            if received.get("id") == number:
                break
        if "error" in received:
            raise RuntimeError(f"{method}: {received['error']['message']}")
        result: dict[str, Any] = received["result"]
        return result

    async def open(self, address: str) -> None:
        """Show what is there, with the network off, and wait until it has been loaded whole."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")
        await self.call(
            "Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=-1, uploadThroughput=-1
        )
        self._seen.clear()
        await self.call("Page.navigate", url=address)
        while "Page.loadEventFired" not in self._seen:
            await self._hear()

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; promises are awaited. Raises RuntimeError if it throws."""
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"].get("exception", {}).get("description", "it threw"))
        return answer["result"].get("value")

    async def resize(self, width: int, height: int = 900, scale: float = 1.0) -> None:
        """Give the window this size in CSS pixels; below 600 it is a telephone's."""
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=width < 600,
        )

    async def prefer(self, scheme: str) -> None:
        """`dark` or `light`."""
        await self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    async def picture(self, *, whole: bool = False) -> bytes:
        """What is seen, as PNG; with `whole`, also what one would have to scroll to."""
        answer = await self.call("Page.captureScreenshot", captureBeyondViewport=whole, format="png")
        return base64.b64decode(answer["data"])

    async def print(self) -> bytes:
        """The pages that a printer would get, as PDF (A4)."""
        answer = await self.call("Page.printToPDF", paperWidth=8.27, paperHeight=11.69, preferCSSPageSize=True)
        return base64.b64decode(answer["data"])

    async def _hear(self) -> dict[str, Any]:
        result: dict[str, Any] = json.loads(await self._socket.receive_str(timeout=PATIENCE))
        method, parameters = result.get("method", ""), result.get("params", {})
        self._seen.append(method)
        if method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif method == "Log.entryAdded":
            self.errors.append(parameters["entry"]["text"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(parameters["exceptionDetails"]["text"])
        elif method == "Runtime.consoleAPICalled":
            self.errors.append(str(parameters["args"]))
        return result


@asynccontextmanager
async def browser(program: str) -> AsyncIterator[Page]:
    """Start the browser with a profile of its own, and end it afterwards. Raises TimeoutError if it does not start."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        flags = [flag.replace("&", " ") for flag in _FLAGS.split()]
        process = await asyncio.create_subprocess_exec(
            program,
            *(f"--user-data-dir={folder}", *flags),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            async with aiohttp.ClientSession() as session:
                address = await asyncio.wait_for(_address(session, Path(folder)), PATIENCE)
                async with session.ws_connect(address, max_msg_size=0) as socket:
                    yield Page(socket)
        finally:
            process.terminate()
            await process.wait()


async def _address(session: aiohttp.ClientSession, profile: Path) -> str:
    """Where the first page listens; the browser writes its port down when it is ready."""
    port = profile / "DevToolsActivePort"
    while True:
        if port.exists() and (lines := port.read_text().splitlines()):
            async with session.get(f"http://127.0.0.1:{lines[0]}/json/list") as answer:
                pages = [page for page in await answer.json() if page["type"] == "page"]
            if pages:
                return str(pages[0]["webSocketDebuggerUrl"])
        await asyncio.sleep(0.05)
