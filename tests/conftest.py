"""What tests of every room need: started processes that can be interrupted, a start registry of their own, aioresponses
on the aiohttp that the project demands, and a terminal.
"""

import asyncio
import inspect
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import aioresponses.core
import pytest
from aiohttp import ClientResponse
from hypothesis import settings

# The helpers of the tests and the benchmarks are beside the package. At the end of the path: the package that is
# tested stays the one that is installed.
sys.path.append(str(Path(__file__).parents[1]))

from tests.harness import TerminalFactory
from tests.postgresql import database, postgresql

__all__ = ["database", "postgresql"]

# A suite that runs in the background or under `nohup` ignores these signals. Every program that a test starts would
# inherit that, and rightly leave an ignored signal ignored. A handler, unlike SIG_IGN, is reset in a started process.
for _number in (signal.SIGINT, *([signal.SIGHUP, signal.SIGQUIT] if sys.platform != "win32" else [])):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, lambda *_: None)

# Coverage is measured in the workers of pytest. In the some thousand programs that they start it would cost a tenth of
# a second each, and show little that the rooms' own tests do not reach.
if "PYTEST_XDIST_WORKER" in os.environ:
    for _name in ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"):
        os.environ.pop(_name, None)

# Where no event loop was ever set, pytest-asyncio makes one in order to restore it after a test, and the `asyncio.run`
# of a later test drops it unclosed: a ResourceWarning in whichever test comes then.
asyncio.set_event_loop(None)

# On CI hypothesis chooses its examples by the tests alone; everywhere no example has to be over in a given time.
settings.register_profile("any machine", parent=settings(), deadline=None)
settings.load_profile("any machine")


@pytest.fixture(autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's record of what was started is never that of the person who runs the tests."""
    folder = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    return folder


class _MockedResponse(ClientResponse):
    """aioresponses 0.7 does not know the argument `stream_writer`, which aiohttp 3.14 made obligatory."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("stream_writer", Mock(output_size=0))
        super().__init__(*args, **kwargs)


if "stream_writer" in inspect.signature(ClientResponse.__init__).parameters:
    aioresponses.core.ClientResponse = _MockedResponse  # type: ignore[attr-defined]  # its own import


@pytest.fixture
def terminal() -> Iterator[TerminalFactory]:
    terminals = TerminalFactory()
    yield terminals
    terminals.close()
