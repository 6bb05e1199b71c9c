"""Form: how thoroughly is measured.

Pure.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Form:
    """What the sections are told: how many rounds, how large, how long."""

    rounds: int
    seconds: float
    """What a contender's turn takes, about."""
    latencies: tuple[float, ...]
    """Seconds that the server takes."""
    workers: tuple[int, ...]
    sizes: tuple[int, ...]
    """Messages of the plans whose cost is compared."""
    large: int
    """Messages of the ledger that is looked at and resumed."""
    alone: int
    """Rows, or messages, for the parts that are measured by themselves."""

    def rounds_of(self, messages: int) -> int:
        """A plan of a million is its own average: it is measured once."""
        return 1 if messages >= 1_000_000 else self.rounds


FULL = Form(5, 2.5, (0.0, 0.02, 0.2), (1, 16, 64, 256), (1_000, 10_000, 100_000, 1_000_000), 1_000_000, 100_000)
SHORT = Form(3, 0.5, (0.0, 0.02), (1, 64), (1_000, 10_000), 100_000, 10_000)
