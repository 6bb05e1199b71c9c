"""Canary: the first few messages, one at a time, each to its end, before the others go.

Invariant: the first that is not accepted stops the run, with the rest untouched.
"""

import asyncio
from collections.abc import Awaitable, Callable

from bulksms.adaxes import Client
from bulksms.engine.stop_signal import Stopping, StopSignal
from bulksms.engine.worker import AttemptRecorder
from bulksms.ledger import LedgerWriter
from bulksms.model.attempt import Attempt, Failure
from bulksms.model.message import Message, State
from bulksms.model.run_settings import StopReason
from bulksms.policy.retry import Decision, Evidence, classify, rejects_wait_header

Confirm = Callable[[], Awaitable[bool]]
Claim = Callable[[], Awaitable[Message | None]]
Deliver = Callable[[Message], Awaitable[Decision | None]]

_SUSPENDED = "it awaits approval"


class Question:
    """Asks a person whether the run is to go on; a question without an answer is cancelled when the run stops."""

    def __init__(self, stop: StopSignal) -> None:
        self._stop = stop
        self.is_open = False
        """Whether a person is being asked at this moment."""

    async def ask(self, confirm: Confirm | None, after: str) -> None:
        """Ask, if there is anybody to ask. Raises Stopping if the run is not to go on."""
        if confirm is None or self._stop.is_set:
            return
        self.is_open = True
        answer = asyncio.ensure_future(confirm())
        self._stop.on_stop(lambda _: answer.cancel())
        try:
            if not await answer:
                self._stop.set(StopReason.CANARY_FAILED, f"the answer after {after} was no")
                raise Stopping
        except asyncio.CancelledError:
            if answer.cancelled() and self._stop.is_set:
                raise Stopping from None
            raise
        finally:
            self.is_open = False


class Canary:
    """Sends what is missing of the canary; a person is asked to `confirm` once all were accepted."""

    def __init__(
        self, recorder: AttemptRecorder, stop: StopSignal, question: Question, confirm: Confirm | None
    ) -> None:
        self._recorder = recorder
        self._stop = stop
        self._question = question
        self._confirm = confirm

    async def send(self, missing: int, claim: Claim, deliver: Deliver) -> None:
        """Send so many, polls included. Raises Stopping if the run is not to go on."""
        while missing > 0 and (message := await claim()) is not None:
            outcome = self._recorder.outcome_of(message)
            decision = await deliver(message)
            if decision is None:
                continue
            settled = decision.state is State.PROCESSING or outcome.done()
            self._require_accepted(message, await self._state_of(outcome) if settled else decision.state)
            missing -= 1
        await self._question.ask(self._confirm, "the canary")

    async def _state_of(self, outcome: "asyncio.Future[State]") -> State:
        """What polls show. Raises Stopping if the run stops before that: the next one polls the operation."""
        ended = asyncio.Event()
        outcome.add_done_callback(lambda _: ended.set())
        self._stop.on_stop(lambda _: ended.set())
        if not self._stop.is_set:
            await ended.wait()
        if not outcome.done():
            raise Stopping
        return outcome.result()

    def _require_accepted(self, message: Message, state: State) -> None:
        if state is not State.ACCEPTED:
            self._stop.set(StopReason.CANARY_FAILED, f"row {message.row} is {state}")
            raise Stopping


class SelfTest:
    """The first text, sent to the operator's own object before anybody else; it is no message of the plan.

    The operator is asked to `confirm` that it arrived. `now` is a POSIX time in seconds.
    """

    def __init__(  # noqa: PLR0913 - what it sends with, and who is asked
        self,
        ledger: LedgerWriter,
        client: Client,
        stop: StopSignal,
        question: Question,
        confirm: Confirm | None,
        *,
        now: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._client = client
        self._stop = stop
        self._question = question
        self._confirm = confirm
        self._now = now

    async def send(self, recipient: str) -> None:
        """Send it, unless an attempt for a message was made before. Raises Stopping if the run is not to go on."""
        text = await self._ledger.begin_test(recipient, self._now())
        if text is None:
            return
        if self._stop.is_set:  # while the run logged in, or the intent was written
            not_sent = Attempt(headers_sent=False, failure=Failure.CANCELLED, began_at=self._now())
            await self._ledger.end_test(not_sent, Evidence.NEVER_LEFT)
            raise Stopping
        attempt = await self._client.send(recipient, text)
        if self._client.server_wait is not None and rejects_wait_header(attempt):
            self._client.server_wait = None
            attempt = await self._client.send(recipient, text)
        evidence = classify(attempt)
        await self._ledger.end_test(attempt, evidence)
        if evidence not in (Evidence.SUCCEEDED, Evidence.STARTED):
            answer = attempt.error or (_SUSPENDED if evidence is Evidence.SUSPENDED else attempt.status or "no answer")
            unauthorized = evidence is Evidence.UNAUTHENTICATED
            reason = StopReason.UNAUTHORIZED if unauthorized else StopReason.CANARY_FAILED
            self._stop.set(reason, f"the test message was not accepted: {answer}")
            raise Stopping
        await self._question.ask(self._confirm, "the test message")
