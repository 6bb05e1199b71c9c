"""Shrink: the shortest form of a night that breaks something, with as many of its choices as plain as can be."""

from collections.abc import Callable, Collection

from tests.simulation.night import Outcome, play

MOST_NIGHTS = 200
"""So many shorter nights are tried."""
Play = Callable[[int, Collection[str]], Outcome]


def promises(outcome: Outcome) -> set[str]:
    """Which promises are broken."""
    return {broken.partition(". ")[0] for broken in outcome.broken}


def shrink(outcome: Outcome, play: Play = play) -> Outcome:
    """The same promise broken by a night in which nothing more can be made plain.

    Each time a part of what is left is made plain at once, first the halves, in the end one by one.
    """
    broken, shortest, nights, pieces = promises(outcome), outcome, 0, 2
    while nights < MOST_NIGHTS and (left := list(shortest.choices)):
        size = max(1, len(left) // pieces)
        for first in range(0, len(left), size):
            tried = play(outcome.seed, [*left[:first], *left[first + size :]])
            nights += 1
            if promises(tried) & broken:
                shortest, pieces = tried, max(2, pieces - 1)
                break
        else:
            if size == 1:
                break
            pieces *= 2
    return shortest
