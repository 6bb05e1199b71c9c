"""How many steps an accepted message takes through this package: a reader of the code follows the same way."""

import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import bulksms
from bulksms.model.run_settings import RunSettings
from bulksms.sandbox import Sandbox

if TYPE_CHECKING:
    from tests.engine.harness import EngineHarness

PACKAGE = Path(bulksms.__file__).parent
MOST_FILES = 12
MOST_CALLS = 58
"""They may only get smaller."""


async def test_an_accepted_message_passes_few_files_and_calls(harness: "EngineHarness") -> None:
    """From the outcome of one message to that of the next, with one worker, on the event loop's thread.

    Of ten messages the one in the middle counts: a clock ticks beside some.
    """
    each: list[list[str]] = [[]]
    begun: set[FrameType] = set()

    def profile(frame: FrameType, event: str, _: object) -> None:
        path = Path(frame.f_code.co_filename)
        is_ours = path.is_relative_to(PACKAGE) and "sandbox" not in path.parts
        if event == "call" and is_ours and frame not in begun:
            begun.add(frame)  # a coroutine that goes on is no further call
            each[-1].append(f"{path.relative_to(PACKAGE)}: {frame.f_code.co_name}")

    def on_settled(*_: object) -> None:
        each.append([])

    ledger = harness.plan_people(10)
    async with (
        Sandbox() as server,
        harness.pool(ledger, server.url, RunSettings(workers=1), on_settled=on_settled) as pool,
    ):
        earlier = sys.getprofile()
        sys.setprofile(profile)
        try:
            await pool.work()
        finally:
            sys.setprofile(earlier)
    calls = sorted(each[1:-1], key=len)[len(each) // 2 - 1]
    files = Counter(call.partition(":")[0] for call in calls)
    path = "\n".join(["", *calls, "", *(f"{count:3} {name}" for name, count in files.most_common())])
    assert calls, "nothing was seen"
    assert len(files) <= MOST_FILES, path
    assert len(calls) <= MOST_CALLS, path
