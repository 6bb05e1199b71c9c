"""Decisions: what people decided about a ledger's messages, one line each, for a person's eyes."""

from collections.abc import Iterable, Iterator

from bulksms.ledger.history import Decision, Move
from bulksms.report.characters import printable


def as_lines(decisions: Iterable[Decision]) -> Iterator[str]:
    """`2026-11-22T14:30:00Z resolve by anna on server-1: 2 unknown:lost_answer to accepted ("rang them")`."""
    for decision in decisions:
        moves = ", ".join(map(_describe, decision.moves))
        note = "" if decision.note is None else f' ("{" ".join(decision.note.split())}")'
        who = f"{decision.decided_at} {decision.what} by {decision.user} on {decision.host}"
        yield printable(f"{who}{f': {moves}' if moves else ''}{note}")


def _describe(move: Move) -> str:
    before = move.state_before if move.reason_before is None else f"{move.state_before}:{move.reason_before}"
    return f"{move.messages:,} {before} to {move.state_after}"
