"""Ledger watch: what a living run looks for beside its work: whether its ledger is lost, and commands of another shell.

Invariant: no signal is needed, and the run of a program follows `bulksms stop` and `bulksms cancel` as a run of the
command line does.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import anyio

from bulksms.api.histories import Histories
from bulksms.errors import LedgerError
from bulksms.ledger import LedgerWriter, News, ledger_at

OnNews = Callable[[News], None]


@asynccontextmanager
async def watch_ledger(
    writer: LedgerWriter, histories: Histories, stop: Callable[[LedgerError], None], interval: float
) -> AsyncIterator[None]:
    """Look every `interval` seconds while the block lives; `stop` gets what is wrong with the ledger."""
    watching = asyncio.create_task(_watch_ledger(writer, histories, stop, interval))
    try:
        yield
    finally:
        watching.cancel()
        with anyio.CancelScope(shield=True), suppress(asyncio.CancelledError):
            await watching


async def _watch_ledger(
    writer: LedgerWriter, histories: Histories, stop: Callable[[LedgerError], None], interval: float
) -> None:
    while True:
        await asyncio.sleep(interval)
        if (trouble := writer.trouble) is not None:
            stop(trouble)
            return
        await asyncio.to_thread(histories.update, writer.attempts)


@asynccontextmanager
async def watch_news(writer: LedgerWriter, on_news: OnNews) -> AsyncIterator[None]:
    """Call `on_news` with each command and with what other machines share, while the block lives.

    Raises LedgerError if commands cannot be cleared.
    """
    ledger = ledger_at(writer.path)
    await asyncio.to_thread(ledger.clear_command)
    watching = asyncio.create_task(_watch_news(writer, on_news))
    try:
        yield
    finally:
        watching.cancel()
        with anyio.CancelScope(shield=True):
            with suppress(asyncio.CancelledError):
                await watching
            await asyncio.to_thread(ledger.clear_command)


async def _watch_news(writer: LedgerWriter, on_news: OnNews) -> None:
    while True:
        on_news(await writer.next_news())
