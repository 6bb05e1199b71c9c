"""Tokens: the workers' side of the log-in.

Laws: no intent is written down without a token that is believed to be good; a message whose token was turned down goes
again without using up a try, and never twice with the same token. A server that is away is waited for by those who log
in as by those who send.
"""

import time

from bulksms.adaxes import Client, LogInProblem, Token
from bulksms.delivery.retry import Decision, RetryPolicy, Stop
from bulksms.engine.line import Drained, Line
from bulksms.engine.progress import Progress
from bulksms.message import Message


class Tokens:
    """Has a good token ready, and stops the run when there is none to be had within `patience` seconds."""

    def __init__(self, client: Client, policy: RetryPolicy, line: Line, progress: Progress, *, patience: float) -> None:
        self._patience = patience
        self._client = client
        self._policy = policy
        self._line = line
        self._progress = progress
        self._turned_down: dict[int, Token | None] = {}

    @property
    def are_ready(self) -> bool:
        """Whether there is a good token now."""
        return self._client.is_ready

    async def ready(self) -> None:
        """Log in if that is needed. Raises Drained if there is no token to be had."""
        tries, until = 0, time.monotonic() + self._patience
        while (problem := await self._client.ready()) is not None:
            tries += 1
            left, asked = until - time.monotonic(), problem.attempt.retry_after or 0.0
            if problem.final or left <= asked:
                self._stop(problem)
                raise Drained
            await self._line.pause(min(left, max(self._policy.backoff(tries, 1.0), asked)))

    def turned_down(self, message: Message, token: Token | None) -> None:
        """The server did not accept the token with which this message went."""
        self._turned_down[message.number] = token

    async def renewed(self, message: Message, decision: Decision) -> Decision:
        """Have another token, once for all workers: the message goes again, or the run stops."""
        problem = await self._client.renew(self._turned_down.pop(message.number))
        if problem is None:
            return decision.after(0.0)
        if problem.final:
            self._stop(problem)
            return decision
        return decision.after(self._policy.backoff(1, 1.0))

    def _stop(self, problem: LogInProblem) -> None:
        self._progress.stop(Stop.UNAUTHORIZED if problem.final else Stop.AWAY, problem.sentence, problem.hint)
        self._line.close()
