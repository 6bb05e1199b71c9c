"""Resolving: what a person found out about unknown messages, from rows or from a file.

Law: all of it is plain and of this ledger, or nothing is changed.
"""

from collections import Counter
from pathlib import Path
from typing import Any

from bulksms.cli import say
from bulksms.cli.doing.author import author
from bulksms.cli.screen.result import print_status
from bulksms.cli.settings.choosing import in_rows, listed
from bulksms.errors import InputRefused, UsageError
from bulksms.intake.opening import open_file
from bulksms.intake.outcomes import OUTCOME_COLUMN, Outcome, OutcomeFile
from bulksms.ledger import decisions
from bulksms.ledger.reader import LedgerReader, Line
from bulksms.ledger.selection import Rows
from bulksms.message import State
from bulksms.recipient import BadRecipient, parse_recipient
from bulksms.report.summary import summarise

OUTCOMES = (State.ACCEPTED, State.FAILED)
"""What a person can say of an unknown message."""


def resolve(path: Path, values: dict[str, Any]) -> None:
    """`bulksms resolve`."""
    said = values["outcome"]
    if said is not None and values["source"] is None:
        raise UsageError("--outcome is about a file.", hint="Name it with --from, or give rows with --accepted.")
    with LedgerReader(path) as reader:
        resolution = Resolution(reader)
        resolution.add_rows(values["accepted"], State.ACCEPTED)
        resolution.add_rows(values["failed"], State.FAILED)
        if values["source"] is not None:
            resolution.add_file(values["source"], None if said is None else State(said))
        resolution.require_plain()
    if not resolution.outcomes:
        named = "no rows are named" if values["source"] is None else f"{values['source'].name} says nothing new"
        raise UsageError(
            f"There is nothing to resolve: {named}.",
            hint="--accepted and --failed take rows, --from a file; "
            f"`bulksms report {path} --only unknown` shows those it can be about.",
        )
    decisions.resolve(path, resolution.outcomes, author("resolve", values["note"]))
    counts = Counter(resolution.outcomes.values())
    say(f"Resolved by hand: {', '.join(f'{count:,} {state}' for state, count in sorted(counts.items()))}.")
    with LedgerReader(path) as reader:
        summary = summarise(reader)
    print_status(summary, as_json=values["as_json"])


class Resolution:
    """What became of messages by a person's word: {number: state}."""

    def __init__(self, ledger: LedgerReader) -> None:
        self.outcomes: dict[int, State] = {}
        self._ledger = ledger
        self._twice: list[str] = []
        self._strangers: list[str] = []

    def add_rows(self, rows: Rows | None, state: State) -> None:
        """The messages in these rows. Raises InputRefused if there are none, or several in one of them."""
        numbers = [] if rows is None else in_rows(self._ledger, rows)
        lines = list(self._ledger.lines_of(numbers))
        several = sorted(row for row, count in Counter(line.row for line in lines).items() if count > 1)
        if several:
            raise InputRefused(
                f"Row {listed([str(row) for row in several])} is that of several messages; nothing was changed.",
                hint="Name the people in a file with --from.",
            )
        for number, line in zip(numbers, lines, strict=True):
            self._add(number, line.row, state)

    def add_file(self, source: Path, said: State | None) -> None:
        """What the file says, or that everybody in it is what is `said`. Raises InputRefused, UsageError if neither."""
        with open_file(source) as stream:
            file = OutcomeFile(stream, source.name)
            if said is None and file.column is None:
                raise UsageError(
                    f"{source.name} does not say what became of the messages.",
                    hint="Add a column called outcome with accepted or failed in it, or --outcome for all of them.",
                )
            if said is not None and file.column == OUTCOME_COLUMN:
                raise UsageError(
                    f"{source.name} has a column called outcome, so --outcome cannot be given.", hint="Leave it out."
                )
            is_report = said is None and file.column != OUTCOME_COLUMN
            said_of = [(outcome, state) for outcome in file if (state := said or _state(outcome, file)) is not None]
        in_row: dict[int, list[int]] = {}
        for number, row in self._ledger.numbers_in({outcome.row or 0 for outcome, _ in said_of}).items():
            in_row.setdefault(row, []).append(number)
        for outcome, state in said_of:
            self._add_outcome(outcome, state, in_row, is_report=is_report)

    def require_plain(self) -> None:
        """Raises InputRefused for what is not in the ledger, and for messages of which two things are said."""
        if self._strangers:
            raise InputRefused(
                f"These are not in {self._ledger.path.name}: {listed(self._strangers)}; nothing was changed.",
                hint="Is it the report of another ledger?",
            )
        if self._twice:
            raise InputRefused(
                f"Both accepted and failed is said of row {listed(self._twice)}; nothing was changed.",
                hint="Say one of them.",
            )

    def _add_outcome(self, outcome: Outcome, state: State, in_row: dict[int, list[int]], *, is_report: bool) -> None:
        if outcome.row is None:
            found = self._messages_of_person(outcome.key or "")
        else:
            numbers = in_row.get(outcome.row, [])
            lines = zip(numbers, self._ledger.lines_of(numbers), strict=True)
            found = [(number, line) for number, line in lines if _is_about(outcome, line)]
        if not found:
            row = "" if outcome.row is None else f"row {outcome.row} "
            self._strangers.append(f"{row}{outcome.recipient}".rstrip())
        for number, line in found:
            # Of a whole report the rows that say what the ledger says were not edited.
            if not (is_report and line.state is state):
                self._add(number, line.row, state)

    def _messages_of_person(self, key: str) -> list[tuple[int, Line]]:
        """Of a person who is named without a row all messages that are unknown, if any are."""
        numbers = self._ledger.numbers_of(key)
        found = list(zip(numbers, self._ledger.lines_of(numbers), strict=True))
        return [(number, line) for number, line in found if line.state is State.UNKNOWN] or found

    def _add(self, number: int, row: int, state: State) -> None:
        if self.outcomes.setdefault(number, state) is not state:
            self._twice.append(str(row))


def _state(outcome: Outcome, file: OutcomeFile) -> State | None:
    """What is said; None if nothing is, or if it is another status of a report. Raises InputRefused for other words."""
    states = {state.value: state for state in OUTCOMES}
    others = {"", *State} if file.column != OUTCOME_COLUMN else {""}
    if outcome.said not in states and outcome.said not in others:
        raise InputRefused(
            f"Row {outcome.line} of {file.name} says {outcome.said!r}; nothing was changed.",
            hint="Write accepted, failed, or nothing.",
        )
    return states.get(outcome.said)


def _is_about(outcome: Outcome, line: Line) -> bool:
    """Whether the recipient that stands beside a row is the ledger's; no recipient contradicts nothing."""
    if not outcome.recipient or not line.recipient or outcome.recipient == line.recipient:
        return True
    try:
        return outcome.key == parse_recipient(line.recipient).key
    except BadRecipient:
        return False
