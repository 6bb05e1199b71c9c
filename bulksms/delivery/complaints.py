"""Complaints: what servers say when something is wrong, grouped by what they have in common.

Law: memory does not grow with the number of answers.
"""

import re
from dataclasses import dataclass, field

from bulksms.attempt import Attempt, Failure

MOST_KINDS = 50
"""So many kinds of complaint are told apart; the one that was not heard for the longest time makes room."""

_PARTICULAR = re.compile(r"'[^']*'|\"[^\"]*\"|“[^”]*”|[A-Za-z]+=[^,;]+(?:,[A-Za-z]+=[^,;]+)*|\S*\d\S*")
"""What differs from person to person in a server's words: quoted names, DNs, anything with digits."""


def common_words(words: str, recipient: str, instead: str = "") -> str:
    """A server's words without what is particular to one person; `instead` stands in its place."""
    return " ".join(_PARTICULAR.sub(instead, words.replace(recipient, instead)).split())


@dataclass(slots=True)
class Complaints:
    """How often each kind was heard; the latest last."""

    kinds: dict[str, int] = field(default_factory=dict)

    def hear(self, attempt: Attempt, recipient: str) -> None:
        """One more answer, or none at all; what went well is no complaint, nor what this side broke off."""
        words = attempt.error
        if words is None and attempt.failure is None and (attempt.status or 0) < 400:
            return
        if attempt.failure is Failure.CANCELLED:
            return
        said = [str(attempt.status)] if attempt.status not in (None, 200) else []
        said.append(common_words(words, recipient, "...") if words else attempt.error_code or "")
        kind = " ".join(said).strip()
        count = self.kinds.pop(kind, 0)
        if len(self.kinds) == MOST_KINDS:
            del self.kinds[next(iter(self.kinds))]
        self.kinds[kind] = count + 1

    def latest(self, most: int) -> tuple[tuple[str, int], ...]:
        """The last few kinds, the most frequent first, each with how often it was heard."""
        return tuple(sorted(list(self.kinds.items())[-most:], key=lambda kind: (-kind[1], kind[0])))
