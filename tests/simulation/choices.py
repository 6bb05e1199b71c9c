"""Choices: everything that a seed chooses, each under its name.

Each is drawn by a generator of its own, so that one which is made plain leaves all the others as they are: that is how
a night that breaks something is made shorter.
"""

import random
from collections.abc import Collection, Sequence
from typing import TypeVar

Value = TypeVar("Value")


class Choices:
    """What one seed chooses; with `only` everything else takes its plainest value."""

    def __init__(self, seed: int, only: Collection[str] | None = None) -> None:
        self.seed = seed
        self._only = only
        self.made: dict[str, str] = {}
        """What was chosen and is not plain, by its name."""

    def of(self, name: str, options: Sequence[Value], plain: Value | None = None) -> Value:
        """One of the options; the plainest is the first, or `plain`."""
        plainest = options[0] if plain is None else plain
        value = plainest if self._is_plain(name) else self.chance(name).choice(options)
        if value != plainest:
            self.made[name] = str(value)
        return value

    def some(self, name: str, options: Sequence[Value], counts: Sequence[int]) -> list[Value]:
        """As many of the options as one of the counts says; the plainest are none."""
        chance = self.chance(name)
        value = [] if self._is_plain(name) else chance.sample(options, chance.choice(counts))
        if value:
            self.made[name] = ", ".join(str(it) for it in value)
        return value

    def happens(self, name: str, probability: float) -> bool:
        """Whether it does; the plainest is that it does not."""
        value = not self._is_plain(name) and self.chance(name).random() < probability
        if value:
            self.made[name] = "yes"
        return value

    def chance(self, name: str) -> random.Random:
        """The generator of this choice."""
        return random.Random(f"{self.seed} {name}")

    def _is_plain(self, name: str) -> bool:
        return self._only is not None and name not in self._only
