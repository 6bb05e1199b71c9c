"""Wishes: what a person in another shell wants of a run, by `bulksms stop` or `cancel`.

Law: no signal is needed, and the run of a program hears them like one of the command line.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio

from bulksms.ledger import control
from bulksms.ledger.control import Wish

LOOK_EVERY = 0.3
"""Seconds between two looks for a wish from another shell."""


@asynccontextmanager
async def heard(ledger: Path, heed: Callable[[Wish], None]) -> AsyncIterator[None]:
    """Look for wishes while the block lives. Raises LedgerTrouble if what carries them cannot be taken away."""
    await asyncio.to_thread(control.forget, ledger)
    looking = asyncio.create_task(_look(ledger, heed))
    try:
        yield
    finally:
        looking.cancel()
        with anyio.CancelScope(shield=True):
            with suppress(asyncio.CancelledError):
                await looking
            await asyncio.to_thread(control.forget, ledger)


async def _look(ledger: Path, heed: Callable[[Wish], None]) -> None:
    while True:
        await asyncio.sleep(LOOK_EVERY)
        wish = await asyncio.to_thread(control.take, ledger)
        if wish is not None:
            heed(wish)
