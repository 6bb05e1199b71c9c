"""LookedUp: the rows of an input with everybody looked up in the directory.

Laws: what the directory says against a recipient is a finding of that row like any other. A name that was matched
becomes the person's GUID; everything else is sent as it was given. Rows keep their order, and pass through in batches.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol

from bulksms.adaxes import DirectoryObject
from bulksms.directory.connection import Directory
from bulksms.directory.judging import Flaw, flaws, identifier_of, keys_of
from bulksms.intake import BadRow, Finding, Match, Row, RowChecker
from bulksms.intake.finding import shortened
from bulksms.ledger.people import People
from bulksms.recipient import BadRecipient, Recipient, named_recipient, parse_recipient

BATCH = 500
"""Rows that are looked up together: enough to keep every connection busy, few enough to see them pass."""


class Rows(Protocol):
    """Rows that were read and checked: those of a file, or of an earlier ledger."""

    @property
    def name(self) -> str: ...

    @property
    def findings(self) -> list[Finding]: ...

    @property
    def checker(self) -> RowChecker: ...

    def __iter__(self) -> Iterator[Row | BadRow]: ...


class LookedUp:
    """A source of rows around another one; use it as that.

    With `match` recipients are names to be found by a search, else they are looked up one by one. With `verify` what
    keeps a person from being told anything is an error of the row. `people` learns everybody's identifiers.
    """

    def __init__(  # noqa: PLR0913 - what is looked up, where, and how
        self,
        rows: Rows,
        directory: Directory,
        people: People,
        *,
        match: Match | None,
        verify: bool,
        number_property: str,
    ) -> None:
        self.name = rows.name
        self._rows = rows
        self._directory = directory
        self._people = people
        self._match = match
        self._verify = verify
        self._number_property = number_property

    @property
    def findings(self) -> list[Finding]:
        """What was found about the whole input."""
        return self._rows.findings

    def __iter__(self) -> Iterator[Row | BadRow]:
        """All rows. Raises InputRefused if the rest cannot be read, ServerTrouble if the directory cannot be asked."""
        rows = iter(self._rows)
        while batch := list(islice(rows, BATCH)):
            yield from self._looked_up(batch)

    def _looked_up(self, batch: Sequence[Row | BadRow]) -> Iterator[Row | BadRow]:
        recipients = [self._recipient(row) for row in batch]
        known = self._ask(recipient for recipient in recipients if recipient is not None)
        for row, recipient in zip(batch, recipients, strict=True):
            yield row if recipient is None else self._settled(row, recipient, known[recipient.key])

    def _recipient(self, row: Row | BadRow) -> Recipient | None:
        """Who is to be looked up; also of a row that is bad for another reason, so that all is told at once."""
        if isinstance(row, Row):
            return row.recipient
        try:
            return (parse_recipient if self._match is None else named_recipient)(row.recipient)
        except BadRecipient:
            return None

    def _ask(self, recipients: Iterable[Recipient]) -> dict[str, DirectoryObject | Flaw]:
        """What the directory says of each, by key; nobody is asked about twice."""
        given = {recipient.key: recipient.given for recipient in recipients}
        values = list(given.values())
        if self._match is None:
            answers = self._directory.look_up(values, self._number_property)
        else:
            answers = self._directory.match(self._match, values, self._number_property)
        return dict(zip(given, answers, strict=True))

    def _settled(self, row: Row | BadRow, recipient: Recipient, answer: DirectoryObject | Flaw) -> Row | BadRow:
        if isinstance(answer, Flaw):
            return self._refused(row, [answer])
        found = list(flaws(answer, self._number_property)) if self._verify else []
        if found or isinstance(row, BadRow):
            return self._refused(row, found)
        return row._replace(recipient=known_person(self._people, recipient, answer))

    def _refused(self, row: Row | BadRow, found: Sequence[Flaw]) -> Row | BadRow:
        checker = self._rows.checker
        given = row.recipient if isinstance(row, BadRow) else row.recipient.given
        findings = [
            Finding(code, problem, row=row.row, column=checker.recipient_column, value=shortened(given), hint=hint)
            for code, problem, hint in found
        ]
        return checker.refuse_checked(row, findings)


def known_person(people: People, given: Recipient, found: DirectoryObject) -> Recipient:
    """The recipient under the key by which this person is known: the first that was seen of all identifiers.

    A name gives way to the person's identifier.
    """
    identifier = identifier_of(found)
    if given.kind is given.kind.NAME and identifier is not None:
        given = parse_recipient(identifier)
    return given._replace(key=people.same(list(dict.fromkeys((given.key, *keys_of(found))))))
