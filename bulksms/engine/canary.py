"""Canary: the first few messages, one at a time, each to its end, before the others go.

Law: the first that is not accepted stops the run, with the rest untouched.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NoReturn

from bulksms.adaxes import Client
from bulksms.delivery.outcome import Evidence, classify
from bulksms.delivery.retry import Decision, Stop, refuses_wait
from bulksms.engine.books import Books
from bulksms.engine.line import Drained, Line
from bulksms.engine.progress import Progress
from bulksms.ledger.writer import LedgerWriter
from bulksms.message import Message, State

Ask = Callable[[], Awaitable[bool]]
Claim = Callable[[], Awaitable[Message | None]]
Deliver = Callable[[Message], Awaitable[Decision]]


class Canary:
    """Sends what is missing of the canary; `ask` is asked whether to go on once all were accepted."""

    def __init__(self, books: Books, line: Line, progress: Progress, ask: Ask | None) -> None:
        self._books = books
        self._line = line
        self._progress = progress
        self._ask = ask

    async def send(self, missing: int, claim: Claim, deliver: Deliver) -> None:
        """Send so many, polls included. Raises Drained if the run is not to go on."""
        while missing > 0 and (message := await claim()) is not None:
            outcome = self._books.outcome_of(message)
            decision = await deliver(message)
            if decision.given_back:
                continue
            settled = decision.state is State.PROCESSING or outcome.done()
            self._require_accepted(message, await outcome if settled else decision.state)
            missing -= 1
        await _ask_whether_to_go_on(self._line, self._progress, self._ask, "the canary")

    def _require_accepted(self, message: Message, state: State) -> None:
        if state is not State.ACCEPTED:
            _stop(self._line, self._progress, f"row {message.row} is {state}")


_SUSPENDED = "it awaits approval"


class TestMessage:
    """The first text, sent to the operator's own object before anybody else; it is no message of the plan.

    `ask` is asked whether it arrived.
    """

    __test__ = False  # for pytest, which takes a class of this name for one of its own

    def __init__(self, ledger: LedgerWriter, client: Client, line: Line, progress: Progress, ask: Ask | None) -> None:
        self._ledger = ledger
        self._client = client
        self._line = line
        self._progress = progress
        self._ask = ask

    async def send(self, recipient: str) -> None:
        """Send it, unless somebody was sent to already. Raises Drained if the run is not to go on."""
        text = await self._ledger.begin_test(recipient, time.time())
        if text is None:
            return
        attempt = await self._client.send(recipient, text)
        if self._client.server_wait is not None and refuses_wait(attempt):
            self._client.server_wait = None
            attempt = await self._client.send(recipient, text)
        evidence = classify(attempt)
        await self._ledger.end_test(attempt, evidence)
        if evidence not in (Evidence.SUCCEEDED, Evidence.STARTED):
            said = attempt.error or (_SUSPENDED if evidence is Evidence.SUSPENDED else attempt.status or "no answer")
            why = Stop.UNAUTHORIZED if evidence is Evidence.UNAUTHENTICATED else Stop.CANARY
            _stop(self._line, self._progress, f"the test message was not accepted: {said}", why)
        await _ask_whether_to_go_on(self._line, self._progress, self._ask, "the test message")


async def _ask_whether_to_go_on(line: Line, progress: Progress, ask: Ask | None, what: str) -> None:
    if ask is None or line.is_closed:
        return
    progress.asking = True
    answer = asyncio.ensure_future(ask())
    line.when_closed(answer.cancel)
    try:
        if not await answer:
            _stop(line, progress, f"the answer after {what} was no")
    except asyncio.CancelledError:
        if answer.cancelled() and line.is_closed:  # the run is stopping, and waits for no answer
            raise Drained from None
        raise
    finally:
        progress.asking = False


def _stop(line: Line, progress: Progress, said: str, why: Stop = Stop.CANARY) -> NoReturn:
    progress.stop(why, said)
    line.close()
    raise Drained
