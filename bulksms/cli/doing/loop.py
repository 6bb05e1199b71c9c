"""Loop: how the command line runs what is asynchronous, as fast as this machine allows.

Laws: uvloop where the extra `[speed]` has put it, asyncio's own loop elsewhere; what is sent and written down is the
same on both. The process is the command's own, so its garbage collector may be told what the library may not.
"""

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")

GARBAGE_AFTER = 50_000
"""Objects made and not yet given back before the collector looks for rings among them. What is under way alone is some
thousand objects, in no ring: with Python's own 700 it looks at them again and again, for a tenth of all work."""


Factory = Callable[[], asyncio.AbstractEventLoop]
"""What makes an event loop."""


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """What `asyncio.run` does, on the fastest loop that there is."""
    return run_on(fastest(), work)


def run_on(factory: Factory | None, work: Coroutine[Any, Any, Result]) -> Result:
    """The same on a loop that this makes; None is asyncio's own way."""
    before = gc.get_threshold()
    gc.set_threshold(GARBAGE_AFTER, *before[1:])
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(work)
    finally:
        gc.set_threshold(*before)


def fastest() -> Factory | None:
    """What makes the fastest event loop; None where that is asyncio's own."""
    try:
        import uvloop  # noqa: PLC0415 - an extra, which is not there on Windows
    except ImportError:
        return None
    factory: Factory = uvloop.new_event_loop
    return factory
