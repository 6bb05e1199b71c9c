"""Accounts and secrets of the tests that log in: what they are, and that they are left nowhere."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from bulksms.sandbox import Account as SandboxAccount

if TYPE_CHECKING:
    from tests.cli.harness import CliHarness, Server

NAME, PASSWORD = "operator@example.com", "c0rrect horse & battery"
ACCOUNT = SandboxAccount(NAME, PASSWORD, delay=0.0)
CREATE = "POST /api/authSessions/create"
PATIENCE = 180.0
"""Seconds after which something that should have happened is given up."""
PERSON = "7a4267ce-d354-44e7-8bd6-c681f1284a41"


def log_in_as(cli: "CliHarness", name: str = NAME, password: str = PASSWORD) -> None:
    cli.export("BULKSMS_TOKEN", "")
    cli.export("BULKSMS_USERNAME", name)
    cli.export("BULKSMS_PASSWORD", password)


def require_nowhere(cli: "CliHarness", *secrets: str, but: str = "") -> None:
    """None of the secrets is in a byte that was printed or left behind, but in the file that it was read from."""
    places = [(path.name, path.read_bytes()) for path in cli.folder.rglob("*") if path.is_file() and path.name != but]
    places += [("output", (result.out + result.err).encode()) for result in cli.results]
    for name, content in places:
        for secret in secrets:
            for spelling in {secret, json.dumps(secret)[1:-1]}:
                assert spelling.encode() not in content, f"{spelling} in {name}"


def start(cli: "CliHarness", server: "Server", *arguments: str) -> "subprocess.Popen[bytes]":
    """The program as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "bulksms", *arguments],
        cwd=cli.folder,
        env=os.environ | {"BULKSMS_URL": server.url},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.002)
