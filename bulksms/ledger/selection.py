"""Selection: the messages a person means, by state and reason (`failed:attempts_exhausted`) or row (`12,40-60`).

Pure: no clock, no file, no network.
Invariant: a word that selects nothing in any ledger is a mistake, and the sentence about it names the good ones.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Self

from bulksms.model.message import REASONS, Reason, State

_MOST_ROW = 1 << 53
"""Larger than any row of a file that anybody has."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Messages by state, each with one reason or with any (None); no states at all are every message."""

    chosen: frozenset[tuple[State, Reason | None]] = frozenset()

    @classmethod
    def of(cls, *states: State) -> Self:
        """Messages in these states, whatever their reasons."""
        return cls(frozenset((state, None) for state in states))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parses `failed:attempts_exhausted,expired`. Raises ValueError for unknown words and for none at all."""
        words = [word.strip() for word in text.split(",") if word.strip()]
        if not words:
            raise ValueError(f"no state is named; states are {', '.join(State)}")
        return cls(frozenset(_parse_word(word) for word in words))

    @property
    def states(self) -> frozenset[State]:
        """The states that are named."""
        return frozenset(state for state, _ in self.chosen)

    def takes(self, state: State, reason: str | None) -> bool:
        """Whether it means a message in this state for this reason."""
        return not self.chosen or (state, None) in self.chosen or (state, reason) in self.chosen

    def __str__(self) -> str:
        """As it is written on a command line."""
        return ",".join(sorted(state if reason is None else f"{state}:{reason}" for state, reason in self.chosen))


EVERYTHING = Selection()


def _parse_word(word: str) -> tuple[State, Reason | None]:
    name, colon, of_state = (part.strip() for part in word.partition(":"))
    if name not in set(State):
        raise ValueError(f"there is no state {name!r}; {_meant(name, State)}states are {', '.join(State)}")
    state = State(name)
    if not colon:
        return state, None
    good = REASONS[state]
    if not good:
        raise ValueError(f"{state} has no reasons; write {str(state)!r} alone")
    if of_state not in good:
        known = ", ".join(f"{state}:{reason}" for reason in good)
        raise ValueError(f"{state} has no reason {of_state!r}; {_meant(of_state, good)}there are {known}")
    return state, Reason(of_state)


def _meant(word: str, good: Iterable[str]) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - needed after a mistake only

    near = get_close_matches(word, [str(one) for one in good], 1)
    return f"did you mean {near[0]!r}? " if near else ""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of the input, by the numbers that its spreadsheet and the report show."""

    ranges: tuple[range, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """`12,40-60`. Raises ValueError for what is no number above 0, and for a range that runs backwards."""
        return cls(tuple(_parse_range(part.strip()) for part in text.split(",")))

    def __contains__(self, row: object) -> bool:
        """Whether the row is one of them."""
        return any(row in part for part in self.ranges)

    def without(self, rows: Collection[int]) -> list[str]:
        """The parts, as they are written, in which there is none of these rows."""
        return [_written(part) for part in self.ranges if not any(row in part for row in rows)]


def _parse_range(part: str) -> range:
    first, dash, last = (end.strip() for end in part.partition("-"))
    ends = [first, last if dash else first]
    if not all(end.isascii() and end.isdigit() and 0 < int(end) < _MOST_ROW for end in ends):
        raise ValueError(f"{part!r} is no row; write rows as the report shows them, such as 12,40-60")
    if int(ends[0]) > int(ends[1]):
        raise ValueError(f"{part!r} runs backwards; write {ends[1]}-{ends[0]}")
    return range(int(ends[0]), int(ends[1]) + 1)


def _written(part: range) -> str:
    return str(part.start) if len(part) == 1 else f"{part.start}-{part.stop - 1}"
