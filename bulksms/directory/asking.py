"""Asking: questions about many people: so many at once, no faster than asked, and again after bad luck.

Laws: a question changes nothing, so it may be asked again. `Retry-After` holds everybody. Trouble that is everybody's
ends the asking with `ServerTrouble`, and no question is begun after it.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol, TypeVar

from bulksms.adaxes import Client, LogInProblem, is_unauthenticated
from bulksms.attempt import Attempt
from bulksms.delivery.pace import Rate
from bulksms.delivery.retry import RetryPolicy
from bulksms.directory.judging import Meaning, meaning_of
from bulksms.errors import ServerTrouble

MOST_PATIENCE = 120.0
"""Seconds: a server that asks to come back later than that is not waited for before a run."""
_HINT = "`bulksms check` shows where it fails. Nothing was sent."

Question = TypeVar("Question")


class Answered(Protocol):
    """Whatever holds the attempt of its question."""

    @property
    def attempt(self) -> Attempt: ...


Answer = TypeVar("Answer", bound=Answered)


class Asking:
    """Asks the questions of one client."""

    def __init__(self, client: Client, *, at_once: int, rate: float | None, policy: RetryPolicy | None = None) -> None:
        self.client = client
        self._at_once = at_once
        self._rate = Rate(rate)
        self._policy = policy or RetryPolicy()
        self._held_until = 0.0

    async def each(
        self,
        questions: Sequence[Question],
        ask: Callable[[Question], Awaitable[Answer]],
        told: Callable[[int], None],
    ) -> list[Answer]:
        """The answers in the order of their questions; `told` is called with 1 for each. Raises ServerTrouble."""
        answers: list[Answer | None] = [None] * len(questions)
        waiting = iter(enumerate(questions))

        async def work() -> None:
            for place, question in waiting:
                answers[place] = await self.one(partial(ask, question))
                told(1)

        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(min(self._at_once, len(questions))):
                    tasks.create_task(work())
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
        return [answer for answer in answers if answer is not None]

    async def one(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """The answer to one question. Raises ServerTrouble."""
        tries = 0
        while True:
            await self._turn()
            problem = await self.client.ready()
            if problem is not None:
                attempt = problem.attempt
            else:
                answer = await ask()
                attempt = answer.attempt
                meaning = meaning_of(attempt)
                if is_unauthenticated(attempt):
                    problem = await self.client.ready()
                elif meaning is Meaning.ANSWER:
                    return answer
            tries += 1
            await self._again(tries, attempt, problem)

    async def _again(self, tries: int, attempt: Attempt, problem: LogInProblem | None) -> None:
        """Wait before the same question is asked again. Raises ServerTrouble if that is of no use."""
        if problem is not None and problem.final:
            raise ServerTrouble(problem.sentence, hint=problem.hint)
        wait = max(self._policy.backoff(tries, random.random()), attempt.retry_after or 0.0)  # noqa: S311 - no secret
        passing = problem is not None or meaning_of(attempt) is Meaning.PASSING or is_unauthenticated(attempt)
        if not passing or tries >= self._policy.max_attempts or wait > MOST_PATIENCE:
            raise ServerTrouble(f"The directory cannot be asked: {_words(attempt, problem)}.", hint=_HINT)
        if attempt.retry_after is not None:
            self._held_until = max(self._held_until, time.monotonic() + wait)
        await asyncio.sleep(wait)

    async def _turn(self) -> None:
        """Wait until a question may leave: the rate and `Retry-After` hold for all of them together."""
        while (delay := max(self._held_until - (now := time.monotonic()), self._rate.delay(now))) > 0:  # noqa: ASYNC110 - no event tells of time
            await asyncio.sleep(delay)
        self._rate.take(now)


def _words(attempt: Attempt, problem: LogInProblem | None) -> str:
    if problem is not None:
        return problem.sentence.rstrip(".")
    if attempt.status is None:
        return attempt.error or str(attempt.failure)
    return f"the server answered {attempt.status}" + (f", {attempt.error}" if attempt.error else "")
