"""Way: a message's way from the queue to its outcome.

Laws: no request leaves before its intent is on disk. What an answer means for everybody is heeded before the next
request. Nothing is decided here: the evidence, the decision and the turn come from `delivery`.
"""

import asyncio
import random

from tenacity import AsyncRetrying, RetryCallState, retry_if_result

from bulksms.adaxes import Client, Exchange
from bulksms.attempt import Attempt
from bulksms.delivery.outcome import Evidence, classify
from bulksms.delivery.retry import Decision, RetryPolicy, decide, decide_without_wait
from bulksms.delivery.traffic import Notice, Turn
from bulksms.engine.books import Books
from bulksms.engine.halt import Halt
from bulksms.engine.line import Drained, Line
from bulksms.engine.poller import Poller
from bulksms.engine.tokens import Tokens
from bulksms.engine.watch import DeadlineWatch
from bulksms.log import log
from bulksms.message import Message, State


class Way:
    """What every worker does with every message."""

    def __init__(  # noqa: PLR0913 - the stations that a message passes
        self,
        client: Client,
        policy: RetryPolicy,
        *,
        books: Books,
        line: Line,
        poller: Poller,
        tokens: Tokens,
        deadline: DeadlineWatch,
        halt: Halt,
    ) -> None:
        self._client = client
        self._policy = policy
        self._books = books
        self._line = line
        self._poller = poller
        self._tokens = tokens
        self._deadline = deadline
        self._halt = halt
        self._retrying = AsyncRetrying(
            retry=retry_if_result(_goes_again), wait=_decided_wait, sleep=line.pause, reraise=True
        )

    async def deliver(self, message: Message) -> Decision:
        """Attempt after attempt, as the decisions say; most messages need the first one only.

        Raises Drained when the run stops before that, LedgerTrouble if the ledger failed.
        """
        decision = await self._attempt(message)
        if decision.wait is None:
            return decision
        await self._line.pause(decision.wait)
        if decision.given_back:
            return decision
        decision = await self._retrying.copy()(self._attempt, message)
        if decision.wait is not None:
            await self._line.pause(decision.wait)
        return decision

    async def _attempt(self, message: Message) -> Decision:
        """From its turn to its outcome on disk."""
        turn = await self._begin(message)
        exchange = self._client.exchange(message.recipient, message.text)
        attempt = await self._send(message, exchange)
        evidence = classify(attempt)
        if evidence is Evidence.UNAUTHENTICATED:
            self._tokens.turned_down(message, exchange.token)
        decision = self._without_wait(message, attempt, exchange)
        if decision is None:
            decision = decide(evidence, attempt, message, self._policy, random.random(), free=turn.free)  # noqa: S311
        return await self._settle(message, attempt, decision, turn)

    async def _begin(self, message: Message) -> Turn:
        """Its turn, with the intent on disk; nothing leaves if everybody was told to wait in between."""
        turn = await self._pace(message)
        await self._books.begin(message)
        try:
            return await self._line.proceed(turn)
        except (Drained, asyncio.CancelledError):
            self._books.never_left(message)
            raise

    async def _pace(self, message: Message) -> Turn:
        """Wait for the message's turn, and have a token that is good. Raises Drained when the run stops."""
        # By its tries: what a person has sent again begins afresh, and is no sign of a server in trouble.
        turn = await self._line.turn(again=message.tries > 0)
        if not self._tokens.are_ready:
            await self._tokens.ready()
        if self._deadline.is_to_begin:
            await self._deadline.first_request()
        return turn

    async def _send(self, message: Message, exchange: Exchange) -> Attempt:
        try:
            return await exchange.run()
        except asyncio.CancelledError:
            self._books.interrupted(message, exchange.cancelled())
            raise

    def _without_wait(self, message: Message, attempt: Attempt, exchange: Exchange) -> Decision | None:
        """A server that does not take the header `Adm-Wait` is not asked with it again in this run."""
        if exchange.server_wait is None:
            return None
        decision = decide_without_wait(attempt, message)
        if decision is not None and self._client.server_wait is not None:
            self._client.server_wait = None
            log.info("server wait off", why=f"status {attempt.status}")
        return decision

    async def _settle(self, message: Message, attempt: Attempt, decision: Decision, turn: Turn) -> Decision:
        """Write down what became of the message, and draw for the whole run what follows from it."""
        if turn.alone and decision.again:
            decision = decision.back_to_the_end()
        reviewed = self._books.settle(message, attempt, decision)
        self.follow(reviewed, attempt)
        self.heed(self._line.answered(message, attempt, reviewed, turn), attempt)
        for released in self._books.release():
            self.follow(released)
        if reviewed.state is State.PROCESSING:
            message.operation_id = attempt.operation_id
            await self._books.written()
            self._poller.watch(message)
        return await self._tokens.renewed(message, reviewed) if reviewed.log_in else reviewed

    def follow(self, decision: Decision, attempt: Attempt | None = None) -> None:
        """Stop the run if the decision says so."""
        if decision.stop is not None:
            self._halt(decision.stop, _said(attempt))

    def heed(self, notices: list[Notice], attempt: Attempt) -> None:
        """Something changed for all workers."""
        for notice in notices:
            log.info(notice.what, why=notice.why, value=round(notice.value, 3))
            if notice.stop is not None:
                self._halt(notice.stop, _said(attempt))


def _said(attempt: Attempt | None) -> str | None:
    """The status and the words of an answer."""
    if attempt is None:
        return None
    return " ".join(str(part) for part in (attempt.status, attempt.error) if part is not None)


def _goes_again(decision: Decision) -> bool:
    """Whether it goes again from here, not from the end of the queue."""
    return decision.again and not decision.given_back


def _decided_wait(state: RetryCallState) -> float:
    """The wait is the decision's; tenacity only keeps it."""
    return 0.0 if state.outcome is None else float(state.outcome.result().wait)
