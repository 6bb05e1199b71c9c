"""Coverage: which cells of the contract's tables were met, and how often, as a page."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from bulksms.model.message import REASONS, State
from bulksms.model.run_settings import DeliveryMode, StopReason
from bulksms.policy.retry import Evidence
from tests.simulation.known_ledger import Cells

FINAL = [state for state in State if state is not State.SENDING]


class Tally:
    """What many nights added up to; kept in a file, so that a long form can be played in parts."""

    def __init__(self) -> None:
        self.nights = 0
        self.broken = 0
        self.counts: Counter[str] = Counter()
        self.cells: Cells = Counter()

    @classmethod
    def read(cls, paths: Iterable[Path]) -> "Tally":
        """The sum of these files."""
        tally = cls()
        for path in paths:
            for line in path.read_text(encoding="utf-8").splitlines():
                part = json.loads(line)
                tally.nights += part["nights"]
                tally.broken += part["broken"]
                tally.counts.update(part["counts"])
                tally.cells.update({tuple(cell): count for *cell, count in part["cells"]})
        return tally

    def append(self, path: Path) -> None:
        """Add it to a file, as a line."""
        cells = [[*cell, count] for cell, count in sorted(self.cells.items())]
        part = {"nights": self.nights, "broken": self.broken, "counts": self.counts, "cells": cells}
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(part) + "\n")

    def __str__(self) -> str:
        numbers = ", ".join(f"{count:,} {name}" for name, count in sorted(self.counts.items()))
        return f"{self.nights:,} nights, {self.broken} broken: {numbers}"


def page(tally: Tally) -> str:
    """Tables in Markdown."""
    cells = tally.cells
    parts = [f"{tally.nights:,} nights. Cells are messages, attempts or runs; an empty one was never met."]
    parts += [
        "What came of an attempt, by its evidence and the delivery mode (`again`: another attempt followed).",
        _modes(cells),
    ]
    parts += ["Messages by state and reason at the end of a night.", _reasons(cells)]
    parts += ["Runs by exit code and what stopped them.", _exits(cells)]
    parts += ["Messages by the evidence of their last attempt and their state, as something happened.", _actions(cells)]
    return "\n\n".join(parts)


def _modes(cells: Cells) -> str:
    came = ["again", *FINAL]
    rows = [
        [evidence.value, mode.value, *(_shown(cells["mode", evidence.value, mode.value, it]) for it in came)]
        for evidence in Evidence
        for mode in (DeliveryMode.AT_MOST_ONCE, DeliveryMode.BALANCED, DeliveryMode.AT_LEAST_ONCE)
    ]
    return _table(["evidence", "delivery", *came], rows)


def _reasons(cells: Cells) -> str:
    pairs = [(state, reason) for state in FINAL for reason in ("", *REASONS[state])]
    met = {cell[1:] for cell in cells if cell[0] == "reason"}
    shown = [(state, reason) for state, reason in pairs if reason or not REASONS[state] or (state, "") in met]
    return _table(
        ["state", "reason", "messages"],
        [[state.value, str(reason), _shown(cells["reason", state.value, str(reason)])] for state, reason in shown],
    )


def _exits(cells: Cells) -> str:
    codes = sorted({cell[1] for cell in cells if cell[0] == "exit"}, key=int)
    rows = [
        [stop or "nothing", *(_shown(cells["exit", code, stop]) for code in codes)]
        for stop in ("", *StopReason, "it is locked", "refused")
    ]
    return _table(["stopped by", *codes], rows)


def _actions(cells: Cells) -> str:
    met = [cell for cell in cells if cell[0] == "action"]
    actions = sorted({cell[3] for cell in met})
    pairs = [(evidence, state) for evidence in ("none", *Evidence) for state in State]
    rows = [
        [evidence, state.value, *(_shown(cells["action", str(evidence), state.value, it]) for it in actions)]
        for evidence, state in pairs
        if any(cell[1:3] == (evidence, state) for cell in met)
    ]
    return _table(["evidence", "state", *actions], rows)


def _shown(count: int) -> str:
    return f"{count:,}" if count else ""


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)
