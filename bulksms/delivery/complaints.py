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

Kind = tuple[object, ...]
"""What the complaints of one kind have in common: status, code, and the words without what is particular."""


def kind_of(attempt: Attempt, recipient: str) -> Kind:
    """The kind of complaint that an attempt for this recipient met with."""
    words = _PARTICULAR.sub("", (attempt.error or "").replace(recipient, ""))
    return attempt.status, attempt.error_code, " ".join(words.split()).casefold()


@dataclass(slots=True)
class Complaints:
    """Each kind with the words of its latest one and how often it was heard; the latest kind last."""

    kinds: dict[Kind, tuple[str, int]] = field(default_factory=dict)

    def hear(self, attempt: Attempt, recipient: str) -> None:
        """One more answer, or none at all; what went well is no complaint, nor what this side broke off."""
        is_well = attempt.error is None and attempt.failure is None and (attempt.status or 0) < 400
        if is_well or attempt.failure is Failure.CANCELLED:
            return
        kind = kind_of(attempt, recipient)
        _, count = self.kinds.pop(kind, ("", 0))
        if len(self.kinds) == MOST_KINDS:
            del self.kinds[next(iter(self.kinds))]
        self.kinds[kind] = (_in_words(attempt, recipient), count + 1)

    def latest(self, most: int) -> tuple[tuple[str, int], ...]:
        """The last few kinds, the most frequent first: the words, and how often they were heard."""
        return tuple(sorted(list(self.kinds.values())[-most:], key=lambda heard: (-heard[1], heard[0])))


def _in_words(attempt: Attempt, recipient: str) -> str:
    """`503 The service is not available.`, `refused: Connect call failed`, `The group ... is unknown.`"""
    said = [] if attempt.status in (None, 200) else [str(attempt.status)]
    if attempt.failure is not None:
        said.append(f"{attempt.failure.value}:")
    said.append((attempt.error or "").replace(recipient, "..."))
    return " ".join(said).strip(" :")
