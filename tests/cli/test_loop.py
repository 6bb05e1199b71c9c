"""The loop of the command line: uvloop where it is, asyncio's own elsewhere, and a collector that is not in the way."""

import asyncio
import gc
import subprocess
import sys
from types import ModuleType

import pytest

from bulksms.cli.flows import run


class OwnLoop(asyncio.SelectorEventLoop):
    """A loop that differs from asyncio's."""


@pytest.fixture
def uvloop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replacement for the extra, whether it is installed or not."""
    module = ModuleType("uvloop")
    vars(module)["new_event_loop"] = OwnLoop
    monkeypatch.setitem(sys.modules, "uvloop", module)


async def what_runs() -> tuple[asyncio.AbstractEventLoop, int]:
    return asyncio.get_running_loop(), gc.get_threshold()[0]


@pytest.mark.usefixtures("uvloop")
def test_work_runs_on_uvloop_where_it_is_installed() -> None:
    running, _ = run.run_loop(what_runs())
    assert isinstance(running, OwnLoop)
    assert running.is_closed()


def test_work_runs_on_asyncios_own_loop_where_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    running, _ = run.run_loop(what_runs())
    assert type(running).__module__.startswith("asyncio.")
    assert running.is_closed()


@pytest.mark.usefixtures("uvloop")
def test_the_collector_waits_longer_only_while_work_runs() -> None:
    before = gc.get_threshold()
    _, during = run.run_loop(what_runs())
    assert during == run.GARBAGE_AFTER > before[0]

    async def fail() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        run.run_loop(fail())
    assert gc.get_threshold() == before


def test_the_library_leaves_loop_and_collector_alone() -> None:
    script = (
        "import asyncio, gc; before = gc.get_threshold(), asyncio.get_event_loop_policy()\n"
        "import bulksms, bulksms.engine.pool, bulksms.adaxes, bulksms.ledger.sqlite.writer\n"
        "assert (gc.get_threshold(), asyncio.get_event_loop_policy()) == before\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True)
