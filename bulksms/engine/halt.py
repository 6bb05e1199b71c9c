"""Halt: how a run is stopped, from wherever the reason shows itself."""

from typing import Protocol

from bulksms.delivery.retry import Stop


class Halt(Protocol):
    """Called with why, in whose words, and what to do about it."""

    def __call__(self, why: Stop, said: str | None = None, hint: str | None = None) -> None: ...
