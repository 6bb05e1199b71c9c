"""The exceptions a caller may see.

Each carries one sentence for a person and a hint that says what to do about it.
What the network does is never an exception: it is an `Attempt`.
"""


class BulksmsError(Exception):
    """The work cannot go on: `str()` is one sentence, `hint` says what to do."""

    def __init__(self, sentence: str, *, hint: str | None = None) -> None:
        super().__init__(sentence)
        self.hint = hint


class UsageError(BulksmsError):
    """An option, a setting or a combination of them is wrong; nothing was sent."""


class InputRefused(BulksmsError):
    """The input cannot be sent as it is; nothing was sent."""


class PlanRefused(BulksmsError):
    """The plan is not the one that this ledger, URL or confirmation is about; nothing was sent."""


class LedgerTrouble(BulksmsError):
    """The ledger cannot be opened, read or written."""


class LedgerLocked(LedgerTrouble):
    """Another run is working on this ledger."""


class ServerTrouble(BulksmsError):
    """The server cannot be asked what has to be known before anything is sent; nothing was sent."""
