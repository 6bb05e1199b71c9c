"""Figure: one thing that was measured, round by round, and how it is told.

Pure. Law: a figure keeps its rounds; ratios are taken round by round, because only those were measured together.
"""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Sample:
    """What the rounds gave."""

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle round, or between the two in the middle."""
        return statistics.median(self.rounds)

    def over(self, other: "Sample") -> "Sample":
        """How many times the other this is, round by round; rounds that only one of them has are left out."""
        return Sample(tuple(ours / theirs for ours, theirs in zip(self.rounds, other.rounds, strict=False)))

    def __str__(self) -> str:
        """The median, and in brackets the lowest and the highest."""
        if len(self.rounds) == 1:
            return number(self.median)
        return f"{number(self.median)} ({number(min(self.rounds))} to {number(max(self.rounds))})"


@dataclass(frozen=True, slots=True)
class Figure:
    """What was measured (`section`, `name`), in which unit, under which conditions."""

    section: str
    name: str
    unit: str
    sample: Sample
    conditions: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """As plain values, for a file."""
        return {
            "section": self.section,
            "name": self.name,
            "unit": self.unit,
            "median": self.sample.median,
            "rounds": list(self.sample.rounds),
            "conditions": dict(self.conditions),
        }


class Figures(list[Figure]):
    """All that was measured."""

    def find(self, name: str, unit: str, **conditions: object) -> Sample | None:
        """The rounds of the last figure with this name, unit and, among others, conditions; None if there is none."""
        for figure in reversed(self):
            if (figure.name, figure.unit) == (name, unit) and conditions.items() <= figure.conditions.items():
                return figure.sample
        return None

    def ratio(self, unit: str, above: Mapping[str, Any], below: Mapping[str, Any]) -> Sample | None:
        """One figure over another, round by round; both are given as `find` takes them. None if one is missing."""
        over, under = self.find(unit=unit, **above), self.find(unit=unit, **below)
        return None if over is None or under is None else over.over(under)


def number(value: float) -> str:
    """So many digits as can be believed of a measurement: three, and all of those before the point."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}"
