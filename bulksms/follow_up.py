"""Follow-up: the people of earlier ledgers, to be told once more or to be left out.

Laws: who may have been told counts as told. One row a person, however many rows and ledgers name them. Memory does
not grow with their number.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bulksms.errors import InputRefused, UsageError
from bulksms.intake import BadRow, Finding, InputOptions, Row, RowChecker
from bulksms.intake.options import check_options
from bulksms.intake.template import folded
from bulksms.ledger.reader import TOLD, LedgerReader, Told

RECIPIENT_COLUMN = "directoryObject"
"""What the recipients' column of a follow-up is called, unless the ledger has another column of that name."""


@contextmanager
def open_earlier(path: Path) -> Iterator[LedgerReader]:
    """A ledger whose people were really told.

    Raises:
        LedgerTrouble: it cannot be read.
        UsageError: it is the ledger of a rehearsal.

    """
    with LedgerReader(path) as ledger:
        if any(run.settings.get("sandbox") for run in ledger.runs()):
            raise UsageError(
                f"{path.name} is the ledger of a rehearsal: nobody in it was told.", hint="Name the ledger of the run."
            )
        yield ledger


def told_before(ledgers: Iterable[LedgerReader]) -> Iterator[tuple[str, str]]:
    """The key of everybody who was told or may have been, and the words for leaving them out."""
    for ledger in ledgers:
        for told in _told(ledger):
            yield told.key, f"told before: {told.state}, row {told.row} of {ledger.path.name}"


def still_living(ledgers: Iterable[LedgerReader]) -> list[Finding]:
    """Warn of ledgers on which a run is working: what they say of who was told is true for this moment only."""
    return [
        Finding(
            "W302",
            f"a run is still working on {ledger.path.name}; whom it tells from now on is not counted",
            hint=f"`bulksms status {ledger.path}` shows when it has ended",
        )
        for ledger in ledgers
        if ledger.standing().is_living
    ]


class ToldPeople:
    """The people of earlier ledgers as rows; their ledgers' other columns are there for the template."""

    def __init__(self, ledgers: Sequence[LedgerReader], options: InputOptions) -> None:
        """Find the columns.

        Raises:
            InputRefused: a placeholder has no column, or the text is too long.
            UsageError: the text is no good template.

        """
        check_options(options, "jsonl")
        self.name = "people told in " + ", ".join(ledger.path.name for ledger in ledgers)
        self._ledgers = ledgers
        names: dict[str, str] = {}
        for ledger in ledgers:
            for name in ledger.plan().columns:
                names.setdefault(folded(name), name)  # the first spelling stands for all
        self._recipient_column = RECIPIENT_COLUMN
        while folded(self._recipient_column) in names:
            self._recipient_column += "_"
        own = InputOptions(
            recipient_column=self._recipient_column,
            text=options.text,
            no_template=options.no_template,
            max_segments=options.max_segments,
            gsm7_replace=options.gsm7_replace,
        )
        self.columns = (self._recipient_column, *names.values())
        self.checker = RowChecker(self.columns, own, name=self.name)

    @property
    def total(self) -> int:
        """About how many people there are, by the counters: for telling how far the reading is."""
        return sum(ledger.standing().counts[state] for ledger in self._ledgers for state in TOLD)

    @property
    def findings(self) -> list[Finding]:
        """What was found about all rows so far. A text column of the earlier input is no choice that was missed."""
        return [finding for finding in self.checker.findings if finding.code != "W202"] + still_living(self._ledgers)

    def __iter__(self) -> Iterator[Row | BadRow]:
        """One row a person.

        Raises:
            InputRefused: nobody was told, or the ledger does not know any more who.

        """
        empty = True
        for place, ledger in enumerate(self._ledgers):
            for told in _told(ledger):
                if any(earlier.has_told(told.key) for earlier in self._ledgers[:place]):
                    continue
                empty = False
                yield self.checker.check_row(told.row, {self._recipient_column: told.recipient, **told.other_columns})
        if empty:
            raise InputRefused(
                f"There are no {self.name}.", hint=f"`bulksms status {self._ledgers[0].path}` shows how it stands."
            )


def _told(ledger: LedgerReader) -> Iterator[Told]:
    for told in ledger.told():
        if not told.key:
            raise InputRefused(
                f"{ledger.path.name} does not say any more who was told: its names were removed.",
                hint="Name the people in a file, with --suppress if they are to be left out.",
            )
        yield told
