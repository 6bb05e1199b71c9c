"""Books: what the run knows of its messages, written down as it comes to know it.

Laws: the intent before the request, the outcome after it, nothing twice. Refusals that may be everybody's are kept back
until other answers have shown that they are the recipients' own. A caller's hook cannot lose evidence.
"""

import asyncio
import time
from collections.abc import Callable

import anyio

from bulksms.attempt import Attempt, Failure
from bulksms.delivery.breaker import Breakers
from bulksms.delivery.outcome import classify
from bulksms.delivery.retry import Decision, decide_interrupted
from bulksms.engine.progress import Progress
from bulksms.ledger.settlement import Settlement
from bulksms.ledger.writer import LedgerWriter
from bulksms.log import log, named, tells_messages
from bulksms.message import Message, State

OnSettled = Callable[[Message, Attempt, Decision], None]


class Books:
    """The ledger as the workers see it."""

    def __init__(
        self, ledger: LedgerWriter, breakers: Breakers, progress: Progress, on_settled: OnSettled | None
    ) -> None:
        self._ledger = ledger
        self._breakers = breakers
        self._progress = progress
        self._on_settled = on_settled
        self._awaited: dict[int, asyncio.Future[State]] = {}
        self._held: list[tuple[Message, Attempt, Decision]] = []

    async def begin(self, message: Message) -> None:
        """The intent is on disk when this returns. Raises LedgerTrouble."""
        message.attempts += 1
        message.tries += 1
        self._progress.attempts += 1
        began_at = time.time()
        try:
            await self._ledger.begin(message, began_at)
        except asyncio.CancelledError:
            with anyio.CancelScope(shield=True):
                await self.written()
            self.never_left(message)
            raise

    def settle(self, message: Message, attempt: Attempt, decision: Decision) -> Decision:
        """Write the outcome down; the decision as the breakers see it.

        It is on disk when the next `begin` returns: whoever settles one message and begins another waits once.
        """
        reviewed = self._breakers.review(message, attempt, decision)
        if reviewed.held:
            self._held.append((message, attempt, decision))
        self._write(message, attempt, reviewed)
        return reviewed

    async def written(self) -> None:
        """Everything that was written down so far is on disk when this returns. Raises LedgerTrouble."""
        await self._ledger.flush()

    def settle_operation(self, message: Message, attempt: Attempt, decision: Decision) -> Decision:
        """Write down what a slow send came to."""
        reviewed = self._breakers.review(message, attempt, decision)
        self._write(message, attempt, reviewed, was=State.PROCESSING)
        return reviewed

    def never_left(self, message: Message) -> None:
        """Write down that the request which was about to leave has not, and will not."""
        self.interrupted(message, Attempt(headers_sent=False, failure=Failure.CANCELLED, began_at=time.time()))

    def interrupted(self, message: Message, attempt: Attempt) -> None:
        """Write down what is known of an attempt that this side broke off."""
        self._write(message, attempt, decide_interrupted(classify(attempt), message))

    def release(self, *, at_the_end: bool = False) -> list[Decision]:
        """Settle the refusals that were kept back, as soon as they are known to be the recipients' own.

        At the end of a run nothing can come any more that would show the contrary.
        """
        if at_the_end:
            self._breakers.clear()
        if not self._held or not self._breakers.cleared:
            return []
        held, self._held = self._held, []
        released = []
        for message, attempt, decision in held:
            reviewed = self._breakers.review(message, attempt, decision)
            self._write(message, attempt, reviewed, was=State.QUEUED)
            released.append(reviewed)
        return released

    def outcome_of(self, message: Message) -> asyncio.Future[State]:
        """Where the message will be settled, after its polls if it has any."""
        return self._awaited.setdefault(message.number, asyncio.get_running_loop().create_future())

    def _answer(self, message: Message, state: State) -> None:
        awaited = self._awaited.pop(message.number, None)
        if awaited is not None and not awaited.done():
            awaited.set_result(state)

    def _write(self, message: Message, attempt: Attempt, decision: Decision, *, was: State = State.SENDING) -> None:
        message.doubt = decision.doubt
        is_attempt = was is State.SENDING
        if is_attempt and not decision.uses_try:
            message.tries -= 1
        if decision.state is not State.ACCEPTED and was is not State.QUEUED:
            self._progress.complaints.hear(attempt, message.recipient)
        evidence = str(decision.evidence) if is_attempt else None
        settlement = Settlement(decision.state, decision.reason, decision.doubt, was, evidence)
        self._ledger.settle(message, attempt, settlement)
        if decision.state is not State.QUEUED:
            if was is State.PROCESSING:
                self._progress.settled[was] -= 1
            self._progress.settled[decision.state] += 1
            if self._awaited and decision.state is not State.PROCESSING:
                self._answer(message, decision.state)
            self._tell(message, attempt, decision)

    def _tell(self, message: Message, attempt: Attempt, decision: Decision) -> None:
        """Tell the log and the caller of a settled message."""
        if tells_messages():
            log.debug(
                "message settled",
                row=message.row,
                **named(message.recipient),
                state=decision.state.value,
                reason=decision.reason and decision.reason.value,
                attempts=message.attempts,
                status=attempt.status,
                elapsed_ms=round(attempt.elapsed * 1000, 1),
            )
        if self._on_settled is not None:
            try:
                self._on_settled(message, attempt, decision)
            except Exception:  # noqa: BLE001 - a caller's hook must not lose evidence
                log.exception("hook failed", row=message.row, **named(message.recipient))
