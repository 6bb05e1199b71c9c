"""`bulksms resolve`: what a person found out about unknown messages, from rows or from a file.

Invariant: all of it is unambiguous and about this ledger, or nothing is changed.
"""

from collections import Counter
from pathlib import Path

from bulksms.cli.options.commands import ResolveOptions
from bulksms.cli.options.message_selection import in_rows, listed
from bulksms.cli.ui.console import say
from bulksms.cli.ui.result import print_status, say_next
from bulksms.errors import InputError, UsageError
from bulksms.input.decoding import open_file
from bulksms.input.recipient_files import OUTCOME_COLUMN, ResolutionFile, ResolutionRow
from bulksms.ledger import Author, LedgerReader, MessageRecord, Rows, ledger_at, open_ledger
from bulksms.model.message import State
from bulksms.model.recipient import BadRecipient, parse_recipient
from bulksms.report.summary import next_steps, summarise

OUTCOMES = (State.ACCEPTED, State.FAILED)
"""What a person can say of an unknown message."""


def run_resolve(options: ResolveOptions) -> None:
    """Settle what was named."""
    path, chosen, source = options.ledger, options.outcome, options.source
    if chosen is not None and source is None:
        raise UsageError("--outcome is about a file.", hint="Name it with --from, or give rows with --accepted.")
    with open_ledger(path) as reader:
        resolution = Resolution(reader)
        resolution.add_rows(options.accepted, State.ACCEPTED)
        resolution.add_rows(options.failed, State.FAILED)
        if source is not None:
            resolution.add_file(source, None if chosen is None else State(chosen))
        resolution.require_plain()
    if not resolution.outcomes:
        named = "no rows are named" if source is None else f"{source.name} says nothing new"
        raise UsageError(
            f"There is nothing to resolve: {named}.",
            hint=(
                "--accepted and --failed take rows, --from a file; "
                if source is None
                else "Write accepted or failed into its column `status` (or `outcome`) where you have found it out; "
            )
            + f"`bulksms report {path} --only unknown` shows those it can be about.",
        )
    ledger_at(path).resolve(resolution.outcomes, Author.here("resolve", options.note))
    counts = Counter(resolution.outcomes.values())
    say(f"Resolved by hand: {', '.join(f'{count:,} {state}' for state, count in sorted(counts.items()))}.")
    with open_ledger(path) as reader:
        summary = summarise(reader)
        steps = next_steps(summary, reader.reasons())
    print_status(summary, as_json=options.as_json)
    say_next(steps)


class Resolution:
    """What became of messages by a person's word: {number: state}."""

    def __init__(self, ledger: LedgerReader) -> None:
        self.outcomes: dict[int, State] = {}
        self._ledger = ledger
        self._twice: list[str] = []
        self._strangers: list[str] = []

    def add_rows(self, rows: Rows | None, state: State) -> None:
        """The messages in these rows. Raises InputError if there are none, or several in one of them."""
        numbers = [] if rows is None else in_rows(self._ledger, rows)
        lines = list(self._ledger.messages_of(numbers))
        several = sorted(row for row, count in Counter(line.row for line in lines).items() if count > 1)
        if several:
            raise InputError(
                f"Row {listed([str(row) for row in several])} is that of several messages; nothing was changed.",
                hint="Name the people in a file with --from.",
            )
        for number, line in zip(numbers, lines, strict=True):
            self._add(number, line.row, state)

    def add_file(self, source: Path, chosen: State | None) -> None:
        """Add what the file says, or `chosen` for everybody in it. Raises InputError, and UsageError if there is
        neither.
        """
        with open_file(source) as stream:
            file = ResolutionFile(stream, source.name)
            if chosen is None and file.column is None:
                raise UsageError(
                    f"{source.name} does not say what became of the messages.",
                    hint="Add a column called outcome with accepted or failed in it, or --outcome for all of them.",
                )
            if chosen is not None and file.column == OUTCOME_COLUMN:
                raise UsageError(
                    f"{source.name} has a column called outcome, so --outcome cannot be given.", hint="Leave it out."
                )
            is_report = chosen is None and file.column != OUTCOME_COLUMN
            settled = [(outcome, state) for outcome in file if (state := chosen or _state(outcome, file)) is not None]
        in_row: dict[int, list[int]] = {}
        for number, row in self._ledger.numbers_in({outcome.row or 0 for outcome, _ in settled}).items():
            in_row.setdefault(row, []).append(number)
        for outcome, state in settled:
            self._add_outcome(outcome, state, in_row, is_report=is_report)

    def require_plain(self) -> None:
        """Raises InputError for what is not in the ledger, and for contradictory rows."""
        if self._strangers:
            raise InputError(
                f"These are not in {self._ledger.path.name}: {listed(self._strangers)}; nothing was changed.",
                hint="Is it the report of another ledger?",
            )
        if self._twice:
            raise InputError(
                f"Both accepted and failed are given for row {listed(self._twice)}; nothing was changed.",
                hint="Say one of them.",
            )

    def _add_outcome(
        self, outcome: ResolutionRow, state: State, in_row: dict[int, list[int]], *, is_report: bool
    ) -> None:
        if outcome.row is None:
            found = self._messages_of_person(outcome.key or "")
        else:
            numbers = in_row.get(outcome.row, [])
            lines = zip(numbers, self._ledger.messages_of(numbers), strict=True)
            found = [(number, line) for number, line in lines if _is_about(outcome, line)]
        if not found:
            row = "" if outcome.row is None else f"row {outcome.row} "
            self._strangers.append(f"{row}{outcome.recipient}".rstrip())
        for number, line in found:
            # Of a whole report the rows that say what the ledger says were not edited.
            if not (is_report and line.state is state):
                self._add(number, line.row, state)

    def _messages_of_person(self, key: str) -> list[tuple[int, MessageRecord]]:
        """Of a person who is named without a row all messages that are unknown, if any are."""
        numbers = self._ledger.numbers_of(key)
        found = list(zip(numbers, self._ledger.messages_of(numbers), strict=True))
        return [(number, line) for number, line in found if line.state is State.UNKNOWN] or found

    def _add(self, number: int, row: int, state: State) -> None:
        if self.outcomes.setdefault(number, state) is not state:
            self._twice.append(str(row))


def _state(outcome: ResolutionRow, file: ResolutionFile) -> State | None:
    """The state that a row names; None if it names none, or another status of a report. Raises InputError for other
    words.
    """
    states = {state.value: state for state in OUTCOMES}
    others = {"", *State} if file.column != OUTCOME_COLUMN else {""}
    if outcome.word not in states and outcome.word not in others:
        raise InputError(
            f"Row {outcome.line} of {file.name} says {outcome.word!r}; nothing was changed.",
            hint="Write accepted, failed, or nothing.",
        )
    return states.get(outcome.word)


def _is_about(outcome: ResolutionRow, line: MessageRecord) -> bool:
    """Whether the recipient beside a row number is the ledger's; a row without one never contradicts."""
    if not outcome.recipient or not line.recipient or outcome.recipient == line.recipient:
        return True
    try:
        return outcome.key == parse_recipient(line.recipient).key
    except BadRecipient:
        return False
