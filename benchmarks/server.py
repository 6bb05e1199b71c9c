"""Server: what all contenders talk to, on another core than theirs where there is one.

nginx answers fastest; where it is not installed, `raw_server` does. For latency nginx needs its echo module.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import has_package, part_cores, starting_on
from benchmarks.wire import ANSWER

ECHO = "ngx_http_echo_module.so"
MODULES = (Path("/usr/lib/nginx/modules"), Path("/usr/lib64/nginx/modules"), Path("/usr/share/nginx/modules"))
PATIENCE = 10.0
"""Seconds that a server may take to answer its first connection, or to end."""

CONFIGURATION = """
{load}
daemon off;
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log crit;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 3600s;
    default_type application/json;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location / {{ {answer} }}
        location = /answer {{ internal; return 200 '{body}'; }}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs: what it is, and the base URL of its API."""

    kind: str
    url: str
    port: int
    process: int

    def busy_seconds(self) -> float | None:
        """The processor time that it has used; None where the system does not say."""
        with suppress(OSError, ValueError, IndexError):
            return sum(_busy(process) for process in (self.process, *_children(self.process)))
        return None


@contextmanager
def server(*, latency: float = 0.0, nginx: bool = True) -> Iterator[Server]:
    """A server that takes everything after `latency` seconds; it ends with the block.

    Without `nginx` it is the project's own, whatever is installed.
    """
    module = _echo_module()
    if nginx and shutil.which("nginx") is not None and (latency == 0 or module is not None):
        with _nginx(latency, module) as running:
            yield running
    else:
        with _raw(latency) as running:
            yield running


@contextmanager
def _raw(latency: float) -> Iterator[Server]:
    command = [sys.executable, "-m", "benchmarks.raw_server", "--latency", str(latency)]
    root = Path(__file__).parent.parent
    with _running(command, cwd=root) as process:
        port = int((process.stdout.readline() if process.stdout else b"") or 0)
        kind = f"raw_server on {'uvloop' if has_package('uvloop') else 'asyncio'}"
        yield Server(kind, _url(port), port, process.pid)


@contextmanager
def _nginx(latency: float, module: Path | None) -> Iterator[Server]:
    port = _free_port()
    answer = f"echo_sleep {latency}; echo_exec /answer;" if latency else f"return 200 '{ANSWER}';"
    with tempfile.TemporaryDirectory(prefix="bulksms-nginx-") as folder:
        configuration = Path(folder) / "nginx.conf"
        configuration.write_text(
            CONFIGURATION.format(
                load=f"load_module {module};" if latency else "",
                # As root its worker would be somebody who may not write here.
                user="user root;" if hasattr(os, "geteuid") and os.geteuid() == 0 else "",
                folder=folder,
                port=port,
                answer=answer,
                body=ANSWER,
            )
        )
        with _running(["nginx", "-c", str(configuration), "-e", f"{folder}/error.log"]) as process:
            _await(process, port)
            yield Server("nginx", _url(port), port, process.pid)


@contextmanager
def _running(command: list[str], cwd: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    cores = part_cores()
    with starting_on(None if cores is None else cores[1]):
        process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)


def _await(process: subprocess.Popen[bytes], port: int) -> None:
    """Until it takes connections. Raises RuntimeError if it does not."""
    until = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < until:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise RuntimeError("nginx does not start; without it on the PATH the project's own server is used")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}/restApi"


def _echo_module() -> Path | None:
    return next((folder / ECHO for folder in MODULES if (folder / ECHO).exists()), None)


def _children(process: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def _busy(process: int) -> float:
    """Nanoseconds on a processor are the first number there; each of these servers has one thread."""
    return int(Path(f"/proc/{process}/schedstat").read_text().split()[0]) / 1e9
