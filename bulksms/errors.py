"""The exceptions a caller may see.

Each carries one sentence for a person and a hint that says what to do about it.
Trouble with the network is never an exception: it is an `Attempt`.
"""


class BulksmsError(Exception):
    """The work cannot continue: `str()` is one sentence, `hint` says what to do."""

    def __init__(self, sentence: str, *, hint: str | None = None) -> None:
        super().__init__(sentence)
        self.hint = hint


class UsageError(BulksmsError):
    """An option, a setting or a combination of them is wrong; nothing was sent."""


class InputError(BulksmsError):
    """The input cannot be sent as it is; nothing was sent."""


class PlanError(BulksmsError):
    """The plan is not the one that this ledger, URL or confirmation is about; nothing was sent."""


class LedgerError(BulksmsError):
    """The ledger cannot be opened, read or written."""


class LedgerLockedError(LedgerError):
    """Another run is working on this ledger."""


class ServerError(BulksmsError):
    """The server did not answer a question that has to be answered before anything is sent; nothing was sent."""
