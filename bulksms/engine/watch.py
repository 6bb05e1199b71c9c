"""Watch: the deadline of a run, held against the wall clock.

Law: somebody may set the clock, so it is looked at every second; nothing else in a run depends on it.
"""

import time
from collections.abc import Callable

import anyio

from bulksms.delivery.deadline import Deadline
from bulksms.engine.progress import Progress
from bulksms.ledger.writer import LedgerWriter

LOOK_EVERY = 1.0
"""Seconds between two looks at the clock."""


class DeadlineWatch:
    """Stops the run when its deadline passes; makes a moment of a duration at the first request."""

    def __init__(self, deadline: Deadline, ledger: LedgerWriter, progress: Progress) -> None:
        self._deadline = deadline
        self._ledger = ledger
        self._progress = progress
        progress.deadline = deadline.at

    @property
    def is_to_begin(self) -> bool:
        """Whether the first request has still to make a moment of a duration."""
        return self._deadline.at is None and self._deadline.after is not None

    async def first_request(self) -> None:
        """A request is about to leave: from here on a duration is a moment, kept in the ledger."""
        if not self.is_to_begin:
            return
        self._deadline = self._deadline.begun(time.time())
        self._progress.deadline = self._deadline.at
        await self._ledger.keep_deadline(self._deadline.at or 0.0)

    async def wait(self, passed: Callable[[], None]) -> None:
        """Call `passed` when it has passed; for ever if there is none."""
        while (remaining := self._deadline.remaining(time.time())) != 0.0:  # noqa: ASYNC110 - no event tells of a clock
            await anyio.sleep(LOOK_EVERY if remaining is None else min(LOOK_EVERY, remaining))
        passed()
