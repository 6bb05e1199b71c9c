"""The library is a guest in its process: it touches nothing that is the program's, and importing it costs nothing."""

import ast
import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, MutableMapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

import bulksms
from bulksms.sandbox import Sandbox
from tests.api.harness import open_run

if TYPE_CHECKING:
    from tests.api.harness import Planned

Where = Callable[[Sandbox], bulksms.Endpoint]


# The names


def test_every_public_name_is_what_the_stub_says() -> None:
    stub = ast.parse(Path(bulksms.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    declared = {alias.name: str(node.module) for node in imports for alias in node.names}
    assert list(bulksms.__all__) == sorted(declared)
    for name, module in declared.items():
        assert getattr(bulksms, name) is getattr(import_module(module), name)
    assert set(bulksms.__all__) <= set(dir(bulksms))


def test_a_star_import_has_every_public_name() -> None:
    names: dict[str, object] = {}
    exec("from bulksms import *", names)  # noqa: S102 - a star is for modules only
    assert set(bulksms.__all__) <= set(names)


def test_every_public_name_says_what_it_is() -> None:
    for name in bulksms.__all__:
        assert getattr(bulksms, name).__doc__, name


def test_a_name_that_there_is_not_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'sned'"):
        _ = bulksms.sned  # type: ignore[attr-defined]  # that it is needed shows that the type checker sees it too


def test_the_package_is_typed() -> None:
    assert Path(bulksms.__file__).with_name("py.typed").exists()


@pytest.mark.parametrize(
    ("names", "not_loaded"),
    [("", "aiohttp asyncio msgspec structlog rich click"), ("LedgerReader status State", "aiohttp asyncio")],
)
def test_a_name_is_imported_when_it_is_asked_for(names: str, not_loaded: str) -> None:
    look = f"import sys, bulksms; [getattr(bulksms, name) for name in '{names}'.split()]; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert not set(not_loaded.split()) & set(done.stdout.split())


def test_the_whole_library_never_loads_the_command_line() -> None:
    look = "import sys, bulksms; [getattr(bulksms, name) for name in bulksms.__all__]; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert not {"bulksms.cli", "click"} & set(done.stdout.split())


# The process


class Untouchable(MutableMapping[str, str]):
    """An environment that nobody may look at."""

    def __getitem__(self, name: str) -> NoReturn:
        raise AssertionError(f"the environment was asked for {name}")

    def __setitem__(self, name: str, value: str) -> NoReturn:
        raise AssertionError(f"the environment was asked for {name}")

    __delitem__ = __getitem__

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("the environment was looked through")

    def __len__(self) -> int:
        raise AssertionError("the environment was counted")


async def test_a_run_does_not_look_at_the_environment(
    planned: "Planned", endpoint: Where, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        async with Sandbox() as server:
            for name in bulksms.__all__:  # what other packages look at when they are imported is theirs
                getattr(bulksms, name)
            patched.setattr(os, "environ", Untouchable())
            patched.setattr(os, "getenv", Untouchable().__getitem__)
            ledger = planned(20, mark="[503]")
            async with open_run(ledger, endpoint(server)) as run:
                seen = [outcome async for outcome in run.outcomes()]
    assert len(seen) == 20


async def test_a_proxy_of_the_environment_is_not_used(
    planned: "Planned", endpoint: Where, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with Sandbox() as server, open_run(planned(3), endpoint(server)) as run:
        await run.work()
    assert server.journal.total == 3


async def test_a_run_touches_no_signal_no_logging_and_no_policy(planned: "Planned", endpoint: Where) -> None:
    def process() -> list[object]:
        root, ours = logging.getLogger(), logging.getLogger("bulksms")
        return [
            [signal.getsignal(number) for number in signal.valid_signals()],
            (list(root.handlers), root.level, list(root.filters)),
            (list(ours.handlers), ours.level, ours.propagate, ours.disabled),
            asyncio.get_event_loop_policy(),
            asyncio.get_running_loop().get_exception_handler(),
            asyncio.get_running_loop().get_task_factory(),
            (sys.excepthook, sys.stdout, sys.stderr),
        ]

    ledger = planned(10)
    before, during = process(), []
    async with Sandbox() as server, open_run(ledger, endpoint(server)) as run:
        async for _ in run.outcomes():
            during = process()
    assert before == during == process()


async def test_a_run_leaves_no_task_and_no_thread_behind(planned: "Planned", endpoint: Where) -> None:
    async with Sandbox() as server:
        before = asyncio.all_tasks()
        async with open_run(planned(50), endpoint(server)) as run:
            async for _ in run.outcomes():
                break
        assert {task for task in asyncio.all_tasks() - before if not task.done()} == set()


async def test_what_is_logged_goes_to_the_standard_logger(
    planned: "Planned", endpoint: Where, caplog: pytest.LogCaptureFixture
) -> None:
    def hook(_: bulksms.Outcome) -> None:
        raise ValueError("a hook of the program")

    hooks = bulksms.Hooks(on_settled=hook)
    with caplog.at_level(logging.DEBUG, "bulksms"):
        async with Sandbox() as server, open_run(planned(2), endpoint(server), hooks=hooks) as run:
            await run.work()
    assert {record.name for record in caplog.records if "hook failed" in str(record.msg)} == {"bulksms"}
    assert sum("hook failed" in str(record.msg) for record in caplog.records) == 2
