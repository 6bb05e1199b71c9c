"""Tokens: the workers' side of the log-in.

Law: no intent is written down without a token that is believed to be good; a message whose token was turned down goes
again without using up a try, and never twice with the same token.
"""

from bulksms.adaxes import Client, LogInProblem, Token
from bulksms.delivery.retry import Decision, RetryPolicy, Stop
from bulksms.engine.line import Drained, Line
from bulksms.engine.progress import Progress
from bulksms.message import Message

LOG_IN_TRIES = 6
"""Log-ins that did not reach the server, one after another, before the run stops: about half a minute."""


class Tokens:
    """Has a good token ready, and stops the run when there is none to be had."""

    def __init__(self, client: Client, policy: RetryPolicy, line: Line, progress: Progress) -> None:
        self._client = client
        self._policy = policy
        self._line = line
        self._progress = progress
        self._turned_down: dict[int, Token | None] = {}

    async def ready(self) -> None:
        """Log in if that is needed. Raises Drained if there is no token to be had."""
        tries = 0
        while (problem := await self._client.ready()) is not None:
            if problem.final or tries == LOG_IN_TRIES:
                self._stop(problem)
                raise Drained
            tries += 1
            await self._line.pause(self._policy.backoff(tries, 1.0))

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
